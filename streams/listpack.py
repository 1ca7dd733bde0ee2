"""How many bytes Redis' listpack would take for a value.

Redis closes a stream node by the size of its listpack, and clients can see where nodes end
(``MAXLEN ~``, ``radix-tree-keys``), so the size is reckoned to the byte although no listpack is
ever built.

An element is its encoding and its length once more for walking backwards (``backlen``)::

    0..127                         1 byte          string of up to 63 bytes      1 + n
    -4096..4095                    2               string of up to 4095 bytes    2 + n
    16, 24, 32, 64-bit integers    3, 4, 5, 9      longer strings                5 + n
    backlen: 1 byte up to 127, 2 up to 16383, 3 up to 2097151, 4 up to 268435455, else 5

A string that is the canonical decimal of a 64-bit integer is stored as that integer.
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.lsmstore.buf import U64_MAX


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


def string_size(p, n):
    """Bytes of the element for the string of ``n`` bytes at ``p``."""
    size: cython.Py_ssize_t
    i: cython.Py_ssize_t = 0
    negative: cython.bint = False
    value: uint64_t = 0
    digit: uint64_t
    if 0 < n <= 20 and (p[0] == 45 or 48 <= p[0] <= 57):
        if p[0] == 48 and n == 1:
            return 2
        if p[0] == 45:
            negative = True
            i = 1
        # canonical: no leading zero, no lone sign
        if i < n and 49 <= p[i] <= 57:
            while i < n and 48 <= p[i] <= 57:
                digit = cython.cast(uint64_t, p[i] - 48)
                if value > U64_MAX // 10 or (value == U64_MAX // 10 and digit > 5):
                    break
                value = value * 10 + digit
                i += 1
            if i == n:
                if negative and value - 1 <= U64_MAX >> 1:
                    return int_size(cython.cast(int64_t, 0 - value))
                if not negative and value <= U64_MAX >> 1:
                    return int_size(cython.cast(int64_t, value))
    if n < 64:
        size = n + 1
    elif n < 4096:
        size = n + 2
    else:
        size = n + 5
    if size <= 127:
        return size + 1
    if size < 16384:
        return size + 2
    if size < 2097152:
        return size + 3
    if size < 268435456:
        return size + 4
    return size + 5


def element_size(value: bytes) -> int:
    """Bytes of the listpack element for ``value``."""
    return string_size(value, len(value))
