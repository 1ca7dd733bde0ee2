"""The one place that reads the time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for IDs and ages, monotonic time for waits; both in milliseconds."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""

    def monotonic_ms(self) -> int:
        """Milliseconds since some moment; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since boot or so."""
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock that tests move by hand."""

    def __init__(self, wall_ms: int = 1_760_000_000_000) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ms = 0

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
