"""Segments: what goes in comes out, small streams share frames, dead segments are dropped."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmstore.block import Block
from lsmstore.errors import DiskFull, Poisoned, StorageError
from lsmstore.fs import OsFS
from lsmstore.marks import GONE
from lsmstore.options import StoreOptions
from lsmstore.simfs import LOSE_ALL, Rule, SimFS
from lsmstore.store import Store
from tests.lsmstore.support import PATH, SMALL, block, fill, flush, open_store, seeded

SEG = f"{PATH}/seg"
Plan = dict[int, list[int]]


def flush_streams(store: Store, plan: Plan, start: dict[int, int]) -> None:
    """Flush blocks of the given entry counts; ``start``, where each stream is, is moved on."""
    work = store.begin_flush(store.written_lsn)
    for sid, counts in plan.items():
        for count in counts:
            at = start.get(sid, 0)
            work.add_run(sid, [block(at + 1, count, at)], [at] if at % 3 == 0 else [])
            start[sid] = at + count
    work.write()
    work.install()


PLANS = st.lists(
    st.dictionaries(
        st.integers(1, 40) | st.sampled_from([2**63, 2**64 - 1]),
        st.lists(st.integers(1, 30), min_size=1, max_size=4),
        max_size=12,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(plans=PLANS)
def test_every_stream_reads_back_from_however_many_segments(plans: list[Plan]) -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    start: dict[int, int] = {}
    nodes: dict[int, list[int]] = {}
    for plan in plans:
        for sid, counts in plan.items():
            at = start.get(sid, 0)
            for count in counts:
                if at % 3 == 0:
                    nodes.setdefault(sid, []).append(at)
                at += count
        flush_streams(store, plan, start)
    for _ in range(2):
        for sid, end in start.items():
            position = 0
            starts = []
            for run in store.runs(sid):
                assert run.first_pos == position
                assert run.last == (run.end_pos, 0)
                for index in range(run.n_blocks):
                    found = store.read_block(run, index)
                    assert found.ids() == [(position + 1 + i, 0) for i in range(found.count)]
                    position += found.count
                assert run.end_pos == position
                starts += run.node_positions()
            assert position == end
            assert starts == nodes.get(sid, [])
        assert store.runs(41) == []
        store.close()
        store, _ = open_store(fs)


def test_small_streams_share_frames_and_large_ones_do_not() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    flush_streams(store, {sid: [2] for sid in range(1, 31)} | {31: [30], 32: [30]}, {})
    frames = [store.runs(sid)[0].place(0)[0] for sid in range(1, 33)]
    assert len(set(frames[:30])) < 8, "thirty streams of 80 bytes fit in a few frames of 1 KiB"
    assert len({*frames[29:]}) == 3
    assert frames == sorted(frames)


def test_small_blocks_of_a_large_stream_share_frames_among_themselves() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    flush_streams(store, {1: [5] * 40, 2: [5] * 40}, {})
    one, two = (
        {store.runs(sid)[0].place(i)[0] for i in range(store.runs(sid)[0].n_blocks)}
        for sid in (1, 2)
    )
    assert not one & two
    assert len(one) < 20


def test_blocks_that_do_not_compress_are_kept_raw() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    noise = random.Random(4).randbytes(900)
    data = b"*2\r\n$3\r\n7-7\r\n*2\r\n$1\r\na\r\n$%d\r\n%s\r\n" % (len(noise), noise)
    work = store.begin_flush(0)
    work.add_run(5, [Block.sealed(data, 0)], [])
    work.write()
    work.install()
    run = store.runs(5)[0]
    assert run.place(0)[1] == len(data) + 24
    assert store.read_block(run, 0).data == data


def test_a_segment_in_which_nothing_lives_is_dropped() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    start: dict[int, int] = {}
    for _ in range(4):
        flush_streams(store, {1: [10], 2: [10]}, start)
    mark(store, {1: 20})
    assert len(store._version.segments) == 4
    assert [run.first_pos for run in store.runs(1)] == [20, 30]
    assert [run.first_pos for run in store.runs(2)] == [0, 10, 20, 30]
    mark(store, {2: 15})
    assert sorted(store._version.segments) == [3, 5, 7], "the first of four segments is dead"
    store.close()
    store, _ = open_store(fs)
    assert [run.first_pos for run in store.runs(1)] == [20, 30]
    mark(store, {2: GONE})
    assert sorted(store._version.segments) == [5, 7]
    mark(store, {1: GONE})
    assert fs.listdir(SEG) == []
    assert store._version.dead == {}
    after, _ = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert after.runs(1) == after.runs(2) == []


def mark(store: Store, marks: dict[int, int]) -> None:
    work = store.begin_flush(store.written_lsn)
    for sid, low_water in marks.items():
        work.add_marks(sid, [(GONE, low_water)])
    work.write()
    work.install()
    for _ in range(9):  # it removes a few files at a time
        store.prepare_spare()
    assert not store.spare_wanted


def test_a_run_pins_its_segment_past_the_segments_end(tmp_path: Path) -> None:
    store = Store.open(OsFS(), str(tmp_path), SMALL)
    assert list(store.replay()) == []
    flush_streams(store, {1: [10]}, {})
    run = store.runs(1)[0]
    segment = weakref.ref(run.segment)
    mark(store, {1: GONE})
    assert list((tmp_path / "seg").iterdir()) == []
    assert store.read_block(run, 0).count == 10
    del run
    gc.collect()
    assert segment() is None
    store.close()


def test_blocks_are_read_on_threads_while_the_store_flushes(tmp_path: Path) -> None:
    store = Store.open(OsFS(), str(tmp_path), StoreOptions())
    assert list(store.replay()) == []
    flush_streams(store, {sid: [30] * 20 for sid in range(1, 6)}, {})
    failures: list[str] = []

    def read(sid: int) -> None:
        for run in store.runs(sid):
            for index in list(range(run.n_blocks)) * 5:
                found = store.read_block(run, index)
                first = found.first_pos + 1
                if found.ids() != [(first + i, 0) for i in range(30)]:
                    failures.append(f"{sid}/{index}")

    threads = [threading.Thread(target=read, args=(sid,)) for sid in range(1, 6)]
    for thread in threads:
        thread.start()
    flush_streams(store, {sid: [30] * 20 for sid in range(10, 16)}, {})
    for thread in threads:
        thread.join()
    assert failures == []
    store.close()


def test_a_full_disk_in_any_part_of_a_flush_changes_nothing_and_the_flush_can_be_repeated() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 30, each=2)
    store.sync()
    flush(store, 20)
    before = snapshot(store)
    files = fs.listdir(SEG)
    used = fs._used
    refused = 0
    for room in range(0, 3000, 40):
        fs.capacity_bytes = used + room
        try:
            flush(store, 40)
        except DiskFull:
            refused += 1
            assert snapshot(store) == before
            assert fs.listdir(SEG) == files
            assert fs._used == used
            continue
        break
    assert refused > 10
    fs.capacity_bytes = None
    assert store.floor_lsn == 40
    assert store.runs(1)[-1].end_pos == 40
    after, frames = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert frames[0][0] == 41
    assert after.runs(1)[-1].end_pos == 40


def snapshot(store: Store) -> tuple[object, ...]:
    ends = [run.end_pos for run in store.runs(1)]
    return store.floor_lsn, dict(store.scan_rows(b"", None)), ends, store._version.segments.copy()


@pytest.mark.parametrize("op", ["create", "pwrite", "fdatasync", "fsync_dir"])
@pytest.mark.parametrize("nth", [1, 2])
def test_an_error_of_the_disk_in_a_flush_poisons_and_loses_nothing(op: str, nth: int) -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 30)
    store.sync()
    flush(store, 10)
    path = SEG if op == "fsync_dir" else f"{SEG}/*"
    if op == "fsync_dir" and nth == 2:
        path, nth = PATH, 1
        fs.inject(Rule(op="fdatasync", path=f"{PATH}/MANIFEST*", error=5))
    fs.inject(Rule(op=op, path=path, nth=nth, error=5))
    with pytest.raises(Poisoned):
        flush(store, 20)
    with pytest.raises(Poisoned):
        store.sync()
    fs.clear_rules()
    after, _ = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert after.floor_lsn in {10, 20}
    assert after.written_lsn == 30
    assert after.runs(1)[-1].end_pos == after.floor_lsn


def test_what_a_flush_holds_beyond_its_floor_is_in_the_log_before_it_is_installed() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 30)
    work = store.begin_flush(10)
    work.add_row(b"seen", b"30")
    work.write()
    work.install()
    after, frames = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert after.get_row(b"seen") == b"30"
    assert after.written_lsn == 30
    assert [first for first, _ in frames] == list(range(11, 31))


def test_one_flush_at_a_time_and_none_beyond_the_log() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 3)
    with pytest.raises(StorageError, match="floor 4"):
        store.begin_flush(4)
    first = store.begin_flush(2)
    with pytest.raises(StorageError, match="under way"):
        store.begin_flush(2)
    first.abort()
    flush(store, 3)
    with pytest.raises(StorageError, match="floor 2"):
        store.begin_flush(2)


def test_marks_and_reopenings_in_any_order_keep_what_is_alive() -> None:
    for seed in range(15):
        rng = seeded(seed)
        fs = SimFS()
        store, _ = open_store(fs)
        start: dict[int, int] = {}
        low: dict[int, int] = {}
        for _ in range(25):
            choice = rng.random()
            if choice < 0.5:
                sids = rng.sample(range(1, 6), rng.randint(1, 3))
                flush_streams(store, {sid: [rng.randint(1, 9)] for sid in sids}, start)
            elif choice < 0.9:
                for sid, end in start.items():
                    low[sid] = rng.randint(low.get(sid, 0), end)
                mark(store, dict(low))
            else:
                store.close()
                store, _ = open_store(fs)
            for sid, end in start.items():
                position = None
                for run in store.runs(sid):
                    assert position is None or run.first_pos == position
                    if position is None:
                        assert run.first_pos <= low.get(sid, 0)
                    position = run.end_pos
                assert position == end or (position is None and low.get(sid, 0) == end)
            live = {f"{n:08d}.seg" for n in store._version.segments}
            assert {name for name in fs.listdir(SEG) if name.endswith(".seg")} == live


def test_a_second_thread_that_compresses_changes_no_byte() -> None:
    plan = {sid: [7, 30, 12] for sid in range(1, 9)}
    segments = []
    for least in (0, 1 << 30):
        fs = SimFS()
        store, _ = open_store(fs, replace(SMALL, hurried_segment_bytes=least))
        flush_streams(store, plan, {})
        names = [name for name in fs.listdir(SEG) if name.endswith(".seg")]
        files = [fs.open(f"{SEG}/{name}") for name in names]
        segments.append([file.pread(file.size(), 0) for file in files])
    assert segments[0] == segments[1] and segments[0]
