"""The chunks of a pending list by the age of their oldest row, and the oldest rows of all.

A binary heap of chunks by ``oldest``, where that is equal by ``low``. Both are lower bounds: a
chunk may come up too early, never too late. Deliveries append to the youngest chunk and cost
nothing here; what is old is found without a look at the rest. A chunk knows its place
(``heap_at``).

Rules: whoever changes ``oldest`` or ``low`` of a chunk says so (``changed``), whoever reallocates
one says ``moved``. Nothing here changes a row.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.stdlib import abort, free, realloc


@cython.final
@cython.cclass
class AgeHeap:
    """A heap of chunks, the oldest first."""

    def __cinit__(self) -> None:
        self.chunks = cython.NULL
        self.n = 0
        self.cap = 0

    def __dealloc__(self) -> None:
        free(self.chunks)

    def push(self, c):
        """Take in a chunk."""
        if self.n == self.cap:
            self.cap += self.cap // 2 + 2
            self.chunks = cython.cast(
                cython.pointer(cython.pointer(Chunk)),
                realloc(self.chunks, self.cap * cython.sizeof(cython.pointer(Chunk))),
            )
            if self.chunks == cython.NULL:
                abort()
        self.put(self.n, c)
        self.n += 1
        self.up(self.n - 1)

    def remove(self, c):
        """Let a chunk go."""
        at: cython.Py_ssize_t = c.heap_at
        self.n -= 1
        if at < self.n:
            self.put(at, self.chunks[self.n])
            self.changed(self.chunks[at])
        if self.n == 0:
            free(self.chunks)
            self.chunks = cython.NULL
            self.cap = 0

    def moved(self, c):
        """A chunk has another address."""
        self.chunks[c.heap_at] = c

    def changed(self, c):
        """The bounds of a chunk are others."""
        self.up(c.heap_at)
        self.down(c.heap_at)

    def settle(self):
        """Make the bounds of the first chunk exact."""
        c: cython.pointer(Chunk)
        before: Chunk
        while self.n > 0:
            c = self.chunks[0]
            before = c[0]
            tighten(c)
            if not earlier(cython.address(before), c):
                return
            self.down(0)

    def take_oldest(self, age_max, floor_ms, floor_seq, after, out, want):
        """The ``want`` oldest rows no younger than ``age_max`` with IDs from the floor on.

        Those that do not come after ``after``, unless it is NULL, are left out. Writes them to
        ``out``, oldest first, by ID where ages are equal; returns how many. Chunks that can have
        none of them are not looked at; bounds that proved too low are set right.
        """
        stack: uint32_t[128]  # at each of at most 32 levels, two children wait
        depth: cython.int = 0
        at: cython.Py_ssize_t
        n: cython.Py_ssize_t = 0
        c: cython.pointer(Chunk)
        i: uint32_t
        row: Aged
        loose_n: cython.int = 0
        matched: cython.bint
        if want == 0:
            return 0
        self.settle()
        if self.n > 0:
            stack[0] = 0
            depth = 1
        while depth > 0:
            depth -= 1
            at = stack[depth]
            c = self.chunks[at]
            if c.oldest > age_max or (n == want and not may_precede(c, out)):
                continue
            i = 0
            matched = False
            if ms_of(c, 0) < floor_ms or (ms_of(c, 0) == floor_ms and seq_of(c, 0) < floor_seq):
                i = lower_bound(c, floor_ms, floor_seq)
                matched = True  # what is below the floor may be as old as the bound says
            while i < c.n:
                row.age = age_of(c, i)
                matched = matched or row.age <= age_max
                if row.age <= age_max and (n < want or row.age <= out[0].age):
                    row.ms = ms_of(c, i)
                    row.seq = seq_of(c, i)
                    row.chunk = c
                    row.i = i
                    if after != cython.NULL and not older(after, cython.address(row)):
                        pass
                    elif n < want:
                        out[n] = row
                        n += 1
                        sift_up(out, n - 1)
                    elif older(cython.address(row), out):
                        out[0] = row
                        sift_down(out, 0, n)
                i += 1
            if not matched and loose_n < LOOSE_MAX:
                self.loose[loose_n] = c
                loose_n += 1
            if 2 * at + 2 < self.n:
                stack[depth] = cython.cast(uint32_t, 2 * at + 2)
                depth += 1
            if 2 * at + 1 < self.n:
                stack[depth] = cython.cast(uint32_t, 2 * at + 1)
                depth += 1
        while loose_n > 0:
            loose_n -= 1
            tighten(self.loose[loose_n])
            self.changed(self.loose[loose_n])
        at = n
        while at > 1:
            at -= 1
            row = out[0]
            out[0] = out[at]
            out[at] = row
            sift_down(out, 0, at)
        return n

    # Inside

    def put(self, at, c):
        """Chunk ``c`` stands at this place."""
        self.chunks[at] = c
        c.heap_at = cython.cast(uint32_t, at)

    def up(self, at):
        """Move a chunk that may be older than those above it."""
        c: cython.pointer(Chunk) = self.chunks[at]
        above: cython.Py_ssize_t
        while at > 0:
            above = (at - 1) >> 1
            if not earlier(c, self.chunks[above]):
                break
            self.put(at, self.chunks[above])
            at = above
        self.put(at, c)

    def down(self, at):
        """Move a chunk that may be younger than those below it."""
        c: cython.pointer(Chunk) = self.chunks[at]
        below: cython.Py_ssize_t = 2 * at + 1
        while below < self.n:
            if below + 1 < self.n and earlier(self.chunks[below + 1], self.chunks[below]):
                below += 1
            if not earlier(self.chunks[below], c):
                break
            self.put(at, self.chunks[below])
            at = below
            below = 2 * at + 1
        self.put(at, c)

    def check(self):
        """Raise AssertionError unless the order holds."""
        at: cython.Py_ssize_t
        for at in range(self.n):
            if self.chunks[at].heap_at != cython.cast(uint32_t, at):
                raise AssertionError(f"chunk {self.chunks[at].no} is not at its place in the heap")
            if at > 0 and earlier(self.chunks[at], self.chunks[(at - 1) >> 1]):
                raise AssertionError(f"chunk {self.chunks[at].no} is older than the one above it")


def earlier(a, b):
    """Whether the bounds of chunk ``a`` come before those of chunk ``b``."""
    if a.oldest != b.oldest:
        return a.oldest < b.oldest
    return a.low_ms < b.low_ms or (a.low_ms == b.low_ms and a.low_seq < b.low_seq)


def may_precede(c, row):
    """Whether a row of the chunk may come before ``row``."""
    if c.oldest != row.age:
        return c.oldest < row.age
    return c.low_ms < row.ms or (c.low_ms == row.ms and c.low_seq < row.seq)


# The rows found so far are a heap, too: the youngest first, so that it can be replaced.


def older(a, b):
    """Whether row ``a`` comes before row ``b``."""
    if a.age != b.age:
        return a.age < b.age
    return a.ms < b.ms or (a.ms == b.ms and a.seq < b.seq)


def sift_up(rows, at):
    """Move a row up until the one above it is no older."""
    row: Aged = rows[at]
    above: cython.Py_ssize_t
    while at > 0:
        above = (at - 1) >> 1
        if not older(rows + above, cython.address(row)):
            break
        rows[at] = rows[above]
        at = above
    rows[at] = row


def sift_down(rows, at, n):
    """Move a row down until those below it are no younger."""
    row: Aged = rows[at]
    below: cython.Py_ssize_t = 2 * at + 1
    while below < n:
        if below + 1 < n and older(rows + below, rows + below + 1):
            below += 1
        if not older(cython.address(row), rows + below):
            break
        rows[at] = rows[below]
        at = below
        below = 2 * at + 1
    rows[at] = row
