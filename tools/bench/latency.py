"""A histogram of latencies: 32 buckets for each power of two, so within 3.2 % of the truth.

bucket(v) = 32 e + (v >> e), with e the number of bits of v beyond six.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t


def bucket_of(value):
    """The bucket of a value; values beyond 2^63 cannot be."""
    shift: cython.int = 0
    if value < 0:
        value = 0
    while (value >> shift) >= 64:
        shift += 1
    return 32 * shift + cython.cast(cython.int, value >> shift)


def floor_of(bucket: int) -> int:
    """The smallest value of a bucket."""
    if bucket < 64:
        return bucket
    shift = bucket // 32 - 1
    return (bucket - 32 * shift) << shift


@cython.final
@cython.cclass
class Histogram:
    """Counts of latencies in nanoseconds."""

    def put(self, value_ns):
        """Count one latency."""
        self.buckets[bucket_of(value_ns)] += 1
        self.count += 1

    def add(self, value_ns: int64_t) -> None:
        """Count one latency, from Python."""
        self.put(value_ns)

    def quantile_ns(self, share: float) -> int:
        """The latency that ``share`` of all stay at or below; 0 if there are none."""
        wanted = share * self.count
        seen: int = 0
        bucket: cython.int
        for bucket in range(1920):
            if self.buckets[bucket] > 0:
                seen += self.buckets[bucket]
                if seen >= wanted:
                    return floor_of(bucket)
        return 0
