"""Pending rows out of what XPENDING answers, without an object a row.

Rules: a reply is an array of rows, each an array of ID, consumer, idle time and count. What has
come of it is read as far as rows are whole.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.string import memcmp
from cython.cimports.streams.entrycheck import check_id

from streams.rdb.rows import PendingRows


def read_line(p, stop, kind, n):
    """Read ``<kind><n>\\r\\n``; NULL where it is not all there."""
    value: int64_t = 0
    negative: cython.bint = False
    if p == cython.NULL or stop - p < 4 or p[0] != kind:
        return cython.NULL
    p += 1
    if p[0] == 45:
        negative = True
        p += 1
    while p < stop and 48 <= p[0] <= 57:
        value = value * 10 + (p[0] - 48)
        p += 1
    if stop - p < 2 or p[0] != 13:
        return cython.NULL
    n[0] = -value if negative else value
    return p + 2


def take_rows(
    data: bytes,
    start: cython.Py_ssize_t,
    limit: cython.Py_ssize_t,
    now_ms: int64_t,
    places: dict[bytes, int],
    rows: PendingRows,
) -> tuple[int, int, bytes]:
    """Append the whole rows at ``start``, at most ``limit``; how many, where they end, the last ID.

    ``places``: consumers by name, from 1; a row of another is nobody's. An idle time is as of
    ``now_ms``.
    """
    base: cython.p_const_char = PyBytes_AS_STRING(data)
    stop: cython.p_const_char = base + PyBytes_GET_SIZE(data)
    at: cython.p_const_char = base + start
    p: cython.p_const_char
    name: cython.p_const_char
    ms: uint64_t = 0
    seq: uint64_t = 0
    idle_ms: int64_t = 0
    count: int64_t = 0
    length: int64_t = 0
    n: cython.Py_ssize_t = 0
    while n < limit and stop - at >= 4 and memcmp(at, b"*4\r\n", 4) == 0:
        p = check_id(at + 4, stop, cython.address(ms), cython.address(seq))
        p = read_line(p, stop, 36, cython.address(length))
        if p == cython.NULL or stop - p < length + 2:
            break
        name = p
        p = read_line(p + length + 2, stop, 58, cython.address(idle_ms))
        p = read_line(p, stop, 58, cython.address(count))
        if p == cython.NULL:
            break
        place = places.get(name[:length], 0)
        if place == 0 or now_ms < idle_ms:
            idle_ms = now_ms
        rows.add(ms, seq, now_ms - idle_ms, count)
        rows.rows[rows.n - 1].cidx = place
        at = p
        n += 1
    return n, at - base, b"%d-%d" % (ms, seq) if n else b""
