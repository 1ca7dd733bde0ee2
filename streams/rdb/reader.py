"""Reads what RDB is made of: lengths, strings, numbers.

Rules: bytes come from a ``read(n)`` that gives at least one of up to ``n`` bytes and nothing at the
end, or are all there from the beginning; only what a value needs is held at a time. Every length is
held against ``limit_bytes`` and against what is there before memory is asked for. What is damaged
raises RdbError with the place; the reader is of no more use then.

Grammar, numbers in lengths big-endian, all others little-endian::

    length := 00nnnnnn | 01nnnnnn n | 80 n4 | 81 n8
    string := length bytes | C0 i1 | C1 i2 | C2 i4 (the decimal of an integer)
            | C3 length length bytes (LZF: compressed, whole)
    id     := ms8 seq8, big-endian
    time   := i8, milliseconds
"""

from __future__ import annotations

from collections.abc import Callable

import cython
from cython.cimports.cpython.bytes import (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cython.cimports.libc.stdint import int8_t, int16_t, int32_t, uint8_t, uint64_t
from cython.cimports.streams.rdb.crc64 import crc64
from cython.cimports.streams.rdb.lzf import decompress

WINDOW_BYTES = cython.declare(cython.Py_ssize_t, 1 << 20)
# What three bytes of LZF can become at the most.
LZF_GROWTH = cython.declare(uint64_t, 88)


class RdbError(ValueError):
    """What was read is no RDB, or is damaged."""


class RdbTooLarge(RdbError):
    """It claims to be larger than what is allowed."""


@cython.final
@cython.cclass
class RdbReader:
    """Bytes of RDB, from front to back."""

    def __init__(
        self,
        data: bytes,
        read: Callable[[int], bytes] | None = None,
        limit_bytes: int = 1 << 30,
    ) -> None:
        """``data`` comes first, then what ``read`` gives. ``limit_bytes``: the longest string."""
        self.read = read
        self.limit_bytes = limit_bytes
        self.crc = 0
        self.before = 0
        self.take_window(data)

    def take_window(self, data: bytes) -> None:
        """Go on in these bytes."""
        self.window = data
        self.p = PyBytes_AS_STRING(data)
        self.unsummed = self.p
        self.end = self.p + PyBytes_GET_SIZE(data)

    def settle(self):
        """Bring the checksum up to what was read."""
        self.crc = crc64(self.crc, self.unsummed, self.p - self.unsummed)
        self.before += self.p - self.unsummed
        self.unsummed = self.p
        return 0

    def need(self, n):
        """See to it that ``n`` more bytes are at ``p``, in one piece."""
        have: cython.Py_ssize_t = self.end - self.p
        if have >= n:
            return 0
        if self.read is None:
            raise self.error("cut short")
        self.settle()
        parts = [self.p[:have]]
        while have < n:
            data = self.read(max(n - have, WINDOW_BYTES))
            if not data:
                raise self.error("cut short")
            parts.append(data)
            have += len(data)
        self.take_window(b"".join(parts))
        return 0

    def error(self, what: str) -> RdbError:
        """An error that tells the place."""
        return RdbError(f"{what} at byte {self.offset}")

    def byte(self):
        """The next byte."""
        value: uint8_t
        self.need(1)
        value = cython.cast(uint8_t, self.p[0])
        self.p += 1
        return value

    def fixed(self, n):
        """The next number of ``n`` bytes."""
        value: uint64_t = 0
        i: cython.Py_ssize_t
        self.need(n)
        for i in range(n):
            value |= cython.cast(uint64_t, cython.cast(uint8_t, self.p[i])) << (8 * i)
        self.p += n
        return value

    def big_endian(self, n):
        """The next number of ``n`` bytes, of a length or an ID."""
        value: uint64_t = 0
        i: cython.Py_ssize_t
        self.need(n)
        for i in range(n):
            value = value << 8 | cython.cast(uint8_t, self.p[i])
        self.p += n
        return value

    def length(self):
        """The next length, or a number written as one."""
        first: uint8_t = self.byte()
        if first < 0x40:
            return first
        if first < 0x80:
            return cython.cast(uint64_t, first & 0x3F) << 8 | self.byte()
        if first == 0x80:
            return self.big_endian(4)
        if first == 0x81:
            return self.big_endian(8)
        raise self.error(f"{first:#x} is no length")

    def string_length(self, packed):
        """The length of the next string; ``packed``: LZF, else -1. -1: it is an integer."""
        n: uint64_t
        held: uint64_t
        first: uint8_t
        packed[0] = -1
        self.need(1)
        first = cython.cast(uint8_t, self.p[0])
        if first < 0xC0:
            n = self.length()
            if n > self.limit_bytes:
                raise RdbTooLarge(f"a string of {n} bytes at byte {self.offset}")
            return n
        if first != 0xC3:
            return -1
        self.p += 1
        held = self.length()
        n = self.length()
        if n > self.limit_bytes or held > self.limit_bytes:
            raise RdbTooLarge(f"a string of {n} bytes at byte {self.offset}")
        if n > held * LZF_GROWTH:
            raise self.error("LZF that cannot be")
        packed[0] = held
        return n

    def integer(self):
        """The decimal of the integer that a string is written as."""
        first: uint8_t = self.byte()
        if first == 0xC0:
            return b"%d" % cython.cast(int8_t, self.fixed(1))
        if first == 0xC1:
            return b"%d" % cython.cast(int16_t, self.fixed(2))
        if first == 0xC2:
            return b"%d" % cython.cast(int32_t, self.fixed(4))
        raise self.error(f"{first:#x} is no string")

    def string(self):
        """The next string."""
        packed: cython.Py_ssize_t = -1
        out: bytes
        n: cython.Py_ssize_t = self.string_length(cython.address(packed))
        if n < 0:
            return self.integer()
        if packed < 0:
            self.need(n)
            out = PyBytes_FromStringAndSize(self.p, n)
            self.p += n
            return out
        self.need(packed)
        out = PyBytes_FromStringAndSize(cython.NULL, n)
        if not decompress(self.p, packed, PyBytes_AS_STRING(out), n):
            raise self.error("damaged LZF")
        self.p += packed
        return out

    def skip(self, n):
        """Pass over ``n`` bytes, holding few of them."""
        step: cython.Py_ssize_t
        while n > 0:
            self.need(1)
            step = self.end - self.p
            if cython.cast(uint64_t, step) > n:
                step = n
            self.p += step
            n -= step
        return 0

    def skip_string(self):
        """Pass over a string, however long."""
        first: uint8_t
        self.need(1)
        first = cython.cast(uint8_t, self.p[0])
        if first < 0xC0:
            self.skip(self.length())
        elif first == 0xC3:
            self.p += 1
            held: uint64_t = self.length()
            self.length()
            self.skip(held)
        else:
            self.integer()
        return 0

    # ── from Python ──────────────────────────────────────────────────────────────────────────────

    def number(self, n: cython.Py_ssize_t) -> int:
        """The next number of ``n`` bytes, at most 8."""
        return self.fixed(n)

    def count(self) -> int:
        """As ``length``."""
        return self.length()

    def text(self) -> bytes:
        """As ``string``."""
        return self.string()

    def raw(self, n: cython.Py_ssize_t) -> bytes:
        """The next ``n`` bytes. REQUIRES: they are few."""
        self.need(n)
        out: bytes = PyBytes_FromStringAndSize(self.p, n)
        self.p += n
        return out

    def pass_bytes(self, n: uint64_t) -> None:
        """As ``skip``."""
        self.skip(n)

    def pass_string(self) -> None:
        """As ``skip_string``."""
        self.skip_string()

    @property
    def offset(self) -> int:
        """How many bytes were read."""
        return self.before + cython.cast(uint64_t, self.p - self.unsummed)

    @property
    def left(self) -> int:
        """How many bytes are there without reading more."""
        return cython.cast(cython.Py_ssize_t, self.end - self.p)

    def digest(self) -> int:
        """The checksum of all that was read."""
        self.settle()
        return self.crc
