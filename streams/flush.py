"""A flush of the memtable: what goes to disk, planned in small slices on the loop.

Rules: the cut is the LSN at which the flush begins. The key directory is frozen at the cut. Each
stream that was dirty at the cut is written in one slice, as it is then, with its ``applied_lsn``:
replay passes over what its rows already have, so slices may run ticks apart. A stream that is
dropped before its slice is written first (``before_drop``), so that the log never names a stream
without a header. ``Flush.write`` runs on a thread; ``install`` on the loop. Where the disk is full,
``abort`` takes everything back: what was to be written is dirty again, and nothing has been lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sortedcontainers import SortedDict

from lsmstore.flush import GONE
from lsmstore.store import Store
from streams import rowkeys
from streams.group import Group
from streams.journal import Journal
from streams.keyspace import Keyspace
from streams.stream import Stream

ROWS_PER_SLICE = 256


@dataclass(slots=True)
class Written:
    """What of a stream was put into a flush, so that it can be taken back."""

    stream: Stream
    chunks: list[tuple[Group, list[int]]] = field(default_factory=list)
    dropped_gids: list[int] = field(default_factory=list)
    dropped_pages: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)


class FlushJob:
    """One flush, from the cut to the new version of the store."""

    def __init__(self, keyspace: Keyspace, store: Store, journal: Journal) -> None:
        """REQUIRES: the journal is committed (between two ticks), no other flush is under way."""
        cut = journal.next_lsn - 1
        self._keyspace = keyspace
        self._store = store
        self.flush = store.begin_flush(cut)
        self._waiting = {
            stream.sid: stream for stream in journal.take_dirty() if not stream.dropped
        }
        self._written: dict[int, Written] = {}
        self._journal = journal
        self._memtable_bytes = journal.memtable_bytes
        journal.memtable_bytes = 0
        keyspace.frozen = keyspace.rows
        keyspace.rows = SortedDict()
        self._dead = keyspace.dead_sids
        keyspace.dead_sids = []
        self._gone = keyspace.dead_namespaces
        keyspace.dead_namespaces = []
        self.flush.add_row(rowkeys.DIRECTORY, keyspace.dump_directory(cut))
        keyspace.before_drop = self._before_drop
        self._slices = self._plan()

    def step(self) -> bool:
        """One slice of the plan; False once it is complete."""
        return next(self._slices, False)

    @property
    def sids(self) -> set[int]:
        """The streams that were put into the flush: they must not leave memory before it ends."""
        return set(self._written)

    def install(self) -> None:
        """The files are there: the store sees them, blocks leave the memtable.

        DiskFull leaves everything as it was; ``abort`` is next.
        """
        self.flush.install()
        self._keyspace.frozen = SortedDict()
        for sid, written in self._written.items():
            stream = written.stream
            if stream.dropped:
                continue
            run = self.flush.run(sid)
            if run is not None:
                stream.install_run(run)
                self._keyspace.cache.adopt(run)

    def abort(self) -> None:
        """The disk is full, and the store has removed the files: make all of it dirty again."""
        keyspace = self._keyspace
        keyspace.before_drop = _ignore
        keyspace.frozen.update(keyspace.rows)
        keyspace.rows, keyspace.frozen = keyspace.frozen, SortedDict()
        keyspace.dead_sids = self._dead + keyspace.dead_sids
        keyspace.dead_namespaces = self._gone + keyspace.dead_namespaces
        journal = self._journal
        journal.memtable_bytes += self._memtable_bytes
        journal.dirty.extend(self._waiting.values())
        for written in self._written.values():
            stream = written.stream
            if stream.dropped:
                continue
            for group, numbers in written.chunks:
                group.dirty = True
                group.pending.redo(numbers)
            stream.dropped_gids = written.dropped_gids + stream.dropped_gids
            stream.dropped_pages = written.dropped_pages + stream.dropped_pages
            for number in written.pages:
                if number in stream.deleted_pages:
                    stream.deleted_pages[number].dirty = True
            if not stream.dirty:
                stream.dirty = True
                journal.dirty.append(stream)

    def _before_drop(self, stream: Stream) -> None:
        if self._waiting.pop(stream.sid, None) is not None:
            self._write(stream)

    def _plan(self) -> Iterator[bool]:
        for ns in self._gone:
            for row_key, value in self._rows_of(ns):
                if rowkeys.is_stream(value):
                    self._dead.append(rowkeys.sid_of(value))
                self.flush.add_row(row_key, None)
            yield True
        for sid in self._dead:  # recovery may have loaded them before it knew of their end
            self._waiting.pop(sid, None)
            self._keyspace.forget(sid)
        for n, (row_key, frozen) in enumerate(self._keyspace.frozen.items(), 1):
            self.flush.add_row(row_key, frozen)
            if n % ROWS_PER_SLICE == 0:
                yield True
        while self._waiting:
            self._write(self._waiting.popitem()[1])
            yield True
        self._keyspace.before_drop = _ignore
        for sid in self._dead:
            self.flush.add_mark(sid, GONE)
            for kind in (b"S", b"G", b"P", b"X"):
                for row_key, _ in self._store.scan_rows(*rowkeys.sid_bounds(kind, sid)):
                    self.flush.add_row(row_key, None)
            yield True

    def _rows_of(self, ns: int) -> Iterator[tuple[bytes, bytes]]:
        """The key rows of a namespace that is gone; they leave the frozen rows, too."""
        start, end = rowkeys.namespace_bounds(ns)
        frozen = self._keyspace.frozen
        for row_key in list(frozen.irange(start, end, inclusive=(True, False))):
            value = frozen.pop(row_key)
            if value is not None:
                yield row_key, value
        yield from self._store.scan_rows(start, end)

    def _write(self, stream: Stream) -> None:
        """Put a stream's header, changed groups and chunks, and its blocks into the flush."""
        written = Written(stream, [], stream.dropped_gids, stream.dropped_pages)
        add_row = self.flush.add_row
        sid = stream.sid
        stream.seal_tail()
        blocks = stream.unflushed()
        if blocks:
            self.flush.add_run(sid, blocks, stream.memtable_node_starts())
        if stream.mark_pos:
            self.flush.add_mark(sid, stream.mark_pos)
        for segment, dead, count in stream.waste():
            self.flush.add_waste(sid, segment, dead, count)
        add_row(rowkeys.header_row(sid), stream.dump_header())
        for gid in stream.dropped_gids:
            add_row(rowkeys.group_row(sid, gid), None)
            for row_key, _ in self._store.scan_rows(*rowkeys.group_bounds(sid, gid)):
                add_row(row_key, None)
        stream.dropped_gids = []
        for group in stream.groups.values():
            if not group.dirty:
                continue
            add_row(rowkeys.group_row(sid, group.gid), group.dump())
            chunks = group.pending.dirty_chunks()
            for number, blob in chunks:
                add_row(rowkeys.chunk_row(sid, group.gid, number), blob)
            written.chunks.append((group, [number for number, _ in chunks]))
            group.pending.clear_dirty()
            group.dirty = False
        for number in stream.dropped_pages:
            add_row(rowkeys.page_row(sid, number), None)
        stream.dropped_pages = []
        for number, page in stream.deleted_pages.items():
            if page.dirty:
                add_row(rowkeys.page_row(sid, number), page.dump())
                page.dirty = False
                written.pages.append(number)
        stream.dirty = False
        stream.stored = True
        self._written[sid] = written


def _ignore(_stream: Stream) -> None:
    """Streams may be dropped: they are not waited for."""
