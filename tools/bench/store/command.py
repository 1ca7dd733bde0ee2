"""``respq bench store``: the figures of the store, in one run on one machine, peers beside them.

Standard output carries the result alone, a table or JSON; progress goes to standard error. Exit
codes as in ``respq bench``, and 2 where a peer is not installed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from tools.bench.contender import ContenderError, installed_respq
from tools.bench.contest import Say
from tools.bench.generator import LoadFailed
from tools.bench.store import servers, sizes, speeds, starts
from tools.bench.store.keeper import Unfaithful
from tools.bench.store.peers import PeersMissing, require_peers
from tools.bench.store.reading import Reading, Scale

MISSED: Final = 3
ASKED_WRONGLY: Final = 2
REPORT_COLUMNS: Final = 170
GIGA: Final = 1_000_000_000

ROWS: Final[dict[str, Callable[[Scale, Say], list[Reading]]]] = {
    "sizes": sizes.sizes,
    "flights": sizes.flights,
    "amplification": sizes.amplification,
    "appends": speeds.appends,
    "range": speeds.ranges,
    "replay": starts.replay,
    "start": starts.start,
    "trim": speeds.trim,
    "streams": servers.streams,
    "memory": servers.memory,
    "latency": servers.latency,
}


def chosen(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> list[str]:
    """The rows asked for, in the order of the table; all, if none is."""
    wanted = {name for given in names for name in given.split(",")}
    unknown = wanted - ROWS.keys()
    if unknown:
        raise click.BadParameter(
            f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}"
        )
    return [name for name in ROWS if not wanted or name in wanted]


def counts(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """Numbers with commas between."""
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} are not numbers with commas between") from None
    if min(found) < 1:
        raise click.BadParameter("at least one entry")
    return found


@click.command()
@click.option("--rows", multiple=True, callback=chosen, help="Names of rows, with commas; all.")
@click.option(
    "--entries",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(1000),
    help="Sensor readings of a row; of events a quarter as many, of orders a sixteenth.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option(
    "--start-entries",
    default="10000000",
    show_default=True,
    callback=counts,
    help="Lengths of the streams of the row start, with commas.",
)
@click.option("--streams", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option(
    "--gigabytes",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.001),
    help="Entries of the row memory.",
)
@click.option("--pending", default=1_000_000, show_default=True, type=click.IntRange(10))
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Time of each load of the row latency, of which a round has three.",
)
@click.option("--redis", default="redis-server", show_default=True, help="The redis-server.")
@click.option("--respq", default=None, help="The respq command; the one of this installation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--strict", is_flag=True, help=f"Exit with {MISSED} if a goal is missed.")
def store(
    rows: list[str],
    entries: int,
    rounds: int,
    start_entries: tuple[int, ...],
    streams: int,
    gigabytes: float,
    pending: int,
    seconds: float,
    redis: str,
    respq: str | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Measure the store beside RocksDB, LevelDB and Redis.

    All get the same entries and are as durable: a sync for each group, appendfsync as said. What
    was written is read back before a figure counts. RocksDB carries the keys and values of Apache
    Kvrocks. The ratio says how many times better the figure is than that of the best peer.
    """
    from tools.bench.report import machine

    try:
        require_peers(redis)
    except PeersMissing as missing:
        click.echo(f"respq bench store: {missing}", err=True)
        raise SystemExit(ASKED_WRONGLY) from None
    scale = Scale(
        entries,
        rounds,
        start_entries,
        streams,
        int(gigabytes * GIGA),
        pending,
        seconds,
        redis,
        respq or installed_respq(),
    )
    load = os.getloadavg()[0]
    progress = Console(stderr=True, highlight=False)
    readings: list[Reading] = []
    failed = 0
    with ended_in_order(), progress.status("starting") as status:

        def say(text: str) -> None:
            status.update(text)
            progress.print(text, markup=False)

        for name in rows:
            try:
                readings += ROWS[name](scale, say)
            except (ContenderError, LoadFailed, Unfaithful) as error:
                say(f"{name}: {error}")
                failed += 1
    if as_json:
        where = {**machine(redis), "load_before": load}
        result = {"machine": where, "figures": [one.to_json() for one in readings]}
        click.echo(json.dumps(result, indent=2))
    else:
        wide = None if sys.stdout.isatty() else REPORT_COLUMNS
        Console(width=wide).print(as_table(readings, load))
    if failed > 0:
        raise click.ClickException(f"{failed} of {len(rows)} rows could not be measured")
    if strict and not all(one.hit for one in readings):
        raise SystemExit(MISSED)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends as ^C does: servers are ended, gigabytes removed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def as_table(readings: list[Reading], load: float) -> Table:
    """The result for a reader; ``load``: how busy the machine was before."""
    caption = "ratio: how many times better than the best peer that the goal names"
    table = Table(caption=f"{caption}; load average before: {load:.1f}")
    for heading in ("figure", "respq", "peers", "ratio", "goal", "", "durability"):
        right = heading in {"respq", "peers", "ratio", "goal"}
        table.add_column(heading, justify="right" if right else "left")
    for one in readings:
        ratio = one.ratio
        table.add_row(
            one.title if not one.note else f"{one.title}\n[dim]{one.note}[/]",
            f"[bold]{number(one.value)}[/] {one.unit}",
            "\n".join(f"{name} {number(value)}" for name, value in one.peers.items()),
            "" if ratio is None else f"{ratio:.2f}",
            one.goal.text(lower=one.lower),
            "[green]hit[/]" if one.hit else "[red]miss[/]",
            one.durability,
        )
    return table


def number(value: float) -> str:
    """A figure with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
