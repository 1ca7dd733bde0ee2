"""One stream: where its entries are, which are deleted, and what it has counted.

Rules:

- Every entry has a position (see lsmstore/block.py). All arithmetic is done on positions: ``live(a, b)`` is
  ``b - a`` less the deleted positions between. ``mark_pos`` is the position of the first live entry, or
  ``end_pos`` where there is none; what lies below it is gone for good (a trim moves it and nothing else).
- Deleted entries above the mark are bits in pages of 4096 positions. The mark never rests on a deleted entry.
- Cold entries are in ``runs`` (blocks of segment files, loaded through ``loader(run, index)``), hot ones in
  ``mem`` (blocks of the memtable, the last of which grows). Runs and blocks ascend and never overlap.
- A virtual node is what Redis would keep in one listpack: it closes at stream-node-max-entries adds or
  stream-node-max-bytes by listpack size, at the values in force when the entry is added. ``MAXLEN ~`` drops
  whole nodes. Node starts are positions, kept apart from how blocks are sealed.
- The writing methods are the apply half of the log's records: they check nothing and cannot fail.

Header row, little-endian (values of ``HEADER``), then the field names of the open node as bulk strings::

    u8 version, u64 applied_lsn, u64 base_sid, u64 base_end_pos (0: no base), u64 length, u64 entries_added,
    u64 node_count, u64 mark_pos, u64 end_pos, u64 last ms, seq, u64 max deleted ms, seq, u32 next_gid,
    u8 node_open, u64 node_pos, u64 node ms, seq, u64 node_live, u64 node_bytes, u32 node_field_count
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.libc.string import memcmp, memmove, memset
from cython.cimports.lsmstore.block import id_less, read_entry_id
from cython.cimports.lsmstore.buf import U64_MAX
from cython.cimports.streams.listpack import int_size, string_size

from lsmstore.block import Block, Run
from lsmstore.buf import Buf
from streams.group import Group

HEADER = struct.Struct("<BQQQQQQQQQQQQIBQQQQQI")
HEADER_VERSION = 1
BLOCK_LOGICAL_BYTES = cython.declare(cython.Py_ssize_t, 16384)
BLOCK_WIRE_BYTES = cython.declare(cython.Py_ssize_t, 32768)
NODE_BYTES_MAX = cython.declare(cython.longlong, 1 << 30)
EMPTY_LISTPACK_BYTES = cython.declare(cython.Py_ssize_t, 7)


@cython.final
@cython.cclass
class DeletedPage:
    """Which of 4096 neighbouring positions are deleted."""

    def __cinit__(self) -> None:
        memset(self.words, 0, 512)
        self.count = 0
        self.dirty = True

    def has(self, bit):
        """Whether the position ``bit`` of the page is deleted."""
        return (self.words[bit >> 6] >> (bit & 63)) & 1

    def count_between(self, start, end):
        """Deleted positions in [start, end) of the page."""
        n: uint32_t = 0
        word: uint64_t
        i: uint32_t = start
        if start == 0 and end == 4096:
            return self.count
        while i < end:
            if i & 63 == 0 and i + 64 <= end:
                word = self.words[i >> 6]
                while word:
                    word &= word - 1
                    n += 1
                i += 64
            else:
                n += (self.words[i >> 6] >> (i & 63)) & 1
                i += 1
        return n

    def add(self, bit: int) -> None:
        """Mark the position ``bit`` of the page deleted. REQUIRES: it is not."""
        at: uint32_t = bit
        self.words[at >> 6] |= cython.cast(uint64_t, 1) << (at & 63)
        self.count += 1
        self.dirty = True

    def dump(self) -> bytes:
        """The page's 512 bytes."""
        p: cython.p_char = cython.cast(cython.p_char, self.words)
        return p[:512]

    @staticmethod
    def load(data: bytes) -> DeletedPage:
        """A page from its 512 bytes."""
        page = DeletedPage()
        i: uint32_t
        for i in range(64):
            page.words[i] = int.from_bytes(data[8 * i : 8 * i + 8], "little")
            page.count += int(page.words[i]).bit_count()
        page.dirty = False
        return page


@cython.final
@cython.cclass
class Stream:
    """A stream in memory: a cache of its rows and segments plus what the log has since."""

    def __cinit__(self) -> None:
        self.node_starts = cython.NULL
        self.node_starts_n = 0
        self.node_starts_cap = 0

    def __init__(
        self, sid: int, ns: int, key: bytes, loader: Callable[[Run, int], Block]
    ) -> None:
        self.sid = sid
        self.ns = ns
        self.key = key
        self.loader = loader
        self.runs = []
        self.mem = []
        self.tail = None
        self.deleted_pages = {}
        self.groups = {}
        self.next_gid = 1
        self.dropped_gids = []
        self.dropped_pages = []
        self.stored = False
        self.node_fields = Buf(16)
        self.first_known = False
        self.dirty = False
        self.dropped = False
        self.applied_lsn = 0
        self.touched_tick = 0
        self.waiters = 0

    def __dealloc__(self) -> None:
        free(self.node_starts)

    # ── writing: the apply half of the log's records ──────────────────────────────────────────────

    def starts_node(self, fields, n_args, total, max_bytes, max_entries):
        """Whether an entry of ``total`` argument bytes starts a new virtual node."""
        if not self.node_open:
            return True
        if max_bytes == 0 or max_bytes > NODE_BYTES_MAX:
            max_bytes = NODE_BYTES_MAX
        if self.node_bytes + total >= max_bytes:
            return True
        return max_entries > 0 and self.end_pos - self.node_pos >= cython.cast(
            uint64_t, max_entries
        )

    def append(self, wire, n, ms, seq, new_node):
        """Add one entry in wire form. REQUIRES: its ID is above ``last_id``."""
        p: cython.p_const_char
        id_ms: uint64_t = 0
        id_seq: uint64_t = 0
        n_args: uint32_t = 0
        block: Block = self.tail
        if block is None or (
            block.count > 0
            and (
                block.logical_bytes >= BLOCK_LOGICAL_BYTES
                or block.growing.n + n > BLOCK_WIRE_BYTES
            )
        ):
            if block is not None:
                block.seal()
            block = Block.growing_at(self.end_pos)
            self.mem.append(block)
            self.tail = block
        p = read_entry_id(wire, cython.address(id_ms), cython.address(id_seq)) + 1
        while p[0] != 13:
            n_args = n_args * 10 + cython.cast(uint32_t, p[0] - 48)
            p += 1
        p += 2
        self.account(p, n_args, ms, seq, new_node)
        block.append(wire, n, ms, seq, (wire + n - p) - 6 * n_args + 16)
        if self.length == 0:
            self.first_ms = ms
            self.first_seq = seq
            self.first_known = True
        self.end_pos += 1
        self.length += 1
        self.entries_added += 1
        self.last_ms = ms
        self.last_seq = seq
        return 0

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
            self.note_node_start(self.end_pos)
            self.node_count += 1
            self.node_open = True
            self.node_pos = self.end_pos
            self.node_ms = ms
            self.node_seq = seq
            self.node_live = 0
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
        gone: uint64_t = self.end_pos - self.node_pos - self.node_live
        self.node_bytes += int_size(self.node_live - n) - int_size(self.node_live)
        self.node_bytes += int_size(gone + n) - int_size(gone)
        self.node_live -= n

    def raise_max_deleted(self, ms, seq):
        """Remember the highest ID ever deleted by XDEL."""
        if id_less(self.max_deleted_ms, self.max_deleted_seq, ms, seq):
            self.max_deleted_ms = ms
            self.max_deleted_seq = seq

    def delete_at(self, pos):
        """Delete the live entry at ``pos``. REQUIRES: it is live."""
        page: DeletedPage
        number: uint64_t = pos // PAGE_BITS
        start: uint64_t = self.node_start_at(pos)
        end: uint64_t = self.next_node_start(pos)
        page = self.deleted_pages.get(number)
        if page is None:
            page = DeletedPage()
            self.deleted_pages[number] = page
        page.add(pos & (PAGE_BITS - 1))
        self.deleted_above_mark += 1
        self.length -= 1
        if self.node_open and start == self.node_pos:
            self.node_entries_gone(1)
        if start < self.mark_pos:
            start = self.mark_pos
        if end - start == self.deleted_between(start, end):
            self.node_count -= 1
            if end == self.end_pos:
                self.node_open = False
        if pos == self.mark_pos:
            self.move_mark(self.next_live(pos))
        return 0

    def move_mark(self, pos):
        """Trim: everything below ``pos`` is gone. REQUIRES: ``pos`` is live or ``end_pos``."""
        old: uint64_t = self.mark_pos
        node: uint64_t
        end: uint64_t
        gone: uint64_t
        if pos <= old:
            return
        node = old
        while node < pos:
            end = self.next_node_start(node)
            if self.node_open and end == self.end_pos:
                gone = pos - node - self.deleted_between(node, pos)
                if gone > 0:
                    self.node_entries_gone(gone)
            if end <= pos:
                if end - node > self.deleted_between(node, end):
                    self.node_count -= 1
                if end == self.end_pos:
                    self.node_open = False
            node = end
        gone = self.deleted_between(old, pos)
        self.length -= pos - old - gone
        self.deleted_above_mark -= gone
        self.mark_pos = pos
        self.first_known = False
        self.forget_below_mark()

    def forget_below_mark(self):
        """Let go of blocks, pages and node starts that lie wholly below the mark."""
        i: uint32_t = 0
        block: Block
        run: Run
        n: cython.Py_ssize_t = 0
        for block in self.mem:
            if block.first_pos + block.count > self.mark_pos:
                break
            n += 1
        if n:
            if n == len(self.mem):
                self.tail = None
            del self.mem[:n]
        n = 0
        for run in self.runs:
            if run.end_pos > self.mark_pos:
                break
            n += 1
        if n:
            del self.runs[:n]
        while i + 1 < self.node_starts_n and self.node_starts[i + 1] <= self.mark_pos:
            i += 1
        if i > 64 or i > self.node_starts_n // 2:
            memmove(self.node_starts, self.node_starts + i, 8 * (self.node_starts_n - i))
            self.node_starts_n -= i
        if self.deleted_pages:
            for number in [n for n in self.deleted_pages if (n + 1) * PAGE_BITS <= self.mark_pos]:
                del self.deleted_pages[number]
                self.dropped_pages.append(number)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def need_first(self):
        """Know the first live ID (0-0 where there is none). May read one block."""
        if not self.first_known:
            if self.mark_pos == self.end_pos:
                self.first_ms = 0
                self.first_seq = 0
            else:
                self.id_of(
                    self.mark_pos, cython.address(self.first_ms), cython.address(self.first_seq)
                )
            self.first_known = True
        return 0

    def next_node_start(self, pos):
        """The first virtual node that starts after ``pos``; ``end_pos`` if none does."""
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

    def deleted_between(self, start, end):
        """How many positions of [start, end) are deleted. REQUIRES: start is not below the mark."""
        page: DeletedPage
        number: uint64_t
        last: uint64_t
        n: uint64_t = 0
        if self.deleted_above_mark == 0 or start >= end:
            return 0
        number = start // PAGE_BITS
        last = (end - 1) // PAGE_BITS
        while number <= last:
            page = self.deleted_pages.get(number)
            if page is not None:
                n += page.count_between(
                    start & (PAGE_BITS - 1) if number == start // PAGE_BITS else 0,
                    ((end - 1) & (PAGE_BITS - 1)) + 1 if number == last else PAGE_BITS,
                )
            number += 1
        return n

    def is_deleted(self, pos):
        """Whether the entry at ``pos`` (not below the mark) is deleted."""
        page: DeletedPage
        if self.deleted_above_mark == 0:
            return False
        page = self.deleted_pages.get(pos // PAGE_BITS)
        return page is not None and page.has(pos & (PAGE_BITS - 1))

    def next_live(self, pos):
        """The first live position from ``pos`` on; ``end_pos`` if there is none."""
        if pos < self.mark_pos:
            pos = self.mark_pos
        while pos < self.end_pos and self.is_deleted(pos):
            pos += 1
        return pos

    def previous_live(self, pos):
        """The last live position below ``pos``; U64_MAX if there is none."""
        while pos > self.mark_pos:
            pos -= 1
            if not self.is_deleted(pos):
                return pos
        return U64_MAX

    def resident_block(self, pos):
        """The block that holds ``pos`` if it is in memory, else None. REQUIRES: mark <= pos < end."""
        block: Block = self.tail
        run: Run
        if block is not None and pos >= block.first_pos:
            return block
        if len(self.mem) > 0:
            block = self.mem[0]
            if pos >= block.first_pos:
                return self.mem[self.mem_index(pos)]
        run = self.run_at(pos)
        return run.blocks[run.block_at_pos(pos)]

    def run_at(self, pos: uint64_t) -> Run:
        """The run that holds ``pos``."""
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = len(self.runs) - 1
        middle: cython.Py_ssize_t
        run: Run
        while low < high:
            middle = (low + high) // 2
            run = self.runs[middle]
            if run.end_pos <= pos:
                low = middle + 1
            else:
                high = middle
        return self.runs[low]

    def block_at(self, pos):
        """The block that holds ``pos``, read if it must be. REQUIRES: mark <= pos < end."""
        block: Block = self.resident_block(pos)
        run: Run
        if block is None:
            run = self.run_at(pos)
            block = self.loader(run, run.block_at_pos(pos))
        return block

    def missing(self, start, end, limit):
        """(run, index) of the blocks of [start, end) that are not in memory, at most ``limit``."""
        out: list = []
        run: Run
        i: uint32_t
        if len(self.runs) == 0:
            return out
        run = self.runs[len(self.runs) - 1]
        if start >= run.end_pos:
            return out
        for run in self.runs:
            if run.end_pos <= start:
                continue
            if run.first_pos >= end:
                break
            i = run.block_at_pos(start) if start > run.first_pos else 0
            while i < run.n_blocks and run.first_pos + run.first_ordinals[i] < end:
                if run.blocks[i] is None:
                    out.append((run, i))
                    if len(out) >= limit:
                        return out
                i += 1
        return out

    def wire_estimate(self, start, end):
        """About how many wire bytes the entries of [start, end) have, from above by a block or two."""
        total: cython.Py_ssize_t = 0
        run: Run
        block: Block
        i: uint32_t
        at: cython.Py_ssize_t
        for run in self.runs:
            if run.end_pos <= start:
                continue
            if run.first_pos >= end:
                break
            i = run.block_at_pos(start) if start > run.first_pos else 0
            while i < run.n_blocks and run.first_pos + run.first_ordinals[i] < end:
                total += run.raw_lens[i]
                i += 1
        at = self.mem_index(start)
        while at < len(self.mem):
            block = self.mem[at]
            if block.first_pos >= end:
                break
            total += block.wire_length()
            at += 1
        return total

    def mem_index(self, pos):
        """Which block of the memtable holds ``pos``; the first one if ``pos`` is before them all."""
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = len(self.mem) - 1
        middle: cython.Py_ssize_t
        block: Block
        while low < high:
            middle = (low + high + 1) // 2
            block = self.mem[middle]
            if block.first_pos <= pos:
                low = middle
            else:
                high = middle - 1
        return low

    def seek(self, ms, seq):
        """The first position, live or deleted, whose ID is ``ms-seq`` or above. May read one block."""
        low: cython.Py_ssize_t
        high: cython.Py_ssize_t
        middle: cython.Py_ssize_t
        block: Block
        run: Run
        i: uint32_t
        pos: uint64_t
        if self.mark_pos == self.end_pos or id_less(self.last_ms, self.last_seq, ms, seq):
            return self.end_pos
        if self.first_known and not id_less(self.first_ms, self.first_seq, ms, seq):
            return self.mark_pos
        if len(self.mem) > 0:
            block = self.mem[0]
            if not id_less(ms, seq, block.first_ms, block.first_seq) or len(self.runs) == 0:
                low = 0
                high = len(self.mem) - 1
                while low < high:
                    middle = (low + high + 1) // 2
                    block = self.mem[middle]
                    if id_less(ms, seq, block.first_ms, block.first_seq):
                        high = middle - 1
                    else:
                        low = middle
                block = self.mem[low]
                pos = block.first_pos + block.lower_bound(ms, seq)
                return pos if pos > self.mark_pos else self.mark_pos
        low = 0
        high = len(self.runs)
        while low < high:
            middle = (low + high) // 2
            run = self.runs[middle]
            if id_less(run.last_ms, run.last_seq, ms, seq):
                low = middle + 1
            else:
                high = middle
        if low == len(self.runs):
            if len(self.mem) == 0:
                return self.end_pos
            block = self.mem[0]
            pos = block.first_pos
        else:
            run = self.runs[low]
            i = run.block_at_id(ms, seq)
            if not id_less(run.first_ms[i], run.first_seq[i], ms, seq):
                pos = run.first_pos + run.first_ordinals[i]
            elif run.first_pos + run.first_ordinals[i + 1] <= self.mark_pos:
                pos = self.mark_pos
            else:
                block = run.blocks[i]
                if block is None:
                    block = self.loader(run, i)
                pos = block.first_pos + block.lower_bound(ms, seq)
        return pos if pos > self.mark_pos else self.mark_pos

    def find(self, ms, seq):
        """The position of the live entry with this ID; U64_MAX if there is none."""
        pos: uint64_t = self.seek(ms, seq)
        at_ms: uint64_t = 0
        at_seq: uint64_t = 0
        if pos >= self.end_pos or self.is_deleted(pos):
            return U64_MAX
        self.id_of(pos, cython.address(at_ms), cython.address(at_seq))
        return pos if at_ms == ms and at_seq == seq else U64_MAX

    def id_of(self, pos, ms, seq):
        """The ID of the entry at ``pos``. REQUIRES: mark <= pos < end."""
        block: Block = self.block_at(pos)
        block.id_at(cython.cast(uint32_t, pos - block.first_pos), ms, seq)
        return 0

    def skip_live(self, pos, n):
        """The position after ``n`` live entries from ``pos`` on, at most ``end_pos``."""
        page: DeletedPage
        stop: uint64_t
        live: uint64_t
        if self.deleted_above_mark == 0:
            return pos + n if n < self.end_pos - pos else self.end_pos
        while n > 0 and pos < self.end_pos:
            stop = (pos // PAGE_BITS + 1) * PAGE_BITS
            if stop > self.end_pos:
                stop = self.end_pos
            page = self.deleted_pages.get(pos // PAGE_BITS)
            live = stop - pos
            if page is not None:
                live -= self.deleted_between(pos, stop)
            if live <= n:
                n -= live
                pos = stop
                continue
            if page is None:
                return pos + n
            while n > 0:
                if not page.has(pos & (PAGE_BITS - 1)):
                    n -= 1
                pos += 1
        return pos

    def take_until(self, start, end, limit):
        """Where to stop so that [start, stop) holds at most ``limit`` live entries."""
        stop: uint64_t = self.skip_live(start, limit)
        return stop if stop < end else end

    def copy(self, out, start, end):
        """Put the wire bytes of the live entries of [start, end) into ``out``; how many there were."""
        block: Block
        first: uint32_t
        stop: uint32_t
        i: uint32_t
        n: int64_t = 0
        pos: uint64_t = start
        while pos < end:
            block = self.block_at(pos)
            first = cython.cast(uint32_t, pos - block.first_pos)
            stop = block.count
            if block.first_pos + stop > end:
                stop = cython.cast(uint32_t, end - block.first_pos)
            if self.deleted_above_mark == 0:
                out.put(
                    block.base + block.start_of(first), block.end_of(stop - 1) - block.start_of(first)
                )
                n += stop - first
            else:
                for i in range(first, stop):
                    if not self.is_deleted(block.first_pos + i):
                        out.put(
                            block.base + block.start_of(i), block.end_of(i) - block.start_of(i)
                        )
                        n += 1
            pos = block.first_pos + stop
        return n

    def back_live(self, end, start, n):
        """The lowest position of [start, end) so that at most ``n`` live entries lie between it and ``end``."""
        if self.deleted_above_mark == 0:
            return end - n if n < end - start else start
        while end > start:
            if not self.is_deleted(end - 1):
                if n == 0:
                    break
                n -= 1
            end -= 1
        return end

    def copy_reverse(self, out, start, end):
        """As ``copy``, from the last entry to the first."""
        block: Block = None
        i: uint32_t
        n: int64_t = 0
        pos: uint64_t = end
        while pos > start:
            pos -= 1
            if self.is_deleted(pos):
                continue
            if block is None or pos < block.first_pos:
                block = self.block_at(pos)
            i = cython.cast(uint32_t, pos - block.first_pos)
            out.put(block.base + block.start_of(i), block.end_of(i) - block.start_of(i))
            n += 1
        return n

    def trim_target(self, by_id, ms_or_length, seq, approximate, limit):
        """Where a trim moves the mark to: a live position, ``end_pos``, or the mark itself.

        By ID everything below ``ms_or_length``-``seq`` goes, else all but the newest ``ms_or_length`` entries.
        Approximate trims drop whole virtual nodes, at most ``limit`` entries of them (0: no limit). Source: XTRIM.
        """
        target: uint64_t
        end: uint64_t
        pos: uint64_t = self.mark_pos
        live: uint64_t
        left: uint64_t = self.length
        gone: uint64_t = 0
        if by_id:
            target = self.seek(ms_or_length, seq)
        elif self.length <= ms_or_length:
            return pos
        else:
            target = self.skip_live(pos, self.length - ms_or_length)
        if not approximate:
            return self.next_live(target)
        while pos < self.end_pos:
            end = self.next_node_start(pos)
            live = end - pos - self.deleted_between(pos, end)
            if not by_id and left <= ms_or_length:
                break
            if limit > 0 and gone + live > cython.cast(uint64_t, limit):
                break
            if by_id:
                if end > target:
                    break
            elif left - live < ms_or_length:
                break
            left -= live
            gone += live
            pos = end
        return self.next_live(pos)

    def has_tombstone_from(self, ms, seq):
        """Whether an entry at or after ``ms-seq`` was ever deleted by XDEL (as far as Redis knows)."""
        if self.length == 0 or (self.max_deleted_ms == 0 and self.max_deleted_seq == 0):
            return False
        return not id_less(self.max_deleted_ms, self.max_deleted_seq, ms, seq)

    def estimate_read(self, ms, seq):
        """How many entries were ever added up to and including ``ms-seq``; -1 where that is unknown.

        REQUIRES: ``need_first`` was called.
        """
        if self.entries_added == 0:
            return 0
        if self.length == 0 and not id_less(self.last_ms, self.last_seq, ms, seq):
            return self.entries_added
        if (ms or seq) and id_less(ms, seq, self.max_deleted_ms, self.max_deleted_seq):
            return -1
        if ms == self.last_ms and seq == self.last_seq:
            return self.entries_added
        if id_less(self.last_ms, self.last_seq, ms, seq):
            return -1
        if (self.max_deleted_ms == 0 and self.max_deleted_seq == 0) or id_less(
            self.max_deleted_ms, self.max_deleted_seq, self.first_ms, self.first_seq
        ):
            if id_less(ms, seq, self.first_ms, self.first_seq):
                return self.entries_added - self.length
            if ms == self.first_ms and seq == self.first_seq:
                return self.entries_added - self.length + 1
        return -1

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    @property
    def last_id(self) -> tuple[int, int]:
        """last-generated-id."""
        return (self.last_ms, self.last_seq)

    @property
    def first_id(self) -> tuple[int, int]:
        """ID of the first live entry, (0, 0) if there is none."""
        self.need_first()
        return (self.first_ms, self.first_seq)

    @property
    def max_deleted_id(self) -> tuple[int, int]:
        """max-deleted-entry-id."""
        return (self.max_deleted_ms, self.max_deleted_seq)

    def set_id(
        self, last_id: tuple[int, int], entries_added: int, max_deleted_id: tuple[int, int]
    ) -> None:
        """XSETID, checked by the caller."""
        self.last_ms, self.last_seq = last_id
        self.entries_added = entries_added
        self.max_deleted_ms, self.max_deleted_seq = max_deleted_id

    def add_group(
        self, gid: int, name: bytes, last_id: tuple[int, int], entries_read: int
    ) -> Group:
        """A new group. REQUIRES: neither the name nor the gid is in use."""
        group = Group(gid, name)
        group.set_position(last_id[0], last_id[1], entries_read)
        self.groups[name] = group
        if gid >= self.next_gid:
            self.next_gid = gid + 1
        return group

    def remove_group(self, group: Group) -> None:
        """Forget a group and all it held."""
        del self.groups[group.name]
        self.dropped_gids.append(group.gid)

    def contains(self, ms: uint64_t, seq: uint64_t) -> bool:
        """Whether a live entry has this ID."""
        return self.find(ms, seq) != U64_MAX

    def entry(self, ms: uint64_t, seq: uint64_t) -> bytes | None:
        """The wire bytes of the live entry with this ID."""
        pos: uint64_t = self.find(ms, seq)
        if pos == U64_MAX:
            return None
        return self.entry_at(pos)

    def entry_at(self, pos: uint64_t) -> bytes:
        """The wire bytes of the entry at ``pos``."""
        block: Block = self.block_at(pos)
        i: uint32_t = cython.cast(uint32_t, pos - block.first_pos)
        return (block.base + block.start_of(i))[: block.end_of(i) - block.start_of(i)]

    def edge(self, first: bool) -> bytes | None:
        """The wire bytes of the first or the last live entry."""
        pos: uint64_t
        if self.length == 0:
            return None
        pos = self.mark_pos if first else self.previous_live(self.end_pos)
        return self.entry_at(pos)

    def slice(
        self, start: tuple[int, int], end: tuple[int, int], count: int, reverse: bool
    ) -> tuple[int, bytes]:
        """Live entries with start <= ID <= end, at most ``count`` (all if negative).

        Returns how many and their wire bytes joined.
        """
        first: uint64_t = self.seek(start[0], start[1])
        stop: uint64_t
        limit: uint64_t = count if count >= 0 else U64_MAX
        out: Buf = Buf()
        n: int64_t
        if start > end:
            return 0, b""
        if end == (U64_MAX, U64_MAX):
            stop = self.end_pos
        elif end[1] == U64_MAX:
            stop = self.seek(end[0] + 1, 0)
        else:
            stop = self.seek(end[0], end[1] + 1)
        if reverse:
            n = self.copy_reverse(out, self.back_live(stop, first, limit), stop)
        else:
            n = self.copy(out, first, self.take_until(first, stop, limit))
        return n, out.take()

    def snapshot(self) -> Stream:
        """The entries as they are now, for a reader that takes its time: shares blocks and runs."""
        page: DeletedPage
        copy: Stream = Stream(self.sid, self.ns, self.key, self.loader)
        copy.runs = list(self.runs)
        copy.mem = list(self.mem)
        copy.deleted_pages = {
            number: DeletedPage.load(page.dump()) for number, page in self.deleted_pages.items()
        }
        copy.deleted_above_mark = self.deleted_above_mark
        copy.mark_pos = self.mark_pos
        copy.end_pos = self.end_pos
        copy.length = self.length
        return copy

    def piece(
        self, first: uint64_t, stop: uint64_t, reverse: bool, wanted_bytes: int
    ) -> tuple[bytes, int]:
        """About ``wanted_bytes`` of the live entries of [first, stop) in wire form, from one end of it.

        Returns them and where the rest starts (reverse: where it stops).
        """
        out: Buf = Buf(wanted_bytes)
        block: Block
        at: uint64_t
        while first < stop and out.n < cython.cast(cython.Py_ssize_t, wanted_bytes):
            if reverse:
                block = self.block_at(stop - 1)
                at = block.first_pos if block.first_pos > first else first
                self.copy_reverse(out, at, stop)
                stop = at
            else:
                block = self.block_at(first)
                at = block.first_pos + block.count
                if at > stop:
                    at = stop
                self.copy(out, first, at)
                first = at
        return out.take(), stop if reverse else first

    def cold_blocks(
        self, first: uint64_t, stop: uint64_t, limit: int, reverse: bool
    ) -> list[tuple[Run, int]]:
        """The blocks that a reader of [first, stop) needs next and that are not in memory."""
        pos: uint64_t
        run: Run
        i: uint32_t
        out: list = []
        if not reverse:
            if first >= stop or self.resident_block(first) is not None:
                return out
            return self.missing(first, stop, limit)
        pos = stop
        while pos > first and len(out) < limit and self.resident_block(pos - 1) is None:
            run = self.run_at(pos - 1)
            i = run.block_at_pos(pos - 1)
            out.append((run, i))
            pos = run.first_pos + run.first_ordinals[i]
        return out

    def plan_trim(
        self, by_id: bool, threshold: tuple[int, int], approximate: bool, limit: int
    ) -> tuple[int, int]:
        """(new mark position, live entries that go) of a trim; see ``trim_target``.

        ``threshold`` is the minimum ID, or (maximum length, 0).
        """
        target: uint64_t = self.trim_target(by_id, threshold[0], threshold[1], approximate, limit)
        if target <= self.mark_pos:
            return self.mark_pos, 0
        return target, target - self.mark_pos - self.deleted_between(self.mark_pos, target)

    def estimate_entries_read(self, ms: uint64_t, seq: uint64_t) -> int:
        """How many entries were ever added up to ``ms-seq``; -1 where that is unknown."""
        self.need_first()
        return self.estimate_read(ms, seq)

    def lag_of(self, ms: uint64_t, seq: uint64_t, entries_read: int64_t) -> int | None:
        """Entries a group at ``ms-seq`` still has to read; None where Redis cannot know it.

        It is negative where XSETID or ENTRIESREAD said so.
        """
        estimate: int64_t
        self.need_first()
        if self.entries_added == 0 or self.length == 0:
            return 0
        if id_less(ms, seq, self.first_ms, self.first_seq) and id_less(
            self.max_deleted_ms, self.max_deleted_seq, self.first_ms, self.first_seq
        ):
            return self.length
        if entries_read != -1 and not self.has_tombstone_from(ms, seq):
            return cython.cast(int64_t, self.entries_added) - entries_read
        estimate = self.estimate_read(ms, seq)
        if estimate == -1:
            return None
        return cython.cast(int64_t, self.entries_added) - estimate

    # ── rows, flush, eviction ────────────────────────────────────────────────────────────────────

    def dump_header(self) -> bytes:
        """The header row."""
        return (
            HEADER.pack(
                HEADER_VERSION,
                self.applied_lsn,
                0,
                0,
                self.length,
                self.entries_added,
                self.node_count,
                self.mark_pos,
                self.end_pos,
                self.last_ms,
                self.last_seq,
                self.max_deleted_ms,
                self.max_deleted_seq,
                self.next_gid,
                self.node_open,
                self.node_pos,
                self.node_ms,
                self.node_seq,
                self.node_live,
                self.node_bytes,
                self.node_field_count,
            )
            + self.node_fields.copy()
        )

    def load_header(self, data: bytes) -> None:
        """Take the state from a header row. Raises ValueError for an unknown version."""
        if len(data) < HEADER.size or data[0] != HEADER_VERSION:
            raise ValueError("unknown stream header")
        (
            _version,
            self.applied_lsn,
            _base_sid,
            _base_end,
            self.length,
            self.entries_added,
            self.node_count,
            self.mark_pos,
            self.end_pos,
            self.last_ms,
            self.last_seq,
            self.max_deleted_ms,
            self.max_deleted_seq,
            self.next_gid,
            self.node_open,
            self.node_pos,
            self.node_ms,
            self.node_seq,
            self.node_live,
            self.node_bytes,
            self.node_field_count,
        ) = HEADER.unpack_from(data)
        self.node_fields.n = 0
        self.node_fields.put_bytes(data[HEADER.size :])

    def attach(self, runs: list[Run]) -> None:
        """Take the cold parts of a stream that was just loaded, oldest first."""
        self.runs = [run for run in runs if run.end_pos > self.mark_pos]

    def load_page(self, number: int, data: bytes) -> None:
        """Take a page of deleted positions of a stream that was just loaded."""
        page: DeletedPage = DeletedPage.load(data)
        start: uint64_t = number * PAGE_BITS
        if start + PAGE_BITS <= self.mark_pos:
            return
        self.deleted_pages[number] = page
        low: uint32_t = 0
        if self.mark_pos > start:
            low = cython.cast(uint32_t, self.mark_pos - start)
        self.deleted_above_mark += page.count_between(low, PAGE_BITS)

    def seal_tail(self) -> None:
        """Close the growing block, so that a flush may take it."""
        if self.tail is not None:
            self.tail.seal()
            self.tail = None

    def unflushed(self) -> list[Block]:
        """Sealed blocks of the memtable. REQUIRES: ``seal_tail`` was called."""
        return list(self.mem)

    def memtable_node_starts(self) -> list[int]:
        """Node starts that belong to the blocks of the memtable."""
        i: uint32_t
        first: uint64_t
        if len(self.mem) == 0:
            return []
        first = cython.cast(Block, self.mem[0]).first_pos
        return [
            self.node_starts[i]
            for i in range(self.node_starts_n)
            if self.node_starts[i] >= first
        ]

    def install_run(self, run: Run) -> int:
        """A flush wrote ``run``: its blocks leave the memtable for the cache slots of the run.

        Returns the memory they hold.
        """
        block: Block
        held: cython.Py_ssize_t = 0
        kept: list = []
        i: uint32_t
        slots: dict = {}
        for i in range(run.n_blocks):
            slots[run.first_pos + run.first_ordinals[i]] = i
        for block in self.mem:
            if block.first_pos >= run.end_pos:
                kept.append(block)
            elif block.first_pos in slots:
                run.blocks[slots[block.first_pos]] = block
                held += block.memory_bytes
        if run.end_pos > self.mark_pos:
            self.runs.append(run)
        self.mem = kept
        if self.tail is not None and self.tail.first_pos < run.end_pos:
            self.tail = None
        i = 0
        while i < self.node_starts_n and self.node_starts[i] < run.end_pos:
            i += 1
        if i:
            memmove(self.node_starts, self.node_starts + i, 8 * (self.node_starts_n - i))
            self.node_starts_n -= i
        return held

    @property
    def memory_bytes(self) -> int:
        """What the stream costs in memory beside its groups and cached cold blocks."""
        block: Block
        run: Run
        total: cython.Py_ssize_t = 900 + 8 * cython.cast(cython.Py_ssize_t, self.node_starts_cap)
        for block in self.mem:
            total += block.memory_bytes
        for run in self.runs:
            total += run.memory_bytes
        return total + 700 * len(self.deleted_pages)

    def check(self) -> None:
        """Assert every invariant that can be seen from here."""
        block: Block
        run: Run
        pos: uint64_t = self.mark_pos
        live: uint64_t = self.end_pos - self.mark_pos
        assert self.mark_pos <= self.end_pos
        assert self.deleted_above_mark == self.deleted_between(self.mark_pos, self.end_pos)
        assert self.length == live - self.deleted_above_mark
        assert self.length == 0 or not self.is_deleted(self.mark_pos)
        assert (self.length == 0) == (self.mark_pos == self.end_pos)
        for run in self.runs:
            assert run.first_pos <= pos and run.end_pos > pos
            pos = run.end_pos
        for block in self.mem:
            assert block.first_pos <= pos and block.count > 0
            pos = block.first_pos + block.count
        assert pos == self.end_pos
        nodes: uint64_t = 0
        pos = self.mark_pos
        while pos < self.end_pos:
            end: uint64_t = self.next_node_start(pos)
            if end - pos > self.deleted_between(pos, end):
                nodes += 1
            pos = end
        assert nodes == self.node_count, (nodes, self.node_count)
