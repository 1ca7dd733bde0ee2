"""DEBUG RELOAD: what was in memory comes from the disk again, and nothing is another."""

from __future__ import annotations

import errno

from lsmstore.simfs import Rule
from tests.sim.dump import difference, dump
from tests.sim.node import SimNode


def filled(**how: object) -> SimNode:
    node = SimNode(settings={"enable-debug-command": "yes"}, **how)  # type: ignore[arg-type]
    for n in range(1, 300):
        node.call("XADD", f"s{n % 3}", f"{n}-1", "f", "x" * (n % 50))
    for n in range(3):
        node.call("XGROUP", "CREATE", f"s{n}", "g", "0")
        node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 10, "STREAMS", f"s{n}", ">")
    node.call("XDEL", "s1", "4-1", "10-1")
    node.call("SET", "k", "v", "EX", 1000)
    return node


def resident(node: SimNode) -> int:
    return len(node.engine.keyspace.by_sid)


def test_streams_leave_memory_and_come_back_the_same() -> None:
    node = filled()
    before = dump(node)
    assert resident(node) == 3
    assert node.call("DEBUG", "RELOAD") == b"OK"
    assert resident(node) == 0
    assert len(node.engine.keyspace.cache._held) <= 1  # the youngest block stays
    assert difference(before, dump(node)) == ""
    assert node.call("DEBUG", "LOADAOF") == b"OK"
    assert resident(node) == 0
    assert difference(before, dump(node)) == ""


def test_the_answer_comes_when_it_is_done_and_others_go_on() -> None:
    node = filled(slow_slices=True)
    other = node.connect()
    node.client.send("DEBUG", "RELOAD")
    node.client.send("PING")
    other.send("XADD", "s0", "9000-1", "f", "v")
    assert node.client.take() is None
    node.run()
    assert node.client.replies() == [b"+OK\r\n", b"+PONG\r\n"]
    assert other.take() == b"$6\r\n9000-1\r\n"
    assert node.call("XLEN", "s0") == 100


def test_two_at_once_and_one_behind_a_flush_under_way() -> None:
    node = filled(seed=3, slow_slices=True)
    second = node.connect()
    node.client.send("BGSAVE")
    for _ in range(3):
        node.skin.step()
    node.client.send("DEBUG", "RELOAD")
    second.send("DEBUG", "RELOAD")
    node.run()
    assert node.client.replies() == [b"+Background saving started\r\n", b"+OK\r\n"]
    assert second.replies() == [b"+OK\r\n"]
    assert resident(node) == 0


def test_who_leaves_meanwhile_is_not_missed() -> None:
    node = filled(slow_slices=True)
    other = node.connect()
    other.send("DEBUG", "RELOAD")
    other.leave()
    assert node.call("PING") == b"PONG"


def test_a_full_disk_lets_the_client_wait() -> None:
    node = filled()
    node.fs.inject(Rule("pwrite", "*/seg/*", error=errno.ENOSPC, times=2))
    node.client.send("DEBUG", "RELOAD")
    node.run()
    assert node.client.take() is None
    node.advance(1000)
    assert node.client.take() is None
    node.advance(1000)
    assert node.client.take() == b"+OK\r\n"
    assert resident(node) == 0


def test_within_a_transaction_it_only_says_so() -> None:
    node = filled()
    node.call("MULTI")
    node.call("SET", "k", "w")
    node.call("DEBUG", "RELOAD")
    assert node.call("EXEC") == [b"OK", b"OK"]
    assert resident(node) == 3
