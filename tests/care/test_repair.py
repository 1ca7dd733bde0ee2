"""respq repair: what is left is served again, what is lost is said, and nothing is deleted."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from lsmstore.container import COLUMNS, FRAME
from lsmstore.fs import File, OsFS
from tests.care.stores import (
    COLUMNED,
    WORDY,
    change_rows,
    contents,
    copy_of,
    fill,
    fill_with_measurements,
    fill_with_words,
    flip,
    on_disk,
    respq,
)
from tests.care.wrong_rows import WRONG, Change
from tests.seeds import seeds
from tests.sim.dump import difference, dump
from tests.sim.node import SimNode
from tests.sim.workload import Driver
from tools.care import placing
from tools.care.mend import Builder, Repair


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repair") / "data"
    node = on_disk(path)
    fill(node, rounds=6)
    node.close()
    return path


@pytest.fixture(scope="module")
def state(closed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    node = on_disk(copy_of(closed, tmp_path_factory.mktemp("state") / "data"))
    found = dump(node)
    node.close()
    return found


def repaired(path: Path) -> tuple[dict[str, Any], SimNode]:
    """Show, then repair, then open; the account and a node on what it has become."""
    before = contents(path)
    status, out, err = respq("repair", str(path), "--json")
    assert status == 1
    assert "nothing was changed" in err
    assert contents(path) == before
    plan = json.loads(out)
    status, out, err = respq("repair", str(path), "--yes", "--json")
    account = json.loads(out)
    assert status == 0, (account, err)
    assert plan["losses"] == account["losses"]
    after = contents(path)
    kept = set(after.values())
    for name, data in before.items():
        if ".spare" not in name and name != "CURRENT":
            assert data in kept, f"{name} was deleted"
    assert Path(account["quarantine"], "report.txt").read_text().startswith("damage:\n")
    assert json.loads(Path(account["quarantine"], "report.json").read_text()) == account
    assert respq("check", str(path))[0] == 0
    assert respq("repair", str(path)) == (0, "sound: there is nothing to repair\n", "")
    node = on_disk(path)
    node.check()
    return account, node


def built(path: Path) -> Repair:
    """The new state, beside the damaged one."""
    return Builder(str(path), f"{path}/{placing.WORK}", lambda _bytes: None).build()


def goes_on(node: SimNode, path: Path) -> None:
    """It takes writes, and keeps them."""
    for key in ("orders", "events", "fresh"):
        assert isinstance(node.call("XADD", key, "*", "f", "v"), bytes)
    node.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "orders", ">")
    node.flush()
    before = dump(node)
    node.close()
    assert respq("check", str(path))[0] == 0
    again = on_disk(path)
    assert difference(before, dump(again)) == ""
    again.close()


@pytest.mark.parametrize("names", [["CURRENT"], ["MANIFEST-*"], ["CURRENT", "MANIFEST-*"]])
def test_a_lost_manifest_costs_nothing(
    closed: Path, state: dict[str, bytes], tmp_path: Path, names: list[str]
) -> None:
    path = copy_of(closed, tmp_path / "data")
    for name in names:
        for file in path.glob(name):
            file.unlink()
    account, node = repaired(path)
    assert account["losses"] == []
    found = difference(state, dump(node))
    assert found == ""
    goes_on(node, path)


def test_a_damaged_manifest_costs_nothing(
    closed: Path, state: dict[str, bytes], tmp_path: Path
) -> None:
    path = copy_of(closed, tmp_path / "data")
    (manifest,) = path.glob("MANIFEST-*")
    flip(manifest, 70)
    account, node = repaired(path)
    assert account["losses"] == []
    assert difference(state, dump(node)) == ""
    goes_on(node, path)


def test_a_lost_manifest_with_dictionaries_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data"
    node = on_disk(path, WORDY)
    fill_with_words(node)
    before = dump(node)
    node.close()
    assert len(list(path.glob("seg/*.dict"))) > 0
    for file in path.glob("MANIFEST-*"):
        file.unlink()
    account, again = repaired(path)
    assert account["losses"] == []
    assert difference(before, dump(again)) == ""
    goes_on(again, path)


def entries(node: SimNode, key: str) -> dict[bytes, list[bytes]]:
    return dict(node.call("XRANGE", key, "-", "+"))


@pytest.fixture(scope="module")
def all_entries(
    closed: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[bytes, list[bytes]]]:
    node = on_disk(copy_of(closed, tmp_path_factory.mktemp("entries") / "data"))
    found = {key: entries(node, key) for key in ("orders", "events", "small", "copy0", "copy1")}
    node.close()
    return found


def spots(path: Path, pattern: str, n: int) -> list[tuple[Path, int]]:
    """Some places in some files, header, footer and index among them."""
    rng = random.Random(n)
    found = []
    for i, file in enumerate(sorted(path.glob(pattern))):
        size = file.stat().st_size
        found.append((file, rng.randrange(size)))
        found.append((file, (3, size - 5, size - 60, size - 130)[i % 4]))
    return rng.sample(found, min(n, len(found)))


def test_a_damaged_segment_costs_its_blocks_alone(
    closed: Path,
    all_entries: dict[str, dict[bytes, list[bytes]]],
    tmp_path: Path,
) -> None:
    """Wherever a bit flips: what is left is a part of what was, and what is not is told."""
    lost_some = 0
    for i, (file, offset) in enumerate(spots(closed, "seg/*.seg", 7)):
        path = copy_of(closed, tmp_path / f"data{i}")
        flip(path / file.relative_to(closed), offset, offset % 8)
        account, node = repaired(path)
        for key, before in all_entries.items():
            after = entries(node, key)
            assert after.items() <= before.items(), (file, offset)
            told = sum(
                loss["entries"]
                for loss in account["losses"]
                if loss["key"] == key and loss["what"] == "entries are lost"
            )
            assert len(before) - len(after) == told, (file, offset, account["losses"])
            lost_some += told
        pending = node.call("XPENDING", "orders", "g")
        assert pending[0] > 0
        goes_on(node, path)
    assert lost_some > 0


@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_a_segment_that_is_gone_costs_what_it_held(
    closed: Path,
    all_entries: dict[str, dict[bytes, list[bytes]]],
    tmp_path: Path,
    how: str,
) -> None:
    for i, file in enumerate(sorted(closed.glob("seg/*.seg"))):
        path = copy_of(closed, tmp_path / f"data{i}")
        victim = path / file.relative_to(closed)
        if how == "missing":
            victim.rename(tmp_path / f"gone{i}")
        elif how == "empty":
            victim.write_bytes(b"")
        else:
            os.truncate(victim, victim.stat().st_size * 2 // 3)
        account, node = repaired(path)
        for key, before_entries in all_entries.items():
            after = entries(node, key)
            assert after.items() <= before_entries.items()
            told = sum(loss["entries"] for loss in account["losses"] if loss["key"] == key)
            assert len(before_entries) - len(after) == told
        goes_on(node, path)


def test_damaged_rows_cost_no_entry(
    closed: Path,
    all_entries: dict[str, dict[bytes, list[bytes]]],
    tmp_path: Path,
) -> None:
    """Names may be lost, and groups; entries are found again, under a name that is told."""
    for i, (file, offset) in enumerate(spots(closed, "seg/*.row", 6)):
        path = copy_of(closed, tmp_path / f"data{i}")
        flip(path / file.relative_to(closed), offset, offset % 8)
        account, node = repaired(path)
        keys = [key.decode() for key in node.call("KEYS", "*")]
        found: set[bytes] = set()
        for key in keys:
            if node.call("TYPE", key) == b"stream":
                for ident, fields in node.call("XRANGE", key, "-", "+"):
                    found.add(ident + b" ".join(fields))
        for key in ("orders", "events"):
            wanted = {ident + b" ".join(fields) for ident, fields in all_entries[key].items()}
            assert wanted <= found, (file, offset, account["losses"])
        goes_on(node, path)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_row_files_that_are_gone_cost_names_and_no_entry(
    closed: Path,
    all_entries: dict[str, dict[bytes, list[bytes]]],
    tmp_path: Path,
    how: str,
) -> None:
    for victims in ([0], [-1], None):
        path = copy_of(closed, tmp_path / f"data{victims}")
        files = sorted(path.glob("seg/*.row"))
        for file in files if victims is None else [files[victims[0]]]:
            if how == "missing":
                file.rename(tmp_path / f"gone{file.name}{victims}")
            else:
                file.write_bytes(b"")
        account, node = repaired(path)
        assert account["losses"]
        found: set[bytes] = set()
        for key in node.call("KEYS", "*"):
            if node.call("TYPE", key) == b"stream":
                found.update(ident for ident, _ in node.call("XRANGE", key, "-", "+"))
        assert set(all_entries["orders"]) <= found
        goes_on(node, path)


def test_a_damaged_log_ends_before_its_damage(
    closed: Path, state: dict[str, bytes], tmp_path: Path
) -> None:
    (file,) = closed.glob("wal/*.wal")
    for i, offset in enumerate([50, 400, 2500]):
        path = copy_of(closed, tmp_path / f"data{i}")
        flip(path / file.relative_to(closed), offset, 2)
        if respq("check", str(path))[0] == 0:
            continue
        account, node = repaired(path)
        assert account["lost_records"]["readable"] > 0
        assert account["lost_records"]["last_lsn"] >= account["lost_records"]["first_lsn"]
        names = {entry["sid"] for entry in account["lost_records"]["streams"]}
        assert names
        assert node.store.next_lsn > account["lost_records"]["last_lsn"]
        goes_on(node, path)


@pytest.mark.parametrize(("what", "change"), WRONG, ids=[what for what, _ in WRONG])
def test_rows_that_contradict_each_other_are_mended(
    what: str, change: Change, tmp_path: Path
) -> None:
    memory = SimNode()
    path = tmp_path / "data"
    for node in (memory, on_disk(path)):
        fill(node)
        node.flush()
        node.close()
    change_rows(OsFS(), change(memory.fs), str(path))
    assert respq("check", str(path))[0] == 1
    account, node = repaired(path)
    if what in {"has no header", "has no key", "pending entries of"}:
        assert [loss["sid"] for loss in account["losses"]] == [1]
    else:
        assert account["losses"] == []
    assert len(entries(node, "events")) == 92
    node.close()


def test_all_at_once(closed: Path, tmp_path: Path) -> None:
    path = copy_of(closed, tmp_path / "data")
    for file in [*path.glob("MANIFEST-*"), *path.glob("wal/*.wal"), *path.glob("seg/*")]:
        flip(file, file.stat().st_size // 3, 1)
    account, node = repaired(path)
    assert len(account["findings"]) > 3
    goes_on(node, path)


def test_a_repair_that_was_interrupted_goes_on(
    closed: Path, state: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every rename or link of the last part."""
    rename, link, unlink = os.rename, os.link, os.unlink
    for crash_at in range(1, 40):
        path = copy_of(closed, tmp_path / f"data{crash_at}")
        for file in path.glob("MANIFEST-*"):
            file.unlink()
        done = 0

        def crash(*arguments: str, call: Any, limit: int = crash_at, **more: Any) -> None:
            nonlocal done
            done += 1
            if done == limit:
                raise KeyboardInterrupt
            call(*arguments, **more)

        account = built(path)
        with monkeypatch.context() as patched:
            patched.setattr(os, "rename", lambda *a, **k: crash(*a, **k, call=rename))
            patched.setattr(os, "link", lambda *a, **k: crash(*a, **k, call=link))
            patched.setattr(os, "unlink", lambda *a, **k: crash(*a, **k, call=unlink))
            try:
                placing.put_in_place(str(path), placing.decide(str(path), account))
                placing.finish(str(path))
            except KeyboardInterrupt:
                finished = False
            else:
                finished = True
        if not finished:
            status, out, err = respq("repair", str(path), "--yes")
            assert status == 0, (out, err)
        node = on_disk(path)
        assert difference(state, dump(node)) == ""
        node.close()
        if finished:
            assert crash_at > 5
            return
    raise AssertionError("it never ends")


def without_manifest(closed: Path, path: Path) -> Path:
    copy_of(closed, path)
    for file in path.glob("MANIFEST-*"):
        file.unlink()
    return path


def test_a_repair_that_is_in_place_is_not_done_again(closed: Path, tmp_path: Path) -> None:
    """The crash came after CURRENT was switched; what was written since then stays."""
    path = without_manifest(closed, tmp_path / "data")
    placing.put_in_place(str(path), placing.decide(str(path), built(path)))
    untouched = copy_of(path, tmp_path / "untouched")
    assert respq("repair", str(untouched)) == (0, "sound: there is nothing to repair\n", "")
    assert not (untouched / "repairing").exists()
    node = on_disk(path)
    node.call("XADD", "orders", "99-1", "f", "acknowledged")
    node.flush()
    node.close()
    before = contents(path)
    for more in ([], ["--yes"]):
        status, out, err = respq("repair", str(path), *more)
        assert (status, out) == (1, "")
        assert "CURRENT has changed since" in err
    assert contents(path) == before
    shutil.rmtree(path / "repairing")
    again = on_disk(path)
    assert b"99-1" in entries(again, "orders")
    again.close()


def test_a_decided_repair_is_shown_before_it_is_gone_on_with(
    closed: Path, state: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while it is put in place throws nothing away."""
    path = without_manifest(closed, tmp_path / "data")

    def full(*_: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        patched.setattr(placing, "_move", full)
        status, _, err = respq("repair", str(path), "--yes")
        assert status == 1
        assert "the next repair goes on with it" in err
    before = contents(path)
    status, out, err = respq("repair", str(path))
    assert status == 1
    assert out.startswith("damage:\n")
    assert "to go on" in err
    assert json.loads(respq("repair", str(path), "--json")[1])["losses"] == []
    assert contents(path) == before
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", full)
        status, _, err = respq("repair", str(path), "--yes")
        assert status == 0, err
        assert "the repair is done, but" in err
    node = on_disk(path)
    assert difference(state, dump(node)) == ""
    node.close()


def test_nothing_in_the_quarantine_is_replaced(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "a").write_text(text)
        placing._move(str(tmp_path / "a"), str(tmp_path / "b"))
    assert ((tmp_path / "b").read_text(), (tmp_path / "b.1").read_text()) == ("one", "two")


def test_a_lock_that_is_lost_touches_nothing_of_another_repair(
    closed: Path, tmp_path: Path
) -> None:
    path = without_manifest(closed, tmp_path / "data")
    placing.decide(str(path), built(path))
    lock = OsFS().lock(f"{path}/LOCK")
    assert respq("repair", str(path), "--yes")[0] == 2
    lock.close()
    assert placing.is_complete(str(path))


def test_a_plan_is_shown_of_what_cannot_be_written(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = without_manifest(closed, tmp_path / "data")
    before = contents(path)
    lock = OsFS.lock

    def refused(fs: OsFS, name: str, *, shared: bool = False) -> File:
        if name == f"{path}/LOCK" and not shared:
            raise OSError(errno.EROFS, "Read-only file system")
        return lock(fs, name, shared=shared)

    def other_medium(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(OsFS, "lock", refused)
    monkeypatch.setattr(os, "link", other_medium)
    status, out, err = respq("repair", str(path))
    assert status == 1
    assert "lost: nothing" in out
    assert "nothing was changed" in err
    assert not (path / "repairing").exists()
    assert not (path / "LOCK").exists()
    assert respq("repair", str(path), "--yes")[0] == 1
    assert contents(path) == before


def test_a_manifest_that_lost_its_last_merge_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data"
    node = on_disk(path)
    fill(node, rounds=6)
    for round_ in range(4):
        node.flush()
        node.run()
        node.call("XADD", "orders", f"{50 + round_}-1", "f", "v")
    node.flush()
    node.run()
    before = dump(node)
    node.close()
    (manifest,) = path.glob("MANIFEST-*")
    os.truncate(manifest, manifest.stat().st_size - 60)  # an edit and its marker
    account, again = repaired(path)
    assert account["losses"] == []
    assert difference(before, dump(again)) == ""
    again.close()


def test_a_store_that_is_open_is_left_alone(tmp_path: Path) -> None:
    node = on_disk(tmp_path / "data")
    node.call("SET", "k", "v")
    status, out, err = respq("repair", str(tmp_path / "data"), "--yes")
    assert (status, out) == (2, "")
    assert "a server has" in err
    node.close()
    assert respq("repair", str(tmp_path), "--yes")[0] == 2


@pytest.mark.parametrize("seed", seeds(2))
def test_whatever_is_damaged_the_rest_is_served(seed: int, tmp_path: Path) -> None:
    """Files removed, cut and with flipped bits, several at once, of a store of anything."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    node = on_disk(tmp_path / "data", seed=seed, memtable_bytes=rng.choice((8000, 20_000)))
    driver = Driver(node, rng)
    for _ in range(120):
        driver.step()
    driver.finish()
    node.close()
    for i in range(4):
        path = copy_of(tmp_path / "data", tmp_path / f"damaged{i}")
        victims = [file for file in path.rglob("*") if file.is_file() and ".spare" not in file.name]
        for file in rng.sample(victims, rng.choice((1, 2, 4))):
            how = rng.random()
            if how < 0.2:
                file.unlink()
            elif how < 0.35:
                os.truncate(file, rng.randrange(file.stat().st_size + 1))
            else:
                flip(file, rng.randrange(min(file.stat().st_size, 20_000)), rng.randrange(8))
        if respq("check", str(path))[0] == 0:
            continue
        placing.put_in_place(str(path), placing.decide(str(path), built(path)))
        placing.finish(str(path))
        status, out, _ = respq("check", str(path))
        assert status == 0, out
        again = on_disk(path)
        dump(again)
        assert isinstance(again.call("XADD", "fresh", "*", "f", "v"), bytes)
        again.close()


def test_columns_are_repaired_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "data"
    node = on_disk(path, COLUMNED)
    fill_with_measurements(node)
    before = ids_of(node, "s")
    run = node.engine.keyspace.tables[0][b"s"].runs[0]
    frames = [run.place(i) for i in range(run.n_blocks)]
    frame_heads = [FRAME.unpack_from(run.segment.stored_frame(*place[:2])) for place in frames]
    assert [head[3] for head in frame_heads[:3]] == [COLUMNS] * 3
    name = run.segment.path
    node.close()
    (path / "CURRENT").unlink()
    flip(Path(name), frames[1][0] + 40)
    account, again = repaired(path)
    assert account["losses"]
    lost = run.block_count(1)
    kept = ids_of(again, "s")
    assert set(kept) < set(before)
    assert len(kept) == len(before) - lost
    goes_on(again, path)


def ids_of(node: SimNode, key: str) -> list[bytes]:
    return [entry[0] for entry in node.call("XRANGE", key, "-", "+")]
