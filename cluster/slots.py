"""Key to hash slot, exactly as Redis Cluster clients compute it.

slot = CRC16-XMODEM(hashed part of the key) mod 16384. The hashed part is what stands between the
first ``{`` and the first ``}`` after it, if anything does; else the whole key. So
``{user1000}.following`` and ``{user1000}.followers`` share a slot, while ``foo{}{bar}`` hashes
whole (its first tag is empty).
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOT_COUNT: Final = 16384


def hashed_part(key: bytes) -> bytes:
    """The part of ``key`` that decides its slot: its hash tag, or all of it."""
    start = key.find(b"{")
    if start < 0:
        return key
    end = key.find(b"}", start + 1)
    if end <= start + 1:  # no closing brace, or nothing between the two
        return key
    return key[start + 1 : end]


def key_slot(key: bytes) -> int:
    """The hash slot of ``key``, 0 to 16383."""
    return crc_hqx(hashed_part(key), 0) % SLOT_COUNT
