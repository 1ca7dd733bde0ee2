"""Virtual nodes: what Redis would keep in one listpack each.

A node closes at stream-node-max-entries adds (deleted ones included) or at stream-node-max-bytes by
listpack size, at the values in force when the entry is added. ``MAXLEN ~`` drops whole nodes and
``radix-tree-keys`` counts them, so clients can see where they end. Node starts are positions, kept
apart from how blocks are sealed: those of cold entries in the runs, those of the memtable in
``node_starts``. The size of the open node is reckoned to the byte.

Where the last node was emptied, the next entry may go into the one before it. The starts between
them are void then (``node_voids``), and what lay between is no part of its listpack
(``node_holes``: where it begins and ends). Both are derived from the log alone, so that they are
the same whatever has been flushed meanwhile.

Header row, behind its fixed fields::

    u32 n, u32 n_holes, u32 n_voids, n bytes: field names of the open node as bulk strings,
    n_holes * (u64 start, u64 end), n_voids * u64 start
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.libc.string import memcmp
from cython.cimports.lsmstore.block import read_entry_id
from cython.cimports.streams.listpack import int_size, string_size

from lsmstore.block import Block, Run
from lsmstore.buf import Buf
from streams.entries import Entries

COUNTS = struct.Struct("<III")
HOLE = struct.Struct("<QQ")
VOID = struct.Struct("<Q")
NODE_BYTES_MAX = cython.declare(cython.longlong, 1 << 30)
EMPTY_LISTPACK_BYTES = cython.declare(cython.Py_ssize_t, 7)


@cython.cclass
class NodedEntries(Entries):
    """Entries, and the virtual nodes they fall into."""

    def __cinit__(self) -> None:
        self.node_starts = cython.NULL
        self.node_starts_n = 0
        self.node_starts_cap = 0

    def __init__(self, sid: int, loader: Callable[[Run, int], Block]) -> None:
        super().__init__(sid, loader)
        self.node_fields = Buf(16)
        self.node_holes = []
        self.node_voids = []

    def __dealloc__(self) -> None:
        free(self.node_starts)

    def starts_node(self, fields, n_args, total, max_bytes, max_entries):
        """Whether an entry of ``total`` argument bytes starts a new virtual node.

        REQUIRES: where no node is open and one is left, ``reckon_last_node`` was called.
        """
        if self.node_count == 0:
            return True
        if max_bytes == 0 or max_bytes > NODE_BYTES_MAX:
            max_bytes = NODE_BYTES_MAX
        if self.node_bytes + total >= max_bytes:
            return True
        return max_entries > 0 and self.node_adds >= cython.cast(uint64_t, max_entries)

    def account(self, args, n_args, ms, seq, new_node):
        """Reckon the open node's listpack after the entry whose arguments start at ``args``."""
        p: cython.p_const_char = args
        q: cython.p_const_char
        i: uint32_t
        ln: cython.Py_ssize_t
        own: cython.p_const_char
        own_end: cython.p_const_char
        fields: uint32_t = n_args // 2
        same: cython.bint
        names: cython.Py_ssize_t = 0
        values: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t
        if new_node:
            self.node_ms = ms
            self.node_seq = seq
            self.node_live = 0
            self.node_adds = 0
            self.node_field_count = fields
            self.node_fields.n = 0
        same = fields == self.node_field_count
        own = self.node_fields.p
        own_end = own + self.node_fields.n
        for i in range(n_args):
            q = p + 1
            ln = 0
            while q[0] != 13:
                ln = ln * 10 + (q[0] - 48)
                q += 1
            q += 2
            if i & 1:
                values += string_size(q, ln)
            else:
                names += string_size(q, ln)
                if new_node:
                    self.node_fields.put(p, q + ln + 2 - p)
                elif same:
                    if own_end - own < q + ln + 2 - p or memcmp(own, p, q + ln + 2 - p) != 0:
                        same = False
                    else:
                        own += q + ln + 2 - p
            p = q + ln + 2
        if new_node:
            size = EMPTY_LISTPACK_BYTES + int_size(1) + int_size(0) + int_size(fields)
            size += names + int_size(0)
            same = True
        else:
            size = self.node_bytes
            size += int_size(self.node_live + 1) - int_size(self.node_live)
        size += int_size(2 if same else 0) + values
        size += int_size(cython.cast(int64_t, ms - self.node_ms))
        size += int_size(cython.cast(int64_t, seq - self.node_seq))
        if same:
            size += int_size(fields + 3)
        else:
            size += int_size(fields) + names + int_size(2 * cython.cast(int64_t, fields) + 4)
        self.node_bytes = size
        self.node_live += 1
        self.node_adds += 1

    def reckon_last_node(self):
        """Reckon the last node that has live entries: those behind it were emptied.

        It is left as it is: whether it takes the next entry is for ``starts_node`` to say. Its
        listpack is reckoned from its entries, without those of emptied nodes that lie between them
        and without those that a trim took. May read blocks. REQUIRES: no node is open, one is left.
        """
        block: Block
        p: cython.p_const_char
        ms: uint64_t = 0
        seq: uint64_t = 0
        n_args: uint32_t
        pos: uint64_t = self.previous_live(self.end_pos)
        end: uint64_t = self.next_node_start(pos)
        gone: uint64_t = 0
        i: uint32_t
        holes = dict(self.node_holes)
        pos = self.node_start_at(pos)
        if pos < self.mark_pos:
            pos = self.mark_pos
        self.node_pos = pos
        self.node_adds = 0
        while pos < end:
            if pos in holes:
                pos = holes[pos]
                continue
            block = self.block_at(pos)
            i = cython.cast(uint32_t, pos - block.first_pos)
            p = read_entry_id(
                block.base + block.start_of(i), cython.address(ms), cython.address(seq)
            )
            p += 1
            n_args = 0
            while p[0] != 13:
                n_args = n_args * 10 + cython.cast(uint32_t, p[0] - 48)
                p += 1
            self.account(p + 2, n_args, ms, seq, self.node_adds == 0)
            gone += self.is_deleted(pos)
            pos += 1
        self.node_entries_gone(gone)
        return 0

    def reopen_node(self):
        """Go on filling the last node that has live entries, as Redis does: the one behind it was
        emptied. REQUIRES: as ``reckon_last_node``.
        """
        start: uint64_t
        self.reckon_last_node()
        start = self.next_node_start(self.node_pos)
        self.node_holes.append((start, self.end_pos))
        while start < self.end_pos:
            self.node_voids.append(start)
            start = self.next_node_start(start)
        self.node_open = True
        return 0

    def forget_nodes_below(self, pos: uint64_t) -> None:
        """A trim has moved the mark to ``pos``."""
        if self.node_voids:
            self.node_voids = [start for start in self.node_voids if start > pos]
        if self.node_holes:
            self.node_holes = [hole for hole in self.node_holes if hole[1] > pos]

    def dump_nodes(self) -> bytes:
        """What the header row holds of nodes beside its fixed fields."""
        return b"".join(
            [
                COUNTS.pack(self.node_fields.n, len(self.node_holes), len(self.node_voids)),
                self.node_fields.copy(),
                *[HOLE.pack(start, end) for start, end in self.node_holes],
                *[VOID.pack(start) for start in self.node_voids],
            ]
        )

    def load_nodes(self, data: bytes) -> None:
        """Take what ``dump_nodes`` gave."""
        fields, holes, voids = COUNTS.unpack_from(data)
        at = COUNTS.size + fields
        self.node_fields.n = 0
        self.node_fields.put_bytes(data[COUNTS.size : at])
        stop = at + holes * HOLE.size
        self.node_holes = list(HOLE.iter_unpack(data[at:stop]))
        self.node_voids = [
            start for (start,) in VOID.iter_unpack(data[stop : stop + voids * VOID.size])
        ]

    def note_node_start(self, pos):
        """Remember that a virtual node starts at ``pos``."""
        if self.node_starts_n == self.node_starts_cap:
            self.node_starts_cap = self.node_starts_cap * 2 if self.node_starts_cap else 4
            self.node_starts = cython.cast(
                cython.pointer(uint64_t), realloc(self.node_starts, 8 * self.node_starts_cap)
            )
            if self.node_starts == cython.NULL:
                abort()
        self.node_starts[self.node_starts_n] = pos
        self.node_starts_n += 1

    def node_entries_gone(self, n):
        """``n`` live entries of the open node were marked deleted in its listpack."""
        gone: uint64_t = self.node_adds - self.node_live
        self.node_bytes += int_size(self.node_live - n) - int_size(self.node_live)
        self.node_bytes += int_size(gone + n) - int_size(gone)
        self.node_live -= n

    def next_node_start(self, pos):
        """The first virtual node that starts after ``pos``; ``end_pos`` if none does."""
        start: uint64_t = self.next_start(pos)
        while self.node_voids and start in self.node_voids:
            start = self.next_start(start)
        return start

    def next_start(self, pos):
        """As ``next_node_start``, including starts that are void since."""
        low: uint32_t
        high: uint32_t
        middle: uint32_t
        run: Run
        i: cython.Py_ssize_t
        if self.node_starts_n == 0 or self.node_starts[0] > pos:
            for i in range(len(self.runs)):
                run = self.runs[i]
                if run.end_pos <= pos or run.n_nodes == 0:
                    continue
                if run.first_pos + run.node_ordinals[run.n_nodes - 1] <= pos:
                    continue
                low = 0
                high = run.n_nodes
                while low < high:
                    middle = (low + high) // 2
                    if run.first_pos + run.node_ordinals[middle] <= pos:
                        low = middle + 1
                    else:
                        high = middle
                return run.first_pos + run.node_ordinals[low]
        low = 0
        high = self.node_starts_n
        while low < high:
            middle = (low + high) // 2
            if self.node_starts[middle] <= pos:
                low = middle + 1
            else:
                high = middle
        if low == self.node_starts_n:
            return self.end_pos
        return self.node_starts[low]

    def node_start_at(self, pos):
        """Where the virtual node that holds ``pos`` starts."""
        start: uint64_t = self.start_at(pos)
        while self.node_voids and start in self.node_voids:
            start = self.start_at(start - 1)
        return start

    def start_at(self, pos):
        """As ``node_start_at``, including starts that are void since."""
        low: uint32_t = 0
        high: uint32_t = self.node_starts_n
        middle: uint32_t
        run: Run
        i: cython.Py_ssize_t
        while low < high:
            middle = (low + high) // 2
            if self.node_starts[middle] <= pos:
                low = middle + 1
            else:
                high = middle
        if low > 0:
            return self.node_starts[low - 1]
        for i in range(len(self.runs) - 1, -1, -1):
            run = self.runs[i]
            if run.n_nodes == 0 or run.first_pos + run.node_ordinals[0] > pos:
                continue
            low = 0
            high = run.n_nodes
            while low < high:
                middle = (low + high) // 2
                if run.first_pos + run.node_ordinals[middle] <= pos:
                    low = middle + 1
                else:
                    high = middle
            return run.first_pos + run.node_ordinals[low - 1]
        return self.mark_pos

    def memtable_node_starts(self) -> list[int]:
        """Node starts that belong to the blocks of the memtable."""
        first: uint64_t
        if len(self.mem) == 0:
            return []
        first = cython.cast(Block, self.mem[0]).first_pos
        return [
            self.node_starts[i] for i in range(self.node_starts_n) if self.node_starts[i] >= first
        ]
