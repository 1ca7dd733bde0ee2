"""Sums in C's ``long double``, as INCRBYFLOAT makes them: read, added and printed as Redis does.

Rules: a number is what C's ``strtold`` takes, without spaces around it, and neither NaN nor beyond
the range; a sum is printed in plain decimal with at most 17 digits behind the point and no zeros at
the end. Source: string2ld and ld2string of redis-server 8.2.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.respserver import longdouble

TEXT_BYTES_MAX = cython.declare(cython.Py_ssize_t, 5119)


def read(text, out):
    """Read ``text`` into ``out``; whether it is a number."""
    end: cython.p_char = cython.NULL
    p: cython.p_const_char = PyBytes_AS_STRING(text)
    n: cython.Py_ssize_t = PyBytes_GET_SIZE(text)
    if n == 0 or n > TEXT_BYTES_MAX or p[0] == 32 or (p[0] >= 9 and p[0] <= 13):
        return False
    longdouble.errno = 0
    out[0] = longdouble.strtold(p, cython.address(end))
    if end - p != n or longdouble.isnan(out[0]):
        return False
    return longdouble.errno != longdouble.ERANGE or not (longdouble.isinf(out[0]) or out[0] == 0)


def add(text: bytes, increment: bytes) -> bytes | None:
    """The sum of two numbers; None where it is infinite. Raises ValueError: not a number."""
    value: cython.longdouble = 0
    more: cython.longdouble = 0
    out: cython.char[5120]
    if not read(text, cython.address(value)) or not read(increment, cython.address(more)):
        raise ValueError("not a number")
    value = value + more
    if longdouble.isnan(value) or longdouble.isinf(value):
        return None
    n: cython.int = longdouble.snprintf(out, 5120, b"%.17Lf", value)
    plain: bytes = out[:n]
    if b"." in plain:
        plain = plain.rstrip(b"0").rstrip(b".")
    return b"0" if plain == b"-0" else plain
