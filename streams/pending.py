"""The pending entries of one group, in ID order, 22 bytes a row.

Rows live in chunks of at most 256. A chunk is one allocation: a header and six columns. IDs are
kept as u32 distances, so a chunk spans at most 2^32 ms and one value of the upper half of seq; an
ID that does not fit opens a chunk of its own. An index of slots (a lower bound of the first ID,
pointer to the chunk) is bisected, then the chunk's columns are.

Rules:

- A removed row is gone at once: the shorter side of its chunk moves up. A chunk without rows
  vanishes, sparse neighbours become one.
- Capacity grows by a quarter, never by doubling: rows that come one at a time cost what rows in
  batches cost.
- ``delivered_min_ms`` of a chunk is a lower bound and ``owners`` a superset (bit ``cidx & 63``):
  changes may leave both too loose, a scan that found them wrong sets them right.
- A delivery count of 2^32 - 1 or more is kept in ``large_counts`` under its ID.
- Numbers of pending entries by consumer are kept by the group, not here.

Every chunk has a number, under which its blob is stored. ``dirty_chunks`` gives what changed since
``clear_dirty``: (number, blob), or (number, None) where a stored chunk has vanished. Numbers carry
no order.
Blob, little-endian::

    blob := u16 n, u16 n_large, u32 seq_high, u64 base_ms,
            u32 ms_delta[n], u32 seq_low[n], u32 cidx[n], u32 count[n], u32 delivered_low[n],
            u16 delivered_high[n], large[n_large]
    large := u16 row, u64 count       of the rows whose column says 2^32 - 1, ascending
"""

from __future__ import annotations

import struct
from itertools import pairwise

import cython
from cython.cimports.cpython.bytes import (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cython.cimports.libc.stdint import int64_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc, realloc
from cython.cimports.libc.string import memcpy, memmove

ROWS_MAX = cython.declare(uint32_t, 256)
ROW_BYTES = cython.declare(cython.Py_ssize_t, 22)
ALLOCATION_BYTES = cython.declare(cython.Py_ssize_t, 16)  # what malloc itself takes, at most
SPARSE_ROWS = cython.declare(uint32_t, 64)  # a chunk with fewer looks for a neighbour to join
JOINED_ROWS = cython.declare(uint32_t, 192)
LARGE_COUNT = cython.declare(uint32_t, 0xFFFFFFFF)
NUMBERS_MAX = cython.declare(uint32_t, 0xFFFFFFFF)
HEADER_BYTES = cython.declare(cython.Py_ssize_t, 16)
LARGE_BYTES = cython.declare(cython.Py_ssize_t, 10)

LARGE_STRUCT = struct.Struct("<HQ")
OBJECT_BYTES = 400  # the list object with its dict and set

# Columns of u32
MS = cython.declare(uint32_t, 0)
SEQ = cython.declare(uint32_t, 1)
CIDX = cython.declare(uint32_t, 2)
COUNT = cython.declare(uint32_t, 3)
DELIVERED = cython.declare(uint32_t, 4)


# One chunk


def column(c, which):
    """A column of u32."""
    return cython.cast(cython.pointer(uint32_t), c + 1) + which * c.cap


def delivered_high(c):
    """The column with the upper 16 bits of the delivery times."""
    return cython.cast(cython.pointer(uint16_t), column(c, 5))


def ms_of(c, i):
    """The ms of row ``i``."""
    return c.base_ms + column(c, MS)[c.start + i]


def seq_of(c, i):
    """The seq of row ``i``."""
    return (cython.cast(uint64_t, c.seq_high) << 32) | column(c, SEQ)[c.start + i]


def delivered_of(c, i):
    """When row ``i`` was delivered last."""
    high: uint64_t = delivered_high(c)[c.start + i]
    return (high << 32) | column(c, DELIVERED)[c.start + i]


def lower_bound(c, ms, seq):
    """The first row whose ID is not below ``ms-seq``."""
    if ms < c.base_ms:
        return 0
    delta: uint64_t = ms - c.base_ms
    if delta > 0xFFFFFFFF:
        return c.n
    high: uint32_t = cython.cast(uint32_t, seq >> 32)
    key: uint64_t = delta << 32
    if high == c.seq_high:
        key |= cython.cast(uint32_t, seq)
    elif high > c.seq_high:
        if delta == 0xFFFFFFFF:
            return c.n
        key = (delta + 1) << 32
    ms_deltas: cython.pointer(uint32_t) = column(c, MS) + c.start
    seqs: cython.pointer(uint32_t) = column(c, SEQ) + c.start
    low: uint32_t = 0
    above: uint32_t = c.n
    middle: uint32_t
    if above == 0 or ((cython.cast(uint64_t, ms_deltas[above - 1]) << 32) | seqs[above - 1]) < key:
        return above
    if ((cython.cast(uint64_t, ms_deltas[0]) << 32) | seqs[0]) >= key:
        return 0
    while low < above:
        middle = (low + above) >> 1
        if ((cython.cast(uint64_t, ms_deltas[middle]) << 32) | seqs[middle]) < key:
            low = middle + 1
        else:
            above = middle
    return low


def holds(c, i, ms, seq):
    """Whether row ``i`` exists and has this ID."""
    return i < c.n and ms_of(c, i) == ms and seq_of(c, i) == seq


def fits(c, ms, seq):
    """Whether a chunk with rows can express this ID beside them."""
    if cython.cast(uint32_t, seq >> 32) != c.seq_high:
        return False
    first: uint64_t = ms_of(c, 0)
    last: uint64_t = ms_of(c, c.n - 1)
    if ms < first:
        first = ms
    if ms > last:
        last = ms
    return last - first <= 0xFFFFFFFF


def rebase(c, base_ms):
    """Express the ms of all rows as distances from ``base_ms``."""
    shift: uint32_t = cython.cast(uint32_t, c.base_ms - base_ms)
    deltas: cython.pointer(uint32_t) = column(c, MS) + c.start
    i: uint32_t
    for i in range(c.n):
        deltas[i] += shift
    c.base_ms = base_ms


def move_rows(c, to, start, n):
    """Move ``n`` rows of the columns from place ``start`` to place ``to``."""
    if n == 0 or to == start:
        return
    which: uint32_t
    values: cython.pointer(uint32_t)
    for which in range(5):
        values = column(c, which)
        memmove(values + to, values + start, n * 4)
    memmove(delivered_high(c) + to, delivered_high(c) + start, n * 2)


def copy_rows(to, at, source, start, n):
    """Copy ``n`` rows from place ``start`` of one chunk to place ``at`` of another."""
    which: uint32_t
    for which in range(5):
        memcpy(column(to, which) + at, column(source, which) + start, n * 4)
    memcpy(delivered_high(to) + at, delivered_high(source) + start, n * 2)


def tighten(c):
    """Set the bound of the delivery times and the set of owners exactly."""
    owners: uint64_t = 0
    earliest: uint64_t = cython.cast(uint64_t, -1)
    delivered_ms: uint64_t
    i: uint32_t
    consumers: cython.pointer(uint32_t) = column(c, CIDX) + c.start
    for i in range(c.n):
        owners |= cython.cast(uint64_t, 1) << (consumers[i] & 63)
        delivered_ms = delivered_of(c, i)
        if delivered_ms < earliest:
            earliest = delivered_ms
    c.owners = owners
    c.delivered_min_ms = earliest


@cython.final
@cython.cclass
class PendingList:
    """The pending entries of one group."""

    def __cinit__(self) -> None:
        self.room = cython.NULL
        self.slots = cython.NULL
        self.slot_cap = 0
        self.slot_count = 0
        self.chunk_bytes = 0
        self.length = 0
        self.next_no = 0
        self.large_counts = {}
        self.vanished = set()

    def __dealloc__(self) -> None:
        i: cython.Py_ssize_t
        for i in range(self.slot_count):
            free(self.slots[i].chunk)
        free(self.room)

    # Rows

    def put(self, ms, seq, cidx, delivered_ms, count):
        """Insert or overwrite a row; returns the former cidx + 1, 0 if it is new."""
        at: cython.Py_ssize_t = self.slot_of(ms, seq)
        if at < 0:
            if self.slot_count > 0 and self.slots[0].chunk.n < ROWS_MAX:
                if fits(self.slots[0].chunk, ms, seq):
                    self.insert_row(0, 0, ms, seq, cidx, delivered_ms, count)
                    return 0
            self.new_chunk(0, ms, seq, 1)
            self.insert_row(0, 0, ms, seq, cidx, delivered_ms, count)
            return 0
        c = self.slots[at].chunk
        i: uint32_t = lower_bound(c, ms, seq)
        if holds(c, i, ms, seq):
            former: int64_t = column(c, CIDX)[c.start + i]
            if column(c, COUNT)[c.start + i] == LARGE_COUNT:
                del self.large_counts[(ms, seq)]
            self.set_row(c, i, ms, seq, cidx, delivered_ms, count)
            return former + 1
        if i == c.n:
            full: cython.bint = c.n == ROWS_MAX or (
                c.start + c.n == ROWS_MAX and c.start * 4 < c.cap
            )
            if full or not fits(c, ms, seq):
                at += 1
                i = 0
                if (
                    at == self.slot_count
                    or self.slots[at].chunk.n == ROWS_MAX
                    or not fits(self.slots[at].chunk, ms, seq)
                ):
                    self.new_chunk(at, ms, seq, 1)
        elif not fits(c, ms, seq):
            if i == 0:
                self.slots[at].ms = ms_of(c, 0)
                self.slots[at].seq = seq_of(c, 0)
            else:
                self.split(at, i)
                at += 1
                i = 0
            self.new_chunk(at, ms, seq, 1)
        elif c.n == ROWS_MAX:
            self.split(at, ROWS_MAX // 2)
            if i > ROWS_MAX // 2:
                at += 1
                i -= ROWS_MAX // 2
        self.insert_row(at, i, ms, seq, cidx, delivered_ms, count)
        return 0

    def append_run(self, ms, seq, n, cidx, delivered_ms):
        """Append rows delivered for the first time. REQUIRES: IDs ascend and are above all here."""
        c: cython.pointer(Chunk)
        take: cython.Py_ssize_t
        i: cython.Py_ssize_t
        base_ms: uint64_t
        values: cython.pointer(uint32_t)
        highs: cython.pointer(uint16_t)
        high: uint64_t
        tail: uint32_t
        if n == 1:  # six loops of one turn cost more
            self.put(ms[0], seq[0], cidx, delivered_ms, 1)
            return 0
        while n > 0:
            take = 0
            if self.slot_count > 0:
                c = self.slots[self.slot_count - 1].chunk
                take = ROWS_MAX - c.n
                if c.cap == ROWS_MAX and c.start * 4 < c.cap:
                    take -= c.start
                if take > n:
                    take = n
                if take > 0 and not fits(c, ms[0], seq[0]):
                    take = 0
            if take == 0:
                take = n if n < ROWS_MAX else ROWS_MAX
                c = self.new_chunk(self.slot_count, ms[0], seq[0], take)
            elif ms[0] - c.base_ms > 0xFFFFFFFF:
                rebase(c, ms_of(c, 0))
            base_ms = c.base_ms
            high = c.seq_high
            while ms[take - 1] - base_ms > 0xFFFFFFFF or seq[take - 1] >> 32 != high:
                take -= 1  # the first row fits
            for i in range(take):
                if seq[i] >> 32 != high:
                    take = i
                    break
            c = self.make_room(self.slot_count - 1, take)
            tail = c.start + c.n
            values = column(c, MS) + tail
            for i in range(take):
                values[i] = cython.cast(uint32_t, ms[i] - base_ms)
            values = column(c, SEQ) + tail
            for i in range(take):
                values[i] = cython.cast(uint32_t, seq[i])
            values = column(c, CIDX) + tail
            for i in range(take):
                values[i] = cidx
            values = column(c, COUNT) + tail
            for i in range(take):
                values[i] = 1
            values = column(c, DELIVERED) + tail
            for i in range(take):
                values[i] = cython.cast(uint32_t, delivered_ms)
            highs = delivered_high(c) + tail
            for i in range(take):
                highs[i] = cython.cast(uint16_t, delivered_ms >> 32)
            c.n += cython.cast(uint16_t, take)
            c.owners |= cython.cast(uint64_t, 1) << (cidx & 63)
            if delivered_ms < c.delivered_min_ms:
                c.delivered_min_ms = delivered_ms
            c.dirty = 1
            self.length += take
            ms += take
            seq += take
            n -= take
        return 0

    def remove(self, ms, seq):
        """Remove a row; returns its cidx, -1 if there is none."""
        at: cython.Py_ssize_t = self.slot_of(ms, seq)
        if at < 0:
            return -1
        c = self.slots[at].chunk
        i: uint32_t = lower_bound(c, ms, seq)
        if not holds(c, i, ms, seq):
            return -1
        former: int64_t = column(c, CIDX)[c.start + i]
        if column(c, COUNT)[c.start + i] == LARGE_COUNT:
            del self.large_counts[(ms, seq)]
        if i * 2 < c.n:
            move_rows(c, c.start + 1, c.start, i)
            c.start += 1
        else:
            move_rows(c, c.start + i, c.start + i + 1, c.n - i - 1)
        c.n -= 1
        c.dirty = 1
        self.length -= 1
        if c.n == 0:
            self.drop_chunk(at)
        else:
            self.after_removal(at)
        return former

    def find(self, ms, seq, out):
        """Read the row with this ID."""
        at: cython.Py_ssize_t = self.slot_of(ms, seq)
        if at < 0:
            return False
        c = self.slots[at].chunk
        i: uint32_t = lower_bound(c, ms, seq)
        if not holds(c, i, ms, seq):
            return False
        self.read_row(c, i, out)
        return True

    def is_above(self, ms, seq):
        """Whether this ID is above all rows."""
        if self.slot_count == 0:
            return True
        c = self.slots[self.slot_count - 1].chunk
        last_ms: uint64_t = ms_of(c, c.n - 1)
        return ms > last_ms or (ms == last_ms and seq > seq_of(c, c.n - 1))

    # Scans, from compiled callers

    def seek(self, ms, seq, cursor):
        """Set a cursor before the first row whose ID is not below ``ms-seq``."""
        at: cython.Py_ssize_t = self.slot_of(ms, seq)
        if at < 0:
            cursor.slot = 0
            cursor.row = 0
            return
        cursor.slot = at
        cursor.row = lower_bound(self.slots[at].chunk, ms, seq)

    def next_row(self, cursor, cidx, out):
        """Read the next row, of consumer ``cidx`` alone unless that is -1; False at the end."""
        c: cython.pointer(Chunk)
        i: uint32_t
        consumers: cython.pointer(uint32_t)
        while cursor.slot < self.slot_count:
            c = self.slots[cursor.slot].chunk
            i = cursor.row
            if cidx >= 0:
                if not c.owners & (cython.cast(uint64_t, 1) << (cidx & 63)):
                    i = c.n
                consumers = column(c, CIDX) + c.start
                while i < c.n and consumers[i] != cidx:
                    i += 1
            if i < c.n:
                self.read_row(c, i, out)
                cursor.row = i + 1
                return True
            cursor.slot += 1
            cursor.row = 0
        return False

    def touch(self, cursor, delivered_ms):
        """Count one more delivery of the row read last, at this time."""
        c = self.slots[cursor.slot].chunk
        row: Row
        self.read_row(c, cursor.row - 1, cython.address(row))
        if row.count >= LARGE_COUNT:
            del self.large_counts[(row.ms, row.seq)]
        if row.count < 0xFFFFFFFFFFFFFFFF:
            row.count += 1
        self.set_row(c, cursor.row - 1, row.ms, row.seq, row.cidx, delivered_ms, row.count)
        return 0

    # Inside

    def slot_of(self, ms, seq):
        """The slot whose chunk would hold this ID; -1 if the ID is below all chunks."""
        slots = self.slots
        low: cython.Py_ssize_t = 0
        above: cython.Py_ssize_t = self.slot_count
        middle: cython.Py_ssize_t
        if above > 1:
            if ms > slots[above - 1].ms:
                return above - 1
            if ms < slots[1].ms:
                above = 1
        while low < above:
            middle = (low + above) >> 1
            if slots[middle].ms < ms or (slots[middle].ms == ms and slots[middle].seq <= seq):
                low = middle + 1
            else:
                above = middle
        return low - 1

    def new_chunk(self, at, ms, seq, rows):
        """Open an empty chunk with a new number at slot ``at`` for rows from ``ms-seq`` on."""
        if self.next_no == NUMBERS_MAX:
            self.renumber()
        c = self.open_chunk(at, ms, seq, rows, self.next_no)
        self.next_no += 1
        if self.vanished and c.no in self.vanished:
            self.vanished.remove(c.no)
            c.stored = 1
        return c

    def open_chunk(self, at, ms, seq, rows, number):
        """Open an empty chunk at slot ``at``."""
        front: cython.Py_ssize_t = self.slots - self.room
        if at * 2 < self.slot_count and front > 0:
            memmove(self.slots - 1, self.slots, at * cython.sizeof(Slot))
            self.slots -= 1
        else:
            if front + self.slot_count == self.slot_cap:
                if front * 4 >= self.slot_cap and front > 0:
                    memmove(self.room, self.slots, self.slot_count * cython.sizeof(Slot))
                    self.slots = self.room
                else:
                    self.slot_cap += self.slot_cap // 2 + 2
                    self.room = cython.cast(
                        cython.pointer(Slot),
                        realloc(self.room, self.slot_cap * cython.sizeof(Slot)),
                    )
                    if self.room == cython.NULL:
                        abort()
                    self.slots = self.room + front
            memmove(
                self.slots + at + 1,
                self.slots + at,
                (self.slot_count - at) * cython.sizeof(Slot),
            )
        self.slot_count += 1
        cap: uint32_t = rows if rows > 8 else 8
        if self.slot_count > 16:
            cap = ROWS_MAX  # among so many, one half-empty chunk does not count
        c = cython.cast(cython.pointer(Chunk), malloc(cython.sizeof(Chunk) + cap * ROW_BYTES))
        if c == cython.NULL:
            abort()
        self.chunk_bytes += cython.sizeof(Chunk) + cap * ROW_BYTES + ALLOCATION_BYTES
        c.base_ms = ms
        c.seq_high = cython.cast(uint32_t, seq >> 32)
        c.delivered_min_ms = cython.cast(uint64_t, -1)
        c.owners = 0
        c.start = 0
        c.n = 0
        c.cap = cap
        c.dirty = 1
        c.stored = 0
        c.no = number
        self.slots[at].ms = ms
        self.slots[at].seq = seq
        self.slots[at].chunk = c
        return c

    def renumber(self):
        """Number the chunks from 0 again; all of them will be written anew."""
        i: cython.Py_ssize_t
        for i in range(self.slot_count):
            c = self.slots[i].chunk
            if c.stored:
                self.vanished.add(c.no)
        for i in range(self.slot_count):
            c = self.slots[i].chunk
            c.no = cython.cast(uint32_t, i)
            c.stored = c.no in self.vanished
            c.dirty = 1
            self.vanished.discard(c.no)
        self.next_no = cython.cast(uint32_t, self.slot_count)

    def drop_chunk(self, at):
        """Take a chunk out of the list and free it."""
        c = self.slots[at].chunk
        if c.stored:
            self.vanished.add(c.no)
        if c.no + 1 == self.next_no:
            self.next_no -= 1  # so that a list that keeps running empty does not use up the numbers
        self.chunk_bytes -= cython.sizeof(Chunk) + c.cap * ROW_BYTES + ALLOCATION_BYTES
        free(c)
        if at * 2 < self.slot_count:
            memmove(self.slots + 1, self.slots, at * cython.sizeof(Slot))
            self.slots += 1
        else:
            memmove(
                self.slots + at,
                self.slots + at + 1,
                (self.slot_count - at - 1) * cython.sizeof(Slot),
            )
        self.slot_count -= 1
        if self.slot_count == 0:
            free(self.room)
            self.room = cython.NULL
            self.slots = cython.NULL
            self.slot_cap = 0

    def resize(self, at, cap):
        """Give the chunk of a slot columns of another length, its rows at the front."""
        if cap > ROWS_MAX:
            cap = ROWS_MAX
        old = self.slots[at].chunk
        c = cython.cast(cython.pointer(Chunk), malloc(cython.sizeof(Chunk) + cap * ROW_BYTES))
        if c == cython.NULL:
            abort()
        c[0] = old[0]
        c.cap = cap
        c.start = 0
        copy_rows(c, 0, old, old.start, old.n)
        self.chunk_bytes += (cython.cast(cython.Py_ssize_t, cap) - old.cap) * ROW_BYTES
        free(old)
        self.slots[at].chunk = c
        return c

    def make_room(self, at, more):
        """Make sure that ``more`` rows can follow the last one; the chunk will hold <= ROWS_MAX."""
        c = self.slots[at].chunk
        if c.start + c.n + more <= c.cap:
            return c
        if c.n + more <= c.cap and c.start * 4 >= c.cap:
            move_rows(c, 0, c.start, c.n)
            c.start = 0
            return c
        cap: uint32_t = c.n + c.n // 4
        if cap < c.n + more:
            cap = c.n + more
        if cap < 8:
            cap = 8
        if self.slot_count > 16:
            cap = ROWS_MAX
        return self.resize(at, cap)

    def insert_row(self, at, i, ms, seq, cidx, delivered_ms, count):
        """Insert a row that fits before row ``i`` of a chunk that is not full."""
        c = self.slots[at].chunk
        if c.n > 0 and (ms < c.base_ms or ms - c.base_ms > 0xFFFFFFFF):
            first_ms: uint64_t = ms_of(c, 0)
            rebase(c, ms if ms < first_ms else first_ms)
        if i == c.n or c.n == c.cap:
            c = self.make_room(at, 1)
        if c.start > 0 and (i * 2 < c.n or c.start + c.n == c.cap):
            move_rows(c, c.start - 1, c.start, i)
            c.start -= 1
        else:
            move_rows(c, c.start + i + 1, c.start + i, c.n - i)
        c.n += 1
        column(c, MS)[c.start + i] = cython.cast(uint32_t, ms - c.base_ms)
        column(c, SEQ)[c.start + i] = cython.cast(uint32_t, seq)
        self.set_row(c, i, ms, seq, cidx, delivered_ms, count)
        if i == 0 and (
            ms < self.slots[at].ms or (ms == self.slots[at].ms and seq < self.slots[at].seq)
        ):
            self.slots[at].ms = ms
            self.slots[at].seq = seq
        self.length += 1
        return 0

    def set_row(self, c, i, ms, seq, cidx, delivered_ms, count):
        """Write all of row ``i`` but its ID, which ``large_counts`` must not hold."""
        place: uint32_t = c.start + i
        column(c, CIDX)[place] = cidx
        column(c, DELIVERED)[place] = cython.cast(uint32_t, delivered_ms)
        delivered_high(c)[place] = cython.cast(uint16_t, delivered_ms >> 32)
        if count >= LARGE_COUNT:
            column(c, COUNT)[place] = LARGE_COUNT
            self.large_counts[(ms, seq)] = count
        else:
            column(c, COUNT)[place] = cython.cast(uint32_t, count)
        c.owners |= cython.cast(uint64_t, 1) << (cidx & 63)
        if delivered_ms < c.delivered_min_ms:
            c.delivered_min_ms = delivered_ms
        c.dirty = 1
        return 0

    def read_row(self, c, i, out):
        """Read row ``i``."""
        out.ms = ms_of(c, i)
        out.seq = seq_of(c, i)
        out.cidx = column(c, CIDX)[c.start + i]
        out.delivered_ms = delivered_of(c, i)
        out.count = column(c, COUNT)[c.start + i]
        if out.count == LARGE_COUNT:
            out.count = self.large_counts[(out.ms, out.seq)]
        return 0

    def split(self, at, i):
        """Move the rows from ``i`` on, of which there are some, into a chunk of their own."""
        c = self.slots[at].chunk
        more: uint32_t = c.n - i
        right = self.new_chunk(at + 1, ms_of(c, i), seq_of(c, i), more)
        right.base_ms = c.base_ms
        copy_rows(right, 0, c, c.start + i, more)
        right.n = more
        c.n = i
        c.dirty = 1
        tighten(right)
        tighten(c)
        self.resize(at, c.n + c.n // 8)

    def after_removal(self, at):
        """Join a sparse chunk with a neighbour, or give unused capacity back."""
        c = self.slots[at].chunk
        if c.n < SPARSE_ROWS:
            if at + 1 < self.slot_count and self.merge(at):
                return
            if at > 0 and self.merge(at - 1):
                return
        full: uint32_t = c.n + c.cap // 8 + 8
        if c.cap > full:
            self.resize(at, c.n if c.n > 8 else 8)

    def merge(self, left):
        """Join a chunk with the next one if both are small and alike."""
        a = self.slots[left].chunk
        b = self.slots[left + 1].chunk
        rows: uint32_t = a.n + b.n
        if rows > JOINED_ROWS or not fits(a, ms_of(b, b.n - 1), seq_of(b, b.n - 1)):
            return False
        rebase(a, ms_of(a, 0))
        rebase(b, a.base_ms)
        a = self.resize(left, rows + rows // 8)
        copy_rows(a, a.n, b, b.start, b.n)
        a.n = cython.cast(uint16_t, rows)
        a.owners |= b.owners
        if b.delivered_min_ms < a.delivered_min_ms:
            a.delivered_min_ms = b.delivered_min_ms
        a.dirty = 1
        self.drop_chunk(left + 1)
        return True

    # From Python

    def append(self, ids: list[tuple[int, int]], cidx: int, delivered_ms: int) -> None:
        """``append_run`` for Python callers; the IDs ascend and are above all here."""
        n: cython.Py_ssize_t = len(ids)
        i: cython.Py_ssize_t
        ms: cython.pointer(uint64_t)
        ms = cython.cast(cython.pointer(uint64_t), malloc((2 * n + 1) * 8))
        if ms == cython.NULL:
            abort()
        for i in range(n):
            ms[i] = ids[i][0]
            ms[n + i] = ids[i][1]
        self.append_run(ms, ms + n, n, cidx, delivered_ms)
        free(ms)

    def get(self, ms: int, seq: int) -> tuple[int, int, int] | None:
        """The (cidx, delivered_ms, count) of a row."""
        row: Row
        if not self.find(ms, seq, cython.address(row)):
            return None
        return row.cidx, row.delivered_ms, row.count

    @property
    def min_id(self) -> tuple[int, int] | None:
        """The lowest ID."""
        if self.slot_count == 0:
            return None
        c = self.slots[0].chunk
        return ms_of(c, 0), seq_of(c, 0)

    @property
    def max_id(self) -> tuple[int, int] | None:
        """The highest ID."""
        if self.slot_count == 0:
            return None
        c = self.slots[self.slot_count - 1].chunk
        return ms_of(c, c.n - 1), seq_of(c, c.n - 1)

    def rows(
        self,
        start: tuple[int, int],
        end: tuple[int, int],
        limit: int = -1,
        cidx: int = -1,
        delivered_max_ms: int = -1,
    ) -> list[tuple[int, int, int, int, int]]:
        """Rows (ms, seq, cidx, delivered_ms, count) with start <= ID <= end, in ID order.

        At most ``limit`` of them; of one consumer; delivered at this time or before. -1: no such
        condition.
        """
        end_ms: uint64_t = end[0]
        end_seq: uint64_t = end[1]
        left: cython.longlong = limit
        owner: int64_t = cidx
        latest: int64_t = delivered_max_ms
        found: list[tuple[int, int, int, int, int]] = []
        at: Cursor
        row: Row
        i: uint32_t
        matched: cython.bint
        whole: cython.bint
        self.seek(start[0], start[1], cython.address(at))
        while at.slot < self.slot_count and left != 0:
            c = self.slots[at.slot].chunk
            if ms_of(c, 0) > end_ms:
                break
            i = at.row
            if owner >= 0 and not c.owners & (cython.cast(uint64_t, 1) << (owner & 63)):
                i = c.n
            elif latest >= 0 and c.delivered_min_ms > cython.cast(uint64_t, latest):
                i = c.n
            whole = i == 0
            matched = False
            while i < c.n and left != 0:
                if (owner < 0 or column(c, CIDX)[c.start + i] == owner) and (
                    latest < 0 or delivered_of(c, i) <= cython.cast(uint64_t, latest)
                ):
                    self.read_row(c, i, cython.address(row))
                    if row.ms > end_ms or (row.ms == end_ms and row.seq > end_seq):
                        return found
                    found.append((row.ms, row.seq, row.cidx, row.delivered_ms, row.count))
                    matched = True
                    left -= 1
                i += 1
            if whole and not matched:
                tighten(c)
            at.slot += 1
            at.row = 0
        return found

    def deliver_again(
        self, start: tuple[int, int], cidx: int, limit: int, delivered_ms: int
    ) -> list[tuple[int, int]]:
        """Count one more delivery of a consumer's rows from ``start`` on; returns their IDs."""
        at: Cursor
        row: Row
        found: list[tuple[int, int]] = []
        self.seek(start[0], start[1], cython.address(at))
        while len(found) < limit and self.next_row(cython.address(at), cidx, cython.address(row)):
            self.touch(cython.address(at), delivered_ms)
            found.append((row.ms, row.seq))
        return found

    def remove_consumer(self, cidx: int) -> int:
        """Remove all rows of a consumer; returns how many."""
        owner: uint32_t = cidx
        at: cython.Py_ssize_t = 0
        before: cython.Py_ssize_t = self.length
        i: uint32_t
        kept: uint32_t
        while at < self.slot_count:
            c = self.slots[at].chunk
            if not c.owners & (cython.cast(uint64_t, 1) << (owner & 63)):
                at += 1
                continue
            kept = 0
            for i in range(c.n):
                if column(c, CIDX)[c.start + i] == owner:
                    if column(c, COUNT)[c.start + i] == LARGE_COUNT:
                        del self.large_counts[(ms_of(c, i), seq_of(c, i))]
                else:
                    if kept != i:
                        copy_rows(c, c.start + kept, c, c.start + i, 1)
                    kept += 1
            if kept != c.n:
                self.length -= c.n - kept
                c.n = cython.cast(uint16_t, kept)
                c.dirty = 1
            if kept == 0:
                self.drop_chunk(at)
                continue
            tighten(c)
            at += 1
        at = self.slot_count - 1
        while at >= 0:
            if at < self.slot_count:
                self.after_removal(at)
            at -= 1
        return before - self.length

    def owners(self) -> dict[int, int]:
        """The number of rows of each cidx that has some."""
        counts: dict[int, int] = {}
        at: cython.Py_ssize_t
        i: uint32_t
        for at in range(self.slot_count):
            c = self.slots[at].chunk
            for i in range(c.n):
                cidx = column(c, CIDX)[c.start + i]
                counts[cidx] = counts.get(cidx, 0) + 1
        return counts

    @property
    def delivered_min_ms(self) -> int:
        """A lower bound of all delivery times; -1 if there are no rows."""
        earliest: uint64_t = cython.cast(uint64_t, -1)
        at: cython.Py_ssize_t
        if self.slot_count == 0:
            return -1
        for at in range(self.slot_count):
            if self.slots[at].chunk.delivered_min_ms < earliest:
                earliest = self.slots[at].chunk.delivered_min_ms
        return earliest

    @property
    def chunk_count(self) -> int:
        """How many chunks there are."""
        return self.slot_count

    @property
    def bytes_used(self) -> int:
        """Memory held, with what the allocator takes."""
        slots: cython.Py_ssize_t = self.slot_cap * cython.sizeof(Slot)
        return OBJECT_BYTES + slots + self.chunk_bytes + 150 * len(self.large_counts)

    # Persistence

    def blob_of(self, c):
        """The stored form of a chunk."""
        n: uint32_t = c.n
        which: uint32_t
        large: list[tuple[int, int]] = []
        if self.large_counts:
            large = [
                (i, self.large_counts[(ms_of(c, i), seq_of(c, i))])
                for i in range(n)
                if column(c, COUNT)[c.start + i] == LARGE_COUNT
            ]
        blob: bytes = PyBytes_FromStringAndSize(cython.NULL, HEADER_BYTES + n * ROW_BYTES)
        p: cython.p_char = PyBytes_AS_STRING(blob)
        n_large: uint16_t = cython.cast(uint16_t, len(large))
        memcpy(p, cython.address(c.n), 2)
        memcpy(p + 2, cython.address(n_large), 2)
        memcpy(p + 4, cython.address(c.seq_high), 4)
        memcpy(p + 8, cython.address(c.base_ms), 8)
        p += HEADER_BYTES
        for which in range(5):
            memcpy(p, column(c, which) + c.start, n * 4)
            p += n * 4
        memcpy(p, delivered_high(c) + c.start, n * 2)
        for place, count in large:
            blob += LARGE_STRUCT.pack(place, count)
        return blob

    def dirty_chunks(self) -> list[tuple[int, bytes | None]]:
        """What changed since ``clear_dirty``: (number, blob), None if a stored chunk vanished."""
        changed: list[tuple[int, bytes | None]] = [(no, None) for no in sorted(self.vanished)]
        at: cython.Py_ssize_t
        for at in range(self.slot_count):
            c = self.slots[at].chunk
            if c.dirty:
                changed.append((c.no, self.blob_of(c)))
        return changed

    def clear_dirty(self) -> None:
        """What ``dirty_chunks`` gave is stored now."""
        at: cython.Py_ssize_t
        for at in range(self.slot_count):
            if self.slots[at].chunk.dirty:
                self.slots[at].chunk.dirty = 0
                self.slots[at].chunk.stored = 1
        self.vanished.clear()

    def redo(self, numbers: list[int]) -> None:
        """What ``dirty_chunks`` gave under these numbers was not stored after all."""
        left: set[int] = set(numbers)
        at: cython.Py_ssize_t
        for at in range(self.slot_count):
            if self.slots[at].chunk.no in left:
                self.slots[at].chunk.dirty = 1
                left.discard(self.slots[at].chunk.no)
        self.vanished |= left

    def stored_numbers(self) -> list[int]:
        """The numbers under which the store holds a chunk, for whoever deletes the group."""
        return sorted(
            [*self.vanished]
            + [
                self.slots[at].chunk.no
                for at in range(self.slot_count)
                if self.slots[at].chunk.stored
            ]
        )

    def load_chunk(self, number: int, blob: bytes) -> None:
        """Take in a stored chunk of a list that is being loaded.

        Raises ValueError where its bytes are no chunk that fits here; the list is of no use then.
        """
        if number >= NUMBERS_MAX:
            raise ValueError(f"pending chunk {number}: no such number")
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(blob)
        p: cython.p_const_char = PyBytes_AS_STRING(blob)
        n: uint16_t = 0
        n_large: uint16_t = 0
        seq_high: uint32_t = 0
        base_ms: uint64_t = 0
        which: uint32_t
        if size >= HEADER_BYTES:
            memcpy(cython.address(n), p, 2)
            memcpy(cython.address(n_large), p + 2, 2)
            memcpy(cython.address(seq_high), p + 4, 4)
            memcpy(cython.address(base_ms), p + 8, 8)
        large_at: cython.Py_ssize_t = HEADER_BYTES + n * ROW_BYTES
        if n == 0 or n > ROWS_MAX or size != large_at + n_large * LARGE_BYTES:
            raise ValueError(f"pending chunk {number}: {size} bytes are not {n} rows")
        first_ms: uint32_t
        first_seq: uint32_t
        memcpy(cython.address(first_ms), p + HEADER_BYTES, 4)
        memcpy(cython.address(first_seq), p + HEADER_BYTES + n * 4, 4)
        first: tuple[int, int] = (
            base_ms + first_ms,
            (cython.cast(uint64_t, seq_high) << 32) | first_seq,
        )
        at: cython.Py_ssize_t = self.slot_of(first[0], first[1]) + 1
        c = self.open_chunk(at, first[0], first[1], n, number)
        if number >= self.next_no:
            self.next_no = number + 1
        c.base_ms = base_ms
        c.n = n
        p += HEADER_BYTES
        for which in range(5):
            memcpy(column(c, which), p, n * 4)
            p += n * 4
        memcpy(delivered_high(c), p, n * 2)
        c.dirty = 0
        c.stored = 1
        tighten(c)
        self.length += n
        self.load_large_counts(number, c, blob[large_at:])
        self.check_order(at)

    def load_large_counts(self, number, c, data):
        """Read the counts that do not fit into a column."""
        i: uint32_t
        marked: list[int] = [i for i in range(c.n) if column(c, COUNT)[c.start + i] == LARGE_COUNT]
        large: list[tuple[int, int]] = [*LARGE_STRUCT.iter_unpack(data)]
        if [place for place, _ in large] != marked:
            raise ValueError(f"pending chunk {number}: large counts of rows {marked} are not there")
        for i, count in large:
            self.large_counts[(ms_of(c, i), seq_of(c, i))] = count
        return 0

    def check_order(self, at):
        """Raise ValueError unless a chunk's rows ascend and lie between its neighbours."""
        c = self.slots[at].chunk
        ids: list[tuple[int, int]] = [(ms_of(c, i), seq_of(c, i)) for i in range(c.n)]
        if at > 0:
            before = self.slots[at - 1].chunk
            ids.insert(0, (ms_of(before, before.n - 1), seq_of(before, before.n - 1)))
        if at + 1 < self.slot_count:
            ids.append((self.slots[at + 1].ms, self.slots[at + 1].seq))
        for earlier, later in pairwise(ids):
            if earlier >= later:
                raise ValueError(f"pending chunk {c.no}: {earlier} is not below {later}")
        return 0

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        rows = 0
        large = 0
        held = 0
        numbers: set[int] = set()
        at: cython.Py_ssize_t
        i: uint32_t
        for at in range(self.slot_count):
            c = self.slots[at].chunk
            if c.n == 0 or c.n > c.cap or c.start + c.n > c.cap or c.cap > ROWS_MAX:
                raise AssertionError(f"chunk {c.no}: rows {c.start}+{c.n} of {c.cap}")
            if (self.slots[at].ms, self.slots[at].seq) > (ms_of(c, 0), seq_of(c, 0)):
                raise AssertionError(f"chunk {c.no}: its slot is above its first row")
            self.check_order(at)
            for i in range(c.n):
                if delivered_of(c, i) < c.delivered_min_ms:
                    raise AssertionError(f"chunk {c.no}: row {i} delivered before the bound")
                cidx = column(c, CIDX)[c.start + i]
                if not c.owners & (cython.cast(uint64_t, 1) << (cidx & 63)):
                    raise AssertionError(f"chunk {c.no}: owner {cidx} is not in the set")
                if column(c, COUNT)[c.start + i] == LARGE_COUNT:
                    large += 1
                    if self.large_counts[(ms_of(c, i), seq_of(c, i))] < LARGE_COUNT:
                        raise AssertionError(f"chunk {c.no}: count of row {i} is not large")
            if c.no in numbers or c.no in self.vanished or c.no >= self.next_no:
                raise AssertionError(f"chunk number {c.no} is not its own")
            numbers.add(c.no)
            rows += c.n
            held += cython.sizeof(Chunk) + c.cap * ROW_BYTES + ALLOCATION_BYTES
        if rows != self.length or large != len(self.large_counts) or held != self.chunk_bytes:
            raise AssertionError(
                f"{rows} rows, {large} large counts, {held} bytes, "
                f"not {self.length}, {len(self.large_counts)}, {self.chunk_bytes}"
            )
