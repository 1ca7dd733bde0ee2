"""The number of databases may change between two starts."""

from __future__ import annotations

import pytest

from tests.sim.node import SimNode


def restarted(node: SimNode, databases: int) -> SimNode:
    node.close()
    return SimNode(node.fs, settings={"databases": str(databases)})


@pytest.mark.parametrize("flushed", [False, True])
def test_databases_that_are_added_share_nothing(flushed: bool) -> None:
    node = SimNode(settings={"databases": "2"})
    for db in range(2):
        node.call("SELECT", db)
        node.call("SET", "old", "v")
        node.call("FLUSHDB")
        node.call("SET", "k", f"db{db}")
    if flushed:
        node.flush()
    node = restarted(node, 8)
    for db in range(8):
        node.call("SELECT", db)
        assert node.call("GET", "k") == (b"db%d" % db if db < 2 else None)
        assert node.call("DBSIZE") == (1 if db < 2 else 0)
    node.call("SELECT", 2)
    node.call("FLUSHDB")
    node.call("SET", "k", "db2")
    node.call("FLUSHDB")
    for db in range(2):
        node.call("SELECT", db)
        assert node.call("GET", "k") == b"db%d" % db


@pytest.mark.parametrize("flushed", [False, True])
def test_databases_that_are_hidden_come_back(flushed: bool) -> None:
    node = SimNode(settings={"databases": "8"})
    node.call("SELECT", 6)
    node.call("SET", "k", "v")
    node.call("SELECT", 7)
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("FLUSHDB")
    node.call("XADD", "s", "2-1", "f", "v")
    if flushed:
        node.flush()
    node = restarted(restarted(node, 2), 8)
    node.call("SELECT", 6)
    assert node.call("GET", "k") == b"v"
    node.call("SELECT", 7)
    assert node.call("XLEN", "s") == 1
