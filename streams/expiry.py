"""The index of what expires, in the order of time.

Rules: the index is rows of the store, one a key that expires (streams/rowkeys.py), kept with the
key rows. In memory is a window of it: the rows that are due first, at most
``WINDOW_ROWS`` times two, so that a million keys with a time to live cost no more than a few. Rows
below ``_end`` are in the window or done with; the others are read from the store when time gets
there. A row whose key has another time by now is stale: who takes it must look.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from streams import rowkeys

WINDOW_ROWS: Final = 2048
READ_ROWS: Final = 256


class ExpiryIndex:
    """Which keys expire next."""

    def __init__(self, scan: Callable[[bytes, bytes], Iterable[tuple[bytes, bytes]]]) -> None:
        self._scan = scan
        self._window: list[bytes] = []
        self._end: bytes | None = rowkeys.EXPIRY_FIRST
        """Where the window ends; None: it holds all there is."""
        self.on_earlier: Callable[[], None] = _ignore
        """Called when something expires before all that was known."""

    def add(self, row: bytes) -> None:
        """A key expires from now on as this row says."""
        if self._end is not None and row >= self._end:
            return
        window = self._window
        heapq.heappush(window, row)
        if len(window) > 2 * WINDOW_ROWS:
            window.sort()
            self._end = window[WINDOW_ROWS]
            del window[WINDOW_ROWS:]
        if window[0] is row:
            self.on_earlier()

    def next_ms(self) -> int | None:
        """Nothing expires before; None: nothing expires."""
        if self._window:
            return rowkeys.expiry_ms(self._window[0])
        return None if self._end is None else rowkeys.expiry_ms(self._end)

    def take(self, now_ms: int) -> bytes | None:
        """The next row that is due at ``now_ms``; it is not given again."""
        if not self._window and self._end is not None and rowkeys.expiry_ms(self._end) <= now_ms:
            rows = self._scan(self._end, rowkeys.EXPIRY_LAST)
            self._window = [row for row, _ in islice(rows, READ_ROWS)]
            full = len(self._window) == READ_ROWS
            self._end = self._window[-1] + b"\0" if full else None
        if self._window and rowkeys.expiry_ms(self._window[0]) <= now_ms:
            return heapq.heappop(self._window)
        return None


def _ignore() -> None:
    """Nobody waits."""
