"""Keys that expire, on a node whose clock the test moves: by touch, by the index, after jumps."""

from __future__ import annotations

from typing import Any

import pytest

from lsmstore.simfs import LOSE_ALL
from streams import expiry
from tests.sim.dump import check_expiry, difference, dump
from tests.sim.node import START_MS, SimNode


def info(node: SimNode, section: str, name: str) -> str:
    text = node.call("INFO", section).decode()
    (line,) = [line for line in text.split("\r\n") if line.startswith(f"{name}:")]
    return str(line.partition(":")[2])


def indexed(node: SimNode) -> int:
    """Rows of the index."""
    keyspace = node.engine.keyspace
    return len(list(keyspace.merged(b"E", b"F")))


@pytest.mark.parametrize("flushed", [False, True])
def test_a_key_is_gone_when_its_time_has_come(flushed: bool) -> None:
    node = SimNode()
    node.call("SET", "k", "v", "PX", 1000)
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("PEXPIRE", "s", 2000)
    if flushed:
        node.flush()
    node.advance(999)
    assert node.call("GET", "k") == b"v"
    node.advance(1)
    assert node.call("DBSIZE") == 1
    assert node.call("GET", "k") is None
    assert node.call("PTTL", "s") == 1000
    node.advance(1000)
    assert node.call("DBSIZE") == 0
    assert info(node, "stats", "expired_keys") == "2"
    assert indexed(node) == 0


def test_an_idle_node_expires_keys_without_being_asked() -> None:
    node = SimNode()
    for n in range(300):
        node.call("SET", f"k{n}", "v", "PX", 1000 + n)
    node.advance(1150)
    assert node.engine.keyspace.size(1) == 149
    lsn = node.store.written_lsn
    node.advance(1000)
    assert node.engine.keyspace.size(1) == 0
    assert node.store.written_lsn == lsn + 149, "each is a record of the log"


def test_a_key_that_is_due_is_hidden_from_everybody_while_the_index_rests() -> None:
    node = SimNode()
    node.engine.expiry.active = False
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("SET", "k", "v")
    node.call("PEXPIRE", "s", 10)
    node.call("PEXPIRE", "k", 10)
    node.advance(10)
    assert node.call("DBSIZE") == 2
    assert node.call("KEYS", "*") == []
    assert node.call("XLEN", "s") == 0
    assert node.call("DBSIZE") == 1
    assert node.call("SCAN", 0) == [b"0", []]
    assert node.call("DBSIZE") == 0
    assert info(node, "stats", "expired_keys") == "2"


def test_xadd_begins_a_new_stream_where_the_old_one_expired() -> None:
    node = SimNode()
    node.engine.expiry.active = False
    node.call("XADD", "s", "9-1", "f", "v")
    node.call("PEXPIRE", "s", 10)
    node.call("XADD", "s", "9-2", "f", "v")
    node.clock.advance(10)
    assert node.call("XADD", "s", "1-1", "f", "v") == b"1-1"
    assert node.call("XLEN", "s") == 1
    assert node.call("TTL", "s") == -1
    before = dump(node)
    assert not difference(before, dump(node.reopen()))


@pytest.mark.parametrize("by", ["index", "touch"])
def test_readers_of_a_stream_that_expires(by: str) -> None:
    node = SimNode()
    node.engine.expiry.active = by == "index"
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", "$")
    node.call("PEXPIRE", "s", 100)
    grouped, plain = node.connect(), node.connect()
    grouped.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    plain.send("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
    node.run()
    node.advance(99)
    assert grouped.take() is None
    node.advance(1)
    if by == "touch":
        assert grouped.take() is None
        assert node.call("EXISTS", "s") == 0
        node.run()
    reply = grouped.take()
    assert reply is not None
    assert reply.startswith(b"-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP")
    assert plain.take() is None
    node.call("XADD", "s", "2-1", "f", "v")
    assert plain.take() is not None


def test_the_clock_jumps() -> None:
    node = SimNode()
    node.call("SET", "soon", "v", "PX", 10_000)
    node.call("SET", "late", "v", "PX", 100_000_000)
    node.clock.set_wall_ms(START_MS + 50_000)  # forwards
    node.advance(1000)
    assert node.engine.keyspace.size(1) == 1, "the index looks at the clock once a second"
    node.clock.set_wall_ms(START_MS - 50_000)  # and back
    node.call("SET", "early", "v", "PX", 10_000)  # before all that the index has seen
    assert node.call("PTTL", "early") == 10_000
    node.advance(10_000)
    assert node.call("KEYS", "*") == [b"late"]
    assert node.engine.keyspace.size(1) == 1


@pytest.mark.parametrize("flushed", [False, True])
def test_what_expired_while_the_node_was_down_is_gone(flushed: bool) -> None:
    node = SimNode()
    node.call("SET", "k", "v", "PX", 1000)
    node.call("SET", "l", "v", "EX", 1000)
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("PEXPIRE", "s", 1000)
    if flushed:
        node.flush()
    node.clock.advance(5000)
    node = node.reopen()
    node.run()
    assert node.engine.keyspace.size(1) == 1
    assert node.call("KEYS", "*") == [b"l"]
    after = node.reopen(node.fs.crash(__import__("random").Random(0), LOSE_ALL))
    assert after.engine.keyspace.size(1) == 1, "that they are gone is in the log"


def test_more_keys_than_the_window_of_the_index_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "WINDOW_ROWS", 8)
    monkeypatch.setattr(expiry, "READ_ROWS", 4)
    node = SimNode()
    for n in range(100):
        node.call("SET", f"k{n}", "v", "PX", 1000 + 37 * n % 100)
        if n % 30 == 29:
            node.flush()
    for n in range(0, 100, 3):
        node.call("SET", f"k{n}", "v", "KEEPTTL" if n % 2 else "GET")
    assert len(node.engine.keyspace.expiry._window) <= 17
    kept = {n for n in range(0, 100, 3) if n % 2 == 0}
    for ms in range(100):
        node.advance(1000 if ms == 0 else 1)
        check_expiry(node.engine.keyspace)
        due = {n for n in range(100) if 37 * n % 100 <= ms} - kept
        assert node.engine.keyspace.size(1) == 100 - len(due), ms
    assert len(node.call("KEYS", "*")) == len(kept)


def test_an_expiry_stays_with_its_key() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("PEXPIRE", "s", 100_000)

    def ttl(client: Any, key: str) -> int:
        found: int = client.call("PTTL", key)
        return found

    node.call("RENAME", "s", "t")
    assert (ttl(node, "s"), ttl(node, "t")) == (-2, 100_000)
    node.call("MOVE", "t", 1)
    node.flush()
    node = node.reopen(resident_bytes=1)
    node.call("SELECT", 1)
    assert ttl(node, "t") == 100_000
    node.call("SWAPDB", 0, 1)
    node.call("SELECT", 0)
    assert ttl(node, "t") == 100_000
    assert node.call("XADD", "t", "2-1", "f", "v") == b"2-1"
    node.flush()
    node.engine.keyspace.make_room(set())
    assert node.engine.keyspace.by_sid == {}, "evicted"
    assert info(node, "keyspace", "db0") == "keys=1,expires=1,avg_ttl=100000,subexpiry=0"
    node.advance(100_000)
    assert node.call("EXISTS", "t") == 0


def test_a_counter_with_a_time_to_live_leaves_nothing_behind() -> None:
    node = SimNode()
    for n in range(500):
        node.call("SET", "k", str(n), "PX", 1000 + n)
    rows = node.engine.keyspace.rows
    assert len(rows) == 2, "its row, and one in the index"
