"""A store that was put together from what was left, opened and brought to rest.

Its log is applied record by record: one that does not fit what it meets is passed over and said.
Entries that stand for lost ones (a ``Gap``) are deleted as XDEL would do it, from the stream and
from every copy that shares them. Then all of it is flushed, so that nothing needs the log any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lsmstore.salvage import Gap
from lsmstore.store import Store
from streams import rowkeys
from streams.blockcache import BlockCache
from streams.flush import FlushJob
from streams.journal import Journal
from streams.keyrow import KeyRow
from streams.keyspace import Keyspace
from streams.logread import records, varint
from streams.mending import Loss
from streams.replay import RecordError, Replay
from streams.stream import Stream

CACHE_BYTES: Final = 16 << 20
RESIDENT_BYTES: Final = 1 << 40
PASSED_OVER_MAX: Final = 1000  # told one by one


def heal(store: Store, gaps: Sequence[Gap], slot_of: Callable[[bytes], int]) -> list[Loss]:
    """Bring a store that was just opened to rest; what was lost by that. Closes it."""
    keyspace = Keyspace(store, 1, slot_of, BlockCache(CACHE_BYTES), RESIDENT_BYTES)
    losses = _apply_log(store, keyspace)
    journal = Journal(keyspace)
    journal.base_lsn = store.next_lsn - 1
    journal.dirty.extend(keyspace.dirty_sink)
    keyspace.dirty_sink.clear()
    gaps_of: dict[int, list[Gap]] = {}
    for gap in gaps:
        gaps_of.setdefault(gap.sid, []).append(gap)
    for ns in keyspace.namespaces if gaps else ():
        for row_key, value in list(keyspace.merged(*rowkeys.namespace_bounds(ns))):
            row = KeyRow(value)
            stream = keyspace.stream_by_sid(row.sid) if row.is_stream else None
            if stream is not None:
                losses += _delete_gaps(journal, stream, rowkeys.name_of(row_key), gaps_of)
    if journal.count:
        store.commit(journal.log.view(), journal.count)
        journal.committed()
    job = FlushJob(keyspace, store, journal)
    while job.step():
        pass
    job.flush.write()
    job.install()
    store.close()
    return losses


def _apply_log(store: Store, keyspace: Keyspace) -> list[Loss]:
    """Apply every record that fits."""
    losses: list[Loss] = []
    replay = Replay(keyspace)
    for first_lsn, payload in store.replay():
        for record in records(first_lsn, payload):
            try:
                replay.apply(record.lsn, record.data)
            except (RecordError, AssertionError, KeyError, ValueError) as error:
                if len(losses) < PASSED_OVER_MAX:
                    sid = varint(record.body, 0)[0]
                    why = f"record {record.lsn} of the log does not fit what is left: {error}"
                    losses.append(Loss(why, sid=sid))
    return losses


def _delete_gaps(
    journal: Journal, stream: Stream, key: bytes, gaps_of: Mapping[int, Sequence[Gap]]
) -> list[Loss]:
    """Delete what stands for lost entries of a stream; what of it had been alive."""
    losses: list[Loss] = []
    start = 0
    for sid, end in [*stream.bases, (stream.sid, stream.end_pos)]:
        for gap in gaps_of.get(sid, ()):
            first, stop = max(gap.start, start, stream.mark_pos), min(gap.end, end)
            if first >= stop:
                continue
            before = stream.length
            journal.delete_runs(stream, [(first, stop)], gap.last)
            if stream.length < before:
                why = "entries are lost"
                gone = before - stream.length
                losses.append(Loss(why, key, stream.sid, gone, gap.first, gap.last))
        start = end
    return losses
