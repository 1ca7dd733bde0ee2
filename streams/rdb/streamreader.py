"""Reads a stream of an RDB value, node by node; what stands behind its nodes comes last.

Rules: entries are put into wire form straight from the listpack, so nothing is made per entry.
What no Redis writes is refused, whether or not Redis would take it: IDs that do not ascend, numbers
of entries that are not those that are there, listpacks with a wrong length or anything left over,
pending rows twice or of two consumers or of none. So what was read can be loaded without a doubt.
Deleted entries out of order are left out: XSETID may go back behind them, and what is added then
stands in the node of theirs.

Grammar (reader.py has the rest; [n: from type n on], times in ms)::

    stream   := length n, n * (string of an ID, string of a listpack), length entries, last,
                [19: first, max deleted, length entries added], length n, n * group,
                [26: length duration s, length maxsize, length n, n * producer,
                length iids added, length duplicates]
    group    := string name, last, [19: length entries read], length n, n * pending,
                length n, n * consumer, [27: length n, n * id released]
    pending  := id, time delivered, length count
    consumer := string name, time seen, [21: time active], length n, n * id
    producer := string pid, length n, n * (string iid, length ms, length seq)
    last, first, max deleted := length ms, length seq
    listpack := live, deleted, fields, fields * name, 0, (live + deleted) * entry
    entry    := flags (1 deleted, 2 the fields of the node), ms and seq less those of the node,
                values | fields, fields * (name, value), then how many elements these are

Types 26 and 27 are known from other parsers only. Source: the Redis documentation and real dumps.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.lsmstore.block import id_less
from cython.cimports.lsmstore.buf import U64_MAX, num_len
from cython.cimports.streams.listpack import read_element

from lsmstore.buf import Buf
from streams.rdb.heads import ConsumerHead, GroupHead, ProducersHead, StreamHead
from streams.rdb.reader import RdbReader, RdbTooLarge
from streams.rdb.rows import Node, PendingRows

STREAM_TYPES = {15: "5.0", 19: "7.0", 21: "7.2", 26: "8.6", 27: "8.8"}
"""Types of streams, and the version of Redis that each came with."""

FLAG_DELETED = cython.declare(int64_t, 1)
FLAG_SAME_FIELDS = cython.declare(int64_t, 2)
LISTPACK_OVERHEAD_BYTES = cython.declare(cython.Py_ssize_t, 7)
ELEMENTS_UNKNOWN = cython.declare(uint64_t, 65535)
DURATION_MAX_S = cython.declare(uint64_t, 86400)
MAXSIZE_MAX = cython.declare(uint64_t, 10000)
# What a group or producer, a consumer, an iid or a released row, and a pending row take, about.
GROUP_BYTES = cython.declare(int64_t, 400)
NAME_BYTES = cython.declare(int64_t, 250)
ROW_BYTES = cython.declare(int64_t, 48)
TIME_MAX_MS = cython.declare(int64_t, (1 << 48) - 1)


@cython.final
@cython.cclass
class StreamReader:
    """One stream. Call ``next_node`` until it gives None, then ``head``."""

    def __cinit__(self) -> None:
        self.name_ends = cython.NULL
        self.name_cap = 0

    def __init__(self, source: RdbReader, rdb_type: int) -> None:
        if rdb_type not in STREAM_TYPES:
            raise source.error(f"type {rdb_type} is no stream")
        self.source = source
        self.rdb_type = rdb_type
        self.names = Buf(256)
        self.out = Buf(8192)
        self.last_ms = 0
        self.last_seq = 0
        self.live = 0
        self.is_trusting = False
        self.live_ms = 0
        self.live_seq = 0
        self.nodes_left = source.length()

    def __dealloc__(self) -> None:
        free(self.name_ends)

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────

    def next_node(self) -> Node | None:
        """The next node; None if there is none. Raises RdbError."""
        live: int64_t
        deleted: int64_t
        i: int64_t
        flags: int64_t
        kept: int64_t = 0
        seen: int64_t = 0
        gone: list = []
        base_ms: uint64_t
        base_seq: uint64_t
        if self.nodes_left == 0:
            return None
        self.nodes_left -= 1
        if self.source.length() != 16:
            raise self.source.error("the key of a node is no ID")
        base_ms = self.source.big_endian(8)
        base_seq = self.source.big_endian(8)
        self.open_listpack()
        live = self.integer()
        deleted = self.integer()
        if live < 0 or deleted < 0 or live > self.stop - self.at or deleted > self.stop - self.at:
            raise self.corrupt()
        self.read_names()
        self.out.n = 0
        self.before_ms = self.last_ms
        self.before_seq = self.last_seq
        self.tail = self.tail_entries = 0
        for i in range(live + deleted):
            flags = self.integer()
            if flags < 0 or flags > 3:
                raise self.corrupt()
            seen += flags & FLAG_DELETED
            if self.read_entry(base_ms, base_seq, flags):
                if flags & FLAG_DELETED:
                    gone.append(kept)
                    self.tail_entries += 1
                    kept += 1
                else:
                    if self.tail_entries < 0:  # those before it were out of order
                        kept += self.tail_entries
                        del gone[self.tail_entries :]
                    kept += 1
                    self.tail_entries = 0
                    self.tail = self.out.n
            if cython.cast(uint64_t, self.out.n) > self.source.limit_bytes:
                raise RdbTooLarge("the entries of a node")
        if (
            self.at != self.stop
            or seen != deleted
            or (self.elements_told != ELEMENTS_UNKNOWN and self.elements != self.elements_told)
        ):
            raise self.corrupt()
        self.live += live
        node: Node = Node(self.out.p[: self.out.n], kept, gone)
        if self.out.cap > 1 << 20:
            self.out.clear()
        return node

    def corrupt(self) -> Exception:
        """A listpack that is none, or no node of a stream."""
        return self.source.error("a damaged listpack before")

    def open_listpack(self):
        """Stand at the first element of the listpack that comes next."""
        p: cython.p_const_char
        size: cython.Py_ssize_t
        told: uint64_t = 0
        i: cython.int
        self.listpack = self.source.string()
        p = PyBytes_AS_STRING(self.listpack)
        size = PyBytes_GET_SIZE(self.listpack)
        if size < LISTPACK_OVERHEAD_BYTES or cython.cast(uint8_t, p[size - 1]) != 255:
            raise self.corrupt()
        for i in range(4):
            told |= cython.cast(uint64_t, cython.cast(uint8_t, p[i])) << (8 * i)
        if told != cython.cast(uint64_t, size):
            raise self.corrupt()
        self.elements_told = cython.cast(uint8_t, p[4]) | (
            cython.cast(uint64_t, cython.cast(uint8_t, p[5])) << 8
        )
        self.elements = 0
        self.at = p + 6
        self.stop = p + size - 1
        return 0

    def element(self):
        """Read the next element, into ``now``."""
        p: cython.p_const_char = read_element(self.at, self.stop, cython.address(self.now))
        if p == cython.NULL:
            raise self.corrupt()
        self.at = p
        self.elements += 1
        return 0

    def integer(self):
        """The next element, which is an integer."""
        self.element()
        if self.now.p != cython.NULL:
            raise self.corrupt()
        return self.now.value

    def put_element(self, to):
        """Append the element just read as a bulk string."""
        magnitude: uint64_t
        if self.now.p != cython.NULL:
            to.put_bulk(self.now.p, self.now.n)
            return
        if self.now.value >= 0:
            magnitude = cython.cast(uint64_t, self.now.value)
            to.put_head(36, num_len(magnitude))
        else:
            magnitude = 0 - cython.cast(uint64_t, self.now.value)
            to.put_head(36, num_len(magnitude) + 1)
            to.put_byte(45)
        to.put_num(magnitude)
        to.put(b"\r\n", 2)

    def read_names(self):
        """Read the names of the node's fields."""
        i: int64_t
        self.fields = self.integer()
        if self.fields < 1 or self.fields > self.stop - self.at:
            raise self.corrupt()
        if self.fields > self.name_cap:
            self.name_cap = self.fields
            self.name_ends = cython.cast(
                cython.pointer(cython.Py_ssize_t),
                realloc(self.name_ends, self.name_cap * cython.sizeof(cython.Py_ssize_t)),
            )
            if self.name_ends == cython.NULL:
                abort()
        self.names.n = 0
        for i in range(self.fields):
            self.element()
            self.put_element(self.names)
            self.name_ends[i] = self.names.n
        if self.integer() != 0:
            raise self.corrupt()
        return 0

    def is_in_place(self, ms, seq, is_deleted):
        """Whether the next entry is above all before it; if not, it must have been deleted.

        One that is there may be below those deleted since the last one that is: these are taken
        back from ``out``, and their number is left negative.
        """
        if id_less(self.last_ms, self.last_seq, ms, seq):
            return True
        if is_deleted:
            return False
        if id_less(self.live_ms, self.live_seq, ms, seq) and id_less(
            self.before_ms, self.before_seq, ms, seq
        ):
            self.out.n = self.tail
            self.tail_entries = -self.tail_entries
            return True
        raise self.source.error("IDs that do not ascend before")

    def read_entry(self, base_ms, base_seq, flags):
        """Append the next entry to ``out`` in wire form; whether it is above those before."""
        out: Buf = self.out
        ms: uint64_t
        seq: uint64_t
        fields: int64_t = self.fields
        before: uint64_t = self.elements - 1
        start: cython.Py_ssize_t = 0
        limit: cython.Py_ssize_t = self.source.limit_bytes
        i: int64_t
        place: cython.Py_ssize_t
        kept: cython.bint
        ms = base_ms + cython.cast(uint64_t, self.integer())
        seq = base_seq + cython.cast(uint64_t, self.integer())
        kept = self.is_in_place(ms, seq, flags & FLAG_DELETED)
        place = out.n
        if kept:
            self.last_ms = ms
            self.last_seq = seq
        if not flags & FLAG_DELETED:
            self.live_ms = ms
            self.live_seq = seq
        if not flags & FLAG_SAME_FIELDS:
            fields = self.integer()
            if fields < 1 or fields > self.stop - self.at:
                raise self.corrupt()
        out.put(b"*2\r\n", 4)
        out.put_bulk_id(ms, seq)
        out.put_head(42, 2 * cython.cast(uint64_t, fields))
        for i in range(fields):
            if flags & FLAG_SAME_FIELDS:
                out.put(self.names.p + start, self.name_ends[i] - start)
                start = self.name_ends[i]
            else:
                self.element()
                self.put_element(out)
            self.element()
            self.put_element(out)
            if out.n > limit:  # a name may stand for itself many times
                raise RdbTooLarge("the entries of a node")
        told: int64_t = self.integer()
        if cython.cast(uint64_t, told) != self.elements - 1 - before:
            raise self.corrupt()
        if not kept:
            out.n = place
        return kept

    def expect(self, live: int, last_id: tuple[int, int]) -> None:
        """There are no nodes here, but ``live`` entries elsewhere, the last of them ``last_id``."""
        if self.nodes_left:
            raise self.source.error("nodes where there should be none before")
        self.live = live
        self.live_ms, self.live_seq = last_id

    def trust(self) -> None:
        """There are no nodes here, and nobody knows how many entries elsewhere."""
        self.is_trusting = True

    # ── what stands behind them ──────────────────────────────────────────────────────────────────

    def head(self) -> StreamHead:
        """The stream without its entries. REQUIRES: all nodes were read. Raises RdbError."""
        source: RdbReader = self.source
        length: uint64_t = source.length()
        last_id: tuple = self.id_of_lengths()
        max_deleted_id: tuple = (0, 0)
        added: uint64_t = length
        found: StreamHead
        names: set = set()
        self.room = cython.cast(int64_t, source.limit_bytes)
        if length != self.live and not self.is_trusting:
            raise source.error("the number of entries is another before")
        if (self.live_ms, self.live_seq) > last_id:
            raise source.error("an entry is above the last ID before")
        if self.rdb_type >= 19:
            self.id_of_lengths()  # the first: it is that of the first entry
            max_deleted_id = self.id_of_lengths()
            added = self.count()
        found = StreamHead(length, last_id, max_deleted_id, added)
        for _ in range(source.length()):
            group: GroupHead = self.group()
            if group.name in names:
                raise source.error("a group twice before")
            names.add(group.name)
            found.groups.append(group)
        if self.rdb_type >= 26:
            found.producers = self.producers()
        return found

    def charge(self, n):
        """So many bytes more of memory are taken by what stands behind the entries."""
        self.room -= n
        if self.room < 0:
            raise RdbTooLarge("the groups and producers of a stream")
        return 0

    def id_of_lengths(self):
        """An ID written as two lengths."""
        ms: uint64_t = self.source.length()
        return ms, self.source.length()

    def count(self):
        """A number that a client can be told of."""
        value: uint64_t = self.source.length()
        if value > U64_MAX >> 1:
            raise self.source.error("a number beyond all counting before")
        return value

    def time_ms(self):
        """A time; -1 is never, and what no clock says is the nearest that it does."""
        value: int64_t = cython.cast(int64_t, self.source.fixed(8))
        if value < 0:
            return -1
        return value if value < TIME_MAX_MS else TIME_MAX_MS

    def group(self):
        """The next group."""
        source: RdbReader = self.source
        name: bytes = source.string()
        last_id: tuple = self.id_of_lengths()
        pending: PendingRows = PendingRows()
        names: set = set()
        read: int64_t = -1
        owned: uint64_t = 0
        place: uint64_t
        self.charge(GROUP_BYTES + len(name))
        found: GroupHead = GroupHead(name, last_id, None)
        if self.rdb_type >= 19:
            read = cython.cast(int64_t, source.length())
            found.entries_read = read if read >= 0 else -1
        self.pending_rows(pending)
        found.pending = pending
        for place in range(source.length()):
            name = source.string()
            if name in names:
                raise source.error("a consumer twice before")
            self.charge(NAME_BYTES + len(name))
            names.add(name)
            seen_ms: int64_t = self.time_ms()
            active_ms: int64_t = self.time_ms() if self.rdb_type >= 21 else seen_ms
            found.consumers.append(ConsumerHead(name, seen_ms if seen_ms > 0 else 0, active_ms))
            owned += self.own_rows(pending, place + 1)
        if self.rdb_type >= 27:
            found.released = self.released_rows(pending)
            owned += len(found.released)
        if owned != cython.cast(uint64_t, pending.n):
            raise source.error("a pending row of nobody before")
        return found

    def pending_rows(self, pending):
        """The pending rows of a group."""
        source: RdbReader = self.source
        ms: uint64_t
        seq: uint64_t
        delivered_ms: int64_t
        n: uint64_t = source.length()
        while n > 0:
            n -= 1
            ms = source.big_endian(8)
            seq = source.big_endian(8)
            if pending.n and not pending.is_below(pending.n - 1, ms, seq):
                raise source.error("pending IDs that do not ascend before")
            self.charge(ROW_BYTES)
            delivered_ms = self.time_ms()
            pending.add(ms, seq, delivered_ms if delivered_ms > 0 else 0, source.length())
        return 0

    def own_rows(self, pending, cidx):
        """Give a consumer its pending rows; how many they are."""
        source: RdbReader = self.source
        ms: uint64_t
        seq: uint64_t
        at: cython.Py_ssize_t = 0
        i: uint64_t
        n: uint64_t = source.length()
        for i in range(n):
            ms = source.big_endian(8)
            seq = source.big_endian(8)
            at = pending.find(ms, seq, at)
            if at < 0 or pending.rows[at].cidx != 0:
                raise source.error("a pending row that is not the consumer's before")
            pending.rows[at].cidx = cidx
        return n

    def released_rows(self, pending):
        """The IDs of the pending rows that were released, in their order."""
        source: RdbReader = self.source
        ms: uint64_t
        seq: uint64_t
        at: cython.Py_ssize_t
        found: dict = {}
        for _ in range(source.length()):
            ms = source.big_endian(8)
            seq = source.big_endian(8)
            at = pending.find(ms, seq, 0)
            if at < 0 or pending.rows[at].cidx != 0 or (ms, seq) in found:
                raise source.error("a released row that is none before")
            self.charge(NAME_BYTES)
            found[(ms, seq)] = None
        return list(found)

    def producers(self):
        """What is remembered of producers."""
        source: RdbReader = self.source
        duration_s: uint64_t = source.length()
        maxsize: uint64_t = source.length()
        found: dict = {}
        if duration_s > DURATION_MAX_S or maxsize > MAXSIZE_MAX:
            raise source.error("a damaged configuration of producers before")
        for _ in range(source.length()):
            pid: bytes = source.string()
            iids: dict = {}
            for _ in range(source.length()):
                iid: bytes = source.string()
                if not iid or iid in iids or cython.cast(uint64_t, len(iids)) >= maxsize:
                    raise source.error("a damaged producer before")
                self.charge(NAME_BYTES + len(iid))
                ms: uint64_t = source.length()
                iids[iid] = (iid, ms, source.length())
            if not pid or pid in found:
                raise source.error("a damaged producer before")
            self.charge(GROUP_BYTES + len(pid))
            found[pid] = list(iids.values())
        added: uint64_t = self.count()
        return ProducersHead(duration_s, maxsize, list(found.items()), added, self.count())
