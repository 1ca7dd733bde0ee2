"""Starting and stopping `respq serve` for real: one clear line for whatever is in the way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import servers


def refused(*options: str) -> str:
    """Start a server that must not come up; what it says."""
    done = subprocess.run(
        [servers.RESPQ, "serve", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("respq serve: ")
    return done.stderr


def test_the_start_line_tells_what_there_is(tmp_path: Path) -> None:
    with servers.respq(tmp_path / "data", appendfsync="always") as server:
        with server.connect() as client:
            client.call("XADD", "a", "1-1", "f", "v")
            client.call("SET", "b", "v")
        line = server.log_text()
        assert f"127.0.0.1:{server.port}" in line
        assert str(tmp_path / "data") in line
        assert "always" in line
        assert re.search(r"recovered 0 records, 0 keys in \d+ ms", line)
        assert line.count("\n") == 1
        assert server.kill() == -9
        server.start()
        assert re.search(r"recovered [1-9]\d* records, 2 keys in \d+ ms", server.log_text())


def test_a_free_port_is_taken_and_named(tmp_path: Path) -> None:
    server = servers.respq(tmp_path / "data", "--port", "0")
    process = subprocess.Popen(
        [servers.RESPQ, "serve", "--port", "0", "--dir", str(tmp_path / "other")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found is not None
            server.port = int(found[1])
            with server.connect() as client:
                assert client.call("PING") == b"PONG"
        finally:
            process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("stop", ["TERM", "INT"])
def test_a_signal_stops_cleanly(stop: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [servers.RESPQ, "serve", "--port", "0", "--dir", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() != ""
        subprocess.run(["kill", f"-{stop}", str(process.pid)], check=True)
        assert process.wait(30) == 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with servers.respq(tmp_path / "data") as server:
        line = refused("--port", str(server.port), "--dir", str(tmp_path / "other"))
        assert f"port {server.port} is in use" in line


def test_a_second_server_on_the_directory_is_refused(tmp_path: Path) -> None:
    with servers.respq(tmp_path / "data"):
        line = refused("--port", "0", "--dir", str(tmp_path / "data"))
        assert f"{tmp_path / 'data'} is in use by another process" in line


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "data"):
        assert str(directory) in refused("--port", "0", "--dir", str(directory))
    # No process may write there, not even the superuser's.
    assert "/proc/respq" in refused("--port", "0", "--dir", "/proc/respq")


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    options = ["--port", "0", "--dir", str(tmp_path / "data")]
    assert "192.0.2.1" in refused(*options, "--bind", "192.0.2.1")
    assert "none of the addresses -192.0.2.1" in refused(*options, "--bind", "-192.0.2.1")
