"""What the tests of the store share: small options, records, a model workload and its oracle.

Every record of the workload is determined by its position, and so is what a flush writes about it:
record n is the entry ``n-0`` of stream 1 and the row ``r<n % 7>``. So the state at a position is
known without keeping it, and a recovered store can be compared with it exactly.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from lsmstore.block import Block
from lsmstore.fs import FileSystem
from lsmstore.marks import GONE, Marks
from lsmstore.merge import MergeRequest, MergeResult, merge
from lsmstore.options import StoreOptions
from lsmstore.simfs import SimFS
from lsmstore.store import Store

PATH = "/data/store"
SMALL = StoreOptions(
    log_file_bytes_min=4096,
    log_file_bytes_max=16384,
    log_file_bytes_inline=8192,
    log_reserve_bytes=512,
    frame_bytes=1024,
    small_run_bytes=512,
    compress_batch_bytes=2048,
    directory_page_bytes=512,
    row_block_bytes=128,
    row_files_max=3,
    block_cache_bytes=65536,
    large_run_bytes=300,
    graduate_bytes=2500,
    own_segment_bytes_max=4000,
    shared_segment_bytes_max=20_000,
    merge_width=3,
    tier_bytes=1200,
    own_frame_bytes=2048,
    merge_sync_bytes=2048,
    dictionary_bytes=0,
    manifest_bytes_max=2048,
)
SID = 1
OTHER_SID = 1000  # streams that are only written to and soon deleted
ROW_KEYS = 7


def record(position: int) -> bytes:
    """The record at a log position."""
    return b"<%d:%s>" % (position, b"x" * (position * 37 % 90))


def payload(first: int, count: int) -> bytes:
    return b"".join([record(position) for position in range(first, first + count)])


def entry(position: int) -> bytes:
    """Wire bytes of the entry that the record at a position adds."""
    identifier = b"%d-0" % position
    return b"*2\r\n$%d\r\n%s\r\n*2\r\n$1\r\nf\r\n$3\r\nabc\r\n" % (len(identifier), identifier)


def block(first: int, count: int, first_pos: int) -> Block:
    """A sealed block of the entries ``first`` .. ``first + count - 1``."""
    return Block.sealed(
        b"".join([entry(position) for position in range(first, first + count)]), first_pos
    )


def open_store(fs: SimFS, options: StoreOptions = SMALL) -> tuple[Store, list[tuple[int, bytes]]]:
    """Open and replay."""
    store = Store.open(fs, PATH, options)
    return store, list(store.replay())


def fill(store: Store, frames: int, *, each: int = 1) -> None:
    """Commit ``frames`` frames of ``each`` records."""
    for _ in range(frames):
        first = store.next_lsn
        store.commit(memoryview(payload(first, each)), each)


def flush(store: Store, floor: int, *, low_water: int = 0) -> None:
    """Flush what the records up to ``floor`` say."""
    before = store.floor_lsn
    work = store.begin_flush(floor)
    if floor > before:
        for first in range(before + 1, floor + 1, 20):
            count = min(20, floor + 1 - first)
            work.add_run(SID, [block(first, count, first - 1)], [first - 1])
        work.add_run(OTHER_SID + floor, [block(1, 3, 0)], [0])
        work.add_marks(OTHER_SID + before, [(GONE, 3)])
    if low_water:
        work.add_marks(SID, [(GONE, low_water)])
    for key, value in rows_at(floor).items():
        work.add_row(key, value)
    work.add_row(b"gone", None if floor % 2 else b"here")
    work.write()
    work.install()


class EverythingLives:
    """What the marks of a flush did not declare dead is alive."""

    def marks(self, _sid: int) -> Marks:
        return [(GONE, 0)]

    def deleted(self, _sid: int, _start: int, _end: int) -> list[int]:
        return []

    def blank(self, entry: bytes) -> bytes:
        return entry


class InPlace:
    """Merges here and now."""

    def __init__(self, fs: FileSystem) -> None:
        self.fs = fs

    def run(self, request: MergeRequest) -> MergeResult:
        return merge(self.fs, request, lambda _rows: EverythingLives(), lambda: None)

    def cancel(self) -> None:
        """It never runs beside anything."""


def compact(store: Store, merges: int = 1000) -> int:
    """Merge until there is nothing left to merge, or so many times; how many merges there were."""
    for done in range(merges):
        work = store.begin_compaction()
        if work is None:
            return done
        work.run(InPlace(store._fs))
        work.install()
    assert merges < 1000, "it never comes to rest"
    return merges


def rows_at(position: int) -> dict[bytes, bytes]:
    """The rows once the records up to ``position`` are applied."""
    rows = {b"upto": b"%d" % position}
    for at in range(max(1, position - ROW_KEYS + 1), position + 1):
        rows[b"r%d" % (at % ROW_KEYS)] = b"%d" % at
    if position % 2 == 0:
        rows[b"gone"] = b"here"
    return rows


@dataclass
class Progress:
    """What a workload was told: acknowledged as durable, and handed in at most."""

    durable: int = 0
    issued: int = 0
    low_water: int = 0


def check_recovered(store: Store, frames: list[tuple[int, bytes]], progress: Progress) -> int:
    """The store holds exactly the records up to some position; returns it."""
    floor = store.floor_lsn
    last = store.written_lsn
    assert progress.durable <= last <= progress.issued, "acknowledged records are missing"
    expected = floor + 1
    for first, data in frames:
        assert first <= expected, "a hole in the replayed log"
        at = first
        while data:
            assert data.startswith(record(at)), f"record {at} is not what was written"
            data = data[len(record(at)) :]
            at += 1
        expected = at
    assert expected == last + 1
    if floor:
        assert dict(store.scan_rows(b"", None)) == rows_at(floor)
        for key, value in rows_at(floor).items():
            assert store.get_row(key) == value
    position = 0
    for run in store.runs(SID):
        assert run.first_pos >= position
        if position:
            assert run.first_pos == position, "a hole in the stream"
        assert run.first_pos <= progress.low_water or position, "live entries are missing"
        for index in range(run.n_blocks):
            found = store.read_block(run, index)
            assert found.ids() == [(found.first_pos + 1 + i, 0) for i in range(found.count)]
        position = run.end_pos
    assert position in (floor, 0)
    assert position == floor or progress.low_water >= floor, "live entries are missing"
    check_files(store)
    return last


def check_files(store: Store) -> None:
    """Nothing is missing and nothing is left over."""
    fs = simulated(store)
    path = store.path
    segments = {f"{number:08d}.seg" for number in store._version.segments}
    rows = {f"{number:08d}.row" for number in store._version.row_files}
    dictionaries = {f"{number:08d}.dict" for number in store._version.dictionaries}
    assert set(fs.listdir(f"{path}/seg")) == segments | rows | dictionaries
    manifest = f"MANIFEST-{store._manifest.number:08d}"
    names = {"CURRENT", "LOCK", "seg", "wal", manifest}
    assert set(fs.listdir(path)) - {"checkpoints"} == names
    log = store._log
    files = {old.path for old in [*log._older, log._current]} | {s.path for s in log._spares}
    assert {f"{path}/wal/{name}" for name in fs.listdir(f"{path}/wal")} == files


def simulated(store: Store) -> SimFS:
    """The simulated filesystem of a store."""
    fs = store._fs
    assert isinstance(fs, SimFS)
    return fs


def seeded(seed: int) -> random.Random:
    """A generator that names its seed when a test fails."""
    print(f"seed {seed}")
    return random.Random(seed)
