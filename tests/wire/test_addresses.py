"""Where the server listens and whom it lets in: TCP, IPv6, Unix sockets; limits on clients."""

from __future__ import annotations

import pathlib
import socket
import stat

import pytest

from tests import servers
from tests.respclient import Client, Closed
from tests.wire.conftest import Starter
from tests.wire.test_refusals import why_not


class UnixClient(Client):
    """A client on a Unix socket."""

    def __init__(self, path: pathlib.Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self._buffer = bytearray()
        self._at = 0
        self.proto = 2


def test_a_unix_socket(start: Starter, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "respq.sock"
    server = start("--unixsocket", str(path), "--unixsocketperm", "700")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert str(path) in server.log_text()
    with UnixClient(path) as client, server.connect() as other:
        assert client.call("XADD", "s", "1-1", "f", "v") == b"1-1"
        assert other.call("XLEN", "s") == 1
        described = client.call("CLIENT", "INFO").decode()
        assert f" addr={path}:0 laddr={path}:0 " in described
        assert other.call("CONFIG", "GET", "unixsocket*") == [
            *(b"unixsocket", str(path).encode(), b"unixsocketperm", b"700"),
        ]
        listeners = other.call("INFO", "server").decode()
        assert f"listener1:name=unix,bind={path}\r\n" in listeners
        assert other.call("CLIENT", "KILL", "ADDR", f"{path}:0") == 1
        assert client.read_to_end() == b""
    assert server.stop() == 0
    assert not path.exists()


def test_what_a_dead_server_left_behind_is_replaced(start: Starter, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "respq.sock"
    start("--unixsocket", str(path)).kill()
    assert path.exists()
    start("--unixsocket", str(path))
    with UnixClient(path) as client:
        assert client.call("PING") == b"PONG"


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    said = why_not(servers.respq(tmp_path / "data", "--unixsocket", str(path)))
    assert "cannot listen on the Unix socket" in said
    assert str(path) in said
    assert path.read_text() == "precious"
    long = str(tmp_path / ("x" * 200))
    assert "too long" in why_not(servers.respq(tmp_path / "data", "--unixsocket", long))


def test_a_unix_socket_is_local_whatever_protected_mode_says(
    start: Starter, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "respq.sock"
    start("--unixsocket", str(path), "--enable-debug-command", "local")
    with UnixClient(path) as client:
        assert client.call("DEBUG", "SLEEP", 0) == b"OK"


def test_several_addresses(start: Starter) -> None:
    """127.0.0.1 and ::1, and one of another network that may be missing."""
    server = start("--bind", "127.0.0.1 ::1 -192.0.2.1 127.0.0.2")
    for host in ("127.0.0.1", "::1", "127.0.0.2"):
        with Client(host, server.port) as client:
            assert client.call("PING") == b"PONG"
            shown = f"[{host}]" if ":" in host else host
            assert f" laddr={shown}:{server.port} " in client.call("CLIENT", "INFO").decode()
    line = server.log_text()
    assert f"127.0.0.1:{server.port}, [::1]:{server.port}, 127.0.0.2:{server.port}" in line
    assert "192.0.2.1" not in line


def test_an_address_that_is_missing_and_must_not_be(tmp_path: pathlib.Path) -> None:
    said = why_not(servers.respq(tmp_path / "data", "--bind", "127.0.0.1 192.0.2.1"))
    assert "192.0.2.1" in said
    said = why_not(servers.respq(tmp_path / "data", "--bind", "-192.0.2.1"))
    assert "192.0.2.1" in said


def test_no_more_clients_than_maxclients(start: Starter) -> None:
    server = start("--maxclients", "2")
    first = server.connect()
    while len(first.call("CLIENT", "LIST").splitlines()) > 1:
        """Who asked whether the server is up leaves."""
    second = server.connect()
    assert second.call("PING") == b"PONG"
    with server.connect() as third:
        assert third.read_to_end() == b"-ERR max number of clients reached\r\n"
    assert b"rejected_connections:1\r\n" in first.call("INFO", "stats")
    assert first.call("CONFIG", "SET", "maxclients", 3) == b"OK"
    with server.connect() as third:
        assert third.call("PING") == b"PONG"
        second.close()
    first.close()


def test_silent_clients_are_closed_but_not_those_who_wait(start: Starter) -> None:
    server = start("--timeout", "1")
    with server.connect() as silent, server.connect() as waiting, server.connect() as busy:
        silent.call("PING")
        waiting.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
        while not silent.readable():
            assert busy.call("PING") == b"PONG"
        with pytest.raises(Closed):
            silent.read()
        assert busy.call("XADD", "s", "1-1", "f", "v") == b"1-1"
        assert waiting.read()[1].value is not None


@pytest.mark.parametrize("seconds", [0, 60])
def test_tcp_keepalive(seconds: int, start: Starter) -> None:
    """As the kernel tells it of the server's end of the connection."""
    server = start("--tcp-keepalive", str(seconds))
    with server.connect() as client:
        client.call("PING")
        port = client.socket.getsockname()[1]
        timers = [
            row.split()[5]
            for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
            if row.split()[1].endswith(f":{server.port:04X}")
            and row.split()[2].endswith(f":{port:04X}")
        ]
    assert [timer[:2] for timer in timers] == ["02" if seconds else "00"]
