from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmstore.buf import Buf
from respserver.errors import ReplyError
from respserver.replies import NULL_ARRAY, OK, Raw, Set, Simple, Verbatim, double_text, encode
from tests.servers import Server

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
LINES = st.binary(max_size=20).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
LEAVES = st.one_of(
    INT64,
    st.binary(max_size=40),
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.just(NULL_ARRAY),
    LINES.map(Simple),
    st.binary(max_size=40).map(Verbatim),
    LINES.map(ReplyError),
    st.binary(max_size=10).map(Raw),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(Set),
        st.dictionaries(st.binary(max_size=8), inner, max_size=4),
    ),
    max_leaves=20,
)


def encoded(value: object, proto: int) -> bytes:
    out = Buf()
    encode(value, proto, out)
    return out.take()


def naive(value: Any, proto: int) -> bytes:
    """The same, the long way round."""

    def bulk(text: bytes) -> bytes:
        return b"$%d\r\n%b\r\n" % (len(text), text)

    def members(mark: bytes, number: int, values: Any) -> bytes:
        return b"%b%d\r\n" % (mark, number) + b"".join(naive(one, proto) for one in values)

    if value is None or value is NULL_ARRAY:
        return b"_\r\n" if proto == 3 else b"$-1\r\n" if value is None else b"*-1\r\n"
    match value:
        case bool():
            return (b"#%b\r\n" % (b"ft"[value : value + 1])) if proto == 3 else b":%d\r\n" % value
        case int():
            return b":%d\r\n" % value
        case float():
            text = double_text(value)
            return b",%b\r\n" % text if proto == 3 else bulk(text)
        case bytes():
            return bulk(value)
        case Simple():
            return b"+%b\r\n" % value.text
        case ReplyError():
            return b"-%b\r\n" % value.line
        case Verbatim():
            if proto == 2:
                return bulk(value.text)
            return b"=%d\r\ntxt:%b\r\n" % (len(value.text) + 4, value.text)
        case Raw():
            return value.data
        case dict():
            flat = [part for pair in value.items() for part in pair]
            if proto == 3:
                return members(b"%", len(value), flat)
            return members(b"*", len(flat), flat)
        case Set():
            return members(b"~" if proto == 3 else b"*", len(value.members), value.members)
        case _:
            return members(b"*", len(value), value)


@given(VALUES, st.sampled_from([2, 3]))
def test_any_value_is_encoded_as_a_naive_encoder_does(value: object, proto: int) -> None:
    assert encoded(value, proto) == naive(value, proto)


def test_values_by_example() -> None:
    assert encoded({b"a": [1, None, OK]}, 2) == b"*2\r\n$1\r\na\r\n*3\r\n:1\r\n$-1\r\n+OK\r\n"
    assert encoded({b"a": [1, None, OK]}, 3) == b"%1\r\n$1\r\na\r\n*3\r\n:1\r\n_\r\n+OK\r\n"
    assert encoded([True, 1.5, NULL_ARRAY, Set([b""])], 2) == (
        b"*4\r\n:1\r\n$3\r\n1.5\r\n*-1\r\n*1\r\n$0\r\n\r\n"
    )
    assert encoded([True, 1.5, NULL_ARRAY, Set([b""])], 3) == (
        b"*4\r\n#t\r\n,1.5\r\n_\r\n~1\r\n$0\r\n\r\n"
    )
    assert encoded(Verbatim(b"hi"), 3) == b"=6\r\ntxt:hi\r\n"
    assert encoded(ReplyError(b"ERR two\r\nlines"), 2) == b"-ERR two  lines\r\n"


@pytest.mark.parametrize("value", ["text", object(), b"".join, bytearray(b"x")])
def test_what_is_no_reply_is_a_bug(value: object) -> None:
    with pytest.raises(TypeError, match="is not a reply"):
        encoded(value, 2)


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_integers_beyond_64_bits_are_a_bug(value: int) -> None:
    with pytest.raises(OverflowError):
        encoded(value, 2)


DOUBLES = [
    *(0.0, 1.0, -1.0, 0.1, 1.5, -2.25, 3.0e5, 123456789.0, 1e15, 1e16, 1e17, 1e20, 1e21, 1e22),
    *(123456789012345680.0, 5e-324, sys.float_info.max, 1e-5, 1e-6, 1e-7, 1.5e-7, 0.0001),
    *(12345.678e-9, 1.7976931348623157e308, 2.5e-10, 100.25, 1e100, 9007199254740993.0, 4.35),
    *(float("inf"), float("-inf"), -0.0, 2.0**61, 2.0**62, -(2.0**62), 2.0**63, 4.7e18),
]


def test_doubles_are_printed_as_redis_prints_them(oracle: Server) -> None:
    with oracle.connect(3) as client:
        for value in DOUBLES:
            client.call("ZADD", "doubles", repr(value), "member")
            assert client.raw("ZSCORE", "doubles", "member") == encoded(value, 3), value
        client.call("DEL", "doubles")
