"""Many clients that wait: they cost no polling, and one entry wakes them all."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.respclient import Client, encode
from tests.servers import Server
from tests.wire.conftest import Starter

CLIENTS = 10_000
HELPER = pathlib.Path(__file__).parent / "many_clients.py"


def crowd(server: Server, count: int, commands: list[list[bytes]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(HELPER), str(server.port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("\n".join(encode(words).hex() for words in commands))
    process.stdin.close()
    return process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def until_blocked(client: Client, count: int) -> None:
    """Ask until the server says that so many wait; each question is a turn of its loop."""
    deadline = time.monotonic() + 60
    while blocked(client) != count:
        assert time.monotonic() < deadline, f"{blocked(client)} of {count} wait"


def blocked(client: Client) -> int:
    text: bytes = client.call("INFO", "clients")
    return int(text.split(b"blocked_clients:")[1].split(b"\r\n")[0])


@pytest.fixture
def roomy(start: Starter) -> Iterator[Server]:
    """A server that was started with few descriptors and must raise its own limit."""
    with start("--maxclients", "11000", prefix=("prlimit", "--nofile=1024:20000")) as server:
        yield server


@pytest.mark.slow
def test_ten_thousand_wait_and_one_entry_wakes_them(roomy: Server) -> None:
    waiting = [b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"]
    process = crowd(roomy, CLIENTS, [waiting])
    try:
        assert line(process) == "sent"
        with roomy.connect() as client:
            until_blocked(client, CLIENTS)
            before = time.monotonic()
            spent = cpu_ticks(roomy)
            # A second without input: whoever polls is seen in the processor time.
            assert process.stdout is not None
            assert not client.readable(1.0)
            idle = cpu_ticks(roomy) - spent
            assert idle <= 10, f"{idle} ticks in {time.monotonic() - before:.2f} s of waiting"
            assert client.call("PING") == b"PONG"
            assert client.call("XADD", "s", "1-1", "f", "v") == b"1-1"
            answer = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
            assert line(process) == f"{CLIENTS} 1 {answer.hex()}"
            assert blocked(client) == 0
        assert process.wait(30) == 0
    finally:
        end(process)


@pytest.mark.slow
def test_readers_of_a_group_wait_in_thousands_and_each_entry_wakes_one(roomy: Server) -> None:
    """Two thousand members, as many entries: everybody gets exactly one."""
    members = 2000
    with roomy.connect() as client:
        client.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        words = [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1", b"BLOCK", b"0"]
        process = crowd(roomy, members, [[*words, b"STREAMS", b"s", b">"]])
        try:
            assert line(process) == "sent"
            until_blocked(client, members)
            for n in range(1, members + 1):
                client.send("XADD", "s", f"{n}-1", "f", "v")
            for n in range(1, members + 1):
                assert client.read()[0] == b"$%d\r\n%d-1\r\n" % (len(str(n)) + 2, n)
            assert line(process).split()[:2] == [str(members), str(members)]
            assert blocked(client) == 0
            assert client.call("XPENDING", "s", "g")[0] == members
            assert process.wait(30) == 0
        finally:
            end(process)


@pytest.mark.slow
def test_waiting_clients_that_hang_up_or_are_killed_are_forgotten(roomy: Server) -> None:
    waiting = [b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"]
    process = crowd(roomy, 1000, [waiting])
    try:
        assert line(process) == "sent"
        with roomy.connect() as client, roomy.connect() as victim:
            until_blocked(client, 1000)
            number = victim.call("CLIENT", "ID")
            victim.send(*waiting)
            until_blocked(client, 1001)
            assert client.call("CLIENT", "KILL", "ID", number) == 1
            assert victim.read_to_end() == b""
            until_blocked(client, 1000)
            process.kill()
            until_blocked(client, 0)
            assert client.call("XADD", "s", "1-1", "f", "v") == b"1-1"
            assert len(client.call("CLIENT", "LIST").splitlines()) == 1
    finally:
        end(process)


def cpu_ticks(server: Server) -> int:
    """Processor time of the server so far, in ticks of 10 ms."""
    fields = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
