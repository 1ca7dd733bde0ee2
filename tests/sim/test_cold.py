"""Blocks that are not in memory: who needs them waits, others go on, and the answer is the same."""

from __future__ import annotations

import pytest

from respserver import parking
from tests.sim.node import SimClient, SimNode

ENTRIES = 60
BIG = "v" * 6_000


def cold_node(*, cache_bytes: int = 1, entries: int = ENTRIES, value: str = BIG) -> SimNode:
    """A stream of some twenty blocks, none of them in memory, with a group at its beginning."""
    node = SimNode(sync_on_thread=False)
    for i in range(1, entries + 1):
        node.call("XADD", "s", f"{i}-1", "n", i, "f", value)
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.flush()
    return node.reopen(cache_bytes=cache_bytes)


def ids(reply: object) -> list[bytes]:
    """The entry IDs of a reply to XREAD or XREADGROUP on one stream."""
    assert isinstance(reply, list), reply
    return [entry[0] for entry in reply[0][1]]


def ask(client: SimClient, *words: str | int) -> None:
    client.send(*words)


def test_a_range_over_cold_blocks_waits_and_lets_others_go_on() -> None:
    node = cold_node()
    other = node.connect()
    node.client.send("XRANGE", "s", "-", "+")
    assert node.client.session.blocked is not None
    other.send("PING")
    node.engine.tick()
    assert other.take() == b"+PONG\r\n"
    assert node.client.take() is None
    node.run()
    reply = node.client.take()
    assert reply is not None
    assert reply.startswith(b"*60\r\n")


def test_one_or_two_cold_blocks_are_read_in_place() -> None:
    node = cold_node()
    node.client.send("XRANGE", "s", "-", "+", "COUNT", 4)
    assert node.client.session.blocked is None
    assert node.engine.keyspace.cache.loads > 0


def test_commands_behind_a_cold_one_keep_their_order() -> None:
    node = cold_node()
    for words in (("XLEN", "s"), ("XREVRANGE", "s", "+", "-"), ("XLEN", "s"), ("PING",)):
        node.client.send(*words)
    node.run()
    replies = node.client.replies()
    assert [reply[:4] for reply in replies] == [b":60\r", b"*60\r", b":60\r", b"+PON"]


def test_a_cold_reader_whose_entries_are_gone_when_they_are_in_waits_for_new_ones() -> None:
    node = cold_node()
    other = node.connect()
    node.client.send("XREADGROUP", "GROUP", "g", "a", "BLOCK", 0, "STREAMS", "s", ">")
    assert other.session is not None
    other.send("XGROUP", "SETID", "s", "g", "$")
    node.run()
    assert other.replies() == [b"+OK\r\n"]
    assert node.client.take() is None
    other.call("XADD", "s", "100-1", "f", "v")
    reply = node.client.take()
    assert reply is not None
    assert b"100-1" in reply


def test_a_cold_wait_that_became_one_for_keys_ends_when_its_time_is_over() -> None:
    node = cold_node()
    other = node.connect()
    node.client.send("XREADGROUP", "GROUP", "g", "a", "BLOCK", 500, "STREAMS", "s", ">")
    other.send("XGROUP", "SETID", "s", "g", "$")
    node.run()
    assert node.client.take() is None
    node.advance(500)
    assert node.client.take() == b"*-1\r\n"


def test_a_cold_group_reader_keeps_its_place_and_the_next_is_served_behind_it() -> None:
    node = cold_node()
    readers = [node.connect() for _ in range(3)]
    node.call("XGROUP", "SETID", "s", "g", "$")
    for name, reader in zip("abc", readers, strict=True):
        reader.send("XREADGROUP", "GROUP", "g", name, "COUNT", 30, "BLOCK", 0, "STREAMS", "s", ">")
    node.run()
    node.call("XGROUP", "SETID", "s", "g", "0")
    node.client.send("XADD", "s", "100-1", "f", "v")
    node.client.send("XADD", "s", "101-1", "f", "v")
    node.run()
    firsts = []
    for reader in readers:
        reply = reader.take()
        assert reply is not None, "entries are left, and nobody was told"
        firsts.append(reply.split(b"\r\n")[7])
    assert firsts == [b"1-1", b"31-1", b"100-1"]


def test_who_stands_behind_a_cold_reader_that_leaves_is_served() -> None:
    node = cold_node()
    first, second = node.connect(), node.connect()
    node.call("XGROUP", "SETID", "s", "g", "$")
    for name, reader in (("a", first), ("b", second)):
        reader.send("XREADGROUP", "GROUP", "g", name, "BLOCK", 0, "STREAMS", "s", ">")
    node.run()
    node.call("XGROUP", "SETID", "s", "g", "0")
    node.client.send("XADD", "s", "100-1", "f", "v")
    node.engine.disconnect(first.session)
    node.run()
    reply = second.take()
    assert reply is not None
    assert b"\r\n1-1\r\n" in reply


def test_a_client_that_leaves_while_its_blocks_are_read_is_forgotten() -> None:
    node = cold_node()
    other = node.connect()
    node.client.send("XRANGE", "s", "-", "+")
    node.engine.disconnect(node.client.session)
    node.run()
    assert node.engine.waiters.count == 0
    assert other.call("XLEN", "s") == ENTRIES


def test_a_long_reply_comes_to_its_end_with_next_to_no_cache() -> None:
    node = cold_node(entries=400)
    plain = cold_node(entries=400, cache_bytes=1 << 30)
    for command in (("XRANGE", "s", "-", "+"), ("XREVRANGE", "s", "+", "-")):
        assert node.raw(*command) == plain.raw(*command)
    assert node.engine.keyspace.cache.held_bytes < 40_000


def test_the_last_id_of_a_read_is_that_of_the_moment_it_was_asked() -> None:
    """``$`` stands for what was last when the command came, however long its blocks take."""
    node = cold_node()
    node.call("XADD", "t", "1-1", "f", "v")
    other = node.connect()
    node.client.send("XREAD", "BLOCK", 0, "STREAMS", "t", "s", "$", 0)
    assert node.client.session.blocked is not None
    other.send("XADD", "t", "777-1", "f", "v")
    node.run()
    reply = node.client.take()
    assert reply is not None
    assert b"\r\n777-1\r\n" in reply


def test_a_key_that_became_a_string_while_its_blocks_were_read_is_of_the_wrong_type() -> None:
    node = cold_node()
    other = node.connect()
    for words in (("XRANGE", "s", "-", "+"), ("XREVRANGE", "s", "+", "-")):
        node.client.send(*words)
        assert node.client.session.blocked is not None
        other.send("SET", "s", "v")
        node.run()
        assert (node.client.take() or b"").startswith(b"-WRONGTYPE ")
        assert other.replies() == [b"+OK\r\n"]
        node = cold_node()
        other = node.connect()


def test_who_is_robbed_of_blocks_again_and_again_reads_them_in_place_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DUMP needs all blocks at once; others who read cold data push them out of a small cache."""
    monkeypatch.setattr(parking, "COLD_READ_BLOCKS", 8)
    monkeypatch.setattr(parking, "COLD_ROUNDS_MAX", 5)
    node = cold_node()
    node.client.send("DUMP", "s")
    for _ in range(50):
        if not node.skin.step():
            break
        node.engine.keyspace.cache.make_room()  # as when another reader is done
    reply = node.client.take()
    assert reply is not None, "it reads for ever"
    assert reply.startswith(b"$")
