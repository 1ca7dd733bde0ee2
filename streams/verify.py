"""Whether the state that rows, segments and log add up to is one that the server could have made.

Rules: the log is applied in memory, as recovery does, and nothing is written. What is checked is
what ``check`` of streams, groups and producers asserts (positions without holes, IDs that ascend,
counts, virtual nodes, pending chunks), and beside it what holds between them: keys and headers,
rows of streams that are gone, copies and what they share, the index of what expires, the counts of
the directory. Blocks are not read: that is the store's own (lsmstore/survey.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lsmstore.errors import StorageError
from lsmstore.view import StoreView
from streams import rowkeys
from streams.blockcache import BlockCache
from streams.group import pending_of
from streams.keyrow import KeyRow
from streams.keyspace import Keyspace, Tally
from streams.replay import RecordError, Replay
from streams.stream import Stream, bases_of

CACHE_BYTES: Final = 16 << 20
RESIDENT_BYTES: Final = 64 << 20
PARTS: Final = {b"G": "group", b"P": "pending chunk", b"X": "page of deletions", b"I": "producer"}


@dataclass
class Holdings:
    """What a store holds."""

    keys: int = 0
    streams: int = 0
    entries: int = 0
    groups: int = 0
    pending: int = 0
    records: int = 0
    """In the log above the floor."""


def open_keyspace(view: StoreView, slot_of: Callable[[bytes], int]) -> tuple[Keyspace, int]:
    """The keys of a store with its log applied, and how many records that was.

    Raises StorageError or RecordError.
    """
    keyspace = Keyspace(view, 1, slot_of, BlockCache(CACHE_BYTES), RESIDENT_BYTES)
    replay = Replay(keyspace)
    records = 0
    for first_lsn, payload in view.replay():
        records += replay.apply(first_lsn, payload)
    return keyspace, records


def verify(view: StoreView, slot_of: Callable[[bytes], int], holdings: Holdings) -> Iterator[str]:
    """What is wrong, in words; ``holdings`` is filled."""
    try:
        keyspace, holdings.records = open_keyspace(view, slot_of)
    except RecordError as error:
        yield f"the log does not fit what it is applied to: {error}"
        return
    try:
        yield from _Verifier(view, keyspace, holdings).run()
    except (struct.error, IndexError, KeyError, ValueError) as error:
        yield f"a row cannot be read: {error!r}"


class _Verifier:
    def __init__(self, view: StoreView, keyspace: Keyspace, holdings: Holdings) -> None:
        self._view = view
        self._keyspace = keyspace
        self._holdings = holdings
        self._named: dict[int, bytes] = {}

    def run(self) -> Iterator[str]:
        for db, ns in enumerate(self._keyspace.namespaces):
            yield from self._check_keys(db, ns)
        yield from self._check_headers()
        yield from self._check_parts()
        yield from self._check_pending()
        yield from self._check_lends()
        yield from self._check_expiry()

    def _check_keys(self, db: int, ns: int) -> Iterator[str]:
        keyspace = self._keyspace
        tally = Tally()
        for row_key, value in keyspace.merged(*rowkeys.namespace_bounds(ns)):
            key = rowkeys.name_of(row_key)
            try:
                row = KeyRow(value)
                sid = row.sid if row.is_stream else 0
            except (struct.error, IndexError):
                yield f"the row of key {key!r} of database {db} cannot be read"
                continue
            if row_key != rowkeys.key_row(ns, keyspace.slot_of(key), key):
                yield f"the row of key {key!r} of database {db} is in the wrong place"
            tally.keys += 1
            if row.expires_ms:
                tally.expiring += 1
                tally.expires_ms_sum += row.expires_ms
                index = rowkeys.expiry_row(row.expires_ms, ns, key)
                if next(iter(keyspace.merged(index, index + b"\0")), None) is None:
                    yield f"key {key!r} of database {db} expires, and the index does not say so"
            if row.is_stream:
                if sid in self._named:
                    yield f"keys {self._named[sid]!r} and {key!r} are one stream, {sid}"
                self._named[sid] = key
                yield from self._check_stream(db, key, sid)
        self._holdings.keys += tally.keys
        if keyspace.tallies[ns] != tally:
            yield f"database {db} has {tally}, the directory says {keyspace.tallies[ns]}"

    def _check_stream(self, db: int, key: bytes, sid: int) -> Iterator[str]:
        about = f"stream {key!r} of database {db} ({sid})"
        keyspace, holdings = self._keyspace, self._holdings
        try:
            stream = keyspace.stream_by_sid(sid)
            if stream is None:
                yield f"{about} has no header"
                return
            stream.check()
            yield from _check_order(about, stream)
            for group in stream.groups.values():
                holdings.pending += group.pending.length
                group.check()
        except (AssertionError, ValueError) as error:
            yield f"{about}: {str(error) or 'its parts do not fit together'}"
            return
        except StorageError as error:
            yield f"{about} cannot be read: {error}"
            return
        holdings.streams += 1
        holdings.entries += stream.length
        holdings.groups += len(stream.groups)
        if keyspace.is_crowded:
            keyspace.make_room(set())

    def _check_headers(self) -> Iterator[str]:
        """Every stream has a key, but for those that the log has deleted since."""
        gone = set(self._keyspace.dead_sids)
        for ns in self._keyspace.dead_namespaces:
            for _, value in self._keyspace.merged(*rowkeys.namespace_bounds(ns)):
                row = KeyRow(value)
                if row.is_stream:
                    gone.add(row.sid)
        for row_key, _ in self._view.scan_rows(b"S", b"T"):
            sid = rowkeys.sid_of(row_key)
            if sid not in self._named and sid not in gone:
                yield f"stream {sid} has no key"

    def _check_parts(self) -> Iterator[str]:
        """Rows of streams belong to a stream."""
        for kind, what in PARTS.items():
            before = -1
            for row_key, _ in self._view.scan_rows(kind, bytes([kind[0] + 1])):
                sid = rowkeys.sid_of(row_key)
                if sid != before and self._view.get_row(rowkeys.header_row(sid)) is None:
                    yield f"there is a {what} of stream {sid}, which has no header"
                before = sid

    def _check_pending(self) -> Iterator[str]:
        """The chunks of a group hold as many entries as its row says."""
        held: dict[bytes, int] = {}
        for row_key, value in self._view.scan_rows(b"P", b"Q"):
            group = row_key[1:13]
            held[group] = held.get(group, 0) + int.from_bytes(value[:2], "little")
        for row_key, value in self._view.scan_rows(b"G", b"H"):
            said = pending_of(value)
            if held.get(row_key[1:], 0) != said:
                sid, gid = rowkeys.sid_of(row_key), rowkeys.suffix(row_key)
                there = held.get(row_key[1:], 0)
                yield f"group {gid} of stream {sid} has {there} pending entries of {said}"

    def _check_lends(self) -> Iterator[str]:
        """What a copy shares is known to be shared."""
        view = self._view
        for row_key, value in view.scan_rows(b"S", b"T"):
            sid = rowkeys.sid_of(row_key)
            for base, end_pos in bases_of(value):
                lent = view.get_row(rowkeys.lent_row(base, sid))
                if lent != end_pos.to_bytes(8, "big"):
                    yield f"stream {sid} shares stream {base} up to {end_pos}, and no row says so"
        for row_key, value in view.scan_rows(b"R", b"S"):
            base, copy = rowkeys.sid_of(row_key), rowkeys.lent_to(row_key)
            header = view.get_row(rowkeys.header_row(copy))
            shared = [] if header is None else bases_of(header)
            if (base, int.from_bytes(value, "big")) not in shared:
                yield f"stream {copy} is said to share stream {base}, and does not"

    def _check_expiry(self) -> Iterator[str]:
        keyspace = self._keyspace
        for row_key, _ in keyspace.merged(rowkeys.EXPIRY_FIRST, rowkeys.EXPIRY_LAST):
            ns, key = rowkeys.expiring_key(row_key)
            if ns not in keyspace.live:
                continue  # of a database that was emptied; a flush takes it
            row = keyspace.row(ns, key)
            if row is None or row.expires_ms != rowkeys.expiry_ms(row_key):
                yield f"the index says that key {key!r} expires at another time than its row"


def _check_order(about: str, stream: Stream) -> Iterator[str]:
    """IDs ascend from run to run and to the memtable."""
    last = (-1, -1)
    for run in stream.runs:
        if run.first_id(0) <= last:
            yield f"{about}: IDs do not ascend at position {run.first_pos}"
        last = run.last
    for block in stream.mem:
        if block.first <= last:
            yield f"{about}: IDs do not ascend at position {block.first_pos}"
        last = block.last
    if last > stream.last_id:
        yield f"{about}: its last ID is below that of an entry"
