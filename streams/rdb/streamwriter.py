"""Writes RDB values: a stream of type 15, 19 or 21 from a stream in memory, and strings.

Rules: a node is what streams/nodes.py says Redis would keep in one listpack, deleted entries
included, so that whoever reads it goes on filling and trimming as we would. Groups and consumers
come by name, as Redis writes them. The grammar is that of streamreader.py.

What these types have no place for is not written: producers, and what is set per group. An entry
that was released (XNACK) is written as pending for a consumer without a name since the beginning of
time, so that whoever claims finds it: a row of nobody would make older servers fail. What has to be
read from disk is read block by block.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcmp, memmove
from cython.cimports.lsmstore.block import read_entry_id
from cython.cimports.streams.listpack import put_int, put_string, read_canonical
from cython.cimports.streams.rdb.lzf import compress

from lsmstore.block import Block
from lsmstore.buf import Buf
from streams.group import Consumer, Group
from streams.stream import Stream

WRITTEN_TYPES = (15, 19, 21)

FLAG_DELETED = cython.declare(cython.int, 1)
FLAG_SAME_FIELDS = cython.declare(cython.int, 2)
# As Redis: shorter strings are tried as integers, longer ones are compressed where it saves four.
INTEGER_BYTES_MAX = cython.declare(cython.Py_ssize_t, 11)
COMPRESSED_FROM_BYTES = cython.declare(cython.Py_ssize_t, 21)
COMPRESSED_SAVES_BYTES = cython.declare(cython.Py_ssize_t, 4)


@cython.final
@cython.cclass
class RdbWriter:
    """The bytes of RDB values in ``out``."""

    def __init__(self) -> None:
        self.out = Buf(4096)
        self.node = Buf(8192)
        self.names = Buf(256)

    # ── primitives ───────────────────────────────────────────────────────────────────────────────

    def put_fixed(self, value, n):
        """Append a number of ``n`` bytes."""
        i: cython.int
        for i in range(n):
            self.out.put_byte(cython.cast(uint8_t, value >> (8 * i) & 255))

    def put_big_endian(self, value, n):
        """Append a number of ``n`` bytes, of a length or an ID."""
        while n > 0:
            n -= 1
            self.out.put_byte(cython.cast(uint8_t, value >> (8 * n) & 255))

    def put_length(self, value):
        """Append a length, or a number as one."""
        if value < 0x40:
            self.out.put_byte(cython.cast(uint8_t, value))
        elif value < 0x4000:
            self.put_big_endian(0x4000 | value, 2)
        elif value >> 32 == 0:
            self.out.put_byte(0x80)
            self.put_big_endian(value, 4)
        else:
            self.out.put_byte(0x81)
            self.put_big_endian(value, 8)

    def put_text(self, p, n):
        """Append a string: an integer or compressed, where Redis would."""
        out: Buf = self.out
        value: int64_t = 0
        held: cython.Py_ssize_t
        head: cython.Py_ssize_t
        if n <= INTEGER_BYTES_MAX and read_canonical(p, n, cython.address(value)):
            if -128 <= value <= 127:
                out.put_byte(0xC0)
                self.put_fixed(cython.cast(uint64_t, value), 1)
                return
            if -32768 <= value <= 32767:
                out.put_byte(0xC1)
                self.put_fixed(cython.cast(uint64_t, value), 2)
                return
            if value == cython.cast(int32_t, value):
                out.put_byte(0xC2)
                self.put_fixed(cython.cast(uint64_t, value), 4)
                return
        if n >= COMPRESSED_FROM_BYTES:
            head = out.n
            out.room(n + 20)
            # behind the room that the type and two lengths take at the most
            held = compress(p, n, out.p + head + 19, n - COMPRESSED_SAVES_BYTES)
            if held > 0:
                out.put_byte(0xC3)
                self.put_length(held)
                self.put_length(n)
                memmove(out.p + out.n, out.p + head + 19, held)
                out.n += held
                return
        self.put_length(n)
        out.put(p, n)

    def put_id(self, ms, seq):
        """Append the 16 bytes of an ID."""
        self.put_big_endian(ms, 8)
        self.put_big_endian(seq, 8)

    # ── a stream ─────────────────────────────────────────────────────────────────────────────────

    def put_stream(self, stream: Stream, rdb_type: int) -> None:
        """Append a stream. May read its blocks."""
        pos: uint64_t = stream.mark_pos
        end: uint64_t
        group: Group
        has_counters: cython.bint = rdb_type >= 19
        has_active: cython.bint = rdb_type >= 21
        stream.need_first()
        self.put_length(stream.node_count)
        while pos < stream.end_pos:
            end = stream.next_node_start(pos)
            if end - pos > stream.deleted_between(pos, end):
                self.put_node(stream, pos, end)
            pos = end
        self.put_length(stream.length)
        self.put_length(stream.last_ms)
        self.put_length(stream.last_seq)
        if has_counters:
            self.put_length(stream.first_ms)
            self.put_length(stream.first_seq)
            self.put_length(stream.max_deleted_ms)
            self.put_length(stream.max_deleted_seq)
            self.put_length(stream.entries_added)
        self.put_length(len(stream.groups))
        for name in sorted(stream.groups):
            group = stream.groups[name]
            self.put_text(PyBytes_AS_STRING(group.name), PyBytes_GET_SIZE(group.name))
            self.put_length(group.last_ms)
            self.put_length(group.last_seq)
            if has_counters:
                self.put_length(cython.cast(uint64_t, group.entries_read))
            self.put_pending(group.pending)
            self.put_consumers(group, has_active)

    def put_node(self, stream, start, end):
        """Append the entries of [start, end), deleted ones included, as a listpack."""
        node: Buf = self.node
        block: Block
        i: uint32_t
        ms: uint64_t = 0
        seq: uint64_t = 0
        base_ms: uint64_t = 0
        base_seq: uint64_t = 0
        pos: uint64_t = start
        gone: uint64_t = stream.deleted_between(start, end)
        all_of_them: uint64_t = end - start
        holes: dict = dict(stream.node_holes)
        for hole, stop in stream.node_holes:
            if start <= hole < end:
                gone -= stop - hole
                all_of_them -= stop - hole
        self.elements = 0
        node.n = 0
        while pos < end:
            if holes and pos in holes:  # never part of this listpack
                pos = holes[pos]
                continue
            block = stream.block_at(pos)
            i = cython.cast(uint32_t, pos - block.first_pos)
            self.args = read_entry_id(
                block.base + block.start_of(i), cython.address(ms), cython.address(seq)
            )
            if node.n == 0:
                base_ms = ms
                base_seq = seq
                self.open_node(all_of_them - gone, gone)
            self.put_entry(
                cython.cast(int64_t, ms - base_ms),
                cython.cast(int64_t, seq - base_seq),
                stream.is_deleted(pos),
            )
            pos += 1
        node.put_byte(255)
        self.close_node()
        self.put_length(16)
        self.put_id(base_ms, base_seq)
        self.put_text(node.p, node.n)
        return 0

    def count_args(self):
        """Read how many arguments the entry at ``args`` has, and stand at the first."""
        n: uint32_t = 0
        self.args += 1
        while self.args[0] != 13:
            n = n * 10 + cython.cast(uint32_t, self.args[0] - 48)
            self.args += 1
        self.args += 2
        return n

    def next_arg(self):
        """Stand behind the argument at ``args``, which is ``text`` then, of ``text_bytes``."""
        n: cython.Py_ssize_t = 0
        self.args += 1
        while self.args[0] != 13:
            n = n * 10 + (self.args[0] - 48)
            self.args += 1
        self.text = self.args + 2
        self.text_bytes = n
        self.args = self.text + n + 2

    def put_arg(self):
        """Append the next argument to the node."""
        self.next_arg()
        put_string(self.node, self.text, self.text_bytes)
        self.elements += 1

    def open_node(self, live, gone):
        """Begin a node with the field names of the entry at ``args``."""
        i: uint32_t
        first: cython.p_const_char = self.args
        name: cython.p_const_char
        self.node_fields = self.count_args() // 2
        self.names.n = 0
        self.node.put(b"\0\0\0\0\0\0", 6)
        put_int(self.node, live)
        put_int(self.node, gone)
        put_int(self.node, self.node_fields)
        for i in range(self.node_fields):
            name = self.args
            self.put_arg()
            self.names.put(name, self.args - name)
            self.next_arg()
        put_int(self.node, 0)
        self.elements += 4
        self.args = first

    def put_entry(self, ms, seq, is_deleted):
        """Append the entry at ``args``; ``ms`` and ``seq`` are less those of the node."""
        fields: uint32_t = self.count_args() // 2
        start: cython.p_const_char = self.args
        name: cython.p_const_char
        own: cython.p_const_char = self.names.p
        left: cython.Py_ssize_t = self.names.n
        same: cython.bint = fields == self.node_fields
        i: uint32_t
        if same:
            for i in range(fields):
                name = self.args
                self.next_arg()
                if self.args - name > left or memcmp(own, name, self.args - name) != 0:
                    same = False
                    break
                own += self.args - name
                left -= self.args - name
                self.next_arg()
            self.args = start
        put_int(self.node, (FLAG_SAME_FIELDS if same else 0) | (FLAG_DELETED if is_deleted else 0))
        put_int(self.node, ms)
        put_int(self.node, seq)
        self.elements += 4
        if not same:
            put_int(self.node, fields)
            self.elements += 1
        for i in range(fields):
            if same:
                self.next_arg()
            else:
                self.put_arg()
            self.put_arg()
        put_int(
            self.node,
            cython.cast(int64_t, fields) + 3 if same else 2 * cython.cast(int64_t, fields) + 4,
        )

    def close_node(self):
        """Write the header of the listpack."""
        i: cython.int
        told: uint64_t = self.elements if self.elements < 65535 else 65535
        size: uint64_t = cython.cast(uint64_t, self.node.n)
        for i in range(4):
            self.node.p[i] = cython.cast(cython.char, size >> (8 * i) & 255)
        self.node.p[4] = cython.cast(cython.char, told & 255)
        self.node.p[5] = cython.cast(cython.char, told >> 8)

    # ── groups ───────────────────────────────────────────────────────────────────────────────────

    def put_pending(self, pending):
        """Append all pending rows of a group."""
        at: Cursor
        row: Row
        self.put_length(pending.length)
        pending.seek(0, 0, cython.address(at))
        while pending.next_row(cython.address(at), -1, cython.address(row)):
            self.put_id(row.ms, row.seq)
            self.put_fixed(row.delivered_ms if row.cidx else 0, 8)
            self.put_length(row.count)
        return 0

    def put_consumers(self, group, has_active):
        """Append the consumers of a group, each with the IDs of its pending rows."""
        consumer: Consumer
        released: int64_t = group.pending.count_released()
        names: list = sorted(group.consumers)
        if released and b"" not in group.consumers:
            names.insert(0, b"")
        self.put_length(len(names))
        for name in names:
            consumer = group.consumers.get(name)
            if consumer is None:
                consumer = Consumer(0, b"", 0)
            self.put_text(PyBytes_AS_STRING(consumer.name), PyBytes_GET_SIZE(consumer.name))
            self.put_fixed(cython.cast(uint64_t, consumer.seen_ms), 8)
            if has_active:
                self.put_fixed(cython.cast(uint64_t, consumer.active_ms), 8)
            if name:
                self.put_length(consumer.pending_count)
                self.put_own_ids(group.pending, consumer.cidx, False)
            else:
                self.put_length(consumer.pending_count + released)
                self.put_own_ids(group.pending, consumer.cidx, True)
        return 0

    def put_own_ids(self, pending, cidx, and_released):
        """Append the IDs of a consumer's pending rows, and of those of nobody."""
        at: Cursor
        row: Row
        pending.seek(0, 0, cython.address(at))
        while pending.next_row(
            cython.address(at), -1 if and_released else cidx, cython.address(row)
        ):
            if row.cidx == cidx or (and_released and row.cidx == 0):
                self.put_id(row.ms, row.seq)
        return 0

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    def put_type(self, rdb_type: int) -> None:
        """Append the type of the value that follows."""
        self.out.put_byte(rdb_type)

    def put_string(self, value: bytes) -> None:
        """Append a string."""
        self.put_text(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    def put_number(self, value: uint64_t, n: cython.int) -> None:
        """Append a number of ``n`` bytes."""
        self.put_fixed(value, n)

    def take(self) -> bytes:
        """All that was written, and forget it."""
        return self.out.take()
