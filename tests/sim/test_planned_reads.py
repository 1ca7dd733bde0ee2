"""Reads that are planned whole: what they read from disk, what is refused, what stays deleted."""

from __future__ import annotations

import random
from typing import Any

from tests.sim.node import PATH, SimNode


def node_with(n: int, size: int, **options: Any) -> SimNode:
    """A cold stream of the entries 1-0 to n-0, which a group has yet to read."""
    node = SimNode(**options)
    for i in range(1, n + 1):
        node.call("XADD", "s", f"{i}-0", "f", random.Random(i).randbytes(size))
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.flush()
    return node.reopen(**options)


def ids(node: SimNode) -> list[bytes]:
    return [entry[0] for entry in node.call("XRANGE", "s", "-", "+")]


def loads(node: SimNode) -> int:
    return node.engine.stream_figures()["block_cache_loads"]


def test_maxsize_does_not_read_what_it_will_not_give() -> None:
    node = node_with(600, 400, cache_bytes=1 << 16)
    group = ("XREADGROUP", "GROUP", "g", "c")
    for words in (["XREAD", "MAXSIZE", "100", "STREAMS", "s", "0"], new(*group)):
        before = loads(node)
        assert len(node.call(*words)[0][1]) == 1
        assert loads(node) - before <= 3, words
    node.call(*group, "STREAMS", "s", ">")
    node.advance(10)
    for words in (new(*group, "CLAIM", "1"), [*group, "MAXSIZE", "100", "STREAMS", "s", "0"]):
        before = loads(node)
        assert len(node.call(*words)[0][1]) == 1
        assert loads(node) - before <= 4, words


def new(*words: str) -> list[str]:
    """What is new, in few bytes."""
    return [*words, "MAXSIZE", "100", "STREAMS", "s", ">"]


def test_maxsize_gives_all_that_fits_however_much_that_is() -> None:
    node = node_with(300, 10)
    whole = node.raw("XREAD", "STREAMS", "s", 0)
    assert node.raw("XREAD", "MAXSIZE", len(whole), "STREAMS", "s", 0) == whole
    reply = node.call("XREADGROUP", "GROUP", "g", "c", "MAXSIZE", len(whole), "STREAMS", "s", ">")
    assert len(reply[0][1]) == 300
    node.advance(10)
    for start, options in ((">", ("CLAIM", 1)), (0, ())):
        words = ("XREADGROUP", "GROUP", "g", "c", *options, "MAXSIZE", 1 << 20)
        assert len(node.call(*words, "STREAMS", "s", start)[0][1]) == 300


def test_what_history_gave_is_not_claimed_by_the_same_command() -> None:
    node = node_with(2, 10)
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    node.advance(1000)
    words = ("XREADGROUP", "GROUP", "g", "c", "CLAIM", 500, "STREAMS", "s", "s")
    reply = node.call(*words, 0, ">")
    assert [(key, [row[0] for row in rows]) for key, rows in reply] == [(b"s", [b"1-0", b"2-0"])]
    assert [row[3] for row in node.call("XPENDING", "s", "g", "-", "+", 9)] == [2, 2]
    node.advance(1000)
    claimed, history = node.call(*words, ">", 0)
    assert [row[0] for row in claimed[1]] == [row[0] for row in history[1]] == [b"1-0", b"2-0"]


def test_entries_deleted_by_a_trim_stay_deleted_in_a_stream_that_never_saw_xdel() -> None:
    node = SimNode(resident_bytes=1)
    for i in range(1, 6):
        node.call("XADD", "s", f"{i}-0", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    node.call("XACK", "s", "g", "2-0", "4-0")
    assert node.call("XTRIM", "s", "MAXLEN", 0, "ACKED") == 2
    node.flush()
    for i in range(3):  # the stream leaves memory
        node.call("XADD", f"other-{i}", "*", "f", "v")
        node.flush()
    for found in (node, node.reopen()):
        assert ids(found) == [b"1-0", b"3-0", b"5-0"]
        assert found.call("XLEN", "s") == 3
        assert found.call("XDEL", "s", "2-0") == 0
        found.check()


def test_a_read_that_finds_a_damaged_block_before_it_waits_leaves_no_trace() -> None:
    node = node_with(30, 6000)
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    node.flush()
    fs = node.fs.kill()
    segments = [name for name in fs.listdir(f"{PATH}/seg") if name.endswith(".seg")]
    fs.flip_bit(f"{PATH}/seg/{segments[-1]}", 20_000, 3)
    node = node.reopen(fs)
    damaged = [i for i in range(1, 31) if node.raw("XRANGE", "s", i, i).startswith(b"-")]
    assert damaged
    node.call("XACK", "s", "g", *(f"{i}-0" for i in range(1, 31) if i != damaged[0]))
    before = node.store.written_lsn
    words = ("XREADGROUP", "GROUP", "g", "fresh", "CLAIM", 100_000, "BLOCK", 0, "STREAMS", "s", ">")
    assert node.raw(*words).startswith(b"-ERR cannot read data")
    assert [consumer[1] for consumer in node.call("XINFO", "CONSUMERS", "s", "g")] == [b"c"]
    assert node.store.written_lsn == before


def test_who_claims_sooner_does_not_overtake_one_that_waits_for_its_blocks() -> None:
    node = node_with(600, 400, cache_bytes=1 << 14)
    node.call("XGROUP", "SETID", "s", "g", "$")
    first, second = node.connect(), node.connect()
    first.send("XREADGROUP", "GROUP", "g", "a", "BLOCK", 0, "STREAMS", "s", ">")
    second.send(
        *("XREADGROUP", "GROUP", "g", "b", "CLAIM", 1000, "COUNT", 1),
        *("BLOCK", 0, "STREAMS", "s", ">"),
    )
    node.run()
    node.call("XGROUP", "SETID", "s", "g", "0")
    node.call("XADD", "s", "*", "f", "v")
    node.run()
    reply = first.take()
    assert reply is not None and b"$3\r\n1-0\r\n" in reply
    assert second.take() is None
