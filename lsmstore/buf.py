"""A growable C byte buffer and the few encodings everything else is written with.

Rules: a ``Buf`` belongs to one thread; what is taken out of it is copied; running out of memory
ends the process (there is no half-written reply or log record to go on with).

Encodings::

    num     := ASCII decimal of an unsigned 64-bit integer
    varint  := LEB128: 7 bits a byte, low bits first, high bit set on all but the last byte
    id      := num '-' num                      a stream ID as Redis prints it
    head    := kind num '\\r\\n'                  a RESP length line: '$12\\r\\n', '*3\\r\\n',
    ':7\\r\\n' bulk    := '$' num '\\r\\n' bytes '\\r\\n'      a RESP bulk string
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cython.cimports.cpython.memoryview import PyMemoryView_FromMemory
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.stdlib import abort, free, malloc, realloc
from cython.cimports.libc.string import memcpy, memmove


def num_len(value):
    """How many decimal digits ``value`` has."""
    n: cython.int = 1
    while value >= 10:
        value //= 10
        n += 1
    return n


def varint_len(value):
    """How many bytes ``value`` takes as a varint."""
    n: cython.int = 1
    while value >= 128:
        value >>= 7
        n += 1
    return n


def write_num(to, value):
    """Write ``value`` in decimal at ``to``; returns the number of digits (at most 20)."""
    digits: cython.char[20]
    i: cython.int = 20
    while True:
        i -= 1
        digits[i] = 48 + (value % 10)
        value //= 10
        if value == 0:
            break
    memcpy(to, cython.address(digits[i]), 20 - i)
    return 20 - i


def write_varint(to, value):
    """Write ``value`` as a varint at ``to``; returns where it ended (at most 10 bytes on)."""
    while value >= 128:
        to[0] = cython.cast(cython.char, cython.cast(uint8_t, (value & 127) | 128))
        to += 1
        value >>= 7
    to[0] = cython.cast(cython.char, cython.cast(uint8_t, value))
    return to + 1


def read_varint(p, end, out):
    """Read one varint at ``p``; returns where it ended, or NULL if it is cut off or too long."""
    value: uint64_t = 0
    shift: cython.int = 0
    byte: uint8_t
    while p < end and shift < 64:
        byte = cython.cast(uint8_t, p[0])
        p += 1
        value |= cython.cast(uint64_t, byte & 127) << shift
        if byte < 128:
            out[0] = value
            return p
        shift += 7
    return cython.NULL


@cython.final
@cython.cclass
class Buf:
    """Bytes that grow at the end. C callers use ``p``/``n`` directly."""

    def __cinit__(self, cap: cython.Py_ssize_t = 4096) -> None:
        self.cap = cap if cap > 16 else 16
        self.p = cython.cast(cython.p_char, malloc(self.cap))
        if self.p == cython.NULL:
            abort()
        self.n = 0

    def __dealloc__(self) -> None:
        free(self.p)

    def room(self, extra):
        """Make sure that ``extra`` more bytes fit."""
        if self.n + extra > self.cap:
            self.cap = (self.n + extra) + (self.n + extra) // 2
            self.p = cython.cast(cython.p_char, realloc(self.p, self.cap))
            if self.p == cython.NULL:
                abort()

    def put(self, s, n):
        """Append ``n`` bytes."""
        if self.n + n > self.cap:
            self.room(n)
        memcpy(self.p + self.n, s, n)
        self.n += n

    def put_byte(self, value):
        """Append one byte."""
        if self.n + 1 > self.cap:
            self.room(1)
        self.p[self.n] = cython.cast(cython.char, value)
        self.n += 1

    def put_num(self, value):
        """Append a decimal number."""
        self.room(20)
        self.n += write_num(self.p + self.n, value)

    def put_varint(self, value):
        """Append a varint."""
        self.room(10)
        self.n = write_varint(self.p + self.n, value) - self.p

    def put_id(self, ms, seq):
        """Append ``ms-seq``."""
        self.room(41)
        self.n += write_num(self.p + self.n, ms)
        self.p[self.n] = 45
        self.n += 1
        self.n += write_num(self.p + self.n, seq)

    def put_bulk_id(self, ms, seq):
        """Append a stream ID as a bulk string."""
        self.put_head(36, num_len(ms) + 1 + num_len(seq))
        self.put_id(ms, seq)
        self.put(b"\r\n", 2)

    def put_head(self, kind, value):
        """Append a RESP length line: ``kind`` is the byte of ``$``, ``*``, ``:``, ``%``."""
        self.room(23)
        self.p[self.n] = cython.cast(cython.char, kind)
        self.n += 1
        self.n += write_num(self.p + self.n, value)
        self.p[self.n] = 13
        self.p[self.n + 1] = 10
        self.n += 2

    def put_bulk(self, s, n):
        """Append a RESP bulk string."""
        self.put_head(36, n)
        self.put(s, n)
        self.put(b"\r\n", 2)

    def put_bytes(self, data):
        """Append a bytes object."""
        self.put(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def drop_front(self, n):
        """Forget the first ``n`` bytes."""
        if n >= self.n:
            self.n = 0
        elif n > 0:
            memmove(self.p, self.p + n, self.n - n)
            self.n -= n

    # From Python

    @property
    def length(self) -> int:
        """Bytes held."""
        return cython.cast(cython.Py_ssize_t, self.n)

    @property
    def capacity(self) -> int:
        """Bytes allocated."""
        return cython.cast(cython.Py_ssize_t, self.cap)

    def append(self, data: bytes) -> None:
        """Append a bytes object."""
        self.put_bytes(data)

    def copy(self) -> bytes:
        """All bytes."""
        out: bytes = PyBytes_FromStringAndSize(self.p, self.n)
        return out

    def take(self) -> bytes:
        """All bytes, and forget them."""
        out: bytes = PyBytes_FromStringAndSize(self.p, self.n)
        self.clear()
        return out

    def clear(self) -> None:
        """Forget all bytes; a buffer that has grown large gives its memory back."""
        self.n = 0
        if self.cap > 1048576:
            self.cap = 65536
            self.p = cython.cast(cython.p_char, realloc(self.p, self.cap))
            if self.p == cython.NULL:
                abort()

    def view(self) -> memoryview:
        """The bytes in place. Valid only until the buffer is touched again."""
        return PyMemoryView_FromMemory(self.p, self.n, 0x100)
