"""Merges: what was deleted leaves the disk, readers notice nothing, failures leave no trace."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from lsmstore.compaction import Kind
from lsmstore.compactor import MergeFailed
from lsmstore.container import COLUMNS, FRAME
from lsmstore.errors import Corruption, DiskFull
from lsmstore.merge import MergeRequest, MergeResult
from lsmstore.simfs import LOSE_ALL
from respserver import upkeep
from streams.listpack import element_size
from streams.survivors import blank
from tests.lsmstore.support import check_files
from tests.sim.dump import difference, dump
from tests.sim.node import PATH, SMALL, SimNode, SimRunner


def filled(rounds: int = 8, each: int = 20, **how: object) -> SimNode:
    """A node with one large and some small streams, flushed often."""
    node = SimNode(**how)  # type: ignore[arg-type]
    rng = random.Random(1)
    for round_ in range(rounds):
        for i in range(each):
            node.call("XADD", "big", f"{round_ * each + i + 1}-1", "secret", rng.randbytes(60))
        for key in ("a", "b", "c"):
            node.call("XADD", key, f"{round_ + 1}-1", "f", f"{key}{round_}")
        node.flush()
    return node


def test_a_stream_with_much_data_gets_segments_of_its_own_and_the_others_are_joined() -> None:
    node = filled(rounds=12)
    store = node.store
    assert store.compactions[Kind.GRADUATE] > 0
    assert store.compactions[Kind.JOIN] > 0
    assert store.compactions[Kind.ROWS] > 0
    assert any(meta.sid for meta in store._version.segments.values())
    assert store.stats()["segments"] < 12
    before = dump(node)
    check_files(store)
    assert difference(before, dump(node.reopen())) == ""


def test_merging_shows_nowhere_in_what_a_node_answers() -> None:
    left, right = filled(merges=False), filled(merges=True)
    assert right.store.compactions[Kind.JOIN] > 0
    assert difference(dump(left), dump(right)) == ""
    assert left.store.stats()["segments"] > right.store.stats()["segments"]


@pytest.mark.parametrize("how", ["DEL", "XTRIM", "FLUSHALL"])
def test_what_is_deleted_or_trimmed_gives_its_space_back(how: str) -> None:
    node = filled(rounds=12)
    before = node.store.stats()["segment_bytes"]
    node.call(*{"DEL": ["DEL", "big"], "XTRIM": ["XTRIM", "big", "MAXLEN", "5"]}.get(how, [how]))
    node.flush()
    node.advance(20)
    assert node.store.stats()["segment_bytes"] < before // 4
    check_files(node.store)


def test_deleted_streams_leave_the_disk_though_nobody_writes_any_more() -> None:
    node = filled(rounds=12)
    before = node.store.stats()["segment_bytes"]
    node.call("DEL", "big", "a", "b", "c")
    node.run()
    assert node.store.stats()["segment_bytes"] == before
    node.advance(20_000)
    assert node.store.stats()["segment_bytes"] == 0
    assert node.fs.listdir(f"{PATH}/seg") == [
        f"{number:08d}.row" for number in sorted(node.store._version.row_files)
    ]


@pytest.mark.parametrize("how", ["XTRIM", "XDEL"])
def test_much_that_was_trimmed_or_deleted_leaves_the_disk_though_nobody_writes_any_more(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(first: int, last: int) -> None:
        ids = [f"{n}-1" for n in range(first, last + 1)]
        node.call(*["XDEL", "big", *ids] if how == "XDEL" else ["XTRIM", "big", "MINID", last + 1])
        node.advance(20_000)

    monkeypatch.setattr(upkeep, "SHED_BYTES", 4_000)
    node = filled(rounds=12)
    flushes = node.store.flushes
    before = node.store.stats()["segment_bytes"]
    lose(2, 5)
    assert node.store.flushes == flushes, "for so little no flush is due"
    lose(6, 230)
    assert node.store.stats()["segment_bytes"] < before // 2
    node.advance(20_000)
    assert node.store.flushes == flushes + 1


def test_deleted_entries_between_living_ones_lose_their_values_on_the_disk() -> None:
    node = filled(rounds=12)
    before = node.store.stats()["segment_bytes"]
    node.call("XDEL", "big", *[f"{i}-1" for i in range(2, 200)])
    expected = node.raw("XRANGE", "big", "-", "+")
    node.flush()
    rewrites = node.store.compactions[Kind.REWRITE]
    assert rewrites > 0
    assert node.store.stats()["segment_bytes"] < before // 2
    node.flush()
    assert node.store.compactions[Kind.REWRITE] == rewrites, "what is blanked is not garbage"
    assert node.raw("XRANGE", "big", "-", "+") == expected
    assert difference(dump(node), dump(node.reopen())) == ""


def test_a_long_reply_goes_on_over_files_that_are_replaced_meanwhile() -> None:
    node = SimNode(cache_bytes=1, merges=False)
    for i in range(1, 400):
        node.call("XADD", "s", f"{i}-1", "f", "v" * 6000)
        if i % 80 == 0:
            node.flush()
    node.flush()
    expected = node.raw("XRANGE", "s", "-", "+")
    node = node.reopen(cache_bytes=1)
    slow = node.connect()
    slow.transport.slow = True
    slow.send("XRANGE", "s", "-", "+")
    while slow.transport.sent_bytes == 0:
        node.skin.step()
    held = {run.segment.number for run in slow.session.stream_reply._snapshot.runs}
    node.call("XTRIM", "s", "MAXLEN", "1")
    node.flush()
    assert not held & set(node.store._version.segments), "every file that it reads is gone"
    slow.transport.slow = False
    while slow.transport.waiting:
        slow.transport.drain()
        node.run()
    node.run()
    assert slow.take() == expected


class Failing(SimRunner):
    """Fails in some way, after it has written."""

    error: Callable[[], Exception] | None = None
    garbage = False

    def run(self, request: MergeRequest) -> MergeResult:
        result = super().run(request)
        if self.error is not None:
            raise self.error()
        if self.garbage:
            for meta in result.segments:
                path = f"{PATH}/seg/{meta.number:08d}.seg"
                self.fs.flip_bit(path, meta.bytes - 20, 3)
        return result


@pytest.mark.parametrize(
    "error",
    [
        lambda: MergeFailed("killed"),
        lambda: DiskFull(PATH),
        lambda: Corruption("some file", 7, "flipped"),
        None,
    ],
)
def test_a_merge_that_fails_leaves_no_trace_and_is_tried_again(
    error: Callable[[], Exception] | None,
) -> None:
    node = SimNode()
    compacting = node.engine.upkeep.compacting
    failing = Failing(node.fs)
    failing.error = error
    failing.garbage = error is None
    compacting._runner = failing
    for i in range(1, 5):
        node.call("XADD", "s", f"{i}-1", "f", "v" * 100)
        node.flush()
    assert compacting.failures > 0
    figures = node.call("INFO", "streams").decode().splitlines()
    (said,) = [line for line in figures if line.startswith("compaction_last_error:")]
    assert ("cannot be read" if error is None else str(error())) in said
    assert sum(node.store.compactions.values()) == 0
    check_files(node.store)
    before = dump(node)
    failing.error, failing.garbage = None, False
    node.advance(700_000)
    assert node.store.compactions[Kind.JOIN] + node.store.compactions[Kind.ROWS] > 0
    assert difference(before, dump(node)) == ""


def test_a_stream_that_dies_while_it_is_merged_is_dead_in_the_result() -> None:
    node = SimNode(merges=False)
    for i in range(1, 4):
        for key in ("a", "b"):
            node.call("XADD", key, f"{i}-1", "f", "v" * 50)
        node.flush()
    merge = node.store.begin_compaction()
    assert merge is not None
    assert merge.choice.kind is Kind.JOIN
    merge.run(SimRunner(node.fs))
    node.call("DEL", "a")
    node.flush()
    merge.install()
    assert node.store.stats()["segments"] == 1
    (number,) = node.store._version.segments
    assert len(node.store._version.dead[number]) == 1
    node.call("DEL", "b")
    node.flush()
    assert node.store.stats()["segments"] == 0
    after = node.reopen(node.fs.crash(random.Random(0), LOSE_ALL))
    assert after.call("DBSIZE") == 0


@pytest.mark.parametrize(
    "value", [b"", b"text", b"7", b"-7", b"200", b"-4000", b"32000", b"8000000", b"2000000000"]
)
def test_a_blank_keeps_the_shape_and_loses_the_value(value: bytes) -> None:
    entry = b"*2\r\n$3\r\n1-1\r\n*4\r\n$1\r\nf\r\n$%d\r\n%s\r\n$1\r\ng\r\n$%d\r\n%s\r\n" % (
        (len(value), value) * 2
    )
    found = blank(entry)
    parts = found.split(b"\r\n")
    assert parts[2] == b"1-1"
    assert (parts[5], parts[9]) == (b"f", b"g")
    assert element_size(parts[7]) == element_size(value)
    assert parts[7] == parts[11]
    assert blank(found) == found
    assert len(value) < 2 or parts[7] != value


def codecs(node: SimNode, key: bytes) -> list[int]:
    """How the frames of a stream are stored."""
    stream = node.engine.keyspace.tables[0][key]
    found = []
    for run in stream.runs:
        for i in range(run.n_blocks):
            frame = run.segment.stored_frame(*run.place(i)[:2])
            found.append(FRAME.unpack_from(frame)[3])
    return found


@pytest.mark.parametrize("deleted", [False, True])
def test_measurements_are_put_into_columns_and_nobody_notices(deleted: bool) -> None:
    options = replace(SMALL, own_frame_bytes=8192, graduate_bytes=1000)
    plain = SimNode(merges=False)
    node = SimNode(options=options)
    rng = random.Random(5)
    walk = [[rng.randrange(1 << 20), 400] for _ in range(8)]
    for n in range(1, 1000):
        sensor = rng.randrange(8)
        walk[sensor][0] += rng.randrange(-9, 10)
        walk[sensor][1] += rng.randrange(-2, 3)
        temp = f"{walk[sensor][0] / 100:.2f}"
        for one in (node, plain):
            one.call(
                "XADD", "s", f"{n}-1", "sensor", f"s-{sensor}", "t", temp, "h", walk[sensor][1]
            )
        if n % 200 == 0:
            if deleted:
                for one in (node, plain):
                    one.call("XDEL", "s", f"{n - 100}-1")
            node.flush()
    assert COLUMNS in codecs(node, b"s")
    assert difference(dump(plain), dump(node)) == ""
    again = node.reopen()
    assert again.raw("XRANGE", "s", "-", "+") == plain.raw("XRANGE", "s", "-", "+")
    again.call("XTRIM", "s", "MAXLEN", 300)
    plain.call("XTRIM", "s", "MAXLEN", 300)
    for n in range(1000, 1400):
        for one in (again, plain):
            one.call("XADD", "s", f"{n}-1", "sensor", "s-1", "t", f"{n}.25", "h", n % 7)
        if n % 100 == 0:
            again.flush()
    assert COLUMNS in codecs(again, b"s"), "frames are copied as they are"
    assert difference(dump(plain), dump(again.reopen())) == ""
    check_files(again.store)
