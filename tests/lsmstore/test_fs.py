"""The two filesystems: the same answers to the same calls, and what a crash may take back."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from lsmstore.fs import Bytes, FileSystem, OsFile, OsFS, remainder
from lsmstore.simfs import KEEP_ALL, LOSE_ALL, MIXED, Rule, SimFS


@pytest.fixture(params=["os", "sim"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, str]:
    if request.param == "os":
        return OsFS(), str(tmp_path)
    fs = SimFS()
    fs.mkdir("/root")
    return fs, "/root"


def test_both_answer_alike(world: tuple[FileSystem, str]) -> None:
    fs, root = world
    fs.mkdir(f"{root}/a/b")
    fs.mkdir(f"{root}/a/b")
    path = f"{root}/a/b/file"
    assert not fs.exists(path)
    assert not fs.exists(f"{root}/no/such/dir")
    file = fs.create(path)
    with pytest.raises(FileExistsError):
        fs.create(path)
    with pytest.raises(FileNotFoundError):
        fs.open(f"{root}/a/none")
    with pytest.raises(FileNotFoundError):
        fs.unlink(f"{root}/a/none")
    file.pwritev([b"one", bytearray(b"two"), memoryview(b"three"), b""], 2)
    assert file.size() == 13
    assert file.pread(100, 0) == b"\0\0onetwothree"
    assert file.pread(3, 5) == b"two"
    assert file.pread(3, 13) == b""
    file.pwrite(b"XY", 0)
    file.truncate(4)
    assert file.pread(100, 0) == b"XYon"
    file.truncate(6)
    assert file.pread(100, 0) == b"XYon\0\0"
    file.fdatasync()
    fs.link(path, f"{root}/a/b/other")
    fs.rename(path, f"{root}/a/b/moved")
    fs.fsync_dir(f"{root}/a/b")
    assert fs.listdir(f"{root}/a/b") == ["moved", "other"]
    again = fs.open(f"{root}/a/b/other", write=True)
    again.pwrite(b"Z", 0)
    assert file.pread(1, 0) == b"Z"
    fs.unlink(f"{root}/a/b/moved")
    fs.unlink(f"{root}/a/b/other")
    assert file.pread(2, 0) == b"ZY", "an open file outlives its names"
    assert fs.listdir(f"{root}/a/b") == []
    assert fs.free_bytes(root) > 0
    file.close()
    file.close()
    many = [b"%d," % i for i in range(3000)]
    wide = fs.create(f"{root}/wide")
    wide.pwritev(many, 1)
    assert wide.pread(1 << 20, 1) == b"".join(many)
    wide.close()


def test_a_lock_is_held_until_it_is_closed(world: tuple[FileSystem, str]) -> None:
    fs, root = world
    lock = fs.lock(f"{root}/LOCK")
    with pytest.raises(BlockingIOError):
        fs.lock(f"{root}/LOCK")
    lock.close()
    fs.lock(f"{root}/LOCK").close()


def test_what_is_left_of_a_write_that_stopped() -> None:
    buffers: list[Bytes] = [b"abc", bytearray(b"de"), memoryview(b"fgh")]
    for done in range(9):
        assert b"".join(remainder(buffers, done)) == b"abcdefgh"[done:]


def test_short_writes_and_reads_of_the_system_are_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read = os.pwritev, os.pread

    def short_write(fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        return write(fd, [b"".join(buffers)[:5]], offset)

    monkeypatch.setattr(os, "pwritev", short_write)
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: read(fd, min(length, 4), offset))
    file = OsFS().create(str(tmp_path / "file"))
    file.pwritev([b"abcdefg", b"hij", b"klmnopqrstuv"], 3)
    assert file.pread(100, 3) == b"abcdefghijklmnopqrstuv"
    assert file.pread(6, 5) == b"cdefgh"
    monkeypatch.setattr(os, "pwritev", lambda _fd, _buffers, _offset: 0)
    with pytest.raises(OSError, match="no progress"):
        file.pwrite(b"x", 0)
    assert isinstance(file, OsFile)
    file.close()


def crash_many(fs: SimFS, path: str, count: int = 300) -> set[bytes | None]:
    """The contents that ``path`` may have after a crash."""
    found: set[bytes | None] = set()
    for seed in range(count):
        after = fs.crash(random.Random(seed), MIXED)
        found.add(bytes(after._inode(path).live) if after.exists(path) else None)
    return found


def test_what_is_synced_survives_and_what_is_not_may_go_in_any_combination() -> None:
    fs = SimFS()
    fs.mkdir("/d")
    file = fs.create("/d/f")
    file.pwrite(b"aaaa", 0)
    assert None in crash_many(fs, "/d/f"), "the name is not durable"
    fs.fsync_dir("/d")
    assert crash_many(fs, "/d/f") == {b"", b"aaaa"}
    file.fdatasync()
    assert crash_many(fs, "/d/f") == {b"aaaa"}
    file.pwrite(b"b", 1)
    file.pwrite(b"c", 2)
    assert crash_many(fs, "/d/f") == {b"aaaa", b"abaa", b"aaca", b"abca"}
    for policy, expected in ((LOSE_ALL, b"aaaa"), (KEEP_ALL, b"abca")):
        assert bytes(fs.crash(random.Random(0), policy)._inode("/d/f").live) == expected
    assert bytes(fs._inode("/d/f").live) == b"abca", "a crash is of a copy"


def test_a_write_tears_at_sectors() -> None:
    fs = SimFS()
    fs.mkdir("/d")
    file = fs.create("/d/f")
    file.pwrite(bytes(2048), 0)
    file.fdatasync()
    fs.fsync_dir("/d")
    file.pwrite(b"x" * 1500, 100)
    torn = 0
    for content in crash_many(fs, "/d/f"):
        assert content is not None
        sectors = [content[max(100, at) : min(1600, at + 512)] for at in range(0, 2048, 512)]
        assert all(len(set(sector)) == 1 for sector in sectors), "a sector is written whole"
        torn += len({sector[0] for sector in sectors}) == 2
    assert torn > 5


def test_names_go_one_by_one_but_a_rename_is_one_change() -> None:
    fs = SimFS()
    fs.mkdir("/d")
    for name in ("a", "b"):
        fs.create(f"/d/{name}").fdatasync()
    fs.fsync_dir("/d")
    fs.rename("/d/a", "/d/c")
    fs.unlink("/d/b")
    names = {tuple(fs.crash(random.Random(seed), MIXED).listdir("/d")) for seed in range(100)}
    assert names == {("a", "b"), ("b", "c"), ("a",), ("c",)}


def test_a_failed_sync_leaves_the_pages_clean_and_lost() -> None:
    fs = SimFS()
    fs.mkdir("/d")
    file = fs.create("/d/f")
    fs.fsync_dir("/d")
    file.pwrite(b"lost", 0)
    fs.inject(Rule(op="fdatasync", error=errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        file.fdatasync()
    file.fdatasync()
    assert file.pread(4, 0) == b"lost", "it can still be read"
    assert bytes(fs.crash(random.Random(0), KEEP_ALL)._inode("/d/f").live) == b""


def test_a_killed_process_leaves_everything_but_makes_nothing_durable() -> None:
    fs = SimFS()
    fs.mkdir("/d")
    fs.create("/d/f").pwrite(b"data", 0)
    killed = fs.kill()
    assert killed.open("/d/f").pread(9, 0) == b"data"
    assert not killed.crash(random.Random(0), LOSE_ALL).exists("/d/f")


def test_a_full_disk_takes_what_fits_and_gives_back_what_is_removed() -> None:
    fs = SimFS(capacity_bytes=100)
    fs.mkdir("/d")
    one = fs.create("/d/one")
    one.pwrite(bytes(60), 0)
    two = fs.create("/d/two")
    with pytest.raises(OSError, match="No space left") as caught:
        two.pwrite(bytes(60), 0)
    assert caught.value.errno == errno.ENOSPC
    assert two.size() == 40
    assert fs.free_bytes("/d") == 0
    one.pwrite(b"x", 59)
    fs.unlink("/d/two")
    assert fs.free_bytes("/d") == 40
    fs.rename("/d/one", "/d/three")
    assert fs.free_bytes("/d") == 40
    fs.open("/d/three", write=True).truncate(10)
    assert fs.free_bytes("/d") == 90


def test_rules_say_which_operation_fails_and_how() -> None:
    fs = SimFS()
    fs.mkdir("/d")
    rule = fs.inject(Rule(op="pwrite", path="/d/x*", nth=2, times=2, error=errno.EIO))
    file, other = fs.create("/d/x1"), fs.create("/d/y")
    file.pwrite(b"1", 0)
    other.pwrite(b"1", 0)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            file.pwrite(b"2", 0)
    file.pwrite(b"3", 0)
    assert rule.seen == 4
    fs.inject(Rule(op="pread", flip_bit=9))
    assert file.pread(1, 0) == bytes([ord("3") ^ 2]), "bit 9 of one byte is its bit 1"
    fs.clear_rules()
    assert file.pread(1, 0) == b"3"


def test_operations_are_counted_and_reported() -> None:
    fs = SimFS()
    seen: list[tuple[int, str]] = []
    fs.hook = lambda n, op, _path: seen.append((n, op))
    fs.mkdir("/d")
    file = fs.create("/d/f")
    file.pwrite(b"x", 0)
    file.fdatasync()
    fs.fsync_dir("/d")
    file.pread(1, 0)
    assert seen == [(1, "mkdir"), (2, "create"), (3, "pwrite"), (4, "fdatasync"), (5, "fsync_dir")]
