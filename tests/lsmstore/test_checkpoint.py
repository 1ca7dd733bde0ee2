"""A checkpoint is the store of one moment, whatever goes on beside it; or it leaves no trace."""

from __future__ import annotations

import errno
import random

import pytest

from lsmstore.checkpoint import Checkpoint, Refused, checkpoint_path
from lsmstore.errors import DiskFull, Locked, StorageError
from lsmstore.manifest import CURRENT
from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, Rule, SimFS
from lsmstore.store import Store
from lsmstore.view import StoreView
from tests.lsmstore.support import (
    PATH,
    SMALL,
    InPlace,
    Progress,
    check_recovered,
    compact,
    fill,
    flush,
    open_store,
    rows_at,
    simulated,
)

WHERE = "/elsewhere/copies/one"


def filled(fs: SimFS | None = None) -> Store:
    """A store with segments, row files and several log files above its floor."""
    store, _ = open_store(SimFS() if fs is None else fs)
    for floor in (25, 60):
        fill(store, floor - store.written_lsn)
        store.sync()
        flush(store, floor)
    fill(store, 40, each=5)
    return store


def take(store: Store, path: str = WHERE) -> Checkpoint:
    checkpoint = store.begin_checkpoint(path)
    checkpoint.write()
    checkpoint.end()
    return checkpoint


def check_copy(fs: SimFS, lsn: int, path: str = WHERE) -> None:
    """What is there is the store at ``lsn``, and takes writes."""
    view = StoreView.open(fs, path, SMALL)
    frames = list(view.replay())
    assert frames == [] or frames[-1][0] <= lsn
    view.close()
    store = Store.open(fs, path, SMALL)
    frames = list(store.replay())
    assert store.written_lsn == lsn
    assert check_recovered(store, frames, Progress(lsn, lsn)) == lsn
    fill(store, 5)
    store.close()


@pytest.mark.parametrize("commits", [0, 1, 7])
def test_it_is_the_store_of_that_moment(commits: int) -> None:
    store = filled()
    fs = simulated(store)
    if commits:
        flush(store, store.written_lsn)
        fill(store, commits)
    checkpoint = store.begin_checkpoint(WHERE)
    fill(store, 9)  # not part of it
    checkpoint.write()
    checkpoint.end()
    assert checkpoint.linked == 4 + 2 * bool(commits)
    assert checkpoint.copied == 0
    check_copy(fs.crash(random.Random(0), LOSE_ALL), checkpoint.lsn)
    store.close()


def test_only_what_is_above_the_floor_is_copied_of_the_log() -> None:
    store = filled()
    flush(store, store.written_lsn)
    fill(store, 2)
    assert take(store).bytes_written < 2000
    store.close()


def test_files_that_go_meanwhile_can_still_be_linked() -> None:
    store = filled()
    fs = simulated(store)
    for _ in range(3):
        flush(store, store.written_lsn)
        fill(store, 20)
    merge = store.begin_compaction()
    assert merge is not None
    merge.run(InPlace(fs))
    checkpoint = store.begin_checkpoint(WHERE)
    merge.install()
    assert compact(store) > 0
    while store.is_untidy:
        store.prepare_spare()
    assert len(store._files.obsolete) > 0, "they wait, and nobody is asked to remove them"
    checkpoint.write()
    checkpoint.end()
    assert store.is_untidy
    while store.is_untidy:
        store.prepare_spare()
    names = set(fs.listdir(f"{PATH}/seg"))
    assert len(set(fs.listdir(f"{WHERE}/seg")) - names) > 2, "they went"
    check_copy(fs.kill(), checkpoint.lsn)
    store.close()


def test_log_files_are_not_recycled_meanwhile() -> None:
    store = filled()
    fs = simulated(store)
    checkpoint = store.begin_checkpoint(WHERE)
    for _ in range(3):
        fill(store, 40, each=5)
        store.sync()
        flush(store, store.written_lsn)
    held = len(store._log._older)
    checkpoint.write()
    checkpoint.end()
    assert len(store._log._older) < held
    check_copy(fs.kill(), checkpoint.lsn)
    store.close()


def test_a_flush_may_be_under_way() -> None:
    """Its rows are not part of the checkpoint, its records are."""
    store = filled()
    fs = simulated(store)
    work = store.begin_flush(store.written_lsn)
    for key, value in rows_at(store.written_lsn).items():
        work.add_row(key, value)
    work.write()
    checkpoint = store.begin_checkpoint(WHERE)
    work.install()
    checkpoint.write()
    checkpoint.end()
    view = StoreView.open(fs, WHERE, SMALL)
    assert view.floor_lsn == 60
    assert dict(view.scan_rows(b"", None)) == rows_at(60)
    assert sum(payload.count(b"<") for _, payload in view.replay()) == checkpoint.lsn - 60
    view.close()
    store.close()


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM])
def test_where_nothing_can_be_linked_all_is_copied(error: int) -> None:
    store = filled()
    fs = simulated(store)
    fs.inject(Rule("link", times=1 << 30, error=error))
    checkpoint = take(store)
    assert (checkpoint.linked, checkpoint.copied) == (0, 4)
    fs.clear_rules()
    check_copy(fs.crash(random.Random(0), LOSE_ALL), checkpoint.lsn)
    store.close()


OPERATIONS = ["mkdir", "link", "create", "pwrite", "pread", "fdatasync", "fsync_dir", "rename"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("op", OPERATIONS)
def test_one_that_fails_leaves_no_trace(op: str, error: int) -> None:
    store = filled()
    fs = simulated(store)
    fs.mkdir("/elsewhere")
    failed = 0
    for nth in range(1, 60):
        path = f"{PATH}/wal/*" if op == "pread" else "/elsewhere*"
        rule = fs.inject(Rule(op, path, nth=nth, error=error))
        checkpoint = store.begin_checkpoint(WHERE)
        try:
            checkpoint.write()
        except DiskFull:
            failed += 1
            assert error == errno.ENOSPC
        except StorageError:
            failed += 1
            assert error == errno.EIO or op not in {"pwrite", "create"}
        else:
            checkpoint.end()
            break
        finally:
            fs.clear_rules()
        assert rule.seen == nth
        checkpoint.end()
        assert fs.listdir("/elsewhere") == []
    assert failed > 0
    check_copy(fs.kill(), checkpoint.lsn)
    fill(store, 3)
    flush(store, store.written_lsn)
    store.close()


@pytest.mark.parametrize("policy", [LOSE_ALL, KEEP_ALL, MIXED])
def test_a_crash_leaves_a_whole_one_or_none(policy: object) -> None:
    store = filled()
    fs = simulated(store)
    rng = random.Random(7)
    found: list[SimFS] = []
    fs.hook = lambda _operation, _op, _path: found.append(fs.crash(rng, policy))  # type: ignore[arg-type]
    checkpoint = take(store)
    fs.hook = None
    whole = 0
    for disk in found:
        if disk.exists(f"{WHERE}/{CURRENT}"):
            whole += 1
            check_copy(disk, checkpoint.lsn)
        store_again, _ = open_store(disk)
        store_again.close()
    assert 0 < whole < len(found)
    store.close()


def test_one_at_a_time() -> None:
    store = filled()
    first = store.begin_checkpoint(WHERE)
    with pytest.raises(StorageError, match="under way"):
        store.begin_checkpoint("/elsewhere/two")
    first.write()
    first.end()
    take(store, "/elsewhere/two")
    store.close()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "needs the name"),
        ("/", "needs the name"),
        (".", "needs the name"),
        ("a\0b", "needs the name"),
        ("../a", "without"),
        ("/a/../b", "without"),
        (f"{PATH}/seg/a", "within the data directory"),
        (PATH, "within the data directory"),
        (f"{PATH}/checkpoints", "within the data directory"),
        ("full", "not empty"),
        ("full/a", "is a store itself"),
        (f"{WHERE}/a/b", "is a store itself"),
        ("file", "no such directory"),
    ],
)
def test_it_goes_only_where_it_harms_nobody(name: str, why: str) -> None:
    store = filled()
    fs = store.fs
    take(store, f"{store.checkpoint_directory}/full")
    take(store)
    fs.create(f"{PATH}/checkpoints/file").close()
    with pytest.raises(Refused, match=why):
        checkpoint_path(fs, PATH, name)
    store.close()


def test_names_are_found_below_checkpoints() -> None:
    store = filled()
    assert checkpoint_path(store.fs, PATH, "a//b/./c/") == f"{PATH}/checkpoints/a/b/c"
    assert checkpoint_path(store.fs, PATH, "//tmp/x/") == "/tmp/x"
    store.fs.mkdir("/tmp/x")
    assert checkpoint_path(store.fs, PATH, "/tmp/x") == "/tmp/x", "an empty directory"
    store.close()


def test_a_store_that_is_open_is_not_read_beside_it() -> None:
    store = filled()
    with pytest.raises(Locked):
        StoreView.open(store.fs, PATH, SMALL)
    store.close()
    fs = simulated(store)
    before = fs.operations
    view = StoreView.open(fs, PATH, SMALL)
    list(view.replay())
    view.close()
    assert fs.operations == before, "it wrote"
