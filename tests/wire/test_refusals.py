"""What keeps the server from starting, or from writing: one clear line, and nothing is lost."""

from __future__ import annotations

import contextlib
import pathlib
import random
import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import servers
from tests.respclient import Client, Reply, encode
from tests.servers import DidNotStart, Server
from tests.wire.conftest import Starter


def why_not(server: Server) -> str:
    """The one line with which the server refuses to start."""
    with pytest.raises(DidNotStart) as refusal:
        server.start()
    found = re.fullmatch(r"respq ended with ([1-9]\d*): (.+)\n", str(refusal.value))
    assert found is not None, f"not one line: {refusal.value}"
    return found[2]


def test_a_second_server_on_the_directory(start: Starter, tmp_path: pathlib.Path) -> None:
    first = start()
    with first.connect() as client:
        client.call("XADD", "s", "1-1", "f", "v")
        said = why_not(servers.respq(tmp_path / "data"))
        assert str(tmp_path / "data") in said
        assert "use" in said
        assert client.call("XADD", "s", "2-1", "f", "v") == b"2-1"
    first.kill()
    start(directory=tmp_path / "data")  # a killed server holds no lock


def test_a_port_in_use(start: Starter, tmp_path: pathlib.Path) -> None:
    first = start()
    second = servers.respq(tmp_path / "other", "--port", str(first.port))
    said = why_not(second)
    assert str(first.port) in said
    assert "in use" in said


def test_unknown_and_invalid_settings(tmp_path: pathlib.Path) -> None:
    for options, named in [
        (("--appendfsync", "sometimes"), "appendfsync"),
        (("--maxclients", "many"), "maxclients"),
        (("--port", "70000"), "port"),
    ]:
        assert named in why_not(servers.respq(tmp_path / "data", *options))
    assert not (tmp_path / "data").exists()


@contextlib.contextmanager
def mounted(folder: pathlib.Path, options: str) -> Iterator[pathlib.Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_directory(tmp_path: pathlib.Path) -> None:
    with mounted(tmp_path / "disk", "size=1m,ro") as disk:
        said = why_not(servers.respq(disk / "data", log_folder=tmp_path))
        assert str(disk) in said
        assert re.search("read-only|not writable|permission", said, re.IGNORECASE)


def test_a_directory_that_became_read_only(tmp_path: pathlib.Path) -> None:
    with mounted(tmp_path / "disk", "size=64m") as disk:
        server = servers.respq(disk / "data", log_folder=tmp_path)
        with server, server.connect() as client:
            client.call("XADD", "s", "1-1", "f", "v")
            server.stop()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = why_not(server)
        assert str(disk) in said
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with server, server.connect() as client:
            assert client.call("XLEN", "s") == 1
            server.stop()


def test_a_file_where_the_directory_should_be(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    assert str(tmp_path / "data") in why_not(servers.respq(tmp_path / "data"))
    assert (tmp_path / "data").read_text() == "not a directory"


# -- a damaged log


def log_of(server: Server) -> tuple[pathlib.Path, int]:
    """The log file that holds most, and where its content ends."""
    files = [
        (len(path.read_bytes().rstrip(b"\0")), path)
        for path in (server.directory / "wal").iterdir()
        if path.suffix == ".wal"
    ]
    size, path = max(files)
    return path, size


def flip(path: pathlib.Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


@pytest.fixture
def written(start: Starter) -> Server:
    """A killed server whose log holds a thousand entries, each in a frame of its own."""
    server = start(appendfsync="always")
    with server.connect() as client:
        for n in range(1, 1001):
            assert client.call("XADD", "s", f"{n}-1", "field", f"value {n}") == b"%d-1" % n
    server.kill()
    return server


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_damaged_byte_of_the_log_refuses_to_start(written: Server, part: float) -> None:
    path, size = log_of(written)
    flip(path, int(size * part))
    said = why_not(written)
    assert str(path) in said
    offset = re.search(r"offset (\d+)", said)
    assert offset is not None, said
    assert int(offset[1]) <= int(size * part) < int(offset[1]) + 4096
    why_not(written)  # and says so again: nothing was thrown away
    flip(path, int(size * part))
    with written, written.connect() as client:
        assert client.call("XLEN", "s") == 1000


def test_a_torn_end_of_the_log_is_cut_off(written: Server) -> None:
    """The last frame was being written when the power went: it was never acknowledged."""
    path, size = log_of(written)
    with path.open("r+b") as log:
        log.seek(size - 5)
        log.write(b"\0" * 5)
    with written, written.connect() as client:
        length = client.call("XLEN", "s")
        assert 998 <= length <= 1000
        rows = client.call("XRANGE", "s", "-", "+")
        assert [row[0] for row in rows] == [b"%d-1" % n for n in range(1, length + 1)]
        assert client.call("XADD", "s", "2000-1", "f", "v") == b"2000-1"


# -- a full disk

FILLER_BYTES = 16 << 20
SPARE_BYTES = 8 << 20
FULL_S = 1.5  # a flush that found the disk full is tried again after a second
VALUE = random.Random(20261123).randbytes(100_000)  # nothing to compress


def add_until_refused(client: Client, first: int) -> tuple[int, bytes]:
    """Add large entries until one is refused; the number of the last good one, and the refusal."""
    n = first
    while True:
        reply = client.raw("XADD", "s", f"{n}-1", "f", VALUE[: 90_000 + n % 7919])
        if reply.startswith(b"-"):
            return n - 1, reply
        assert reply == b"$%d\r\n%d-1\r\n" % (len(str(n)) + 2, n)
        n += 1
        assert n < 10_000, "the disk never fills"


def add_until_it_stays_full(client: Client, n: int) -> tuple[int, bytes]:
    """``add_until_refused``, until no flush has given room back for longer than one is put off."""
    last, refusal = add_until_refused(client, n)
    since_s = time.monotonic()
    while time.monotonic() - since_s < FULL_S:
        again, refusal = add_until_refused(client, last + 1)
        if again > last:
            last, since_s = again, time.monotonic()
    return last, refusal


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "disk_mib"), [("192mb", 48), ("32mb", 160)])
@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_a_full_disk_refuses_changes_nothing_and_recovers(
    tmp_path: pathlib.Path, appendfsync: str, budget: str, disk_mib: int
) -> None:
    """With a large budget the log meets the end of the disk, with a small one also a flush does."""
    with mounted(tmp_path / "disk", f"size={disk_mib}m") as disk:
        filler = disk / "filler"
        filler.write_bytes(b"\xaa" * FILLER_BYTES)
        (disk / "spare").write_bytes(b"\xaa" * SPARE_BYTES)
        server = servers.respq(
            disk / "data",
            *("--memory-budget", budget),
            appendfsync=appendfsync,
            log_folder=tmp_path,
        )
        with server, server.connect() as client:
            client.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
            last, refusal = add_until_it_stays_full(client, 1)
            assert last > 5
            assert re.match(rb"-(MISCONF|OOM|ERR|DISKFULL) .*(disk|space)", refusal), refusal
            before = client.raw("XINFO", "STREAM", "s")
            assert client.call("XLEN", "s") == last
            for words in (
                [b"XADD", b"s", b"MAXLEN", b"1", b"99999-1", b"f", VALUE],
                [b"XADD", b"new", b"1-1", b"f", VALUE],
            ):
                assert client.raw(*words).startswith(b"-")
            assert client.raw("XINFO", "STREAM", "s") == before, (
                "a refused command changed something"
            )
            assert client.call("EXISTS", "new") == 0
            assert client.call("XRANGE", "s", last, last)[0][0] == b"%d-1" % last
            # What frees space is taken from the reserve.
            assert client.call("XDEL", "s", "1-1") == 1
            assert client.call("XTRIM", "s", "MAXLEN", last - 2) == 1
            filler.unlink()
            assert client.raw("XADD", "s", f"{last + 1}-1", "f", VALUE).startswith(b"$")
            last, refusal = add_until_refused(client, last + 2)
            server.kill()
        with contextlib.suppress(DidNotStart):  # without any room at all it may refuse
            server.start()
        (disk / "spare").unlink()
        with server, server.connect() as client:
            rows = client.call("XRANGE", "s", "-", "+")
            assert [row[0] for row in rows] == [b"%d-1" % n for n in range(3, last + 1)]
            assert client.call("XPENDING", "s", "g")[0] == 0
            assert client.raw("XADD", "s", f"{last + 1}-1", "f", "v").startswith(b"$")


def test_a_file_size_limit_is_a_full_disk_too(start: Starter) -> None:
    """RLIMIT_FSIZE: the kernel's EFBIG instead of ENOSPC."""
    server = start(prefix=("prlimit", "--fsize=8388608"))
    with server.connect() as client:
        last, refusal = add_until_refused(client, 1)
        assert refusal.startswith(b"-")
        assert client.call("XLEN", "s") == last
        assert client.call("PING") == b"PONG"
    server.kill()
    server.start()
    with server.connect() as client:
        assert client.call("XLEN", "s") == last


def test_values_at_the_limit_of_an_argument(start: Starter) -> None:
    """proto-max-bulk-len as set; one byte more closes the connection."""
    server = start("--proto-max-bulk-len", "2mb")
    with server.connect() as client:
        value = b"x" * (2 << 20)
        assert client.call("XADD", "s", "1-1", "f", value) == b"1-1"
        client.send_raw(encode([b"XADD", b"s", b"2-1", b"f"])[:-2].replace(b"*4", b"*5"))
        client.send_raw(b"\r\n$2097153\r\n")
        assert client.read()[1] == Reply("-", b"ERR Protocol error: invalid bulk length")
        assert client.read_to_end() == b""
    with server.connect() as client:
        assert client.call("XRANGE", "s", "-", "+") == [[b"1-1", [b"f", value]]]
