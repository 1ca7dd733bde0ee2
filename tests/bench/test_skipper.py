"""The load generator's reply skipper: any split counts alike, garbage is never a reply."""

from __future__ import annotations

from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.skipper import Skipper

Reply = bytes | int | None | Exception | list["Reply"]

ENTRY = b"*2\r\n$3\r\n7-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
DELIVERED = b"*1\r\n*2\r\n$1\r\ns\r\n*3\r\n" + 3 * ENTRY


def encode(reply: Reply) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case Exception():
            return b"-%b\r\n" % str(reply).encode()
        case _:
            return b"*%d\r\n%b" % (len(reply), b"".join(map(encode, reply)))


def count(data: bytes, entries_depth: int = -1) -> Skipper:
    skipper = Skipper(entries_depth)
    assert skipper.feed_bytes(data)
    return skipper


def counters(skipper: Skipper) -> tuple[int, ...]:
    return (
        skipper.replies,
        skipper.errors,
        skipper.nulls,
        skipper.entries,
        skipper.total,
        skipper.complete,
    )


def errors_in(reply: Reply) -> int:
    if isinstance(reply, list):
        return sum(map(errors_in, reply))
    return isinstance(reply, Exception)


leaves = st.one_of(
    st.none(),
    st.integers(-(10**18) + 1, 10**18 - 1),
    st.binary(max_size=80),
    st.sampled_from([ValueError("ERR no"), ValueError("NOGROUP")]),
)
replies = st.recursive(leaves, lambda inner: st.lists(inner, max_size=5), max_leaves=20)


@given(st.lists(replies, max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_counts_what_was_sent(sent: list[Reply], cuts: list[int]) -> None:
    data = b"".join(map(encode, sent))
    skipper = Skipper(0)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        assert skipper.feed_bytes(data[start:end])
    assert counters(skipper) == (
        len(sent),
        sum(map(errors_in, sent)),
        sum(reply is None or reply == [] for reply in sent),
        sum(len(reply) for reply in sent if isinstance(reply, list)),
        sum(reply for reply in sent if isinstance(reply, int)),
        True,
    )


def test_a_byte_at_a_time_counts_alike() -> None:
    data = DELIVERED + b"+OK\r\n-ERR no\r\n:-12\r\n*-1\r\n$-1\r\n*0\r\n$0\r\n\r\n" + DELIVERED
    whole = count(data, 2)
    skipper = Skipper(2)
    for at in range(len(data)):
        assert skipper.feed_bytes(data[at : at + 1])
    assert counters(skipper) == counters(whole) == (9, 1, 3, 6, -12, True)
    assert skipper.first_error == whole.first_error == b"ERR no"


@pytest.mark.parametrize(("depth", "entries"), [(-1, 0), (0, 1), (1, 2), (2, 3), (3, 6), (4, 6)])
def test_entries_are_counted_at_the_depth_asked_for(depth: int, entries: int) -> None:
    assert count(DELIVERED, depth).entries == entries


@pytest.mark.parametrize("cut", range(len(DELIVERED)))
def test_the_second_bulk_is_kept_whatever_the_split(cut: int) -> None:
    skipper = Skipper(2)
    assert skipper.feed_bytes(DELIVERED[:cut])
    assert not skipper.complete or cut == 0
    assert skipper.feed_bytes(DELIVERED[cut:])
    assert skipper.second_bulk == b"7-0"


def test_the_second_bulk_is_that_of_the_newest_reply_with_one() -> None:
    newer = DELIVERED.replace(b"$3\r\n7-0", b"$5\r\n12345")
    assert count(DELIVERED + newer + b":1\r\n*1\r\n$1\r\nx\r\n").second_bulk == b"12345"


@pytest.mark.parametrize(
    "garbage",
    [
        b"PONG\r\n",
        b"$\r\n",
        b"$-\r\n",
        b"$3\nabc\r\n",
        b"$3\r\nabcd\r\n",
        b"$3\r\nabc\n\n",
        b"$2\r\nab\rX",
        b"$-2\r\n",
        b"*-2\r\n",
        b":1x\r\n",
        b":--1\r\n",
        b":1\r\r",
        b"+OK\rX",
        b"*1\r\n\r\n",
        b":1234567890123456789\r\n",
        b"*1\r\n" * 17,
        b"_\r\n",
        b"%1\r\n+a\r\n+b\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", b"+OK\r\n", b"*4\r\n$1\r\na\r\n$1\r\nb\r\n"])
def test_garbage_is_refused_at_any_split_and_stays_refused(before: bytes, garbage: bytes) -> None:
    assert not Skipper().feed_bytes(before + garbage)
    skipper = Skipper()
    took = [skipper.feed_bytes(bytes([byte])) for byte in before + garbage]
    assert not took[-1]
    assert not skipper.feed_bytes(b"+OK\r\n")


@given(st.lists(st.sampled_from(list(b"$*:+-0123\r\nab")), max_size=60).map(bytes))
def test_what_is_counted_is_what_a_client_library_reads(data: bytes) -> None:
    skipper = Skipper()
    if not skipper.feed_bytes(data):
        return
    reader = hiredis.Reader(replyError=ValueError)
    reader.feed(data)
    read = 0
    while reader.gets() is not False:
        read += 1
    assert skipper.replies == read
