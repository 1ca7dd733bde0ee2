"""The head of a stream as an RDB value without nodes, and the head of a stream in memory.

Rules: a head travels as the payload of a stream that has no listpacks, though its length says how
many entries belong to it: nothing but XQ.LOADHEAD takes such a payload. Type 27 carries all that a
head has; older types leave out what they have no place for. The grammar is that of streamreader.py.
"""

from __future__ import annotations

from typing import Final

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t

from streams.group import Consumer, Group
from streams.rdb.heads import ConsumerHead, GroupHead, ProducersHead, StreamHead
from streams.rdb.payload import VERSIONS, sealed
from streams.rdb.rows import PendingRows
from streams.rdb.streamwriter import RdbWriter
from streams.stream import Stream

HEAD_TYPE: Final = 27
"""The type of stream that carries all of a head."""


def head_of(stream: Stream) -> StreamHead:
    """All of a stream but its entries."""
    group: Group
    head = StreamHead(stream.length, stream.last_id, stream.max_deleted_id, stream.entries_added)
    for name in sorted(stream.groups):
        group = stream.groups[name]
        found = GroupHead(name, group.last_id, group.entries_read)
        places: dict[int, int] = {0: 0}
        for place, consumer_name in enumerate(sorted(group.consumers), 1):
            consumer: Consumer = group.consumers[consumer_name]
            places[consumer.cidx] = place
            found.consumers.append(
                ConsumerHead(consumer_name, consumer.seen_ms, consumer.active_ms)
            )
        take_pending(group.pending, found.pending, places)
        released = group.pending.count_released()
        if released:
            found.released = group.pending.oldest_ids(released, 0, (0, 0))
        head.groups.append(found)
    producers = stream.producers
    if producers is not None:
        head.producers = ProducersHead(
            producers.duration_s,
            producers.maxsize,
            list(producers.content().items()),
            producers.iids_added,
            producers.iids_duplicates,
        )
    return head


def take_pending(pending, rows, places):
    """Copy the pending rows of a group; ``places`` maps the cidx of each to its place."""
    at: Cursor
    row: Row
    pending.seek(0, 0, cython.address(at))
    while pending.next_row(cython.address(at), -1, cython.address(row)):
        rows.add(row.ms, row.seq, row.delivered_ms if row.cidx else 0, row.count)
        rows.rows[rows.n - 1].cidx = places[row.cidx]
    return 0


def head_payload(head: StreamHead, rdb_type: int = HEAD_TYPE) -> bytes:
    """The payload of a head."""
    writer: RdbWriter = RdbWriter()
    read: int64_t
    writer.put_type(rdb_type)
    writer.put_length(0)  # listpacks
    writer.put_length(head.length)
    writer.put_length(head.last_id[0])
    writer.put_length(head.last_id[1])
    if rdb_type >= 19:
        writer.put_length(0)  # the first ID: whoever has the entries knows it
        writer.put_length(0)
        writer.put_length(head.max_deleted_id[0])
        writer.put_length(head.max_deleted_id[1])
        writer.put_length(head.entries_added)
    writer.put_length(len(head.groups))
    for group in head.groups:
        writer.put_string(group.name)
        writer.put_length(group.last_id[0])
        writer.put_length(group.last_id[1])
        if rdb_type >= 19:
            read = -1 if group.entries_read is None else group.entries_read
            writer.put_length(cython.cast(uint64_t, read))
        writer.put_length(group.pending.length)
        put_rows(writer, group.pending, -1, True)
        writer.put_length(len(group.consumers))
        owned = owned_rows(group.pending, len(group.consumers))
        for place, consumer in enumerate(group.consumers, 1):
            writer.put_string(consumer.name)
            writer.put_fixed(cython.cast(uint64_t, cython.cast(int64_t, consumer.seen_ms)), 8)
            if rdb_type >= 21:
                writer.put_fixed(cython.cast(uint64_t, cython.cast(int64_t, consumer.active_ms)), 8)
            writer.put_length(owned[place])
            if owned[place]:
                put_rows(writer, group.pending, place, False)
        if rdb_type >= 27:
            writer.put_length(len(group.released))
            for ms, seq in group.released:
                writer.put_id(ms, seq)
    if rdb_type >= 26:
        put_producers(writer, head.producers)
    return sealed(writer, VERSIONS[rdb_type])


def owned_rows(rows: PendingRows, owners: int) -> list[int]:
    """How many rows nobody has, and each owner."""
    counts = [0] * (owners + 1)
    i: cython.Py_ssize_t
    for i in range(rows.n):
        counts[rows.rows[i].cidx] += 1
    return counts


def put_rows(writer, rows, cidx, with_state):
    """Append the rows of one owner, or of all (-1)."""
    i: cython.Py_ssize_t
    for i in range(rows.n):
        if cidx < 0 or rows.rows[i].cidx == cidx:
            writer.put_id(rows.rows[i].ms, rows.rows[i].seq)
            if with_state:
                writer.put_fixed(rows.rows[i].delivered_ms, 8)
                writer.put_length(rows.rows[i].count)
    return 0


def put_producers(writer: RdbWriter, head: ProducersHead | None) -> None:
    """Append what is remembered of producers."""
    if head is None:
        head = ProducersHead(0, 0, [], 0, 0)
    writer.put_length(head.duration_s)
    writer.put_length(head.maxsize)
    writer.put_length(len(head.iids))
    for pid, iids in head.iids:
        writer.put_string(pid)
        writer.put_length(len(iids))
        for iid, ms, seq in iids:
            writer.put_string(iid)
            writer.put_length(ms)
            writer.put_length(seq)
    writer.put_length(head.iids_added)
    writer.put_length(head.iids_duplicates)
