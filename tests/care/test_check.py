"""respq check: sound is what a server wrote, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lsmstore.errors import Locked
from lsmstore.simfs import SimFS
from streams import rowkeys
from streams.keyrow import stream_row
from tests.care.stores import change_rows, copy_of, files, fill, flip, on_disk, respq
from tests.sim.node import PATH, SimNode
from tools.care.verdict import Verdict, judge


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store on the real disk, closed; some of it is in the log alone."""
    path = tmp_path_factory.mktemp("check") / "data"
    node = on_disk(path)
    fill(node)
    node.close()
    return path


@pytest.fixture(scope="module")
def flushed() -> SimFS:
    node = SimNode()
    fill(node)
    node.flush()
    node.close()
    return node.fs


def verdict_of(fs: SimFS) -> Verdict:
    return judge(fs, PATH, lambda _bytes: None)


def test_a_store_is_sound_and_stays_as_it_is(closed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in closed.rglob("*")}
    status, out, err = respq("check", str(closed))
    assert (status, err) == (0, "")
    assert out.startswith("sound: 10 keys, 6 streams, ")
    assert before == {path: path.stat().st_mtime_ns for path in closed.rglob("*")}


def test_json_says_the_same(closed: Path) -> None:
    status, out, err = respq("check", str(closed), "--json")
    assert (status, err) == (0, "")
    verdict = json.loads(out)
    assert verdict["sound"] is True
    assert verdict["findings"] == []
    assert (verdict["keys"], verdict["streams"], verdict["groups"]) == (10, 6, 1)
    assert verdict["records"] > 0
    assert verdict["state_checked"] is True


def test_a_checkpoint_is_checked_like_a_store(tmp_path: Path) -> None:
    node = on_disk(tmp_path / "data")
    fill(node)
    node.call("XQ.CHECKPOINT", "one")
    assert respq("check", str(tmp_path / "data" / "checkpoints" / "one"))[0] == 0
    status, out, err = respq("check", str(tmp_path / "data"))
    assert (status, out) == (2, "")
    assert err.startswith(f"respq check: a server has {tmp_path / 'data'} open; try: respq cli")
    node.close()


@pytest.mark.parametrize("pattern", ["seg/*.seg", "seg/*.row", "wal/*.wal", "MANIFEST-*"])
def test_damage_is_named(closed: Path, tmp_path: Path, pattern: str) -> None:
    copy = copy_of(closed, tmp_path / "copy")
    path = min(copy.glob(pattern))
    flip(path, 100)
    status, out, err = respq("check", str(copy))
    assert status == 1
    assert out.startswith(f"{path.relative_to(copy)} at ")
    assert "\ndamaged: " in out
    assert err.endswith(f"try: respq repair {copy} (it shows its plan)\n")
    status, out, _ = respq("check", str(copy), "--json")
    assert status == 1
    (first, *_) = json.loads(out)["findings"]
    assert first["file"] == str(path.relative_to(copy))


@pytest.mark.parametrize("name", ["CURRENT", "seg", "wal"])
def test_what_is_missing_is_named(closed: Path, tmp_path: Path, name: str) -> None:
    copy = copy_of(closed, tmp_path / "copy")
    for path in [copy / name] if name == "CURRENT" else list((copy / name).iterdir()):
        path.unlink()
    status, out, _ = respq("check", str(copy))
    assert status == 1
    assert "missing" in out


def test_no_store_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    assert respq("check", str(tmp_path))[0] == 2
    assert respq("check", str(tmp_path / "none"))[0] == 2
    assert respq("check")[0] == 2


def test_a_store_that_is_open_is_not_checked(flushed: SimFS) -> None:
    node = SimNode(flushed.kill())
    with pytest.raises(Locked):
        verdict_of(node.fs)


def test_leftovers_of_a_crash_are_no_damage(flushed: SimFS) -> None:
    fs = flushed.kill()
    fs.create(f"{PATH}/seg/00000999.seg").close()
    verdict = verdict_of(fs)
    assert verdict.sound
    assert verdict.leftovers == ["seg/00000999.seg"]


def key_of(name: bytes) -> bytes:
    from cluster.slots import key_slot

    return rowkeys.key_row(1, key_slot(name), name)


def sid_of(fs: SimFS, name: str) -> int:
    node = SimNode(fs.kill())
    stream = node.engine.keyspace.stream(1, name.encode())
    assert stream is not None
    return stream.sid


Change = Callable[[SimFS], dict[bytes, bytes | None]]
WRONG: list[tuple[str, Change]] = [
    ("has no header", lambda fs: {rowkeys.header_row(sid_of(fs, "orders")): None}),
    ("has no key", lambda fs: {key_of(b"orders"): None}),
    ("the directory says", lambda fs: {key_of(b"text1"): None}),
    (
        "are one stream",
        lambda fs: {key_of(b"other"): stream_row(sid_of(fs, "orders"))},
    ),
    (
        "which has no header",
        lambda _: {rowkeys.group_row(999, 1): b"x"},
    ),
    (
        "pending entries of",
        lambda fs: {rowkeys.chunk_row(sid_of(fs, "orders"), 1, 0): None},
    ),
    (
        "is said to share",
        lambda fs: {rowkeys.lent_row(sid_of(fs, "events"), 777): (1).to_bytes(8, "big")},
    ),
    (
        "and no row says so",
        lambda fs: {rowkeys.lent_row(sid_of(fs, "events"), sid_of(fs, "copy0")): None},
    ),
    (
        "expires at another time",
        lambda _: {rowkeys.expiry_row(77, 1, b"text1"): b""},
    ),
    ("in the wrong place", lambda _: {rowkeys.key_row(1, 5, b"odd"): b"\0x"}),
]


@pytest.mark.parametrize(("what", "change"), WRONG, ids=[what for what, _ in WRONG])
def test_rows_that_no_server_writes_are_found(flushed: SimFS, what: str, change: Change) -> None:
    fs = flushed.kill()
    change_rows(fs, change(flushed))
    verdict = verdict_of(fs)
    assert not verdict.sound
    assert any(what in finding.what for finding in verdict.findings), verdict.findings


@pytest.mark.parametrize("dead", [True, False])
def test_a_run_that_is_set_aside_wrongly_is_found(flushed: SimFS, dead: bool) -> None:
    from lsmstore.health import Health
    from lsmstore.manifest import Manifest, read_current, read_manifest
    from lsmstore.version import Edit

    fs = flushed.kill()
    number = read_current(fs, PATH)
    assert number is not None
    version = read_manifest(fs, PATH, number)
    if dead:
        edit = Edit()
        edit.dead(max(version.segments), 1, [sid_of(flushed, "orders")])
        version.apply(bytes(edit.data))
    Manifest(fs, PATH, number + 1, version, Health()).close()
    assert verdict_of(fs).sound == (not dead)


def test_every_file_is_looked_at(flushed: SimFS) -> None:
    """One flip in the middle of each file: of what the manifest names none goes unseen."""
    for path in files(flushed):
        fs = flushed.kill()
        size = len(fs._inode(path).live)
        if path.endswith(".wal"):
            fs.flip_bit(path, 60, 3)
            continue  # at or below the floor there is nothing in it
        fs.flip_bit(path, size // 2, 3)
        assert not verdict_of(fs).sound, path
