"""Flushes: what goes to the disk, what does not, and what happens when there is no room."""

from __future__ import annotations

import random

import pytest

from lsmstore.errors import Locked
from lsmstore.simfs import LOSE_ALL
from streams.flush import FlushJob
from tests.respclient import encode
from tests.seeds import seeds
from tests.sim.dump import difference, dump
from tests.sim.node import PATH, SimNode
from tests.sim.workload import Driver


def stored_rows(node: SimNode) -> list[bytes]:
    return [key[:1] for key, _ in node.store.scan_rows(b"", None)]


def test_a_stream_deleted_before_the_flush_leaves_nothing_on_the_disk() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", "0")
    node.call("DEL", "s")
    node.flush()
    assert stored_rows(node) == [b"N"]
    assert node.store.stats()["segments"] == 0


def test_a_stream_deleted_after_a_flush_leaves_nothing_at_the_next() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", "0")
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    node.flush()
    assert sorted(stored_rows(node)) == [b"G", b"K", b"N", b"P", b"S"]
    node.call("DEL", "s")
    node.flush()
    assert stored_rows(node) == [b"N"]
    assert node.store.stats()["segments"] == 0


@pytest.mark.parametrize("loaded", [True, False])
def test_an_emptied_database_leaves_nothing_at_the_next_flush(loaded: bool) -> None:
    node = SimNode()
    node.call("SET", "k", "v")
    node.call("XADD", "s", "1-1", "f", "v")
    node.flush()
    if not loaded:
        node = node.reopen()
    node.call("XADD", "young", "1-1", "f", "v")
    node.call("FLUSHDB")
    node.flush()
    assert stored_rows(node) == [b"N"]
    assert node.store.stats()["segments"] == 0
    assert node.reopen().call("DBSIZE") == 0


@pytest.mark.parametrize("seed", seeds(8))
def test_a_flush_that_is_taken_back_has_lost_nothing(seed: int) -> None:
    """At some slice of its plan, with commands before, between and behind."""
    rng = random.Random(seed)
    node = SimNode(seed=seed)
    driver = Driver(node, rng, saves=0)
    for round_ in range(6):
        for _ in range(25):
            driver.step()
        driver.finish()
        node.store.sync()
        engine = node.engine
        job = FlushJob(engine.keyspace, node.store, engine.journal)
        for _ in range(rng.randrange(9)):
            if not job.step():
                break
            driver.step()
            driver.node.run()
            driver.collect()
        before = dump(node)
        job.flush.abort()
        job.abort()
        assert difference(before, dump(node)) == ""
        if round_ % 2:
            node.flush()
        after = node.reopen(node.fs.crash(rng, LOSE_ALL))
        assert difference(before, dump(after)) == ""
    node.call("FLUSHALL")
    node.flush()
    assert stored_rows(node) == [b"N"]


@pytest.mark.parametrize("how", [("DEL", "s", "t", "u"), ("FLUSHDB",)])
def test_streams_that_are_deleted_while_a_flush_is_planned(how: tuple[str, ...]) -> None:
    """The log goes on to speak of them, so the flush must know them."""
    node = SimNode(slow_slices=True)
    for key in "stu":
        node.call("XADD", key, "1-1", "f", "v")
    node.engine.upkeep.ask_flush()
    node.skin.soon.popleft()()
    for key in "stu":
        node.client.send("XADD", key, "2-1", "f", "v")
    node.client.send(*how)
    node.run()
    assert len(node.client.replies()) == 4
    assert node.store.flushes == 1
    after = node.reopen(node.fs.crash(random.Random(0), LOSE_ALL))
    for survivor in (node, after):
        assert survivor.call("DBSIZE") == 0
        survivor.flush()
        assert stored_rows(survivor) == [b"N"]
        assert survivor.store.stats()["segments"] == 0


def test_a_flush_under_way_is_ended_before_another_process_may_open_the_directory() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    node.engine.upkeep.ask_flush()
    while not node.skin.work:
        node.skin.soon.popleft()()
    before = dump_of(node)

    def wait() -> None:
        with pytest.raises(Locked):
            SimNode(node.fs)
        node.skin.wait()

    node.engine.close(wait)
    after = SimNode(node.fs)
    assert dump_of(after) == before
    assert not after.fs.listdir(f"{PATH}/seg")


def dump_of(node: SimNode) -> bytes:
    client = node.connect()
    client.send("XRANGE", "s", "-", "+")
    node.engine.tick()
    reply = client.take()
    assert reply is not None
    return reply


def test_a_flush_holds_nothing_that_the_log_has_not() -> None:
    """A client goes on in the midst of a tick, behind its commit: that is not in the log yet."""
    node = SimNode(slow_slices=True)
    other = node.connect()
    for i in range(1, 31):
        node.call("XADD", "big", f"{i}-1", "f", "v" * 10_000)
    node.call("XADD", "s", "1-1", "f", "v")
    node.engine.upkeep.ask_flush()
    node.skin.soon.popleft()()
    node.clock.perf_step_s = 0
    other.feed(
        encode([b"XRANGE", b"big", b"-", b"+"])
        + encode([b"XADD", b"s", b"100-1", b"f", b"v"])
        + encode([b"XADD", b"big", b"100-1", b"f", b"v"])
    )
    while node.skin.soon and not node.skin.work:
        node.skin.soon.popleft()()
    while node.skin.work:
        node.skin._work(*node.skin.work.pop(0))
    while node.skin.news:
        node.skin.news.popleft()()
    after = node.reopen(node.fs.crash(random.Random(0), LOSE_ALL))
    for key in (b"s", b"big"):
        stream = after.engine.keyspace.stream(1, key)
        assert stream is not None
        assert stream.applied_lsn <= after.recovered_lsn
