"""How long syncs of the log took: counts by powers of two of microseconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

BUCKETS: Final = 32


class SyncTimes:
    """A histogram. The thread that syncs adds, anybody reads."""

    def __init__(self) -> None:
        self.total_ns = 0
        self.most_us = 0
        self._counts = [0] * BUCKETS

    def add(self, took_ns: int) -> None:
        """One more sync."""
        took_us = took_ns // 1000
        self.total_ns += took_ns
        self.most_us = max(self.most_us, took_us)
        self._counts[min(took_us.bit_length(), BUCKETS - 1)] += 1

    def counts(self) -> Iterator[tuple[int, int]]:
        """(microseconds, how many syncs took no longer and longer than the bound before)."""
        for bits, count in enumerate(self._counts):
            if count:
                yield (1 << bits) - 1, count

    def percentile_us(self, percent: float) -> int:
        """Within which time so many percent of the syncs were done; 0 where there were none."""
        left = sum(self._counts) * percent / 100
        for bound, count in self.counts():
            left -= count
            if left <= 0:
                return min(bound, self.most_us)
        return 0
