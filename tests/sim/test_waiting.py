"""Blocked clients: who is served, in which order, and at what cost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.node import SimClient, SimNode


class CountingKernel:
    """A kernel that counts how often a waiting command is tried again."""

    def __init__(self, node: SimNode) -> None:
        object.__setattr__(self, "kernel", node.engine.kernel)
        object.__setattr__(self, "attempts", 0)
        node.engine.kernel = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kernel, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.kernel, name, value)

    def retry(self, *args: Any) -> bool:
        object.__setattr__(self, "attempts", self.attempts + 1)
        found: bool = self.kernel.retry(*args)
        return found


def node_with_group() -> SimNode:
    node = SimNode()
    node.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    return node


def wait_in_group(node: SimNode, name: str, *, count: int = 1, key: str = "s") -> SimClient:
    client = node.connect()
    client.send("XREADGROUP", "GROUP", "g", name, "COUNT", count, "BLOCK", 0, "STREAMS", key, ">")
    node.run()
    assert client.session.blocked is not None
    return client


def wait_plain(node: SimNode, *keys: str, block_ms: int = 0) -> SimClient:
    client = node.connect()
    client.send("XREAD", "BLOCK", block_ms, "STREAMS", *keys, *["$"] * len(keys))
    node.run()
    assert client.session.blocked is not None
    return client


def got(client: SimClient) -> list[str]:
    """The IDs in the reply that has arrived; nothing if none has."""
    reply = client.take()
    if reply is None:
        return []
    assert reply.startswith(b"*1\r\n*2\r\n"), reply
    lines = reply.split(b"\r\n")
    return [line.decode() for line in lines if line.endswith(b"-1")]


def test_readers_of_a_group_are_served_in_the_order_in_which_they_came() -> None:
    node = node_with_group()
    readers = [wait_in_group(node, f"c{i}") for i in range(5)]
    for i in range(1, 4):
        node.call("XADD", "s", f"{i}-1", "f", "v")
    assert [got(reader) for reader in readers] == [["1-1"], ["2-1"], ["3-1"], [], []]
    first = readers[0]
    first.send("XREADGROUP", "GROUP", "g", "c0", "BLOCK", 0, "STREAMS", "s", ">")
    for i in range(4, 7):
        node.call("XADD", "s", f"{i}-1", "f", "v")
    assert [got(reader) for reader in readers] == [["6-1"], [], [], ["4-1"], ["5-1"]]


def test_entries_of_one_pipeline_go_to_one_reader_each() -> None:
    node = node_with_group()
    readers = [wait_in_group(node, f"c{i}", count=10) for i in range(3)]
    for i in range(1, 4):
        node.client.send("XADD", "s", f"{i}-1", "f", "v")
    node.run()
    assert [got(reader) for reader in readers] == [["1-1"], ["2-1"], ["3-1"]]


def test_every_plain_reader_is_served_and_every_group() -> None:
    node = node_with_group()
    node.call("XGROUP", "CREATE", "s", "h", "$")
    plain = [wait_plain(node, "s") for _ in range(3)]
    in_g = wait_in_group(node, "c")
    in_h = node.connect()
    in_h.send("XREADGROUP", "GROUP", "h", "c", "BLOCK", 0, "STREAMS", "s", ">")
    node.call("XADD", "s", "1-1", "f", "v")
    assert [got(client) for client in [*plain, in_g, in_h]] == [["1-1"]] * 5


def test_a_reader_of_several_keys_is_served_by_the_first_that_grows() -> None:
    node = SimNode()
    reader = wait_plain(node, "a", "b", "c")
    node.call("XADD", "b", "1-1", "f", "v")
    assert got(reader) == ["1-1"]
    node.call("XADD", "a", "1-1", "f", "v")
    assert reader.take() is None
    assert not node.engine.waiters.keys_of(0)


@pytest.mark.parametrize("crowd", ["one group", "a key each"])
def test_ten_thousand_waiters_cost_nothing_while_nothing_comes(crowd: str) -> None:
    node = node_with_group()
    counting = CountingKernel(node)
    readers = []
    for i in range(10_000):
        client = node.connect()
        if crowd == "one group":
            client.send("XREADGROUP", "GROUP", "g", f"c{i % 7}", "BLOCK", 0, "STREAMS", "s", ">")
        else:
            client.send("XREAD", "BLOCK", 0, "STREAMS", f"k{i}", "$")
        readers.append(client)
    node.run()
    for _ in range(50):
        node.call("PING")
        node.call("XADD", "elsewhere", "*", "f", "v")
        node.advance(100)
    assert counting.attempts == 0
    key = "s" if crowd == "one group" else "k5000"
    node.call("XADD", key, "1-1", "f", "v")
    assert counting.attempts <= 2
    served = readers[0] if crowd == "one group" else readers[5000]
    assert got(served) == ["1-1"]
    assert node.engine.waiters.count == 9_999


def test_an_entry_that_a_trim_takes_at_once_wakes_nobody() -> None:
    node = node_with_group()
    group, plain = wait_in_group(node, "c"), wait_plain(node, "s")
    node.call("XADD", "s", "MAXLEN", 0, "1-1", "f", "v")
    assert (group.take(), plain.take()) == (None, None)
    node.call("XADD", "s", "2-1", "f", "v")
    assert (got(group), got(plain)) == (["2-1"], ["2-1"])


def test_a_client_that_leaves_while_it_waits_takes_nothing() -> None:
    node = node_with_group()
    first, second = wait_in_group(node, "a"), wait_in_group(node, "b")
    first.leave()
    node.call("XADD", "s", "1-1", "f", "v")
    assert got(second) == ["1-1"]
    assert node.call("XPENDING", "s", "g")[3] == [[b"b", b"1"]]
    assert node.engine.waiters.count == 0


def test_waits_end_when_their_time_is_over_and_not_before() -> None:
    node = SimNode()
    waits = [wait_plain(node, "s", block_ms=ms) for ms in (300, 100, 200)]
    ended: list[list[int]] = []
    for _ in range(30):
        node.advance(10)
        ended.append([at for at, client in enumerate(waits) if client.take() == b"*-1\r\n"])
    assert [at for at, who in enumerate(ended) if who] == [9, 19, 29]
    assert [who for who in ended if who] == [[1], [2], [0]]
    assert node.skin.deadline_ms is None


def test_who_was_served_is_not_told_again_when_its_time_is_over() -> None:
    node = SimNode()
    reader = wait_plain(node, "s", block_ms=100)
    node.call("XADD", "s", "1-1", "f", "v")
    node.advance(1000)
    assert got(reader) == ["1-1"]
    assert reader.take() is None
    assert reader.call("PING") == b"PONG"


def test_commands_behind_a_wait_are_executed_when_it_is_over() -> None:
    node = SimNode()
    reader = node.connect()
    reader.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    reader.send("XADD", "t", "1-1", "f", "v")
    reader.send("PING")
    node.run()
    assert node.call("EXISTS", "t") == 0
    node.call("XADD", "s", "1-1", "f", "v")
    assert [reply[:3] for reply in reader.replies()] == [b"*1\r", b"$3\r", b"+PO"]


def test_a_client_woken_wakes_the_next_by_what_it_does() -> None:
    """A chain of clients, each with a command behind its wait that feeds the next."""
    node = SimNode()
    chain = []
    for i in range(20):
        client = node.connect()
        client.send("XREAD", "BLOCK", 0, "STREAMS", f"k{i}", "$")
        client.send("XADD", f"k{i + 1}", "1-1", "f", "v")
        chain.append(client)
    node.run()
    node.call("XADD", "k0", "1-1", "f", "v")
    assert all(len(client.replies()) == 2 for client in chain)
    assert node.call("XLEN", "k20") == 1


@pytest.mark.parametrize("end", [("DEL", "s"), ("FLUSHALL",), ("XGROUP", "DESTROY", "s", "g")])
def test_a_group_that_vanishes_is_an_error_for_its_readers_only(end: tuple[str, ...]) -> None:
    node = node_with_group()
    group, plain = wait_in_group(node, "c"), wait_plain(node, "s")
    node.call(*end)
    reply = group.take()
    assert reply is not None
    assert reply.startswith(b"-NOGROUP ")
    assert plain.take() is None
    node.call("XADD", "s", "1-1", "f", "v")
    assert got(plain) == ["1-1"]


def test_a_key_that_becomes_a_string_is_an_error_for_group_readers_only() -> None:
    node = node_with_group()
    group, plain = wait_in_group(node, "c"), wait_plain(node, "s")
    node.call("SET", "s", "v")
    reply = group.take()
    assert reply is not None
    assert reply.startswith(b"-WRONGTYPE ")
    assert plain.take() is None
    node.call("DEL", "s")
    node.call("XADD", "s", "1-1", "f", "v")
    assert got(plain) == ["1-1"]


def test_a_wait_outlives_the_stream_leaving_and_entering_memory() -> None:
    node = SimNode(resident_bytes=0, cache_bytes=0)
    node.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    reader = wait_in_group(node, "c")
    for i in range(50):
        node.call("XADD", f"other{i}", "1-1", "f", "v")
        node.flush()
    node.call("XADD", "s", "1-1", "f", "v")
    assert got(reader) == ["1-1"]


def test_client_unblock_ends_a_wait() -> None:
    node = SimNode()
    first, second = wait_plain(node, "s"), wait_plain(node, "s")
    assert node.call("CLIENT", "UNBLOCK", first.session.id) == 1
    assert node.call("CLIENT", "UNBLOCK", second.session.id, "ERROR") == 1
    assert node.call("CLIENT", "UNBLOCK", second.session.id) == 0
    assert first.take() == b"*-1\r\n"
    assert second.take() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    node.call("XADD", "s", "1-1", "f", "v")
    assert (first.take(), second.take()) == (None, None)


def test_who_is_woken_is_told_when_it_is_durable() -> None:
    node = SimNode(sync_on_thread=True)
    node.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    reader = wait_in_group(node, "c")
    node.client.send("XADD", "s", "1-1", "f", "v")
    node.engine.tick()
    assert reader.take() is None
    node.run()
    assert got(reader) == ["1-1"]
