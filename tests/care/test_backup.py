"""respq backup and respq restore: what is brought back is what was there, or nothing is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.care.stores import contents, copy_of, fill, flip, on_disk, respq
from tests.servers import Server
from tests.servers import respq as server_on
from tests.sim.dump import difference, dump


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with server_on(tmp_path / "data", appendfsync="everysec") as running:
        yield running


def url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def write(server: Server) -> None:
    with server.connect() as client:
        for n in range(1, 300):
            client.call("XADD", "s", f"{n}-1", "f", "v" * 30)
        client.call("XGROUP", "CREATE", "s", "g", "0")
        client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", "20", "STREAMS", "s", ">")


def test_a_backup_of_a_running_server_is_restored(server: Server, tmp_path: Path) -> None:
    write(server)
    where = tmp_path / "backups" / "monday"
    status, out, err = respq("backup", str(where), "-u", url(server))
    assert status == 0, err
    assert out.startswith(f"{where}: 1 keys, 1 streams, 299 entries, 20 pending, up to record ")
    assert "shares files" in err
    with server.connect() as client:
        client.call("XADD", "s", "900-1", "f", "later")
    target = tmp_path / "restored"
    status, out, err = respq("restore", str(where), "--data-dir", str(target), "--json")
    assert status == 0, err
    assert json.loads(out)["entries"] == 299
    assert err == f"respq restore: to serve it: respq serve --dir {target}\n"
    with server_on(target) as other, other.connect() as client:
        assert client.call("XLEN", "s") == 299
        assert client.call("XPENDING", "s", "g")[0] == 20
        assert client.call("XADD", "s", "901-1", "f", "v") == b"901-1"
    assert respq("check", str(where))[0] == 0, "what was restored from stays as it was"


def test_a_backup_may_share_nothing(server: Server, tmp_path: Path) -> None:
    write(server)
    where = tmp_path / "monday"
    status, out, err = respq("backup", str(where), "--copy", "--json", "-u", url(server))
    assert (status, err) == (0, "")
    outcome = json.loads(out)
    assert outcome["sound"] is True
    assert (outcome["files_linked"], outcome["files_copied"]) == (0, 2)
    assert all(os.stat(file).st_nlink == 1 for file in where.rglob("*") if file.is_file())


def test_a_backup_goes_only_where_nothing_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    status, out, err = respq("backup", str(tmp_path / "full"), "-u", url(server))
    assert (status, out) == (2, "")
    assert err == (
        f"respq backup: {tmp_path / 'full'} is not empty; "
        "try: respq backup with a directory that is new\n"
    )
    status, out, err = respq("backup", str(tmp_path / "data" / "x"), "-u", url(server))
    assert (status, out) == (1, "")
    assert "is within the data directory" in err
    assert "; try: respq cli" in err


def test_no_server_and_no_url_are_told_apart(tmp_path: Path) -> None:
    status, _, err = respq("backup", str(tmp_path / "a"), "-u", "redis://127.0.0.1:1")
    assert status == 1
    assert "no server at redis://127.0.0.1:1" in err
    assert respq("backup", str(tmp_path / "a"), "-u", "http://x")[0] == 2


def test_a_server_elsewhere_is_told_of(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the server's disk were another: what it made is not seen here."""
    write(server)
    exists = os.path.exists
    where = tmp_path / "far"
    monkeypatch.setattr(
        os.path, "exists", lambda path: exists(path) and not str(path).startswith(str(where))
    )
    status, out, err = respq("backup", str(where), "-u", url(server))
    assert (status, out) == (1, "")
    assert "on its own machine" in err
    assert err.endswith(f"try: respq check {where}, on that machine\n")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "data"
    node = on_disk(path)
    fill(node)
    node.close()
    return path


@pytest.mark.parametrize("link", [True, False])
def test_what_is_restored_is_what_was(kept: Path, tmp_path: Path, link: bool) -> None:
    source = copy_of(kept, tmp_path / "source")
    before = contents(source)
    target = tmp_path / "deep" / "target"
    options = ["--link"] if link else []
    assert respq("restore", str(source), "--data-dir", str(target), *options)[0] == 0
    assert contents(source) == before
    node, origin = on_disk(target), on_disk(copy_of(kept, tmp_path / "again"))
    assert difference(dump(origin), dump(node)) == ""
    for n in range(200):
        node.call("XADD", "orders", "*", "f", n)
    node.call("XTRIM", "orders", "MAXLEN", 0)
    node.flush()
    node.close()
    origin.close()
    assert contents(source) == before, "what goes on in the copy is the copy's"


def test_a_damaged_backup_is_not_restored(kept: Path, tmp_path: Path) -> None:
    source = copy_of(kept, tmp_path / "source")
    flip(next(source.glob("seg/*.seg")), 60)
    target = tmp_path / "target"
    status, out, err = respq("restore", str(source), "--data-dir", str(target))
    assert (status, out) == (1, "")
    assert f"try: respq repair {source}" in err
    assert not target.exists()


def test_restore_goes_only_where_nothing_is(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert respq("restore", str(kept), "--data-dir", str(tmp_path))[0] == 2
    assert respq("restore", str(kept), "--data-dir", str(tmp_path / "file"))[0] == 2
    assert respq("restore", str(kept), "--data-dir", str(kept / "inside"))[0] == 2
    assert respq("restore", str(tmp_path / "none"), "--data-dir", str(tmp_path / "x"))[0] == 2
    assert respq("restore", str(kept))[0] == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("existed", [True, False])
def test_a_restore_that_fails_leaves_no_trace(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    target = tmp_path / "target"
    if existed:
        target.mkdir()
    for name in ("MANIFEST", "seg", "wal"):
        from tools.care import copying

        copy_file = copying.copy_file

        def fail(source: str, to: str, progress: copying.Progress, name: str = name) -> None:
            if name in source.removeprefix(str(kept)):
                raise OSError(28, "No space left on device")
            copy_file(source, to, progress)  # noqa: B023

        with monkeypatch.context() as patched:
            patched.setattr(copying, "copy_file", fail)
            status, _, err = respq("restore", str(kept), "--data-dir", str(target))
        assert status == 1
        assert "No space left" in err
        assert target.exists() == existed
        assert not existed or not list(target.iterdir())
    shutil.rmtree(target, ignore_errors=True)
