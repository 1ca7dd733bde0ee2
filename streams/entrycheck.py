"""Checks entries in wire form that come from elsewhere, before they are stored as they are.

Rules: an entry is ``*2\\r\\n$<n>\\r\\n<id>\\r\\n*<2k>\\r\\n`` and 2k bulks, every number written in
the one way that this server writes it: it will be read without a doubt ever after. IDs ascend.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.string import memcmp
from cython.cimports.lsmstore.block import id_less, skip_entry
from cython.cimports.lsmstore.buf import U64_MAX

ELEMENTS_BYTES_MAX = cython.declare(cython.Py_ssize_t, 1 << 30)
ARGS_MAX = cython.declare(int64_t, 1 << 30)


def read_head(p, stop, kind, n):
    """Read ``<kind><n>\\r\\n``; NULL where it is not there."""
    value: int64_t = 0
    first: cython.p_const_char
    if p == cython.NULL or stop - p < 4 or p[0] != kind:
        return cython.NULL
    p += 1
    first = p
    while p < stop and 48 <= p[0] <= 57:
        value = value * 10 + (p[0] - 48)
        if value > ARGS_MAX:
            return cython.NULL
        p += 1
    if p == first or (first[0] == 48 and p - first > 1):
        return cython.NULL
    if stop - p < 2 or p[0] != 13 or p[1] != 10:
        return cython.NULL
    n[0] = value
    return p + 2


def check_bulk(p, stop, total):
    """Pass over a bulk string; NULL where it is none. Its bytes are added to ``total``."""
    n: int64_t = 0
    p = read_head(p, stop, 36, cython.address(n))
    if p == cython.NULL or stop - p < n + 2 or p[n] != 13 or p[n + 1] != 10:
        return cython.NULL
    total[0] += n
    return p + n + 2


def check_id(p, stop, ms, seq):
    """Read an ID as a bulk string; NULL where it is none, or written in another way."""
    n: int64_t = 0
    value: uint64_t = 0
    digit: uint64_t
    first: cython.p_const_char
    end: cython.p_const_char
    part: cython.int
    p = read_head(p, stop, 36, cython.address(n))
    if p == cython.NULL or stop - p < n + 2 or p[n] != 13 or p[n + 1] != 10:
        return cython.NULL
    end = p + n
    for part in range(2):
        first = p
        value = 0
        while p < end and 48 <= p[0] <= 57:
            digit = cython.cast(uint64_t, p[0] - 48)
            if value > U64_MAX // 10 or (value == U64_MAX // 10 and digit > 5):
                return cython.NULL
            value = value * 10 + digit
            p += 1
        if p == first or (first[0] == 48 and p - first > 1):
            return cython.NULL
        if part == 0:
            ms[0] = value
            if p == end or p[0] != 45:
                return cython.NULL
            p += 1
    if p != end:
        return cython.NULL
    seq[0] = value
    return end + 2


def check_entries(wire: bytes, after: tuple[int, int]) -> tuple[int, int, int] | None:
    """How many entries these are, and the ID of the last; None if they are none.

    The first must be above ``after``, and each that follows above the one before.
    """
    p: cython.p_const_char = PyBytes_AS_STRING(wire)
    stop: cython.p_const_char = p + PyBytes_GET_SIZE(wire)
    last_ms: uint64_t = after[0]
    last_seq: uint64_t = after[1]
    ms: uint64_t = 0
    seq: uint64_t = 0
    n_args: int64_t = 0
    total: cython.Py_ssize_t
    n: cython.Py_ssize_t = 0
    i: int64_t
    while p < stop:
        if stop - p < 4 or memcmp(p, b"*2\r\n", 4) != 0:
            return None
        p = check_id(p + 4, stop, cython.address(ms), cython.address(seq))
        if p == cython.NULL or not id_less(last_ms, last_seq, ms, seq):
            return None
        last_ms = ms
        last_seq = seq
        p = read_head(p, stop, 42, cython.address(n_args))
        if p == cython.NULL or n_args < 2 or n_args & 1:
            return None
        total = 0
        for i in range(n_args):
            p = check_bulk(p, stop, cython.address(total))
            if p == cython.NULL:
                return None
        if total > ELEMENTS_BYTES_MAX:
            return None
        n += 1
    return n, last_ms, last_seq


def whole_entries(
    data: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t, limit: cython.Py_ssize_t
) -> tuple[int, int, tuple[int, int] | None]:
    """How many whole entries stand at ``start``, at most ``limit``; where they end, the last ID."""
    base: cython.p_const_char = PyBytes_AS_STRING(data)
    at: cython.p_const_char = base + start
    stop: cython.p_const_char = base + end
    p: cython.p_const_char
    ms: uint64_t = 0
    seq: uint64_t = 0
    last_ms: uint64_t = 0
    last_seq: uint64_t = 0
    total: cython.Py_ssize_t = 0
    n_args: int64_t = 0
    n: cython.Py_ssize_t = 0
    i: int64_t
    while n < limit and stop - at >= 4 and memcmp(at, b"*2\r\n", 4) == 0:
        p = check_id(at + 4, stop, cython.address(ms), cython.address(seq))
        p = read_head(p, stop, 42, cython.address(n_args))
        if p == cython.NULL:
            break
        for i in range(n_args):
            p = check_bulk(p, stop, cython.address(total))
            if p == cython.NULL:
                break
        if p == cython.NULL:
            break
        at = p
        last_ms = ms
        last_seq = seq
        n += 1
    return n, at - base, (last_ms, last_seq) if n else None


def split_commands(
    data: bytes, start: cython.Py_ssize_t
) -> tuple[list[tuple[int, int, bytes, bytes]], int]:
    """The whole commands at ``start``, and where they end.

    Each as where it begins and ends, its first word in upper case and its second (empty without
    one). What is no command of bulk strings, an inline newline or a comment line of an AOF, comes
    with an empty first word. Raises ValueError.
    """
    base: cython.p_const_char = PyBytes_AS_STRING(data)
    stop: cython.p_const_char = base + PyBytes_GET_SIZE(data)
    at: cython.p_const_char = base + start
    p: cython.p_const_char
    q: cython.p_const_char
    total: cython.Py_ssize_t
    n_args: int64_t = 0
    n: int64_t = 0
    i: int64_t
    found: list[tuple[int, int, bytes, bytes]] = []
    first: bytes
    second: bytes
    while at < stop:
        p = at
        if at[0] != 42:
            if at[0] != 10 and at[0] != 13 and at[0] != 35:
                raise ValueError(f"no command at byte {at - base}")
            while p < stop and p[0] != 10:
                p += 1
            if p == stop:
                break
            found.append((at - base, p + 1 - base, b"", b""))
            at = p + 1
            continue
        p = read_head(at, stop, 42, cython.address(n_args))
        if p == cython.NULL:
            if stop - at > 32:
                raise ValueError(f"no command at byte {at - base}")
            break
        first = second = b""
        total = 0
        for i in range(n_args):
            if p < stop and p[0] != 36:
                raise ValueError(f"no command at byte {at - base}")
            if i < 2:
                q = read_head(p, stop, 36, cython.address(n))
                if q != cython.NULL and stop - q >= n:
                    if i == 0:
                        first = q[:n].upper()
                    else:
                        second = q[:n]
            p = check_bulk(p, stop, cython.address(total))
            if p == cython.NULL:
                break
        if p == cython.NULL:
            break
        found.append((at - base, p - base, first, second))
        at = p
    return found, at - base


def entry_ends(wire: bytes) -> list[int]:
    """Where each entry ends. REQUIRES: they are whole."""
    base: cython.p_const_char = PyBytes_AS_STRING(wire)
    stop: cython.p_const_char = base + PyBytes_GET_SIZE(wire)
    p: cython.p_const_char = base
    found: list[int] = []
    while p < stop:
        p = skip_entry(p, stop)
        found.append(p - base)
    return found
