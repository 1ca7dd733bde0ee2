"""Counting entries between two IDs, which no command does: page by page, and not for ever."""

from __future__ import annotations

from tools.connection import Server
from tools.living.units import count

COUNTED_MAX = 1_000_000
PAGE = 1000


def count_entries(
    server: Server, stream: bytes, start: str, end: str, at_most: int = COUNTED_MAX
) -> int:
    """The number of entries from ``start`` to ``end``; more than ``at_most`` if there are more."""
    number = 0
    while number <= at_most:
        page = server.ask("XRANGE", stream, start, end, "COUNT", PAGE)
        number += len(page)
        if len(page) < PAGE:
            break
        start = f"({page[-1][0].decode()}"
    return number


def counted(number: int, at_most: int = COUNTED_MAX) -> str:
    """A number that was counted, in words."""
    return count(number) if number <= at_most else f"more than {count(at_most)}"
