"""Numbers drawn as columns of characters, with labels below: the graph of LATENCY GRAPH.

A column is ``ROWS`` characters high and each of them has the steps ``_``, ``o`` and ``#``; below
what is drawn it is filled with ``|``. Labels are written downwards, an empty line apart. At most
``COLUMNS`` stand side by side; the rest follows below.
"""

from __future__ import annotations

from collections.abc import Sequence

ROWS = 4
COLUMNS = 80
STEPS = "_o#"
FILLED = "|"


def sparkline(values: Sequence[int], labels: Sequence[str]) -> str:
    """The lines of the graph of these values, each with its label."""
    lowest = min(values, default=0)
    span = max(values, default=0) - lowest or 1
    steps = ROWS * len(STEPS)
    heights = [min((value - lowest) * steps // span, steps - 1) for value in values]
    parts = [
        _part(heights[at : at + COLUMNS], labels[at : at + COLUMNS])
        for at in range(0, len(values), COLUMNS)
    ]
    return "\n".join(parts)


def _part(heights: Sequence[int], labels: Sequence[str]) -> str:
    lines = []
    for row in range(ROWS):
        base = (ROWS - row - 1) * len(STEPS)
        lines.append("".join(_cell(height - base) for height in heights))
    lines.append(" " * len(heights))
    depth = max(map(len, labels), default=0)
    padded = [label.ljust(depth) for label in labels]
    lines += ["".join(label[at] for label in padded) for at in range(depth)]
    return "".join(line + "\n" for line in lines)


def _cell(step: int) -> str:
    if step < 0:
        return " "
    return STEPS[step] if step < len(STEPS) else FILLED
