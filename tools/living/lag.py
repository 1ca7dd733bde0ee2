"""``respq lag``: how far behind every group is; with ``--watch``, how quickly that changes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from tools.connection import Server, talks_to_server, text
from tools.living.facts import GroupFacts, read_groups
from tools.living.names import STREAM, stream_names
from tools.living.output import columns, print_json, print_table
from tools.living.rates import NO_RATES, Rates, rates_between
from tools.living.units import Duration, age, count, rate

if TYPE_CHECKING:
    from rich.table import Table

Watched = tuple[GroupFacts, Rates]
HEADINGS = ("STREAM ", "GROUP ", "LAG", "PENDING", "OLDEST", "CONSUMERS")
RATES = ("IN/s", "OUT/s", "EMPTY IN")
QUIET_MS = 60_000


def note(group: GroupFacts) -> str:
    """What should be looked at; empty if nothing."""
    left = group.pending or group.lag is None or group.lag > 0
    if not left:
        return ""
    if group.consumers == 0:
        return "no consumer"
    if group.quiet_ms is not None and group.quiet_ms >= QUIET_MS:
        return f"nobody has read for {age(group.quiet_ms)}"
    return ""


def group_table(groups: Sequence[GroupFacts]) -> Table:
    """Groups at one moment."""
    return columns((*HEADINGS, ""), [_cells(group) for group in groups], left=2)


def watch_table(watched: Sequence[Watched]) -> Table:
    """Groups with their rates."""
    rows = []
    for group, rates in watched:
        cells = _cells(group)
        rows.append((*cells[:-1], *_rate_cells(rates), cells[-1]))
    return columns((*HEADINGS, *RATES, ""), rows, left=2)


def _cells(group: GroupFacts) -> tuple[str, ...]:
    from rich.markup import escape

    behind = group.lag is None or group.lag > 0
    said = note(group)
    oldest = age(group.oldest_ms) if behind or group.pending else ""
    return (
        escape(text(group.stream)),
        escape(text(group.name)),
        f"[yellow]{count(group.lag)}[/]" if behind else count(group.lag),
        count(group.pending),
        f"[red]{oldest}[/]" if said else oldest,
        str(group.consumers),
        f"[red]{said}[/]" if said else "",
    )


def _rate_cells(rates: Rates) -> tuple[str, ...]:
    if rates == NO_RATES:
        return ("", "", "")
    return rate(rates.in_per_s), rate(rates.out_per_s), rates.empty_in


def watched_json(group: GroupFacts, rates: Rates) -> dict[str, object]:
    """A group for ``--json``."""
    return group.to_json() | rates._asdict()


def samples(
    server: Server, streams: Sequence[bytes], match: str, interval_ms: int, number: int | None
) -> Iterator[list[Watched]]:
    """The groups, again and again, with their rates since the time before."""
    before: dict[tuple[bytes, bytes], GroupFacts] = {}
    before_s = 0.0
    while number is None or number > 0:
        groups = read_groups(server, streams or stream_names(server, match))
        now_s = time.monotonic()
        yield [
            (group, rates_between(before.get((group.stream, group.name)), group, now_s - before_s))
            for group in groups
        ]
        before, before_s = {(group.stream, group.name): group for group in groups}, now_s
        number = None if number is None else number - 1
        if number != 0:
            time.sleep(max(0.0, now_s + interval_ms / 1000 - time.monotonic()))


@click.command(short_help="Show how far behind each group is.")
@talks_to_server
@click.option("--watch", is_flag=True, help="Again and again, with rates, until ^C.")
@click.option(
    "--interval", type=Duration(), default="2s", show_default=True, help="With --watch: how often."
)
@click.option("--count", "number", type=click.IntRange(1), help="With --watch: so many times.")
@click.option("--match", default="*", show_default=True, help="Streams whose names match.")
@click.argument("streams", nargs=-1, type=STREAM, metavar="[STREAM]...")
def lag(
    server: Server,
    in_json: bool,
    watch: bool,
    interval: int,
    number: int | None,
    match: str,
    streams: tuple[bytes, ...],
) -> None:
    """Show how far behind the groups of all streams are, or of those named.

    LAG is what was not delivered yet, as the server counts it; ? is where it cannot tell. OLDEST is
    the age of the oldest entry that the group has not done with. EMPTY IN is when it would be.

    \b
    respq lag
    respq lag orders --watch
    """
    for stream in streams:
        server.ask("XINFO", "STREAM", stream)  # says so if there is none
    if not watch:
        groups = read_groups(server, streams or stream_names(server, match))
        if in_json:
            for group in groups:
                print_json(group.to_json())
        else:
            print_table(group_table(groups))
        return
    with suppress(KeyboardInterrupt):
        for watched in samples(server, streams, match, interval, number):
            if in_json:
                for group, rates in watched:
                    print_json(watched_json(group, rates))
            else:
                print_table(watch_table(watched))
