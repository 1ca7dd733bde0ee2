"""Long replies and slow clients: pinned to their moment, bounded in memory, the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.respclient import encode
from tests.seeds import seeds
from tests.sim.node import SimClient, SimNode, Word

ENTRIES = 700
VALUE = 3_000
PIECE_MAX = 400_000
RANGES: list[tuple[Word, ...]] = [
    ("XRANGE", "s", "-", "+"),
    ("XREVRANGE", "s", "+", "-"),
    ("XRANGE", "s", "57-1", "(650-1"),
    ("XREVRANGE", "s", "(650-1", "57-1"),
    ("XRANGE", "s", "100-1", "+", "COUNT", 500),
    ("XREVRANGE", "s", "+", "100-1", "COUNT", 500),
]


def take_all(node: SimNode, reader: SimClient) -> None:
    """The client takes what waits until nothing more comes."""
    while reader.session.paused:
        reader.transport.drain()
        node.run()


def value(i: int) -> bytes:
    return random.Random(i).randbytes(VALUE)


def long_stream(node: SimNode, *, holes: bool = False) -> None:
    for i in range(1, ENTRIES + 1):
        node.client.send("XADD", "s", f"{i}-1", "f", value(i))
        if i % 50 == 0:
            node.run()
    node.run()
    node.client.replies()
    if holes:
        doomed = [f"{i}-1" for i in range(1, ENTRIES + 1) if i % 7 < 2 or 200 < i < 300]
        node.call("XDEL", "s", *doomed)


def short_reply(node: SimNode, words: tuple[Word, ...]) -> bytes:
    """The same range out of replies that are built at once."""
    entries = [
        node.raw(words[0], "s", f"{i}-1", f"{i}-1").removeprefix(b"*1\r\n")
        for i in range(1, ENTRIES + 1)
        if node.call("XRANGE", "s", f"{i}-1", f"{i}-1")
    ]
    reverse = words[0] == "XREVRANGE"
    low, high = (words[3], words[2]) if reverse else (words[2], words[3])
    first = 0 if low == "-" else int(str(low).split("-")[0])
    last = ENTRIES if high == "+" else int(str(high).removeprefix("(").split("-")[0]) - 1
    found = [entry for entry in entries if first <= number(entry) <= last]
    if reverse:
        found.reverse()
    if len(words) > 4:
        found = found[: int(words[5])]
    return b"*%d\r\n" % len(found) + b"".join(found)


def number(entry: bytes) -> int:
    return int(entry.split(b"\r\n")[2].split(b"-")[0])


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("flushed", [False, True])
def test_a_long_reply_equals_the_short_ones_together(flushed: bool, holes: bool) -> None:
    node = SimNode(cache_bytes=200_000)
    long_stream(node, holes=holes)
    if flushed:
        node.flush()
        node = node.reopen(cache_bytes=200_000)
    for words in RANGES:
        assert node.raw(*words) == short_reply(node, words), words


@pytest.mark.parametrize("words", RANGES[:2])
@pytest.mark.parametrize("seed", seeds(6))
def test_a_long_reply_is_that_of_its_moment_whatever_comes_meanwhile(
    seed: int, words: tuple[Word, ...]
) -> None:
    """Appends, trims, deletions, DEL, flushes and evictions while a slow client reads."""
    rng = random.Random(seed)
    node = SimNode(seed=seed, cache_bytes=100_000, memtable_bytes=1_500_000, resident_bytes=1)
    long_stream(node, holes=rng.random() < 0.5)
    if rng.random() < 0.5:
        node.flush()
        node = node.reopen(seed=seed, cache_bytes=100_000, memtable_bytes=300_000)
    expected = node.raw(*words)
    reader = node.connect(high_bytes=1)
    reader.transport.slow = True
    reader.send(*words)
    changes = disturb(node, rng)
    while reader.session.stream_reply is not None or reader.session.blocked is not None:
        before = reader.transport.sent_bytes
        for _ in range(rng.randrange(12)):
            node.skin.step()
        next(changes)
        if reader.session.paused and rng.random() < 0.7:
            reader.transport.drain()
        assert reader.transport.sent_bytes - before < 3 * PIECE_MAX
    node.run()
    reader.transport.drain()
    node.run()
    assert reader.take() == expected
    assert reader.call("PING") == b"PONG"


def disturb(node: SimNode, rng: random.Random) -> Iterator[None]:
    """One change after another; the stream is gone at last, and made anew."""
    other = node.connect()
    for at in range(10_000):
        choice = rng.random()
        if choice < 0.3:
            other.send("XADD", "s", "*", "f", value(at))
        elif choice < 0.5:
            other.send("XDEL", "s", *[f"{rng.randrange(1, ENTRIES)}-1" for _ in range(5)])
        elif choice < 0.6:
            other.send("XTRIM", "s", "MAXLEN", rng.randrange(100, 600))
        elif choice < 0.7:
            other.send("SAVE")
        elif choice < 0.73:
            other.send("DEL", "s")
        else:
            other.send("XREAD", "COUNT", 3, "STREAMS", "s", f"{rng.randrange(ENTRIES)}-1")
        yield


def test_a_client_that_does_not_read_gets_no_more_than_its_socket_holds() -> None:
    node = SimNode()
    long_stream(node)
    reader = node.connect(high_bytes=1_000_000)
    reader.transport.slow = True
    reader.feed(encode([b"XRANGE", b"s", b"-", b"+"]) * 20 + encode([b"PING"]))
    node.run()
    assert reader.transport.sent_bytes < 1_000_000 + PIECE_MAX
    assert reader.session.output_bytes < 1_000_000 + PIECE_MAX
    drained = 0
    while reader.session.paused:
        before = reader.transport.sent_bytes
        reader.transport.drain()
        node.run()
        assert reader.transport.sent_bytes - before < 1_000_000 + PIECE_MAX
        drained += 1
    assert drained > 30
    replies = reader.replies()
    assert replies[-1] == b"+PONG\r\n"
    assert len(replies) == 21
    assert len(set(replies[:-1])) == 1


def test_short_replies_of_a_pipeline_stop_at_a_full_socket_too() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v" * 10_000)
    reader = node.connect(high_bytes=500_000)
    reader.transport.slow = True
    reader.feed(encode([b"XRANGE", b"s", b"-", b"+"]) * 1000 + encode([b"SET", b"k", b"v"]))
    node.run()
    assert reader.session.paused
    assert reader.transport.sent_bytes < 500_000 + PIECE_MAX
    assert node.call("EXISTS", "k") == 0
    take_all(node, reader)
    assert len(reader.replies()) == 1001
    assert node.call("EXISTS", "k") == 1


def test_a_client_that_leaves_in_the_midst_of_a_long_reply_is_forgotten() -> None:
    node = SimNode()
    long_stream(node)
    reader = node.connect(high_bytes=1)
    reader.transport.slow = True
    reader.send("XRANGE", "s", "-", "+")
    node.run()
    assert reader.session.paused
    reader.leave()
    assert len(node.engine.sessions) == 1
    assert node.call("XLEN", "s") == ENTRIES


def test_a_long_reply_out_of_cold_blocks_stops_at_a_full_socket() -> None:
    node = SimNode()
    long_stream(node)
    node.flush()
    node = node.reopen(cache_bytes=1)
    reader: SimClient = node.connect(high_bytes=1)
    reader.transport.slow = True
    expected = node.raw("XRANGE", "s", "-", "+")
    reader.send("XRANGE", "s", "-", "+")
    node.run()
    assert reader.session.paused
    take_all(node, reader)
    assert reader.take() == expected
