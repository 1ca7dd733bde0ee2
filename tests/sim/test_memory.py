"""Streams leave memory and come back; nobody can tell."""

from __future__ import annotations

from tests.sim.dump import difference, dump
from tests.sim.node import SimNode


def evict_all(node: SimNode) -> None:
    """Flush, so that everything is clean, and leave no room."""
    node.flush()
    limit = node.engine.keyspace.resident_limit_bytes
    node.engine.keyspace.resident_limit_bytes = 0
    node.engine.keyspace.make_room(set())
    node.engine.keyspace.resident_limit_bytes = limit
    assert not node.engine.keyspace.by_sid


def test_a_stream_that_left_memory_is_loaded_again_by_who_used_it_last() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    assert node.call("XLEN", "s") == 1
    evict_all(node)
    assert node.call("XADD", "s", "2-1", "f", "v") == b"2-1"
    assert node.call("XDEL", "s", "1-1") == 1
    assert node.call("XLEN", "s") == 1
    assert node.call("XRANGE", "s", "-", "+") == [[b"2-1", [b"f", b"v"]]]


def test_the_open_node_is_reckoned_alike_after_its_start_has_left_memory() -> None:
    """Its start is in a run that a trim has let go of; what it may still take in is not."""
    plain, flushed = SimNode(), SimNode()
    for node in (plain, flushed):
        for i in range(1, 9):
            node.call("XADD", "s", f"{i}-1", "f", "v" * 100)
        if node is flushed:
            node.flush()
        node.call("XADD", "s", "9-1", "f", "v" * 100)
        node.call("XTRIM", "s", "MAXLEN", 1)
        node.call("XADD", "s", "10-1", "f", "v" * 100)
        node.call("XDEL", "s", "10-1")
    assert difference(dump(plain), dump(flushed)) == ""
