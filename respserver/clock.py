"""The one place that reads the time, so that a test may be the one who says what it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for IDs and ages, monotonic time for waits, a fine clock for how long work took."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""

    def monotonic_ms(self) -> int:
        """Milliseconds since some moment; never goes back."""

    def perf_s(self) -> float:
        """Seconds since some moment, as fine as the machine knows them."""

    def sleep_s(self, seconds: float) -> None:
        """Do nothing for a time; the whole server does."""


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since boot or so."""
        return time.monotonic_ns() // 1_000_000

    def perf_s(self) -> float:
        """Seconds since boot or so."""
        return time.perf_counter()

    def sleep_s(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class ManualClock:
    """A clock that tests move by hand. Each look at the fine clock costs ``perf_step_s``."""

    def __init__(self, wall_ms: int = 1_760_000_000_000, perf_step_s: float = 0.0) -> None:
        self.perf_step_s = perf_step_s
        self._wall_ms = wall_ms
        self._monotonic_ms = 0
        self._perf_s = 0.0

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._wall_ms

    def monotonic_ms(self) -> int:
        """Milliseconds moved so far."""
        return self._monotonic_ms

    def advance(self, ms: int) -> None:
        """Move both clocks."""
        self._wall_ms += ms
        self._monotonic_ms += ms

    def perf_s(self) -> float:
        """Seconds that the looks so far have cost."""
        self._perf_s += self.perf_step_s
        return self._perf_s

    def sleep_s(self, seconds: float) -> None:
        """Move all clocks."""
        self.advance(round(seconds * 1000))
        self._perf_s += seconds

    def set_wall_ms(self, wall_ms: int) -> None:
        """Set the wall clock, as an administrator may, in either direction."""
        self._wall_ms = wall_ms
