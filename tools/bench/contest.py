"""Runs rows and figures: both servers side by side, rounds interleaved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tools.bench.contender import Contender
from tools.bench.figures import Figure, Measured
from tools.bench.outcome import FigureOutcome, Outcome, RowOutcome
from tools.bench.rows import PLAIN, Round, Row, Scale

Say = Callable[[str], None]


@dataclass(frozen=True)
class Programs:
    """What runs on each side. For calibration a redis-server stands in for respq."""

    respq: str
    redis: str
    calibrate: bool = False
    given: str = ""  # the URL of a server that stands in for redis, and is not started


@contextmanager
def contenders(
    programs: Programs, appendfsync: str, *, beside_itself: bool = False
) -> Iterator[tuple[Contender, Contender]]:
    """Both servers, started, and gone at the end."""
    ours = not programs.calibrate
    if programs.given and not beside_itself:
        from tools.bench.given import Given

        other: Contender = Given(programs.given)
    else:
        other = Contender("redis", programs.redis, appendfsync, is_respq=False)
    if beside_itself:
        other = Contender(PLAIN, programs.respq, appendfsync, is_respq=ours)
    with ExitStack() as ends:
        pair = (Contender("respq", programs.respq, appendfsync, is_respq=ours), other)
        for one in pair:
            ends.callback(one.close)
        for one in pair:
            one.start()
        yield pair


def run_row(row: Row, programs: Programs, scale: Scale, say: Say) -> RowOutcome:
    """The rounds of a row: respq, the other, respq, the other and so on."""
    ours: list[Round] = []
    theirs: list[Round] = []
    beside_itself = row.beside_itself
    with contenders(programs, row.appendfsync, beside_itself=beside_itself) as (respq, other):
        for server in (respq, other):
            say(f"{row.name}: filling {server.name}")
            row.prepare(server, scale)
        for number in range(scale.rounds):
            for server, rounds in ((respq, ours), (other, theirs)):
                like = ours[number] if server is other else None
                done = row.round(server, number, scale, like)
                rounds.append(done)
                say(
                    f"{row.name}: round {number + 1}/{scale.rounds} {server.name}"
                    f" {done.rate:,.0f} {row.unit}"
                )
        durability = respq.durability, other.durability
    return RowOutcome(row, ours, theirs, durability)


def run_figure(figure: Figure, programs: Programs, scale: Scale, say: Say) -> FigureOutcome:
    """The rounds of a figure."""
    ours: list[Measured] = []
    theirs: list[Measured] = []
    with contenders(programs, figure.appendfsync) as (respq, redis):
        for number in range(scale.rounds):
            for server, rounds in ((respq, ours), (redis, theirs)):
                done = figure.measure(server, number, scale)
                rounds.append(done)
                say(
                    f"{figure.name}: round {number + 1}/{scale.rounds} {server.name}"
                    f" {done.value:.3g} {figure.unit} {done.stated}".rstrip()
                )
    return FigureOutcome(figure, ours, theirs)


def run(work: Row | Figure, programs: Programs, scale: Scale, say: Say) -> Outcome:
    """One row or figure."""
    if isinstance(work, Row):
        return run_row(work, programs, scale, say)
    return run_figure(work, programs, scale, say)
