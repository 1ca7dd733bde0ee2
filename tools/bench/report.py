"""The result of ``respq bench`` for a reader, and where it was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from statistics import median
from typing import Any

from rich.table import Table

from tools.bench.outcome import FigureOutcome, Outcome, RowOutcome


def machine(redis: str, given: str = "") -> dict[str, Any]:
    """Where this was measured, and beside what."""
    beside = given
    if not given:
        version = subprocess.run([redis, "--version"], capture_output=True, text=True, check=True)
        beside = version.stdout.strip()
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis": beside,
    }


def as_table(outcomes: list[Outcome], *, calibrate: bool) -> Table:
    """The result for a reader."""
    table = Table(
        caption="p50/p99 in ms and cpu (server + generator, shares of a core) are respq's;"
        " by cpu: ratio of the work done in a second of the server's processor time"
    )
    for heading in ("work", "respq" if not calibrate else "redis (as respq)", "redis"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for heading in ("durability", "ratio", "spread", "goal", "", "by cpu", "p50/p99", "cpu"):
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


def same_or_both(durability: tuple[str, str]) -> str:
    """The durability of both servers, once if it is the same."""
    ours, theirs = durability
    return ours if ours == theirs else f"{ours} / {theirs}"


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
        same_or_both(outcome.durability),
        f"[bold]{outcome.ratio:.2f}[/]",
        f"{min(outcome.ratios):.2f}-{max(outcome.ratios):.2f}",
        f"≥ {outcome.row.goal:g}",
        verdict(outcome),
        f"{outcome.cpu_ratio:.2f}" if outcome.sees_cpu else "?",
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
        outcome.figure.appendfsync,
        "",
        f"{min(ours):.3g}-{max(ours):.3g}",
        f"≤ {outcome.figure.goal:g}",
        verdict(outcome),
        "",
        "",
        "",
    )
