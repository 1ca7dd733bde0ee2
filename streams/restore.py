"""Makes a stream of what was read elsewhere: a payload of DUMP, or nodes and pages that are sent.

Rules: a stream is loaded by records like those of commands, so that replay, flushes and copies need
no second way; they stand in one frame of the log where the caller lets nothing be committed
between. Entries come first, node by node, then the head: it says what no entry can. Entries that
were deleted are added, too, and deleted then: the nodes they lie in close where they would have.
What is loaded was checked by whoever read it; ``record_bytes`` is what to reserve before.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.lsmstore.block import read_entry_id, skip_entry

from streams.group import Consumer, Group
from streams.journal import Journal
from streams.producers import DEFAULT_DURATION_S, DEFAULT_MAXSIZE
from streams.rdb.heads import ProducersHead, StreamHead
from streams.rdb.rows import Node, PendingRows
from streams.stream import Stream

# The most that a record takes beside texts, and what an entry, a deleted one and a row add.
RECORD_BYTES = 160
ENTRY_BYTES = 32
DELETED_BYTES = 20
ROW_BYTES = 80


def node_record_bytes(node: Node) -> int:
    """The most that the records of a node take."""
    return len(node.wire) + ENTRY_BYTES * node.entries + DELETED_BYTES * len(node.deleted)


def head_record_bytes(head: StreamHead) -> int:
    """The most that the records of a head take."""
    n = 3 * RECORD_BYTES
    for group in head.groups:
        n += 2 * RECORD_BYTES + len(group.name) + ROW_BYTES * group.pending.length
        n += sum(2 * RECORD_BYTES + len(consumer.name) for consumer in group.consumers)
    if head.producers is not None:
        n += sum(
            RECORD_BYTES + len(pid) + len(iid)
            for pid, iids in head.producers.iids
            for iid, _, _ in iids
        )
    return n


@cython.final
@cython.cclass
class StreamLoader:
    """Loads a stream that is empty and has no groups. Call ``add`` for each node, then ``end``."""

    def __init__(self, journal: Journal, stream: Stream) -> None:
        self.journal = journal
        self.stream = stream
        self.deleted = []

    def add_page(self, wire: bytes, node_max_bytes: int, node_max_entries: int) -> None:
        """Add entries that fill virtual nodes as XADD would. REQUIRES: as ``add``."""
        p: cython.p_const_char = PyBytes_AS_STRING(wire)
        stop: cython.p_const_char = p + PyBytes_GET_SIZE(wire)
        end: cython.p_const_char
        ms: uint64_t = 0
        seq: uint64_t = 0
        n_args: uint32_t
        max_bytes: cython.Py_ssize_t = node_max_bytes
        max_entries: cython.Py_ssize_t = node_max_entries
        new_node: cython.bint
        if not self.stream.node_open and self.stream.node_count > 0:
            self.stream.reckon_last_node()
        while p < stop:
            end = skip_entry(p, stop)
            p = read_entry_id(p, cython.address(ms), cython.address(seq))
            p = read_count(p, cython.address(n_args))
            # what surrounds an argument is counted, too: a little more than XADD counts
            new_node = self.stream.starts_node(
                p, n_args, (end - p) - 6 * n_args, max_bytes, max_entries
            )
            self.journal.add(self.stream, ms, seq, p, end - p, n_args, new_node)
            p = end

    def add(self, node: Node) -> None:
        """Add the entries of a node. REQUIRES: their IDs are above the last one."""
        p: cython.p_const_char = PyBytes_AS_STRING(node.wire)
        stop: cython.p_const_char = p + PyBytes_GET_SIZE(node.wire)
        end: cython.p_const_char
        ms: uint64_t = 0
        seq: uint64_t = 0
        n_args: uint32_t
        new_node: cython.bint = True
        base: uint64_t = self.stream.end_pos
        for place in node.deleted:
            self.deleted.append(base + place)
        while p < stop:
            end = skip_entry(p, stop)
            p = read_entry_id(p, cython.address(ms), cython.address(seq))
            p = read_count(p, cython.address(n_args))
            self.journal.add(self.stream, ms, seq, p, end - p, n_args, new_node)
            new_node = False
            p = end

    def delete(self) -> None:
        """Delete the entries that were added as deleted ones."""
        if self.deleted:
            self.journal.delete_runs(self.stream, runs_of(self.deleted), (0, 0))
            self.deleted = []

    def end(self, head: StreamHead, now_ms: int) -> None:
        """All entries were added."""
        self.delete()
        load_head(self.journal, self.stream, head, now_ms)


def read_count(p, n):
    """Read ``*<n>\\r\\n``. REQUIRES: it is there."""
    n[0] = 0
    p += 1
    while p[0] != 13:
        n[0] = n[0] * 10 + cython.cast(uint32_t, p[0] - 48)
        p += 1
    return p + 2


def runs_of(positions: list[int]) -> list[tuple[int, int]]:
    """Ascending positions as runs of them, [start, end)."""
    runs: list[tuple[int, int]] = []
    start = end = positions[0]
    for pos in positions:
        if pos != end:
            runs.append((start, end))
            start = pos
        end = pos + 1
    runs.append((start, end))
    return runs


def load_head(journal: Journal, stream: Stream, head: StreamHead, now_ms: int) -> None:
    """Make all of a stream but its entries what ``head`` says, whatever groups it had.

    A group that is there before and after keeps what XQ.GROUP set, of which a head knows nothing.
    """
    timeouts = {name: group.idle_timeout_ms for name, group in stream.groups.items()}
    for group in list(stream.groups.values()):
        journal.destroy_group(stream, group)
    journal.set_id(stream, head.last_id, head.entries_added, head.max_deleted_id)
    for group_head in head.groups:
        load_group(journal, stream, group_head, now_ms)
        if timeouts.get(group_head.name):
            group = stream.groups[group_head.name]
            journal.set_idle_timeout(stream, group, timeouts[group_head.name])
    if head.producers is not None and head.producers.duration_s:
        load_producers(journal, stream, head.producers)
    elif stream.producers is not None and stream.producers.iids_added:
        load_producers(journal, stream, ProducersHead(0, 0, [], 0, 0))


def load_group(journal, stream, head, now_ms):
    """Make a group. Delivery times are logged as ages at ``now_ms``."""
    group: Group
    consumer: Consumer
    rows: PendingRows = head.pending
    sorted_rows: PendingRows
    ends: list
    start: cython.Py_ssize_t
    n: cython.Py_ssize_t
    entries_read = head.entries_read
    if entries_read is None:
        entries_read = stream.estimate_entries_read(head.last_id[0], head.last_id[1])
    group = journal.create_group(stream, head.name, head.last_id, entries_read)
    sorted_rows, ends = rows.by_owner(len(head.consumers))
    start = ends[0]
    for place, consumer_head in enumerate(head.consumers, 1):
        consumer = journal.new_consumer(stream, group, consumer_head.name, consumer_head.seen_ms)
        n = ends[place] - start
        if n > 0 or consumer_head.active_ms >= 0:
            journal.claim_rows(
                stream,
                group,
                consumer,
                sorted_rows.rows + start,
                n,
                now_ms,
                consumer_head.active_ms,
            )
        start += n
    if head.released:
        released: list = []
        for ms, seq in head.released:
            released.append(((ms, seq), rows.rows[rows.find(ms, seq, 0)].count))
        journal.release(stream, group, released)
    return 0


def load_producers(journal: Journal, stream: Stream, head: ProducersHead) -> None:
    """Remember what was remembered of producers."""
    duration_s = head.duration_s or DEFAULT_DURATION_S
    maxsize = head.maxsize or DEFAULT_MAXSIZE
    journal.configure_producers(stream, duration_s, maxsize)
    for pid, iids in head.iids:
        for iid, ms, seq in iids:
            journal.record_iid(stream, pid, iid, ms, seq)
    journal.count_iids(stream, head.iids_added, head.iids_duplicates)
