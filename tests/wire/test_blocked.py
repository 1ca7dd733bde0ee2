"""Many clients that wait: they cost no polling, and one entry wakes them all."""

from __future__ import annotations

import os
import pathlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.respclient import Client, encode
from tests.servers import Server
from tests.wire.conftest import Starter

_HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# Root may raise the limit; somebody else makes do with what the machine allows.
DESCRIPTORS = 20_000 if os.geteuid() == 0 or _HARD == resource.RLIM_INFINITY else min(20_000, _HARD)
CLIENTS = min(10_000, DESCRIPTORS - 500)
HELPER = pathlib.Path(__file__).parent / "many_clients.py"


def _prlimit(soft: int) -> list[str]:
    return ["prlimit", f"--nofile={soft}:{DESCRIPTORS}"]


def crowd(server: Server, count: int, commands: list[list[bytes]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*_prlimit(DESCRIPTORS), sys.executable, str(HELPER), str(server.port), str(count)],
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
    room = ("--maxclients", "11000", "--tcp-backlog", "4096")  # connections come in a rush
    with start(*room, prefix=_prlimit(1024)) as server:
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


@pytest.mark.parametrize("proto", [2, 3])
def test_what_is_sent_behind_a_blocking_command_waits_its_turn(
    subject: Server, voice: Server, proto: int
) -> None:
    found = []
    for server in (voice, subject):
        with server.connect(proto) as client, server.connect() as other:
            other.call("FLUSHALL")
            words = [[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"], [b"ECHO", b"one"]]
            words += [[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"], [b"ECHO", b"two"]]
            client.send_raw(b"".join(encode(command) for command in words))
            until_blocked(other, 1)
            assert not client.readable()
            other.call("XADD", "s", "1-1", "f", "v")
            replies = [client.read()[0], client.read()[0]]
            until_blocked(other, 1)
            assert not client.readable()
            other.call("XADD", "s", "2-1", "f", "v")
            found.append([*replies, client.read()[0], client.read()[0]])
    assert found[0] == found[1]
    assert found[1][1::2] == [b"$3\r\none\r\n", b"$3\r\ntwo\r\n"]


def test_a_blocked_client_may_send_more_than_is_kept_for_it(subject: Server) -> None:
    """Two megabytes behind a blocking command: read later, in order, none of it lost."""
    with subject.connect() as client, subject.connect() as other:
        client.send("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        until_blocked(other, 1)
        count = 20_000
        data = b"".join(encode([b"ECHO", b"%0100d" % n]) for n in range(count))
        sender = threading.Thread(target=client.send_raw, args=(data,))
        sender.start()
        other.call("XADD", "s", "1-1", "f", "v")
        assert client.read()[1].kind == "*"
        for n in range(count):
            assert client.read()[1].value == b"%0100d" % n
        sender.join(30)
        assert not sender.is_alive()


def test_timeouts_come_in_their_order_and_not_before_their_time(subject: Server) -> None:
    clients = [subject.connect() for _ in range(5)]
    started = time.monotonic()
    for client, block_ms in zip(clients, (120, 40, 80, 40, 100), strict=True):
        client.send("XREAD", "BLOCK", block_ms, "STREAMS", "s", "$")
    for at, block_ms in ((1, 40), (3, 40), (2, 80), (4, 100), (0, 120)):
        assert clients[at].read()[0] == b"*-1\r\n"
        spent_ms = (time.monotonic() - started) * 1000
        assert block_ms - 5 <= spent_ms < block_ms + 5000
    for client in clients:
        assert client.raw("PING") == b"+PONG\r\n"
        client.close()


def test_a_wait_that_ends_by_time_takes_nothing_later(subject: Server) -> None:
    with subject.connect() as client, subject.connect() as other:
        other.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        words = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "5", "STREAMS", "s", ">"]
        assert client.raw(*words) == b"*-1\r\n"
        other.call("XADD", "s", "1-1", "f", "v")
        assert other.call("XPENDING", "s", "g")[0] == 0
        assert blocked(other) == 0
