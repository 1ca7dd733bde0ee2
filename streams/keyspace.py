"""The key directory: which keys there are, what they hold, which of it is in memory.

Rules:

- Memory is a cache of the store. ``tables[db]`` maps the streams of a database that are in memory
  by their keys; what is not there is looked up in the key rows and loaded. Strings are their rows
  and live nowhere else; missing keys are not cached.
- Key rows changed since the last flush sit in ``rows`` (the directory's memtable), those of a flush
  under way in ``frozen``; the store has the rest. Newest wins.
- When a key expires stands in its row, and for a stream in memory in ``Stream.expires_ms``, too. An
  index of it, by time, is rows as well (streams/expiry.py). Whoever looks a key up finds nothing
  once it is due at ``now_ms``: ``on_expired`` is asked to delete it, which makes a record. The
  apply half does not look at the time.
- A database is a namespace id; emptying a database gives it a new one, and the old one's rows go at
  the next flush. Swapping two databases swaps their ids.
- What follows "the apply half" are the methods that the log's key records are made of.

Directory row (JSON): ``next_sid, next_ns, databases {db: ns}, counts {ns: keys}, expiring {ns:
[keys, sum of their times]}, lsn`` (key records up to it are in rows).
"""

from __future__ import annotations

import heapq
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sortedcontainers import SortedDict

from lsmstore.block import Block, Run
from lsmstore.errors import Corruption
from lsmstore.view import StoreView
from streams import lending, rowkeys
from streams.blockcache import BlockCache
from streams.expiry import ExpiryIndex
from streams.keyrow import EMPTY_STRING, KeyRow, stream_row, string_row
from streams.loading import load_stream
from streams.stream import Stream
from streams.touched import Touched

Value = Stream | bytes

# Namespaces of emptied databases. Below are those that databases begin with: the number plus one.
FRESH_NAMESPACES = 1 << 31

# Values of rows of the expiry index that are not in the store yet: one that the store cannot have,
# which needs no tombstone when it goes, and one that the store may have.
NEW: Final = b""
AGAIN: Final = b"+"


@dataclass(slots=True)
class Tally:
    """How many keys a namespace has, how many of them expire, and the sum of their times."""

    keys: int = 0
    expiring: int = 0
    expires_ms_sum: int = 0

    def mean_ttl_ms(self, now_ms: int) -> int:
        """How long a key that expires still has to live, on average."""
        return max(self.expires_ms_sum // self.expiring - now_ms, 0) if self.expiring else 0


class WrongTypeError(Exception):
    """The key holds another kind of value."""


class Keyspace:
    """All databases of a node."""

    def __init__(
        self,
        store: StoreView,
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
        self._copies: list[Stream] = []  # of which the rows may not know yet
        self.dead_sids: list[int] = []
        self.dead_namespaces: list[int] = []
        self.now_ms = 0
        """Wall time of this tick; 0: keys are found whatever their time, as recovery needs it."""
        self.expiry = ExpiryIndex(self.merged)
        self.touched = Touched()
        self._recent: tuple[int, bytes] | None = None
        self._recent_row_key = b""
        self.on_change: Callable[[int, bytes], None] = _ignore
        self.on_database: Callable[[int], None] = _ignore
        self.on_expired: Callable[[int, bytes], object] = _ignore
        self.before_drop: Callable[[Stream], None] = _ignore
        self.dirty_sink: list[Stream] = []
        self.unwatched: list[Stream] = []
        self.keys_lsn = 0
        self._next_sid = 1
        self._next_ns = FRESH_NAMESPACES
        self.namespaces = list(range(1, databases + 1))
        self.tallies = {ns: Tally() for ns in self.namespaces}
        directory = store.get_row(rowkeys.DIRECTORY)
        if directory is not None:
            self._load_directory(json.loads(directory))
        self.db_of = {ns: db for db, ns in enumerate(self.namespaces)}
        self.live: dict[int, dict[bytes, Stream]] = {ns: {} for ns in self.namespaces}
        self.tables: list[dict[bytes, Stream]] = [self.live[ns] for ns in self.namespaces]

    def _load_directory(self, state: dict[str, Any]) -> None:
        self._next_sid = state["next_sid"]
        self._next_ns = max(FRESH_NAMESPACES, state["next_ns"])
        self.keys_lsn = state["lsn"]
        saved = {int(db): ns for db, ns in state["databases"].items()}
        self.namespaces.extend(range(len(self.namespaces) + 1, max(saved) + 2))
        for db, ns in saved.items():
            self.namespaces[db] = ns
        self.tallies = {
            ns: Tally(state["counts"].get(str(ns), 0), *state["expiring"].get(str(ns), (0, 0)))
            for ns in self.namespaces
        }

    def dump_directory(self, lsn: int) -> bytes:
        """The directory row as of ``lsn``."""
        tallies = sorted(self.tallies.items())
        return json.dumps(
            {
                "next_sid": self._next_sid,
                "next_ns": self._next_ns,
                "databases": {str(db): ns for db, ns in enumerate(self.namespaces)},
                "counts": {str(ns): tally.keys for ns, tally in tallies if tally.keys},
                "expiring": {
                    str(ns): [tally.expiring, tally.expires_ms_sum]
                    for ns, tally in tallies
                    if tally.expiring
                },
                "lsn": lsn,
            }
        ).encode()

    def _open_database(self, db: int) -> None:
        """Databases up to ``db`` exist: the log may speak of more than the setting allows now."""
        for fresh in range(len(self.namespaces), db + 1):
            ns = fresh + 1
            self.namespaces.append(ns)
            self.tallies[ns] = Tally()
            self.db_of[ns] = fresh
            self.live[ns] = {}
            self.tables.append(self.live[ns])

    # ── looking up ───────────────────────────────────────────────────────────────────────────────

    def row(self, ns: int, key: bytes) -> KeyRow | None:
        """The row of a key, whether it is due or not."""
        data = self._row(self._row_key(ns, key))
        return None if data is None else KeyRow(data)

    def find(self, ns: int, key: bytes) -> KeyRow | None:
        """The row of a key that has not expired. Loads nothing."""
        row = self.row(ns, key)
        if row is not None and self.is_due(row.expires_ms):
            self.on_expired(ns, key)
            return None
        return row

    def is_due(self, expires_ms: int) -> bool:
        """Whether what expires at this time has expired; 0: never."""
        return 0 < expires_ms <= self.now_ms

    def lookup(self, ns: int, key: bytes) -> Value | None:
        """What a key holds, a stream loaded if need be."""
        stream = self.live[ns].get(key)
        if stream is None:
            row = self.find(ns, key)
            if row is None:
                return None
            return self._load_key(ns, key, row) if row.is_stream else row.string
        if self.is_due(stream.expires_ms):
            self.on_expired(ns, key)
            return None
        stream.touched_ms = self.now_ms
        return stream

    def _load_key(self, ns: int, key: bytes, row: KeyRow) -> Stream:
        """The stream of a key, brought into memory."""
        stream = self.stream_by_sid(row.sid)
        if stream is None:
            raise Corruption(self.store.path, 0, f"key {key!r} names a stream that has no header")
        stream.ns = ns
        stream.key = key
        stream.expires_ms = row.expires_ms
        stream.touched_ms = self.now_ms
        self.live[ns][key] = stream
        return stream

    def stream(self, ns: int, key: bytes) -> Stream | None:
        """The stream of a key. Raises WrongTypeError where the key holds something else."""
        found = self.lookup(ns, key)
        if found is None or isinstance(found, Stream):
            return found
        raise WrongTypeError

    def string(self, ns: int, key: bytes) -> bytes | None:
        """The string of a key. Raises WrongTypeError where the key holds something else."""
        row = self.string_row(ns, key)
        return None if row is None else row.string

    def string_row(self, ns: int, key: bytes) -> KeyRow | None:
        """The row of a string. Raises WrongTypeError where the key holds something else."""
        row = self.find(ns, key)
        if row is not None and row.is_stream:
            raise WrongTypeError
        self.touched.note(ns, key, self.now_ms)
        return row

    def kind(self, ns: int, key: bytes) -> bytes | None:
        """``stream``, ``string``, or None where there is no such key. Loads nothing."""
        row = self.find(ns, key)
        return None if row is None else row.kind

    def touch(self, ns: int, key: bytes) -> bool:
        """Somebody is interested in a key; whether there is one. Loads nothing."""
        if self.find(ns, key) is None:
            return False
        stream = self.live[ns].get(key)
        if stream is not None:
            stream.touched_ms = self.now_ms
        else:
            self.touched.note(ns, key, self.now_ms)
        return True

    def idle_ms(self, ns: int, key: bytes) -> int:
        """For how long nobody was interested in a key, at least."""
        stream = self.live[ns].get(key)
        at_ms = self.touched.at_ms(ns, key) if stream is None else stream.touched_ms
        return max(self.now_ms - at_ms, 0)

    def set_idle(self, ns: int, key: bytes, idle_s: int) -> None:
        """Nobody was interested in a key that exists for so long."""
        at_ms = max(self.now_ms - 1000 * idle_s, 0)
        stream = self.live[ns].get(key)
        if stream is not None:
            stream.touched_ms = at_ms
        else:
            self.touched.note(ns, key, at_ms)

    @property
    def has_garbage(self) -> bool:
        """Whether stored streams were deleted since the last flush."""
        return bool(self.dead_sids or self.dead_namespaces)

    def size(self, ns: int) -> int:
        """How many keys a namespace has, those included that are due and not deleted yet."""
        return self.tallies[ns].keys

    def keys(self, ns: int) -> Iterator[bytes]:
        """All keys of a namespace that have not expired."""
        for row_key, value in self.merged(*rowkeys.namespace_bounds(ns)):
            if not self.is_due(KeyRow(value).expires_ms):
                yield rowkeys.name_of(row_key)

    def scan(self, ns: int, cursor: int, count: int) -> tuple[int, list[tuple[bytes, KeyRow]]]:
        """At least ``count`` (key, row) from ``cursor`` on, and the next cursor (0: all seen).

        Keys with one hash come together, so every key that stays is seen. Keys that are due are
        among them.
        """
        found: list[tuple[bytes, KeyRow]] = []
        last = -1
        for row_key, value in self.merged(
            rowkeys.scan_start(ns, cursor), rowkeys.namespace_bounds(ns)[1]
        ):
            at = rowkeys.scan_cursor(row_key)
            if len(found) >= count and at != last:
                return at, found
            last = at
            found.append((rowkeys.name_of(row_key), KeyRow(value)))
        return 0, found

    def _row_key(self, ns: int, key: bytes) -> bytes:
        """The row key of a key; most commands ask for the same one several times."""
        if (ns, key) != self._recent:
            self._recent = (ns, key)
            self._recent_row_key = rowkeys.key_row(ns, self.slot_of(key), key)
        return self._recent_row_key

    def _row(self, row_key: bytes) -> bytes | None:
        for rows in (self.rows, self.frozen):
            if row_key in rows:
                value: bytes | None = rows[row_key]
                return value
        return self.store.get_row(row_key)

    def merged(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows of the directory from ``start`` to before ``end``; nothing may change within."""

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
        stream.touched_ms = self.now_ms
        self.by_sid[sid] = stream
        self.live[ns][key] = stream
        self._set_row(ns, key, None, stream_row(sid))
        self.on_change(ns, key)
        return stream

    def put_string(self, ns: int, key: bytes, value: bytes, expires_ms: int) -> None:
        """A string under ``key``, whatever was there; ``expires_ms`` 0: it does not expire."""
        if ns not in self.live:
            self._open_database(ns - 1)
        held = self.row(ns, key)
        if held is not None:
            self._let_go(ns, key, held)
        self._set_row(ns, key, held, string_row(value, expires_ms))
        self.touched.note(ns, key, self.now_ms)
        self.on_change(ns, key)

    def patch_string(self, ns: int, key: bytes, offset: int, data: bytes) -> int:
        """Write ``data`` into a string from ``offset`` on, over zeros where it was shorter.

        Returns by how much the memtable has grown.
        """
        if ns not in self.live:
            self._open_database(ns - 1)
        held = self.row(ns, key)
        in_memory = self._row_key(ns, key) in self.rows
        patched = (held or EMPTY_STRING).patched(offset, data)
        self._set_row(ns, key, held, patched)
        self.on_change(ns, key)
        return len(patched) - (len(held.data) if held is not None and in_memory else 0)

    def expire(self, ns: int, key: bytes, expires_ms: int) -> None:
        """When a key that exists expires; 0: never."""
        held = self.row(ns, key)
        assert held is not None
        self._set_row(ns, key, held, held.expiring(expires_ms))
        stream = self.live[ns].get(key)
        if stream is not None:
            stream.expires_ms = expires_ms

    def remove(self, ns: int, key: bytes) -> None:
        """Forget ``key`` and what it held. REQUIRES: it exists."""
        held = self.row(ns, key)
        assert held is not None
        self._let_go(ns, key, held)
        self._set_row(ns, key, held, None)
        self.on_change(ns, key)

    def move_key(self, ns: int, key: bytes, to_ns: int, to_key: bytes) -> None:
        """What ``key`` holds, and when it expires, is ``to_key``'s now, whatever that held.

        REQUIRES: the first exists, the second is another one.
        """
        if to_ns not in self.live:
            self._open_database(to_ns - 1)
        moved = self.row(ns, key)
        assert moved is not None
        held = self.row(to_ns, to_key)
        if held is not None:
            self._let_go(to_ns, to_key, held)
        stream = self.live[ns].pop(key, None)
        if stream is not None:
            stream.ns = to_ns
            stream.key = to_key
            stream.waiters = 0  # they wait for the key
            self.live[to_ns][to_key] = stream
        self._set_row(ns, key, moved, None)
        self._set_row(to_ns, to_key, held, moved.data)
        self.on_change(ns, key)
        self.on_change(to_ns, to_key)

    def copy_stream(
        self, ns: int, key: bytes, sid: int, source: Stream, expires_ms: int
    ) -> tuple[Stream, int]:
        """A copy of a stream under ``key``, whatever was there; and its bytes in the memtable."""
        if ns not in self.live:
            self._open_database(ns - 1)
        self.before_drop(source)  # a flush that is under way takes it as it is before the copy
        held = self.row(ns, key)
        if held is not None:
            self._let_go(ns, key, held)
        stream = Stream(sid, ns, key, self.read_block)
        held_bytes = stream.copy_from(source)
        stream.expires_ms = expires_ms
        stream.touched_ms = self.now_ms
        self.watch_producers(stream)
        self._copies.append(stream)
        self.by_sid[sid] = stream
        self.live[ns][key] = stream
        self._set_row(ns, key, held, stream_row(sid, expires_ms))
        self.on_change(ns, key)
        return stream, held_bytes

    def fresh_lends(self) -> dict[int, list[int]]:
        """What ``lending.fresh_lends`` says of all copies. REQUIRES: no flush is under way."""
        self._copies = [copy for copy in self._copies if copy.dirty and not copy.dropped]
        return lending.fresh_lends(copy.bases for copy in self._copies)

    def move_database(self, db: int, ns: int) -> None:
        """Database ``db`` is the fresh namespace ``ns`` from now on."""
        self._open_database(db)
        old = self.namespaces[db]
        self._next_ns = max(self._next_ns, ns + 1)
        for held in self.live.pop(old).values():
            self._drop(held, listed=False)
        self.dead_namespaces.append(old)
        del self.tallies[old]
        self.namespaces[db] = ns
        del self.db_of[old]
        self.db_of[ns] = db
        self.tallies[ns] = Tally()
        self.live[ns] = {}
        self.tables[db] = self.live[ns]
        self.on_database(db)

    def swap_databases(self, one: int, other: int) -> None:
        """Each of two databases is what the other was."""
        self._open_database(max(one, other))
        spaces, tables = self.namespaces, self.tables
        spaces[one], spaces[other] = spaces[other], spaces[one]
        tables[one], tables[other] = tables[other], tables[one]
        for db in (one, other):
            self.db_of[self.namespaces[db]] = db
            for stream in self.tables[db].values():
                stream.waiters = 0  # they wait for the key of the database
        for db in (one, other):
            self.on_database(db)

    def _set_row(self, ns: int, key: bytes, old: KeyRow | None, new: bytes | None) -> None:
        """Put a key row, and with it the count of keys and the index of what expires."""
        self.rows[self._row_key(ns, key)] = new
        tally = self.tallies[ns]
        tally.keys += (new is not None) - (old is not None)
        was_ms = 0 if old is None else old.expires_ms
        is_ms = 0 if new is None else KeyRow(new).expires_ms
        if was_ms == is_ms:
            return
        tally.expires_ms_sum += is_ms - was_ms
        tally.expiring += (is_ms > 0) - (was_ms > 0)
        if was_ms:
            row_key = rowkeys.expiry_row(was_ms, ns, key)
            if self.rows.get(row_key) == NEW:
                del self.rows[row_key]
            else:
                self.rows[row_key] = None
        if is_ms:
            row_key = rowkeys.expiry_row(is_ms, ns, key)
            self.rows[row_key] = AGAIN if row_key in self.rows else NEW
            self.expiry.add(row_key)

    def _let_go(self, ns: int, key: bytes, held: KeyRow) -> None:
        """The key will no longer hold what it held."""
        if not held.is_stream:
            return
        self.live[ns].pop(key, None)
        stream = self.by_sid.get(held.sid)
        if stream is None:
            self.dead_sids.append(held.sid)
        else:
            self._drop(stream)

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
            stream = load_stream(self.store, sid, header, self.read_block)
        except (ValueError, KeyError, struct.error) as error:
            raise Corruption(self.store.path, 0, f"rows of stream {sid}: {error!r}") from error
        self.watch_producers(stream)
        self.by_sid[sid] = stream
        self.resident_bytes += stream.memory_bytes
        return stream

    def forget(self, sid: int) -> None:
        """This stream is dead; it may still be in memory where only its sid was known."""
        stream = self.by_sid.pop(sid, None)
        if stream is not None:
            stream.dropped = True

    def watch_producers(self, stream: Stream) -> None:
        """The stream has iids that will expire: somebody should see to it."""
        if stream.producers is not None:
            stream.producers.watched = True
            self.unwatched.append(stream)

    def mark_dirty(self, stream: Stream) -> None:
        """Replay touched this stream: its rows are behind."""
        self.dirty_sink.append(stream)

    def let_go(self) -> None:
        """Let all clean streams and all cached blocks leave memory."""
        limits = self.resident_limit_bytes, self.cache.capacity_bytes
        self.resident_limit_bytes = self.cache.capacity_bytes = 0
        self.make_room(set())
        self.cache.make_room()
        self.resident_limit_bytes, self.cache.capacity_bytes = limits
        self._crowded_bytes = limits[0]

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
        for stream in sorted(self.by_sid.values(), key=lambda stream: stream.touched_ms):
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


def _ignore(*_what: object) -> None:
    """Nobody has to be told."""
