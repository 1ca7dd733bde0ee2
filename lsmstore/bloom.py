"""A bloom filter over row keys: 12 bits and 3 probes a key, about 1 % of false hits.

    filter := bits u8[ceil(m / 8)]        bit i is bit i % 8 of byte i // 8; m is kept beside it

Probe j of a key is ``(low + j * high) % m``, where low and high are the halves of its xxh3-64,
high made odd.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from xxhash import xxh3_64_intdigest

BITS_PER_KEY: Final = 12
LOW_32: Final = 0xFFFFFFFF
BREATHE_KEYS: Final = 256  # keys between two chances for the event loop


def key_hash(key: bytes) -> int:
    """The one hash of a key, for every filter it is asked of."""
    return xxh3_64_intdigest(key)


def build(hashes: Sequence[int]) -> tuple[bytes, int]:
    """The filter over these keys, and its number of bits."""
    size = max(64, BITS_PER_KEY * len(hashes))
    bits = bytearray((size + 7) // 8)
    for i, digest in enumerate(hashes):
        low = digest & LOW_32
        high = digest >> 32 | 1
        at = low % size
        bits[at >> 3] |= 1 << (at & 7)
        at = (low + high) % size
        bits[at >> 3] |= 1 << (at & 7)
        at = (low + 2 * high) % size
        bits[at >> 3] |= 1 << (at & 7)
        if i % BREATHE_KEYS == 0:
            time.sleep(0)
    return bytes(bits), size


def may_contain(bits: bytes, size: int, digest: int) -> bool:
    """False if the key of this hash is surely absent."""
    low = digest & LOW_32
    high = digest >> 32 | 1
    at = low % size
    if not bits[at >> 3] >> (at & 7) & 1:
        return False
    at = (low + high) % size
    if not bits[at >> 3] >> (at & 7) & 1:
        return False
    at = (low + 2 * high) % size
    return bits[at >> 3] >> (at & 7) & 1 == 1
