"""The checksum of RDB: CRC-64 by Jones' polynomial, reflected, from 0, eight bytes at a time."""

from __future__ import annotations

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING
from cython.cimports.libc.stdint import uint8_t, uint64_t
from cython.cimports.libc.string import memcpy

TABLES = cython.declare(uint64_t[2048])
"""Eight tables of 256: what a byte does to the checksum, with so many bytes behind it."""


def fill_tables():
    """Reckon the tables, once."""
    value: uint64_t
    i: cython.int
    bit: cython.int
    for i in range(256):
        value = cython.cast(uint64_t, i)
        for bit in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        TABLES[i] = value
    for i in range(256, 2048):
        value = TABLES[i - 256]
        TABLES[i] = value >> 8 ^ TABLES[value & 255]


fill_tables()


def crc64(crc, p, n):
    """The checksum after ``n`` more bytes."""
    word: uint64_t = 0
    while n >= 8:
        memcpy(cython.address(word), p, 8)
        crc ^= word
        crc = (
            TABLES[1792 + (crc & 255)]
            ^ TABLES[1536 + (crc >> 8 & 255)]
            ^ TABLES[1280 + (crc >> 16 & 255)]
            ^ TABLES[1024 + (crc >> 24 & 255)]
            ^ TABLES[768 + (crc >> 32 & 255)]
            ^ TABLES[512 + (crc >> 40 & 255)]
            ^ TABLES[256 + (crc >> 48 & 255)]
            ^ TABLES[crc >> 56]
        )
        p += 8
        n -= 8
    while n > 0:
        crc = crc >> 8 ^ TABLES[(crc ^ cython.cast(uint8_t, p[0])) & 255]
        p += 1
        n -= 1
    return crc


def checksum(data: bytes, n: cython.Py_ssize_t) -> int:
    """The checksum of the first ``n`` bytes. REQUIRES: there are as many."""
    return crc64(0, PyBytes_AS_STRING(data), n)
