"""``respq group show|seek|set``: a group, where it reads on, what it is promised.

Rules of ``seek``: pending entries stay pending. What is delivered again after a step back counts as
delivered once, also where it was pending. Where the entries beyond the new place could be counted,
the server is told how many the group has read, so that its lag stays exact.
"""

from __future__ import annotations

from typing import Any

import click

from tools.connection import Refused, Server, Trouble, talks_to_server, text
from tools.living.counting import COUNTED_MAX, count_entries, counted
from tools.living.facts import (
    GroupFacts,
    StreamFacts,
    read_consumers,
    read_group,
    read_groups,
    read_stream,
)
from tools.living.lag import group_table, note
from tools.living.names import GROUP, STREAM
from tools.living.output import (
    agree,
    columns,
    dry_run_option,
    print_json,
    print_table,
    yes_option,
)
from tools.living.units import age, count, duration_ms, id_key, place_id


@click.group(short_help="Show groups, move them, set their policy.")
def group() -> None:
    """Show groups, move them, set what they are promised."""


@group.command("show")
@talks_to_server
@click.argument("stream", type=STREAM)
@click.argument("group", type=GROUP, required=False)
def show(server: Server, in_json: bool, stream: bytes, group: bytes | None) -> None:
    """Show the groups of STREAM, or GROUP and its consumers.

    \b
    respq group show orders
    respq group show orders billing
    """
    if group is None:
        read_stream(server, stream)
        groups = read_groups(server, [stream])
        if in_json:
            for each in groups:
                print_json(each.to_json())
        else:
            print_table(group_table(groups))
        return
    found = read_group(server, stream, group)
    consumers = read_consumers(server, stream, group)
    timeout_ms = idle_timeout_ms(server, stream, group)
    if in_json:
        told = found.to_json() | {"idle_timeout_ms": timeout_ms}
        told["members"] = [each.to_json() for each in consumers]
        print_json(told)
        return
    for label, value in describe(found, timeout_ms, given=server.has("XQ.GROUP")):
        click.echo(f"{label:<16}{value}")
    if consumers:
        from rich.markup import escape

        rows = [
            (
                escape(text(each.name)),
                count(each.pending),
                age(each.idle_ms),
                "-" if each.inactive_ms is None else age(each.inactive_ms),
            )
            for each in consumers
        ]
        click.echo()
        print_table(columns(("CONSUMER", "PENDING", "LAST SEEN", "LAST BUSY"), rows))


def describe(found: GroupFacts, timeout_ms: int | None, *, given: bool) -> list[tuple[str, str]]:
    """A group in words. ``given`` is whether the server can give back what is pending too long."""
    lines = [
        ("group", f"{text(found.name)} of {text(found.stream)}"),
        ("lag", count(found.lag)),
        ("pending", count(found.pending)),
        ("last delivered", found.last_delivered_id),
        ("entries read", count(found.entries_read)),
    ]
    if found.pending or found.lag != 0:
        lines.insert(3, ("oldest", age(found.oldest_ms)))
    if given:
        lines.append(("idle timeout", "off" if timeout_ms is None else age(timeout_ms)))
    if said := note(found):
        lines.append(("note", said))
    return lines


def idle_timeout_ms(server: Server, stream: bytes, group: bytes) -> int | None:
    """After how long the server delivers again; None if never, or if it is no respq."""
    (reply,) = server.ask_all([("XQ.GROUP", "GET", stream, group)])
    if isinstance(reply, Refused):
        return None
    told = dict(zip(reply[::2], reply[1::2], strict=True))
    timeout: int | None = told.get(b"idle-timeout")
    return timeout


@group.command("seek")
@talks_to_server
@click.option(
    "--to",
    "where",
    required=True,
    metavar="PLACE",
    help="0, $, an ID, a time (2026-01-31T12:00, UTC), or so long ago (-1h). What comes after it"
    " is delivered next.",
)
@dry_run_option
@yes_option
@click.argument("stream", type=STREAM)
@click.argument("group", type=GROUP)
def seek(
    server: Server,
    in_json: bool,
    where: str,
    dry_run: bool,
    yes: bool,
    stream: bytes,
    group: bytes,
) -> None:
    """Let GROUP of STREAM read on from another place, and say what comes again or is left out.

    \b
    respq group seek orders billing --to -1h --dry-run
    respq group seek orders billing --to $ --yes
    """
    found = read_stream(server, stream)
    before = read_group(server, stream, group)
    try:
        place = place_id(where, server.now_ms())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    to_id = found.last_id if place == "$" else place
    old, new = id_key(before.last_delivered_id), id_key(to_id)
    again = skipped = 0
    if new < old:
        again = count_entries(server, stream, f"({to_id}", before.last_delivered_id)
    elif new > old:
        skipped = count_entries(server, stream, f"({before.last_delivered_id}", to_id)
    plan = f"goes from {before.last_delivered_id} to {to_id}: {effect(again, skipped)}"
    if not dry_run and new != old:
        agree(f"{text(group)} {plan}.", yes=yes)
        read = entries_read(server, found, to_id)
        known = () if read is None else ("ENTRIESREAD", read)
        server.ask("XGROUP", "SETID", stream, group, to_id, *known)
    if in_json:
        told: dict[str, Any] = {
            "stream": text(stream),
            "group": text(group),
            "from": before.last_delivered_id,
            "to": to_id,
            "delivered_again": again,
            "skipped": skipped,
            "counted_at_most": COUNTED_MAX,
            "dry_run": dry_run,
        }
        print_json(told)
    elif new == old:
        click.echo(f"{text(group)} is at {to_id} already")
    else:
        click.echo(f"{'would do: ' if dry_run else ''}{text(group)} {plan}")


def effect(again: int, skipped: int) -> str:
    """What a seek does, in words."""
    if again:
        return f"{counted(again)} entries are delivered again"
    if skipped:
        return f"{counted(skipped)} entries are never delivered"
    return "no entry lies between"


def entries_read(server: Server, found: StreamFacts, to_id: str) -> int | None:
    """How many entries a group has read that stands at an ID; None if that cannot be known."""
    if found.entries_added is None:  # before Redis 7
        return None
    ahead = count_entries(server, found.name, f"({to_id}", found.last_id)
    return found.entries_added - ahead if ahead <= COUNTED_MAX else None


@group.command("set")
@talks_to_server
@click.option(
    "--idle-timeout",
    required=True,
    metavar="DURATION|off",
    help="Deliver again, to any plain reader, what has been pending for so long.",
)
@click.argument("stream", type=STREAM)
@click.argument("group", type=GROUP)
def set_policy(
    server: Server, in_json: bool, idle_timeout: str, stream: bytes, group: bytes
) -> None:
    """Set what the server does by itself for GROUP of STREAM. A respq can; Redis cannot.

    \b
    respq group set orders billing --idle-timeout 30s
    respq group set orders billing --idle-timeout off
    """
    try:
        value = "OFF" if idle_timeout == "off" else str(duration_ms(idle_timeout))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not server.has("XQ.GROUP"):
        names = f"{text(stream)} {text(group)}"
        raise Trouble(
            f"{server.title} gives nothing back by itself; only respq does",
            f"respq work {text(stream)} -g {text(group)} --lease {idle_timeout} -- CMD\n"
            f"     respq pending {names} --older {idle_timeout} --claim NAME",
        )
    server.ask("XQ.GROUP", "SET", stream, group, "IDLE-TIMEOUT", value)
    timeout_ms = idle_timeout_ms(server, stream, group)
    if in_json:
        told = {"stream": text(stream), "group": text(group), "idle_timeout_ms": timeout_ms}
        print_json(told)
    elif timeout_ms is None:
        click.echo(f"{text(group)}: idle timeout off")
    else:
        click.echo(f"{text(group)}: what is pending for {age(timeout_ms)} is delivered again")
