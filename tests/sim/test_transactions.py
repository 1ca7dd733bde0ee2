"""A transaction is all there after a crash, or nothing of it is; and it is one moment for others.

Each transaction writes its number to two streams and a string, so the three must agree whatever a
crash leaves. Some are larger than what a tick commits early, and stand among other commands.
"""

from __future__ import annotations

import random

import pytest

from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, SimFS
from respserver import engine
from respserver.errors import OUT_OF_MEMORY
from tests.respclient import Reply, encode
from tests.seeds import seeds
from tests.sim.node import SimClient, SimNode

COMMIT_BYTES = 1 << 20


def transaction(number: int, size: int) -> bytes:
    words = b"%d" % number
    return b"".join(
        map(
            encode,
            (
                [b"MULTI"],
                [b"XADD", b"a", b"*", b"n", words, b"body", b"x" * size],
                [b"XADD", b"a", b"1-1", b"refused", b"within"],
                [b"BGSAVE"],
                [b"XADD", b"b", b"MAXLEN", b"5", b"*", b"n", words, b"body", b"y" * size],
                [b"SET", b"k", words],
                [b"EXEC"],
            ),
        )
    )


def number_of(node: SimNode) -> set[int]:
    """The number of the last transaction, as each of its keys tells."""
    told = {int(node.call("GET", "k") or 0)}
    for key in ("a", "b"):
        last = node.call("XREVRANGE", key, "+", "-", "COUNT", 1)
        told.add(int(last[0][1][1]) if last else 0)
    return told


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
@pytest.mark.parametrize("seed", seeds(2))
def test_a_crash_leaves_all_of_a_transaction_or_nothing(seed: int, appendfsync: str) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    fs = SimFS()
    node = SimNode(fs, seed=seed, appendfsync=appendfsync, memtable_bytes=100_000)
    found: set[int] = set()
    points = 0

    def crash(_operation: int, _what: str, _path: str) -> None:
        nonlocal points
        for policy in (LOSE_ALL, KEEP_ALL, MIXED):
            points += 1
            told = number_of(SimNode(fs.crash(rng, policy), appendfsync=appendfsync))
            assert len(told) == 1, f"keys of transactions {told}"
            found.update(told)

    clients = [node.connect() for _ in range(2)]
    for number in range(1, 25):
        fs.hook = crash if number % 6 == 0 else None
        client = rng.choice(clients)
        size = COMMIT_BYTES * 2 // 3 if number in {6, 18} else rng.choice((10, 3000, 40_000))
        noise = encode([b"XADD", b"noise", b"*", b"f", b"v" * 500])
        client.feed(noise + transaction(number, size) + noise)
        for _ in range(rng.randrange(4)):
            node.skin.step()
        if number % 3 == 0:
            node.run()
    node.run()
    fs.hook = None
    assert number_of(node) == {24}
    assert number_of(SimNode(fs.crash(rng, KEEP_ALL))) == {24}
    assert points > 20
    assert len(found) > 4


def test_a_transaction_larger_than_a_frame_of_a_tick_is_one_frame() -> None:
    node = SimNode()
    sizes: list[int] = []
    commit = node.store.commit

    def noted(payload: bytes, count: int) -> int:
        sizes.append(len(payload))
        return commit(payload, count)

    node.store.commit = noted  # type: ignore[method-assign, assignment]
    node.client.feed(transaction(1, COMMIT_BYTES))
    node.run()
    assert len(sizes) == 1
    assert sizes[0] > 2 * COMMIT_BYTES


def test_nobody_is_served_before_the_transaction_is_over() -> None:
    node = SimNode()
    reader = node.connect()
    reader.send("XREAD", "BLOCK", 0, "STREAMS", "a", "$")
    node.client.feed(transaction(1, 10))
    node.client.feed(encode([b"MULTI"]) + encode([b"XADD", b"a", b"9999999999999-1", b"f", b"v"]))
    node.run()
    assert len(reader.replies()) == 1
    assert node.client.replies()[-2:] == [b"+OK\r\n", b"+QUEUED\r\n"]


def test_a_full_disk_refuses_a_transaction_before_it_begins() -> None:
    node = SimNode()
    watcher = node.connect()
    assert watcher.call("SET", "k", "before") == b"OK"
    node.store.make_room = _no_room  # type: ignore[method-assign, assignment]
    client = node.connect()
    assert client.call("MULTI") == b"OK"
    assert client.call("SET", "k", "after") == b"QUEUED"
    assert client.call("XADD", "s", "*", "f", "v" * 100_000) == b"QUEUED"
    assert client.raw("EXEC").startswith(
        b"-EXECABORT Transaction discarded because of: MISCONF Errors writing"
    )
    assert client.call("GET", "k") == b"before"


def _no_room(_size: int, *, frees_space: bool = False) -> None:
    from lsmstore.errors import DiskFull

    raise DiskFull("the disk is full")


def test_what_is_queued_is_bounded_like_other_input() -> None:
    node = SimNode(settings={"client-query-buffer-limit": "1mb"})
    client: SimClient = node.connect()
    client.call("MULTI")
    for _ in range(12):
        client.send("SET", "k", b"v" * 100_000)
    node.run()
    assert client.transport.aborted


def test_what_exec_was_promised_is_not_given_away() -> None:
    """Keys found to have expired within EXEC are deleted beyond what its commands reserved."""
    node = SimNode()
    node.call("SET", "gone", "v", "PX", 10)
    node.call("SET", "k", "v")
    node.clock.advance(20)
    node.call("MULTI")
    node.call("GET", "gone")
    node.call("SET", "k", "w" * 100_000, "NX")
    node.call("SET", "k", "x")
    node.client.send("EXEC")
    assert node.engine.verbs.promised >= 100_000 + 4096
    node.run()
    assert node.client.replies() == [b"*3\r\n$-1\r\n$-1\r\n+OK\r\n"]
    node.call("SET", "k", "y")
    assert node.engine.verbs.promised == 0


def test_a_frame_does_not_grow_beyond_what_the_log_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FRAME_BYTES_MAX", 70 << 20)
    node = SimNode()
    value = "v" * (10 << 20)
    node.call("MULTI")
    for i in range(8):
        node.call("SET", f"k{i}", value)
    refused = Reply("-", b"EXECABORT Transaction discarded because of: " + OUT_OF_MEMORY)
    assert node.call("EXEC") == refused
    assert node.call("DBSIZE") == 0
    script = (
        "for i = 1, 9 do local r = redis.pcall('SET', i, ARGV[1]); if r.err then return i end end"
    )
    assert node.call("EVAL", script, 0, value) == 7
    assert node.call("DBSIZE") == 6
    assert node.reopen().call("DBSIZE") == 6
