"""``respq export``: streams with their groups as lines of JSON; the form is in jsonl.py.

Rules: a stream is exported up to the ID that it had come to when its turn came, and its pending
entries as they are when they are read. So where others go on writing, a stream's entries are all
there up to that ID, but its groups may be a moment younger than its head. A stream that goes away
before its turn is left out. The IDs by which a stream knows what was added to it before (IDMP) are
not told by any command: they stay behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from tools.connection import Server, Trouble, talks_to_server
from tools.living.entries import as_item, entry_of, fields_to_json
from tools.living.facts import (
    ConsumerFacts,
    GroupFacts,
    PendingFacts,
    StreamFacts,
    or_none,
    read_consumers,
    read_groups,
    read_pending,
    read_streams,
)
from tools.living.jsonl import Writer
from tools.living.names import STREAM, stream_names
from tools.living.output import print_json, say
from tools.living.units import count, id_key

PAGE = 1000
Lines = list[dict[str, Any]]


@click.command(short_help="Write streams as lines of JSON.")
@talks_to_server
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Not stdout.")
@click.option("--zstd", is_flag=True, help="Compress; so does an --output that ends in .zst.")
@click.option("--all", "everything", is_flag=True, help="All streams of the database.")
@click.option("--no-groups", is_flag=True, help="The entries alone.")
@click.argument("streams", nargs=-1, type=STREAM, metavar="[STREAM]...")
def export(
    server: Server,
    in_json: bool,
    output: Path | None,
    zstd: bool,
    everything: bool,
    no_groups: bool,
    streams: tuple[bytes, ...],
) -> None:
    """Write streams with their groups and pending entries as lines of JSON, for `respq import` and
    for any program. With --json, what was written is told on standard error as JSON. Idempotent IDs
    (XADD IDMP) are not part of it.

    \b
    respq export orders | jq .fields
    respq export --all -o streams.jsonl.zst
    """
    if everything == bool(streams):
        raise click.UsageError("name streams, or say --all")
    names = list(streams) or stream_names(server)
    for name in streams:
        server.ask(
            "XINFO", "STREAM", name
        )  # one that is not there is noticed before any is written
    compressed = zstd or (output is not None and output.suffix == ".zst")
    if compressed and output is None and sys.stdout.isatty():
        raise Trouble("zstd is nothing for a terminal", "respq export ... --zstd -o FILE")
    if output is None:
        written = _write(server, names, Writer(sys.stdout.buffer, compressed=compressed), no_groups)
    else:
        partial = output.with_name(output.name + ".partial")
        try:
            with partial.open("wb") as file:
                written = _write(server, names, Writer(file, compressed=compressed), no_groups)
            partial.replace(output)
        except OSError as error:
            raise Trouble(f"cannot write {output}: {error.strerror}", "df -h") from None
    if in_json:
        print_json({"streams": written.streams, "entries": written.entries}, err=True)
    else:
        say(f"exported {count(written.entries)} entries of {count(written.streams)} streams")


class Written(NamedTuple):
    """How much an export has written."""

    streams: int
    entries: int


def _write(server: Server, names: list[bytes], writer: Writer, no_groups: bool) -> Written:
    """Write the streams that are still there when their turn comes."""
    streams = entries = 0
    for name in names:
        found = read_streams(server, [name])
        if not found:
            continue
        (head,) = found
        streams += 1
        groups = [] if no_groups else read_groups(server, [head.name])
        for page in _entries(server, head):
            entries += len(page)
            writer.write(page)
        writer.write([_head(server, head)])
        for group in groups:
            writer.write([_group(server, group)])
            for page in _pending(server, group, head.last_id):
                writer.write(page)
    writer.close()
    return Written(streams, entries)


def _entries(server: Server, head: StreamFacts) -> Iterator[Lines]:
    """The entries up to the head's last ID, a page at a time."""
    name, start = as_item(head.name), "-"
    while True:
        page = server.ask("XRANGE", head.name, start, head.last_id, "COUNT", PAGE)
        entries = [entry_of(reply) for reply in page]
        yield [
            {"stream": name, "id": entry.id, "fields": fields_to_json(entry.pairs)}
            for entry in entries
        ]
        if len(page) < PAGE:
            return
        start = f"({entries[-1].id}"


def _head(server: Server, head: StreamFacts) -> dict[str, Any]:
    told: dict[str, Any] = {
        "last_id": head.last_id,
        "entries_added": head.entries_added,
        "max_deleted_id": head.max_deleted_id,
    }
    if head.expires_ms is not None:
        # Redis 6 tells the time that is left alone.
        (at_ms,) = server.ask_all([("PEXPIRETIME", head.name)])
        told["expires_ms"] = or_none(at_ms) or server.now_ms() + head.expires_ms
    return {"stream": as_item(head.name), "head": told}


def _group(server: Server, group: GroupFacts) -> dict[str, Any]:
    from tools.living.group import idle_timeout_ms

    now_ms = server.now_ms()
    consumers = read_consumers(server, group.stream, group.name)
    return {
        "stream": as_item(group.stream),
        "group": {
            "name": as_item(group.name),
            "last_delivered_id": group.last_delivered_id,
            "entries_read": group.entries_read,
            "idle_timeout_ms": idle_timeout_ms(server, group.stream, group.name),
            "consumers": [_consumer(each, now_ms) for each in consumers],
        },
    }


def _consumer(told: ConsumerFacts, now_ms: int) -> dict[str, Any]:
    inactive_ms = told.inactive_ms
    return {
        "name": as_item(told.name),
        "seen_ms": now_ms - told.idle_ms,
        "active_ms": None if inactive_ms is None else now_ms - inactive_ms,
    }


def _pending(server: Server, group: GroupFacts, last_id: str) -> Iterator[Lines]:
    """The pending entries of a group up to an ID, a page at a time."""
    start = "-"
    while True:
        now_ms = server.now_ms()
        rows = read_pending(server, group.stream, group.name, start=start, at_most=PAGE)
        yield [_row(group, row, now_ms) for row in rows if id_key(row.id) <= id_key(last_id)]
        if len(rows) < PAGE:
            return
        start = f"({rows[-1].id}"


def _row(group: GroupFacts, row: PendingFacts, now_ms: int) -> dict[str, Any]:
    released = not row.consumer
    return {
        "stream": as_item(group.stream),
        "group": as_item(group.name),
        "pending": {
            "id": row.id,
            "consumer": None if released else as_item(row.consumer),
            "delivered_ms": None if released else now_ms - row.idle_ms,
            "deliveries": row.deliveries,
        },
    }
