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
BREATHE_KEYS: Final = 512  # keys between two chances for the event loop
PACKED_BITS: Final = 1 << 17  # the same, of packing
ONE: Final = ord("1")


def key_hash(key: bytes) -> int:
    """The one hash of a key, for every filter it is asked of."""
    return xxh3_64_intdigest(key)


def build(hashes: Sequence[int]) -> tuple[bytes, int]:
    """The filter over these keys, and its number of bits."""
    size = max(64, BITS_PER_KEY * len(hashes))
    digits = bytearray(b"0" * (-(-size // 8) * 8))  # one a bit: quicker to set, packed below
    for start in range(0, len(hashes), BREATHE_KEYS):
        for digest in hashes[start : start + BREATHE_KEYS]:
            low = digest & LOW_32
            high = digest >> 32 | 1
            digits[low % size] = ONE
            digits[(low + high) % size] = ONE
            digits[(low + 2 * high) % size] = ONE
        time.sleep(0)
    packed: list[bytes] = []
    for start in range(0, len(digits), PACKED_BITS):
        part = digits[start : start + PACKED_BITS]
        part.reverse()
        packed.append(int(part, 2).to_bytes(len(part) // 8, "little"))
        time.sleep(0)
    return b"".join(packed), size


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
