"""Copies of streams share segments: nobody loses what another deletes; at last all of it goes."""

from __future__ import annotations

import random

import pytest

from lsmstore.simfs import LOSE_ALL
from tests.seeds import seeds
from tests.sim.dump import difference, dump
from tests.sim.node import SimNode


def fill(node: SimNode, key: str, first: int, last: int) -> None:
    for n in range(first, last):
        node.call("XADD", key, f"{n}-1", "f", "x" * 300)


def ids(node: SimNode, key: str) -> list[int]:
    return [int(entry[0].partition(b"-")[0]) for entry in node.call("XRANGE", key, "-", "+")]


def segments(node: SimNode) -> list[str]:
    return [name for name in node.fs.listdir("/data/store/seg") if name.endswith(".seg")]


@pytest.mark.parametrize("loss", ["DEL", "XTRIM", "FLUSHDB", "SET"])
@pytest.mark.parametrize("how", ["live", "evicted", "killed"])
def test_a_copy_outlives_what_it_was_copied_from(loss: str, how: str) -> None:
    node = SimNode(resident_bytes=1 if how == "evicted" else 1 << 30)
    fill(node, "s", 0, 400)
    node.flush()
    fill(node, "s", 400, 500)
    node.call("COPY", "s", "t", "DB", 1)
    fill(node, "s", 500, 600)
    node.flush()
    if loss == "XTRIM":
        node.call("XTRIM", "s", "MAXLEN", "1")
    else:
        node.call(*{"DEL": ("DEL", "s"), "FLUSHDB": ("FLUSHDB",), "SET": ("SET", "s", "v")}[loss])
    node.flush()
    node.flush()
    if how == "evicted":
        node.engine.keyspace.make_room(set())
    elif how == "killed":
        node = node.reopen()
    node.call("SELECT", 1)
    assert ids(node, "t") == list(range(500))
    node.call("XADD", "t", "*", "f", "v")
    assert node.call("XLEN", "t") == 501
    assert node.call("DEL", "t") == 1
    node.call("SELECT", 0)
    node.call("DEL", "s")
    node.flush()
    node.flush()
    node.run()
    assert segments(node) == [], "nothing is left of what all of them shared"


def test_a_copy_of_a_copy() -> None:
    node = SimNode()
    fill(node, "a", 0, 300)
    node.flush()
    node.call("COPY", "a", "b")
    fill(node, "b", 300, 400)
    fill(node, "a", 1000, 1200)
    node.flush()
    node.call("COPY", "b", "c")
    fill(node, "c", 400, 500)
    fill(node, "b", 2000, 2100)
    node.call("DEL", "a")
    node.flush()
    node.call("DEL", "b")
    node.flush()
    node = node.reopen()
    assert ids(node, "c") == list(range(500))
    node.call("XTRIM", "c", "MINID", "350")
    node.flush()
    assert ids(node, "c") == list(range(350, 500))
    node.call("DEL", "c")
    node.flush()
    node.run()
    assert segments(node) == []


def about(node: SimNode, key: str) -> dict[str, bytes]:
    """What a dump says of a key of database 0, but for the number of its stream."""
    head = f"0 {key} "
    return {
        name.removeprefix(head): value
        for name, value in dump(node).items()
        if name.startswith(head) and not name.endswith(" header")
    }


@pytest.mark.parametrize("flushed", [False, True])
def test_a_copy_has_producers_policies_and_released_entries_of_its_own(flushed: bool) -> None:
    node = SimNode()
    node.call("XADD", "s", "1-0", "f", "v")
    node.call("XCFGSET", "s", "IDMP-DURATION", 500, "IDMP-MAXSIZE", 7)
    first = node.call("XADD", "s", "IDMP", "p", "one", "*", "f", "v")
    node.call("XADD", "s", "IDMP", "p", "one", "*", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", "0")
    node.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 70_000)
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    assert node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "1-0") == 1
    if flushed:
        node.flush()
    node.call("COPY", "s", "t")
    before = about(node, "s")
    assert about(node, "t") == before
    assert any(name.endswith("producers") for name in before)
    node.call("XACK", "s", "g", "1-0")
    node.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", "OFF")
    node.call("XCFGSET", "s", "IDMP-MAXSIZE", 3)
    node = node.reopen()
    assert about(node, "t") == before, "from the log"
    node.flush()
    node = node.reopen()
    assert about(node, "t") == before, "from rows"
    assert node.call("XADD", "t", "IDMP", "p", "one", "*", "f", "v") == first
    assert node.call("XADD", "s", "IDMP", "p", "one", "*", "f", "v") != first


def test_a_copy_of_a_large_stream_is_one_small_record() -> None:
    node = SimNode()
    fill(node, "s", 0, 2000)
    node.flush()
    node = node.reopen()
    loads = node.engine.keyspace.cache.loads
    length = node.store.log_room
    assert node.call("COPY", "s", "t") == 1
    assert length - node.store.log_room < 200
    assert node.engine.keyspace.cache.loads == loads, "no block is read"
    assert node.call("DEL", "s") == 1
    assert node.engine.keyspace.cache.loads == loads
    assert node.call("XLEN", "t") == 2000


@pytest.mark.parametrize("seed", seeds(6))
def test_copies_come_back(seed: int) -> None:
    """Copies, trims, deletions and flushes in any order; after a crash all is as it was."""
    rng = random.Random(seed)
    node = SimNode(seed=seed, memtable_bytes=20_000, slow_slices=True)
    keys = ["a", "b", "c", "d"]
    n = 0
    for _ in range(150):
        key, other = rng.sample(keys, 2)
        kind = rng.random()
        if kind < 0.5:
            for _ in range(rng.randrange(12)):
                n += 1
                node.client.send("XADD", key, f"{n}-1", "f", "x" * rng.randrange(400))
        elif kind < 0.75:
            node.client.send("COPY", key, other, "REPLACE")
        elif kind < 0.85:
            node.client.send("XTRIM", key, "MAXLEN", "~", rng.randrange(50))
        elif kind < 0.95:
            node.client.send("DEL", key)
        else:
            node.client.send("SAVE")
        for _ in range(rng.randrange(6)):
            node.skin.step()
    node.run()
    node.check()
    node.store.sync()
    expected = dump(node)
    after = node.reopen(node.fs.crash(rng, LOSE_ALL))
    found = difference(expected, dump(after))
    assert not found, found
    for key in keys:
        after.call("DEL", key)
    after.flush()
    after.flush()
    after.run()
    assert segments(after) == []
