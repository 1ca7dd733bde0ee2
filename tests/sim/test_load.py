"""XQ.LOAD, XQ.LOADHEAD, XQ.HEAD and XQ.DUMP: a stream that arrives piece by piece is the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, SimFS
from streams.rdb.headwriter import head_of
from streams.rdb.payload import open_payload
from streams.rdb.streamreader import StreamReader
from tests.respclient import Reply
from tests.sim.dump import difference, dump
from tests.sim.node import SimNode
from tests.sim.test_dump import known, stream_node

VERSION = 12
HOLDS = "5-0"


def pieces(payload: bytes) -> list[list[Any]]:
    """The commands that load the stream of a payload of DUMP, but for its head."""
    rdb_type, source = open_payload(payload, VERSION, 1 << 30)
    reader = StreamReader(source, rdb_type)
    after = "0-0"
    found: list[list[Any]] = []
    while (node := reader.next_node()) is not None:
        found.append([after, node.wire, "NODE", *node.deleted])
        start = node.wire.rindex(b"*2\r\n$")
        after = node.wire[start:].split(b"\r\n")[2].decode()
    return found


def whole_node() -> SimNode:
    """A stream with everything: released entries, iids, and a policy besides."""
    node = stream_node()
    node.call("XNACK", "s", "g", "FAIL", "IDS", 2, "6-1", "2-1")
    node.call("XADD", "s", "IDMP", "p", "i", "*", "f", "v")
    node.call("XADD", "s", "IDMP", "p", "i", "*", "f", "v")
    return node


@pytest.mark.parametrize("entries", ["100", "7"])
def test_a_loaded_stream_is_the_same(entries: str) -> None:
    node = stream_node(**{"stream-node-max-entries": entries})
    node.call("XNACK", "s", "g", "FAIL", "IDS", 2, "6-1", "2-1")
    before = known(node, "s")
    head = node.call("XQ.HEAD", "s")
    for words in pieces(node.call("DUMP", "s")):
        assert node.call("XQ.LOAD", "t", *words) > 0
    assert node.call("XQ.LOADHEAD", "t", head) == b"OK"
    assert known(node, "t") == before
    assert node.call("XQ.HEAD", "t") == head
    assert node.call("XQ.LOADHEAD", "t", head) == b"OK"  # as often as it likes
    assert known(node, "t") == before
    for rdb_type in (15, 19, 21):
        payload = node.call("XQ.DUMP", "t", rdb_type)
        assert payload == node.call("XQ.DUMP", "s", rdb_type)
        assert payload[0] == rdb_type
    node.check()
    again = node.reopen()
    again.flush()
    assert known(again.reopen(cache_bytes=1), "t") == before


def test_a_head_brings_producers_and_keeps_policies() -> None:
    node = whole_node()
    head = node.call("XQ.HEAD", "s")
    entries = node.raw("XRANGE", "s", "-", "+").partition(b"\r\n")[2]
    assert node.call("XQ.LOAD", "t", "0-0", entries) == node.call("XLEN", "s")
    assert node.call("XQ.LOADHEAD", "t", head) == b"OK"
    node.call("XQ.GROUP", "SET", "t", "g", "IDLE-TIMEOUT", 5000)
    assert node.call("XADD", "t", "IDMP", "p", "i", "*", "f", "v") == node.call(
        "XADD", "s", "IDMP", "p", "i", "*", "f", "v"
    )
    assert node.call("XQ.LOADHEAD", "t", node.call("XQ.HEAD", "s")) == b"OK"
    assert node.call("XQ.GROUP", "GET", "t", "g") == [b"idle-timeout", 5000]
    assert known(node, "t")[1:] == known(node, "s")[1:]
    # a head without producers takes them away
    plain = stream_node()
    assert plain.call("XADD", "s", "100-0", "f", "v") == b"100-0"
    for words in pieces(plain.call("DUMP", "s")):
        node.call("XQ.LOAD", "u", *words)
    node.call("XIDMPRECORD", "u", "p", "i", "100-0")
    assert node.call("XQ.LOADHEAD", "u", plain.call("XQ.HEAD", "s")) == b"OK"
    assert node.call("XADD", "u", "IDMP", "p", "i", "*", "f", "v") != b"100-0"


def test_pages_fill_nodes_as_xadd_does() -> None:
    node = SimNode(settings={"stream-node-max-entries": "7"})
    for i in range(1, 51):
        node.call("XADD", "s", f"{i}-0", "f", "v" * (i % 9))
    entries = node.raw("XRANGE", "s", "-", "+").partition(b"\r\n")[2]
    cut = entries.index(b"$4\r\n20-0") - 4
    node.call("XQ.LOAD", "t", "0-0", entries[:cut])
    node.call("XQ.LOAD", "t", "19-0", entries[cut:])
    assert node.call("XQ.LOADHEAD", "t", node.call("XQ.HEAD", "s")) == b"OK"
    assert known(node, "t") == known(node, "s")
    assert node.call("DUMP", "t") == node.call("DUMP", "s")


def test_a_load_goes_on_behind_the_last_entry_that_is_there() -> None:
    node = SimNode()
    for i in (1, 9):
        node.call("XADD", "s", f"{i}-0", "f", "v")
    node.call("XDEL", "s", "9-0")
    assert node.call("XQ.LOAD", "s", "5-0", b"") != 1
    assert node.call("XQ.LOAD", "s", "1-0", entry("12-0")) == 2
    assert node.call("XRANGE", "s", "-", "+") == [[b"1-0", [b"f", b"v"]], [b"12-0", [b"f", b"v"]]]


def entry(id: str, *fields: str) -> bytes:
    """An entry in wire form."""
    words = fields or ("f", "v")
    body = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*2\r\n${len(id)}\r\n{id}\r\n*{len(words)}\r\n{body}".encode()


GOOD = entry("6-0")
BAD = [
    b"*2\r\n",
    GOOD[:-1],
    GOOD[:-2] + b"xx",
    GOOD + b"x",
    GOOD + GOOD,
    entry("5-0"),
    entry("06-0"),
    entry("6-00"),
    entry("6"),
    entry("6-"),
    entry("-6-0"),
    entry("6-0 "),
    entry("18446744073709551616-0"),
    entry("6-0", "f"),
    GOOD.replace(b"*2\r\n$1", b"*02\r\n$1"),
    GOOD.replace(b"$1\r\nv", b"$01\r\nv"),
    GOOD.replace(b"$1\r\nv", b"$+1\r\nv"),
    GOOD.replace(b"$1\r\nv", b"$9\r\nv"),
    GOOD.replace(b"$1\r\nv", b"$99999999999999999999\r\nv"),
    GOOD.replace(b"*2\r\n$1", b"*0\r\n$1"),
    b"$3\r\n6-0\r\n",
    b"\0" * 40,
]


@pytest.fixture
def holder() -> SimNode:
    node = SimNode()
    for i in range(1, 6):
        node.call("XADD", "s", f"{i}-0", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    node.call("SET", "text", "word")
    return node


@pytest.mark.parametrize("wire", BAD)
def test_entries_that_are_none_change_nothing(holder: SimNode, wire: bytes) -> None:
    before, lsn = dump(holder), holder.engine.journal.next_lsn
    reply = holder.call("XQ.LOAD", "s", HOLDS, wire)
    assert isinstance(reply, Reply)
    assert reply.value == b"ERR entries are not in wire form, or their IDs do not ascend"
    assert holder.engine.journal.next_lsn == lsn
    assert not difference(before, dump(holder))


def test_bytes_drawn_at_random_never_pass_for_entries(holder: SimNode) -> None:
    rng = random.Random(5)
    good = entry("6-0", "f", "v" * 20, "g", "") + entry("7-1", "a", "b")
    taken = 0
    for _ in range(3000):
        wire = bytearray(good)
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(wire))
            wire[at] = rng.choice((rng.randrange(256), 13, 10, 48, 36, 42, wire[at] ^ 1))
        if rng.random() < 0.2:
            del wire[rng.randrange(len(wire)) :]
        holder.call("DEL", "t")
        if not isinstance(holder.call("XQ.LOAD", "t", "0-0", bytes(wire)), Reply):
            found = holder.call("XRANGE", "t", "-", "+")
            assert bytes(wire) == holder.raw("XRANGE", "t", "-", "+").partition(b"\r\n")[2]
            assert len(found) <= 2
            taken += 1
    assert 100 < taken < 2000


REFUSED = {
    "XQ.LOAD s 4-0": "ERR wrong number of arguments for 'xq.load' command",
    "XQ.LOAD s x e": "ERR Invalid stream ID specified as stream command argument",
    "XQ.LOAD s 4-0 e": "ERR the stream ends with 5-0",
    "XQ.LOAD none 4-0 e": "ERR the stream ends with 0-0",
    "XQ.LOAD s 5-0 e": "ERR entries are not in wire form, or their IDs do not ascend",
    "XQ.LOAD s 5-0 e LEAF": "ERR syntax error",
    "XQ.LOAD text 0-0 e": "WRONGTYPE Operation against a key holding the wrong kind of value",
    "XQ.LOADHEAD s": "ERR wrong number of arguments for 'xq.loadhead' command",
    "XQ.LOADHEAD s payload": "ERR DUMP payload version or checksum are wrong",
    "XQ.LOADHEAD text payload": (
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    ),
    "XQ.HEAD text": "WRONGTYPE Operation against a key holding the wrong kind of value",
    "XQ.DUMP s 20": "ERR rdb-type must be 15, 19 or 21",
    "XQ.DUMP s 27": "ERR value is out of range, value must between 15 and 21",
    "XQ.DUMP none 15": "ERR no such key",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused_changes_nothing(holder: SimNode, words: str) -> None:
    before, lsn = dump(holder), holder.engine.journal.next_lsn
    reply = holder.call(*words.split())
    assert isinstance(reply, Reply)
    assert reply.value.decode() == REFUSED[words]
    assert holder.engine.journal.next_lsn == lsn
    assert not difference(before, dump(holder))


def test_places_of_deleted_entries_are_checked(holder: SimNode) -> None:
    two = entry("6-0") + entry("7-0")
    line = b"ERR places of deleted entries must ascend and be below the number of entries"
    for places in ((2,), (-1,), (1, 0), (0, 0), ("x",)):
        reply = holder.call("XQ.LOAD", "s", HOLDS, two, "NODE", *places)
        assert isinstance(reply, Reply)
        assert reply.value == line
    assert holder.call("XQ.LOAD", "s", HOLDS, two, "NODE", 0) == 6
    assert holder.call("XRANGE", "s", "6", "+") == [[b"7-0", [b"f", b"v"]]]


def test_a_head_of_other_entries_is_refused(holder: SimNode) -> None:
    head = holder.call("XQ.HEAD", "s")
    before = dump(holder)
    for key in ("none", "t"):
        reply = holder.call("XQ.LOADHEAD", key, head)
        assert isinstance(reply, Reply)
        assert reply.value.startswith(b"ERR Bad data format: the number of entries is another")
    holder.call("XADD", "s", "6-0", "f", "v")
    reply = holder.call("XQ.LOADHEAD", "s", head)
    assert isinstance(reply, Reply)
    holder.call("XDEL", "s", "1-0")  # as many as in the head, but above its last ID
    reply = holder.call("XQ.LOADHEAD", "s", head)
    assert isinstance(reply, Reply)
    assert b"above the last ID" in reply.value
    assert before.keys() == dump(holder).keys()


def test_a_head_is_one_moment_in_every_crash() -> None:
    node = whole_node()
    head = node.call("XQ.HEAD", "s")
    payload = node.call("DUMP", "s")
    fs = SimFS()
    target = SimNode(fs)
    for words in pieces(payload):
        target.call("XQ.LOAD", "t", *words)
    before = dump(target)
    found: list[SimFS] = []
    chance = random.Random(3)
    fs.hook = lambda *_: found.extend(
        fs.crash(chance, policy) for policy in (LOSE_ALL, KEEP_ALL, MIXED)
    )
    assert target.call("XQ.LOADHEAD", "t", head) == b"OK"
    fs.hook = None
    after = dump(target)
    seen = set()
    for disk in [*found, fs.kill()]:
        state = dump(SimNode(disk))
        assert state in (before, after)
        seen.add(state == after)
    assert seen == {True, False}


def test_who_waits_is_served_from_what_is_loaded() -> None:
    node = SimNode()
    reader = node.connect()
    reader.send("XREAD", "BLOCK", 0, "STREAMS", "t", 0)
    node.run()
    assert node.call("XQ.LOAD", "t", "0-0", entry("6-0")) == 1
    node.run()
    reply = reader.take()
    assert reply is not None
    assert b"6-0" in reply
    grouped = node.connect()
    node.call("XGROUP", "CREATE", "t", "g", "$")
    grouped.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "t", ">")
    node.run()
    assert node.call("XQ.LOAD", "t", "6-0", entry("7-0")) == 2
    node.run()
    reply = grouped.take()
    assert reply is not None
    assert b"7-0" in reply


def test_a_full_disk_refuses_a_load_before_anything_is_touched() -> None:
    node = SimNode(SimFS(120_000))
    value = "v" * 3000
    reply: Any = None
    i = 0
    while not isinstance(reply, Reply):
        before = dump(node)
        i += 1
        reply = node.call("XQ.LOAD", "s", f"{i - 1}-0", entry(f"{i}-0", "f", value))
    assert reply.value.startswith(b"MISCONF")
    assert not difference(before, dump(node))
    assert i > 5


def test_the_head_of_a_stream_in_memory() -> None:
    node = whole_node()
    stream = node.engine.keyspace.stream(node.engine.keyspace.namespaces[0], b"s")
    assert stream is not None
    head = head_of(stream)
    group = head.groups[0]
    assert group.released == [(6, 1), (2, 1)]
    assert group.pending.length == 17
    assert head.producers is not None
    assert head.producers.iids_duplicates == 1


@pytest.mark.parametrize("flushed", [False, True])
def test_ids_do_not_go_back_behind_a_deleted_entry(flushed: bool) -> None:
    node = SimNode()
    for n in range(1, 11):
        node.call("XADD", "s", f"{n}-0", "f", "v")
        if n < 10:
            node.call("XADD", "t", f"{n}-0", "f", "v")
    node.call("XDEL", "s", "10-0")
    if flushed:
        node.flush()
    head = node.call("XQ.HEAD", "t")
    before = dump(node)
    entry = b"*2\r\n$3\r\n9-5\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
    assert node.raw("XQ.LOAD", "s", "9-0", entry).startswith(b"-ERR entries are not in wire form")
    assert node.raw("XQ.LOADHEAD", "s", head).startswith(b"-ERR Bad data format: the last ID is")
    assert difference(before, dump(node)) == ""
    assert node.call("XQ.LOAD", "s", "9-0", entry.replace(b"$3\r\n9-5", b"$4\r\n10-1")) == 10
