"""The key directory: which keys there are, what they hold, which of it is in memory.

Rules:

- Memory is a cache of the store. ``tables[db]`` maps the keys of a database that are in memory to
  their Stream or string; a key that is not there is looked up in the key rows and loaded. Missing
  keys are not cached.
- Key rows changed since the last flush sit in ``rows`` (the directory's memtable), those of a flush
  under way in ``frozen``; the store has the rest. Newest wins.
- A database is a namespace id; emptying a database gives it a new one, and the old one's rows go at
  the next flush.
- ``put_stream``, ``put_string``, ``remove`` and ``move_database`` are the apply half of the log's
  key records.

Directory row (JSON): ``next_sid, next_ns, databases {db: ns}, counts {ns: keys}, lsn`` (key records
up to it are in rows).
"""

from __future__ import annotations

import contextlib
import heapq
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from sortedcontainers import SortedDict

from lsmstore.block import Block, Run
from lsmstore.errors import Corruption
from lsmstore.store import Store
from streams import rowkeys
from streams.blockcache import BlockCache
from streams.group import Group
from streams.stream import Stream

Value = Stream | bytes

# Namespaces of emptied databases. Below are those that databases begin with: the number plus one.
FRESH_NAMESPACES = 1 << 31


class WrongTypeError(Exception):
    """The key holds another kind of value."""


class Keyspace:
    """All databases of a node."""

    def __init__(
        self,
        store: Store,
        databases: int,
        slot_of: Callable[[bytes], int],
        cache: BlockCache,
        resident_limit_bytes: int,
    ) -> None:
        self.store = store
        self.cache = cache
        self.resident_limit_bytes = resident_limit_bytes
        self.resident_bytes = 0
        self._crowded_bytes = resident_limit_bytes
        self.slot_of = slot_of
        self.rows: SortedDict[bytes, bytes | None] = SortedDict()
        self.frozen: SortedDict[bytes, bytes | None] = SortedDict()
        self.by_sid: dict[int, Stream] = {}
        self.dead_sids: list[int] = []
        self.dead_namespaces: list[int] = []
        self.on_change: Callable[[int, bytes], None] = _ignore
        self.before_drop: Callable[[Stream], None] = _ignore_stream
        self.dirty_sink: list[Stream] = []
        self.keys_lsn = 0
        self._next_sid = 1
        self._next_ns = FRESH_NAMESPACES
        self.namespaces = list(range(1, databases + 1))
        self.counts = dict.fromkeys(self.namespaces, 0)
        directory = store.get_row(rowkeys.DIRECTORY)
        if directory is not None:
            self._load_directory(json.loads(directory))
        self.db_of = {ns: db for db, ns in enumerate(self.namespaces)}
        self.live: dict[int, dict[bytes, Value]] = {ns: {} for ns in self.namespaces}
        self.tables: list[dict[bytes, Value]] = [self.live[ns] for ns in self.namespaces]

    def _load_directory(self, state: dict[str, Any]) -> None:
        self._next_sid = state["next_sid"]
        self._next_ns = max(FRESH_NAMESPACES, state["next_ns"])
        self.keys_lsn = state["lsn"]
        saved = {int(db): ns for db, ns in state["databases"].items()}
        self.namespaces.extend(range(len(self.namespaces) + 1, max(saved) + 2))
        for db, ns in saved.items():
            self.namespaces[db] = ns
        self.counts = {ns: state["counts"].get(str(ns), 0) for ns in self.namespaces}

    def dump_directory(self, lsn: int) -> bytes:
        """The directory row as of ``lsn``."""
        return json.dumps(
            {
                "next_sid": self._next_sid,
                "next_ns": self._next_ns,
                "databases": {str(db): ns for db, ns in enumerate(self.namespaces)},
                "counts": {str(ns): n for ns, n in self.counts.items() if n},
                "lsn": lsn,
            }
        ).encode()

    def _open_database(self, db: int) -> None:
        """Databases up to ``db`` exist: the log may speak of more than the setting allows now."""
        for fresh in range(len(self.namespaces), db + 1):
            ns = fresh + 1
            self.namespaces.append(ns)
            self.counts[ns] = 0
            self.db_of[ns] = fresh
            self.live[ns] = {}
            self.tables.append(self.live[ns])

    # ── looking up ───────────────────────────────────────────────────────────────────────────────

    def lookup(self, ns: int, key: bytes) -> Value | None:
        """What a key holds, loaded if need be."""
        table = self.live[ns]
        found = table.get(key)
        if found is not None:
            return found
        value = self._row(rowkeys.key_row(ns, self.slot_of(key), key))
        if value is None:
            return None
        if not rowkeys.is_stream(value):
            table[key] = value[1:]
            return value[1:]
        stream = self.stream_by_sid(rowkeys.sid_of(value))
        if stream is None:
            raise Corruption(self.store.path, 0, f"key {key!r} names a stream that has no header")
        stream.ns = ns
        stream.key = key
        table[key] = stream
        return stream

    def stream(self, ns: int, key: bytes) -> Stream | None:
        """The stream of a key. Raises WrongTypeError where the key holds something else."""
        found = self.lookup(ns, key)
        if found is None or isinstance(found, Stream):
            return found
        raise WrongTypeError

    def string(self, ns: int, key: bytes) -> bytes | None:
        """The string of a key. Raises WrongTypeError where the key holds something else."""
        found = self.lookup(ns, key)
        if found is None or isinstance(found, bytes):
            return found
        raise WrongTypeError

    def kind(self, ns: int, key: bytes) -> bytes | None:
        """``stream``, ``string``, or None where there is no such key. Loads nothing."""
        found = self.live[ns].get(key)
        if found is not None:
            return b"string" if isinstance(found, bytes) else b"stream"
        value = self._row(rowkeys.key_row(ns, self.slot_of(key), key))
        if value is None:
            return None
        return b"stream" if rowkeys.is_stream(value) else b"string"

    @property
    def has_garbage(self) -> bool:
        """Whether stored streams were deleted since the last flush."""
        return bool(self.dead_sids or self.dead_namespaces)

    def size(self, ns: int) -> int:
        """How many keys a namespace has."""
        return self.counts.get(ns, 0)

    def keys(self, ns: int) -> Iterator[bytes]:
        """All keys of a namespace."""
        for row_key, _ in self._merged(*rowkeys.namespace_bounds(ns)):
            yield rowkeys.name_of(row_key)

    def scan(self, ns: int, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        """At least ``count`` (key, kind) from ``cursor`` on, and the next cursor (0: all seen).

        Keys with one hash come together, so every key that stays is seen.
        """
        found: list[tuple[bytes, bytes]] = []
        last = -1
        for row_key, value in self._merged(
            rowkeys.scan_start(ns, cursor), rowkeys.namespace_bounds(ns)[1]
        ):
            at = rowkeys.scan_cursor(row_key)
            if len(found) >= count and at != last:
                return at, found
            last = at
            kind = b"stream" if rowkeys.is_stream(value) else b"string"
            found.append((rowkeys.name_of(row_key), kind))
        return 0, found

    def _row(self, row_key: bytes) -> bytes | None:
        for rows in (self.rows, self.frozen):
            if row_key in rows:
                value: bytes | None = rows[row_key]
                return value
        return self.store.get_row(row_key)

    def _merged(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        def ranked(
            rows: SortedDict[bytes, bytes | None], rank: int
        ) -> Iterator[tuple[bytes, int, bytes | None]]:
            for row_key in rows.irange(start, end, inclusive=(True, False)):
                yield row_key, rank, rows[row_key]

        stored = ((row_key, 2, value) for row_key, value in self.store.scan_rows(start, end))
        previous = None
        for row_key, _, value in heapq.merge(
            ranked(self.rows, 0), ranked(self.frozen, 1), stored, key=lambda row: row[:2]
        ):
            if row_key != previous:
                previous = row_key
                if value is not None:
                    yield row_key, value

    # ── the apply half of key records ────────────────────────────────────────────────────────────

    def new_sid(self) -> int:
        """A stream id that was never used."""
        self._next_sid += 1
        return self._next_sid - 1

    def note_sid(self, sid: int) -> None:
        """This stream id is taken."""
        self._next_sid = max(self._next_sid, sid + 1)

    def new_namespace(self) -> int:
        """A namespace id that was never used."""
        return self._next_ns

    def put_stream(self, ns: int, key: bytes, sid: int) -> Stream:
        """A new, empty stream under a key that is free."""
        if ns not in self.live:
            self._open_database(ns - 1)
        stream = Stream(sid, ns, key, self.read_block)
        self.by_sid[sid] = stream
        self.live[ns][key] = stream
        self.rows[rowkeys.key_row(ns, self.slot_of(key), key)] = rowkeys.stream_value(sid)
        self.counts[ns] += 1
        self.on_change(ns, key)
        return stream

    def put_string(self, ns: int, key: bytes, value: bytes) -> None:
        """A string under ``key``, whatever was there."""
        if ns not in self.live:
            self._open_database(ns - 1)
        held = self.lookup(ns, key)
        if isinstance(held, Stream):
            self._drop(held)
        if held is None:
            self.counts[ns] += 1
        self.live[ns][key] = value
        self.rows[rowkeys.key_row(ns, self.slot_of(key), key)] = rowkeys.string_value(value)
        self.on_change(ns, key)

    def remove(self, ns: int, key: bytes) -> None:
        """Forget ``key`` and what it held. REQUIRES: it exists."""
        held = self.lookup(ns, key)
        if isinstance(held, Stream):
            self._drop(held)
        self.live[ns].pop(key, None)
        self.rows[rowkeys.key_row(ns, self.slot_of(key), key)] = None
        self.counts[ns] -= 1
        self.on_change(ns, key)

    def move_database(self, db: int, ns: int) -> None:
        """Database ``db`` is the fresh namespace ``ns`` from now on."""
        self._open_database(db)
        old = self.namespaces[db]
        self._next_ns = max(self._next_ns, ns + 1)
        for held in self.live[old].values():
            if isinstance(held, Stream):
                self._drop(held, listed=False)
        gone = list(self.live.pop(old))
        self.dead_namespaces.append(old)
        del self.counts[old]
        self.namespaces[db] = ns
        del self.db_of[old]
        self.db_of[ns] = db
        self.counts[ns] = 0
        self.live[ns] = {}
        self.tables[db] = self.live[ns]
        for key in gone:
            self.on_change(ns, key)

    def _drop(self, stream: Stream, *, listed: bool = True) -> None:
        self.before_drop(stream)
        stream.dropped = True
        self.by_sid.pop(stream.sid, None)
        if stream.stored and listed:
            self.dead_sids.append(stream.sid)

    # ── loading and leaving memory ───────────────────────────────────────────────────────────────

    def read_block(self, run: Run, index: int) -> Block:
        """Read a cold block and keep it."""
        block = self.store.read_block(run, index)
        self.cache.add(run, index, block)
        self.cache.make_room()
        return block

    def stream_by_sid(self, sid: int) -> Stream | None:
        """The stream with this id, loaded if need be."""
        stream = self.by_sid.get(sid)
        if stream is not None:
            return stream
        header = self.store.get_row(rowkeys.header_row(sid))
        if header is None:
            return None
        try:
            stream = self._load(sid, header)
        except (ValueError, KeyError, struct.error) as error:
            raise Corruption(self.store.path, 0, f"rows of stream {sid}: {error!r}") from error
        self.by_sid[sid] = stream
        self.resident_bytes += stream.memory_bytes
        return stream

    def _load(self, sid: int, header: bytes) -> Stream:
        stream = Stream(sid, 0, b"", self.read_block)
        stream.load_header(header)
        stream.attach(self.store.runs(sid))
        if stream.next_gid > 1:
            self._load_groups(stream)
        if stream.max_deleted_id != (0, 0):
            for row_key, value in self.store.scan_rows(*rowkeys.sid_bounds(b"X", sid)):
                stream.load_page(rowkeys.suffix(row_key), value)
        stream.stored = True
        return stream

    def _load_groups(self, stream: Stream) -> None:
        groups: dict[int, Group] = {}
        for row_key, value in self.store.scan_rows(*rowkeys.sid_bounds(b"G", stream.sid)):
            group = Group.load(rowkeys.suffix(row_key), value)
            groups[group.gid] = group
            stream.groups[group.name] = group
        for row_key, value in self.store.scan_rows(*rowkeys.sid_bounds(b"P", stream.sid)):
            groups[rowkeys.gid_of_chunk(row_key)].pending.load_chunk(rowkeys.suffix(row_key), value)
        for group in groups.values():
            group.count_pending()

    def exchange_runs(self, replaced: frozenset[int], sid: int) -> Iterator[None]:
        """A merge has replaced these segments: let resident streams read the new ones.

        Stream by stream; ``sid`` alone if it is not 0. Until its turn comes a stream goes on with
        the old ones.
        """
        for each in [sid] if sid else list(self.by_sid):
            stream = self.by_sid.get(each)
            if stream is None or not any(run.segment.number in replaced for run in stream.runs):
                continue
            with contextlib.suppress(Corruption):  # who reads there next is told
                for run in stream.replace_runs(self.store.runs(each), replaced):
                    self.cache.adopt(run)
            yield

    def forget(self, sid: int) -> None:
        """This stream is dead; it may still be in memory where only its sid was known."""
        stream = self.by_sid.pop(sid, None)
        if stream is not None:
            stream.dropped = True

    def mark_dirty(self, stream: Stream) -> None:
        """Replay touched this stream: its rows are behind."""
        self.dirty_sink.append(stream)

    def make_room(self, busy: set[int]) -> int:
        """Let cold, clean streams leave memory until their share is kept; how many left.

        ``busy`` holds the sids of a flush under way.
        """
        sizes = {
            sid: stream.memory_bytes + sum(group.memory_bytes for group in stream.groups.values())
            for sid, stream in self.by_sid.items()
        }
        self.resident_bytes = sum(sizes.values())
        if self.resident_bytes <= self.resident_limit_bytes:
            return 0
        target = self.resident_limit_bytes * 3 // 4
        left = 0
        for stream in sorted(self.by_sid.values(), key=lambda stream: stream.touched_tick):
            if self.resident_bytes <= target:
                break
            if stream.dirty or stream.waiters or stream.sid in busy or not stream.stored:
                continue
            if stream.ns:
                self.live[stream.ns].pop(stream.key, None)
            del self.by_sid[stream.sid]
            stream.dropped = True  # who still holds it must look the key up again
            self.resident_bytes -= sizes[stream.sid]
            left += 1
        self._crowded_bytes = max(self.resident_limit_bytes, self.resident_bytes * 5 // 4)
        return left

    @property
    def is_crowded(self) -> bool:
        """Whether so much was loaded that ``make_room`` is due."""
        return self.resident_bytes > self._crowded_bytes


def _ignore(_ns: int, _key: bytes) -> None:
    """Nobody waits for keys."""


def _ignore_stream(_stream: Stream) -> None:
    """No flush is being planned."""
