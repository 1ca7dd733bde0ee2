"""DUMP and RESTORE on a whole node: cold blocks, crashes, memory, who waits, and who looks on."""

from __future__ import annotations

import random

import pytest

from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, SimFS
from streams.rdb.lzf import compressed
from streams.rdb.payload import dump_string
from tests.respclient import Reply
from tests.sim.dump import difference, dump
from tests.sim.node import SimNode
from tests.sim.test_cold import cold_node
from tests.streams.rdb_model import length, sealed, stream_of
from tests.streams.rdb_model import node as node_of

VERSION = 12
BAD_DATA = Reply("-", b"ERR Bad data format")
OUT_OF_MEMORY = Reply("-", b"OOM command not allowed when used memory > 'maxmemory'.")


def stream_node(**settings: str) -> SimNode:
    """A stream with all that a payload carries."""
    node = SimNode(settings=settings)
    for i in range(1, 41):
        node.call("XADD", "s", f"{i}-1", "n", i, "f", "value " * (i % 7))
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.call("XGROUP", "CREATE", "s", "h", "10-1", "ENTRIESREAD", 10)
    node.call("XREADGROUP", "GROUP", "g", "a", "COUNT", 12, "STREAMS", "s", ">")
    node.advance(7)
    node.call("XREADGROUP", "GROUP", "g", "b", "COUNT", 5, "STREAMS", "s", ">")
    node.call("XCLAIM", "s", "g", "b", 0, "3-1", "4-1", "RETRYCOUNT", 5_000_000_000)
    node.call("XGROUP", "CREATECONSUMER", "s", "h", "idle")
    node.call("XDEL", "s", "4-1", "9-1", "20-1", "21-1", "40-1")
    node.call("XTRIM", "s", "MAXLEN", 34)
    return node


def known(node: SimNode, key: str) -> list[bytes]:
    """All that is known of a stream."""
    groups = [group[1] for group in node.call("XINFO", "GROUPS", key)]
    return [
        node.raw("XINFO", "STREAM", key, "FULL", "COUNT", 0),
        node.raw("XRANGE", key, "-", "+"),
        *[node.raw("XPENDING", key, group, "-", "+", 100) for group in groups],
    ]


@pytest.mark.parametrize("entries", ["100", "3"])
def test_a_restored_stream_survives_replay_and_flush(entries: str) -> None:
    node = stream_node(**{"stream-node-max-entries": entries})
    payload = node.call("DUMP", "s")
    assert node.call("RESTORE", "copy", 0, payload) == b"OK"
    assert node.call("DUMP", "copy") == payload
    before = known(node, "copy")
    assert before == known(node, "s")
    node.check()
    again = node.reopen()
    assert known(again, "copy") == before
    again.flush()
    cold = again.reopen(cache_bytes=1)
    assert known(cold, "copy") == before
    assert cold.call("DUMP", "copy") == payload
    cold.check()


def test_cold_blocks_are_waited_for_while_others_go_on() -> None:
    node = cold_node()
    other = node.connect()
    node.client.send("DUMP", "s")
    assert node.client.session.blocked is not None
    other.send("PING")
    node.engine.tick()
    assert other.take() == b"+PONG\r\n"
    node.run()
    reply = node.client.take()
    assert reply is not None
    assert reply == node.raw("DUMP", "s")
    payload = node.call("DUMP", "s")
    assert stream_of(payload)["length"] == node.call("XLEN", "s")
    node.call("MULTI")
    node.call("DUMP", "s")
    assert node.call("EXEC") == [payload]


def test_a_stream_deleted_while_it_was_read_is_not_dumped() -> None:
    node = cold_node()
    other = node.connect()
    node.client.send("DUMP", "s")
    other.send("DEL", "s")
    node.run()
    assert node.client.take() == b"$-1\r\n"


def test_what_is_larger_than_the_memory_is_refused_both_ways() -> None:
    node = SimNode(settings={"memory-budget": "32mb"})
    value = random.Random(3).randbytes(1 << 20)
    for i in range(1, 41):
        node.call("XADD", "s", f"{i}-0", "f", value)
    assert node.call("DUMP", "s") == OUT_OF_MEMORY
    node.call("XTRIM", "s", "MAXLEN", 20)
    payload = node.call("DUMP", "s")
    assert isinstance(payload, bytes)
    assert node.call("RESTORE", "t", 0, payload) == b"OK"
    assert node.raw("XRANGE", "t", "-", "+") == node.raw("XRANGE", "s", "-", "+")
    # a few bytes that become many: a long field name in each of many entries
    bomb = bomb_payload(20_000, 60_000)
    assert len(bomb) < 200_000
    assert node.call("RESTORE", "u", 0, bomb) == OUT_OF_MEMORY
    assert node.call("RESTORE", "u", 0, dump_string(b"x" * (40 << 20), VERSION)) == OUT_OF_MEMORY
    claims = sealed(b"\x00\xc3\x01\x81" + b"\xff" * 8 + b"\x00", VERSION)
    assert node.call("RESTORE", "u", 0, claims) == OUT_OF_MEMORY
    assert node.call("EXISTS", "u") == 0


def bomb_payload(entries: int, name_bytes: int) -> bytes:
    """A node whose entries share a long name, compressed."""
    ids = [(1, i) for i in range(entries)]
    key, listpack = node_of(ids, names=(b"n" * name_bytes,))
    packed = compressed(listpack)
    assert packed is not None
    string = b"\xc3" + length(len(packed)) + length(len(listpack)) + packed
    return sealed(b"\x15\x01\x10" + key + string, VERSION)


def test_restore_is_one_moment_in_every_crash() -> None:
    """A stream of many times the size of a log file, over another one."""
    chance = random.Random(11)
    node = SimNode()
    for i in range(1, 60):
        node.call("XADD", "big", f"{i}-0", "f", chance.randbytes(3000))
    node.call("XGROUP", "CREATE", "big", "g", 0)
    node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 50, "STREAMS", "big", ">")
    node.call("XDEL", "big", "7-0", "8-0")
    payload = node.call("DUMP", "big")
    fs = SimFS()
    target = SimNode(fs)
    target.call("XADD", "s", "1-0", "old", "stream")
    target.call("SET", "k", "v")
    before = dump(target)
    found: list[SimFS] = []
    fs.hook = lambda *_: found.extend(
        fs.crash(chance, policy) for policy in (LOSE_ALL, KEEP_ALL, MIXED)
    )
    assert target.call("RESTORE", "s", 0, payload, "REPLACE") == b"OK"
    fs.hook = None
    after = dump(target)
    assert difference(before, after)
    seen = set()
    for disk in [*found, fs.kill()]:
        state = dump(SimNode(disk))
        assert state in (before, after)
        seen.add(state == after)
    assert seen == {True, False}
    assert not difference(after, dump(SimNode(fs.kill())))


def test_who_waits_is_served_from_a_restored_stream() -> None:
    node = stream_node()
    payload = node.call("DUMP", "s")
    plain, grouped = node.connect(), node.connect()
    plain.send("XREAD", "BLOCK", 0, "STREAMS", "t", 0)
    node.call("XGROUP", "CREATE", "u", "h", 0, "MKSTREAM")
    grouped.send("XREADGROUP", "GROUP", "h", "me", "BLOCK", 0, "STREAMS", "u", ">")
    node.run()
    assert node.call("RESTORE", "t", 0, payload) == b"OK"
    assert node.call("RESTORE", "u", 0, payload, "REPLACE") == b"OK"
    node.run()
    one, two = plain.take(), grouped.take()
    assert one is not None
    assert b"1-1" in one
    assert two is not None
    assert b"\r\n11-1\r\n" in two
    assert b"\r\n10-1\r\n" not in two


def test_times_of_life_and_interest() -> None:
    node = stream_node()
    stream, string = node.call("DUMP", "s"), dump_string(b"v", VERSION)
    now = node.clock.wall_ms()
    for key, payload in (("a", stream), ("b", string)):
        assert node.call("RESTORE", key, 5000, payload, "IDLETIME", 77) == b"OK"
        assert node.call("OBJECT", "IDLETIME", key) == 77
        assert node.call("PEXPIRETIME", key) == now + 5000
        assert node.call("RESTORE", key, now + 9, payload, "ABSTTL", "REPLACE") == b"OK"
        assert node.call("PEXPIRETIME", key) == now + 9
        assert node.call("RESTORE", key, 0, payload, "REPLACE", "FREQ", 3) == b"OK"
        assert node.call("PTTL", key) == -1
        assert node.call("RESTORE", key, 5, payload, "REPLACE") == b"OK"
    node.advance(6)
    assert node.call("EXISTS", "a", "b") == 0
    for key in ("a", "s"):  # over before it began: nothing is made, and what was there goes
        assert node.call("RESTORE", key, 1, stream, "ABSTTL", "REPLACE") == b"OK"
        assert node.call("EXISTS", key) == 0


def test_a_full_disk_refuses_before_anything_is_touched() -> None:
    payload = stream_node().call("DUMP", "s")
    node = SimNode(SimFS(120_000))
    node.call("XADD", "s", "1-0", "old", "stream")
    for i in range(1000):
        before = dump(node)
        reply = node.call("RESTORE", f"t{i}", 0, payload)
        if reply != b"OK":
            break
    assert isinstance(reply, Reply)
    assert reply.value.startswith(b"MISCONF")
    assert not difference(before, dump(node))
    refused = node.call("RESTORE", "s", 0, payload, "REPLACE")
    assert isinstance(refused, Reply)
    assert not difference(before, dump(node))
