"""One producer of a stream: its newest idempotent IDs (iids), each with its entry's ID.

Rules and layout:

- ``ring`` holds the iids oldest first, from ``first`` on; its length ``cap`` is a power of two. A
  place keeps its text's memory for the next iid, so steady production allocates nothing.
- ``slots`` is a hash table of open addressing, twice as long as the ring. Probes are linear, and
  what is removed leaves no mark: later ones move back (Knuth, volume 3, section 6.4, algorithm R).
- Hashes are the interpreter's own for bytes, keyed anew in each process: clients cannot choose
  iids that collide.

Row, v = varint: ``u8 version, v length, pid, v n``, then n times ``v ms, v seq, v length, iid``,
oldest first.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.stdlib import abort, calloc, free, realloc
from cython.cimports.libc.string import memcmp, memcpy

from lsmstore.buf import Buf

ROW_VERSION = 1
FIRST_CAP = cython.declare(uint32_t, 4)
# A place of the ring gives larger texts' memory back when its iid leaves.
KEPT_TEXT_BYTES = cython.declare(uint32_t, 256)


@cython.final
@cython.cclass
class Producer:
    """A producer's iids in the order in which they were recorded."""

    def __cinit__(self) -> None:
        self.ring = cython.NULL
        self.slots = cython.NULL
        self.cap = 0
        self.first = 0
        self.n = 0

    def __init__(self, number: int, pid: bytes) -> None:
        self.number = number
        self.pid = pid
        self.text_bytes = 0
        self.changed = False

    def __dealloc__(self) -> None:
        i: uint32_t
        for i in range(self.cap):
            free(self.ring[i].text)
        free(self.ring)
        free(self.slots)

    def at(self, i):
        """The ``i``-th oldest iid."""
        return self.ring + ((self.first + i) & (self.cap - 1))

    def find(self, iid):
        """What is remembered of the iid, or NULL."""
        mask: uint32_t = 2 * self.cap - 1
        at: uint32_t = iid.hash & mask
        known: cython.pointer(Iid)
        if self.n == 0:
            return cython.NULL
        while self.slots[at].place != 0:
            if self.slots[at].hash == iid.hash:
                known = self.ring + (self.slots[at].place - 1)
                if known.n == iid.n and memcmp(known.text, iid.text, iid.n) == 0:
                    return known
            at = (at + 1) & mask
        return cython.NULL

    def grow(self):
        """Twice the room; what is there moves to its beginning. REQUIRES: the ring is full."""
        i: uint32_t
        cap: uint32_t = self.cap * 2 if self.cap else FIRST_CAP
        ring: cython.pointer(Iid) = cython.cast(
            cython.pointer(Iid), calloc(cap, cython.sizeof(Iid))
        )
        slots: cython.pointer(Slot) = cython.cast(
            cython.pointer(Slot), calloc(2 * cap, cython.sizeof(Slot))
        )
        if ring == cython.NULL or slots == cython.NULL:
            abort()
        for i in range(self.n):
            ring[i] = self.at(i)[0]
        free(self.ring)
        free(self.slots)
        self.ring = ring
        self.slots = slots
        self.first = 0
        self.cap = cap
        for i in range(self.n):
            self.take_slot(i, ring[i].hash)

    def take_slot(self, place, digest):
        """Make the table find what stands at this place of the ring."""
        mask: uint32_t = 2 * self.cap - 1
        at: uint32_t = digest & mask
        while self.slots[at].place != 0:
            at = (at + 1) & mask
        self.slots[at].place = place + 1
        self.slots[at].hash = digest

    def add(self, iid, ms, seq):
        """Remember an iid. REQUIRES: it is not known."""
        new: cython.pointer(Iid)
        if self.n == self.cap:
            self.grow()
        new = self.at(self.n)
        if new.cap < iid.n:
            new.text = cython.cast(cython.p_char, realloc(new.text, iid.n))
            if new.text == cython.NULL:
                abort()
            new.cap = iid.n
        memcpy(new.text, iid.text, iid.n)
        new.n = iid.n
        new.hash = iid.hash
        new.ms = ms
        new.seq = seq
        self.take_slot(cython.cast(uint32_t, new - self.ring), iid.hash)
        self.n += 1
        self.text_bytes += iid.n

    def drop_oldest(self):
        """Forget the oldest iid. REQUIRES: there is one."""
        mask: uint32_t = 2 * self.cap - 1
        oldest: cython.pointer(Iid) = self.ring + self.first
        gap: uint32_t = oldest.hash & mask
        at: uint32_t
        while self.slots[gap].place != self.first + 1:
            gap = (gap + 1) & mask
        at = gap
        while True:
            at = (at + 1) & mask
            if self.slots[at].place == 0:
                break
            # it may move back unless its own first slot lies behind the gap
            if ((at - self.slots[at].hash) & mask) >= ((at - gap) & mask):
                self.slots[gap] = self.slots[at]
                gap = at
        self.slots[gap].place = 0
        self.text_bytes -= oldest.n
        if oldest.cap > KEPT_TEXT_BYTES:
            free(oldest.text)
            oldest.text = cython.NULL
            oldest.cap = 0
        self.first = (self.first + 1) & (self.cap - 1)
        self.n -= 1

    def row_bytes(self):
        """About how long the producer's row is."""
        return self.text_bytes + self.n * IID_ROW_BYTES

    # From Python

    def dump(self) -> bytes:
        """The producer's row."""
        i: uint32_t
        iid: cython.pointer(Iid)
        row: Buf = Buf(64 + self.row_bytes())
        row.put_byte(ROW_VERSION)
        put_text(row, PyBytes_AS_STRING(self.pid), PyBytes_GET_SIZE(self.pid))
        row.put_varint(self.n)
        for i in range(self.n):
            iid = self.at(i)
            row.put_varint(iid.ms)
            row.put_varint(iid.seq)
            put_text(row, iid.text, iid.n)
        return row.copy()

    def entries(self) -> list[tuple[bytes, int, int]]:
        """(iid, ms, seq), oldest first."""
        i: uint32_t
        iid: cython.pointer(Iid)
        found = []
        for i in range(self.n):
            iid = self.at(i)
            found.append((iid.text[: iid.n], iid.ms, iid.seq))
        return found

    def check(self) -> None:
        """Assert that ring and table agree."""
        i: uint32_t
        used: uint32_t = 0
        iid: cython.pointer(Iid)
        wanted: Word
        for i in range(2 * self.cap):
            used += self.slots[i].place != 0
        assert used == self.n <= self.cap
        for i in range(self.n):
            iid = self.at(i)
            wanted = word(iid.text, iid.n)
            assert self.find(cython.address(wanted)) == iid
        assert self.text_bytes == sum([len(text) for text, _, _ in self.entries()])


def word(text, n):
    """The iid whose bytes these are; they stay where they are."""
    found: Word
    found.text = text
    found.n = cython.cast(uint32_t, n)
    found.hash = cython.cast(uint32_t, PyHash_GetFuncDef().hash(text, n))
    return found


def put_text(row, text, n):
    """Append a text with its length before it."""
    row.put_varint(n)
    row.put(text, n)
