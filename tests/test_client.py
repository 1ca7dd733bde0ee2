"""`respq cli`: one command or many, to respq and to Redis, for people and for programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tools.client import as_json, plain, pretty


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    directory = tmp_path_factory.mktemp("cli")
    path = directory / "respq.sock"
    with servers.respq(directory / "data", "--unixsocket", str(path), presents="8.2.3") as started:
        yield started


def cli(*arguments: str, typed: bytes = b"") -> tuple[int, str, str]:
    """Run it; exit status, standard output and standard error."""
    done = subprocess.run(
        [servers.RESPQ, "cli", *arguments], input=typed, capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def url(server: servers.Server, database: int = 0) -> str:
    return f"redis://127.0.0.1:{server.port}/{database}"


def test_one_command(server: servers.Server) -> None:
    assert cli("-u", url(server), "XADD", "s", "1-1", "f", "v") == (0, "1-1\n", "")
    assert cli("--url", url(server), "--", "XRANGE", "s", "-", "+") == (0, "1-1\nf\nv\n", "")
    assert cli("-u", url(server, 3), "XLEN", "s") == (0, "0\n", "")
    assert cli("-u", url(server), "GET", "nothing") == (0, "\n", "")
    assert cli("-u", url(server), "ECHO", "--json") == (0, "--json\n", "")


def test_json(server: servers.Server) -> None:
    status, out, _ = cli("--json", "-u", url(server), "CONFIG", "GET", "databases")
    assert (status, json.loads(out)) == (0, {"databases": "16"})
    assert cli("--json", "-u", url(server), "GET", "nothing") == (0, "null\n", "")
    status, out, _ = cli("--json", "-u", url(server), "INCR")
    assert status == 1
    assert json.loads(out) == {"error": "ERR wrong number of arguments for 'incr' command"}


def test_commands_from_standard_input(server: servers.Server) -> None:
    typed = b'SET k "a b\\x00c"\r\n\nGET\nSTRLEN k\n'
    status, out, err = cli("-u", url(server), typed=typed)
    assert (status, err) == (1, "")
    assert out == "OK\nERR wrong number of arguments for 'get' command\n5\n"
    status, out, err = cli("-u", url(server), typed=b"PING\nSET k 'a\n")
    assert (status, out) == (1, "PONG\n")
    assert "line 2: quotes are not balanced" in err


def test_a_unix_socket(server: servers.Server) -> None:
    path = server.directory.parent / "respq.sock"
    assert cli("-u", f"unix://{path}", "PING") == (0, "PONG\n", "")
    status, out, _ = cli("--json", "-u", f"unix://{path}", "CLIENT", "INFO")
    assert status == 0
    assert f"addr={path}:0 laddr={path}:0 " in json.loads(out)


def test_messages_are_printed_as_they_come(server: servers.Server) -> None:
    listening = subprocess.Popen(
        [servers.RESPQ, "cli", "--json", "-u", url(server), "SUBSCRIBE", "news"],
        stdout=subprocess.PIPE,
    )
    assert listening.stdout is not None
    try:
        assert json.loads(listening.stdout.readline()) == ["subscribe", "news", 1]
        assert cli("-u", url(server), "PUBLISH", "news", "hello")[1] == "1\n"
        assert json.loads(listening.stdout.readline()) == ["message", "news", "hello"]
    finally:
        listening.kill()
        listening.communicate()


def test_what_is_in_the_way_is_one_line(tmp_path: Path) -> None:
    port = servers.free_port()
    status, out, err = cli("-u", f"redis://127.0.0.1:{port}", "PING")
    assert (status, out) == (1, "")
    assert err.count("\n") == 2
    assert err.endswith("Try: respq serve          starts a server\n")
    assert f"127.0.0.1:{port}" in err
    assert cli("-u", "nonsense://x", "PING")[0] == 2


def test_forms_of_replies() -> None:
    value = [1, None, b"a", [b"\xff", []], {b"k": True, 2: 1.5}, ValueError("no")]
    assert as_json(value) == [1, None, "a", ["\\xff", []], {"k": True, "2": 1.5}, {"error": "no"}]
    assert list(plain(value)) == ["1", "", "a", "\\xff", "k", "True", "2", "1.5", "no"]
    assert list(pretty([[b"1-1", [b"f", b"v"]], [], None, 7])) == [
        '1) 1) "1-1"',
        '   2) 1) "f"',
        '      2) "v"',
        "2) (empty array)",
        "3) (nil)",
        "4) (integer) 7",
    ]
    assert list(pretty([b"x"] * 10))[8:] == [' 9) "x"', '10) "x"']
