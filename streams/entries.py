"""Where the entries of a stream are, and reading them.

Rules: cold entries are in ``runs`` (blocks of segment files, loaded through ``loader(run,
index)``), hot ones in ``mem`` (blocks of the memtable, the last of which may grow: ``tail``). Runs
and blocks ascend and never overlap. Everything is reckoned in positions (see lsmstore/block.py):
``live(a, b)`` is ``b - a`` less the deleted positions between. ``mark_pos`` is the position of the
first live entry, or ``end_pos`` where there is none. What lies below it is gone. Methods that take
positions require them to lie between the mark and the end. What may read a block from disk says so.
"""

from __future__ import annotations

from collections.abc import Callable

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.lsmstore.block import id_less
from cython.cimports.lsmstore.buf import U64_MAX
from cython.cimports.streams.deleted import PAGE_BITS

from lsmstore.block import Block, Run
from lsmstore.buf import Buf
from streams.deleted import DeletedPage


@cython.cclass
class Entries:
    """The entries of one stream, in memory and on disk."""

    def __init__(self, sid: int, loader: Callable[[Run, int], Block]) -> None:
        self.sid = sid
        self.loader = loader
        self.runs = []
        self.mem = []
        self.tail = None
        self.deleted_pages = {}
        self.first_known = False

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

    def cold_bytes(self, start, end):
        """About how many wire bytes the entries of [start, end) have in segments."""
        first: Run
        last: Run
        if len(self.runs) == 0:
            return 0
        first = self.runs[0]
        last = self.runs[len(self.runs) - 1]
        if end > last.end_pos:
            end = last.end_pos
        if start >= end:
            return 0
        return (end - start) * (first.raw_lens[0] // first.first_ordinals[1])

    def reads_any(self, segments: frozenset[int]) -> bool:
        """Whether some of the runs are in these segments."""
        run: Run
        for run in self.runs:
            if run.segment.number in segments:
                return True
        return False

    def replace_runs(self, runs: list[Run], replaced: frozenset[int]) -> list[Run]:
        """A merge has put runs of these segments elsewhere; ``runs`` are all there are now.

        Blocks in memory move along where the new run has the same ones. Returns the new runs.
        """
        old: Run
        new: Run
        i: uint32_t
        j: uint32_t
        block: Block
        held: dict = {}
        for old in self.runs:
            held[(old.segment.number, old.first_pos)] = old
        taken: list = []
        fresh: list = []
        for new in runs:
            if new.end_pos <= self.mark_pos:
                continue
            kept = held.get((new.segment.number, new.first_pos))
            taken.append(new if kept is None else kept)
            if kept is None:
                fresh.append(new)
        for old in self.runs:
            if old.segment.number not in replaced:
                continue
            for i in range(old.n_blocks):
                block = old.blocks[i]
                if block is None:
                    continue
                for new in fresh:
                    if new.first_pos <= block.first_pos < new.end_pos:
                        j = new.block_at_pos(block.first_pos)
                        if (
                            new.first_pos + new.first_ordinals[j] == block.first_pos
                            and new.raw_lens[j] == old.raw_lens[i]
                            and new.block_count(j) == block.count
                        ):
                            new.blocks[j] = block
        self.runs = taken
        return fresh

    def resident_block(self, pos):
        """The block that holds ``pos`` if it is in memory, else None."""
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
        """About how many wire bytes [start, end) has, from above by a block or two."""
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
        """Which block of the memtable holds ``pos``; the first if ``pos`` is before all."""
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
        """The first position, live or deleted, with ID ``ms-seq`` or above. May read a block."""
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

    def cold_block(self, ms, seq):
        """(run, index) of the block where an entry with this ID would be; None if it is at hand."""
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = len(self.runs)
        middle: cython.Py_ssize_t
        block: Block
        run: Run
        i: uint32_t
        if len(self.mem) > 0:
            block = self.mem[0]
            if not id_less(ms, seq, block.first_ms, block.first_seq):
                return None
        while low < high:
            middle = (low + high) // 2
            run = self.runs[middle]
            if id_less(run.last_ms, run.last_seq, ms, seq):
                low = middle + 1
            else:
                high = middle
        if low == len(self.runs):
            return None
        run = self.runs[low]
        i = run.block_at_id(ms, seq)
        return None if run.blocks[i] is not None else (run, i)

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
        page: DeletedPage
        word: uint64_t
        if pos < self.mark_pos:
            pos = self.mark_pos
        while pos < self.end_pos and self.deleted_above_mark > 0:
            page = self.deleted_pages.get(pos // PAGE_BITS)
            if page is None:
                return pos
            word = ~page.words[(pos & (PAGE_BITS - 1)) >> 6] >> (pos & 63)
            if word == 0:
                pos += 64 - (pos & 63)
                continue
            while word & 1 == 0:
                word >>= 1
                pos += 1
            break
        return pos if pos < self.end_pos else self.end_pos

    def previous_live(self, pos):
        """The last live position below ``pos``; U64_MAX if there is none."""
        page: DeletedPage
        word: uint64_t
        while pos > self.mark_pos:
            pos -= 1
            page = None
            if self.deleted_above_mark > 0:
                page = self.deleted_pages.get(pos // PAGE_BITS)
            if page is None:
                return pos
            word = ~page.words[(pos & (PAGE_BITS - 1)) >> 6] << (63 - (pos & 63))
            if word == 0:
                pos -= pos & 63
                continue
            while word >> 63 == 0:
                word <<= 1
                pos -= 1
            return pos if pos >= self.mark_pos else U64_MAX
        return U64_MAX

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

    def back_live(self, end, start, n):
        """Where to start so that [start, end) holds at most ``n`` live entries."""
        if self.deleted_above_mark == 0:
            return end - n if n < end - start else start
        while end > start:
            if not self.is_deleted(end - 1):
                if n == 0:
                    break
                n -= 1
            end -= 1
        return end

    def copy(self, out, start, end):
        """Put the live entries of [start, end) into ``out`` in wire form; how many there were."""
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
                    block.base + block.start_of(first),
                    block.end_of(stop - 1) - block.start_of(first),
                )
                n += stop - first
            else:
                for i in range(first, stop):
                    if not self.is_deleted(block.first_pos + i):
                        out.put(block.base + block.start_of(i), block.end_of(i) - block.start_of(i))
                        n += 1
            pos = block.first_pos + stop
        return n

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

    def snapshot(self) -> Entries:
        """The entries as they are now, for a reader that takes its time: shares blocks and runs."""
        copy: Entries = Entries(self.sid, self.loader)
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
        """About ``wanted_bytes`` of the live entries of [first, stop), from one end of it.

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

    @property
    def wire_bytes(self) -> int:
        """About how many bytes all entries take in wire form."""
        return self.wire_estimate(self.mark_pos, self.end_pos)

    @property
    def top_id(self) -> tuple[int, int]:
        """ID of the last entry that stands in a block, deleted or not; (0, 0) if none does."""
        for block in reversed(self.mem):
            if block.count:
                return block.last
        return self.runs[len(self.runs) - 1].last if self.runs else (0, 0)

    def edge(self, first: bool) -> bytes | None:
        """The wire bytes of the first or the last live entry."""
        pos: uint64_t
        if self.length == 0:
            return None
        pos = self.mark_pos if first else self.previous_live(self.end_pos)
        return self.entry_at(pos)
