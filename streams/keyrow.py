"""What a key row says: the kind of the key, when it expires, and its string or its stream.

value := u8 flags, [u64 expires ms, where flags have EXPIRES], body      big-endian
flags := 1 STREAM | 2 EXPIRES | 4 RAW (a string that was written into, not set as a whole)
body  := u64 sid of a stream | the bytes of a string
"""

from __future__ import annotations

import struct
from typing import Final

STREAM: Final = 1
EXPIRES: Final = 2
RAW: Final = 4
_NUMBER: Final = struct.Struct(">Q")


class KeyRow:
    """A key row that was read. Nothing is copied out of it before it is asked for."""

    __slots__ = ("_at", "data", "expires_ms")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.expires_ms: int = 0
        """Wall time; 0: never."""
        self._at = 1
        if data[0] & EXPIRES:
            (self.expires_ms,) = _NUMBER.unpack_from(data, 1)
            self._at = 9

    @property
    def is_stream(self) -> bool:
        """Whether the key is a stream; else it is a string."""
        return bool(self.data[0] & STREAM)

    @property
    def is_raw(self) -> bool:
        """Whether a string was written into: what OBJECT ENCODING calls raw whatever its length."""
        return bool(self.data[0] & RAW)

    @property
    def kind(self) -> bytes:
        """What TYPE says."""
        return b"stream" if self.is_stream else b"string"

    @property
    def sid(self) -> int:
        """The id of the stream. REQUIRES: it is one."""
        (sid,) = _NUMBER.unpack_from(self.data, self._at)
        return int(sid)

    @property
    def string(self) -> bytes:
        """The string. REQUIRES: it is one."""
        return self.data[self._at :]

    @property
    def length(self) -> int:
        """Bytes of the string. REQUIRES: it is one."""
        return len(self.data) - self._at

    def expiring(self, expires_ms: int) -> bytes:
        """The same row with another time to expire; 0: never."""
        return _pack(self.data[0], expires_ms, self.data[self._at :])

    def patched(self, offset: int, data: bytes) -> bytes:
        """The row of the string with ``data`` written into it, over zeros where it was shorter."""
        old = memoryview(self.data)
        start = self._at + offset
        return b"".join(
            (
                bytes((self.data[0] | RAW,)),
                old[1:start],
                bytes(max(start - len(old), 0)),
                data,
                old[start + len(data) :],
            )
        )


EMPTY_STRING: Final = KeyRow(b"\0")


def stream_row(sid: int, expires_ms: int = 0) -> bytes:
    """The row of a key that is a stream."""
    return _pack(STREAM, expires_ms, _NUMBER.pack(sid))


def string_row(value: bytes, expires_ms: int = 0) -> bytes:
    """The row of a key that is a string."""
    return _pack(0, expires_ms, value)


def _pack(flags: int, expires_ms: int, body: bytes) -> bytes:
    if expires_ms:
        return bytes((flags | EXPIRES,)) + _NUMBER.pack(expires_ms) + body
    return bytes((flags & ~EXPIRES,)) + body
