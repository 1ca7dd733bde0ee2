"""Patterns against redis-server itself: KEYS as given, COMMAND LIST without regard to case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respserver.glob import STARS_MAX, matches
from tests.respclient import Client
from tests.servers import Server

ALPHABET = [b"a", b"b", b"A", b"Z", b"]", b"-", b"\\", b"\xe9", b"\x80", b"^", b"*", b"[", b"?"]
PIECES = [*ALPHABET, b"*", b"?", b"[a-c]", b"[^a]", b"[b-Z]", b"[^", b"[\\]]", b"[]a]", b"\\*"]
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=6).map(b"".join)
PATTERNS = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join)


@pytest.fixture(scope="module")
def client(oracle: Server) -> Iterator[Client]:
    with oracle.connect() as connected:
        yield connected
        connected.call("FLUSHALL")


@given(pattern=PATTERNS, texts=st.lists(TEXTS, min_size=20, max_size=60, unique=True))
@example(pattern=b"**", texts=[b"", b"a"])
@example(pattern=b"", texts=[b"", b"a"])
@example(pattern=b"[a-]", texts=[b"a", b"]", b"-", b"Z"])
@example(pattern=b"[\xe9-a]", texts=[b"a", b"\xe9", b"\x80", b"Z"])
def test_keys(client: Client, pattern: bytes, texts: list[bytes]) -> None:
    if pattern == b"*":  # KEYS does not ask the pattern then
        pattern = b"*?"
    client.call("FLUSHALL")
    for text in texts:
        client.call("SET", text, "")
    expected = set(client.call("KEYS", pattern))
    assert {text for text in texts if matches(pattern, text)} == expected


@given(
    st.lists(st.sampled_from([b"X", b"a", b"D", b"[c-P]", b"[x-D]", b"[^X]", b"*", b"?", b"\\R"]))
)
def test_without_regard_to_case(client: Client, pieces: list[bytes]) -> None:
    pattern = b"".join(pieces)
    listed = client.call("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
    names = client.call("COMMAND", "LIST")
    assert sorted(listed) == sorted(name for name in names if matches(pattern, name, True))


def test_patterns_that_would_take_for_ever() -> None:
    assert not matches(b"*a" * 30 + b"b", b"a" * 3000)
    assert matches(b"*a" * 30, b"a" * 3000)
    assert matches(b"*a" * STARS_MAX, b"a" * STARS_MAX)
    assert not matches(b"*a" * (STARS_MAX + 1), b"a" * (STARS_MAX + 1))


def test_a_thousand_stars_are_too_many_for_redis_as_well(client: Client) -> None:
    for stars in (STARS_MAX, STARS_MAX + 1):
        text = b"a" * stars
        client.call("SET", text, "")
        assert client.call("KEYS", b"*a" * stars) == [text] * matches(b"*a" * stars, text)
