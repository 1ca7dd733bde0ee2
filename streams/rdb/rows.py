"""The wide parts of a stream as it is carried: entries by node, and pending rows, kept in C."""

from __future__ import annotations

from collections.abc import Iterable

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc, realloc


@cython.final
@cython.cclass
class Node:
    """Entries that Redis kept in one listpack: ``entries`` of them in wire form, one behind the
    other; at which places among them (from 0) those stand that were ``deleted`` since.
    """

    def __init__(self, wire: bytes, entries: int, deleted: list[int]) -> None:
        self.wire = wire
        self.entries = entries
        self.deleted = deleted


@cython.final
@cython.cclass
class PendingRows:
    """The pending entries of a group, by ID. ``cidx`` of a row is the place of its consumer among
    those of the group, from 1; 0 is nobody.
    """

    def __cinit__(self) -> None:
        self.rows = cython.NULL
        self.n = 0
        self.cap = 0

    def __dealloc__(self) -> None:
        free(self.rows)

    def add(self, ms, seq, delivered_ms, count):
        """Append a row of nobody."""
        if self.n == self.cap:
            self.cap = self.cap * 2 if self.cap else 16
            self.rows = cython.cast(
                cython.pointer(Row), realloc(self.rows, self.cap * cython.sizeof(Row))
            )
            if self.rows == cython.NULL:
                abort()
        self.rows[self.n].ms = ms
        self.rows[self.n].seq = seq
        self.rows[self.n].delivered_ms = delivered_ms
        self.rows[self.n].count = count
        self.rows[self.n].cidx = 0
        self.n += 1

    def find(self, ms, seq, start):
        """The place of a row from ``start`` on; -1 where there is none. Near ones come quickly."""
        low: cython.Py_ssize_t = start
        high: cython.Py_ssize_t
        step: cython.Py_ssize_t = 1
        middle: cython.Py_ssize_t
        while low + step < self.n and self.is_below(low + step, ms, seq):
            low += step
            step *= 2
        high = low + step if low + step < self.n else self.n
        while low < high:
            middle = (low + high) // 2
            if self.is_below(middle, ms, seq):
                low = middle + 1
            else:
                high = middle
        if low == self.n or self.rows[low].ms != ms or self.rows[low].seq != seq:
            return -1
        return low

    def is_below(self, i, ms, seq):
        """Whether row ``i`` comes before this ID."""
        return self.rows[i].ms < ms or (self.rows[i].ms == ms and self.rows[i].seq < seq)

    def by_owner(self, owners):
        """The rows of nobody, then those of consumer 1, 2 and so on, each by ID.

        REQUIRES: there are ``owners`` consumers. Where the rows of each end goes to the list.
        """
        sorted_rows: PendingRows = PendingRows()
        ends: list
        at: cython.pointer(cython.Py_ssize_t)
        i: cython.Py_ssize_t
        places: cython.Py_ssize_t = owners + 2
        at = cython.cast(
            cython.pointer(cython.Py_ssize_t), malloc(places * cython.sizeof(cython.Py_ssize_t))
        )
        sorted_rows.rows = cython.cast(
            cython.pointer(Row), malloc((self.n + 1) * cython.sizeof(Row))
        )
        if at == cython.NULL or sorted_rows.rows == cython.NULL:
            abort()
        for i in range(places):
            at[i] = 0
        for i in range(self.n):
            at[self.rows[i].cidx + 1] += 1
        for i in range(1, places):
            at[i] += at[i - 1]
        ends = [at[i + 1] for i in range(owners + 1)]
        for i in range(self.n):
            sorted_rows.rows[at[self.rows[i].cidx]] = self.rows[i]
            at[self.rows[i].cidx] += 1
        sorted_rows.n = sorted_rows.cap = self.n
        free(at)
        return sorted_rows, ends

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    @property
    def length(self) -> int:
        """How many rows there are."""
        return self.n

    def extend(self, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Append rows (ms, seq, cidx, delivered_ms, count). REQUIRES: their IDs ascend."""
        cidx: uint32_t
        ms: uint64_t
        seq: uint64_t
        for ms, seq, cidx, delivered_ms, count in rows:
            self.add(ms, seq, delivered_ms, count)
            self.rows[self.n - 1].cidx = cidx

    def all(self) -> list[tuple[int, int, int, int, int]]:
        """Every row as (ms, seq, cidx, delivered_ms, count)."""
        return [
            (
                self.rows[i].ms,
                self.rows[i].seq,
                self.rows[i].cidx,
                self.rows[i].delivered_ms,
                self.rows[i].count,
            )
            for i in range(self.n)
        ]
