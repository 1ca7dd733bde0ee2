"""``respq pending``: what was delivered and not acknowledged, and deciding what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tools.connection import Refused, Server, Trouble, Word, talks_to_server, text
from tools.living.entries import Entry, entry_of, fields_to_json, in_words
from tools.living.facts import PendingFacts, read_pending
from tools.living.names import CONSUMER, GROUP, STREAM
from tools.living.output import agree, columns, print_json, print_table, say, yes_option
from tools.living.units import Duration, age, count

WORDS_MAX = 60
FATAL = 2**63 - 1  # the deliveries of an entry that was released as hopeless


@click.command(short_help="Show, claim, end pending entries.")
@talks_to_server
@click.option("--older", type=Duration(), default=0, metavar="DURATION", help="Idle for so long.")
@click.option("-c", "--consumer", type=CONSUMER, help="Those of one consumer.")
@click.option(
    "-n", "at_most", default=100, show_default=True, type=click.IntRange(1), help="At most so many."
)
@click.option("--claim", "claimer", type=CONSUMER, metavar="NAME", help="Give them to a consumer.")
@click.option("--ack", is_flag=True, help="Acknowledge them: nobody gets them again.")
@click.option("--nack", is_flag=True, help="Release them: who asks for overdue ones gets them.")
@click.option("--dry-run", is_flag=True, help="With an action: say to what, and do nothing.")
@yes_option
@click.argument("stream", type=STREAM)
@click.argument("group", type=GROUP)
@click.argument("ids", nargs=-1, metavar="[ID]...")
def pending(
    server: Server,
    in_json: bool,
    older: int,
    consumer: bytes | None,
    at_most: int,
    claimer: bytes | None,
    ack: bool,
    nack: bool,
    dry_run: bool,
    yes: bool,
    stream: bytes,
    group: bytes,
    ids: tuple[str, ...],
) -> None:
    """Show what GROUP of STREAM was given and has not acknowledged, the oldest IDs first; or those
    of some IDs. With --claim, --ack or --nack, that is done to those that would be shown.

    \b
    respq pending orders billing --older 1m
    respq pending orders billing --older 10m --claim worker-2
    respq pending orders billing 1795445541453-0 --ack
    """
    if [claimer is not None, ack, nack].count(True) > 1:
        raise click.UsageError("say one of --claim, --ack and --nack")
    acting = claimer is not None or ack or nack
    if ids:
        rows = [row for one in ids for row in _of_id(server, stream, group, one)]
        rows = [row for row in rows if row.idle_ms >= older and consumer in {None, row.consumer}]
    else:
        rows = read_pending(
            server, stream, group, older_ms=older, consumer=consumer, at_most=at_most
        )
    if not acting:
        _show(server, stream, rows, in_json=in_json, full=len(rows) == at_most and not ids)
        return
    word = "acknowledged" if ack else "released" if nack else f"given to {text(claimer or b'')}"
    done: list[str] = []
    if rows and not dry_run:
        if ack:
            many = f"{count(len(rows))} entries of {text(group)}"
            agree(f"This acknowledges {many}: nobody gets them again.", yes=yes)
        done = _act(server, stream, group, rows, older, claimer, ack=ack)
    if in_json:
        for row in rows:
            print_json({"id": row.id, "action": word, "done": row.id in done})
    elif dry_run:
        for row in rows:
            click.echo(row.id)
        say(f"{count(len(rows))} entries would be {word}")
    else:
        click.echo(f"{count(len(done))} of {count(len(rows))} entries {word}")


def _of_id(server: Server, stream: bytes, group: bytes, entry_id: str) -> list[PendingFacts]:
    """The pending entry of an ID, in a list; an empty one if there is none."""
    rows = server.ask("XPENDING", stream, group, entry_id, entry_id, 1)
    return [PendingFacts(row[0].decode(), row[1], row[2], row[3]) for row in rows]


def _act(
    server: Server,
    stream: bytes,
    group: bytes,
    rows: Sequence[PendingFacts],
    older_ms: int,
    claimer: bytes | None,
    *,
    ack: bool,
) -> list[str]:
    """Do it; the IDs that it was done to. What somebody else took or finished meanwhile is none."""
    ids = [row.id for row in rows]
    if claimer is not None:
        claimed = server.ask("XCLAIM", stream, group, claimer, older_ms, *ids, "JUSTID")
        return [each.decode() for each in claimed]
    if ack:
        asked: list[tuple[Word, ...]] = [("XACK", stream, group, one) for one in ids]
    elif server.has("XNACK"):
        asked = [("XNACK", stream, group, "FAIL", "IDS", "1", one) for one in ids]
    else:
        raise Trouble(
            f"{server.title} cannot release entries (XNACK came with Redis 8.8)",
            f"respq pending {text(stream)} {text(group)} --claim NAME",
        )
    replies = server.ask_all(asked)
    for reply in replies:
        if isinstance(reply, Refused):
            raise reply
    return [one for one, reply in zip(ids, replies, strict=True) if reply == 1]


def _show(
    server: Server, stream: bytes, rows: Sequence[PendingFacts], *, in_json: bool, full: bool
) -> None:
    replies = server.ask_all([("XRANGE", stream, row.id, row.id) for row in rows])
    entries = [
        entry_of(reply[0]) if not isinstance(reply, Refused) and reply else None
        for reply in replies
    ]
    if in_json:
        for row, entry in zip(rows, entries, strict=True):
            print_json(_to_json(row, entry))
        return
    from rich.markup import escape

    table = [
        (
            row.id,
            escape(text(row.consumer)) if row.consumer else "(released)",
            "" if row.idle_ms < 0 else age(row.idle_ms),
            "fatal" if row.deliveries == FATAL else str(row.deliveries),
            "(deleted)" if entry is None else escape(in_words(entry.pairs, WORDS_MAX)),
        )
        for row, entry in zip(rows, entries, strict=True)
    ]
    print_table(columns(("ID ", "CONSUMER ", "IDLE", "DELIVERIES", "FIELDS "), table, left=2))
    if full:
        say(f"the first {len(rows)}; more with -n")


def _to_json(row: PendingFacts, entry: Entry | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "consumer": text(row.consumer) or None,
        "idle_ms": None if row.idle_ms < 0 else row.idle_ms,
        "deliveries": row.deliveries,
        "fields": None if entry is None else fields_to_json(entry.pairs),
    }
