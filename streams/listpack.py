"""Redis' listpack: how long an element is, reading and writing it.

Redis closes a stream node by the size of its listpack, and clients can see where nodes end
(``MAXLEN ~``, ``radix-tree-keys``), so the size is reckoned to the byte although none is kept.
Listpacks themselves are read and written for DUMP, RESTORE and RDB files (streams/rdb).

An element is its encoding and its length once more for walking backwards (``backlen``)::

    0..127                         1 byte          string of up to 63 bytes      1 + n
    -4096..4095                    2               string of up to 4095 bytes    2 + n
    16, 24, 32, 64-bit integers    3, 4, 5, 9      longer strings                5 + n
    backlen: 1 byte up to 127, 2 up to 16382, 3 up to 2097150, 4 up to 268435454, else 5; 7 bits a
    byte, high ones first, the high bit set on all but the first

    0vvvvvvv | 110vvvvv v | F1 v2 | F2 v3 | F3 v4 | F4 v8    integers, little-endian but for the 13
    10nnnnnn bytes | 1110nnnn n bytes | F0 n4 bytes          bits; strings, n4 little-endian

A string that is the canonical decimal of a 64-bit integer is stored as that integer.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.lsmstore.buf import U64_MAX

from lsmstore.buf import Buf


def backlen_size(size):
    """Bytes of the length behind an encoding of ``size`` bytes."""
    if size <= 127:
        return 1
    if size < 16383:
        return 2
    if size < 2097151:
        return 3
    if size < 268435455:
        return 4
    return 5


def int_size(value):
    """Bytes of an integer element."""
    if 0 <= value <= 127:
        return 2
    if -4096 <= value <= 4095:
        return 3
    if -32768 <= value <= 32767:
        return 4
    if -8388608 <= value <= 8388607:
        return 5
    if -2147483648 <= value <= 2147483647:
        return 6
    return 10


def read_canonical(p, n, out):
    """Whether the ``n`` bytes at ``p`` are the canonical decimal of a 64-bit integer; which one."""
    i: cython.Py_ssize_t = 0
    negative: cython.bint = False
    value: uint64_t = 0
    digit: uint64_t
    if n < 1 or n > 20 or (p[0] != 45 and (p[0] < 48 or p[0] > 57)):
        return False
    if p[0] == 48 and n == 1:
        out[0] = 0
        return True
    if p[0] == 45:
        negative = True
        i = 1
    # canonical: no leading zero, no lone sign
    if i < n and 49 <= p[i] <= 57:
        while i < n and 48 <= p[i] <= 57:
            digit = cython.cast(uint64_t, p[i] - 48)
            if value > U64_MAX // 10 or (value == U64_MAX // 10 and digit > 5):
                return False
            value = value * 10 + digit
            i += 1
        if i == n:
            if negative and value - 1 <= U64_MAX >> 1:
                out[0] = cython.cast(int64_t, 0 - value)
                return True
            if not negative and value <= U64_MAX >> 1:
                out[0] = cython.cast(int64_t, value)
                return True
    return False


def string_size(p, n):
    """Bytes of the element for the string of ``n`` bytes at ``p``."""
    size: cython.Py_ssize_t
    value: int64_t = 0
    if read_canonical(p, n, cython.address(value)):
        return int_size(value)
    if n < 64:
        size = n + 1
    elif n < 4096:
        size = n + 2
    else:
        size = n + 5
    return size + backlen_size(size)


def element_size(value: bytes) -> int:
    """Bytes of the listpack element for ``value``."""
    return string_size(value, len(value))


def read_element(p, end, out):
    """Read the element at ``p``; the place behind it, or NULL where none ends before ``end``."""
    left: cython.Py_ssize_t = end - p
    size: cython.Py_ssize_t
    back: cython.Py_ssize_t
    i: cython.Py_ssize_t
    first: uint8_t
    byte: uint8_t
    value: uint64_t = 0
    width: cython.Py_ssize_t
    if left < 2:
        return cython.NULL
    first = cython.cast(uint8_t, p[0])
    out.p = cython.NULL
    out.n = 0
    if first < 0x80:
        out.value = first
        size = 1
    elif first < 0xC0:
        out.n = first & 0x3F
        out.p = p + 1
        size = 1 + out.n
    elif first < 0xE0:
        out.value = (first & 0x1F) << 8 | cython.cast(uint8_t, p[1])
        if out.value >= 4096:
            out.value -= 8192
        size = 2
    elif first < 0xF0:
        out.n = (first & 0x0F) << 8 | cython.cast(uint8_t, p[1])
        out.p = p + 2
        size = 2 + out.n
    elif first == 0xF0:
        if left < 6:
            return cython.NULL
        for i in range(4):
            value |= cython.cast(uint64_t, cython.cast(uint8_t, p[1 + i])) << (8 * i)
        out.n = cython.cast(cython.Py_ssize_t, value)
        out.p = p + 5
        size = 5 + out.n
    elif first <= 0xF4:
        width = first - 0xEF if first < 0xF4 else 8
        if left < width + 2:
            return cython.NULL
        for i in range(width):
            value |= cython.cast(uint64_t, cython.cast(uint8_t, p[1 + i])) << (8 * i)
        if width < 8 and value >> (8 * width - 1):
            value |= U64_MAX << (8 * width)
        out.value = cython.cast(int64_t, value)
        size = 1 + width
    else:
        return cython.NULL
    back = backlen_size(size)
    if size + back > left:
        return cython.NULL
    value = 0
    for i in range(back):
        byte = cython.cast(uint8_t, p[size + i])
        if (byte >= 128) != (i > 0):
            return cython.NULL
        value = value << 7 | (byte & 127)
    if value != cython.cast(uint64_t, size):
        return cython.NULL
    return p + size + back


def put_backlen(to, size):
    """Append the length behind an encoding of ``size`` bytes."""
    left: cython.int = 7 * (cython.cast(cython.int, backlen_size(size)) - 1)
    to.put_byte(cython.cast(uint8_t, size >> left))
    while left > 0:
        left -= 7
        to.put_byte(cython.cast(uint8_t, (size >> left & 127) | 128))


def put_int(to, value):
    """Append an integer element."""
    bits: uint64_t = cython.cast(uint64_t, value)
    width: cython.int
    i: cython.int
    if 0 <= value <= 127:
        to.put_byte(cython.cast(uint8_t, value))
        to.put_byte(1)
        return
    if -4096 <= value <= 4095:
        to.put_byte(cython.cast(uint8_t, 0xC0 | (bits >> 8 & 0x1F)))
        to.put_byte(cython.cast(uint8_t, bits & 255))
        to.put_byte(2)
        return
    width = cython.cast(cython.int, int_size(value)) - 2
    to.put_byte(0xF4 if width == 8 else cython.cast(uint8_t, 0xEF + width))
    for i in range(width):
        to.put_byte(cython.cast(uint8_t, bits >> (8 * i) & 255))
    to.put_byte(cython.cast(uint8_t, width + 1))


def put_string(to, p, n):
    """Append the element for the string of ``n`` bytes at ``p``."""
    value: int64_t = 0
    i: cython.int
    before: cython.Py_ssize_t
    if read_canonical(p, n, cython.address(value)):
        put_int(to, value)
        return
    before = to.n
    if n < 64:
        to.put_byte(cython.cast(uint8_t, 0x80 | n))
    elif n < 4096:
        to.put_byte(cython.cast(uint8_t, 0xE0 | n >> 8))
        to.put_byte(cython.cast(uint8_t, n & 255))
    else:
        to.put_byte(0xF0)
        for i in range(4):
            to.put_byte(cython.cast(uint8_t, n >> (8 * i) & 255))
    to.put(p, n)
    put_backlen(to, to.n - before)


def encode_element(value: bytes) -> bytes:
    """The listpack element for ``value``."""
    to: Buf = Buf(len(value) + 16)
    put_string(to, value, len(value))
    return to.take()
