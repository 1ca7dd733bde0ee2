"""LZF, the compression of strings in RDB.

The format, from its author's liblzf: control bytes, each with what follows it::

    000nnnnn                     n + 1 bytes as they are
    lllooooo [m] oooooooo        l + 2 bytes of the output, l 7: m + 9 bytes, from o + 1 bytes back
"""

from __future__ import annotations

import cython
from cython.cimports.libc.stdint import uint8_t, uint32_t
from cython.cimports.libc.string import memcpy, memset

from lsmstore.buf import Buf

LITERALS_MAX = cython.declare(cython.Py_ssize_t, 32)
MATCH_MAX = cython.declare(cython.Py_ssize_t, 264)
DISTANCE_MAX = cython.declare(cython.Py_ssize_t, 8192)
SMALL = cython.declare(cython.Py_ssize_t, 8192)
PLACES = cython.declare(uint32_t[65536])
"""Where three bytes with this hash were last, counted from 1. Only one compresses at a time."""


def compress(data, n, out, room):
    """Compress into at most ``room`` bytes; how many they are, 0 where that is not enough."""
    bits: cython.int = 12 if n < SMALL else 16
    at: cython.Py_ssize_t = 0
    start: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t = 0
    place: cython.Py_ssize_t
    length: cython.Py_ssize_t
    longest: cython.Py_ssize_t
    distance: cython.Py_ssize_t
    key: uint32_t
    memset(PLACES, 0, 4 << bits)
    while at + 2 < n:
        key = (
            cython.cast(uint32_t, cython.cast(uint8_t, data[at])) << 16
            | cython.cast(uint32_t, cython.cast(uint8_t, data[at + 1])) << 8
            | cython.cast(uint8_t, data[at + 2])
        )
        key = key * 0x1E35A7BD >> (32 - bits)
        place = cython.cast(cython.Py_ssize_t, PLACES[key]) - 1
        PLACES[key] = cython.cast(uint32_t, at + 1)
        if (
            place < 0
            or at - place > DISTANCE_MAX
            or data[place] != data[at]
            or data[place + 1] != data[at + 1]
            or data[place + 2] != data[at + 2]
        ):
            at += 1
            continue
        longest = n - at
        if longest > MATCH_MAX:
            longest = MATCH_MAX
        length = 3
        while length < longest and data[place + length] == data[at + length]:
            length += 1
        end = put_literals(data, start, at, out, end, room)
        if end < 0 or end + 3 > room:
            return 0
        distance = at - place - 1
        if length < 9:
            out[end] = cython.cast(cython.char, (length - 2) << 5 | distance >> 8)
            end += 1
        else:
            out[end] = cython.cast(cython.char, 0xE0 | distance >> 8)
            out[end + 1] = cython.cast(cython.char, length - 9)
            end += 2
        out[end] = cython.cast(cython.char, distance & 255)
        end += 1
        at += length
        start = at
    end = put_literals(data, start, n, out, end, room)
    return end if end > 0 else 0


def put_literals(data, start, stop, out, end, room):
    """Put the bytes of [start, stop) as they are; where the output ends, -1: there is no room."""
    n: cython.Py_ssize_t
    while start < stop:
        n = stop - start
        if n > LITERALS_MAX:
            n = LITERALS_MAX
        if end + 1 + n > room:
            return -1
        out[end] = cython.cast(cython.char, n - 1)
        memcpy(out + end + 1, data + start, n)
        end += 1 + n
        start += n
    return end


def decompress(data, n, out, length):
    """Decompress to exactly ``length`` bytes; whether that is what was compressed."""
    at: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t
    distance: cython.Py_ssize_t
    control: uint8_t
    while at < n:
        control = cython.cast(uint8_t, data[at])
        at += 1
        if control < 32:
            count = control + 1
            if count > n - at or count > length - end:
                return False
            memcpy(out + end, data + at, count)
            at += count
            end += count
            continue
        count = control >> 5
        if count == 7:
            if at == n:
                return False
            count += cython.cast(uint8_t, data[at])
            at += 1
        count += 2
        if at == n:
            return False
        distance = ((control & 31) << 8 | cython.cast(uint8_t, data[at])) + 1
        at += 1
        if distance > end or count > length - end:
            return False
        if distance >= count:
            memcpy(out + end, out + end - distance, count)
            end += count
            continue
        while count > 0:  # what is copied is being written
            out[end] = out[end - distance]
            end += 1
            count -= 1
    return end == length


def compressed(data: bytes) -> bytes | None:
    """``data`` compressed; None where that saves nothing."""
    out: Buf = Buf(len(data) + 16)
    out.n = compress(data, len(data), out.p, len(data) - 1)
    return out.take() if out.n else None


def decompressed(data: bytes, length: int) -> bytes | None:
    """The ``length`` bytes that were compressed to ``data``; None where it is damaged."""
    out: Buf = Buf(length + 16)
    if not decompress(data, len(data), out.p, length):
        return None
    out.n = length
    return out.take()
