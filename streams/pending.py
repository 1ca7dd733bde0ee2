"""The pending entries of one group, in ID order, 22 bytes a row.

Rows live in chunks of at most 256 (streams/chunk.py), which an index finds (streams/chunklist.py).
An ID that does not fit into the chunk at its place opens one of its own.

Rules:

- A removed row is gone at once.
- A row without an owner was released (XNACK). It is older than every row that has one, and those
  released first come first; from outside its delivery time is 0.
- Each chunk has a bound of its ages and a set of its consumers, by which a scan skips it; a scan
  that found them too loose sets them right.
- Rows whose entries are gone may stand for long where nobody drops them. A reader that found the
  oldest rows to be such says so (``pass_over``); whatever is put among them takes that back.
- Numbers of pending entries by consumer are kept by the group, not here.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc

from streams.chunklist import ChunkList


@cython.final
@cython.cclass
class PendingList(ChunkList):
    """The pending entries of one group."""

    # Rows

    def put(self, ms, seq, cidx, delivered_ms, count):
        """Insert or overwrite a row; returns the former cidx + 1, 0 if it is new."""
        at: cython.Py_ssize_t = self.slot_of(ms, seq)
        if at < 0:
            if self.slot_count > 0 and self.slots[0].chunk.n < ROWS_MAX:
                if fits(self.slots[0].chunk, ms, seq):
                    self.insert_row(0, 0, ms, seq, cidx, delivered_ms, count)
                    return 0
            self.add_chunk(0, ms, seq, 1)
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
                    self.add_chunk(at, ms, seq, 1)
        elif not fits(c, ms, seq):
            if i == 0:
                self.slots[at].ms = ms_of(c, 0)
                self.slots[at].seq = seq_of(c, 0)
            else:
                self.split(at, i)
                at += 1
                i = 0
            self.add_chunk(at, ms, seq, 1)
        elif c.n == ROWS_MAX:
            self.split(at, ROWS_MAX // 2)
            if i > ROWS_MAX // 2:
                at += 1
                i -= ROWS_MAX // 2
        self.insert_row(at, i, ms, seq, cidx, delivered_ms, count)
        return 0

    def release(self, ms, seq, count):
        """``put`` a row that nobody owns, behind those released before."""
        self.next_release += 1
        return self.put(ms, seq, 0, self.next_release - 1, count)

    def append_run(self, ms, seq, n, cidx, delivered_ms):
        """Append rows delivered for the first time. REQUIRES: IDs ascend and are above all here."""
        c: cython.pointer(Chunk)
        before: uint64_t
        take: cython.Py_ssize_t
        if n == 1:  # six loops of one turn cost more
            self.put(ms[0], seq[0], cidx, delivered_ms, 1)
            return 0
        if delivered_ms > self.latest_ms:
            self.latest_ms = delivered_ms
        if self.has_passed and age(cidx, delivered_ms) <= self.passed.age:
            self.has_passed = False
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
                c = self.add_chunk(self.slot_count, ms[0], seq[0], take)
            elif ms[0] - c.base_ms > U32_MAX:
                rebase(c, ms_of(c, 0))
            take = run_length(c, ms, seq, take)
            c = self.make_room(self.slot_count - 1, take)
            before = c.oldest
            append_rows(c, ms, seq, take, cidx, delivered_ms)
            if c.oldest != before:
                self.ages.changed(c)
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
        close_gap(c, i)
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
                if not may_own(c, cython.cast(uint32_t, cidx)):
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

    # By age

    def oldest(self, age_max, floor_ms, floor_seq, passing, out, want):
        """The ``want`` oldest rows with IDs from the floor on; see ``AgeHeap.take_oldest``.

        ``passing``: without those that were passed over.
        """
        after: cython.pointer(Aged) = cython.address(self.passed)
        if not passing or not self.has_passed:
            after = cython.NULL
        return self.ages.take_oldest(age_max, floor_ms, floor_seq, after, out, want)

    def pass_over(self, aged):
        """This row and all that are older have no entry any more.

        Nor will they have one again: no ID is added up to the greatest one that XDEL deleted.
        """
        self.passed = aged[0]
        self.has_passed = True

    def is_due(self, age_max):
        """Whether a row may be no younger than ``age_max``; False is certain."""
        return self.slot_count > 0 and self.ages.chunks[0].oldest <= age_max

    def read_aged(self, aged, out):
        """Read a row that ``oldest`` found."""
        return self.read_row(aged.chunk, aged.i, out)

    def pull_back_to(self, latest_ms):
        """Rows that say they were delivered after ``latest_ms`` were delivered then."""
        at: cython.Py_ssize_t
        for at in range(self.slot_count):
            if pull_back(self.slots[at].chunk, latest_ms) > 0:
                self.ages.changed(self.slots[at].chunk)
        self.latest_ms = latest_ms
        self.has_passed = False
        return 0

    # Inside

    def insert_row(self, at, i, ms, seq, cidx, delivered_ms, count):
        """Insert a row that fits before row ``i`` of a chunk that is not full."""
        c = self.slots[at].chunk
        if c.n > 0 and (ms < c.base_ms or ms - c.base_ms > U32_MAX):
            first_ms: uint64_t = ms_of(c, 0)
            rebase(c, ms if ms < first_ms else first_ms)
        if i == c.n or c.n == c.cap:
            c = self.make_room(at, 1)
        open_gap(c, i)
        column(c, MS)[c.start + i] = cython.cast(uint32_t, ms - c.base_ms)
        column(c, SEQ)[c.start + i] = cython.cast(uint32_t, seq)
        self.set_row(c, i, ms, seq, cidx, delivered_ms, count)
        if i == 0 and (
            ms < self.slots[at].ms or (ms == self.slots[at].ms and seq < self.slots[at].seq)
        ):
            self.slots[at].ms = ms
            self.slots[at].seq = seq
        if ms < c.low_ms or (ms == c.low_ms and seq < c.low_seq):
            c.low_ms = ms
            c.low_seq = seq
            self.ages.changed(c)
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
        if cidx != 0 and delivered_ms > self.latest_ms:
            self.latest_ms = delivered_ms
        if self.has_passed and age(cidx, delivered_ms) <= self.passed.age:
            self.has_passed = False
        c.dirty = 1
        if age(cidx, delivered_ms) < c.oldest:
            c.oldest = age(cidx, delivered_ms)
            self.ages.changed(c)
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

    def oldest_ids(
        self, limit: int, delivered_max_ms: int, floor: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """``oldest`` for Python callers: IDs from ``floor`` on, released or delivered by then."""
        n: cython.Py_ssize_t
        aged = cython.cast(cython.pointer(Aged), malloc((limit + 1) * cython.sizeof(Aged)))
        if aged == cython.NULL:
            abort()
        n = self.oldest(
            OWNED + cython.cast(uint64_t, delivered_max_ms), floor[0], floor[1], False, aged, limit
        )
        found: list[tuple[int, int]] = [(aged[i].ms, aged[i].seq) for i in range(n)]
        free(aged)
        return found

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
            if owner >= 0 and not may_own(c, cython.cast(uint32_t, owner)):
                i = c.n
            elif latest >= 0 and c.oldest > OWNED + cython.cast(uint64_t, latest):
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
                self.ages.changed(c)
            at.slot += 1
            at.row = 0
        return found

    def remove_consumer(self, cidx: int) -> int:
        """Remove all rows of a consumer; returns how many."""
        owner: uint32_t = cidx
        at: cython.Py_ssize_t = 0
        length: cython.Py_ssize_t = self.length
        while at < self.slot_count:
            c = self.slots[at].chunk
            if not may_own(c, owner):
                at += 1
                continue
            self.length -= remove_owner(c, owner, self.large_counts)
            self.ages.changed(c)
            if c.n == 0:
                self.drop_chunk(at)
            else:
                at += 1
        at = self.slot_count - 1
        while at >= 0:
            if at < self.slot_count:
                self.after_removal(at)
            at -= 1
        return length - self.length

    def count_released(self) -> int:
        """How many rows have no owner."""
        n: int = 0
        at: cython.Py_ssize_t
        i: uint32_t
        for at in range(self.slot_count):
            c = self.slots[at].chunk
            if may_own(c, 0):
                for i in range(c.n):
                    n += column(c, CIDX)[c.start + i] == 0
        return n

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
