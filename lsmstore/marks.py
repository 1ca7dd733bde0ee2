"""Which positions of a stream are dead, as flushes and merges are told.

Marks are pairs (end, low water), ascending by end, the last end is ``GONE``: of runs that begin
below ``end``, and not below the end before, positions below ``low water`` are dead. Each run lies
between two neighbouring ends. A stream that nobody shares has one pair; one whose positions below
some end others need as well has a pair more for each such end (streams/lending.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from lsmstore.block import Run

GONE: Final = 0xFFFFFFFFFFFFFFFF
"""Above all positions: the low water of a stream that was deleted."""

Marks = Sequence[tuple[int, int]]


def low_water(marks: Marks, pos: int) -> int:
    """Below which position a run that begins at ``pos`` is dead."""
    return marks[bisect_right(marks, pos, key=_end)][1]


def is_alive(marks: Marks, run: Run) -> bool:
    """Whether anything of a run is alive."""
    return run.end_pos > low_water(marks, run.first_pos)


def dead_entries(marks: Marks, runs: Iterable[Run]) -> int:
    """Entries in blocks of which nothing is alive: what a merge leaves out."""
    dead = 0
    for run in runs:
        low = low_water(marks, run.first_pos)
        if low >= run.end_pos:
            dead += run.count
        elif low > run.first_pos:
            dead += run.block_start(low) - run.first_pos
    return dead


def _end(mark: tuple[int, int]) -> int:
    return mark[0]
