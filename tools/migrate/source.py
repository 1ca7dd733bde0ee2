"""What a source is, and which mode is best for it.

A mode is how entries come: ``takeover`` (as a replica, ended by the source's own FAILOVER),
``follow`` (as a replica, ended by a fence), ``scan`` (as an ordinary client), ``file``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.living.jsonl import ZSTD_MAGIC
from tools.migrate.errors import Refused, Unreachable
from tools.migrate.follow import info
from tools.migrate.link import Address, CommandError, Link, parse_address, shown

MODES: Final = ("takeover", "follow", "scan")
Version = tuple[int, ...]
OLDEST: Final[Version] = (5, 0)
FAILOVER_SINCE: Final[Version] = (6, 2)
PAUSE_WRITE_SINCE: Final[Version] = (6, 2)
SLOTS: Final = 16384


@dataclass(slots=True)
class Live:
    """A server that runs. ``primaries``: all of a cluster's, else itself."""

    address: Address
    version: Version
    name: str
    is_respq: bool
    is_cluster: bool
    primaries: list[Address]
    replicas: int
    role: str
    can_psync: bool
    why_not: str
    slots: list[tuple[int, int, int]]
    """Of a cluster: first and last slot, and whose of ``primaries``."""
    mode: str = ""
    why: str = ""

    def __str__(self) -> str:
        return str(self.address)


@dataclass(slots=True)
class File:
    """A file. ``kind``: rdb, aof or jsonl."""

    path: Path
    kind: str
    mode: str = "file"
    why: str = "a file holds still: it is read from front to back"

    def __str__(self) -> str:
        return str(self.path)


Source = Live | File


def open_source(text: str, mode: str | None) -> Source:
    """What a source is. Raises MigrateError."""
    if "://" not in text:
        return _file(text, mode)
    live = _live(parse_address(text))
    _choose(live, mode)
    return live


def _file(text: str, mode: str | None) -> File:
    path = Path(text).resolve()
    if mode is not None:
        raise Refused(f"--mode {mode} is for a running server, and {text} is a file")
    if not path.exists():
        raise Unreachable(
            f"there is no file '{shown(text)}'", "redis://host:port for a running server"
        )
    try:
        if path.is_dir():
            found = sorted(path.glob("*.manifest"))
            if len(found) != 1:
                raise Unreachable(f"{text} is a directory without the manifest of an AOF")
            return File(found[0], "aof")
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise Unreachable(f"{text} cannot be read: {error.strerror}") from None
    if path.suffix == ".manifest":
        return File(path, "aof")
    if head.startswith((b"REDIS", b"VALKEY")):
        return File(path, "aof" if path.suffix == ".aof" else "rdb")
    if head[:1] in (b"*", b"#"):
        return File(path, "aof")
    if head.lstrip()[:1] == b"{" or head.startswith(ZSTD_MAGIC):
        return File(path, "jsonl")
    raise Refused(f"{text} is neither RDB nor AOF nor JSON lines: it begins with {head!r}")


def _live(address: Address) -> Live:
    link = Link(address)
    try:
        try:
            told = info(link, "server") | info(link, "replication") | info(link, "memory")
            cluster = info(link, "cluster").get("cluster_enabled") == "1"
        except CommandError as error:
            raise Refused(f"{address} does not answer INFO: {error}") from None
        words = told.get("valkey_version") or told.get("redis_version", "0")
        version = tuple(int(word) for word in words.split(".")[:3])
        name = f"{'Valkey' if 'valkey_version' in told else 'Redis'} {words}"
        is_respq = link.ask("COMMAND", "INFO", "XQ.LOAD") not in ([None], [])
        if is_respq:
            name = "respq"
        if version < OLDEST:
            raise Refused(f"{address} is {name}: streams came with 5.0")
        cannot = _why_no_psync(link, told)
        slots: list[tuple[int, int, int]] = []
        primaries = [address]
        if cluster and not is_respq:
            primaries = _primaries(link, address, slots)
        return Live(
            address, version, name, is_respq, cluster and not is_respq, primaries,
            int(told.get("connected_slaves", 0)), told.get("role", "master"),
            not cannot, cannot, slots,
        )  # fmt: skip
    finally:
        link.close()


def _why_no_psync(link: Link, told: dict[str, str]) -> str:
    """Why the source will not have us as a replica; empty if it will."""
    found = link.ask("COMMAND", "INFO", "PSYNC")
    if isinstance(found, CommandError) or found in ([None], []):
        return "it has no PSYNC"
    reply = link.ask("REPLCONF", "capa", "psync2")
    if isinstance(reply, CommandError):
        return f"it refuses replicas: {reply}"
    if told.get("role") == "slave" and told.get("master_link_status") == "down":
        return "it is a replica that lost its primary"
    return ""


def _primaries(link: Link, address: Address, slots: list[tuple[int, int, int]]) -> list[Address]:
    """The primaries of a cluster; whose each slot is goes to ``slots``."""
    found: list[tuple[str, int, int, int]] = []
    for first, last, (host, port, *_), *_ in link.call("CLUSTER", "SLOTS"):
        found.append(((host or address.host.encode()).decode(), port, first, last))
    if sum(last - first + 1 for *_, first, last in found) < SLOTS:
        raise Refused(f"{address} is a cluster that does not serve all slots")
    places = sorted({where[:2] for where in found})
    slots += [(first, last, places.index((host, port))) for host, port, first, last in found]
    return [address.at(host, port) for host, port in places]


def _choose(live: Live, mode: str | None) -> None:
    can_fail_over = (
        live.can_psync
        and not live.is_cluster
        and live.version >= FAILOVER_SINCE
        and live.role == "master"
    )
    if mode == "takeover" and not can_fail_over:
        raise Refused(
            f"{live} cannot be taken over: "
            + (live.why_not or "FAILOVER TO needs a primary of 6.2 or later, and no cluster"),
            "--mode follow, or --mode scan",
        )
    if mode == "follow" and not live.can_psync:
        raise Refused(f"{live} cannot be followed: {live.why_not}", "--mode scan")
    if mode is not None:
        live.mode, live.why = mode, "you asked for it"
    elif live.is_respq:
        live.mode, live.why = "scan", "a respq tells heads of streams exactly"
    elif not live.can_psync:
        live.mode, live.why = "scan", live.why_not
    elif can_fail_over and live.replicas == 0:
        live.mode = "takeover"
        live.why = "it gives its replication stream and can hand over by FAILOVER TO"
    else:
        live.mode = "follow"
        live.why = "it gives its replication stream" + (
            ", and is a cluster" if live.is_cluster else ", and has replicas of its own"
            if live.replicas else ", and is too old for FAILOVER TO"
        )  # fmt: skip
