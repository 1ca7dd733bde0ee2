from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respserver.args import Args, need_int, need_int_between, parse_int
from respserver.errors import NOT_INT, ReplyError

STRICT = re.compile(rb"0|-?[1-9][0-9]{0,18}")


@given(
    st.one_of(
        st.integers(-(1 << 64), 1 << 64).map(lambda value: b"%d" % value),
        st.from_regex(rb"\A[-+ ]?[0-9]{0,21}\Z"),
        st.binary(max_size=4),
    )
)
@example(b"9223372036854775807")
@example(b"9223372036854775808")
@example(b"-9223372036854775808")
@example(b"-9223372036854775809")
@example(b"-0")
@example(b"007")
@example(b"1_0")
@example(b"1\n")
@example("١".encode())
def test_integers_are_strict(text: bytes) -> None:
    strict = STRICT.fullmatch(text) is not None and -(1 << 63) <= int(text) < 1 << 63
    assert parse_int(text) == (int(text) if strict else None)


def refusal(function: object, *args: object) -> bytes:
    with pytest.raises(ReplyError) as caught:
        function(*args)  # type: ignore[operator]
    return caught.value.line


def test_refusals_of_integers() -> None:
    assert need_int(b"-5") == -5
    assert refusal(need_int, b"x") == NOT_INT
    assert refusal(need_int, b"x", b"ERR mine") == b"ERR mine"
    assert need_int_between(b"3", 1, 3) == 3
    assert refusal(need_int_between, b"x", 1, 3) == NOT_INT
    assert refusal(need_int_between, b"4", 1, 3) == (
        b"ERR value is out of range, value must between 1 and 3"
    )
    assert refusal(need_int_between, b"4", 1, 3, b"ERR mine") == b"ERR mine"


def test_the_cursor_over_words() -> None:
    args = Args([b"SCAN", b"0", b"count", b"5"])
    assert args.take() == b"0"
    assert args.left == 2
    assert args.take_option() == b"COUNT"
    assert args.take_int() == 5
    assert args.left == 0
    assert refusal(args.take) == b"ERR syntax error"
    assert refusal(Args([b"x", b"y"]).take_int) == NOT_INT
