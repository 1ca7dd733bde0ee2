"""The chunks of one pending list, in ID order: where they are, how they grow, how they are stored.

An index of slots (a lower bound of the first ID, pointer to the chunk) is bisected, then the
chunk's columns are (streams/chunk.py).

Rules:

- A chunk without rows vanishes, sparse neighbours become one.
- Capacity grows by a quarter, never by doubling: rows that come one at a time cost what rows in
  batches cost.
- Slots in use stand in one piece; the shorter side moves.
- Every chunk is in the heap by age (streams/ageheap.py), too.
- ``next_release`` is above the serial numbers of all released rows (streams/chunk.py),
  ``latest_ms`` no earlier than any delivery time.

Every chunk has a number, under which its blob is stored. ``dirty_chunks`` gives what changed since
``clear_dirty``: (number, blob), or (number, None) where a stored chunk has vanished. Numbers carry
no order.
"""

from __future__ import annotations

from itertools import pairwise

import cython
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.libc.string import memmove

from streams.ageheap import AgeHeap

SPARSE_ROWS = cython.declare(uint32_t, 64)  # a chunk with fewer looks for a neighbour to join
JOINED_ROWS = cython.declare(uint32_t, 192)

OBJECT_BYTES = 450  # the list object with its dict, set and heap


@cython.cclass
class ChunkList:
    """Chunks, and the counts that do not fit into their rows."""

    def __cinit__(self) -> None:
        self.room = cython.NULL
        self.slots = cython.NULL
        self.slot_cap = 0
        self.slot_count = 0
        self.chunks_bytes = 0
        self.length = 0
        self.next_no = 0
        self.next_release = 0
        self.latest_ms = 0
        self.ages = AgeHeap()
        self.large_counts = {}
        self.vanished = set()

    def __dealloc__(self) -> None:
        i: cython.Py_ssize_t
        for i in range(self.slot_count):
            free(self.slots[i].chunk)
        free(self.room)

    # Slots

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

    def add_chunk(self, at, ms, seq, rows):
        """Open an empty chunk with a new number at slot ``at`` for rows from ``ms-seq`` on."""
        if self.next_no == U32_MAX:
            self.renumber()
        c = self.open_slot(at, ms, seq, rows, self.next_no)
        self.next_no += 1
        if self.vanished and c.no in self.vanished:
            self.vanished.remove(c.no)
            c.stored = 1
        return c

    def open_slot(self, at, ms, seq, rows, number):
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
        c = new_chunk(ms, seq, cap, number)
        self.chunks_bytes += chunk_bytes(c)
        self.slots[at].ms = ms
        self.slots[at].seq = seq
        self.slots[at].chunk = c
        self.ages.push(c)
        return c

    def drop_chunk(self, at):
        """Take a chunk out of the list and free it."""
        c = self.slots[at].chunk
        if c.stored:
            self.vanished.add(c.no)
        if c.no + 1 == self.next_no:
            self.next_no -= 1  # so that a list that keeps running empty does not use up the numbers
        self.chunks_bytes -= chunk_bytes(c)
        self.ages.remove(c)
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
        c = self.slots[at].chunk
        self.chunks_bytes -= chunk_bytes(c)
        c = resized(c, cap)
        self.chunks_bytes += chunk_bytes(c)
        self.slots[at].chunk = c
        self.ages.moved(c)
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

    def split(self, at, i):
        """Move the rows from ``i`` on, of which there are some, into a chunk of their own."""
        c = self.slots[at].chunk
        right = self.add_chunk(at + 1, ms_of(c, i), seq_of(c, i), c.n - i)
        cut(c, i, right)
        self.ages.changed(right)
        self.ages.changed(c)
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
        a = self.resize(left, rows + rows // 8)
        join(a, b)
        self.ages.changed(a)
        self.drop_chunk(left + 1)
        return True

    @property
    def chunk_count(self) -> int:
        """How many chunks there are."""
        return self.slot_count

    @property
    def bytes_used(self) -> int:
        """Memory held, with what the allocator takes."""
        slots: cython.Py_ssize_t = self.slot_cap * cython.sizeof(Slot)
        heap: cython.Py_ssize_t = self.ages.cap * cython.sizeof(cython.pointer(Chunk))
        return OBJECT_BYTES + slots + heap + self.chunks_bytes + 150 * len(self.large_counts)

    # Numbers and the stored form

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

    def dirty_chunks(self) -> list[tuple[int, bytes | None]]:
        """What changed since ``clear_dirty``: (number, blob), None if a stored chunk vanished."""
        changed: list[tuple[int, bytes | None]] = [(no, None) for no in sorted(self.vanished)]
        at: cython.Py_ssize_t
        for at in range(self.slot_count):
            c = self.slots[at].chunk
            if c.dirty:
                changed.append((c.no, blob_of(c, self.large_counts)))
        return changed

    def all_chunks(self) -> list[tuple[int, bytes]]:
        """(number, blob) of every chunk, for whoever copies the list."""
        at: cython.Py_ssize_t
        found: list[tuple[int, bytes]] = []
        for at in range(self.slot_count):
            c = self.slots[at].chunk
            found.append((c.no, blob_of(c, self.large_counts)))
        return found

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
        if number >= U32_MAX:
            raise ValueError(f"pending chunk {number}: no such number")
        header: BlobHeader
        read_header(cython.address(header), number, blob)
        at: cython.Py_ssize_t = self.slot_of(header.first_ms, header.first_seq) + 1
        c = self.open_slot(at, header.first_ms, header.first_seq, header.n, number)
        if number >= self.next_no:
            self.next_no = number + 1
        self.length += header.n
        fill(c, cython.address(header), blob, self.large_counts)
        self.ages.changed(c)
        i: uint32_t
        for i in range(c.n):
            if column(c, CIDX)[c.start + i] == 0:
                if delivery_of(c, i) >= self.next_release:
                    self.next_release = delivery_of(c, i) + 1
            elif delivery_of(c, i) > self.latest_ms:
                self.latest_ms = delivery_of(c, i)
        self.check_order(at)

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
            large += check_rows(c, self.large_counts)
            if (self.slots[at].ms, self.slots[at].seq) > (ms_of(c, 0), seq_of(c, 0)):
                raise AssertionError(f"chunk {c.no}: its slot is above its first row")
            self.check_order(at)
            if c.no in numbers or c.no in self.vanished or c.no >= self.next_no:
                raise AssertionError(f"chunk number {c.no} is not its own")
            for i in range(c.n):
                if column(c, CIDX)[c.start + i] == 0 and delivery_of(c, i) >= self.next_release:
                    raise AssertionError(f"chunk {c.no}: row {i} was not released yet")
            numbers.add(c.no)
            rows += c.n
            held += chunk_bytes(c)
        self.ages.check()
        if self.ages.n != self.slot_count:
            raise AssertionError(f"{self.ages.n} chunks by age, {self.slot_count} by ID")
        if rows != self.length or large != len(self.large_counts) or held != self.chunks_bytes:
            raise AssertionError(
                f"{rows} rows, {large} large counts, {held} bytes, "
                f"not {self.length}, {len(self.large_counts)}, {self.chunks_bytes}"
            )
