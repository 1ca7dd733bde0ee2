"""Payloads of DUMP and RESTORE: one RDB value with a footer.

    payload := u8 type, value, u16 version, u64 checksum of all before it      little-endian

The version is the oldest that has the type of stream that is written, so that a server of that
version takes the payload; what is newer than the reader is refused by its version alone. A checksum
of zero is no checksum in RDB files, but a wrong one here.
"""

from __future__ import annotations

from typing import Final

from streams.rdb.crc64 import checksum
from streams.rdb.reader import RdbError, RdbReader
from streams.rdb.streamwriter import RdbWriter
from streams.stream import Stream

STRING: Final = 0
FOOTER_BYTES: Final = 10
CHECKSUM_BYTES: Final = 8
VERSIONS: Final = {15: 9, 19: 10, 21: 11, 26: 13, 27: 14}
"""The version of RDB that a type of stream came with."""


class WrongFooter(RdbError):
    """The payload is cut short, newer than what is known, or its checksum is another."""


def open_payload(payload: bytes, version_max: int, limit_bytes: int) -> tuple[int, RdbReader]:
    """The type of the value, and a reader that stands before it. Raises RdbError."""
    body = len(payload) - FOOTER_BYTES
    if body < 0:
        raise WrongFooter("a payload without a footer")
    version = int.from_bytes(payload[body : body + 2], "little")
    told = int.from_bytes(payload[-CHECKSUM_BYTES:], "little")
    if version > version_max or told != checksum(payload, len(payload) - CHECKSUM_BYTES):
        raise WrongFooter("a payload with another version or checksum")
    reader = RdbReader(payload[:body], None, limit_bytes)
    return reader.number(1), reader


def dump_stream(stream: Stream, rdb_type: int) -> bytes:
    """The payload of a stream, of type 15, 19 or 21. May read its blocks."""
    writer = RdbWriter()
    writer.put_type(rdb_type)
    writer.put_stream(stream, rdb_type)
    return sealed(writer, VERSIONS[rdb_type])


def dump_string(value: bytes, version: int) -> bytes:
    """The payload of a string."""
    writer = RdbWriter()
    writer.put_type(STRING)
    writer.put_string(value)
    return sealed(writer, version)


def sealed(writer: RdbWriter, version: int) -> bytes:
    """A payload of what was written."""
    writer.put_number(version, 2)
    body = writer.take()
    return body + checksum(body, len(body)).to_bytes(CHECKSUM_BYTES, "little")
