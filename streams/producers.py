"""The producers of a stream: which idempotent IDs were added, and as which entries.

Rules:

- A producer (pid) remembers its idempotent IDs (iids) in the order in which they were recorded, at
  most ``maxsize`` of them: the oldest leaves for the newest. That follows from the record that adds
  and needs none of its own.
- An iid expires ``duration_s`` after the milliseconds of its entry's ID, whenever it was recorded.
  Only a sweep takes it; until then a lookup finds it. A sweep looks at each producer from its
  oldest iid on and stops at the first that stays; a producer without iids is gone.
- Sweeps fall on whole seconds of the wall clock, as Redis' run once a second, and they are records
  of the log with their limit resolved. So what is remembered is a function of the log alone:
  replay, flushes and replicas ask no clock, and a clock that is set back brings nothing back.
- The writing methods are the apply half of these records: they check nothing and cannot fail.

Rows, v = varint: number 0 is ``u8 version, v duration_s, v maxsize, v next number, v iids added, v
duplicates``; every other number is one producer (streams/producer.py).

Source: the Redis documentation of XADD and XCFGSET; where it differs from Redis 8.6, Redis.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcmp
from cython.cimports.lsmstore.buf import U64_MAX, read_varint
from xxhash import xxh3_128_digest

from lsmstore.buf import Buf
from streams.producer import ROW_VERSION, Producer

DEFAULT_DURATION_S = 100
DEFAULT_MAXSIZE = 100
COUNTERS = 0
# What an iid and a producer cost in memory beside their texts.
IID_BYTES = cython.declare(cython.Py_ssize_t, 110)
PRODUCER_BYTES = cython.declare(cython.Py_ssize_t, 500)
SECOND_MS = cython.declare(uint64_t, 1000)


@cython.final
@cython.cclass
class Producers:
    """What a stream remembers of idempotent production, and for how long."""

    def __init__(
        self, duration_s: int = DEFAULT_DURATION_S, maxsize: int = DEFAULT_MAXSIZE
    ) -> None:
        self.duration_s = duration_s
        self.maxsize = maxsize
        self.iids_added = 0
        self.iids_duplicates = 0
        self.iids_tracked = 0
        self.watched = False
        self.by_pid = {}
        self.changed = {}
        self.counters_changed = True
        self.next_number = COUNTERS + 1
        self.oldest_ms = U64_MAX
        self.text_bytes = 0
        self.recent = None

    def find(self, pid, n):
        """The producer called ``pid``, or None."""
        found: Producer = self.recent
        if (
            found is not None
            and PyBytes_GET_SIZE(found.pid) == n
            and memcmp(PyBytes_AS_STRING(found.pid), pid, n) == 0
        ):
            return found
        found = self.by_pid.get(pid[:n])
        if found is not None:
            self.recent = found
        return found

    def lookup(self, pid, n, iid):
        """What the producer remembers of the iid; NULL where it does not know it."""
        producer: Producer = self.find(pid, n)
        return cython.NULL if producer is None else producer.find(iid)

    def expired_upto(self, now_ms):
        """In the latest whole second entries up to this time were expired; 0: none were."""
        second_ms: uint64_t = now_ms - now_ms % SECOND_MS
        kept_ms: uint64_t = self.duration_s * SECOND_MS
        return second_ms - kept_ms if second_ms > kept_ms else 0

    def is_due(self, now_ms):
        """Whether a sweep at ``expired_upto(now_ms)`` finds something."""
        producer: Producer
        limit_ms: uint64_t = self.expired_upto(now_ms)
        if self.oldest_ms > limit_ms or self.iids_tracked == 0:
            return False
        self.oldest_ms = U64_MAX  # it is a bound that evictions leave too low
        for producer in self.by_pid.values():
            if producer.at(0).ms < self.oldest_ms:
                self.oldest_ms = producer.at(0).ms
        return self.oldest_ms <= limit_ms

    # ── the apply half of the records ────────────────────────────────────────────────────────────

    def record(self, pid, n, iid, ms, seq, added):
        """Remember that a producer's new iid is the entry ``ms-seq``; ``added``: just now.

        Returns about how many bytes more the next flush writes. REQUIRES: ``lookup`` fails.
        """
        dirty_bytes: cython.Py_ssize_t = iid.n + IID_ROW_BYTES
        producer: Producer = self.find(pid, n)
        if producer is None:
            producer = Producer(self.next_number, pid[:n])
            self.next_number += 1
            self.by_pid[producer.pid] = producer
            self.recent = producer
            self.text_bytes += n
        if not producer.changed:
            producer.changed = True
            self.changed[producer.number] = producer
            dirty_bytes += n + producer.row_bytes()
        while producer.n >= self.maxsize:
            dirty_bytes = 0  # the row does not grow
            self.text_bytes -= producer.at(0).n
            producer.drop_oldest()
            self.iids_tracked -= 1
        producer.add(iid, ms, seq)
        self.text_bytes += iid.n
        self.iids_tracked += 1
        if added:
            self.iids_added += 1
        self.counters_changed = True
        if producer.at(0).ms < self.oldest_ms:  # an eviction may leave an older one first
            self.oldest_ms = producer.at(0).ms
        return dirty_bytes

    def count_duplicate(self):
        """An iid came again."""
        self.iids_duplicates += 1
        self.counters_changed = True

    def sweep(self, limit_ms):
        """Forget iids of entries up to ``limit_ms``, per producer from the oldest one on."""
        producer: Producer
        before: uint32_t
        empty: list = []
        self.oldest_ms = U64_MAX
        for producer in self.by_pid.values():
            before = producer.n
            while producer.n > 0 and producer.at(0).ms <= limit_ms:
                self.text_bytes -= producer.at(0).n
                producer.drop_oldest()
            self.iids_tracked -= before - producer.n
            if producer.n == 0:
                empty.append(producer)
                continue
            if before != producer.n and not producer.changed:
                producer.changed = True
                self.changed[producer.number] = producer
            if producer.at(0).ms < self.oldest_ms:
                self.oldest_ms = producer.at(0).ms
        for producer in empty:
            del self.by_pid[producer.pid]
            self.text_bytes -= PyBytes_GET_SIZE(producer.pid)
            self.changed[producer.number] = None
            if self.recent is producer:
                self.recent = None
        return 0

    def configure(self, duration_s: int, maxsize: int) -> None:
        """XCFGSET with at least one new value: all that was remembered is forgotten."""
        producer: Producer
        self.duration_s = duration_s
        self.maxsize = maxsize
        self.counters_changed = True
        for producer in self.by_pid.values():
            self.changed[producer.number] = None
        self.by_pid = {}
        self.recent = None
        self.iids_tracked = 0
        self.text_bytes = 0
        self.oldest_ms = U64_MAX

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    def next_sweep_ms(self) -> int | None:
        """The whole second of the next sweep that may find something; None: there is nothing."""
        if self.iids_tracked == 0:
            return None
        oldest_ms: int = self.oldest_ms  # a Python integer: the sum may need more than 64 bits
        return -(-(oldest_ms + 1000 * self.duration_s) // 1000) * 1000

    def sweep_is_due(self, now_ms: uint64_t) -> bool:
        """Whether something has expired that no sweep took yet."""
        return self.is_due(now_ms)

    def tracked(self, now_ms: uint64_t) -> tuple[int, int]:
        """How many producers and iids would be left by a sweep at ``now_ms``."""
        producer: Producer
        i: uint32_t
        pids: uint64_t = 0
        iids: uint64_t = 0
        limit_ms: uint64_t = self.expired_upto(now_ms)
        if not self.is_due(now_ms):
            return len(self.by_pid), self.iids_tracked
        for producer in self.by_pid.values():
            i = 0
            while i < producer.n and producer.at(i).ms <= limit_ms:
                i += 1
            iids += producer.n - i
            pids += i < producer.n
        return pids, iids

    def id_of(self, pid: bytes, iid: bytes) -> tuple[int, int] | None:
        """The ID of the entry that a producer's iid became; None where it is not known."""
        wanted: Word = word(PyBytes_AS_STRING(iid), PyBytes_GET_SIZE(iid))
        found: cython.pointer(Iid) = self.lookup(
            PyBytes_AS_STRING(pid), PyBytes_GET_SIZE(pid), cython.address(wanted)
        )
        return None if found == cython.NULL else (found.ms, found.seq)

    def content(self) -> dict[bytes, list[tuple[bytes, int, int]]]:
        """(iid, ms, seq) of every producer, oldest first."""
        return {producer.pid: producer.entries() for producer in self.by_pid.values()}

    def all_rows(self) -> list[tuple[int, bytes]]:
        """Every row, by number."""
        return [
            (COUNTERS, self._dump_counters()),
            *[(producer.number, producer.dump()) for producer in self.by_pid.values()],
        ]

    def take_rows(self) -> list[tuple[int, bytes | None]]:
        """Rows that have changed, by number; None for those to be deleted."""
        producer: Producer
        rows: list = []
        if self.counters_changed:
            rows.append((COUNTERS, self._dump_counters()))
            self.counters_changed = False
        for number, producer in self.changed.items():
            if producer is None:
                rows.append((number, None))
            else:
                producer.changed = False
                rows.append((number, producer.dump()))
        self.changed = {}
        return rows

    def redo_rows(self, numbers: list[int]) -> None:
        """These rows were taken, but they did not get anywhere."""
        producer: Producer
        known: dict = {producer.number: producer for producer in self.by_pid.values()}
        for number in numbers:
            if number == COUNTERS:
                self.counters_changed = True
                continue
            producer = known.get(number)
            if producer is not None:
                producer.changed = True
            self.changed[number] = producer

    def copied(self) -> Producers:
        """Those of another stream in the same state; nothing of it is stored yet."""
        copy: Producers = Producers()
        rows = self.all_rows()
        for number, row in rows:
            copy.load_row(number, row)
        copy.redo_rows([number for number, _ in rows])
        return copy

    def load_row(self, number: int, row: bytes) -> None:
        """Take one row of a stream that was just loaded. Raises ValueError for damage."""
        producer: Producer
        reader = RowReader(row)
        if number == COUNTERS:
            self.duration_s = reader.number()
            self.maxsize = reader.number()
            self.next_number = reader.number()
            self.iids_added = reader.number()
            self.iids_duplicates = reader.number()
            self.counters_changed = False
            return
        text: bytes
        iid: Word
        producer = Producer(number, reader.text())
        for _ in range(reader.number()):
            ms = reader.number()
            seq = reader.number()
            text = reader.text()
            iid = word(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            producer.add(cython.address(iid), ms, seq)
            self.oldest_ms = min(self.oldest_ms, ms)
        self.by_pid[producer.pid] = producer
        self.iids_tracked += producer.n
        self.text_bytes += PyBytes_GET_SIZE(producer.pid) + producer.text_bytes

    def _dump_counters(self) -> bytes:
        row: Buf = Buf(32)
        row.put_byte(ROW_VERSION)
        for value in (
            self.duration_s,
            self.maxsize,
            self.next_number,
            self.iids_added,
            self.iids_duplicates,
        ):
            row.put_varint(value)
        return row.copy()

    @property
    def memory_bytes(self) -> int:
        """What all of it costs in memory."""
        return (
            PRODUCER_BYTES * (1 + len(self.by_pid))
            + IID_BYTES * self.iids_tracked
            + self.text_bytes
        )

    def check(self) -> None:
        """Assert every invariant."""
        producer: Producer
        texts = 0
        iids = 0
        for pid, producer in self.by_pid.items():
            producer.check()
            assert producer.pid == pid and 0 < producer.n <= self.maxsize
            assert producer.number < self.next_number
            assert producer.at(0).ms >= self.oldest_ms
            assert not producer.changed or self.changed[producer.number] is producer
            texts += len(pid) + producer.text_bytes
            iids += producer.n
        assert texts == self.text_bytes and iids == self.iids_tracked


@cython.final
@cython.cclass
class RowReader:
    """Reads a row from its front."""

    def __init__(self, row: bytes) -> None:
        if row[:1] != bytes([ROW_VERSION]):
            raise ValueError("unknown producer row")
        self.row = row
        self.at = 1

    def number(self) -> int:
        """The next varint."""
        value: uint64_t = 0
        start: cython.p_const_char = PyBytes_AS_STRING(self.row)
        p: cython.p_const_char = read_varint(
            start + self.at, start + PyBytes_GET_SIZE(self.row), cython.address(value)
        )
        if p == cython.NULL:
            raise ValueError("a producer row is cut short")
        self.at = p - start
        return value

    def text(self) -> bytes:
        """The next text."""
        n = self.number()
        found = self.row[self.at : self.at + n]
        if len(found) != n:
            raise ValueError("a producer row is cut short")
        self.at += n
        return found


def content_iid(texts, lengths, n):
    """The iid that IDMPAUTO gives an entry, whatever the order of its fields.

    Fields and values, ``n`` together, stand at ``texts``. Each pair is hashed as field, length of
    the field in 8 bytes, value; of the hashes the low halves are added, the high halves xored.
    """
    i: cython.Py_ssize_t
    byte: cython.Py_ssize_t
    low: uint64_t
    high: uint64_t
    length: uint64_t
    halves: uint64_t[2]
    digest: bytes
    pair: Buf = Buf(128)
    halves[0] = 0
    halves[1] = 0
    for i in range(0, n, 2):
        length = lengths[i]
        pair.n = 0
        pair.put(texts[i], lengths[i])
        pair.put(cython.cast(cython.p_const_char, cython.address(length)), 8)
        pair.put(texts[i + 1], lengths[i + 1])
        digest = xxh3_128_digest(pair.p[: pair.n])  # big-endian, high half first
        low = 0
        high = 0
        for byte in range(8):
            high = high << 8 | cython.cast(uint8_t, digest[byte])
            low = low << 8 | cython.cast(uint8_t, digest[8 + byte])
        halves[0] += low
        halves[1] ^= high
    return cython.cast(cython.p_char, halves)[:16]
