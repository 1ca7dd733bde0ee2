"""Records of keys: encoded into the journal's log and applied to the key directory.

Rules: those of streams/journal.py; streams/records.py has the grammar. What a record needs to know
of a key was looked up before, so that applying it reads nothing that was not read a moment ago.
"""

from __future__ import annotations

from typing import Protocol

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.streams.records import (
    KEY_COPY,
    KEY_DELETE,
    KEY_EXPIRE,
    KEY_EXPIRED,
    KEY_MOVE,
    KEY_PATCH,
    KEY_STRING,
    NAMESPACE,
    SWAP,
)

from streams.journal import Journal
from streams.keyrow import KeyRow
from streams.stream import Stream

KEY_ROW_BYTES = cython.declare(cython.longlong, 200)
EXPIRY_ROW_BYTES = cython.declare(cython.longlong, 150)


class Directory(Protocol):
    """The apply half of these records (streams/keyspace.py)."""

    def put_string(self, ns: int, key: bytes, value: bytes, expires_ms: int) -> None:
        """A string under ``key``, whatever was there."""

    def patch_string(self, ns: int, key: bytes, offset: int, data: bytes) -> int:
        """Write into a string; by how much the memtable grew."""

    def expire(self, ns: int, key: bytes, expires_ms: int) -> None:
        """When a key expires."""

    def remove(self, ns: int, key: bytes) -> None:
        """Forget ``key`` and what it held."""

    def move_key(self, ns: int, key: bytes, to_ns: int, to_key: bytes) -> None:
        """Another key holds what ``key`` held."""

    def copy_stream(
        self, ns: int, key: bytes, sid: int, source: Stream, expires_ms: int
    ) -> tuple[Stream, int]:
        """A copy of a stream under ``key``, whatever was there; and its bytes in the memtable."""

    def new_sid(self) -> int:
        """A stream id that was never used."""

    def new_namespace(self) -> int:
        """A namespace id that was never used."""

    def move_database(self, db: int, ns: int) -> None:
        """Database ``db`` is the fresh namespace ``ns`` from now on."""

    def swap_databases(self, one: int, other: int) -> None:
        """Each of two databases is what the other was."""


@cython.final
@cython.cclass
class KeyRecords:
    """Makes changes to keys."""

    def __init__(self, journal: Journal, keys: Directory) -> None:
        self.journal = journal
        self.keys = keys

    def begin(self, first, key):
        """Begin a record: a namespace or database, and a key where it has one."""
        self.journal.body.put_varint(first)
        if key is not None:
            self.journal.put_string(key)
            self.journal.memtable_bytes += KEY_ROW_BYTES + len(key)
        return 0

    def set_string(self, ns: int, key: bytes, value: bytes, expires_ms: uint64_t) -> None:
        """Set a string, over whatever was there; ``expires_ms`` 0: it does not expire."""
        self.begin(ns, key)
        self.journal.body.put_varint(expires_ms)
        self.journal.put_string(value)
        self.journal.seal(KEY_STRING)
        self.journal.memtable_bytes += len(value)
        if expires_ms:
            self.journal.memtable_bytes += EXPIRY_ROW_BYTES + len(key)
        self.keys.put_string(ns, key, value, expires_ms)

    def patch_string(self, ns: int, key: bytes, offset: uint64_t, data: bytes) -> None:
        """Write ``data`` into a string, or into a new one; what is between is zeros."""
        self.begin(ns, key)
        self.journal.body.put_varint(offset)
        self.journal.put_string(data)
        self.journal.seal(KEY_PATCH)
        self.journal.memtable_bytes += self.keys.patch_string(ns, key, offset, data)

    def expire(self, ns: int, key: bytes, expires_ms: uint64_t) -> None:
        """Let a key that exists expire; 0: never."""
        self.begin(ns, key)
        self.journal.body.put_varint(expires_ms)
        self.journal.seal(KEY_EXPIRE)
        self.journal.memtable_bytes += EXPIRY_ROW_BYTES + len(key)
        self.keys.expire(ns, key, expires_ms)

    def delete(self, ns: int, key: bytes) -> None:
        """Delete a key that exists."""
        self.begin(ns, key)
        self.journal.seal(KEY_DELETE)
        self.keys.remove(ns, key)

    def delete_expired(self, ns: int, key: bytes) -> None:
        """Delete a key that exists, as its time has come."""
        self.begin(ns, key)
        self.journal.seal(KEY_EXPIRED)
        self.keys.remove(ns, key)

    def move(self, ns: int, key: bytes, to_ns: int, to_key: bytes) -> None:
        """Rename a key that exists, over whatever is there, or move it to another namespace."""
        self.begin(ns, key)
        self.begin(to_ns, to_key)
        self.journal.seal(KEY_MOVE)
        self.keys.move_key(ns, key, to_ns, to_key)

    def copy_string(self, to_ns: int, to_key: bytes, row: KeyRow) -> None:
        """Copy a string, when it expires included, over whatever is there."""
        self.set_string(to_ns, to_key, row.string, row.expires_ms)

    def copy_stream(self, source: Stream, to_ns: int, to_key: bytes, expires_ms: uint64_t) -> None:
        """Copy a stream that is in memory, over whatever is there."""
        copy: Stream
        sid: uint64_t = self.keys.new_sid()
        self.begin(to_ns, None)
        self.journal.body.put_varint(sid)
        self.journal.put_string(to_key)
        self.journal.body.put_varint(expires_ms)
        self.journal.body.put_varint(source.sid)
        self.journal.seal(KEY_COPY)
        copy, held = self.keys.copy_stream(to_ns, to_key, sid, source, expires_ms)
        self.journal.touch(source)
        self.journal.touch(copy)
        self.journal.memtable_bytes += held

    def flush_database(self, db: int) -> None:
        """Empty a database: it gets a fresh namespace."""
        ns: uint64_t = self.keys.new_namespace()
        self.begin(db, None)
        self.begin(ns, None)
        self.journal.seal(NAMESPACE)
        self.keys.move_database(db, ns)

    def swap_databases(self, one: int, other: int) -> None:
        """Swap what two databases hold."""
        self.begin(one, None)
        self.begin(other, None)
        self.journal.seal(SWAP)
        self.keys.swap_databases(one, other)
