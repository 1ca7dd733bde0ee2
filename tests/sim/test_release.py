"""When replies leave: not before what they tell is durable, and in the order of the commands."""

from __future__ import annotations

import pytest

from lsmstore.errors import Corruption
from tests.sim.node import SimNode


def node_with_slow_syncs() -> SimNode:
    return SimNode(sync_on_thread=True)


def test_the_end_of_a_log_that_is_left_alone_is_marked() -> None:
    """Then damage to the last frame is no longer taken for a frame that was torn."""
    node = SimNode()
    node.call("SET", "k", "v")
    before = node.store.stats()["log_frames"]
    torn = node.fs.kill()
    path = node.store._log._current.path
    torn.flip_bit(path, node.store._log._end - 5, 1)
    assert SimNode(torn).call("GET", "k") is None, "it might have been a torn write"
    node.advance(19)
    assert node.store.stats()["log_frames"] == before
    node.advance(1)
    assert node.store.stats()["log_frames"] == before + 1
    damaged = node.fs.kill()
    damaged.flip_bit(path, node.store._log._end - 48 - 5, 1)
    with pytest.raises(Corruption):
        SimNode(damaged)
    node.advance(1000)
    assert node.store.stats()["log_frames"] == before + 1, "once is enough"
    node.call("SET", "k", "w")
    node.client.send("SET", "k", "x")
    node.clock.advance(100)
    node.engine.on_timer()  # in the middle of a tick
    node.run()
    assert node.store.stats()["log_frames"] == before + 3
    node.advance(20)
    assert node.store.stats()["log_frames"] == before + 4
    assert node.reopen().call("GET", "k") == b"x"


def test_a_reply_waits_for_the_sync_on_a_thread() -> None:
    node = node_with_slow_syncs()
    node.client.send("XADD", "s", "1-1", "f", "v")
    node.engine.tick()
    assert node.client.take() is None
    node.run()
    assert node.client.take() == b"$3\r\n1-1\r\n"


def test_a_reader_is_not_shown_what_is_not_durable() -> None:
    node = node_with_slow_syncs()
    other = node.connect()
    node.client.send("XADD", "s", "1-1", "f", "v")
    node.engine.tick()
    other.send("XLEN", "s")
    node.engine.tick()
    assert other.take() is None
    node.run()
    assert other.take() == b":1\r\n"


def test_replies_keep_their_order_when_a_sync_ends_between_two_ticks() -> None:
    """The log is durable already, but the news of it has not come to the loop."""
    node = node_with_slow_syncs()
    node.client.send("XADD", "s", "1-1", "f", "v")
    node.engine.tick()
    work, done = node.skin.work.pop(0)
    work()
    node.client.send("PING")
    node.engine.tick()
    assert node.client.replies() == [b"$3\r\n1-1\r\n", b"+PONG\r\n"]
    done(None, None)
    node.run()
    assert node.client.replies() == []


@pytest.mark.parametrize("calmer", ["everysec", "no"])
def test_replies_keep_their_order_when_appendfsync_changes(calmer: str) -> None:
    node = node_with_slow_syncs()
    other = node.connect()
    node.client.send("XADD", "s", "1-1", "f", "v")
    node.engine.tick()
    other.send("CONFIG", "SET", "appendfsync", calmer)
    node.engine.tick()
    node.client.send("XADD", "s", "2-1", "f", "v")
    node.engine.tick()
    node.run()
    assert node.client.replies() == [b"$3\r\n1-1\r\n", b"$3\r\n2-1\r\n"]


def test_the_connection_closes_behind_the_last_of_the_held_replies() -> None:
    node = node_with_slow_syncs()
    node.client.send("XADD", "s", "1-1", "f", "v")
    node.engine.tick()
    other = node.connect()
    other.send("XADD", "s", "2-1", "f", "v")
    node.client.send("QUIT")
    node.engine.tick()
    node.run()
    assert node.client.replies() == [b"$3\r\n1-1\r\n", b"+OK\r\n"]
    assert node.client.transport.closed


def test_a_long_reply_begins_behind_the_replies_before_it() -> None:
    node = node_with_slow_syncs()
    for i in range(1, 41):
        node.call("XADD", "s", f"{i}-1", "f", "v" * 40_000)
    expected = node.raw("XRANGE", "s", "-", "+")
    node.client.send("XADD", "other", "1-1", "f", "v")
    node.engine.tick()
    node.client.send("XADD", "other", "2-1", "f", "v")
    node.client.send("XRANGE", "s", "-", "+")
    node.engine.tick()
    node.run()
    assert node.client.replies() == [b"$3\r\n1-1\r\n", b"$3\r\n2-1\r\n", expected]


def test_a_drained_socket_does_not_begin_a_long_reply_that_is_held() -> None:
    node = node_with_slow_syncs()
    client = node.connect(high_bytes=1000)
    for i in range(1, 41):
        node.call("XADD", "s", f"{i}-1", "f", "v" * 40_000)
    expected = node.raw("XRANGE", "s", "-", "+")
    client.transport.slow = True
    client.send("XADD", "other", "1-1", "f", "v")
    client.send("XRANGE", "s", "-", "+", "COUNT", 1)
    node.engine.tick()
    work, done = node.skin.work.pop(0)
    work()
    client.send("XADD", "other", "2-1", "f", "v")
    client.send("XRANGE", "s", "-", "+")
    node.engine.tick()
    assert client.session.paused
    client.transport.drain()
    client.transport.slow = False
    done(None, None)
    node.run()
    first, second, third, fourth = client.replies()
    assert (first, third) == (b"$3\r\n1-1\r\n", b"$3\r\n2-1\r\n")
    assert second.startswith(b"*1\r\n")
    assert fourth == expected
