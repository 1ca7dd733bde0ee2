"""Messages that clients did not ask for: when they leave, and that they never tear a reply."""

from __future__ import annotations

import pytest

from tests.sim.node import SimClient, SimNode

HELLO = (b"%7\r\n", b"*14\r\n")


def three(node: SimNode) -> SimClient:
    client = node.connect()
    client.call("HELLO", 3)
    return client


def test_a_message_waits_until_what_caused_it_is_durable() -> None:
    node = SimNode(sync_on_thread=True, settings={"notify-keyspace-events": "Kt"})
    listener = node.connect()
    listener.call("SUBSCRIBE", "__keyspace@0__:s")
    node.client.send("XADD", "s", "1-1", "f", "v")
    while node.skin.soon:
        node.skin.soon.popleft()()
    assert node.store.synced_lsn < node.store.written_lsn
    assert listener.replies() == []  # the sync is still to be done
    node.run()
    assert listener.replies() == [
        b"*3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@0__:s\r\n$4\r\nxadd\r\n"
    ]


def test_a_message_stands_behind_a_long_reply() -> None:
    node = SimNode()
    reader = three(node)
    reader.call("SUBSCRIBE", "news")
    for _ in range(40):
        node.call("XADD", "s", "*", "f", b"x" * 60_000)
    reader.transport.slow = True
    reader.send("XRANGE", "s", "-", "+")
    for _ in range(3):
        node.skin.step()
    assert reader.session.stream_reply is not None
    assert node.call("PUBLISH", "news", "early") == 1
    reader.transport.slow = False
    reader.transport.drain()
    node.run()
    entries, message = reader.replies()
    assert entries.startswith(b"*40\r\n")
    assert message == b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nearly\r\n"
    assert reader.call("PING") == b"PONG"


def test_a_redirection_that_broke_is_told_in_resp3() -> None:
    node = SimNode()
    tracker, target = three(node), node.connect()
    number = target.call("CLIENT", "ID")
    assert tracker.call("CLIENT", "TRACKING", "ON", "REDIRECT", number) == b"OK"
    target.leave()
    tracker.call("GET", "k")
    node.call("SET", "k", "v")
    assert tracker.replies() == [b">2\r\n$21\r\ntracking-redir-broken\r\n:%d\r\n" % number]
    assert b"broken_redirect" in tracker.raw("CLIENT", "TRACKINGINFO")


def test_invalidation_in_resp3() -> None:
    node = SimNode()
    tracker = three(node)
    tracker.call("CLIENT", "TRACKING", "ON")
    tracker.call("XLEN", "s")
    tracker.send("MULTI")
    tracker.send("XADD", "s", "1-1", "f", "v")
    tracker.send("XLEN", "s")
    tracker.send("EXEC")
    node.run()
    assert tracker.replies() == [
        b"+OK\r\n",
        b"+QUEUED\r\n",
        b"+QUEUED\r\n",
        b"*2\r\n$3\r\n1-1\r\n:1\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\ns\r\n",
    ]
    node.call("FLUSHALL")
    assert tracker.replies() == [b">2\r\n$10\r\ninvalidate\r\n_\r\n"]
    tracker.send("FLUSHALL")
    node.run()
    assert tracker.replies() == [b">2\r\n$10\r\ninvalidate\r\n_\r\n", b"+OK\r\n"]


def test_broadcast_in_resp3_comes_once_a_tick() -> None:
    node = SimNode()
    tracker = three(node)
    tracker.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "NOLOOP")
    node.client.send("SET", "a1", "v")
    node.client.send("SET", "a2", "v")
    node.client.send("SET", "b", "v")
    node.run()
    assert tracker.replies() == [b">2\r\n$10\r\ninvalidate\r\n*2\r\n$2\r\na1\r\n$2\r\na2\r\n"]
    tracker.call("SET", "a3", "mine")
    assert tracker.replies() == []


def test_the_table_of_tracked_keys_is_bounded() -> None:
    node = SimNode(settings={"tracking-table-max-keys": "2"})
    tracker = three(node)
    tracker.call("CLIENT", "TRACKING", "ON")
    for key in ("a", "b", "c"):
        tracker.send("GET", key)
    node.run()
    assert tracker.replies() == [b"_\r\n"] * 3 + [b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"]


def test_a_listener_that_does_not_read_is_closed_by_its_class() -> None:
    node = SimNode(settings={"client-output-buffer-limit": "pubsub 5mb 0 0"})
    listener = node.connect(high_bytes=1000)
    listener.call("SUBSCRIBE", "news")
    listener.transport.slow = True
    for _ in range(10):
        node.call("PUBLISH", "news", b"x" * 600_000)
    assert listener.transport.aborted
    assert node.call("PUBSUB", "NUMSUB", "news") == [b"news", 0]


def test_nothing_is_special_once_everybody_has_left() -> None:
    node = SimNode()
    kernel = node.engine.kernel
    client = three(node)
    for begin, end in (
        (("WATCH", "k"), ("UNWATCH",)),
        (("CLIENT", "TRACKING", "ON"), ("CLIENT", "TRACKING", "OFF")),
        (("CONFIG", "SET", "notify-keyspace-events", "KEA"), ("CONFIG", "SET",
          "notify-keyspace-events", "")),
    ):  # fmt: skip
        client.call(*begin)
        assert kernel.special
        client.call(*end)
        assert not kernel.special
        client.call(*begin)
        client.leave()
        client = three(node)
        node.call("CONFIG", "SET", "notify-keyspace-events", "")
        assert not kernel.special


def message(channel: str, key: str) -> bytes:
    return b"".join(
        [b"*3\r\n"] + [b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in ("message", channel, key)]
    )


@pytest.mark.parametrize("asked", [True, False])
def test_a_key_that_expires_is_told_as_expired(asked: bool) -> None:
    """Whoever finds it, a command or the index; and to those who track it, as well."""
    node = SimNode(settings={"notify-keyspace-events": "Exg"})
    node.engine.expiry.active = not asked
    listener, tracker = node.connect(), three(node)
    for event in ("expired", "del", "expire"):
        listener.call("SUBSCRIBE", f"__keyevent@0__:{event}")
    tracker.call("CLIENT", "TRACKING", "ON", "NOLOOP")
    node.call("SET", "k", "v")
    node.call("XADD", "s", "1-1", "f", "v")
    tracker.call("GET", "k")
    tracker.call("XLEN", "s")
    node.call("PEXPIRE", "k", 50)
    node.call("PEXPIRE", "s", 60)
    invalid = [b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n%b\r\n" % key for key in (b"k", b"s")]
    assert tracker.replies() == invalid
    tracker.call("GET", "k")
    tracker.call("XLEN", "s")
    expire = [message("__keyevent@0__:expire", key) for key in ("k", "s")]
    assert listener.replies() == expire
    node.advance(1000)
    if asked:
        assert node.call("EXISTS", "k", "s") == 0
    node.run()
    assert listener.replies() == [message("__keyevent@0__:expired", key) for key in ("k", "s")]
    assert tracker.replies() == invalid


def test_a_watched_key_that_expires_spoils_the_transaction() -> None:
    node = SimNode()
    for asked in (True, False):
        node.engine.expiry.active = not asked
        for key in ("k", "other"):
            node.call("SET", "k", "v", "PX", 50)
            node.call("WATCH", key)
            node.advance(1000)
            node.run()
            node.call("MULTI")
            node.call("PING")
            assert node.call("EXEC") == (None if key == "k" else [b"PONG"])
    node.call("WATCH", "k")  # it is gone already
    node.call("GET", "k")
    node.call("MULTI")
    assert node.call("EXEC") == []


def test_what_expired_in_the_background_is_told_before_its_database_is_emptied() -> None:
    node = SimNode(settings={"notify-keyspace-events": "Ex"})
    listener = node.connect()
    listener.call("SUBSCRIBE", "__keyevent@0__:expired")
    node.call("SET", "k", "v", "PX", 50)
    node.engine.expiry.active = False
    node.advance(1000)
    node.engine.expiry.active = True
    node.engine.expiry.step()
    node.client.send("FLUSHDB")
    node.run()
    assert listener.replies() == [message("__keyevent@0__:expired", "k")]
