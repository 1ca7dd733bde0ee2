"""XQ.CHECKPOINT: what a node that opens it holds is what there was, whatever goes on meanwhile."""

from __future__ import annotations

import errno
import random
from typing import Any

import pytest

from lsmstore.simfs import LOSE_ALL, Rule, SimFS
from tests.lsmstore.support import check_files
from tests.sim.dump import difference, dump
from tests.sim.node import PATH, SMALL, SimNode, Transport
from tests.sim.workload import Driver

WHERE = f"{PATH}/checkpoints/one"


def told(node: SimNode, path: str = "one") -> dict[str, Any]:
    reply = node.call("XQ.CHECKPOINT", path)
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def opened(fs: SimFS, path: str = WHERE) -> SimNode:
    """A node on a checkpoint."""
    return SimNode(fs, path=path)


@pytest.mark.parametrize("seed", range(3))
def test_a_node_on_it_is_as_the_first_one_was(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    node = SimNode(seed=seed, memtable_bytes=30_000, slow_slices=True)
    driver = Driver(node, rng)
    for _ in range(120):
        driver.step()
    driver.finish()
    about = told(node)
    before = dump(node)
    assert about["path"] == WHERE.encode()
    assert about["files-linked"] > 0
    assert about["files-copied"] == 0
    for _ in range(60):  # merges and flushes remove what was linked
        driver.step()
    driver.finish()
    disk = node.fs.crash(rng, LOSE_ALL)
    copy = opened(disk)
    assert copy.recovered_lsn == about["lsn"]
    found = difference(before, dump(copy))
    assert not found, found
    check_files(copy.store)
    check_files(node.store)
    again = Driver(copy, rng, clients=2)
    for _ in range(20):
        again.step()
    again.finish()
    copy.flush()
    changed = dump(copy)
    copy.close()
    assert difference(changed, dump(opened(disk.kill()))) == ""
    assert difference(dump(node), dump(SimNode(disk))) == "", "the copy is not the first one"


def test_the_answer_comes_when_it_is_durable() -> None:
    node = SimNode(slow_slices=True)
    for n in range(1, 300):
        node.call("XADD", "s", f"{n}-1", "f", "v" * 40)
    node.client.send("XQ.CHECKPOINT", "one")
    other = node.connect()
    steps = 0
    while node.client.take() is None:
        disk = node.fs.crash(random.Random(0), LOSE_ALL)
        answered = bool(node.client.transport.received)
        assert not answered or disk.exists(f"{WHERE}/CURRENT")
        if steps % 5 == 0:
            other.send("XADD", "s", "*", "f", "v")  # nobody waits for the checkpoint
        assert node.skin.step()
        steps += 1
    assert steps > 10
    assert len(other.replies()) > 1
    assert opened(node.fs.crash(random.Random(0), LOSE_ALL)).call("XLEN", "s") >= 299


def test_it_is_a_map_in_resp3() -> None:
    node = SimNode()
    node.call("HELLO", 3)
    assert node.raw("XQ.CHECKPOINT", "one").startswith(b"%6\r\n$4\r\npath\r\n")


def test_where_it_may_not_go_it_is_refused_at_once() -> None:
    node = SimNode()
    node.call("SET", "k", "v")
    told(node)
    flushes = node.store.flushes
    for name in ("one", "", "../one", "/", f"{PATH}/seg", "one/two"):
        reply = node.raw("XQ.CHECKPOINT", name)
        assert reply.startswith(b"-ERR the checkpoint was not made: "), reply
    assert node.store.flushes == flushes
    assert node.raw("XQ.CHECKPOINT").startswith(b"-ERR wrong number of arguments")
    node.call("MULTI")
    assert node.raw("XQ.CHECKPOINT", "two").startswith(b"-ERR Command not allowed inside")
    node.call("DISCARD")
    reply = node.raw("EVAL", "return redis.call('XQ.CHECKPOINT', 'two')", 0)
    assert reply.startswith(b"-ERR This Redis command is not allowed from script")
    assert not node.fs.exists(f"{PATH}/checkpoints/two")
    assert node.engine.checkpoints.failures == 0
    assert node.engine.checkpoints.made == 1


def test_one_is_made_at_a_time() -> None:
    node = SimNode()
    node.call("SET", "k", "v")
    other = node.connect()
    node.client.send("XQ.CHECKPOINT", "one")
    other.send("XQ.CHECKPOINT", "two")
    node.run()
    assert other.take() == b"-ERR a checkpoint is being made already\r\n"
    assert node.client.take() is not None
    assert other.call("XQ.CHECKPOINT", "two")[0] == b"path"


def test_a_client_that_goes_changes_nothing() -> None:
    node = SimNode()
    node.call("SET", "k", "v")
    other = node.connect()
    other.send("XQ.CHECKPOINT", "one")
    other.leave()
    assert node.engine.checkpoints.made == 1
    assert opened(node.fs.kill()).call("GET", "k") == b"v"
    assert isinstance(other.transport, Transport)
    assert told(node, "two")["lsn"] == 1


def test_a_disk_that_is_full_is_an_error_and_leaves_no_trace() -> None:
    node = SimNode()
    node.call("SET", "k", "v" * 100)
    for op, path in (("create", "*.row"), ("create", f"{WHERE}/*"), ("link", "*")):
        node.fs.inject(Rule(op, path, error=errno.ENOSPC, times=1 << 30))
        reply = node.raw("XQ.CHECKPOINT", "one")
        assert reply == (
            b"-ERR the checkpoint was not made: no space left on the device for "
            + (f"{PATH}/seg/00000002.row" if op == "create" and path == "*.row" else WHERE).encode()
            + b"\r\n"
        )
        assert node.fs.listdir(PATH) == ["CURRENT", "LOCK", "MANIFEST-00000002", "seg", "wal"]
        node.fs.clear_rules()
        node.advance(2000)
    assert node.call("SET", "k", "w") == b"OK"
    told(node)
    assert opened(node.fs.kill()).call("GET", "k") == b"w"


def test_an_error_of_the_disk_ends_nothing_but_the_checkpoint() -> None:
    node = SimNode()
    node.call("SET", "k", "v")
    node.fs.inject(Rule("fdatasync", f"{WHERE}/*", error=errno.EIO))
    assert node.raw("XQ.CHECKPOINT", "one").startswith(b"-ERR the checkpoint was not made: ")
    assert node.call("SET", "k", "w") == b"OK"
    assert not node.fs.exists(f"{PATH}/checkpoints")
    assert told(node)["lsn"] == 2


def test_a_server_that_stops_meanwhile_stops() -> None:
    node = SimNode(options=SMALL)
    node.call("SET", "k", "v")
    node.client.send("XQ.CHECKPOINT", "one")
    node.skin.step()
    node.close()
    assert node.reopen().call("GET", "k") == b"v"
