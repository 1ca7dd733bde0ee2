"""How Apache Kvrocks lays a stream out on RocksDB, the one Redis-protocol server that keeps streams
in such a store. There is no package of it, so its keys and values are put into rocksdict.

    entry     namespace length u8, namespace, key length u32, key, version u64, ms u64, seq u64
              -> each field and value: varint length, bytes
    metadata  namespace length u8, namespace, key
              -> flags u8, expire u64, version u64, size u64, five IDs of 16 bytes (the last one
                 generated, the recorded first, the greatest deleted, the first, the last),
                 entries added u64, groups u64

Numbers are big-endian. XADD writes an entry and the metadata, in one batch; XTRIM deletes a range
and writes the metadata. Metadata has a column family of its own there; here it sorts behind the
entries, which costs nothing. Source: src/types/redis_stream_base.cc (EncodeStreamEntryValue),
src/storage/redis_metadata.cc (InternalKey::Encode, StreamMetadata::Encode).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from tools.bench.store.shapes import Entry

NAMESPACE: Final = b"__namespace"
VERSION: Final = (1_760_000_000_000_000 << 11) + 1
STREAM_FLAGS: Final = 0x80 | 8  # 64-bit fields, type stream
ID: Final = struct.Struct(">QQ")
METADATA: Final = struct.Struct(">BQQQ QQQQQQQQQQ QQ")


def prefix(key: bytes) -> bytes:
    """What the keys of a stream's entries begin with."""
    head = bytes([len(NAMESPACE)]) + NAMESPACE
    return head + struct.pack(">I", len(key)) + key + struct.pack(">Q", VERSION)


def metadata_key(key: bytes) -> bytes:
    """Where a stream's metadata is."""
    return b"\xff" + bytes([len(NAMESPACE)]) + NAMESPACE + key


def metadata(first: Entry, last: Entry, length: int, added: int) -> bytes:
    """The metadata of a stream."""
    ends = (first.ms, first.seq, last.ms, last.seq)
    last_id, recorded, deleted = (last.ms, last.seq), (first.ms, first.seq), (0, 0)
    return METADATA.pack(
        STREAM_FLAGS, 0, VERSION, length, *last_id, *recorded, *deleted, *ends, added, 0
    )


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def value_of(fields: Sequence[bytes]) -> bytes:
    """Fields and values as one value."""
    return b"".join([varint(len(one)) + one for one in fields])


def fields_of(value: bytes) -> list[bytes]:
    """The fields and values of a value."""
    found: list[bytes] = []
    at = 0
    while at < len(value):
        length = value[at]
        at += 1
        if length > 127:
            shift = 7
            length &= 127
            while value[at] > 127:
                length |= (value[at] & 127) << shift
                shift += 7
                at += 1
            length |= value[at] << shift
            at += 1
        found.append(value[at : at + length])
        at += length
    return found
