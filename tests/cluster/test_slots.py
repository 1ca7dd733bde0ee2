"""Hash slots against the vectors of the Redis Cluster specification and of redis-py."""

from __future__ import annotations

from binascii import crc_hqx

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot as redis_py_key_slot

from cluster.slots import SLOT_COUNT, hashed_part, key_slot


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"foo", 12182),
        (b"bar", 5061),
        (b"b", 3300),
        (b"", 0),
        (b"{user1000}.following", 3443),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", 4015),
    ],
)
def test_vectors(key: bytes, slot: int) -> None:
    assert key_slot(key) == slot


def test_the_checksum_is_crc16_xmodem() -> None:
    assert crc_hqx(b"123456789", 0) == 0x31C3


@pytest.mark.parametrize(
    ("key", "part"),
    [
        (b"plain", b"plain"),
        (b"{tag}rest", b"tag"),
        (b"a{tag}rest{other}", b"tag"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"}open{", b"}open{"),
        (b"open{tag", b"open{tag"),
    ],
)
def test_hash_tags(key: bytes, part: bytes) -> None:
    assert hashed_part(key) == part


@given(st.lists(st.sampled_from([b"{", b"}", b"a", b"\r\n", b"\xff"])).map(b"".join))
def test_the_slot_is_the_one_a_client_computes(key: bytes) -> None:
    assert key_slot(key) == redis_py_key_slot(key)
    assert 0 <= key_slot(key) < SLOT_COUNT
