"""What a source holds and how it would be moved. Nothing is changed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from streams.rdb.file import OtherValue, RdbFile, StreamValue, StringValue
from streams.rdb.reader import RdbError
from tools.migrate import aof
from tools.migrate.errors import MigrateError, Refused
from tools.migrate.heads import pairs
from tools.migrate.link import Address, CommandError, Link, key_pages
from tools.migrate.scan import databases
from tools.migrate.source import File, Source
from tools.migrate.target import OWN_KEY, Target
from tools.migrate.wire import name_of

ENTRIES_PER_S: Final = {"file": 200_000, "takeover": 150_000, "follow": 150_000, "scan": 150_000}
FIGURES: Final = ("entries", "bytes", "groups", "pending", "deleted")
COLUMNS: Final = 120
SHOWN: Final = 40
TRIED: Final = ("PSYNC", "FAILOVER", "CLIENT|PAUSE", "CONFIG|SET")


def make_plan(source: Source, address: Address) -> dict[str, Any]:
    """The plan. Raises MigrateError."""
    plan: dict[str, Any] = {
        "source": str(source), "target": str(address), "mode": source.mode, "why": source.why,
        "streams": [], "strings": 0, "others": {}, "expiring": 0, "cannot": [],
    }  # fmt: skip
    if isinstance(source, File):
        plan["what"] = f"{source.kind} file"
        if source.kind == "rdb":
            _look_at_file(source, plan)
        elif source.kind == "aof":
            files = aof.files_of(source.path)
            plan["what"] = f"append-only file of {len(files)} parts"
    else:
        plan["what"] = f"{source.name}, {source.role}" + (
            f", cluster of {len(source.primaries)} primaries" if source.is_cluster else ""
        )
        for primary in source.primaries:
            _look_at_server(primary, plan, alone=len(source.primaries) == 1)
    entries = sum(row["entries"] for row in plan["streams"])
    plan["entries"] = entries
    plan["eta_s"] = round(entries / ENTRIES_PER_S[source.mode], 1)
    plan["target_is"] = _look_at_target(address)
    return plan


def _look_at_target(address: Address) -> str:
    try:
        target = Target(address, "respq-migrate-plan")
    except MigrateError as error:
        return f"not ready: {error}"
    try:
        if not target.is_respq:
            return "not ready: it is no respq of this version"
        mark = target.mark(b"")
        if mark is not None:
            return f"partly filled from {mark['source']}: run goes on there"
        keys = sum(target.dbs().values())
        return f"not empty: {keys} keys; what differs is refused" if keys else "empty"
    finally:
        target.close()


def _look_at_server(address: Address, plan: dict[str, Any], *, alone: bool) -> None:
    link = Link(address, "respq-migrate-plan")
    user = link.ask("ACL", "WHOAMI")
    for command in TRIED if isinstance(user, bytes) else ():
        reply = link.ask("ACL", "DRYRUN", user, *command.split("|"), *_example(command))
        if isinstance(reply, bytes) and b"no permissions" in reply:
            plan["cannot"].append(f"{command}: {reply.decode()}")
    for db in databases(link):
        if alone:
            link.call("SELECT", db)
        for page in key_pages(link.call):
            keys = [key for key in page if not key.startswith(OWN_KEY)]
            lives = link.pipeline([["PTTL", key] for key in keys])
            plan["expiring"] += sum(life >= 0 for life in lives)
            for kind, row in _rows(link, db, keys):
                if kind == "stream":
                    plan["streams"].append(row)
                elif kind == "string":
                    plan["strings"] += 1
                elif kind != "none":
                    plan["others"][kind] = plan["others"].get(kind, 0) + 1
    link.close()


def _example(command: str) -> tuple[str, ...]:
    return {"PSYNC": ("?", "-1"), "CLIENT|PAUSE": ("1",), "CONFIG|SET": ("maxmemory", "0")}.get(
        command, ()
    )


def _rows(link: Link, db: int, keys: list[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    kinds = link.pipeline([["TYPE", key] for key in keys])
    for key, kind in zip(keys, kinds, strict=True):
        row: dict[str, Any] = {}
        if kind == b"stream":
            told, groups, size = link.pipeline(
                [["XINFO", "STREAM", key], ["XINFO", "GROUPS", key], ["MEMORY", "USAGE", key]]
            )
            if isinstance(told, CommandError) or isinstance(groups, CommandError):
                continue
            length = pairs(told)[b"length"]
            row = {
                "db": db,
                "key": name_of(key),
                "entries": length,
                "bytes": size if isinstance(size, int) else 0,
                "groups": len(groups),
                "pending": sum(pairs(group)[b"pending"] for group in groups),
                "deleted": max(0, pairs(told).get(b"entries-added", length) - length),
            }
        yield kind.decode(), row


def _look_at_file(source: File, plan: dict[str, Any]) -> None:
    try:
        with source.path.open("rb", buffering=0) as opened:
            file = RdbFile(opened.read)
            for value in file:
                plan["expiring"] += value.key.expires_ms > 0
                if isinstance(value, StreamValue):
                    start = file.offset
                    head = value.head()
                    plan["streams"].append(
                        {
                            "db": value.key.db,
                            "key": name_of(value.key.name),
                            "entries": head.length,
                            "bytes": file.offset - start,
                            "groups": len(head.groups),
                            "pending": sum(group.pending.length for group in head.groups),
                            "deleted": max(0, head.entries_added - head.length),
                        }
                    )
                elif isinstance(value, StringValue):
                    plan["strings"] += 1
                else:
                    assert isinstance(value, OtherValue)
                    plan["others"][value.kind] = plan["others"].get(value.kind, 0) + 1
            plan["what"] = f"RDB file, version {file.version}, of " + file.about.get(
                b"redis-ver", file.about.get(b"valkey-ver", b"somebody")
            ).decode(errors="replace")
    except RdbError as error:
        raise Refused(f"{source.path} is damaged: {error}", "redis-check-rdb says more") from None


def plan_lines(plan: dict[str, Any], source: str, url: str) -> list[str]:
    """The plan for people."""
    console = Console(width=COLUMNS, color_system=None)
    table = Table("stream", box=None, pad_edge=False)
    for name in ("entries", "bytes", "groups", "pending", "deleted or trimmed"):
        table.add_column(name, justify="right")
    rows = sorted(plan["streams"], key=lambda row: -row["entries"])
    for row in rows[:SHOWN]:
        where = f"{row['db']}:" if row["db"] else ""
        figures = [
            f"{row[name]:,}" for name in ("entries", "bytes", "groups", "pending", "deleted")
        ]
        table.add_row(where + row["key"], *figures)
    with console.capture() as shown:
        console.print(table)
    lines = shown.get().rstrip("\n").split("\n") if rows else []
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more streams")
    lines.append(f"source: {plan['source']}: {plan['what']}")
    lines.append(f"target: {plan['target']}: {plan['target_is']}")
    others = ", ".join(f"{n} {kind}" for kind, n in sorted(plan["others"].items()))
    lines.append(
        f"mode: {plan['mode']}: {plan['why']}; {plan['entries']:,} entries,"
        f" {plan['strings']} strings, {plan['expiring']} keys that expire,"
        f" about {plan['eta_s']} s"
    )
    if others:
        lines.append(f"stay behind, of other types: {others}")
    lines += [f"not allowed: {what}" for what in plan["cannot"]]
    lines.append(f"next: respq migrate run {source} -u {url}")
    return lines
