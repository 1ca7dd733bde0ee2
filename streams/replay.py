"""Applies log records (grammar: streams/records.py): recovery now, replicas later.

Rules: a record is applied exactly as the journal applied it when it was written. A stream's records
up to the ``applied_lsn`` of its header row are already in its rows and are passed over. A record
that does not fit the state it meets is damage and is named with its LSN: nothing is guessed.
"""

from __future__ import annotations

from typing import Protocol

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc
from cython.cimports.lsmstore.block import read_entry_id
from cython.cimports.lsmstore.buf import read_varint
from cython.cimports.streams.records import (
    ACK,
    ADD,
    CLAIM,
    CONSUMER_CREATE,
    CONSUMER_DELETE,
    DELETE,
    DELIVER,
    FLAG_ADDED,
    FLAG_NEW_NODE,
    FLAG_NOACK,
    FORGET,
    GROUP_CREATE,
    GROUP_DESTROY,
    GROUP_POLICY,
    GROUP_SET_ID,
    IDMP_CONFIG,
    IDMP_DUPLICATE,
    IDMP_RECORD,
    IDMP_SWEEP,
    KEY_COPY,
    KEY_DELETE,
    KEY_EXPIRE,
    KEY_EXPIRED,
    KEY_MOVE,
    KEY_PATCH,
    KEY_STREAM,
    KEY_STRING,
    NACK,
    NAMESPACE,
    PULL_BACK,
    SET_ID,
    SWAP,
    TRIM,
)

from streams.group import POLICY_IDLE_TIMEOUT, Consumer, Group
from streams.producers import Producers
from streams.stream import Stream


class RecordError(Exception):
    """A record that does not fit the state it meets."""


class ReplayKeys(Protocol):
    """Where records find their streams (streams/keyspace.py)."""

    keys_lsn: int

    def stream_by_sid(self, sid: int) -> Stream | None:
        """The stream with this id, loaded if need be."""

    def mark_dirty(self, stream: Stream) -> None:
        """The stream has records that its rows do not have."""

    def watch_producers(self, stream: Stream) -> None:
        """As in the journal."""

    def note_sid(self, sid: int) -> None:
        """This stream id is taken."""

    def put_stream(self, ns: int, key: bytes, sid: int) -> Stream:
        """As in the journal."""

    def put_string(self, ns: int, key: bytes, value: bytes, expires_ms: int) -> None:
        """As in streams/keyrecords.py."""

    def patch_string(self, ns: int, key: bytes, offset: int, data: bytes) -> int:
        """As there."""

    def expire(self, ns: int, key: bytes, expires_ms: int) -> None:
        """As there."""

    def remove(self, ns: int, key: bytes) -> None:
        """As there."""

    def move_key(self, ns: int, key: bytes, to_ns: int, to_key: bytes) -> None:
        """As there."""

    def move_database(self, db: int, ns: int) -> None:
        """As there."""

    def swap_databases(self, one: int, other: int) -> None:
        """As there."""

    def copy_stream(
        self, ns: int, key: bytes, sid: int, source: Stream, expires_ms: int
    ) -> tuple[Stream, int]:
        """As there."""


@cython.final
@cython.cclass
class Replay:
    """Applies the payloads of log frames in order."""

    def __cinit__(self) -> None:
        self.ids_ms = cython.NULL
        self.ids_seq = cython.NULL
        self.ids_cap = 0

    def __init__(self, keys: ReplayKeys) -> None:
        self.keys = keys
        self.lsn = 0
        self.skipped = 0
        self.recent_sid = 0
        self.recent = None

    def __dealloc__(self) -> None:
        free(self.ids_ms)
        free(self.ids_seq)

    def apply(self, first_lsn: int, payload: bytes) -> int:
        """Apply all records of a frame; how many there were. Raises RecordError."""
        n: int = 0
        kind: uint8_t
        length: uint64_t
        p: cython.p_const_char = PyBytes_AS_STRING(payload)
        stop: cython.p_const_char = p + PyBytes_GET_SIZE(payload)
        self.lsn = first_lsn
        while p < stop:
            kind = cython.cast(uint8_t, p[0])
            self.p = p + 1
            self.end = stop
            length = self.number()
            if length > cython.cast(uint64_t, stop - self.p):
                raise RecordError(f"record {self.lsn} is cut short")
            p = self.p + length
            self.end = p
            self.record(kind)
            if self.p != p:
                raise RecordError(f"record {self.lsn} of kind {kind} has the wrong length")
            self.lsn += 1
            n += 1
        return n

    # ── decoding ─────────────────────────────────────────────────────────────────────────────────

    def number(self):
        """The next varint."""
        value: uint64_t = 0
        p: cython.p_const_char = read_varint(self.p, self.end, cython.address(value))
        if p == cython.NULL:
            raise RecordError(f"record {self.lsn} is cut short")
        self.p = p
        return value

    def string(self):
        """The next string."""
        n: uint64_t = self.number()
        if n > cython.cast(uint64_t, self.end - self.p):
            raise RecordError(f"record {self.lsn} is cut short")
        out: bytes = self.p[:n]
        self.p += n
        return out

    def id_list(self):
        """The next list of IDs, into ``ids_ms`` and ``ids_seq``; how many."""
        n: uint64_t = self.number()
        i: uint64_t
        step: uint64_t
        if n > cython.cast(uint64_t, self.end - self.p):
            raise RecordError(f"record {self.lsn} is cut short")
        if n > cython.cast(uint64_t, self.ids_cap):
            self.ids_cap = n * 2
            self.ids_ms = cython.cast(
                cython.pointer(uint64_t), realloc(self.ids_ms, 8 * self.ids_cap)
            )
            self.ids_seq = cython.cast(
                cython.pointer(uint64_t), realloc(self.ids_seq, 8 * self.ids_cap)
            )
            if self.ids_ms == cython.NULL or self.ids_seq == cython.NULL:
                abort()
        for i in range(n):
            if i == 0:
                self.ids_ms[0] = self.number()
                self.ids_seq[0] = self.number()
                continue
            step = self.number()
            self.ids_ms[i] = self.ids_ms[i - 1] + ((step >> 1) ^ (0 - (step & 1)))
            if step != 0:
                self.ids_seq[i] = self.number()
            else:
                step = self.number()
                self.ids_seq[i] = self.ids_seq[i - 1] + ((step >> 1) ^ (0 - (step & 1)))
        return n

    def stream(self):
        """The stream that the record names."""
        sid: uint64_t = self.number()
        found: Stream = self.recent
        if found is None or sid != self.recent_sid:
            found = self.keys.stream_by_sid(sid)
            if found is None:
                raise RecordError(f"record {self.lsn} names stream {sid}, which does not exist")
            self.recent = found
            self.recent_sid = sid
        return found

    def group(self, stream):
        """The group that the record names."""
        gid: uint64_t = self.number()
        group: Group
        for group in stream.groups.values():
            if group.gid == gid:
                return group
        raise RecordError(f"record {self.lsn} names group {gid}, which does not exist")

    def consumer(self, group):
        """The consumer that the record names."""
        cidx: uint64_t = self.number()
        found: Consumer = group.by_index.get(cidx)
        if found is None:
            raise RecordError(f"record {self.lsn} names consumer {cidx}, which does not exist")
        return found

    # ── applying ─────────────────────────────────────────────────────────────────────────────────

    def record(self, kind):
        """Apply one record."""
        stream: Stream
        if KEY_STREAM <= kind <= KEY_EXPIRED:
            self.key_record(kind)
            return 0
        stream = self.stream()
        if self.lsn <= stream.applied_lsn:
            self.skipped += 1
            self.p = self.end
            return 0
        self.stream_record(kind, stream)
        stream.applied_lsn = self.lsn
        if not stream.dirty:
            stream.dirty = True
            self.keys.mark_dirty(stream)
        return 0

    def key_record(self, kind: uint8_t) -> None:
        """Apply a record of the key directory."""
        ns = self.number()
        self.recent = None
        if self.lsn <= self.keys.keys_lsn:
            if kind == KEY_STREAM or kind == KEY_COPY:
                self.keys.note_sid(self.number())
            self.skipped += 1
            self.p = self.end
        elif kind == KEY_STREAM:
            sid = self.number()
            self.keys.note_sid(sid)
            stream = self.keys.put_stream(ns, self.string(), sid)
            stream.applied_lsn = self.lsn
            stream.dirty = True
            self.keys.mark_dirty(stream)
        elif kind == KEY_STRING:
            key = self.string()
            expires_ms = self.number()
            self.keys.put_string(ns, key, self.string(), expires_ms)
        elif kind == KEY_DELETE or kind == KEY_EXPIRED:
            self.keys.remove(ns, self.string())
        elif kind == NAMESPACE:
            self.keys.move_database(ns, self.number())
        elif kind == KEY_PATCH:
            key = self.string()
            offset = self.number()
            self.keys.patch_string(ns, key, offset, self.string())
        elif kind == KEY_EXPIRE:
            key = self.string()
            self.keys.expire(ns, key, self.number())
        elif kind == KEY_MOVE:
            key = self.string()
            to_ns = self.number()
            self.keys.move_key(ns, key, to_ns, self.string())
        elif kind == KEY_COPY:
            self.copy_record(ns)
        elif kind == SWAP:
            self.keys.swap_databases(ns, self.number())
        else:
            raise RecordError(f"record {self.lsn} has the unknown kind {kind}")

    def copy_record(self, ns: int) -> None:
        """Apply a KEY_COPY record from the sid on."""
        source: Stream
        copy: Stream
        sid = self.number()
        key = self.string()
        expires_ms = self.number()
        self.keys.note_sid(sid)
        source = self.stream()
        if source.applied_lsn >= self.lsn:
            raise RecordError(f"record {self.lsn} copies stream {source.sid}, which has gone on")
        copy, _ = self.keys.copy_stream(ns, key, sid, source, expires_ms)
        for stream in (source, copy):
            stream.applied_lsn = self.lsn
            if not stream.dirty:
                stream.dirty = True
                self.keys.mark_dirty(stream)

    def stream_record(self, kind, stream):
        """Apply a record of one stream."""
        group: Group
        ms: uint64_t = 0
        seq: uint64_t = 0
        n: cython.Py_ssize_t
        i: cython.Py_ssize_t
        pos: uint64_t
        start: uint64_t
        flags: uint8_t
        entries_read: int64_t
        if kind == ADD:
            flags = cython.cast(uint8_t, self.p[0])
            self.p += 1
            read_entry_id(self.p, cython.address(ms), cython.address(seq))
            stream.append(self.p, self.end - self.p, ms, seq, flags & FLAG_NEW_NODE)
            self.p = self.end
        elif kind == TRIM:
            stream.move_mark(self.number())
        elif kind == DELETE:
            ms = self.number()
            seq = self.number()
            n = self.number()
            pos = 0
            for i in range(n):
                start = pos + self.number()
                pos = start + self.number()
                stream.delete_run(start, pos)
            stream.raise_max_deleted(ms, seq)
        elif kind == SET_ID:
            last_id = (self.number(), self.number())
            added = self.number()
            stream.set_id(last_id, added, (self.number(), self.number()))
        elif kind == FORGET:
            first = (self.number(), self.number())
            last = (self.number(), self.number())
            n = self.id_list()
            kept = frozenset([(self.ids_ms[i], self.ids_seq[i]) for i in range(n)])
            for group in stream.groups.values():
                group.forget(first, last, kept)
        elif kind == GROUP_CREATE:
            gid = self.number()
            last_id = (self.number(), self.number())
            entries_read = cython.cast(int64_t, self.number()) - 1
            stream.add_group(gid, self.string(), last_id, entries_read)
        elif kind == GROUP_DESTROY:
            stream.remove_group(self.group(stream))
        elif kind >= IDMP_CONFIG:
            self.producer_record(kind, stream)
        else:
            self.group_record(kind, self.group(stream))
        return 0

    def group_record(self, kind, group):
        """Apply a record of one group, from behind its number on."""
        consumer: Consumer
        ms: uint64_t
        seq: uint64_t
        n: cython.Py_ssize_t
        i: cython.Py_ssize_t
        policy: uint64_t
        now_ms: uint64_t
        flags: uint8_t
        entries_read: int64_t
        if kind == DELIVER:
            consumer = self.consumer(group)
            now_ms = self.number()
            flags = cython.cast(uint8_t, self.p[0])
            self.p += 1
            entries_read = cython.cast(int64_t, self.number()) - 1
            n = self.id_list()
            group.set_position(self.ids_ms[n - 1], self.ids_seq[n - 1], entries_read)
            consumer.seen_ms = now_ms
            if not flags & FLAG_NOACK:
                consumer.active_ms = now_ms
                group.pend(self.ids_ms, self.ids_seq, n, consumer, now_ms)
        elif kind == ACK:
            n = self.id_list()
            for i in range(n):
                group.acknowledge(self.ids_ms[i], self.ids_seq[i])
        elif kind == CLAIM:
            self.claim(group)
        elif kind == NACK:
            n = self.id_list()
            for i in range(n):
                group.release(self.ids_ms[i], self.ids_seq[i], self.number())
        elif kind == PULL_BACK:
            group.pull_back(self.number())
        elif kind == GROUP_POLICY:
            policy = self.number()
            if policy != POLICY_IDLE_TIMEOUT:
                raise RecordError(f"record {self.lsn} has the unknown group policy {policy}")
            group.set_idle_timeout(cython.cast(int64_t, self.number()))
        elif kind == GROUP_SET_ID:
            ms = self.number()
            seq = self.number()
            group.set_position(ms, seq, cython.cast(int64_t, self.number()) - 1)
        elif kind == CONSUMER_CREATE:
            cidx = self.number()
            now_ms = self.number()
            group.add_consumer(cidx, self.string(), now_ms)
        elif kind == CONSUMER_DELETE:
            group.drop_consumer(self.consumer(group))
        else:
            raise RecordError(f"record {self.lsn} has the unknown kind {kind}")
        return 0

    def producer_record(self, kind, stream):
        """Apply a record about producers."""
        pid: bytes
        text: bytes
        iid: Word
        ms: uint64_t
        seq: uint64_t
        flags: uint8_t
        producers: Producers = stream.need_producers()
        if kind == IDMP_RECORD:
            flags = cython.cast(uint8_t, self.p[0])
            self.p += 1
            ms = stream.last_ms if flags & FLAG_ADDED else self.number()
            seq = stream.last_seq if flags & FLAG_ADDED else self.number()
            pid = self.string()
            text = self.string()
            iid = word(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            producers.record(
                PyBytes_AS_STRING(pid),
                PyBytes_GET_SIZE(pid),
                cython.address(iid),
                ms,
                seq,
                flags & FLAG_ADDED,
            )
            if not producers.watched:
                self.keys.watch_producers(stream)
        elif kind == IDMP_DUPLICATE:
            producers.count_duplicate()
        elif kind == IDMP_SWEEP:
            producers.sweep(self.number())
        elif kind == IDMP_CONFIG:
            duration_s = self.number()
            producers.configure(duration_s, self.number())
        else:
            raise RecordError(f"record {self.lsn} has the unknown kind {kind}")
        return 0

    def claim(self, group):
        """Apply a CLAIM record from the consumer on."""
        consumer: Consumer = self.consumer(group)
        now_ms: uint64_t = self.number()
        active: uint64_t = self.number()
        n: cython.Py_ssize_t = self.id_list()
        i: cython.Py_ssize_t
        delivered_ms: uint64_t
        for i in range(n):
            delivered_ms = now_ms - self.number()
            group.give(self.ids_ms[i], self.ids_seq[i], consumer, delivered_ms, self.number())
        if active > 0:
            consumer.was_active(active - 1)
        return 0
