"""`respq bench --server`: a running server in the place of redis, left as it was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import servers
from tools.bench.command import bench

TINY = ("--rounds", "1", "--seconds", "0.2", "--entries", "2000")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.redis(tmp_path_factory.mktemp("given") / "redis", 8) as server:
        yield server


def measure(url: str, *words: str) -> Result:
    return CliRunner().invoke(bench, [*TINY, "--server", url, *words], catch_exceptions=False)


def test_a_given_server_is_measured_and_left_as_it_was(given: servers.Server) -> None:
    url = f"redis://127.0.0.1:{given.port}"
    with given.connect() as client:
        client.call("XADD", "mine", "1-0", "f", "v")
        rows = "read-100,blocked,recovery"
        done = measure(url, "--rows", rows, "--json")
        assert done.exit_code == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["machine"]["redis"] == url
        assert {row["name"]: row["durability"] for row in told["rows"]} == {
            "read-100": ["everysec", "memory"],
            "blocked": ["everysec", "memory"],
        }
        assert "recovery: not with a given server, which is not killed" in done.stderr
        assert client.call("KEYS", "*") == [b"mine"]
        table = measure(url, "--rows", "ping").stdout
        assert "everysec / memory" in table
        assert client.call("DBSIZE") == 1


def test_what_would_be_lost_is_named(given: servers.Server) -> None:
    with given.connect() as client:
        client.call("XADD", "bench", "1-0", "f", "v")
        done = measure(f"redis://127.0.0.1:{given.port}", "--rows", "read-100")
        assert done.exit_code == 1
        assert "has a key bench, which would be lost" in done.stderr
        assert client.call("XLEN", "bench") == 1
        client.call("DEL", "bench")


@pytest.mark.parametrize("url", ["rediss://x", "redis://:pw@x", "redis://x/3", "unix:///x"])
def test_servers_that_cannot_be_measured(url: str) -> None:
    done = measure(url, "--rows", "ping")
    assert done.exit_code == 1
    assert "a given server is redis://host:port" in done.stderr


def test_nobody_there(tmp_path: Path) -> None:
    port = servers.free_port()
    done = measure(f"redis://127.0.0.1:{port}", "--rows", "ping,read-100,blocked")
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: 127.0.0.1:{port}: ")
