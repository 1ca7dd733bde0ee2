"""How long commands take: sums, histograms, and which of them were slow.

Rules: a look at the fine clock costs 28 ns, which pipelined XADDs would feel, so those quick verbs
that come one behind the other in the same input are timed together: two looks for all of them, and
each counts as their mean. What can be slow for its own reasons (``alone``) is timed for itself. The
coarse clock costs 6 ns and moves once in 4 ms or so: it is looked at behind every command, and when
it has moved the stretch ends there. A slow command among quick ones is therefore found, and what is
said of its time is too long by less than one move of that clock. Where commands quicker than
``EXACT_BELOW_NS`` count as slow, every command is timed for itself.

The histogram is an HDR histogram of two digits, as Redis': a value of ``b`` bits, 8 or more, falls
into the bucket ``b - 8``, whose 128 cells are each ``2 ** (b - 8)`` ns wide; below 256 ns a cell is
a nanosecond.

These clocks measure; nothing that is logged, and no reply of a command on keys, depends on them.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.stdlib import abort, calloc, free
from cython.cimports.respserver.stopwatch import (
    COUNTS,
    HALF,
    SUB_BITS,
    bits_of,
    coarse_ns,
    fine_ns,
)

MOST_NS = cython.declare(cython.longlong, 1_000_000_000)
EXACT_BELOW_NS = cython.declare(cython.longlong, 10_000_000)
FIRST_LEVEL_NS = 1024


@cython.final
@cython.cclass
class Times:
    """The times of all calls of one command; the histogram comes with the first."""

    def __cinit__(self) -> None:
        self.counts = cython.NULL

    def __init__(self) -> None:
        self.reset()

    def __dealloc__(self) -> None:
        free(self.counts)

    def reset(self) -> None:
        """Begin again from nothing."""
        self.total_ns = 0
        self.recorded = 0
        free(self.counts)
        self.counts = cython.NULL

    def add(self, calls, ns):
        """So many calls took that long together; 0 calls: one took that long until it waited."""
        each: cython.ulonglong
        width: cython.int
        if ns < 0:
            ns = 0
        self.total_ns += ns
        if calls == 0:
            return
        if self.counts == cython.NULL:
            self.counts = cython.cast(
                cython.pointer(uint64_t), calloc(COUNTS, cython.sizeof(uint64_t))
            )
            if self.counts == cython.NULL:
                abort()
        each = cython.cast(cython.ulonglong, ns) // calls
        if each < 1:
            each = 1
        elif each > cython.cast(cython.ulonglong, MOST_NS):
            each = MOST_NS
        width = bits_of(each | 255) - SUB_BITS
        self.counts[width * HALF + (each >> width)] += calls
        self.recorded += calls

    def percentile_ns(self, percent: float) -> int:
        """The time that so many of the calls took at most, as the histogram knows it."""
        i: cython.Py_ssize_t
        seen: cython.ulonglong = 0
        wanted: cython.ulonglong = max(1, int(percent / 100 * self.recorded + 0.5))
        if self.counts == cython.NULL:
            return 0
        for i in range(COUNTS):
            seen += self.counts[i]
            if seen >= wanted:
                return low_ns(i) if percent == 0 else low_ns(i) + width_ns(i) - 1
        return 0

    def levels(self) -> list[tuple[int, int]]:
        """The microseconds of each power of two, and how many calls took no longer; only where
        there are more than at the one before.
        """
        i: cython.Py_ssize_t
        seen: cython.ulonglong = 0
        told: cython.ulonglong = 0
        level_ns: cython.ulonglong = FIRST_LEVEL_NS
        found: list = []
        if self.counts == cython.NULL:
            return found
        for i in range(COUNTS):
            seen += self.counts[i]
            if low_ns(i) >= level_ns:
                if seen > told:
                    found.append(((low_ns(i) + width_ns(i) - 1) // 1000, seen))
                    told = seen
                level_ns *= 2
        if seen > told:
            found.append(((low_ns(COUNTS - 1) + width_ns(COUNTS - 1) - 1) // 1000, seen))
        return found


def width_ns(i):
    """How many nanoseconds the cell ``i`` of a histogram is wide."""
    one: cython.ulonglong = 1
    return one if i < 2 * HALF else one << (i // HALF - 1)


def low_ns(i):
    """The least time that is counted in the cell ``i``."""
    cell: cython.ulonglong = i
    return cell if i < 2 * HALF else (HALF + cell % HALF) << (i // HALF - 1)


@cython.final
@cython.cclass
class Stopwatch:
    """Times one command after the other. ``slow_ns``: who takes that long is told; -1: nobody.
    ``recording``: into histograms, too.
    """

    def __init__(self) -> None:
        self.slow_ns = -1
        self.recording = True
        self.running = None
        self.calls = 0

    def begin(self, times):
        """A command begins; ends the stretch of another."""
        if self.running is times:
            return
        if self.running is not None:
            self.close()
        self.running = times
        self.began_ns = fine_ns()
        self.tick_ns = coarse_ns()

    def passed(self, alone):
        """The command is over; the nanoseconds it took if that was slow, else -1."""
        ns: cython.longlong
        if self.running is None:
            return -1
        self.calls += 1
        if not alone and not 0 <= self.slow_ns < EXACT_BELOW_NS and coarse_ns() == self.tick_ns:
            return -1
        ns = fine_ns() - self.began_ns
        self.running.add(self.calls if self.recording else 0, ns)
        self.running = None
        self.calls = 0
        return ns if 0 <= self.slow_ns <= ns else -1

    def close(self):
        """Nothing follows for now."""
        if self.running is not None:
            self.running.add(self.calls if self.recording else 0, fine_ns() - self.began_ns)
            self.running = None
            self.calls = 0

    def pause(self):
        """Commands of others come within the one that is timed; what goes on behind them."""
        if self.running is None:
            return None
        held = (self.running, self.calls, self.began_ns, self.tick_ns)
        self.running = None
        self.calls = 0
        return held

    def go_on(self, held):
        """They are over."""
        self.running, self.calls, self.began_ns, self.tick_ns = held
        return 0

    def lap(self, times, calls, since_ns):
        """A command that is timed beside the stretch is over; what time it is."""
        now_ns: cython.longlong = fine_ns()
        times.add(calls if self.recording else 0, now_ns - since_ns)
        return now_ns
