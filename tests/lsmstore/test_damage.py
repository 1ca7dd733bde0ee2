"""A flipped bit in any byte of any file: refused, or without effect, but never believed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lsmstore.compaction import Kind
from lsmstore.errors import Corruption, InputOutputError
from lsmstore.manifest import CURRENT
from lsmstore.options import StoreOptions
from lsmstore.simfs import Rule, SimFS
from tests.lsmstore.support import (
    PATH,
    SID,
    SMALL,
    Progress,
    check_recovered,
    compact,
    fill,
    flush,
    open_store,
)

Everything = tuple[dict[bytes, bytes], list[tuple[int, list[tuple[int, int]]]], bytes]


def read_everything(fs: SimFS) -> Everything:
    """Open a store and read every row, every block and every record above the floor."""
    store, frames = open_store(fs)
    rows = dict(store.scan_rows(b"", None))
    for key, value in rows.items():
        assert store.get_row(key) == value
    blocks = []
    for sid in (SID, *range(1000, 1030)):
        for run in store.runs(sid):
            for index in range(run.n_blocks):
                block = store.read_block(run, index)
                blocks.append((block.first_pos, block.ids()))
    store.close()
    return rows, blocks, b"".join([payload for _, payload in frames])


@pytest.fixture(scope="module")
def closed() -> SimFS:
    return make_store(SMALL)


def make_store(options: StoreOptions, *, merges: bool = True) -> SimFS:
    """A store with segments and row files of flushes and of merges, closed cleanly."""
    fs = SimFS()
    store, _ = open_store(fs, options)
    for floor in (25, 26, 60):
        fill(store, floor - store.written_lsn)
        store.sync()
        flush(store, floor)
    if merges:
        compact(store)
        assert store.compactions[Kind.JOIN] == 1
        fill(store, 40)
        flush(store, 100)
    fill(store, 3)
    store.close()
    return fs


def paths(fs: SimFS, directory: str) -> Iterator[str]:
    for name in fs.listdir(directory):
        if name in {"seg", "wal"}:
            yield from paths(fs, f"{directory}/{name}")
        elif name != "LOCK":
            yield f"{directory}/{name}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CURRENT", "MANIFEST", ".wal", ".seg", ".row"])
def test_every_byte_of_every_file_is_guarded(closed: SimFS, kind: str) -> None:
    before = read_everything(closed.kill())
    noticed = 0
    for path in paths(closed, PATH):
        if kind not in path:
            continue
        size = len(closed._inode(path).live)
        for offset in range(size):
            byte = closed._inode(path).live[offset]
            if kind == ".wal" and byte == 0 and offset > 2000 and offset % 64:
                continue  # zeros ahead of the log: one in 64 will do
            after = closed.kill()
            after.flip_bit(path, offset, offset % 8)
            try:
                found = read_everything(after)
            except Corruption:
                noticed += 1
                continue
            assert found == before, f"{path} at {offset} was believed"
    assert noticed > {"CURRENT": 15, ".wal": 400}.get(kind, 600)


@pytest.mark.parametrize("kind", [".seg", ".row"])
def test_a_file_that_is_missing_or_cut_is_refused(closed: SimFS, kind: str) -> None:
    for path in paths(closed, PATH):
        if kind not in path:
            continue
        missing = closed.kill()
        missing.unlink(path)
        with pytest.raises(Corruption, match="missing"):
            open_store(missing)
        size = len(closed._inode(path).live)
        for cut in range(0, size, 7):
            after = closed.kill()
            inode = after._inode(path)
            del inode.live[cut:]
            with pytest.raises(Corruption):
                open_store(after)


def test_a_manifest_that_lost_its_last_edits_costs_no_record() -> None:
    closed = make_store(
        replace(SMALL, log_file_bytes_min=65536, log_file_bytes_max=65536), merges=False
    )
    (path,) = [path for path in paths(closed, PATH) if "MANIFEST" in path]
    size = len(closed._inode(path).live)
    floors = set()
    for cut in range(0, size, 3):
        after = closed.kill()
        del after._inode(path).live[cut:]
        try:
            store, frames = open_store(after)
        except Corruption:
            continue
        check_recovered(store, frames, Progress(63, 63))
        floors.add(store.floor_lsn)
    assert floors == {0, 25, 26, 60}


def test_current_gone_with_data_present_is_refused(closed: SimFS) -> None:
    after = closed.kill()
    after.unlink(f"{PATH}/{CURRENT}")
    with pytest.raises(Corruption, match="missing"):
        open_store(after)


def test_damage_to_a_block_fails_its_read_and_names_the_place(closed: SimFS) -> None:
    after = closed.kill()
    store, _ = open_store(after)
    run = store.runs(SID)[-1]
    offset, *_ = run.place(0)
    assert run.place(1)[0] != offset
    after.flip_bit(run.segment.path, offset + 20, 3)
    with pytest.raises(Corruption) as caught:
        store.read_block(run, 0)
    assert (caught.value.path, caught.value.offset) == (run.segment.path, offset)
    assert store.read_block(run, 1).count > 0, "another block is as good as before"


def test_an_error_of_the_disk_on_a_read_is_an_error_not_an_absence(closed: SimFS) -> None:
    after = closed.kill()
    store, _ = open_store(after)
    run = store.runs(SID)[0]
    after.inject(Rule(op="pread", path="*.seg", error=errno.EIO))
    with pytest.raises(InputOutputError):
        store.read_block(run, 0)
    assert store.read_block(run, 0).count > 0


@pytest.mark.parametrize("bit", range(0, 4000, 61))
def test_a_bit_that_flips_on_its_way_from_the_disk_is_noticed(closed: SimFS, bit: int) -> None:
    after = closed.kill()
    store, _ = open_store(after)
    run = store.runs(SID)[0]
    after.inject(Rule(op="pread", path="*.seg", flip_bit=bit))
    with pytest.raises(Corruption):
        store.read_block(run, 0)


def test_a_frame_from_another_place_or_file_is_refused(closed: SimFS) -> None:
    after = closed.kill()
    store, _ = open_store(after)
    runs = store.runs(SID)
    one, other = runs[-1].place(0), runs[-1].place(1)
    live = after._inode(runs[-1].segment.path).live
    frame = bytes(live[one[0] : one[0] + one[1]])
    live[other[0] : other[0] + len(frame)] = frame
    with pytest.raises(Corruption, match="checksum"):
        store.read_block(runs[-1], 1)
