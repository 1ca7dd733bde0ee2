"""Which segments may hold a stream: a bloom filter over the sids of each, all asked at once.

    filter := bits u8[n]        n * 8 = m bits, at least 64, about 12 a sid; bit i is bit i % 8 of
                                byte i // 8

A sid is mixed by the finaliser of splitmix64; ``low`` and ``high`` are the halves of the result,
``high`` made odd. Probe j of 0..3 is bit ``((low + j * high) % 2**32 * m) >> 32``. About three of a
thousand segments that do not hold a stream are asked for it in vain.

Source of the mixing: Steele, Lea, Flood, Fast splittable pseudorandom number generators, 2014.
"""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t

MIX_1 = cython.declare(uint64_t, 0xBF58476D1CE4E5B9)
MIX_2 = cython.declare(uint64_t, 0x94D049BB133111EB)
BYTES_MIN = 8
BITS_PER_SID = cython.declare(uint64_t, 12)


def mixed(sid):
    """The hash of a sid."""
    x: uint64_t = sid
    x = (x ^ (x >> 30)) * MIX_1
    x = (x ^ (x >> 27)) * MIX_2
    return x ^ (x >> 31)


def holds(bits, m, digest):
    """Whether the four bits of a hash are set."""
    at: uint32_t = cython.cast(uint32_t, digest & 0xFFFFFFFF)
    step: uint32_t = cython.cast(uint32_t, digest >> 32) | 1
    j: cython.int
    bit: uint64_t
    for j in range(4):
        bit = (cython.cast(uint64_t, at) * m) >> 32
        if not (bits[bit >> 3] >> (bit & 7)) & 1:
            return False
        at += step
    return True


def build(sids: bytes) -> bytes:
    """The filter over sids, which are u64, little-endian, one after the other."""
    n: cython.Py_ssize_t = PyBytes_GET_SIZE(sids) // 8
    size: cython.Py_ssize_t = (BITS_PER_SID * n + 7) // 8
    if size < BYTES_MIN:
        size = BYTES_MIN
    out: bytes = bytes(size)
    bits: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), PyBytes_AS_STRING(out))
    values: cython.pointer(uint64_t) = cython.cast(
        cython.pointer(uint64_t), PyBytes_AS_STRING(sids)
    )
    m: uint64_t = 8 * size
    i: cython.Py_ssize_t
    j: cython.int
    digest: uint64_t
    at: uint32_t
    step: uint32_t
    bit: uint64_t
    for i in range(n):
        digest = mixed(values[i])
        at = cython.cast(uint32_t, digest & 0xFFFFFFFF)
        step = cython.cast(uint32_t, digest >> 32) | 1
        for j in range(4):
            bit = (cython.cast(uint64_t, at) * m) >> 32
            bits[bit >> 3] |= 1 << (bit & 7)
            at += step
    return out


def candidates(filters: list[bytes], sid: int) -> list[int]:
    """The indexes of those of ``filters`` that may know ``sid``, ascending."""
    digest: uint64_t = mixed(sid)
    bits: bytes
    i: cython.Py_ssize_t
    found: list = []
    for i in range(len(filters)):
        bits = filters[i]
        if holds(
            cython.cast(cython.pointer(uint8_t), PyBytes_AS_STRING(bits)),
            8 * PyBytes_GET_SIZE(bits),
            digest,
        ):
            found.append(i)
    return found
