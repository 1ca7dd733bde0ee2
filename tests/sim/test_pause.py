"""CLIENT PAUSE, CLIENT REPLY, WAIT and MONITOR over time: who waits, in which order who goes on."""

from __future__ import annotations

from tests.sim.node import SimNode


def test_writes_wait_and_go_on_in_their_order() -> None:
    node = SimNode()
    one, two, admin = node.connect(), node.connect(), node.connect()
    assert admin.call("CLIENT", "PAUSE", 1000, "WRITE") == b"OK"
    two.send("XADD", "s", "1-1", "f", "v")
    two.send("XLEN", "s")
    one.send("XADD", "s", "2-1", "f", "v")
    node.run()
    assert one.replies() == two.replies() == []
    assert admin.call("XLEN", "s") == 0  # who reads is not held
    assert b"flags=b" in admin.call("CLIENT", "LIST", "ID", two.session.id)
    node.advance(999)
    assert two.replies() == []
    node.advance(1)
    assert two.replies() == [b"$3\r\n1-1\r\n", b":1\r\n"]
    assert one.replies() == [b"$3\r\n2-1\r\n"]
    assert not node.engine.kernel.special


def test_unpause_and_what_counts_as_a_write() -> None:
    node = SimNode()
    admin = node.connect()
    admin.call("CLIENT", "PAUSE", 100_000, "WRITE")
    held = []
    for words in (
        ("PUBLISH", "c", "x"),
        ("EVAL", "return 1", "0"),
        ("SET", "k", "v"),
    ):
        client = node.connect()
        client.send(*words)
        held.append(client)
    transaction = node.connect()
    transaction.send("MULTI")
    transaction.send("SET", "k", "w")
    transaction.send("EXEC")
    gone = node.connect()
    gone.send("SET", "k", "never")
    node.run()
    assert all(client.replies() == [] for client in held)
    assert transaction.replies() == [b"+OK\r\n", b"+QUEUED\r\n"]
    reads = node.connect()
    assert reads.call("MULTI") == b"OK"
    assert reads.call("GET", "k") == b"QUEUED"
    assert reads.call("EXEC") == [None]
    gone.leave()
    assert admin.call("CLIENT", "UNPAUSE") == b"OK"
    node.run()
    assert [client.replies() for client in held] == [[b":0\r\n"], [b":1\r\n"], [b"+OK\r\n"]]
    assert transaction.replies() == [b"*1\r\n+OK\r\n"]
    assert node.call("GET", "k") == b"w"


def test_a_pause_of_all_holds_everybody_and_the_longer_and_stricter_holds() -> None:
    node = SimNode()
    admin, other = node.connect(), node.connect()
    admin.call("CLIENT", "PAUSE", 50)
    other.send("CLIENT", "PAUSE", 10, "WRITE")
    admin.send("PING")
    node.run()
    assert admin.replies() == other.replies() == []
    node.advance(50)
    assert admin.replies() == [b"+PONG\r\n"]
    assert other.replies() == [b"+OK\r\n"]
    node.call("PING")  # the pause that was held has begun, for writes
    node.advance(10)
    assert node.call("SET", "k", "v") == b"OK"


def test_a_blocked_reader_times_out_within_a_pause() -> None:
    node = SimNode()
    reader = node.connect()
    reader.send("XREAD", "BLOCK", 100, "STREAMS", "s", "$")
    node.call("CLIENT", "PAUSE", 100_000, "WRITE")
    node.advance(100)
    assert reader.replies() == [b"*-1\r\n"]


def test_replies_that_are_not_wanted() -> None:
    node = SimNode()
    client = node.connect()
    for words in (
        ("CLIENT", "REPLY", "SKIP"),
        ("SET", "k", "v"),
        ("GET", "k"),
        ("CLIENT", "REPLY", "OFF"),
        ("GET", "k"),
        ("NOSUCH",),
        ("MULTI",),
        ("SET", "k", "w"),
        ("EXEC",),
        ("CLIENT", "REPLY", "SKIP"),
        ("XREAD", "BLOCK", 10, "STREAMS", "s", "$"),
    ):
        client.send(*words)
    node.run()
    node.advance(10)
    assert client.replies() == [b"$1\r\nv\r\n"]
    client.send("CLIENT", "REPLY", "ON")
    client.send("GET", "k")
    node.run()
    assert client.replies() == [b"+OK\r\n", b"$1\r\nw\r\n"]


def test_messages_come_although_replies_are_off() -> None:
    node = SimNode()
    client = node.connect()
    client.call("HELLO", 3)
    client.send("CLIENT", "REPLY", "OFF")
    client.send("SUBSCRIBE", "c")
    node.run()
    client.replies()
    node.call("PUBLISH", "c", "x")
    assert client.replies() == [b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"]


def test_wait_for_replicas_that_do_not_exist() -> None:
    node = SimNode()
    client = node.connect()
    client.send("WAIT", 1, 70)
    client.send("PING")
    node.run()
    assert client.replies() == []
    node.advance(70)
    assert client.replies() == [b":0\r\n", b"+PONG\r\n"]
    assert client.call("WAITAOF", 1, 0, 0) == [1, 0]
    client.send("WAIT", 1, 0)
    node.advance(1_000_000)
    assert client.replies() == []
    client.leave()
    node.advance(1)


def test_waitaof_syncs() -> None:
    node = SimNode(appendfsync="everysec")
    node.call("SET", "k", "v")
    assert node.store.synced_lsn < node.store.written_lsn
    assert node.call("WAITAOF", 1, 0, 0) == [1, 0]
    assert node.store.synced_lsn == node.store.written_lsn


def test_a_monitor_that_leaves_costs_nothing_any_more() -> None:
    node = SimNode()
    monitor = node.connect()
    assert monitor.call("MONITOR") == b"OK"
    node.call("HELLO", 2, "AUTH", "default", "secret")
    (shown,) = monitor.replies()
    assert shown.endswith(b'] "HELLO" "2" "AUTH" "(redacted)" "(redacted)"\r\n')
    assert node.engine.kernel.special
    monitor.leave()
    assert not node.engine.kernel.special
