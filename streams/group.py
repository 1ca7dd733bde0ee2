"""A consumer group: its cursor, its consumers, what is pending, its policy.

Rules: the methods that change something are the apply half of the log's records; they check
nothing. A consumer is known in pending rows by its index, which is never used again within the
group; index 0 means no owner: the entry was released by XNACK. ``next_pos`` is the position of the
first entry after the cursor, kept while it is known so that a read of new entries needs no search.

Group row, little-endian: ``u8 version, u64 last ms, u64 last seq, i64 entries_read, u32 next_cidx,
u32 n, u64 pending entries`` (a chunk that is missing is seen), the
group's name as ``u32 length, bytes``, then n times ``u32 cidx, i64 seen_ms, i64
active_ms, u32 length, name``, then for each policy that is set ``u8 POLICY_..., i64 value``.
"""

from __future__ import annotations

import struct

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t
from cython.cimports.libc.string import memcmp

from streams import ids
from streams.pending import PendingList

GROUP_VERSION = 2
FORGOTTEN_PAGE_ROWS = 256
GROUP_HEAD = struct.Struct("<BQQqIIQ")
CONSUMER_HEAD = struct.Struct("<IqqI")
POLICY = struct.Struct("<Bq")
POLICY_IDLE_TIMEOUT = 1
"""Milliseconds after which a pending entry is delivered again."""


@cython.final
@cython.cclass
class Consumer:
    """One consumer of a group. ``active_ms`` is -1 until something was delivered to it."""

    def __init__(self, cidx: int, name: bytes, seen_ms: int, active_ms: int = -1) -> None:
        self.cidx = cidx
        self.name = name
        self.seen_ms = seen_ms
        self.active_ms = active_ms
        self.pending_count = 0

    def was_active(self, now_ms: int64_t) -> None:
        """Something was delivered to the consumer. Its last attempt cannot be older than that."""
        self.active_ms = now_ms
        if self.seen_ms < now_ms:
            self.seen_ms = now_ms


@cython.final
@cython.cclass
class Group:
    """One consumer group of a stream."""

    def __init__(self, gid: int, name: bytes) -> None:
        self.gid = gid
        self.name = name
        self.entries_read = -1
        self.consumers = {}
        self.by_index = {}
        self.next_cidx = 1
        self.pending = PendingList()
        self.next_known = False
        self.dirty = True
        self.recent = None
        self.idle_timeout_ms = 0
        self.unwatched = False

    def find_consumer(self, name, n):
        """The consumer called ``name``, or None."""
        found: Consumer = self.recent
        if (
            found is not None
            and PyBytes_GET_SIZE(found.name) == n
            and memcmp(PyBytes_AS_STRING(found.name), name, n) == 0
        ):
            return found
        found = self.consumers.get(name[:n])
        if found is not None:
            self.recent = found
        return found

    def set_position(self, ms, seq, entries_read):
        """Move the cursor. ``entries_read`` is -1 where it is unknown."""
        self.last_ms = ms
        self.last_seq = seq
        self.entries_read = entries_read
        self.next_known = False
        self.dirty = True

    def pend(self, ms, seq, n, consumer, now_ms):
        """``n`` ascending IDs were delivered to ``consumer`` for the first time, or again from the
        start.
        """
        i: cython.Py_ssize_t
        if self.pending.is_above(ms[0], seq[0]):
            self.pending.append_run(ms, seq, n, consumer.cidx, now_ms)
            consumer.pending_count += n
        else:
            for i in range(n):
                self.give(ms[i], seq[i], consumer, now_ms, 1)
        self.dirty = True
        return 0

    def give(self, ms, seq, consumer, delivered_ms, count):
        """Put one pending row under ``consumer``, whoever had it."""
        former: int64_t = self.pending.put(ms, seq, consumer.cidx, delivered_ms, count)
        if former > 0:
            self.lose_one(former - 1)
        consumer.pending_count += 1
        self.dirty = True
        return 0

    def release(self, ms, seq, count):
        """Put one pending row under nobody, whoever had it, behind those released before."""
        former: int64_t = self.pending.release(ms, seq, count)
        if former > 0:
            self.lose_one(former - 1)
        self.dirty = True
        return 0

    def lose_one(self, cidx):
        """A pending row is no longer this consumer's."""
        owner: Consumer = self.recent
        if owner is None or owner.cidx != cidx:
            owner = self.by_index.get(cidx)
        if owner is not None:
            owner.pending_count -= 1
        return 0

    def acknowledge(self, ms, seq):
        """Remove a pending row; whether there was one."""
        former: int64_t = self.pending.remove(ms, seq)
        if former < 0:
            return False
        self.lose_one(former)
        self.dirty = True
        return True

    def pull_back(self, latest_ms):
        """The clock was ahead: what was delivered after ``latest_ms`` was delivered then."""
        self.pending.pull_back_to(latest_ms)
        self.dirty = True
        return 0

    def set_idle_timeout(self, idle_ms):
        """Deliver again what is pending for so long; 0: never."""
        self.idle_timeout_ms = idle_ms
        self.dirty = True

    def forget(
        self, first: tuple[int, int], last: tuple[int, int], kept: frozenset[tuple[int, int]]
    ) -> None:
        """Remove the pending rows from ``first`` to ``last``, but those ``kept``."""
        start: tuple[int, int] | None = first
        while start is not None:
            page = self.pending.rows(start, last, FORGOTTEN_PAGE_ROWS)
            for ms, seq, _, _, _ in page:
                if (ms, seq) not in kept:
                    self.acknowledge(ms, seq)
            full = len(page) == FORGOTTEN_PAGE_ROWS
            start = ids.successor(page[len(page) - 1][:2]) if full else None

    def add_consumer(self, cidx, name, seen_ms):
        """A new consumer. REQUIRES: neither the name nor the index is in use."""
        consumer = Consumer(cidx, name, seen_ms)
        self.consumers[name] = consumer
        self.by_index[cidx] = consumer
        if cidx >= self.next_cidx:
            self.next_cidx = cidx + 1
        self.dirty = True
        return consumer

    def drop_consumer(self, consumer: Consumer) -> int:
        """Remove a consumer and what was pending for it; returns how many entries that were."""
        removed: int = self.pending.remove_consumer(consumer.cidx)
        del self.consumers[consumer.name]
        del self.by_index[consumer.cidx]
        self.recent = None
        self.dirty = True
        return removed

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    @property
    def last_id(self) -> tuple[int, int]:
        """The cursor: ID of the last entry delivered."""
        return (self.last_ms, self.last_seq)

    @property
    def free_cidx(self) -> int:
        """The index the next consumer gets."""
        return self.next_cidx

    def consumer_by_index(self, cidx: int) -> Consumer | None:
        """The consumer of a pending row; None for index 0."""
        return self.by_index.get(cidx)

    def dump(self) -> bytes:
        """The group row."""
        parts = [
            GROUP_HEAD.pack(
                GROUP_VERSION,
                self.last_ms,
                self.last_seq,
                self.entries_read,
                self.next_cidx,
                len(self.consumers),
                self.pending.length,
            ),
            len(self.name).to_bytes(4, "little"),
            self.name,
        ]
        for consumer in self.consumers.values():
            parts.append(
                CONSUMER_HEAD.pack(
                    consumer.cidx, consumer.seen_ms, consumer.active_ms, len(consumer.name)
                )
            )
            parts.append(consumer.name)
        if self.idle_timeout_ms:
            parts.append(POLICY.pack(POLICY_IDLE_TIMEOUT, self.idle_timeout_ms))
        return b"".join(parts)

    @staticmethod
    def load(gid: int, data: bytes) -> Group:
        """A group from its row, without its pending chunks. Raises ValueError for an unknown
        version.
        """
        version, ms, seq, entries_read, next_cidx, n, _pending = GROUP_HEAD.unpack_from(data)
        if version != GROUP_VERSION:
            raise ValueError("unknown group row")
        at = GROUP_HEAD.size
        length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        group = Group(gid, data[at : at + length])
        at += length
        group.set_position(ms, seq, entries_read)
        for _ in range(n):
            cidx, seen_ms, active_ms, length = CONSUMER_HEAD.unpack_from(data, at)
            at += CONSUMER_HEAD.size
            consumer = group.add_consumer(cidx, data[at : at + length], seen_ms)
            consumer.active_ms = active_ms
            at += length
        group.next_cidx = next_cidx
        for policy, value in POLICY.iter_unpack(data[at:]):
            if policy != POLICY_IDLE_TIMEOUT:
                raise ValueError(f"unknown group policy {policy}")
            group.idle_timeout_ms = value
        group.dirty = False
        return group

    def copied(self) -> Group:
        """A group of another stream in the same state; nothing of it is stored yet."""
        copy: Group = Group.load(self.gid, self.dump())
        chunks = self.pending.all_chunks()
        for number, blob in chunks:
            copy.pending.load_chunk(number, blob)
        copy.pending.redo([number for number, _ in chunks])
        copy.count_pending()
        copy.dirty = True
        return copy

    def count_pending(self) -> None:
        """Count each consumer's pending rows after the chunks were loaded."""
        for cidx, count in self.pending.owners().items():
            consumer = self.by_index.get(cidx)
            if consumer is not None:
                consumer.pending_count = count

    def check(self) -> None:
        """Assert every invariant."""
        self.pending.check()
        counts = self.pending.owners()
        for consumer in self.consumers.values():
            assert consumer.pending_count == counts.pop(consumer.cidx, 0), consumer.name
            assert self.by_index[consumer.cidx] is consumer
        counts.pop(0, None)
        assert not counts, counts

    @property
    def memory_bytes(self) -> int:
        """What the group costs in memory."""
        return 700 + 400 * len(self.consumers) + self.pending.bytes_used


def pending_of(row: bytes) -> int:
    """How many entries are pending, as a group row has it."""
    n: int = GROUP_HEAD.unpack_from(row)[6]
    return n
