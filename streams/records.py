"""The form of the log's records, and writing them.

Rules: a record's LSN is ``base_lsn`` plus its number; a touched stream remembers it as
``applied_lsn``. What is in ``log`` was not committed yet. The kinds' numbers are in the ``.pxd``.

Grammar (v = varint, str = v length + bytes, id = v ms + v seq)::

    record          := u8 kind, v body length, body
    ADD             := v sid, u8 flags (1: starts a virtual node), entry in wire form
    TRIM            := v sid, v mark position
    DELETE          := v sid, id highest, v n, n * run
    SET_ID          := v sid, id last, v entries added, id max deleted
    GROUP_CREATE    := v sid, v gid, id last, v entries read + 1, str name
    GROUP_SET_ID    := v sid, v gid, id last, v entries read + 1
    GROUP_DESTROY   := v sid, v gid
    CONSUMER_CREATE := v sid, v gid, v cidx, v seen ms, str name
    CONSUMER_DELETE := v sid, v gid, v cidx
    DELIVER         := v sid, v gid, v cidx, v now ms, u8 flags (1: NOACK), v entries read + 1, ids
    ACK             := v sid, v gid, ids
    CLAIM           := v sid, v gid, v cidx, v now ms, v active ms + 1, ids, n * age
    NACK            := v sid, v gid, ids, n * v count
    PULL_BACK       := v sid, v gid, v latest delivery ms
    GROUP_POLICY    := v sid, v gid, v POLICY_..., v value (0: none)
    FORGET          := v sid, id first, id last, ids kept
    IDMP_CONFIG     := v sid, v duration s, v maxsize
    IDMP_RECORD     := v sid, u8 flags (1: the ID is the last one), [id], str pid, str iid
    IDMP_DUPLICATE  := v sid
    IDMP_SWEEP      := v sid, v ms (of the IDs up to which iids have expired)
    IDMP_COUNTS     := v sid, v iids ever added, v duplicates
    KEY_STREAM      := v namespace, v sid, str key
    KEY_STRING      := v namespace, str key, v expires ms (0: never), str value
    KEY_DELETE      := v namespace, str key
    NAMESPACE       := v database, v namespace
    KEY_PATCH       := v namespace, str key, v offset, str bytes
    KEY_EXPIRE      := v namespace, str key, v expires ms (0: never)
    KEY_MOVE        := v namespace, str key, v namespace to, str key to
    SWAP            := v database, v database
    KEY_COPY        := v namespace, v sid, str key, v expires ms (0: never), v sid copied from
    KEY_EXPIRED     := v namespace, str key
    ids             := v n, id first, (n - 1) * step
    step            := zigzag v of the ms step, then v seq (after a step of 0: zigzag v of its step)
    run             := v start less the end of the one before, v length
    age             := v now ms less delivered ms, v count
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, realloc

from lsmstore.buf import Buf
from streams.stream import Stream

DIRTY_STREAM_BYTES = cython.declare(cython.longlong, 3600)


@cython.cclass
class RecordWriter:
    """The records of a batch."""

    def __cinit__(self) -> None:
        self.ids_ms = cython.NULL
        self.ids_seq = cython.NULL
        self.ids_cap = 0

    def __init__(self) -> None:
        self.log = Buf(65536)
        self.body = Buf(1024)
        self.count = 0
        self.base_lsn = 0
        self.dirty = []
        self.memtable_bytes = 0

    def __dealloc__(self) -> None:
        free(self.ids_ms)
        free(self.ids_seq)

    def seal(self, kind):
        """Frame what is in ``body`` as one record."""
        self.log.put_byte(kind)
        self.log.put_varint(self.body.n)
        self.log.put(self.body.p, self.body.n)
        self.body.n = 0
        self.count += 1

    def touch(self, stream):
        """The record just written changed this stream."""
        stream.applied_lsn = self.base_lsn + self.count
        if not stream.dirty:
            stream.dirty = True
            self.dirty.append(stream)
            self.memtable_bytes += DIRTY_STREAM_BYTES
        return 0

    def want_ids(self, n):
        """Make room for ``n`` IDs in ``ids_ms`` and ``ids_seq``."""
        if n > self.ids_cap:
            self.ids_cap = n * 2
            self.ids_ms = cython.cast(
                cython.pointer(uint64_t), realloc(self.ids_ms, 8 * self.ids_cap)
            )
            self.ids_seq = cython.cast(
                cython.pointer(uint64_t), realloc(self.ids_seq, 8 * self.ids_cap)
            )
            if self.ids_ms == cython.NULL or self.ids_seq == cython.NULL:
                abort()

    def put_ids(self, to, n):
        """Encode the first ``n`` IDs of ``ids_ms`` and ``ids_seq``."""
        i: cython.Py_ssize_t
        step: int64_t
        to.put_varint(n)
        if n == 0:
            return
        to.put_varint(self.ids_ms[0])
        to.put_varint(self.ids_seq[0])
        for i in range(1, n):
            step = cython.cast(int64_t, self.ids_ms[i] - self.ids_ms[i - 1])
            to.put_varint((cython.cast(uint64_t, step) << 1) ^ cython.cast(uint64_t, step >> 63))
            if step != 0:
                to.put_varint(self.ids_seq[i])
            else:
                step = cython.cast(int64_t, self.ids_seq[i] - self.ids_seq[i - 1])
                to.put_varint(
                    (cython.cast(uint64_t, step) << 1) ^ cython.cast(uint64_t, step >> 63)
                )

    # From Python

    @property
    def next_lsn(self) -> int:
        """The LSN of the next record."""
        return cython.cast(uint64_t, self.base_lsn + self.count + 1)

    def committed(self) -> None:
        """The log was handed to the store: start the next one."""
        self.base_lsn += self.count
        self.count = 0
        self.log.clear()

    def committed_until(self, end: int, count: int) -> None:
        """The first ``count`` records, ``end`` bytes, were handed to the store; others follow."""
        self.base_lsn += cython.cast(uint64_t, count)
        self.count -= cython.cast(uint32_t, count)
        self.log.drop_front(end)

    def take_dirty(self) -> list[Stream]:
        """The streams changed since the last call; the caller flushes them."""
        taken = self.dirty
        self.dirty = []
        return taken

    def put_string(self, data: bytes) -> None:
        """Append a string to the record's body."""
        self.body.put_varint(len(data))
        self.body.put_bytes(data)

    def put_id_list(self, ids: list[tuple[int, int]]) -> None:
        """Append IDs to the record's body."""
        i: cython.Py_ssize_t
        self.want_ids(len(ids))
        for i in range(len(ids)):
            self.ids_ms[i] = ids[i][0]
            self.ids_seq[i] = ids[i][1]
        self.put_ids(self.body, len(ids))
