"""Databases: emptied, and more or fewer of them after a restart."""

from __future__ import annotations

import pytest

from tests.sim.node import SimNode


def restarted(node: SimNode, databases: int, *, flushed: bool) -> SimNode:
    if flushed:
        node.flush()
    return node.reopen(settings={"databases": str(databases)})


@pytest.mark.parametrize("flushed", [False, True])
def test_more_databases_after_a_restart_begin_empty(flushed: bool) -> None:
    """Emptying one has taken a namespace; the new databases take others."""
    node = SimNode()
    node.call("SET", "k", 1)
    node.call("FLUSHDB")
    node.call("SET", "k", 2)
    node = restarted(node, 64, flushed=flushed)
    for db in range(64):
        node.call("SELECT", db)
        assert node.call("DBSIZE") == (1 if db == 0 else 0)
        node.call("SET", "mine", db)
    node = restarted(node, 64, flushed=flushed)
    node.call("FLUSHDB")
    for db in range(1, 64):
        node.call("SELECT", db)
        assert node.call("GET", "mine") == b"%d" % db


@pytest.mark.parametrize("flushed", [False, True])
def test_what_is_in_databases_out_of_reach_is_kept(flushed: bool) -> None:
    node = SimNode()
    node.call("SELECT", 10)
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("SELECT", 12)
    node.call("SET", "k", "v")
    node.call("FLUSHDB")
    node.call("SET", "k", "w")
    node = restarted(node, 8, flushed=flushed)
    assert node.raw("SELECT", 10) == b"-ERR DB index is out of range\r\n"
    node.call("SET", "other", "v")
    node = restarted(node, 16, flushed=flushed)
    node.call("SELECT", 10)
    assert node.call("XLEN", "s") == 1
    node.call("SELECT", 12)
    assert node.call("GET", "k") == b"w"
