"""``respq stream ls|show|trim``: which streams there are, what is in one, and making it shorter."""

from __future__ import annotations

import click

from tools.connection import Server, Trouble, talks_to_server, text
from tools.living.counting import COUNTED_MAX, count_entries, counted
from tools.living.facts import GroupFacts, StreamFacts, read_groups, read_stream, read_streams
from tools.living.lag import group_table
from tools.living.names import STREAM, stream_names
from tools.living.output import (
    agree,
    columns,
    dry_run_option,
    print_json,
    print_table,
    say,
    yes_option,
)
from tools.living.units import Duration, age, count, id_key, place_id


@click.group(short_help="List, show and trim streams.")
def stream() -> None:
    """List, show and trim streams."""


@stream.command("ls")
@talks_to_server
@click.argument("match", default="*")
def ls(server: Server, in_json: bool, match: str) -> None:
    """List the streams, or those whose names MATCH a pattern.

    \b
    respq stream ls
    respq stream ls 'orders:*' --json
    """
    from rich.markup import escape

    found = read_streams(server, stream_names(server, match))
    if in_json:
        for each in found:
            print_json(each.to_json())
        return
    rows = [
        (
            escape(text(each.name)),
            count(each.length),
            str(each.groups),
            age(each.oldest_ms) if each.length else "",
            age(each.newest_ms) if each.length else "",
            "" if each.expires_ms is None else age(each.expires_ms),
        )
        for each in found
    ]
    print_table(columns(("STREAM", "LENGTH", "GROUPS", "OLDEST", "NEWEST", "EXPIRES IN"), rows))


@stream.command("show")
@talks_to_server
@click.argument("name", type=STREAM)
def show(server: Server, in_json: bool, name: bytes) -> None:
    """Show what is in the stream NAME, and its groups.

    \b
    respq stream show orders
    """
    found = read_stream(server, name)
    groups = read_groups(server, [name])
    if in_json:
        told = found.to_json()
        print_json(told | {"groups": [group.to_json() for group in groups]})
        return
    for label, value in describe(found):
        click.echo(f"{label:<14}{value}")
    if groups:
        click.echo()
        print_table(group_table(groups))


def describe(found: StreamFacts) -> list[tuple[str, str]]:
    """A stream in words."""
    lines = [
        ("stream", text(found.name)),
        ("entries", count(found.length)),
        ("ever added", count(found.entries_added)),
        ("first ID", found.first_id + old(found.oldest_ms)),
        ("last ID", found.last_id + old(found.newest_ms)),
    ]
    if found.length == 0:
        lines[3:] = [("last ID", found.last_id)]
    if found.expires_ms is not None:
        lines.append(("expires in", age(found.expires_ms)))
    return lines


def old(milliseconds: int | None) -> str:
    """The age of an entry, if its ID tells it."""
    return "" if milliseconds is None else f"  ({age(milliseconds)} old)"


@stream.command("trim")
@talks_to_server
@click.option("--maxlen", type=click.IntRange(0), metavar="N", help="Keep the newest N entries.")
@click.option(
    "--older-than", type=Duration(), metavar="DURATION", help="Delete what is older than this."
)
@click.option("--before", metavar="ID", help="Delete what comes before this ID.")
@dry_run_option
@yes_option
@click.argument("name", type=STREAM)
def trim(
    server: Server,
    in_json: bool,
    maxlen: int | None,
    older_than: int | None,
    before: str | None,
    dry_run: bool,
    yes: bool,
    name: bytes,
) -> None:
    """Delete the oldest entries of the stream NAME, and say first who has not done with them.

    \b
    respq stream trim orders --maxlen 100000 --dry-run
    respq stream trim orders --older-than 7d --yes
    """
    if (maxlen, older_than, before).count(None) != 2:
        raise click.UsageError("say one of --maxlen, --older-than and --before")
    found = read_stream(server, name)
    cut = cut_id(server, found, maxlen, older_than, before)
    number = count_entries(server, name, "-", f"({cut}")
    waits = [
        line
        for group in read_groups(server, [name])
        if (line := who_waits(server, group, cut)) is not None
    ]
    plan = f"deletes {counted(number)} of {count(found.length)} entries, all before {cut}"
    if dry_run or not yes:
        for line in waits:
            say(line)
    if dry_run:
        deleted = number
    elif number == 0:
        deleted = 0
    else:
        agree(f"This {plan}.", yes=yes)
        deleted = server.ask("XTRIM", name, "MINID", "=", cut)
    if in_json:
        told = {"stream": text(name), "before": cut, "deleted": deleted, "dry_run": dry_run}
        if dry_run:
            told["deleted_at_least"] = number > COUNTED_MAX
        print_json(told)
    else:
        click.echo(f"would do: {plan}" if dry_run else f"deleted {count(deleted)} entries")


def cut_id(
    server: Server,
    found: StreamFacts,
    maxlen: int | None,
    older_ms: int | None,
    before: str | None,
) -> str:
    """The ID of the first entry that stays. Raises UsageError."""
    if maxlen is not None:
        return id_of_newest(server, found, maxlen)
    try:
        now_ms = server.now_ms()
        cut = place_id(before if before is not None else str(now_ms - (older_ms or 0)), now_ms)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return after(found.last_id) if cut == "$" else cut


def id_of_newest(server: Server, found: StreamFacts, number: int) -> str:
    """The ID of the oldest among the newest ``number`` entries."""
    if number >= found.length:
        return found.first_id
    if number == 0:
        return after(found.last_id)
    end, left = "+", number
    while True:
        page = server.ask("XREVRANGE", found.name, end, "-", "COUNT", min(left, 1000))
        left -= len(page)
        if left == 0 or not page:
            return str(page[-1][0].decode()) if page else found.first_id
        end = f"({page[-1][0].decode()}"


def after(entry_id: str) -> str:
    """The next ID. Raises Trouble for the last there can be."""
    ms, seq = id_key(entry_id)
    if seq < 2**64 - 1:
        return f"{ms}-{seq + 1}"
    if ms == 2**64 - 1:
        raise Trouble("the stream ends at the last ID there can be", "respq cli DEL STREAM")
    return f"{ms + 1}-0"


def who_waits(server: Server, group: GroupFacts, cut: str) -> str | None:
    """What a group has not done with before an ID; None if it has."""
    name = text(group.name)
    before = f"({cut}"
    pending = len(
        server.ask("XPENDING", group.stream, group.name, "-", before, COUNTED_MAX)
        if group.pending
        else []
    )
    ahead = count_entries(server, group.stream, f"({group.last_delivered_id}", before)
    parts = [f"has {counted(pending)} of them pending"] if pending else []
    parts += [f"was not given {counted(ahead)} of them"] if ahead else []
    return f"group {name} {' and '.join(parts)}" if parts else None
