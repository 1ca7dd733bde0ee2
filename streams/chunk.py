"""One chunk of a pending list: at most 256 rows in ID order, 22 bytes each.

A chunk is one allocation: a header and six columns. IDs are kept as u32 distances, so a chunk spans
at most 2^32 ms and one value of the upper half of seq.

Rules:

- The rows in use stand in one piece, somewhere in the columns. Taking one out or putting one in
  moves the shorter side, or the only one that has room.
- A row without an owner (consumer index 0) was released: its delivery column holds the serial
  number of the release. The *age* of a row orders all of a list: released rows first, by serial
  number, then the others by delivery time (``OWNED`` more).
- ``oldest`` is a lower bound of the ages, ``low`` one of the IDs, and ``owners`` a superset (bit
  ``cidx & 63``): changes may leave them too loose, ``tighten`` sets them right.
- A delivery count of 2^32 - 1 or more is 2^32 - 1 in its column and stands in the list's
  ``large_counts`` under its ID.
- What changes rows sets ``dirty``. Nothing here asks whether rows or IDs fit: the caller has.
- What every command does with a row is inline, in the ``.pxd``.

Blob, little-endian::

    blob := u16 n, u16 n_large, u32 seq_high, u64 base_ms,
            u32 ms_delta[n], u32 seq_low[n], u32 cidx[n], u32 count[n], u32 delivered_low[n],
            u16 delivered_high[n], large[n_large]
    large := u16 row, u64 count       of the rows whose column says 2^32 - 1, ascending
"""

from __future__ import annotations

import struct

import cython
from cython.cimports.cpython.bytes import (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cython.cimports.libc.stdint import uint16_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc
from cython.cimports.libc.string import memcpy, memmove

ALLOCATION_BYTES = cython.declare(cython.Py_ssize_t, 16)  # what malloc itself takes, at most
HEADER_BYTES = cython.declare(cython.Py_ssize_t, 16)
LARGE_BYTES = cython.declare(cython.Py_ssize_t, 10)

LARGE_STRUCT = struct.Struct("<HQ")


def new_chunk(ms, seq, cap, number):
    """A chunk without rows, for IDs from ``ms-seq`` on."""
    c = cython.cast(cython.pointer(Chunk), malloc(cython.sizeof(Chunk) + cap * ROW_BYTES))
    if c == cython.NULL:
        abort()
    c.base_ms = ms
    c.low_ms = ms
    c.low_seq = seq
    c.seq_high = cython.cast(uint32_t, seq >> 32)
    c.oldest = cython.cast(uint64_t, -1)
    c.owners = 0
    c.start = 0
    c.n = 0
    c.cap = cap
    c.dirty = 1
    c.stored = 0
    c.no = number
    c.heap_at = 0
    return c


def resized(old, cap):
    """The same chunk with columns of another length, its rows at the front; ``old`` is freed."""
    c = cython.cast(cython.pointer(Chunk), malloc(cython.sizeof(Chunk) + cap * ROW_BYTES))
    if c == cython.NULL:
        abort()
    c[0] = old[0]
    c.cap = cap
    c.start = 0
    copy_rows(c, 0, old, old.start, old.n)
    free(old)
    return c


def chunk_bytes(c):
    """Memory held, with what the allocator takes."""
    return cython.sizeof(Chunk) + c.cap * ROW_BYTES + ALLOCATION_BYTES


def lower_bound(c, ms, seq):
    """The first row whose ID is not below ``ms-seq``."""
    if ms < c.base_ms:
        return 0
    delta: uint64_t = ms - c.base_ms
    if delta > U32_MAX:
        return c.n
    high: uint32_t = cython.cast(uint32_t, seq >> 32)
    key: uint64_t = delta << 32
    if high == c.seq_high:
        key |= cython.cast(uint32_t, seq)
    elif high > c.seq_high:
        if delta == U32_MAX:
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


def run_length(c, ms, seq, n):
    """How many of ``n`` ascending IDs, of which the first fits, can follow the rows."""
    i: cython.Py_ssize_t
    base_ms: uint64_t = c.base_ms
    high: uint64_t = c.seq_high
    while ms[n - 1] - base_ms > U32_MAX or seq[n - 1] >> 32 != high:
        n -= 1
    for i in range(n):
        if seq[i] >> 32 != high:
            return i
    return n


def append_rows(c, ms, seq, n, cidx, delivered_ms):
    """Append rows delivered for the first time, whose IDs and number fit."""
    i: cython.Py_ssize_t
    tail: uint32_t = c.start + c.n
    base_ms: uint64_t = c.base_ms
    values: cython.pointer(uint32_t)
    highs: cython.pointer(uint16_t)
    values = column(c, MS) + tail
    for i in range(n):
        values[i] = cython.cast(uint32_t, ms[i] - base_ms)
    values = column(c, SEQ) + tail
    for i in range(n):
        values[i] = cython.cast(uint32_t, seq[i])
    values = column(c, CIDX) + tail
    for i in range(n):
        values[i] = cidx
    values = column(c, COUNT) + tail
    for i in range(n):
        values[i] = 1
    values = column(c, DELIVERED) + tail
    for i in range(n):
        values[i] = cython.cast(uint32_t, delivered_ms)
    highs = delivered_high(c) + tail
    for i in range(n):
        highs[i] = cython.cast(uint16_t, delivered_ms >> 32)
    c.n += cython.cast(uint16_t, n)
    c.owners |= cython.cast(uint64_t, 1) << (cidx & 63)
    if OWNED + delivered_ms < c.oldest:
        c.oldest = OWNED + delivered_ms
    c.dirty = 1


def cut(c, i, right):
    """Move the rows from ``i`` on into a new chunk, which has room for them."""
    more: uint32_t = c.n - i
    right.base_ms = c.base_ms
    copy_rows(right, 0, c, c.start + i, more)
    right.n = more
    c.n = i
    c.dirty = 1
    tighten(right)
    tighten(c)


def join(a, b):
    """Copy the rows of ``b`` behind those of ``a``, which has room for them at its end."""
    rebase(a, ms_of(a, 0))
    rebase(b, a.base_ms)
    copy_rows(a, a.start + a.n, b, b.start, b.n)
    a.n += b.n
    a.owners |= b.owners
    # a stands before b, so its bound of IDs holds for both
    if b.oldest < a.oldest:
        a.oldest = b.oldest
    a.dirty = 1


def tighten(c):
    """Set the bounds of ages and IDs and the set of owners exactly."""
    owners: uint64_t = 0
    oldest: uint64_t = cython.cast(uint64_t, -1)
    row_age: uint64_t
    i: uint32_t
    consumers: cython.pointer(uint32_t) = column(c, CIDX) + c.start
    for i in range(c.n):
        owners |= cython.cast(uint64_t, 1) << (consumers[i] & 63)
        row_age = age_of(c, i)
        if row_age < oldest:
            oldest = row_age
    c.owners = owners
    c.oldest = oldest
    if c.n > 0:
        c.low_ms = ms_of(c, 0)
        c.low_seq = seq_of(c, 0)


def pull_back(c, latest_ms):
    """Rows that say they were delivered after ``latest_ms`` were delivered then; how many."""
    n: uint32_t = 0
    i: uint32_t
    place: uint32_t
    for i in range(c.n):
        if delivered_of(c, i) > latest_ms:
            place = c.start + i
            column(c, DELIVERED)[place] = cython.cast(uint32_t, latest_ms)
            delivered_high(c)[place] = cython.cast(uint16_t, latest_ms >> 32)
            n += 1
    if n > 0:
        c.dirty = 1
        tighten(c)
    return n


def remove_owner(c, cidx, large_counts):
    """Take out all rows of a consumer; returns how many."""
    kept: uint32_t = 0
    removed: uint32_t
    i: uint32_t
    for i in range(c.n):
        if column(c, CIDX)[c.start + i] == cidx:
            if column(c, COUNT)[c.start + i] == LARGE_COUNT:
                del large_counts[(ms_of(c, i), seq_of(c, i))]
        else:
            if kept != i:
                copy_rows(c, c.start + kept, c, c.start + i, 1)
            kept += 1
    removed = c.n - kept
    if removed > 0:
        c.n = cython.cast(uint16_t, kept)
        c.dirty = 1
    tighten(c)
    return removed


def blob_of(c, large_counts):
    """The stored form of a chunk."""
    n: uint32_t = c.n
    which: uint32_t
    large: list[tuple[int, int]] = []
    if large_counts:
        large = [
            (i, large_counts[(ms_of(c, i), seq_of(c, i))])
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


def read_header(header, number, blob):
    """Read what stands before the columns. Raises ValueError unless rows and size agree."""
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(blob)
    p: cython.p_const_char = PyBytes_AS_STRING(blob)
    n: uint16_t = 0
    n_large: uint16_t = 0
    first_ms: uint32_t
    first_seq: uint32_t
    if size >= HEADER_BYTES:
        memcpy(cython.address(n), p, 2)
        memcpy(cython.address(n_large), p + 2, 2)
        memcpy(cython.address(header.seq_high), p + 4, 4)
        memcpy(cython.address(header.base_ms), p + 8, 8)
    if n == 0 or n > ROWS_MAX or size != HEADER_BYTES + n * ROW_BYTES + n_large * LARGE_BYTES:
        raise ValueError(f"pending chunk {number}: {size} bytes are not {n} rows")
    memcpy(cython.address(first_ms), p + HEADER_BYTES, 4)
    memcpy(cython.address(first_seq), p + HEADER_BYTES + n * 4, 4)
    header.n = n
    header.n_large = n_large
    header.first_ms = header.base_ms + first_ms
    header.first_seq = (cython.cast(uint64_t, header.seq_high) << 32) | first_seq
    return 0


def fill(c, header, blob, large_counts):
    """Read the columns and large counts into a new chunk, as it was stored.

    Raises ValueError where the large counts are not those of the rows that have one.
    """
    n: uint32_t = header.n
    p: cython.p_const_char = PyBytes_AS_STRING(blob)
    large_at: cython.Py_ssize_t = HEADER_BYTES + n * ROW_BYTES
    which: uint32_t
    i: uint32_t
    c.base_ms = header.base_ms
    c.n = header.n
    p += HEADER_BYTES
    for which in range(5):
        memcpy(column(c, which), p, n * 4)
        p += n * 4
    memcpy(delivered_high(c), p, n * 2)
    c.dirty = 0
    c.stored = 1
    tighten(c)
    marked: list[int] = [i for i in range(n) if column(c, COUNT)[i] == LARGE_COUNT]
    large: list[tuple[int, int]] = [*LARGE_STRUCT.iter_unpack(blob[large_at:])]
    if [place for place, _ in large] != marked:
        raise ValueError(f"pending chunk {c.no}: large counts of rows {marked} are not there")
    for i, count in large:
        large_counts[(ms_of(c, i), seq_of(c, i))] = count
    return 0


def check_rows(c, large_counts):
    """Raise AssertionError unless all invariants hold; returns how many counts are large."""
    large = 0
    i: uint32_t
    if c.n == 0 or c.n > c.cap or c.start + c.n > c.cap or c.cap > ROWS_MAX:
        raise AssertionError(f"chunk {c.no}: rows {c.start}+{c.n} of {c.cap}")
    for i in range(c.n):
        if ms_of(c, i) < c.low_ms or (ms_of(c, i) == c.low_ms and seq_of(c, i) < c.low_seq):
            raise AssertionError(f"chunk {c.no}: row {i} is below the bound")
        if age_of(c, i) < c.oldest:
            raise AssertionError(f"chunk {c.no}: row {i} is older than the bound")
        cidx: uint32_t = column(c, CIDX)[c.start + i]
        if not may_own(c, cidx):
            raise AssertionError(f"chunk {c.no}: owner {cidx} is not in the set")
        if column(c, COUNT)[c.start + i] == LARGE_COUNT:
            large += 1
            if large_counts[(ms_of(c, i), seq_of(c, i))] < LARGE_COUNT:
                raise AssertionError(f"chunk {c.no}: count of row {i} is not large")
    return large
