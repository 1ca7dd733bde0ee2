"""Blocks of stream entries in wire form, and the index of the blocks a segment holds.

An entry is stored as the bytes it is sent as; its ID is read back out of them::

    entry := '*2\\r\\n' bulk(id) '*' num '\\r\\n' bulk...       num = fields and values together
    id    := ms '-' seq

A ``Block`` is a run of consecutive entries of one stream. While it grows its bytes sit in a
``Buf``; once sealed they are one ``bytes`` object. Beside the bytes it keeps one u32 an entry:
where the entry ends.

Every entry has a position in its stream: 0 for the first ever added, one more for each that
follows, never reused. ``first_pos`` of a block is the position of its first entry; nothing inside a
block is ever removed.

A ``Run`` is the block index of one stream in one segment file, in columns. Directory bytes,
little-endian::

    u32 n_blocks, u32 n_nodes, u64 first_pos, u64 last_ms, u64 last_seq,
    u64 first_ms[n_blocks], u64 first_seq[n_blocks], u32 first_ordinal[n_blocks + 1] (relative to
    first_pos), u64 frame_offset[n_blocks], u32 frame_len[n_blocks], u32 raw_offset[n_blocks], u32
    raw_len[n_blocks], u32 node_ordinal[n_nodes] (where virtual nodes start, relative to first_pos)

``Run.blocks`` holds the blocks that are in memory; the others are None.
"""

from __future__ import annotations

from typing import Any

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc, realloc
from cython.cimports.libc.string import memcpy

from lsmstore.buf import Buf

HEADER_BYTES = cython.declare(cython.Py_ssize_t, 32)


def id_less(a_ms, a_seq, b_ms, b_seq):
    """Whether ID a comes before ID b."""
    return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)


def read_entry_id(p, ms, seq):
    """Read the ID of the entry at ``p``; returns the place after its ``\\r\\n``."""
    value: uint64_t = 0
    p += 6  # '*2\r\n$' and the first digit of the length
    while p[0] != 10:
        p += 1
    p += 1
    while p[0] != 45:
        value = value * 10 + cython.cast(uint64_t, p[0] - 48)
        p += 1
    ms[0] = value
    value = 0
    p += 1
    while p[0] != 13:
        value = value * 10 + cython.cast(uint64_t, p[0] - 48)
        p += 1
    seq[0] = value
    return p + 2


def skip_bulk(p, end):
    """The place after the bulk string at ``p``, or NULL if it does not end before ``end``."""
    n: uint64_t = 0
    if p >= end or p[0] != 36:
        return cython.NULL
    p += 1
    while p < end and 48 <= p[0] <= 57:
        n = n * 10 + cython.cast(uint64_t, p[0] - 48)
        p += 1
    if end - p < 4 or p[0] != 13 or n > cython.cast(uint64_t, end - p) - 4:
        return cython.NULL
    return p + 4 + n


def skip_entry(p, end):
    """The place after the entry at ``p``, or NULL if it is not a whole entry."""
    fields: uint64_t = 0
    if end - p < 12 or p[0] != 42 or p[1] != 50:
        return cython.NULL
    p = skip_bulk(p + 4, end)
    if p == cython.NULL or p >= end or p[0] != 42:
        return cython.NULL
    p += 1
    while p < end and 48 <= p[0] <= 57:
        fields = fields * 10 + cython.cast(uint64_t, p[0] - 48)
        p += 1
    p += 2
    while fields > 0:
        p = skip_bulk(p, end)
        if p == cython.NULL:
            return cython.NULL
        fields -= 1
    return p


@cython.final
@cython.cclass
class Block:
    """Consecutive entries of one stream."""

    def __cinit__(self) -> None:
        self.ends = cython.NULL
        self.ends_cap = 0
        self.count = 0
        self.base = cython.NULL
        self.logical_bytes = 0

    def __dealloc__(self) -> None:
        free(self.ends)

    @staticmethod
    def growing_at(first_pos: int) -> Block:
        """An empty block whose first entry will be at ``first_pos``."""
        block = Block()
        block.first_pos = first_pos
        block.growing = Buf(256)
        return block

    @staticmethod
    def sealed(data: bytes, first_pos: int) -> Block:
        """A block over the wire bytes of its entries.

        Raises ValueError where the bytes are not whole entries.
        """
        block = Block()
        block.first_pos = first_pos
        block.closed = data
        block.base = PyBytes_AS_STRING(data)
        block.index_entries()
        return block

    def index_entries(self):
        """Find where each entry of the sealed bytes ends, and the first and last ID."""
        start: cython.p_const_char = self.base
        end: cython.p_const_char = self.base + PyBytes_GET_SIZE(self.closed)
        p: cython.p_const_char = start
        last: cython.p_const_char = start
        while p < end:
            last = p
            p = skip_entry(p, end)
            if p == cython.NULL:
                raise ValueError("block does not hold whole entries")
            if self.count == self.ends_cap:
                self.grow_ends()
            self.ends[self.count] = cython.cast(uint32_t, p - start)
            self.count += 1
        if self.count == 0:
            raise ValueError("block holds no entry")
        read_entry_id(start, cython.address(self.first_ms), cython.address(self.first_seq))
        read_entry_id(last, cython.address(self.last_ms), cython.address(self.last_seq))
        return 0

    def grow_ends(self):
        """Make room for one more entry in the index."""
        self.ends_cap = self.ends_cap * 2 if self.ends_cap > 0 else 8
        self.ends = cython.cast(
            cython.pointer(uint32_t),
            realloc(self.ends, self.ends_cap * cython.sizeof(uint32_t)),
        )
        if self.ends == cython.NULL:
            abort()

    def append(self, wire, n, ms, seq, logical):
        """Add one entry's wire bytes. REQUIRES: not sealed, the ID is above ``last``."""
        if self.count == self.ends_cap:
            self.grow_ends()
        if self.count == 0:
            self.first_ms = ms
            self.first_seq = seq
        self.growing.put(wire, n)
        self.base = self.growing.p
        self.ends[self.count] = cython.cast(uint32_t, self.growing.n)
        self.count += 1
        self.last_ms = ms
        self.last_seq = seq
        self.logical_bytes += logical

    def start_of(self, i):
        """Where entry ``i`` starts in the bytes. ``i`` may be ``count``."""
        if i == 0:
            return 0
        return self.ends[i - 1]

    def end_of(self, i):
        """Where entry ``i`` ends in the bytes."""
        return self.ends[i]

    def wire_length(self):
        """Bytes of all entries."""
        if self.count == 0:
            return 0
        return self.ends[self.count - 1]

    def id_at(self, i, ms, seq):
        """The ID of entry ``i``."""
        read_entry_id(self.base + self.start_of(i), ms, seq)

    def lower_bound(self, ms, seq):
        """The first entry whose ID is ``ms-seq`` or above; ``count`` if none is."""
        low: uint32_t = 0
        high: uint32_t = self.count
        middle: uint32_t
        at_ms: uint64_t = 0
        at_seq: uint64_t = 0
        if self.count == 0 or id_less(self.last_ms, self.last_seq, ms, seq):
            return self.count
        if not id_less(self.first_ms, self.first_seq, ms, seq):
            return 0
        while low < high:
            middle = (low + high) // 2
            self.id_at(middle, cython.address(at_ms), cython.address(at_seq))
            if id_less(at_ms, at_seq, ms, seq):
                low = middle + 1
            else:
                high = middle
        return low

    # From Python

    @property
    def first(self) -> tuple[int, int]:
        """ID of the first entry."""
        return (self.first_ms, self.first_seq)

    @property
    def last(self) -> tuple[int, int]:
        """ID of the last entry."""
        return (self.last_ms, self.last_seq)

    @property
    def wire_bytes(self) -> int:
        """Bytes of all entries."""
        return self.wire_length()

    @property
    def is_sealed(self) -> bool:
        """Whether nothing can be added any more."""
        return self.closed is not None

    @property
    def data(self) -> bytes:
        """The wire bytes of all entries. REQUIRES: sealed."""
        return self.closed

    @property
    def memory_bytes(self) -> int:
        """What the block costs in memory, object and index included."""
        held: cython.Py_ssize_t = self.growing.cap if self.closed is None else self.wire_length()
        return 208 + held + 4 * cython.cast(cython.Py_ssize_t, self.ends_cap)

    def seal(self) -> None:
        """Nothing is added any more; spare room is given back."""
        if self.closed is not None:
            return
        self.closed = self.growing.copy()
        self.base = PyBytes_AS_STRING(self.closed)
        self.growing = None
        if self.count > 0 and self.ends_cap > self.count:
            self.ends_cap = self.count
            self.ends = cython.cast(
                cython.pointer(uint32_t),
                realloc(self.ends, self.ends_cap * cython.sizeof(uint32_t)),
            )
            if self.ends == cython.NULL:
                abort()

    def span(self, index: int) -> tuple[int, int]:
        """Where entry ``index`` starts and ends in the bytes."""
        i: uint32_t = index
        return (self.start_of(i), self.end_of(i))

    def ids(self) -> list[tuple[int, int]]:
        """The IDs of all entries."""
        ms: uint64_t = 0
        seq: uint64_t = 0
        i: uint32_t
        out = []
        for i in range(self.count):
            self.id_at(i, cython.address(ms), cython.address(seq))
            out.append((ms, seq))
        return out


@cython.final
@cython.cclass
class Run:
    """The blocks of one stream in one segment, ascending."""

    def __cinit__(self) -> None:
        self.first_ms = cython.NULL

    def __init__(self, segment: Any, directory: bytes) -> None:
        n: uint32_t
        nodes: uint32_t
        self.segment = segment
        if len(directory) < HEADER_BYTES:
            raise ValueError("directory of a stream is cut short")
        n = int.from_bytes(directory[0:4], "little")
        nodes = int.from_bytes(directory[4:8], "little")
        self.n_blocks = n
        self.n_nodes = nodes
        self.first_pos = int.from_bytes(directory[8:16], "little")
        self.last_ms = int.from_bytes(directory[16:24], "little")
        self.last_seq = int.from_bytes(directory[24:32], "little")
        expected: uint64_t = HEADER_BYTES + 40 * cython.cast(uint64_t, n) + 4
        expected += 4 * cython.cast(uint64_t, nodes)
        if n == 0 or cython.cast(uint64_t, len(directory)) != expected:
            raise ValueError("directory of a stream has the wrong length")
        wide: cython.Py_ssize_t = 8 * n
        narrow: cython.Py_ssize_t = 4 * n
        p: cython.p_const_char = PyBytes_AS_STRING(directory)
        p += HEADER_BYTES
        own: cython.p_char = cython.cast(
            cython.p_char, malloc(3 * wide + 4 * narrow + 4 + 4 * nodes)
        )
        if own == cython.NULL:
            abort()
        self.first_ms = cython.cast(cython.pointer(uint64_t), own)
        self.first_seq = self.first_ms + n
        self.frame_offsets = self.first_seq + n
        self.first_ordinals = cython.cast(cython.pointer(uint32_t), self.frame_offsets + n)
        self.frame_lens = self.first_ordinals + n + 1
        self.raw_offsets = self.frame_lens + n
        self.raw_lens = self.raw_offsets + n
        self.node_ordinals = self.raw_lens + n
        memcpy(self.first_ms, p, wide)
        memcpy(self.first_seq, p + wide, wide)
        memcpy(self.first_ordinals, p + 2 * wide, narrow + 4)
        p += 2 * wide + narrow + 4
        memcpy(self.frame_offsets, p, wide)
        memcpy(self.frame_lens, p + wide, narrow)
        memcpy(self.raw_offsets, p + wide + narrow, narrow)
        memcpy(self.raw_lens, p + wide + 2 * narrow, narrow)
        memcpy(self.node_ordinals, p + wide + 3 * narrow, 4 * nodes)
        self.end_pos = self.first_pos + self.first_ordinals[n]
        self.blocks = [None] * n

    def __dealloc__(self) -> None:
        free(self.first_ms)

    def block_at_pos(self, pos):
        """Which block holds position ``pos``. REQUIRES: first_pos <= pos < end_pos."""
        ordinal: uint32_t = cython.cast(uint32_t, pos - self.first_pos)
        low: uint32_t = 0
        high: uint32_t = self.n_blocks - 1
        middle: uint32_t
        while low < high:
            middle = (low + high + 1) // 2
            if self.first_ordinals[middle] <= ordinal:
                low = middle
            else:
                high = middle - 1
        return low

    def block_at_id(self, ms, seq):
        """The last block whose first ID is ``ms-seq`` or below; the first block if none is."""
        low: uint32_t = 0
        high: uint32_t = self.n_blocks - 1
        middle: uint32_t
        while low < high:
            middle = (low + high + 1) // 2
            if id_less(ms, seq, self.first_ms[middle], self.first_seq[middle]):
                high = middle - 1
            else:
                low = middle
        return low

    # From Python

    @property
    def count(self) -> int:
        """Entries of the run, deleted ones included."""
        return cython.cast(uint64_t, self.end_pos - self.first_pos)

    @property
    def last(self) -> tuple[int, int]:
        """ID of the last entry."""
        return (self.last_ms, self.last_seq)

    def place(self, index: int) -> tuple[int, int, int, int, int]:
        """Block ``index``: (frame offset, frame length, raw offset, raw length, first position)."""
        i: uint32_t = index
        return (
            self.frame_offsets[i],
            self.frame_lens[i],
            self.raw_offsets[i],
            self.raw_lens[i],
            self.first_pos + self.first_ordinals[i],
        )

    def block_start(self, pos: int) -> int:
        """The first position of the block that holds ``pos``."""
        return self.first_pos + self.first_ordinals[self.block_at_pos(pos)]

    def block_count(self, index: int) -> int:
        """Entries of block ``index``."""
        i: uint32_t = index
        return self.first_ordinals[i + 1] - self.first_ordinals[i]

    def first_id(self, index: int) -> tuple[int, int]:
        """ID of the first entry of block ``index``."""
        i: uint32_t = index
        return (self.first_ms[i], self.first_seq[i])

    @property
    def raw_bytes(self) -> int:
        """Wire bytes of all blocks."""
        total: uint64_t = 0
        i: uint32_t
        for i in range(self.n_blocks):
            total += self.raw_lens[i]
        return total

    def node_positions(self) -> list[int]:
        """Positions at which virtual nodes start."""
        return [self.first_pos + self.node_ordinals[i] for i in range(self.n_nodes)]

    @property
    def memory_bytes(self) -> int:
        """What the index costs in memory (blocks that are held count themselves)."""
        return 200 + 48 * cython.cast(cython.Py_ssize_t, self.n_blocks) + 4 * self.n_nodes
