"""The door: who may open, what a damaged or foreign directory gets, what figures there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lsmstore.errors import (
    DiskFull,
    InputOutputError,
    Locked,
    ReadOnlyDir,
    StorageError,
    translate,
)
from lsmstore.fs import OsFS
from lsmstore.options import StoreOptions
from lsmstore.simfs import Rule, SimFS
from lsmstore.store import Store
from tests.lsmstore.support import PATH, SMALL, fill, flush, open_store, record

HOLDER = """
import sys
from lsmstore.fs import OsFS
from lsmstore.store import Store
store = Store.open(OsFS(), sys.argv[1])
assert list(store.replay()) == []
store.commit(memoryview(b"held"), 1)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Locked, match="in use by another process"):
            Store.open(OsFS(), str(tmp_path))
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    store = Store.open(OsFS(), str(tmp_path))
    assert list(store.replay()) == [(1, b"held")]
    store.close()


def test_a_store_opened_twice_in_a_process_is_refused_and_closing_frees_it(tmp_path: Path) -> None:
    store = Store.open(OsFS(), str(tmp_path))
    with pytest.raises(Locked):
        Store.open(OsFS(), str(tmp_path))
    store.close()
    store = Store.open(OsFS(), str(tmp_path))
    assert list(store.replay()) == []
    store.close()
    Store.open(OsFS(), str(tmp_path)).close()


def test_a_directory_that_cannot_be_written_is_named() -> None:
    for number, kind in (
        (13, ReadOnlyDir),
        (30, ReadOnlyDir),
        (28, DiskFull),
        (5, InputOutputError),
    ):
        fs = SimFS()
        fs.inject(Rule(op="create", path="*/LOCK", error=number))
        with pytest.raises(kind, match=PATH):
            Store.open(fs, PATH)
        fs = SimFS()
        fs.inject(Rule(op="mkdir", error=number))
        with pytest.raises(kind, match=PATH):
            Store.open(fs, PATH)


def test_a_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        Store.open(OsFS(), str(tmp_path / "file"))


def test_errors_of_the_system_get_their_own_names() -> None:
    assert isinstance(translate(OSError(122, "Quota exceeded"), "p"), DiskFull)
    assert isinstance(translate(PermissionError(1, "no"), "p"), ReadOnlyDir)
    assert "p: odd" in str(translate(OSError(99, "odd"), "p"))


def test_a_full_disk_at_opening_changes_nothing() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 10)
    store.close()
    used = fs._used
    for name in fs.listdir(f"{PATH}/wal"):
        if name.endswith(".spare"):
            fs.unlink(f"{PATH}/wal/{name}")
    fs.capacity_bytes = fs._used
    assert fs._used <= used
    for _ in range(3):
        with pytest.raises(DiskFull):
            open_store(fs)
    fs.capacity_bytes = None
    again, frames = open_store(fs)
    assert [first for first, _ in frames] == list(range(1, 11))
    again.close()


def test_replay_begins_at_the_frame_that_holds_the_first_record_above_the_floor() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 3, each=10)
    flush(store, 15)
    again, frames = open_store(fs.kill())
    assert [first for first, _ in frames] == [11, 21]
    assert frames[0][1].startswith(record(11))
    assert again.next_lsn == 31
    assert (again.replayed_frames, again.floor_lsn) == (2, 15)


def test_each_opening_is_an_epoch_and_old_files_do_not_pile_up() -> None:
    fs = SimFS()
    for epoch in range(1, 30):
        store, _ = open_store(fs)
        assert store.epoch == epoch
        fill(store, 1)
        flush(store, store.written_lsn)
        store.close()
    assert len(fs.listdir(f"{PATH}/wal")) <= 5


def test_opening_without_replaying_changes_nothing() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 10)
    store.close()
    before = fs.operations
    Store.open(fs, PATH, SMALL).close()
    half = Store.open(fs, PATH, SMALL)
    assert next(half.replay())[0] == 1
    half.close()
    assert fs.operations == before


def test_figures_are_plain_numbers_and_add_up(tmp_path: Path) -> None:
    store = Store.open(OsFS(), str(tmp_path), SMALL)
    assert list(store.replay()) == []
    fill(store, 20, each=2)
    store.sync()
    flush(store, 30)
    stats = store.stats()
    assert all(isinstance(value, int) for value in stats.values())
    assert stats["written_lsn"] == stats["synced_lsn"] == 40
    assert stats["log_frames"] == 20
    assert stats["segment_entries"] == 30 + 3
    assert stats["rows"] >= 8
    on_disk = sum([file.stat().st_size for file in (tmp_path / "seg").iterdir()])
    assert stats["segment_bytes"] + stats["row_bytes"] == on_disk
    log = sum([file.stat().st_size for file in (tmp_path / "wal").iterdir()])
    assert stats["log_bytes_on_disk"] == log
    store.close()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        store = Store.open(OsFS(), str(tmp_path), SMALL)
        for _ in store.replay():
            pass
        fill(store, 60, each=3)
        store.sync()
        store.prepare_spare()
        flush(store, store.written_lsn)
        store.close()
        del store
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "sizes",
    [
        {"log_file_bytes_min": 100},
        {"log_file_bytes_min": 1 << 20, "log_file_bytes_max": 4096},
        {"log_reserve_bytes": 1 << 20},
        {"log_spares_max": 0},
        {"row_files_max": 1},
    ],
)
def test_sizes_that_contradict_each_other_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"log|row"):
        StoreOptions(**sizes)
