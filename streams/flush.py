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

from lsmstore.marks import GONE
from lsmstore.store import Store
from streams import lending, rowkeys
from streams.group import Group
from streams.journal import Journal
from streams.keyrow import KeyRow
from streams.keyspace import Keyspace
from streams.loading import load_entries
from streams.stream import Stream, bases_of, span_of

ROWS_PER_SLICE = 256


@dataclass(slots=True)
class Written:
    """What of a stream was put into a flush, so that it can be taken back."""

    stream: Stream
    mark_pos: int
    chunks: list[tuple[Group, list[int]]] = field(default_factory=list)
    dropped_gids: list[int] = field(default_factory=list)
    dropped_pages: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)


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
        self._lent: dict[int, dict[int, int]] = {}
        for stream in self._waiting.values():
            for base, end in stream.bases:
                self._lent.setdefault(base, {})[stream.sid] = end
        self._returned: set[tuple[int, int]] = set()
        self._shared: set[int] = set()  # streams whose marks depend on others, too
        self._journal = journal
        self._memtable_bytes = journal.memtable_bytes
        journal.memtable_bytes = 0
        journal.shed_bytes = 0
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
            if stream.producers is not None:
                stream.producers.redo_rows(written.producers)
            if not stream.dirty:
                stream.dirty = True
                journal.dirty.append(stream)

    def _before_drop(self, stream: Stream) -> None:
        if self._waiting.pop(stream.sid, None) is not None:
            self._write(stream)

    def _plan(self) -> Iterator[bool]:
        for ns in self._gone:
            for n, (row_key, row) in enumerate(self._rows_of(ns), 1):
                self.flush.add_row(row_key, None)
                if row is not None:
                    self._forget_key(ns, rowkeys.name_of(row_key), row)
                if n % ROWS_PER_SLICE == 0:
                    yield True
            yield True
        # recovery may have loaded them before it knew of their end
        for n, sid in enumerate(self._dead, 1):
            self._waiting.pop(sid, None)
            self._keyspace.forget(sid)
            self._return_bases(sid)
            if n % ROWS_PER_SLICE == 0:
                yield True
        for n, (row_key, frozen) in enumerate(self._keyspace.frozen.items(), 1):
            self.flush.add_row(row_key, frozen)
            if n % ROWS_PER_SLICE == 0:
                yield True
        while self._waiting:
            self._write(self._waiting.popitem()[1])
            yield True
        self._keyspace.before_drop = _ignore
        for sid in self._dead:
            for kind in (b"S", b"G", b"P", b"X", b"I"):
                for row_key, _ in self._store.scan_rows(*rowkeys.sid_bounds(kind, sid)):
                    self.flush.add_row(row_key, None)
            yield True
        dead = set(self._dead)
        for sid in self._shared | dead:
            self._mark_shared(sid, sid in dead)
            yield True

    def _rows_of(self, ns: int) -> Iterator[tuple[bytes, KeyRow | None]]:
        """The key rows of a namespace that is gone; among the frozen rows they become tombstones.

        None where the key went before: what it held may live on under another key.
        """
        start, end = rowkeys.namespace_bounds(ns)
        frozen = self._keyspace.frozen
        for row_key in list(frozen.irange(start, end, inclusive=(True, False))):
            value, frozen[row_key] = frozen[row_key], None
            yield row_key, None if value is None else KeyRow(value)
        for row_key, stored in self._store.scan_rows(start, end):
            if row_key not in frozen:
                yield row_key, KeyRow(stored)

    def _forget_key(self, ns: int, name: bytes, row: KeyRow) -> None:
        """What a key of a namespace that is gone held, and when it would have expired."""
        if row.is_stream:
            self._dead.append(row.sid)
        if row.expires_ms:
            expiry_row = rowkeys.expiry_row(row.expires_ms, ns, name)
            self._keyspace.frozen[expiry_row] = None

    def _return_bases(self, sid: int) -> None:
        """A dead stream needs nothing more of what it shared."""
        header = self._store.get_row(rowkeys.header_row(sid))
        for base, _ in [] if header is None else bases_of(header):
            self._returned.add((base, sid))
            self._shared.add(base)
            self.flush.add_row(rowkeys.lent_row(base, sid), None)

    def _copies(self, sid: int) -> dict[int, int]:
        """Which copies share a stream's segments, and up to where."""
        stored = self._store.scan_rows(*rowkeys.sid_bounds(b"R", sid))
        found = {rowkeys.lent_to(key): int.from_bytes(end, "big") for key, end in stored}
        found |= self._lent.get(sid, {})
        return {copy: end for copy, end in found.items() if (sid, copy) not in self._returned}

    def _mark_shared(self, sid: int, dead: bool) -> None:
        """Say what is dead of a stream that is dead itself, is shared, or was until now."""
        copies = self._copies(sid)
        own = GONE if dead else self._mark_of(sid)
        if not copies and own != GONE and sid not in self._written:
            header = self._store.get_row(rowkeys.header_row(sid))
            assert header is not None
            self._note_dead(load_entries(self._store, sid, header, self._keyspace.read_block))
            return
        ends = [(end, self._mark_of(copy)) for copy, end in copies.items()]
        self.flush.add_marks(sid, lending.marks(own, ends))

    def _mark_of(self, sid: int) -> int:
        """The mark of a stream as its header row will have it; ``GONE`` if it has none."""
        if sid in self._written:
            return self._written[sid].mark_pos
        header = self._store.get_row(rowkeys.header_row(sid))
        return GONE if header is None else span_of(header)[1]

    def _note_dead(self, stream: Stream) -> None:
        """Say what is dead of a stream that nobody shares."""
        holes = stream.holes()
        if stream.mark_pos or holes:
            self.flush.add_marks(stream.sid, lending.marks(stream.mark_pos, ()))
            for segment, count in holes:
                self.flush.add_holes(stream.sid, segment, count)

    def _write(self, stream: Stream) -> None:
        """Put a stream's header, changed groups and chunks, and its blocks into the flush."""
        written = Written(stream, stream.mark_pos, [], stream.dropped_gids, stream.dropped_pages)
        add_row = self.flush.add_row
        sid = stream.sid
        stream.seal_tail()
        blocks = stream.unflushed()
        if blocks:
            self.flush.add_run(sid, blocks, stream.memtable_node_starts())
        stream.lent = stream.lent and bool(self._copies(sid))
        if stream.lent:
            self._shared.add(sid)
        else:
            self._note_dead(stream)
        for base, end_pos in stream.bases:
            self._shared.add(base)
            add_row(rowkeys.lent_row(base, sid), end_pos.to_bytes(8, "big"))
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
        if stream.producers is not None:
            for number, row in stream.producers.take_rows():
                add_row(rowkeys.producer_row(sid, number), row)
                written.producers.append(number)
        stream.dirty = False
        stream.stored = True
        self._written[sid] = written


def _ignore(_stream: Stream) -> None:
    """Streams may be dropped: they are not waited for."""
