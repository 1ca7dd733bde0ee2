"""Refusals quote the client's own words, cut and cleaned as Redis does it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respserver.errors import ReplyError
from tests.respclient import Client
from tests.respserver.fakes import Node
from tests.servers import Server

WORDS = st.one_of(
    st.binary(max_size=8),
    st.integers(100, 200).map(lambda size: b"w" * size),
    st.sampled_from([b"", b"\0", b"a\0b", b"\r\n", b"a'b", b"\xff", b"%s"]),
)


@pytest.fixture(scope="module")
def client(oracle: Server) -> Iterator[Client]:
    with oracle.connect() as connected:
        yield connected


@given(name=WORDS, args=st.lists(WORDS, max_size=6))
@example(name=b"foo", args=[b"x" * 127, b"y", b"z"])
@example(name=b"foo", args=[b"x" * 125, b"y"])
@example(name=b"foo", args=[b"x" * 124, b"y"])
@example(name=b"f" * 129, args=[])
@example(name=b"f\r\no", args=[b"a\r\nb"])
def test_unknown_commands(client: Client, name: bytes, args: list[bytes]) -> None:
    argv = [b"?" + name, *args]
    assert Node().run(*argv) == client.raw(*argv)


@given(word=WORDS, args=st.lists(WORDS, max_size=2))
def test_unknown_subcommands(client: Client, word: bytes, args: list[bytes]) -> None:
    argv = [b"cLiEnT", b"?" + word, *args]
    assert Node().run(*argv) == client.raw(*argv)


@pytest.mark.parametrize(
    "line",
    [
        "GET",
        "GET a b",
        "get",
        "CLIENT",
        "CLIENT GETNAME x",
        "CLIENT SETNAME",
        "config get",
        "CONFIG",
    ],
)
def test_wrong_arity(client: Client, line: str) -> None:
    assert Node().run(*line.split()) == client.raw(*line.split())


def test_a_refusal_is_one_line() -> None:
    assert ReplyError(b"ERR a\r\nb\nc").line == b"ERR a  b c"
