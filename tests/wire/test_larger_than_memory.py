"""More data, and more streams, than the memory budget holds: all of it is there and readable."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from tests.respclient import Client, encode
from tests.servers import Server
from tests.wire.conftest import Starter

SEED = 20261123
BUDGET = "32mb"
RESIDENT_BYTES = 220 << 20  # budget, interpreter and buffers; the data alone is larger
ENTRIES = 40_000
STREAMS = 12_000
Words = list[bytes]


def value(n: int) -> bytes:
    """Four kilobytes that do not compress to nothing, the same for the same number."""
    return random.Random(n).randbytes(2048).hex().encode()


def send_all(client: Client, commands: Iterable[Words]) -> int:
    """Send commands a hundred at a time; how many. An error reply fails."""
    sent, batch = 0, []
    for words in commands:
        batch.append(encode(words))
        if len(batch) == 100:
            sent += flush(client, batch)
            batch = []
    return sent + flush(client, batch)


def flush(client: Client, batch: list[bytes]) -> int:
    client.send_raw(b"".join(batch))
    for _ in batch:
        reply = client.read()[1]
        assert reply.kind != "-", reply
    return len(batch)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stream_larger_than_memory(start: Starter) -> None:
    server = start("--memory-budget", BUDGET)
    with server.connect() as client:
        entries = ([b"XADD", b"s", b"%d-1" % n, b"v", value(n)] for n in range(1, ENTRIES + 1))
        assert send_all(client, entries) == ENTRIES
        assert server.memory_bytes() < RESIDENT_BYTES
        check(client)
        # A group that begins at the cold end, and deletions there.
        client.call("XGROUP", "CREATE", "s", "g", "0")
        for first in range(1, 3001, 300):
            reply = client.call(
                "XREADGROUP", "GROUP", "g", "c", "COUNT", "300", "STREAMS", "s", ">"
            )
            rows = reply[0][1]
            assert [row[0] for row in rows] == [b"%d-1" % n for n in range(first, first + 300)]
            assert rows[7][1][1] == value(first + 7)
        assert client.call("XDEL", "s", "10-1", "2000-1", "39999-1") == 3
        assert client.call("XRANGE", "s", "1999", "2001")[1][0] == b"2001-1"
        history = client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", "12", "STREAMS", "s", "0")
        assert [row[1] is None for row in history[0][1]].index(True) == 9
        claimed = client.call("XCLAIM", "s", "g", "d", "0", "11-1", "1500-1")
        assert [row[1][1] for row in claimed] == [value(11), value(1500)]
        assert client.call("XTRIM", "s", "MINID", "5000") == 4999 - 2
        assert server.memory_bytes() < RESIDENT_BYTES
    server.kill()
    server.start()
    with server.connect() as client:
        assert client.call("XLEN", "s") == ENTRIES - 4999 - 1
        assert client.call("XPENDING", "s", "g")[0] == 3000
        assert client.call("XRANGE", "s", "-", "+", "COUNT", "1")[0] == [
            b"5000-1",
            [b"v", value(5000)],
        ]
        chosen = random.Random(SEED)
        for n in (chosen.randrange(5000, 39_000) for _ in range(300)):
            assert client.call("XRANGE", "s", n, n)[0][1][1] == value(n)
        assert server.memory_bytes() < RESIDENT_BYTES


def check(client: Client) -> None:
    """Read it all, forwards in pages and backwards at both ends."""
    at, seen = b"-", 0
    while rows := client.call("XRANGE", "s", at, "+", "COUNT", "1000"):
        for entry_id, fields in rows:
            seen += 1
            assert entry_id == b"%d-1" % seen
            if seen % 37 == 0:
                assert fields == [b"v", value(seen)]
        at = b"(" + rows[-1][0]
    assert seen == ENTRIES
    assert [row[0] for row in client.call("XREVRANGE", "s", "3", "-")] == [b"3-1", b"2-1", b"1-1"]
    assert client.call("XREVRANGE", "s", "+", "-", "COUNT", "1")[0][1][1] == value(ENTRIES)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_more_streams_than_memory(start: Starter) -> None:
    """Each with a group, a pending entry and two kilobytes; then a kill, and each is whole."""
    server = start("--memory-budget", BUDGET)
    with server.connect() as client:
        send_all(client, (words for n in range(STREAMS) for words in making(n)))
        assert client.call("DBSIZE") == STREAMS
        check_some(client, server)
    server.kill()
    server.start()
    with server.connect() as client:
        assert client.call("DBSIZE") == STREAMS
        check_some(client, server)
        found, cursor = set(), b"0"
        while True:
            cursor, names = client.call("SCAN", cursor, "COUNT", "1000", "TYPE", "stream")
            found |= set(names)
            if cursor == b"0":
                break
        assert found == {key(n) for n in range(STREAMS)}


def key(n: int) -> bytes:
    return b"stream:%d" % n


def making(n: int) -> list[Words]:
    return [
        [b"XADD", key(n), b"1-1", b"n", b"%d" % n, b"v", value(n)[:2000]],
        [b"XADD", key(n), b"2-1", b"n", b"%d" % n],
        [b"XGROUP", b"CREATE", key(n), b"g", b"0"],
        [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1", b"STREAMS", key(n), b">"],
    ]


def check_some(client: Client, server: Server) -> None:
    chosen = random.Random(SEED)
    for n in chosen.sample(range(STREAMS), 1000):
        rows = client.call("XRANGE", key(n), "-", "+")
        assert rows == [
            [b"1-1", [b"n", b"%d" % n, b"v", value(n)[:2000]]],
            [b"2-1", [b"n", b"%d" % n]],
        ]
        assert client.call("XPENDING", key(n), "g")[:3] == [1, b"1-1", b"1-1"]
        assert client.call("XADD", key(n), "1-5", "f", "v").kind == "-"
    assert server.memory_bytes() < RESIDENT_BYTES
