"""A script that runs for long, over real sockets: who connects meanwhile reaches it."""

from __future__ import annotations

import contextlib
import pathlib

from tests.respclient import Client, Reply
from tests.servers import Server
from tests.wire.conftest import Starter
from tests.wire.test_addresses import UnixClient

BUSY = (
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"
)
ENDLESS = ("EVAL", "while true do end", 0)


def wait_until_busy(client: Client) -> None:
    while client.raw("PING") != BUSY:
        pass


def test_who_connects_meanwhile_kills_the_script_and_stays(
    start: Starter, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "respq.sock"
    server = start("--busy-reply-threshold", "20", "--unixsocket", str(path))
    with server.connect() as caller, server.connect() as before:
        before.call("PING")
        caller.send(*ENDLESS)
        wait_until_busy(before)
        with server.connect() as late, UnixClient(path) as local, server.connect() as gone:
            assert gone.raw("ECHO", "x") == BUSY
            gone.close()
            assert late.call("HELLO", 3)[b"proto"] == 3
            assert local.raw("XADD", "s", "*", "f", "v") == BUSY
            assert late.raw("SCRIPT", "KILL") == b"+OK\r\n"
            error = caller.read()[1]
            assert error.value.startswith(b"ERR Script killed by user with SCRIPT KILL...")
            # what was accepted by the way is a client like others
            for client in (late, local, before, caller):
                assert client.call("PING") == b"PONG"
            big = b"x" * 5_000_000
            assert late.call("SET", "k", big) == b"OK"
            assert late.call("GET", "k") == big
            rows = late.call("CLIENT", "LIST").decode().splitlines()
            assert len(rows) == 4
            assert late.call("CLIENT", "KILL", "ADDR", f"{path}:0") == 1
            assert local.read_to_end() == b""


def test_a_script_again_and_again(start: Starter) -> None:
    """Descriptors and connections are given back."""
    server = start("--busy-reply-threshold", "5")
    with server.connect() as caller:
        for _ in range(10):
            caller.send(*ENDLESS)
            with contextlib.ExitStack() as stack:
                crowd = [stack.enter_context(server.connect()) for _ in range(12)]
                for client in crowd:
                    wait_until_busy(client)
                assert crowd[0].raw("SCRIPT", "KILL") == b"+OK\r\n"
                assert isinstance(caller.read()[1], Reply)
                assert crowd[1].call("PING") == b"PONG"
        descriptors = len(list(pathlib.Path(f"/proc/{server.pid}/fd").iterdir()))
        assert descriptors < 60


def test_no_more_clients_than_otherwise(start: Starter) -> None:
    server = start("--busy-reply-threshold", "20", "--maxclients", "3")
    with server.connect() as caller, server.connect() as client:
        client.call("PING")
        while len(caller.call("CLIENT", "LIST").splitlines()) > 2:
            """Who asked whether the server is up leaves."""
        caller.send(*ENDLESS)
        wait_until_busy(client)
        leaving = server.connect()
        assert leaving.raw("PING") == BUSY
        full = b"-ERR max number of clients reached\r\n"
        with server.connect() as refused:
            assert refused.read()[0] == full
            assert refused.read_to_end() == b""
            leaving.close()
            late = server.connect()
            while late.raw("PING") != BUSY:  # came before it was noticed that there is room
                late.close()
                late = server.connect()
            with late:
                assert late.raw("SCRIPT", "KILL") == b"+OK\r\n"
        assert caller.read()[1].kind == "-"


def test_input_in_pieces_and_clients_that_leave(start: Starter) -> None:
    server = start("--busy-reply-threshold", "20")
    with server.connect() as caller, server.connect() as client, server.connect() as leaving:
        client.call("PING")
        leaving.call("PING")
        caller.send(*ENDLESS)
        caller.send("PING")  # behind its own script
        wait_until_busy(client)
        leaving.send_raw(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI")
        assert leaving.read()[0] == BUSY
        leaving.close()
        client.send_raw(b"*1\r\n$4\r\nPI")
        client.send_raw(b"NG\r\n*2\r\n$6\r\nSCRIPT\r\n$4\r\nKILL\r\n")
        assert client.read()[0] == BUSY
        assert client.read()[0] == b"+OK\r\n"
        assert caller.read()[1].kind == "-"
        assert caller.read()[0] == b"+PONG\r\n"
        assert client.call("PING") == b"PONG"


def test_shutdown_nosave_while_a_script_that_has_written_runs(start: Starter) -> None:
    server: Server = start("--busy-reply-threshold", "20", appendfsync="always")
    with server.connect() as caller, server.connect() as client:
        assert client.call("SET", "before", "1") == b"OK"
        caller.send("EVAL", "redis.call('SET', 'within', '1') while true do end", 0)
        wait_until_busy(client)
        assert client.raw("SCRIPT", "KILL").startswith(b"-UNKILLABLE ")
        assert client.raw("SHUTDOWN") == BUSY
        client.send("SHUTDOWN", "NOSAVE")
        assert client.read_to_end() == b""
        assert caller.read_to_end() == b""
    assert server.process is not None
    assert server.process.wait(10) == 0
    server.process = None
    with server, server.connect() as client:
        assert client.call("GET", "before") == b"1"
        assert client.call("GET", "within") is None
