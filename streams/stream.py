"""One stream: its entries, its groups, what it has counted.

Rules: the writing methods are the apply half of the log's records: they check nothing and cannot
fail. A trim moves the low-water mark and nothing else; XDEL sets bits and lets the mark advance
over a deleted prefix, so the mark never rests on a deleted entry. An empty stream is a live key;
``last_id`` and ``max_deleted_id`` never go back.

A copy shares the segments of what it was copied from: of each of its ``bases`` (sid, end position),
ascending, the runs below that end and above the one before; its own runs follow. A stream that was
copied is ``lent``: its segments outlive its trims and itself while a copy needs them.

``producers`` is None until the first XADD with IDMP, or a configuration that is not the usual one.

Header row, little-endian (values of ``HEADER``), then a pair of u64 a base, then what
streams/nodes.py has to say. The version is 2 where the stream has rows of producers, else 1::

    u8 version, u64 applied_lsn, u64 number of bases, u64 lent (0 or 1), u64 length, u64
    entries_added, u64 node_count, u64 mark_pos, u64 end_pos, u64 last ms, seq, u64 max deleted ms,
    seq, u32 next_gid, u8 node_open, u64 node_pos, u64 node ms, seq, u64 node_live, u64 node_adds,
    u64 node_bytes, u32 node_field_count
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.string import memmove
from cython.cimports.lsmstore.block import id_less, read_entry_id
from cython.cimports.streams.deleted import PAGE_BITS

from lsmstore.block import Block, Run
from streams.deleted import DeletedPage
from streams.group import Group
from streams.nodes import NodedEntries
from streams.producers import Producers

HEADER = struct.Struct("<BQQQQQQQQQQQQIBQQQQQQI")
BASE = struct.Struct("<QQ")
HEADER_VERSION = 1
HEADER_WITH_PRODUCERS = 2
BLOCK_LOGICAL_BYTES = cython.declare(cython.Py_ssize_t, 16384)
BLOCK_WIRE_BYTES = cython.declare(cython.Py_ssize_t, 32768)


@cython.final
@cython.cclass
class Stream(NodedEntries):
    """A stream in memory: a cache of its rows and segments plus what the log has since."""

    def __init__(self, sid: int, ns: int, key: bytes, loader: Callable[[Run, int], Block]) -> None:
        super().__init__(sid, loader)
        self.ns = ns
        self.key = key
        self.groups = {}
        self.producers = None
        self.next_gid = 1
        self.dropped_gids = []
        self.dropped_pages = []
        self.bases = []
        self.lent = False
        self.stored = False
        self.dirty = False
        self.dropped = False
        self.applied_lsn = 0
        self.touched_ms = 0
        self.expires_ms = 0
        self.waiters = 0

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
                block.logical_bytes >= BLOCK_LOGICAL_BYTES or block.growing.n + n > BLOCK_WIRE_BYTES
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
        if new_node:
            self.note_node_start(self.end_pos)
            self.node_count += 1
            self.node_open = True
            self.node_pos = self.end_pos
        elif not self.node_open:
            self.reopen_node()
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
        if self.node_open and pos >= self.node_pos:
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

    def delete_run(self, start, end):
        """Delete the live entries of [start, end)."""
        pos: uint64_t
        for pos in range(start, end):
            if pos >= self.mark_pos and not self.is_deleted(pos):
                self.delete_at(pos)
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
        if self.node_voids or self.node_holes:
            self.forget_nodes_below(self.mark_pos)

    def trim_target(self, by_id, ms_or_length, seq, approximate, limit):
        """Where a trim moves the mark to: a live position, ``end_pos``, or the mark itself.

        By ID everything below ``ms_or_length``-``seq`` goes, else all but the newest
        ``ms_or_length`` entries. Approximate trims drop whole virtual nodes, at most ``limit``
        entries of them (0: no limit). Source: XTRIM.
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
        """Whether an entry from ``ms-seq`` on was ever deleted by XDEL, as far as Redis knows."""
        if self.length == 0 or (self.max_deleted_ms == 0 and self.max_deleted_seq == 0):
            return False
        return not id_less(self.max_deleted_ms, self.max_deleted_seq, ms, seq)

    def estimate_read(self, ms, seq):
        """How many entries were ever added up to ``ms-seq``, itself included; -1: unknown.

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

    def need_producers(self):
        """What the stream remembers of producers; from now on it does."""
        if self.producers is None:
            self.producers = Producers()
        return self.producers

    def remove_group(self, group: Group) -> None:
        """Forget a group and all it held."""
        del self.groups[group.name]
        self.dropped_gids.append(group.gid)

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

    def dump_header(self) -> bytes:
        """The header row."""
        return (
            HEADER.pack(
                HEADER_VERSION if self.producers is None else HEADER_WITH_PRODUCERS,
                self.applied_lsn,
                len(self.bases),
                self.lent,
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
                self.node_adds,
                self.node_bytes,
                self.node_field_count,
            )
            + b"".join([BASE.pack(sid, end_pos) for sid, end_pos in self.bases])
            + self.dump_nodes()
        )

    def load_header(self, data: bytes) -> None:
        """Take the state from a header row. Raises ValueError for an unknown version."""
        if len(data) < HEADER.size or data[0] not in (HEADER_VERSION, HEADER_WITH_PRODUCERS):
            raise ValueError("unknown stream header")
        if data[0] == HEADER_WITH_PRODUCERS:
            self.producers = Producers()
        (
            _version,
            self.applied_lsn,
            _n_bases,
            self.lent,
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
            self.node_adds,
            self.node_bytes,
            self.node_field_count,
        ) = HEADER.unpack_from(data)
        self.bases = bases_of(data)
        self.load_nodes(data[HEADER.size + BASE.size * len(self.bases) :])

    def copy_from(self, source: Stream) -> int:
        """Become a copy of ``source``. REQUIRES: this stream is new. Reads nothing.

        What is in segments is shared, what is in the memtable becomes part of both. Returns the
        memory of the latter, producers included.
        """
        block: Block
        run: Run
        i: uint32_t
        held: cython.Py_ssize_t = 0
        source.seal_tail()
        self.load_header(source.dump_header())
        self.lent = False
        self.runs = list(source.runs)
        self.mem = list(source.mem)
        for block in self.mem:
            held += block.memory_bytes
        if self.runs:
            run = self.runs[len(self.runs) - 1]
            if not self.bases or run.end_pos > self.bases[len(self.bases) - 1][1]:
                self.bases.append((source.sid, run.end_pos))
                source.lent = True
        for number, page in source.deleted_pages.items():
            self.load_page(number, page.dump())
            self.deleted_pages[number].dirty = True
        for i in range(source.node_starts_n):
            self.note_node_start(source.node_starts[i])
        for name, group in source.groups.items():
            self.groups[name] = group.copied()
        if source.producers is not None:
            self.producers = source.producers.copied()
            held += self.producers.memory_bytes
        return held

    def attach(self, runs: list[Run]) -> None:
        """Take the cold parts of a stream that was just loaded, oldest first."""
        self.runs = [run for run in runs if run.end_pos > self.mark_pos]

    @property
    def has_holes(self) -> bool:
        """Whether entries above the mark are deleted, as the header tells before their pages do."""
        return self.length != self.end_pos - self.mark_pos

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

    def holes(self) -> list[tuple[int, int]]:
        """(segment, deleted entries above the mark) of runs of its own that have any."""
        run: Run
        dead: uint64_t
        low: uint64_t
        own: uint64_t = self.bases[len(self.bases) - 1][1] if self.bases else 0
        found: list = []
        if self.deleted_above_mark == 0:
            return found
        for run in self.runs:
            if run.first_pos >= own:
                low = run.first_pos if run.first_pos > self.mark_pos else self.mark_pos
                dead = self.deleted_between(low, run.end_pos)
                if dead > 0:
                    found.append((run.segment.number, dead))
        return found

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
        if self.producers is not None:
            total += self.producers.memory_bytes
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
            assert run.first_pos == pos or (run.first_pos < pos and pos == self.mark_pos)
            assert run.end_pos > pos
            pos = run.end_pos
        for block in self.mem:
            assert block.first_pos == pos or (block.first_pos < pos and pos == self.mark_pos)
            assert block.count > 0
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
        if self.producers is not None:
            self.producers.check()


def span_of(header: bytes) -> tuple[int, int, int]:
    """(length, mark, end position) as a header row names them. See ``Stream.has_holes``."""
    fields = HEADER.unpack_from(header)
    return fields[4], fields[7], fields[8]


def bases_of(header: bytes) -> list[tuple[int, int]]:
    """The bases that a header row names."""
    n: cython.Py_ssize_t = HEADER.unpack_from(header)[2]
    return list(BASE.iter_unpack(header[HEADER.size : HEADER.size + BASE.size * n]))
