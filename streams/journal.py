"""Every change becomes a record of the log (streams/records.py) and is applied in the same breath.

Rules: callers have checked everything, so nothing here refuses; what could need a disk read was
read before the first change. IDs, times and counts are resolved: replay (streams/replay.py) and
replicas apply the same records with the same methods of Stream and Group. Records of keys, but for
KEY_STREAM, are made by streams/keyrecords.py.
"""

from __future__ import annotations

from typing import Protocol

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc
from cython.cimports.libc.string import memcpy
from cython.cimports.lsmstore.buf import num_len, varint_len, write_num, write_varint

from lsmstore.block import Block
from lsmstore.buf import Buf
from streams.group import POLICY_IDLE_TIMEOUT, Consumer, Group
from streams.producers import DEFAULT_DURATION_S, DEFAULT_MAXSIZE, Producers
from streams.records import RecordWriter
from streams.stream import Stream

ENTRY_OVERHEAD_BYTES = cython.declare(cython.longlong, 8)
ROW_OVERHEAD_BYTES = cython.declare(cython.longlong, 24)


class Keys(Protocol):
    """Where streams are made (streams/keyspace.py)."""

    def put_stream(self, ns: int, key: bytes, sid: int) -> Stream:
        """A new, empty stream under ``key``."""

    def watch_producers(self, stream: Stream) -> None:
        """The stream has iids that will expire."""

    def new_sid(self) -> int:
        """A stream id that was never used."""


@cython.final
@cython.cclass
class Journal(RecordWriter):
    """Encodes records into ``log`` and applies them; the server commits ``log`` once a tick."""

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self.keys = keys
        self.shed_bytes = 0  # of segments, trimmed and deleted since the last flush
        self.idmp_duration_s = DEFAULT_DURATION_S
        self.idmp_maxsize = DEFAULT_MAXSIZE
        self.ms_len = 0

    # ── what the compiled verbs call ─────────────────────────────────────────────────────────────

    def add(self, stream, ms, seq, args, n, n_args, new_node):
        """Add an entry whose ``n_args`` fields and values stand at ``args`` as bulk strings."""
        log: Buf = self.log
        id_len: cython.int
        head: cython.Py_ssize_t
        wire: cython.Py_ssize_t
        start: cython.Py_ssize_t
        if ms != self.ms or self.ms_len == 0:
            self.ms = ms
            self.ms_len = write_num(self.ms_text, ms)
            self.ms_text[self.ms_len] = 45  # '-'
            self.ms_len += 1
        # '*2\r\n', then '$' id_len '\r\n' id '\r\n', then '*' n_args '\r\n'
        id_len = self.ms_len + num_len(seq)
        head = 5 + num_len(id_len) + id_len
        wire = 4 + head + 3 + num_len(n_args) + n
        log.room(wire + 32)
        log.put_byte(ADD)
        log.put_varint(varint_len(stream.sid) + 1 + wire)
        log.put_varint(stream.sid)
        log.put_byte(FLAG_NEW_NODE if new_node else 0)
        start = log.n
        log.put(b"*2\r\n", 4)
        log.put_head(36, id_len)
        log.put(self.ms_text, self.ms_len)
        log.put_num(seq)
        log.put(b"\r\n", 2)
        log.put_head(42, n_args)
        log.put(args, n)
        self.id_at = start + 4
        self.id_bytes = head
        self.count += 1
        stream.append(log.p + start, wire, ms, seq, new_node)
        self.memtable_bytes += wire + ENTRY_OVERHEAD_BYTES
        return self.touch(stream)

    def put_id_added(self, reply):
        """Write the ID of the entry just added as a bulk string: the same bytes as in the entry."""
        reply.put(self.log.p + self.id_at, self.id_bytes)

    def trim_to(self, stream, pos):
        """Move the low-water mark to ``pos``, a live position or the end."""
        self.body.put_varint(stream.sid)
        self.body.put_varint(pos)
        self.seal(TRIM)
        self.shed_bytes += stream.cold_bytes(stream.mark_pos, pos)
        stream.move_mark(pos)
        return self.touch(stream)

    def deliver(self, stream, group, consumer, start, stop, entries, now_ms, noack):
        """Deliver the ``entries`` live entries of [start, stop) to ``consumer``.

        REQUIRES: entries > 0, all blocks can be read, the group's cursor is below ``start``.
        """
        block: Block
        i: uint32_t
        first: uint32_t
        last: uint32_t
        n: cython.Py_ssize_t = 0
        last_ms: uint64_t = group.last_ms
        last_seq: uint64_t = group.last_seq
        entries_read: int64_t = group.entries_read
        pos: uint64_t = start
        gone: cython.bint = stream.deleted_above_mark > 0
        self.want_ids(entries)
        stream.need_first()
        while pos < stop:
            block = stream.block_at(pos)
            first = cython.cast(uint32_t, pos - block.first_pos)
            last = block.count
            if block.first_pos + last > stop:
                last = cython.cast(uint32_t, stop - block.first_pos)
            for i in range(first, last):
                if gone and stream.is_deleted(block.first_pos + i):
                    continue
                block.id_at(i, self.ids_ms + n, self.ids_seq + n)
                n += 1
            pos = block.first_pos + last
        # the counter Redis keeps, entry by entry; after the first step it can only count on
        for i in range(n):
            if (
                entries_read != -1
                and (
                    last_ms > stream.first_ms
                    or (last_ms == stream.first_ms and last_seq >= stream.first_seq)
                )
                and not stream.has_tombstone_from(last_ms, last_seq)
            ):
                entries_read += 1
            elif stream.entries_added > 0:
                entries_read = stream.estimate_read(self.ids_ms[i], self.ids_seq[i])
            last_ms = self.ids_ms[i]
            last_seq = self.ids_seq[i]
        body: Buf = self.body
        body.put_varint(stream.sid)
        body.put_varint(group.gid)
        body.put_varint(consumer.cidx)
        body.put_varint(now_ms)
        body.put_byte(FLAG_NOACK if noack else 0)
        body.put_varint(entries_read + 1)
        if noack:
            self.ids_ms[0] = last_ms
            self.ids_seq[0] = last_seq
            self.put_ids(body, 1)
        else:
            self.put_ids(body, n)
        self.seal(DELIVER)
        group.set_position(last_ms, last_seq, entries_read)
        group.next_pos = stop
        group.next_known = True
        consumer.seen_ms = now_ms
        if not noack:
            consumer.active_ms = now_ms
            group.pend(self.ids_ms, self.ids_seq, n, consumer, now_ms)
            self.memtable_bytes += ROW_OVERHEAD_BYTES * n
        self.touch(stream)
        return n

    def ack_ids(self, stream, group, n):
        """Acknowledge the first ``n`` IDs of ``ids_ms`` and ``ids_seq``; how many were pending."""
        i: cython.Py_ssize_t
        found: cython.Py_ssize_t = 0
        for i in range(n):
            if group.acknowledge(self.ids_ms[i], self.ids_seq[i]):
                self.ids_ms[found] = self.ids_ms[i]
                self.ids_seq[found] = self.ids_seq[i]
                found += 1
        if found:
            self.body.put_varint(stream.sid)
            self.body.put_varint(group.gid)
            self.put_ids(self.body, found)
            self.seal(ACK)
            self.touch(stream)
        return found

    def claim_rows(self, stream, group, consumer, rows, n, now_ms, active_ms):
        """Put rows under ``consumer`` at their ``delivered_ms``; ``active_ms`` -1: kept."""
        i: cython.Py_ssize_t
        body: Buf = self.body
        self.want_ids(n)
        body.put_varint(stream.sid)
        body.put_varint(group.gid)
        body.put_varint(consumer.cidx)
        body.put_varint(now_ms)
        body.put_varint(cython.cast(uint64_t, active_ms + 1))
        for i in range(n):
            self.ids_ms[i] = rows[i].ms
            self.ids_seq[i] = rows[i].seq
        self.put_ids(body, n)
        for i in range(n):
            body.put_varint(now_ms - rows[i].delivered_ms)
            body.put_varint(rows[i].count)
        self.seal(CLAIM)
        for i in range(n):
            group.give(rows[i].ms, rows[i].seq, consumer, rows[i].delivered_ms, rows[i].count)
        if active_ms >= 0:
            consumer.was_active(active_ms)
        self.memtable_bytes += ROW_OVERHEAD_BYTES * n
        return self.touch(stream)

    def pull_back(self, stream, group, latest_ms):
        """The clock was ahead: what was delivered after ``latest_ms`` was delivered then."""
        self.body.put_varint(stream.sid)
        self.body.put_varint(group.gid)
        self.body.put_varint(latest_ms)
        self.seal(PULL_BACK)
        group.pull_back(latest_ms)
        return self.touch(stream)

    def remember(self, stream, pid, n, iid, ms, seq, added):
        """A producer's new iid is the entry ``ms-seq``; ``added``: which was just added."""
        producers: Producers
        log: Buf = self.log
        p: cython.p_char
        log.room(n + iid.n + 64)
        p = log.p + log.n
        p[0] = IDMP_RECORD
        p = write_varint(
            p + 1,
            varint_len(stream.sid)
            + 1
            + (0 if added else varint_len(ms) + varint_len(seq))
            + varint_len(n)
            + n
            + varint_len(iid.n)
            + iid.n,
        )
        p = write_varint(p, stream.sid)
        p[0] = FLAG_ADDED if added else 0
        p += 1
        if not added:
            p = write_varint(write_varint(p, ms), seq)
        p = write_varint(p, n)
        memcpy(p, pid, n)
        p = write_varint(p + n, iid.n)
        memcpy(p, iid.text, iid.n)
        log.n = p + iid.n - log.p
        self.count += 1
        producers = stream.need_producers()
        self.memtable_bytes += producers.record(pid, n, iid, ms, seq, added)
        if not producers.watched:
            self.keys.watch_producers(stream)
        return self.touch(stream)

    def count_duplicate(self, stream):
        """A producer's iid came again."""
        self.body.put_varint(stream.sid)
        self.seal(IDMP_DUPLICATE)
        stream.producers.count_duplicate()
        return self.touch(stream)

    def sweep_if_due(self, stream, now_ms):
        """Forget the iids that have expired by the latest whole second."""
        limit_ms: uint64_t
        if stream.producers is None or not stream.producers.is_due(now_ms):
            return 0
        limit_ms = stream.producers.expired_upto(now_ms)
        self.body.put_varint(stream.sid)
        self.body.put_varint(limit_ms)
        self.seal(IDMP_SWEEP)
        stream.producers.sweep(limit_ms)
        return self.touch(stream)

    def new_consumer(self, stream, group, name, now_ms):
        """A new consumer of a group."""
        consumer: Consumer
        cidx: uint32_t = group.next_cidx
        self.body.put_varint(stream.sid)
        self.body.put_varint(group.gid)
        self.body.put_varint(cidx)
        self.body.put_varint(now_ms)
        self.put_string(name)
        self.seal(CONSUMER_CREATE)
        consumer = group.add_consumer(cidx, name, now_ms)
        self.touch(stream)
        return consumer

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    def create_stream(self, ns: int, key: bytes) -> Stream:
        """A new, empty stream under a key that is free."""
        stream: Stream
        sid: uint64_t = self.keys.new_sid()
        self.body.put_varint(ns)
        self.body.put_varint(sid)
        self.put_string(key)
        self.seal(KEY_STREAM)
        stream = self.keys.put_stream(ns, key, sid)
        self.touch(stream)
        if self.idmp_duration_s != DEFAULT_DURATION_S or self.idmp_maxsize != DEFAULT_MAXSIZE:
            self.configure_producers(stream, self.idmp_duration_s, self.idmp_maxsize)
        return stream

    def trim(self, stream: Stream, mark_pos: uint64_t) -> None:
        """Move the low-water mark to where ``Stream.plan_trim`` said."""
        if mark_pos > stream.mark_pos:
            self.trim_to(stream, mark_pos)

    def delete(self, stream: Stream, ids: list[tuple[int, int]]) -> int:
        """Delete the live entries among ``ids``; how many there were. Reads their blocks first."""
        positions = {stream.find(ms, seq): (ms, seq) for ms, seq in ids}
        positions.pop(cython.cast(uint64_t, 0xFFFFFFFFFFFFFFFF), None)
        if not positions:
            return 0
        runs: list[tuple[int, int]] = []
        start = end = min(positions)
        for pos in sorted(positions):
            if pos != end:
                runs.append((start, end))
                start = pos
            end = pos + 1
        runs.append((start, end))
        self.delete_runs(stream, runs, max(positions.values()))
        return len(positions)

    def delete_runs(
        self, stream: Stream, runs: list[tuple[int, int]], highest: tuple[int, int]
    ) -> None:
        """Delete the live entries of each [start, end) of ``runs``, which ascend.

        ``highest`` is what max-deleted-entry-id is raised to; (0, 0) leaves it as it is.
        """
        previous: uint64_t = 0
        start: uint64_t
        end: uint64_t
        for value in (stream.sid, highest[0], highest[1], len(runs)):
            self.body.put_varint(value)
        for start, end in runs:
            self.body.put_varint(start - previous)
            self.body.put_varint(end - start)
            previous = end
        self.seal(DELETE)
        for start, end in runs:
            self.shed_bytes += stream.cold_bytes(start, end)
            stream.delete_run(start, end)
        stream.raise_max_deleted(highest[0], highest[1])
        self.touch(stream)

    def forget(
        self,
        stream: Stream,
        first: tuple[int, int],
        last: tuple[int, int],
        kept: list[tuple[int, int]],
    ) -> None:
        """Remove the pending rows of all groups from ``first`` to ``last``, but those ``kept``."""
        group: Group
        for value in (stream.sid, first[0], first[1], last[0], last[1]):
            self.body.put_varint(value)
        self.put_id_list(kept)
        self.seal(FORGET)
        for group in stream.groups.values():
            group.forget(first, last, frozenset(kept))
        self.touch(stream)

    def set_id(
        self,
        stream: Stream,
        last_id: tuple[int, int],
        entries_added: int,
        max_deleted_id: tuple[int, int],
    ) -> None:
        """XSETID, resolved."""
        for value in (
            stream.sid,
            last_id[0],
            last_id[1],
            entries_added,
            max_deleted_id[0],
            max_deleted_id[1],
        ):
            self.body.put_varint(value)
        self.seal(SET_ID)
        stream.set_id(last_id, entries_added, max_deleted_id)
        self.touch(stream)

    def configure_producers(self, stream: Stream, duration_s: int, maxsize: int) -> None:
        """Give a stream its configuration, or another one: then all its iids are forgotten."""
        for value in (stream.sid, duration_s, maxsize):
            self.body.put_varint(value)
        self.seal(IDMP_CONFIG)
        stream.need_producers().configure(duration_s, maxsize)
        self.touch(stream)

    def sweep_producers(self, stream: Stream, now_ms: int) -> None:
        """As ``sweep_if_due``."""
        self.sweep_if_due(stream, now_ms)

    def record_iid(self, stream: Stream, pid: bytes, iid: bytes, ms: int, seq: int) -> None:
        """XIDMPRECORD. REQUIRES: the producer does not know the iid."""
        new: Word = word(PyBytes_AS_STRING(iid), PyBytes_GET_SIZE(iid))
        self.remember(
            stream,
            PyBytes_AS_STRING(pid),
            PyBytes_GET_SIZE(pid),
            cython.address(new),
            ms,
            seq,
            False,
        )

    def count_iids(self, stream: Stream, added: int, duplicates: int) -> None:
        """How many iids were ever added to a stream that comes from elsewhere, and came again."""
        for value in (stream.sid, added, duplicates):
            self.body.put_varint(value)
        self.seal(IDMP_COUNTS)
        stream.need_producers().set_counts(added, duplicates)
        self.touch(stream)

    def create_group(
        self, stream: Stream, name: bytes, last_id: tuple[int, int], entries_read: int
    ) -> Group:
        """A new group. REQUIRES: the name is free."""
        gid = stream.next_gid
        for value in (stream.sid, gid, last_id[0], last_id[1], entries_read + 1):
            self.body.put_varint(value)
        self.put_string(name)
        self.seal(GROUP_CREATE)
        group: Group = stream.add_group(gid, name, last_id, entries_read)
        self.touch(stream)
        return group

    def set_group_id(
        self, stream: Stream, group: Group, last_id: tuple[int, int], entries_read: int
    ) -> None:
        """Move a group's cursor."""
        for value in (stream.sid, group.gid, last_id[0], last_id[1], entries_read + 1):
            self.body.put_varint(value)
        self.seal(GROUP_SET_ID)
        group.set_position(last_id[0], last_id[1], entries_read)
        self.touch(stream)

    def destroy_group(self, stream: Stream, group: Group) -> None:
        """Remove a group with its consumers and pending entries."""
        self.body.put_varint(stream.sid)
        self.body.put_varint(group.gid)
        self.seal(GROUP_DESTROY)
        stream.remove_group(group)
        self.touch(stream)

    def create_consumer(self, stream: Stream, group: Group, name: bytes, now_ms: int) -> Consumer:
        """A new consumer. REQUIRES: the name is free."""
        return self.new_consumer(stream, group, name, now_ms)

    def delete_consumer(self, stream: Stream, group: Group, consumer: Consumer) -> int:
        """Remove a consumer; how many pending entries went with it."""
        self.body.put_varint(stream.sid)
        self.body.put_varint(group.gid)
        self.body.put_varint(consumer.cidx)
        self.seal(CONSUMER_DELETE)
        removed: int = group.drop_consumer(consumer)
        self.touch(stream)
        return removed

    def ack(self, stream: Stream, group: Group, ids: list[tuple[int, int]]) -> int:
        """Remove pending rows; how many there were."""
        i: cython.Py_ssize_t
        self.want_ids(len(ids))
        for i in range(len(ids)):
            self.ids_ms[i] = ids[i][0]
            self.ids_seq[i] = ids[i][1]
        return self.ack_ids(stream, group, len(ids))

    def claim(
        self,
        stream: Stream,
        group: Group,
        consumer: Consumer,
        rows: list[tuple[int, int, int, int]],
        now_ms: int,
        active_ms: int,
    ) -> None:
        """``claim_rows`` for Python callers: rows are (ms, seq, delivered_ms, count)."""
        n: cython.Py_ssize_t = len(rows)
        i: cython.Py_ssize_t
        taken = cython.cast(cython.pointer(Row), malloc((n + 1) * cython.sizeof(Row)))
        if taken == cython.NULL:
            abort()
        for i in range(n):
            taken[i].ms, taken[i].seq, taken[i].delivered_ms, taken[i].count = rows[i]
        self.claim_rows(stream, group, consumer, taken, n, now_ms, active_ms)
        free(taken)

    def release(
        self, stream: Stream, group: Group, rows: list[tuple[tuple[int, int], int]]
    ) -> None:
        """Put rows (ID, count) under nobody, in this order. REQUIRES: there are some."""
        self.body.put_varint(stream.sid)
        self.body.put_varint(group.gid)
        self.put_id_list([id for id, _ in rows])
        for _, count in rows:
            self.body.put_varint(count)
        self.seal(NACK)
        for (ms, seq), count in rows:
            group.release(ms, seq, count)
        self.memtable_bytes += ROW_OVERHEAD_BYTES * len(rows)
        self.touch(stream)

    def set_idle_timeout(self, stream: Stream, group: Group, idle_ms: int) -> None:
        """Deliver again what is pending for so long; 0: never."""
        for value in (stream.sid, group.gid, POLICY_IDLE_TIMEOUT, idle_ms):
            self.body.put_varint(value)
        self.seal(GROUP_POLICY)
        group.set_idle_timeout(idle_ms)
        self.touch(stream)
