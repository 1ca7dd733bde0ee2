"""Streams leave memory and come back; nobody can tell."""

from __future__ import annotations

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
