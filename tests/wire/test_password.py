"""requirepass, and what somebody who has not given it may send."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests import servers
from tests.respclient import Client, Reply, encode
from tests.servers import Server

NOAUTH = b"-NOAUTH Authentication required.\r\n"
LIMITS = {
    "eleven arguments": b"*11\r\n",
    "ten arguments": b"*10\r\n" + b"$1\r\nx\r\n" * 10,
    "a million arguments": b"*1000000\r\n",
    "a bulk of 16385 bytes": b"*1\r\n$16385\r\n",
    "a bulk of 16384 bytes": b"*1\r\n$16384\r\n" + b"x" * 16384 + b"\r\n",
    "a bulk of 512 MB": b"*2\r\n$4\r\nAUTH\r\n$536870912\r\n",
}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: pathlib.Path = tmp_path_factory.mktemp("locked")
    with servers.respq(folder / "data", password="se cret") as server:
        yield server


@pytest.fixture(scope="module")
def locked_voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: pathlib.Path = tmp_path_factory.mktemp("locked-voice")
    with servers.redis(folder / "redis", 8, password="se cret") as server:
        yield server


def both(locked: Server, locked_voice: Server, *words: bytes | str) -> bytes:
    """The reply of respq to a newcomer's command, which is that of Redis."""
    found = []
    for server in (locked_voice, locked):
        with Client(server.host, server.port) as client:
            found.append(client.raw(*words))
    assert found[0] == found[1]
    return found[1]


@pytest.mark.parametrize(
    "words",
    [
        ("PING",),
        ("XADD", "s", "*", "f", "v"),
        ("XREAD", "BLOCK", "0", "STREAMS", "s", "$"),
        ("XADD",),
        ("COMMAND",),
        ("CLIENT", "ID"),
        ("CONFIG", "GET", "requirepass"),
        ("INFO",),
        ("HELLO",),
        ("HELLO", "3"),
        ("HELLO", "3", "SETNAME", "x"),
        ("NOSUCHCOMMAND",),
        ("AUTH", "wrong"),
        ("AUTH", "default", "wrong"),
        ("AUTH", "nobody", "se cret"),
        ("HELLO", "3", "AUTH", "default", "wrong"),
        ("AUTH",),
        ("QUIT",),
        ("RESET",),
    ],
)
def test_a_newcomer_is_answered_as_by_redis(
    locked: Server, locked_voice: Server, words: tuple[str, ...]
) -> None:
    both(locked, locked_voice, *words)


def test_the_password_opens(locked: Server) -> None:
    with Client(locked.host, locked.port) as client:
        assert client.raw("XLEN", "s") == NOAUTH
        assert client.raw("AUTH", "wrong").startswith(b"-WRONGPASS ")
        assert client.raw("XLEN", "s") == NOAUTH
        assert client.raw("AUTH", "se cret") == b"+OK\r\n"
        assert client.raw("XLEN", "s") == b":0\r\n"
        assert client.raw("RESET") == b"+RESET\r\n"
        assert client.raw("XLEN", "s") == NOAUTH
        reply = client.call("HELLO", "3", "AUTH", "default", "se cret", "SETNAME", "me")
        assert reply[b"proto"] == 3
        assert client.call("CLIENT", "GETNAME") == b"me"


@pytest.mark.parametrize("name", LIMITS)
def test_limits_before_the_password(locked: Server, locked_voice: Server, name: str) -> None:
    found = []
    for server in (locked_voice, locked):
        with Client(server.host, server.port) as client:
            client.send_raw(LIMITS[name])
            client.socket.shutdown(1)
            found.append(client.read_to_end())
    assert found[0] == found[1]


def test_limits_are_gone_behind_the_password(locked: Server) -> None:
    with locked.connect() as client:
        words = [b"XADD", b"s", b"1-1", *(b"f%d" % i for i in range(1000))]
        assert client.raw(*words) == b"$3\r\n1-1\r\n"
        assert client.raw("ECHO", "x" * 20000) == b"$20000\r\n" + b"x" * 20000 + b"\r\n"
        client.send_raw(encode([b"DEL", b"s"]))
        assert client.read()[1] == Reply(":", 1)


def test_a_password_set_later(tmp_path: pathlib.Path) -> None:
    """Those who are in stay in; newcomers are asked."""
    with servers.respq(tmp_path / "data") as server, server.connect() as old:
        assert old.call("CONFIG", "SET", "requirepass", "new") == b"OK"
        assert old.call("PING") == b"PONG"
        with Client(server.host, server.port) as client:
            assert client.raw("PING") == NOAUTH
            assert client.raw("AUTH", "new") == b"+OK\r\n"
        assert old.call("CONFIG", "SET", "requirepass", "") == b"OK"
        with Client(server.host, server.port) as client:
            assert client.raw("PING") == b"+PONG\r\n"
