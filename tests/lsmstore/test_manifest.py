"""The manifest: edits, snapshots, torn tails, and CURRENT."""

from __future__ import annotations

import errno
import random

import pytest

from lsmstore.errors import Corruption, DiskFull, Poisoned
from lsmstore.health import Health
from lsmstore.manifest import Manifest, manifest_name, read_current, read_manifest
from lsmstore.simfs import LOSE_ALL, MIXED, Rule, SimFS
from lsmstore.version import Edit, LargeRun, RowFileMeta, SegmentMeta, Version
from tests.lsmstore.support import seeded

DIRECTORY = "/m"


def make(fs: SimFS) -> Manifest:
    fs.mkdir(DIRECTORY)
    return Manifest(fs, DIRECTORY, 1, Version(), Health())


def an_edit(n: int, floor: int) -> Edit:
    edit = Edit()
    edit.floor(floor, n * 10)
    edit.next_file(n + 1)
    large = (LargeRun(9, 600, 2),) * (n % 3)
    edit.add_segment(SegmentMeta(n, 1000 + n, floor, n * 10, 3, 40, n % 2, large))
    edit.add_rows(RowFileMeta(n, n, 500, floor, n * 10, 7))
    if n > 2:
        edit.drop_segment(n - 2)
        edit.drop_rows(n - 2)
        edit.dead(n - 1, 70 + n, [5, 6 + n])
        edit.waste(n, 9, 300)
    edit.dictionary(n, b"content %d" % n)
    return edit


def read(fs: SimFS) -> Version:
    number = read_current(fs, DIRECTORY)
    assert number is not None
    return read_manifest(fs, DIRECTORY, number)


def versions(count: int) -> list[Version]:
    """The state after 0, 1, .. edits."""
    made = [Version()]
    for n in range(1, count + 1):
        version = Version()
        version.apply(bytes(made[-1].snapshot().data))
        version.apply(bytes(an_edit(n, made[-1].floor_lsn).data))
        made.append(version)
    return made


def test_what_is_read_is_what_was_appended() -> None:
    fs = SimFS()
    manifest = make(fs)
    expected = versions(6)
    for n in range(1, 7):
        manifest.append(an_edit(n, manifest.version.floor_lsn))
        assert manifest.version == expected[n] == read(fs)
        assert read(fs.crash(random.Random(n), LOSE_ALL)) == expected[n]
    assert manifest.version.dead == {5: {5, 12}}
    assert len(manifest.version.dictionaries) == 6


def test_a_snapshot_leads_to_the_same_state() -> None:
    version = versions(6)[-1]
    again = Version()
    again.apply(bytes(version.snapshot().data))
    assert again == version


def test_only_the_last_edit_may_be_torn_and_no_flip_is_believed() -> None:
    fs = SimFS()
    manifest = make(fs)
    sizes = [manifest.size]
    for n in range(1, 4):
        manifest.append(an_edit(n, manifest.version.floor_lsn))
        sizes.append(manifest.size)
    expected = versions(3)
    path = f"{DIRECTORY}/{manifest_name(1)}"
    for cut in range(sizes[-1]):
        after = fs.kill()
        del after._inode(path).live[cut:]
        if cut < sizes[0] - 48:
            with pytest.raises(Corruption, match="first frame"):
                read(after)
        else:
            whole = sum([size - 48 <= cut for size in sizes]) - 1
            assert read(after) == expected[whole]
    for offset in range(sizes[-1] - 48):
        after = fs.kill()
        after.flip_bit(path, offset, offset % 8)
        try:
            found = read(after)
        except Corruption:
            continue
        assert found == expected[3]
        assert any(size - 48 <= offset < size for size in sizes), "this was no marker"


def test_a_crash_in_append_or_roll_leaves_the_state_before_or_after() -> None:
    for seed in range(20):
        rng = seeded(seed)
        fs = SimFS()
        manifest = make(fs)
        expected = versions(5)
        allowed = expected[:2]

        def check(
            _operation: int,
            _op: str,
            _path: str,
            fs: SimFS = fs,
            rng: random.Random = rng,
            allowed: list[Version] = allowed,
        ) -> None:
            assert read(fs.crash(rng, MIXED)) in allowed

        fs.hook = check
        for n in range(1, 6):
            manifest.append(an_edit(n, manifest.version.floor_lsn))
            allowed[:] = expected[n : n + 2]
            if n in {2, 4}:
                manifest.roll()
        fs.hook = None
        assert fs.listdir(DIRECTORY) == ["CURRENT", manifest_name(3)]
        assert read(fs) == expected[5]


def test_a_full_disk_changes_nothing() -> None:
    for capacity in range(200, 1400, 9):
        fs = SimFS(capacity_bytes=10_000)
        manifest = make(fs)
        expected = versions(2)
        manifest.append(an_edit(1, 0))
        fs.capacity_bytes = capacity
        try:
            manifest.append(an_edit(2, 10))
        except DiskFull:
            assert manifest.version == expected[1] == read(fs)
        try:
            manifest.roll()
        except DiskFull:
            assert read(fs) == manifest.version
        fs.capacity_bytes = None
        if manifest.version == expected[1]:
            manifest.append(an_edit(2, 10))
        manifest.roll()
        assert read(fs.crash(random.Random(0), LOSE_ALL)) == expected[2]
        assert fs.listdir(DIRECTORY) == ["CURRENT", manifest_name(manifest.number)]


@pytest.mark.parametrize("op", ["pwrite", "fdatasync"])
def test_a_failed_write_or_sync_poisons(op: str) -> None:
    fs = SimFS()
    manifest = make(fs)
    rule = fs.inject(Rule(op=op, error=errno.EIO))
    with pytest.raises(Poisoned):
        manifest.append(an_edit(1, 0))
    with pytest.raises(Poisoned):
        manifest.append(an_edit(1, 0))
    with pytest.raises(Poisoned):
        manifest.roll()
    manifest.close()
    assert rule.seen == 1
    assert manifest.version == Version()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x63\x00\x00\x00\x00", "unknown"),
        (b"\x03\x08", "cut short"),
        (b"\x03\x08\x00\x00\x00\x01", "cut short"),
        (b"\x03\x01\x00\x00\x00\x01", "does not fit"),
        (b"\x05\x08\x00\x00\x00" + bytes(8), "does not fit"),
        (b"\x02\x10\x00\x00\x00" + b"\x01" + bytes(15), "does not follow"),
    ],
)
def test_an_edit_that_does_not_follow_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Version().apply(data)


@pytest.mark.parametrize(
    "content", [b"", b"MANIFEST-00000001", b"MANIFEST-1\n", b"MANIFEST-0000000x\n", b"x" * 200]
)
def test_a_current_that_names_no_manifest_is_refused(content: bytes) -> None:
    fs = SimFS()
    make(fs)
    file = fs.open(f"{DIRECTORY}/CURRENT", write=True)
    file.truncate(0)
    file.pwrite(content, 0)
    with pytest.raises(Corruption):
        read(fs)
