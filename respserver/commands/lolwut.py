"""LOLWUT: computer art, and the version. Squares in rows that lose their order downwards, after
Georg Nees' "Schotter" (1968), in characters of two by four dots.
"""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final

from respserver.args import need_int
from respserver.replies import Verbatim
from respserver.spec import FAST, READONLY, command

if TYPE_CHECKING:
    from respserver.call import Call

COLUMNS, SQUARES_A_ROW, ROWS = 66, 8, 12
MOST: Final = (1000, 200, 200)
FIRST_ART_VERSION = 5
DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
BLANK = 0x2800


class Canvas:
    """Dots, shown as braille characters."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._cells = [[0] * (width // 2) for _ in range(height // 4)]

    def set(self, x: int, y: int) -> None:
        """Set a dot; outside there is none."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self._cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a line."""
        steps = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1]))))
        for i in range(steps + 1):
            part = i / steps
            self.set(
                round(start[0] + (end[0] - start[0]) * part),
                round(start[1] + (end[1] - start[1]) * part),
            )

    def square(self, x: float, y: float, size: float, angle: float) -> None:
        """Draw a square around a point."""
        radius = size / math.sqrt(2)
        corners = [
            (x + radius * math.cos(turn), y + radius * math.sin(turn))
            for turn in (angle + math.pi * (0.25 + quarter / 2) for quarter in range(5))
        ]
        for start, end in pairwise(corners):
            self.line(start, end)

    def text(self) -> str:
        """The lines."""
        return "".join("".join(chr(BLANK + cell) for cell in row) + "\n" for row in self._cells)


def schotter(columns: int, squares_a_row: int, rows: int, random: Random) -> str:
    """The picture. ``columns`` characters wide."""
    width = columns * 2
    padding = 0 if columns < 4 else 2
    side = (width - padding * 2) / squares_a_row
    height = -(-int(side * rows + padding * 2) // 4) * 4
    canvas = Canvas(width, height)
    for row in range(rows):
        chaos = row / rows
        for at in range(squares_a_row):
            angle = random.uniform(-1, 1) * chaos
            shift_x, shift_y = (random.uniform(-1, 1) * chaos * side / 3 for _ in range(2))
            x = padding + side * (at + 0.5) + shift_x
            y = padding + side * (row + 0.5) + shift_y
            canvas.square(x, y, side, angle)
    return canvas.text()


@command(
    "LOLWUT",
    "[VERSION version:integer]",
    "Displays computer art and the Redis version",
    arity=-1,
    flags=READONLY | FAST,
    since="5.0.0",
    group="server",
)
def lolwut(call: Call) -> Verbatim:
    words = call.argv[1:]
    version = FIRST_ART_VERSION
    if len(words) >= 2 and words[0].upper() == b"VERSION":
        version = need_int(words[1])
        words = words[2:]
    told = f"Redis ver. {call.server.config.redis_version}\n"
    if version < FIRST_ART_VERSION:
        return Verbatim(told.encode())
    sizes = [COLUMNS, SQUARES_A_ROW, ROWS]
    for at, word in enumerate(words[: len(sizes)]):
        sizes[at] = min(max(need_int(word), 1), MOST[at])
    picture = schotter(sizes[0], sizes[1], sizes[2], Random())
    return Verbatim(f"{picture}\nGeorg Nees - schotter, plotter on paper, 1968. {told}".encode())
