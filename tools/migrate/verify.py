"""Holding a source against the target: every entry by windows of hashes, every head field by field.

Rules: nothing is changed. A source that is written to meanwhile is looked at again where it
differs, a few times: what still differs then is told. What nobody could have carried is listed, not
hidden. A file that must be replayed to be known (AOF) or has no hashes of its own (JSON lines) is
loaded into a respq that lives as long as the comparison.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from streams.rdb.file import OtherValue, RdbFile, StreamValue, StringValue
from streams.rdb.heads import StreamHead
from streams.rdb.reader import RdbError
from tools.migrate.compare import WINDOW, Excuses, head_differences, window_difference
from tools.migrate.errors import MigrateError, Refused, Unreachable
from tools.migrate.heads import HeadReader, expiry, read_payload
from tools.migrate.link import Address, CommandError, Link, key_pages, parse_address
from tools.migrate.move import Move
from tools.migrate.owner import OVER, OWNER
from tools.migrate.progress import Progress
from tools.migrate.scan import databases
from tools.migrate.source import File, Live, Source, open_source
from tools.migrate.target import OWN_KEY, Target
from tools.migrate.wire import ID, PAGE_BYTES, PageSize, entries_in, id_text, live_wire, name_of

LOOKS: Final = 3
NAME: Final = "respq-migrate-verify"
SERVE: Final = "import sys; from tools.cli import main; main(['serve', *sys.argv[1:]])"
START_S: Final = 20.0
LIFE_TOLERANCE_MS: Final = 50


@dataclass(slots=True)
class Verdict:
    """What was compared, and what differed."""

    streams: int = 0
    entries: int = 0
    groups: int = 0
    pending: int = 0
    strings: int = 0
    others: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    excuses: Excuses = field(default_factory=Excuses)
    advice: str = ""
    """What makes both the same, if anything may."""


def verify(source: Source, target_address: Address, progress: Progress) -> Verdict:
    """Compare. Raises MigrateError."""
    target = Target(target_address, NAME)
    verdict = Verdict()
    try:
        verdict.advice = _advice(source, target)
        if isinstance(source, Live):
            verify_live(source, target, verdict, progress)
        elif source.kind == "rdb":
            verify_rdb(source.path, target, verdict, progress)
        else:
            verdict.excuses.times = source.kind == "aof"  # nor are files of commands told of them
            with scratch(source, progress) as address:
                live = open_source(str(address), None)
                assert isinstance(live, Live)
                verify_live(live, target, verdict, progress)
    finally:
        target.close()
    return verdict


def _advice(source: Source, target: Target) -> str:
    from_there = source.address.template if isinstance(source, Live) else str(source)
    where = target.address.template
    if not target.is_respq:
        return f"respq migrate back {where} -u {from_there} --replace"
    over, owner = target.mark(OVER), target.mark(OWNER)
    if over is not None and over["source"] == str(source):
        return "nothing: the target was cut over from this source and goes on by itself"
    is_its = owner is not None and owner["source"] == str(source)
    return f"respq migrate run {from_there} -u {where}{' --replace' if is_its else ''}"


class Check:
    """Compares keys with those of the target."""

    def __init__(self, target: Target, verdict: Verdict, progress: Progress) -> None:
        self.target = target
        self.verdict = verdict
        self.progress = progress
        self.seen: set[int] = set()

    def head_of_target(self, db: int, key: bytes) -> StreamHead | str:
        """The head of a stream of the target, or what is there instead."""
        if self.target.is_respq:
            reply = self.target.ask(db, "XQ.HEAD", key)
            if isinstance(reply, bytes):
                return read_payload(reply)
        else:
            self.target.call(db, "PING")
            moment = HeadReader(self.target.link, exact=False).moment(key, None)
            if moment is not None:
                return moment.head
        kind = self.target.call(db, "TYPE", key).decode()
        return "the target does not have it" if kind == "none" else f"it is a {kind} at the target"

    def stream(
        self,
        db: int,
        key: bytes,
        windows: Iterator[tuple[bytes, ID]],
        head: Callable[[], StreamHead],
        expires_ms: int,
    ) -> str:
        """The first difference of a stream; empty if there is none."""
        held = self.head_of_target(db, key)
        if isinstance(held, str):
            return held
        count, what = window_difference(self.target, db, key, windows)
        if what:
            return what
        found = head()
        what = next(iter(head_differences(found, held, self.verdict.excuses)), "")
        if not what:
            what = self.life(db, key, expires_ms)
        if not what:
            self.verdict.streams += 1
            self.verdict.entries += count
            self.verdict.groups += len(found.groups)
            self.verdict.pending += sum(group.pending.length for group in found.groups)
            self.progress.step(count, 0)
        return what

    def string(self, db: int, key: bytes, value: bytes, expires_ms: int) -> str:
        """As ``stream``."""
        held = self.target.ask(db, "GET", key)
        if held is None:
            return "the target does not have it"
        if held != value:
            return "the target has another value"
        self.verdict.strings += 1
        return self.life(db, key, expires_ms)

    def life(self, db: int, key: bytes, expires_ms: int) -> str:
        """Whether it expires at the same time."""
        pttl_ms, now = self.target.call(db, "PTTL", key), self.target.call(db, "TIME")
        held_ms = expiry(pttl_ms, now)
        if (expires_ms == 0) != (held_ms == 0) or abs(expires_ms - held_ms) > LIFE_TOLERANCE_MS:
            return f"it expires at {expires_ms} at the source, at {held_ms} at the target"
        return ""

    def tell(self, db: int, key: bytes, what: str) -> None:
        """A difference."""
        if what:
            where = f"database {db}, " if db else ""
            self.verdict.differences.append(f"{where}{name_of(key)}: {what}")

    def others(self) -> None:
        """Keys that only the target has."""
        for db in self.target.dbs():
            for keys in key_pages(partial(self.target.call, db)):
                for key in keys:
                    if hash((db, key)) not in self.seen and not key.startswith(OWN_KEY):
                        self.tell(db, key, "the source does not have it")


# ── a server ─────────────────────────────────────────────────────────────────────────────────────


def verify_live(source: Live, target: Target, verdict: Verdict, progress: Progress) -> None:
    """Compare a server, or all primaries of a cluster."""
    if not source.is_respq:
        # a replica is not told of these
        verdict.excuses.counts = verdict.excuses.times = source.can_psync
        verdict.excuses.entries_read = source.can_psync and source.version < (7, 2)
    check = Check(target, verdict, progress)
    for address in source.primaries:
        link = Link(address, NAME)
        alone = len(source.primaries) == 1
        for db in databases(link):
            if alone:
                link.call("SELECT", db)
            for keys in key_pages(link.call):
                kinds = link.pipeline([["TYPE", key] for key in keys])
                for key, kind in zip(keys, kinds, strict=True):
                    if not key.startswith(OWN_KEY):
                        _verify_key(check, link, db, key, kind.decode(), exact=source.is_respq)
        link.close()
    check.others()


def _verify_key(check: Check, link: Link, db: int, key: bytes, kind: str, *, exact: bool) -> None:
    if hash((db, key)) in check.seen or kind == "none":
        return
    if kind not in ("stream", "string"):
        check.verdict.others[kind] = check.verdict.others.get(kind, 0) + 1
        return
    check.seen.add(hash((db, key)))
    what = ""
    for _ in range(LOOKS):
        try:
            if kind == "string":
                value, pttl_ms, now = link.transaction([["GET", key], ["PTTL", key], ["TIME"]])
                if value is None:
                    return
                what = check.string(db, key, value, expiry(pttl_ms, now))
            else:
                moment = HeadReader(link, exact=exact).moment(key, None)
                if moment is None:
                    return
                windows = live_windows(link, key)
                what = check.stream(db, key, windows, moment.whole_head, moment.expires_ms)
        except CommandError as error:
            what = str(error)
        if not what:
            return
    check.tell(db, key, what)


def live_windows(link: Link, key: bytes) -> Iterator[tuple[bytes, ID]]:
    """The entries of a stream of a server, window by window."""
    start = "-"
    size = PageSize(WINDOW)
    while True:
        asked = size.entries
        n, wire, last = link.entries("XRANGE", key, start, "+", "COUNT", asked)
        size.after(n, len(wire))
        if last is not None:
            yield wire, last
            start = f"({id_text(last)}"
        if n < asked:
            return


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def verify_rdb(path: Path, target: Target, verdict: Verdict, progress: Progress) -> None:
    """Compare a file of RDB."""
    check = Check(target, verdict, progress)
    try:
        with path.open("rb", buffering=0) as source:
            for value in RdbFile(source.read):
                key = value.key
                if isinstance(value, OtherValue):
                    verdict.others[value.kind] = verdict.others.get(value.kind, 0) + 1
                    continue
                check.seen.add(hash((key.db, key.name)))
                progress.begin(key.name)
                if isinstance(value, StringValue):
                    what = check.string(key.db, key.name, value.value, key.expires_ms)
                else:
                    windows = node_windows(value)
                    what = check.stream(key.db, key.name, windows, value.head, key.expires_ms)
                if not what or not _is_over(target, key.expires_ms):
                    check.tell(key.db, key.name, what)
    except RdbError as error:
        raise Refused(f"{path} is damaged: {error}", "redis-check-rdb says more") from None
    except OSError as error:
        raise Unreachable(f"{path} cannot be read: {error.strerror}") from None
    check.others()


def _is_over(target: Target, expires_ms: int) -> bool:
    """Whether a key of the file has expired meanwhile."""
    return 0 < expires_ms <= expiry(0, target.call(0, "TIME"))


def node_windows(value: StreamValue) -> Iterator[tuple[bytes, ID]]:
    """The entries of a stream of a file, some nodes at a time."""
    parts: list[bytes] = []
    n = n_bytes = 0
    for node in value:
        wire = live_wire(node)
        if wire:
            parts.append(wire)
            n += node.entries
            n_bytes += len(wire)
        if n >= WINDOW or n_bytes >= PAGE_BYTES:
            joined = b"".join(parts)
            yield joined, entries_in(parts[-1])[-1][0]
            parts, n, n_bytes = [], 0, 0
    if parts:
        yield b"".join(parts), entries_in(parts[-1])[-1][0]


class scratch:  # noqa: N801 - reads as a word
    """A respq that holds what a file holds."""

    def __init__(self, source: File, progress: Progress) -> None:
        self._source = source
        self._progress = progress
        self._folder = tempfile.TemporaryDirectory(prefix="respq-verify-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Address:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        folder = self._folder.name
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from tools.cli import main; main()",
                "serve",
                "--port",
                str(port),
                "--dir",
                f"{folder}/data",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = parse_address(f"redis://127.0.0.1:{port}")
        stop_s = time.monotonic() + START_S
        while True:
            try:
                Link(address).close()
                break
            except MigrateError:
                if time.monotonic() > stop_s or self._process.poll() is not None:
                    raise Unreachable("no respq could be started to hold the file") from None
                time.sleep(0.02)
        move = Move(self._source, address, Progress(quiet=True))
        move.run()
        move.close()
        return address

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
