"""Keys and small values of the state rows.

Row keys, big-endian so that they sort as they read::

    key row       := 'K' u32 namespace, u16 slot, 5 bytes hash of the name (38 bits), name
    stream header := 'S' u64 sid                          value: streams/stream.py
    group         := 'G' u64 sid, u32 gid                 value: streams/group.py
    pending chunk := 'P' u64 sid, u32 gid, u32 chunk      value: streams/chunk.py
    deleted page  := 'X' u64 sid, u32 page                value: 512 bytes, a bit a position
    producer      := 'I' u64 sid, u32 number              value: streams/producers.py
    lent          := 'R' u64 sid, u64 sid of a copy       value: u64 end position of what it shares
    expiry        := 'E' u64 expires ms, u32 namespace, name              value: empty, or see
                                                                  Keyspace.set_row
    directory     := 'N'                                  value: JSON, see streams/keyspace.py

The value of a key row is described in streams/keyrow.py.
"""

from __future__ import annotations

import struct

import xxhash

HASH_BITS = 38
CURSOR_END = 1 << 14 + HASH_BITS
_KEY = struct.Struct(">cIHBI")
_SID = struct.Struct(">cQ")
_GROUP = struct.Struct(">cQI")
_CHUNK = struct.Struct(">cQII")
_LENT = struct.Struct(">cQQ")
_EXPIRY = struct.Struct(">cQI")
KEY_HEAD_BYTES = _KEY.size
DIRECTORY = b"N"
EXPIRY_FIRST = _EXPIRY.pack(b"E", 0, 0)
EXPIRY_LAST = b"F"


def name_hash(name: bytes) -> int:
    """The 38-bit hash by which keys of a slot are ordered."""
    return xxhash.xxh3_64_intdigest(name) >> (64 - HASH_BITS)


def key_row(ns: int, slot: int, name: bytes) -> bytes:
    """Row key of a key."""
    hashed = name_hash(name)
    return _KEY.pack(b"K", ns, slot, hashed >> 32, hashed & 0xFFFFFFFF) + name


def namespace_bounds(ns: int) -> tuple[bytes, bytes]:
    """[start, end) of the key rows of a namespace."""
    return _KEY.pack(b"K", ns, 0, 0, 0), _KEY.pack(b"K", ns + 1, 0, 0, 0)


def scan_start(ns: int, cursor: int) -> bytes:
    """The first row key at or after a SCAN cursor (slot and hash in one number)."""
    hashed = cursor & ((1 << HASH_BITS) - 1)
    return _KEY.pack(b"K", ns, cursor >> HASH_BITS, hashed >> 32, hashed & 0xFFFFFFFF)


def scan_cursor(row_key: bytes) -> int:
    """The SCAN cursor of a row key."""
    _, _, slot, high, low = _KEY.unpack_from(row_key)
    return int(slot) << HASH_BITS | int(high) << 32 | int(low)


def name_of(row_key: bytes) -> bytes:
    """The key that a row is about."""
    return row_key[KEY_HEAD_BYTES:]


def header_row(sid: int) -> bytes:
    """Row key of a stream's header."""
    return _SID.pack(b"S", sid)


def group_row(sid: int, gid: int) -> bytes:
    """Row key of a group."""
    return _GROUP.pack(b"G", sid, gid)


def chunk_row(sid: int, gid: int, number: int) -> bytes:
    """Row key of a pending chunk."""
    return _CHUNK.pack(b"P", sid, gid, number)


def page_row(sid: int, page: int) -> bytes:
    """Row key of a page of deleted positions."""
    return _GROUP.pack(b"X", sid, page)


def producer_row(sid: int, number: int) -> bytes:
    """Row key of a producer, or with number 0 of what counts for all of them."""
    return _GROUP.pack(b"I", sid, number)


def lent_row(sid: int, copy_sid: int) -> bytes:
    """Row key of a copy that shares a stream's segments."""
    return _LENT.pack(b"R", sid, copy_sid)


def lent_to(row_key: bytes) -> int:
    """The sid of the copy in such a row key."""
    return int.from_bytes(row_key[9:17], "big")


def sid_bounds(kind: bytes, sid: int) -> tuple[bytes, bytes]:
    """[start, end) of a stream's rows of one kind."""
    return _SID.pack(kind, sid), _SID.pack(kind, sid + 1)


def group_bounds(sid: int, gid: int) -> tuple[bytes, bytes]:
    """[start, end) of a group's pending chunks."""
    return _GROUP.pack(b"P", sid, gid), _GROUP.pack(b"P", sid, gid + 1)


def sid_of(row_key: bytes) -> int:
    """The sid in the row key of something of a stream."""
    return int.from_bytes(row_key[1:9], "big")


def suffix(row_key: bytes) -> int:
    """The last u32 of a row key: gid, chunk, page or producer."""
    return int.from_bytes(row_key[-4:], "big")


def gid_of_chunk(row_key: bytes) -> int:
    """The gid of a pending chunk's row key."""
    return int.from_bytes(row_key[9:13], "big")


def expiry_row(expires_ms: int, ns: int, name: bytes) -> bytes:
    """Row key of a key that expires, in the index of what expires."""
    return _EXPIRY.pack(b"E", expires_ms, ns) + name


def expiry_ms(row_key: bytes) -> int:
    """The time in a row of the index of what expires."""
    return int.from_bytes(row_key[1:9], "big")


def expiring_key(row_key: bytes) -> tuple[int, bytes]:
    """Namespace and name of the key that such a row is about."""
    return int.from_bytes(row_key[9:13], "big"), row_key[_EXPIRY.size :]
