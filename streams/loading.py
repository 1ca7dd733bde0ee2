"""A stream brought into memory from its rows and the runs of its segments, and changed over to
others that a merge has made of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from lsmstore.block import Block, Run
from lsmstore.errors import Corruption
from lsmstore.view import StoreView
from streams import rowkeys
from streams.blockcache import BlockCache
from streams.group import Group
from streams.stream import Stream


def load_stream(
    store: StoreView, sid: int, header: bytes, read_block: Callable[[Run, int], Block]
) -> Stream:
    """The stream of a header row. Raises ValueError, KeyError or struct.error for damaged rows."""
    stream = load_entries(store, sid, header, read_block)
    if stream.next_gid > 1:
        _load_groups(store, stream)
    if stream.producers is not None:
        for row_key, value in store.scan_rows(*rowkeys.sid_bounds(b"I", sid)):
            stream.producers.load_row(rowkeys.suffix(row_key), value)
    stream.stored = True
    return stream


def load_entries(
    store: StoreView, sid: int, header: bytes, read_block: Callable[[Run, int], Block]
) -> Stream:
    """Only the entries of the stream of a header row, as of the last flush."""
    stream = Stream(sid, 0, b"", read_block)
    stream.load_header(header)
    stream.attach(_runs(store, stream))
    if stream.has_holes:
        for row_key, value in store.scan_rows(*rowkeys.sid_bounds(b"X", sid)):
            stream.load_page(rowkeys.suffix(row_key), value)
    return stream


def exchange_runs(
    store: StoreView, streams: dict[int, Stream], cache: BlockCache, replaced: frozenset[int]
) -> Iterator[None]:
    """A merge has replaced these segments: let streams in memory read the new ones.

    Stream by stream, copies of merged streams among them, those also that are made meanwhile; until
    its turn comes a stream goes on with the old ones.
    """
    sids = list(streams)
    while sids:
        for sid in sids:
            stream = streams.get(sid)
            if stream is not None and stream.reads_any(replaced):
                with contextlib.suppress(Corruption):  # who reads there next is told
                    for run in stream.replace_runs(_runs(store, stream), replaced):
                        cache.adopt(run)
            yield
        newest = max(sids)
        sids = [sid for sid in streams if sid > newest]


def _runs(store: StoreView, stream: Stream) -> list[Run]:
    """The runs of a stream, those of its bases first."""
    found: list[Run] = []
    start = 0
    for base, end in stream.bases:
        found += [run for run in store.runs(base) if start <= run.first_pos < end]
        start = end
    return found + store.runs(stream.sid)


def _load_groups(store: StoreView, stream: Stream) -> None:
    groups: dict[int, Group] = {}
    for row_key, value in store.scan_rows(*rowkeys.sid_bounds(b"G", stream.sid)):
        group = Group.load(rowkeys.suffix(row_key), value)
        groups[group.gid] = group
        stream.groups[group.name] = group
    for row_key, value in store.scan_rows(*rowkeys.sid_bounds(b"P", stream.sid)):
        groups[rowkeys.gid_of_chunk(row_key)].pending.load_chunk(rowkeys.suffix(row_key), value)
    for group in groups.values():
        group.count_pending()
