"""A failing disk: who is told what, what is kept, and whether the node goes on."""

from __future__ import annotations

import errno
import random
from dataclasses import replace

import pytest

from lsmstore.errors import DiskFull, Poisoned
from lsmstore.simfs import LOSE_ALL, Rule
from tests.lsmstore.support import check_files
from tests.sim.dump import difference, dump
from tests.sim.node import PATH, SMALL, SimNode, Word

FULL = b"-MISCONF Errors writing to the AOF file: No space left on device\r\n"
LOG = "*/wal/*"
ROOMY = replace(SMALL, log_file_bytes_min=65536, log_file_bytes_max=65536, log_reserve_bytes=24576)
"""With a reserve for some commands of the slower kind, which ask for more than they need."""


def busy_node(**how: object) -> SimNode:
    node = SimNode(**how)  # type: ignore[arg-type]
    for i in range(1, 11):
        node.call("XADD", "s", f"{i}-1", "f", "v" * 50)
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "STREAMS", "s", ">")
    return node


def ends(node: SimNode) -> None:
    """The node has ended: everything is closed, nobody hears of it anything more."""
    assert node.skin.dead
    assert node.engine.failed
    assert isinstance(node.skin.error, Poisoned)
    node.run()
    assert not node.engine.sessions


# ── a write or a sync fails ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("on_thread", [False, True])
@pytest.mark.parametrize("op", ["pwrite", "fdatasync"])
def test_nobody_is_told_ok_when_the_log_fails(op: str, on_thread: bool) -> None:
    node = busy_node(sync_on_thread=on_thread)
    before = dump(node)
    others = [node.connect() for _ in range(3)]
    node.fs.inject(Rule(op, LOG, error=errno.EIO, times=1000))
    node.client.send("XADD", "s", "20-1", "f", "v")
    others[0].send("XLEN", "s")
    others[1].send("PING")
    node.run()
    ends(node)
    for client in (node.client, *others):
        assert client.take() is None
        assert client.transport.aborted
    node.fs.clear_rules()
    after = SimNode(node.fs.crash(random.Random(0), LOSE_ALL))
    assert difference(before, dump(after)) == ""


def test_a_failed_sync_of_everysec_ends_the_node() -> None:
    node = busy_node(appendfsync="everysec")
    node.advance(1000)
    node.fs.inject(Rule("fdatasync", LOG, error=errno.EIO))
    assert node.call("XADD", "s", "20-1", "f", "v") == b"20-1"
    node.advance(1000)
    ends(node)


def test_a_command_behind_the_end_is_not_answered() -> None:
    node = busy_node()
    other = node.connect()
    node.fs.inject(Rule("pwrite", LOG, error=errno.EIO))
    node.client.send("XADD", "s", "20-1", "f", "v")
    node.engine.tick()
    assert node.engine.failed
    other.send("PING")
    other.send("XADD", "s", "21-1", "f", "v")
    node.advance(5000)
    assert other.take() is None


def test_held_replies_are_not_sent_once_the_node_has_failed() -> None:
    """A flush fails while a reply waits for its sync; the sync then succeeds."""
    node = busy_node(sync_on_thread=True)
    node.client.send("XADD", "s", "20-1", "f", "v")
    node.engine.tick()
    node.engine._fail(Poisoned("elsewhere"))
    node.run()
    assert node.client.take() is None


@pytest.mark.parametrize("op", ["create", "pwrite", "fdatasync", "rename"])
def test_a_log_file_that_cannot_be_made_ends_the_node(op: str) -> None:
    node = busy_node()
    node.fs.inject(Rule(op, LOG, error=errno.EIO, times=1000))
    client = node.connect()
    for i in range(20, 60):
        client.send("XADD", "s", f"{i}-1", "f", "v" * 4000)
        node.run()
        if node.skin.dead:
            break
    ends(node)
    told = len(client.replies())
    node.fs.clear_rules()
    after = SimNode(node.fs.crash(random.Random(0), LOSE_ALL))
    assert after.call("XLEN", "s") >= 10 + told


def test_a_log_file_that_cannot_be_made_while_a_command_waits_ends_the_node() -> None:
    """The record is larger than every file that is ready."""
    node = busy_node()
    other = node.connect()
    node.fs.inject(Rule("pwrite", LOG, error=errno.EIO))
    node.client.send("XADD", "s", "20-1", "f", "v" * 200_000)
    other.send("PING")
    node.run()
    ends(node)
    assert node.client.take() is None
    assert other.take() is None


def test_a_sync_that_fails_within_a_command_ends_the_node() -> None:
    node = busy_node(appendfsync="everysec")
    node.fs.inject(Rule("fdatasync", LOG, error=errno.EIO))
    node.client.send("SAVE")
    node.run()
    ends(node)
    assert node.client.take() is None


@pytest.mark.parametrize("where", ["*/seg/*.seg", "*/seg/*.row", "*/MANIFEST*"])
@pytest.mark.parametrize("op", ["pwrite", "fdatasync"])
def test_a_flush_that_fails_ends_the_node_and_loses_nothing(op: str, where: str) -> None:
    node = busy_node()
    before = dump(node)
    node.fs.inject(Rule(op, where, error=errno.EIO))
    node.client.send("SAVE")
    node.run()
    ends(node)
    node.fs.clear_rules()
    after = SimNode(node.fs.crash(random.Random(0), LOSE_ALL))
    assert difference(before, dump(after)) == ""


@pytest.mark.parametrize("op", ["pwrite", "fdatasync"])
def test_a_failure_while_the_node_ends_is_one(op: str) -> None:
    node = busy_node(appendfsync="everysec")
    node.client.send("XADD", "s", "20-1", "f", "v")
    node.fs.inject(Rule(op, LOG, error=errno.EIO))
    node.close()
    ends(node)


# ── the disk is full ─────────────────────────────────────────────────────────────────────────────


def fill_disk(node: SimNode, left_bytes: int = 0) -> int:
    """Use up what is left of the log on a disk without room; returns the last ID added.

    ``left_bytes`` stay free: too few for another file of the log.
    """
    node.fs.capacity_bytes = node.fs._used + left_bytes
    for i in range(20, 10_000):
        reply = node.raw("XADD", "s", f"{i}-1", "f", "v" * 50)
        if reply == FULL:
            return i - 1
        assert reply == b"$%d\r\n%d-1\r\n" % (len(f"{i}-1"), i)
    raise AssertionError("the disk never was full")


REFUSED: list[tuple[Word, ...]] = [
    ("XADD", "s", "90000-1", "f", "v" * 5000),
    ("XADD", "new", "*", "f", "v" * 5000),
    ("SET", "k", "v" * 5000),
    ("XGROUP", "CREATE", "s", "h", 0),
    ("XGROUP", "CREATECONSUMER", "s", "g", "d"),
    ("XCLAIM", "s", "g", "d", 0, "1-1"),
    ("XAUTOCLAIM", "s", "g", "d", 0, "0"),
    ("XSETID", "s", "90000-1"),
]
FREEING: list[tuple[Word, ...]] = [
    ("XACK", "s", "g", "1-1", "2-1"),
    ("XDEL", "s", "3-1"),
    ("XTRIM", "s", "MAXLEN", 12),
    ("XGROUP", "DELCONSUMER", "s", "g", "c"),
    ("XGROUP", "DESTROY", "s", "g"),
    ("DEL", "s"),
    ("FLUSHALL",),
]


def test_a_full_disk_refuses_and_changes_nothing() -> None:
    node = busy_node()
    fill_disk(node)
    before = dump(node)
    for words in REFUSED:
        assert node.raw(*words) == FULL, words
        assert difference(before, dump(node)) == "", words
    assert not node.engine.failed
    assert node.call("XLEN", "s") > 10
    disk = node.fs.crash(random.Random(0), LOSE_ALL)
    disk.capacity_bytes = None
    assert difference(before, dump(node.reopen(disk))) == ""


def test_what_frees_space_works_on_a_full_disk() -> None:
    node = busy_node(options=ROOMY)
    fill_disk(node)
    for words in FREEING:
        reply = node.raw(*words)
        assert reply[:1] in b":+", (words, reply)
        assert reply != b":0\r\n", words
    assert node.call("DBSIZE") == 0
    disk = node.fs.crash(random.Random(0), LOSE_ALL)
    disk.capacity_bytes = None
    assert node.reopen(disk).call("DBSIZE") == 0


def test_space_that_is_freed_by_commands_is_used_again() -> None:
    """A trim makes the memtable small, a flush of it fits, and lets go of files of the log."""
    node = busy_node(options=ROOMY)
    last = fill_disk(node, left_bytes=20_000)
    assert node.call("XTRIM", "s", "MAXLEN", 5) > 0
    node.flush()
    node.advance(2000)
    assert node.store.flushes > 0
    for i in range(last + 1, last + 300):
        assert node.call("XADD", "s", "MAXLEN", 10, f"{i}-1", "f", "v" * 50) == b"%d-1" % i


def test_writes_go_on_when_there_is_room_again() -> None:
    node = busy_node()
    last = fill_disk(node)
    node.fs.capacity_bytes = None
    for i in range(last + 1, last + 200):
        assert node.call("XADD", "s", f"{i}-1", "f", "v" * 50) == b"%d-1" % i
    after = node.reopen(node.fs.crash(random.Random(0), LOSE_ALL))
    assert after.call("XINFO", "STREAM", "s")[7] == b"%d-1" % (last + 199)


def test_deliveries_are_refused_on_a_full_disk_and_nothing_is_delivered() -> None:
    node = busy_node()
    fill_disk(node)
    before = dump(node)
    reply = node.raw("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    assert reply == FULL
    assert difference(before, dump(node)) == ""


@pytest.mark.parametrize("where", ["*/seg/*.seg", "*/seg/*.row", "*/MANIFEST*"])
def test_a_flush_without_room_is_tried_again_later(where: str) -> None:
    node = busy_node()
    before = dump(node)
    node.fs.inject(Rule("pwrite", where, error=errno.ENOSPC, times=2))
    node.flush()
    assert node.store.flushes == 0
    assert difference(before, dump(node)) == ""
    assert node.fs.listdir(f"{PATH}/seg") == []
    node.call("XDEL", "s", "1-1")
    node.call("XACK", "s", "g", "2-1", "3-1")
    node.call("XADD", "t", "1-1", "f", "v")
    before = dump(node)
    for _ in range(20):
        node.advance(1000)
        node.flush()
    assert node.store.flushes > 0
    assert not node.engine.failed
    assert difference(before, dump(node)) == ""
    node.store.close()
    assert difference(before, dump(node.reopen())) == ""


def test_a_memtable_that_cannot_be_flushed_is_kept_until_it_can() -> None:
    """Without anybody asking: the memtable is over its limit all the time."""
    node = SimNode(memtable_bytes=8000)
    rule = node.fs.inject(Rule("pwrite", "*/seg/*", error=errno.ENOSPC, times=1 << 30))
    for i in range(1, 60):
        assert node.call("XADD", "s", f"{i}-1", "f", "v" * 100) == b"%d-1" % i
        node.advance(100)
    assert rule.seen > 2, "it was tried once only"
    assert node.store.flushes == 0
    node.fs.clear_rules()
    node.advance(10_000)
    node.call("XADD", "s", "60-1", "f", "v")
    assert node.store.flushes == 1
    before = dump(node)
    assert difference(before, dump(node.reopen())) == ""


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def damaged_node() -> SimNode:
    """Two streams of many blocks on the disk; the frames of ``s`` in the middle are damaged."""
    node = SimNode(merges=False)
    for i in range(1, 31):
        node.call("XADD", "s", f"{i}-1", "f", random.Random(i).randbytes(6000))
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.flush()
    for i in range(1, 31):
        node.call("XADD", "t", f"{i}-1", "f", "v" * 6000)
    node.flush()
    fs = node.fs.kill()
    name = next(name for name in fs.listdir(f"{PATH}/seg") if name.endswith(".seg"))
    fs.flip_bit(f"{PATH}/seg/{name}", 90_000, 3)
    return SimNode(fs)


def is_damage(reply: bytes) -> bool:
    return reply.startswith(b"-") and b".seg" in reply and b"offset" in reply


def test_a_damaged_block_is_an_error_that_names_file_and_offset() -> None:
    node = damaged_node()
    assert is_damage(node.raw("XRANGE", "s", "-", "+"))
    assert is_damage(node.raw("XREVRANGE", "s", "+", "-"))
    assert is_damage(node.raw("XRANGE", "s", "15-1", "15-1"))
    assert len(node.call("XRANGE", "s", "-", "3-1")) == 3
    assert len(node.call("XREVRANGE", "s", "+", "28-1")) == 3
    assert len(node.call("XRANGE", "t", "-", "+")) == 30
    assert node.call("XADD", "s", "40-1", "f", "v") == b"40-1"
    assert not node.engine.failed
    node.flush()
    assert node.reopen().call("XLEN", "s") == 31


def test_a_delivery_out_of_a_damaged_block_delivers_nothing() -> None:
    node = damaged_node()
    assert (
        len(node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 3, "STREAMS", "s", ">")[0][1]) == 3
    )
    before = dump_of_group(node)
    node.call("XGROUP", "CREATE", "t", "g", 0)
    for start, count in (("13-1", 2), ("12-1", 100), ("3-1", 100), ("10-1", 6)):
        words = ("XREADGROUP", "GROUP", "g", "c", "COUNT", count, "STREAMS", "t", "s", ">", ">")
        node.call("XGROUP", "SETID", "s", "g", start)
        reply = node.raw(*words)
        assert is_damage(reply), reply[:100]
        node.call("XGROUP", "SETID", "s", "g", "3-1", "ENTRIESREAD", 3)
        assert dump_of_group(node) == before
        assert node.call("XPENDING", "t", "g")[0] == 0


def dump_of_group(node: SimNode) -> bytes:
    return node.raw("XPENDING", "s", "g", "-", "+", 100) + node.raw("XINFO", "GROUPS", "s")


def test_a_long_reply_that_meets_a_damaged_block_ends_the_connection() -> None:
    """Its count is sent already: an error in its midst would be no RESP."""
    node = SimNode()
    for i in range(1, 301):
        node.call("XADD", "s", f"{i}-1", "f", random.Random(i).randbytes(6000))
    node.flush()
    fs = node.fs.kill()
    name = next(name for name in fs.listdir(f"{PATH}/seg") if name.endswith(".seg"))
    fs.flip_bit(f"{PATH}/seg/{name}", fs.open(f"{PATH}/seg/{name}").size() // 2, 3)
    node = SimNode(fs)
    client = node.connect()
    client.send("XRANGE", "s", "-", "+")
    node.run()
    assert client.transport.received.startswith(b"*300\r\n")
    assert client.transport.aborted
    assert node.call("XLEN", "s") == 300


@pytest.mark.parametrize("what", ["XRANGE", "XREADGROUP"])
def test_a_block_that_cannot_be_read_is_an_error_and_can_be_read_later(what: str) -> None:
    node = SimNode()
    for i in range(1, 31):
        node.call("XADD", "s", f"{i}-1", "f", "v" * 6000)
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.flush()
    node = node.reopen()
    words: dict[str, tuple[Word, ...]] = {
        "XRANGE": ("XRANGE", "s", "-", "+"),
        "XREADGROUP": ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"),
    }
    node.call("XLEN", "s")
    node.fs.inject(Rule("pread", "*/seg/*.seg", error=errno.EIO, times=1000))
    reply = node.raw(*words[what])
    assert reply.startswith(b"-"), reply[:100]
    assert b".seg" in reply
    assert b"nput/output error" in reply
    node.fs.clear_rules()
    reply = node.raw(*words[what])
    assert reply.count(b"$6000\r\n") == 30


# ── starting ─────────────────────────────────────────────────────────────────────────────────────


def test_a_start_without_room_is_refused_and_changes_nothing() -> None:
    node = busy_node()
    fill_disk(node)
    before = dump(node)
    disk = node.fs.kill()
    for _ in range(2):
        with pytest.raises(DiskFull):
            SimNode(disk)
    disk.capacity_bytes = None
    assert difference(before, dump(SimNode(disk))) == ""


def test_a_full_disk_leaves_no_dictionary_behind() -> None:
    """One was trained for a flush that then found no room; the next flush trains it again."""
    options = replace(SMALL, dictionary_bytes=4096, frame_bytes=1024)
    node = SimNode(options=options)
    words = [random.Random(i).randbytes(12).hex() for i in range(60)]
    for i in range(42):
        value = " ".join(random.Random(i).choices(words, k=14))
        node.call("XADD", f"s{i % 14}", f"{i + 1}-0", "f", value)
    node.fs.inject(Rule("create", "*.row", error=errno.ENOSPC))
    node.flush()
    assert node.fs.listdir(f"{PATH}/seg") == []
    node.advance(1000)
    assert node.fs.listdir(f"{PATH}/seg")[0] == "00000001.dict"
    node.call("XADD", "s0", "100-0", "f", "v")
    check_files(node.store)
    before = dump(node)
    assert difference(before, dump(node.reopen(options=options))) == ""
