"""``respq bench``: respq beside redis-server with the same durability, as ratios.

Standard output carries the result alone, a table or JSON; progress goes to standard error.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tools.bench.contender import ContenderError, installed_respq
from tools.bench.contest import Programs, run
from tools.bench.generator import LoadFailed
from tools.bench.outcome import FigureOutcome, Outcome, RowOutcome
from tools.bench.rows import Scale
from tools.bench.table import NAMES, WORK

MISSED = 3
REPORT_COLUMNS = 150


def chosen(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> frozenset[str]:
    """The rows asked for; all, if none is."""
    wanted = frozenset(name for given in names for name in given.split(","))
    unknown = wanted - set(NAMES)
    if unknown:
        raise click.BadParameter(
            f"no row {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    return wanted or frozenset(NAMES)


class WithStore(click.Group):
    """The benchmark beside redis-server, and ``store``, which is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The one subcommand."""
        return ["store"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name != "store":
            return None
        from tools.bench.store.command import store

        return store


@click.group(cls=WithStore, invoke_without_command=True)
@click.option("--rows", multiple=True, callback=chosen, help="Names of rows, with commas; all.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Least seconds of a round. Rows of writes go on for three memtable flushes.",
)
@click.option(
    "--entries",
    default=2_000_000,
    show_default=True,
    type=click.IntRange(1),
    help="Length of the streams that rounds start from.",
)
@click.option("--recovery-entries", default=5_000_000, show_default=True, type=click.IntRange(1))
@click.option("--redis", default="redis-server", show_default=True, help="The redis-server.")
@click.option("--respq", default=None, help="The respq command; the one of this installation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--calibrate", is_flag=True, help="redis-server on both sides: how level is it?")
@click.option("--strict", is_flag=True, help=f"Exit with {MISSED} if a goal is missed.")
@click.pass_context
def bench(
    context: click.Context,
    rows: frozenset[str],
    rounds: int,
    seconds: float,
    entries: int,
    recovery_entries: int,
    redis: str,
    respq: str | None,
    as_json: bool,
    calibrate: bool,
    strict: bool,
) -> None:
    """Measure respq beside redis-server.

    ``store`` measures its store alone, beside other stores.

    Each row starts both servers afresh, with the same appendfsync, and loads them in turn: respq,
    redis, respq, redis and so on. Rows on what an option costs run a second respq that does without
    it, in the column of redis. The ratio is the median of the rounds' ratios; its spread is
    their least and greatest. A row whose load generator needed 90 % of a core beside a server is
    marked client-bound: that server could have done more. Where other processes were busy, the
    ratio by processor time is the one to trust.
    """
    if context.invoked_subcommand is not None:
        return
    scale = Scale(rounds, seconds, entries, recovery_entries=recovery_entries)
    programs = Programs(redis if calibrate else respq or installed_respq(), redis, calibrate)
    progress = Console(stderr=True, highlight=False)
    outcomes: list[Outcome] = []
    failed = 0
    with progress.status("starting") as status:

        def say(text: str) -> None:
            status.update(text)
            progress.print(text, markup=False)

        for work in WORK:
            if work.name not in rows:
                continue
            try:
                outcomes.append(run(work, programs, scale, say))
            except (ContenderError, LoadFailed) as error:
                say(f"{work.name}: {error}")
                failed += 1
    if as_json:
        result = {"machine": machine(redis), "rows": [outcome.to_json() for outcome in outcomes]}
        click.echo(json.dumps(result, indent=2))
    else:
        wide = None if sys.stdout.isatty() else REPORT_COLUMNS
        Console(width=wide).print(as_table(outcomes, calibrate=calibrate))
    if failed > 0:
        raise click.ClickException(f"{failed} of {len(rows)} rows could not be measured")
    if strict and not all(outcome.hit for outcome in outcomes):
        raise SystemExit(MISSED)


def machine(redis: str) -> dict[str, Any]:
    """Where this was measured."""
    version = subprocess.run([redis, "--version"], capture_output=True, text=True, check=True)
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis": version.stdout.strip(),
    }


def as_table(outcomes: list[Outcome], *, calibrate: bool) -> Table:
    """The result for a reader."""
    table = Table(
        caption="p50/p99 in ms and cpu (server + generator, shares of a core) are respq's;"
        " by cpu: ratio of the work done in a second of the server's processor time"
    )
    for heading in ("work", "respq" if not calibrate else "redis (as respq)", "redis"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for heading in ("ratio", "spread", "goal", "", "by cpu", "p50/p99", "cpu"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        if isinstance(outcome, RowOutcome):
            table.add_row(*row_cells(outcome))
        else:
            table.add_row(*figure_cells(outcome))
    return table


def verdict(outcome: Outcome) -> str:
    """Goal met or not."""
    return "[green]hit[/]" if outcome.hit else "[red]miss[/]"


def row_cells(outcome: RowOutcome) -> tuple[str, ...]:
    """A row of the table."""
    ours = median(one.rate for one in outcome.respq)
    theirs = median(one.rate for one in outcome.redis)
    bound = outcome.client_bound
    notes = [f"client-bound beside {' and '.join(bound)}"] if bound else []
    notes += ["other processes were busy"] if outcome.disturbed else []
    shown = sorted(outcome.respq, key=lambda one: one.rate)[len(outcome.respq) // 2]
    return (
        "\n".join([outcome.row.title, *(f"[yellow]{note}[/]" for note in notes)]),
        f"{ours:,.0f} {outcome.row.unit}",
        f"{theirs:,.0f}",
        f"[bold]{outcome.ratio:.2f}[/]",
        f"{min(outcome.ratios):.2f}-{max(outcome.ratios):.2f}",
        f"≥ {outcome.row.goal:g}",
        verdict(outcome),
        f"{outcome.cpu_ratio:.2f}",
        f"{shown.p50_us / 1000:.2f}/{shown.p99_us / 1000:.2f}",
        f"{shown.server_cpu:.2f}+{shown.generator_cpu:.2f}",
    )


def figure_cells(outcome: FigureOutcome) -> tuple[str, ...]:
    """A figure of the table."""
    ours = [one.value for one in outcome.respq]
    theirs = median(one.value for one in outcome.redis)
    unit = outcome.figure.unit
    return (
        outcome.figure.title,
        f"{outcome.value:.3g} {unit}",
        f"{theirs:.3g}",
        "",
        f"{min(ours):.3g}-{max(ours):.3g}",
        f"≤ {outcome.figure.goal:g}",
        verdict(outcome),
        "",
        "",
        "",
    )
