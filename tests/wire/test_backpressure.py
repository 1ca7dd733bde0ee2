"""Clients that do not read what they asked for, and clients that send more than is read."""

from __future__ import annotations

import contextlib

import pytest

from tests.respclient import Client, Closed, encode
from tests.servers import Server
from tests.wire.conftest import Starter

VALUE = b"x" * 4096
ENTRIES = 16_000  # 64 MiB and a bit
QUESTIONS = 8
ROOM_BYTES = 200 << 20  # well below QUESTIONS replies of 64 MiB


def fill(client: Client) -> None:
    for first in range(1, ENTRIES + 1, 500):
        words = [[b"XADD", b"s", b"%d-1" % n, b"f", VALUE] for n in range(first, first + 500)]
        client.send_raw(b"".join(encode(command) for command in words))
        for _ in words:
            client.read()


@pytest.mark.slow
def test_a_client_that_does_not_read_is_bounded_and_alone(start: Starter) -> None:
    with start() as server, server.connect() as client:
        fill(client)
        before = server.memory_bytes()
        with server.connect() as lazy:
            lazy.send_raw(encode([b"XRANGE", b"s", b"-", b"+"]) * QUESTIONS)
            for n in range(300):  # others are served all the while
                assert client.call("XADD", "t", f"{n + 1}-1", "f", "v") == b"%d-1" % (n + 1)
                assert len(client.call("XRANGE", "s", "5", "6")) == 2
            grown = server.memory_bytes() - before
            assert grown < ROOM_BYTES, f"{grown >> 20} MiB for one client that does not read"
            for _ in range(QUESTIONS):
                _, reply = lazy.read()
                assert len(reply.value) == ENTRIES
                assert reply.value[-1].value[0].value == b"%d-1" % ENTRIES
                assert reply.value[7].value[1].value[1].value == VALUE
            assert lazy.raw("PING") == b"+PONG\r\n"


@pytest.mark.slow
def test_a_long_reply_is_of_one_moment(start: Starter) -> None:
    """What is deleted and trimmed while a long reply is being read is still in it, and whole."""
    with start() as server, server.connect() as client:
        fill(client)
        with server.connect() as slow:
            slow.send("XRANGE", "s", "-", "+")
            slow.socket.recv(1, 2)  # the reply has begun (peeked)
            assert client.call("XDEL", "s", "100-1", "15000-1") == 2
            assert client.call("XTRIM", "s", "MAXLEN", "10") == ENTRIES - 2 - 10
            assert client.call("DEL", "s") == 1
            _, reply = slow.read()
            assert [row.value[0].value for row in reply.value] == [
                b"%d-1" % n for n in range(1, ENTRIES + 1)
            ]
            assert slow.raw("XLEN", "s") == b":0\r\n"


@pytest.mark.slow
def test_a_client_that_leaves_in_the_middle(start: Starter) -> None:
    with start() as server, server.connect() as client:
        fill(client)
        for _ in range(5):
            with server.connect() as gone:
                gone.send_raw(encode([b"XRANGE", b"s", b"-", b"+"]) * 3)
                gone.socket.recv(100)
        assert client.call("XLEN", "s") == ENTRIES
        assert len(client.call("XREVRANGE", "s", "+", "-", "COUNT", "3")) == 3


def test_the_output_limit_closes(subject: Server) -> None:
    """client-output-buffer-limit: beyond it the client is cut off, the others go on.

    A single long reply is made as it is read and takes no room; these replies are made at once.
    """
    with subject.connect() as client:
        for n in range(1, 201):
            client.send("XADD", "s", f"{n}-1", "f", VALUE)
        for _ in range(200):
            client.read()
        limit = "client-output-buffer-limit"
        assert client.call("CONFIG", "SET", limit, "normal 256kb 0 0") == b"OK"
        try:
            with subject.connect() as lazy, contextlib.suppress(OSError, Closed):
                asked = 100
                lazy.send_raw(encode([b"XRANGE", b"s", b"-", b"+"]) * asked)
                assert client.call("PING") == b"PONG"
                assert len(lazy.read_to_end()) < asked * 200 * len(VALUE)
        finally:
            client.call("CONFIG", "SET", limit, "normal 0 0 0")
        assert client.call("XLEN", "s") == 200


def test_pipelines_longer_than_any_buffer(subject: Server) -> None:
    """A client that sends much before it reads at all: nothing is lost, order is kept."""
    count = 20_000
    with subject.connect() as client:
        data = b"".join(
            encode([b"XADD", b"s", b"%d-1" % n, b"f", b"v" * 100]) for n in range(1, count)
        )
        client.socket.settimeout(30)
        client.send_raw(data + encode([b"XLEN", b"s"]))
        for n in range(1, count):
            assert client.read()[1].value == b"%d-1" % n
        assert client.read()[1].value == count - 1


def test_arguments_of_many_sizes(subject: Server) -> None:
    with subject.connect() as client:
        sizes = [0, 1, 100, 16_383, 16_384, 16_385, 65_536, 1 << 20, (5 << 20) + 3]
        for n, size in enumerate(sizes, 1):
            value = bytes([65 + n]) * size
            assert client.call("XADD", "s", f"{n}-1", "f", value) == b"%d-1" % n
            assert client.call("XRANGE", "s", n, n) == [[b"%d-1" % n, [b"f", value]]]
        assert [len(row[1][1]) for row in client.call("XRANGE", "s", "-", "+")] == sizes
        words = [b"XADD", b"s", b"99-1", *(b"%d" % n for n in range(20_000))]
        assert client.call(*words) == b"99-1"
        assert len(client.call("XRANGE", "s", "99", "99")[0][1]) == 20_000


def test_the_query_buffer_limit_closes(start: Starter) -> None:
    with start("--client-query-buffer-limit", "1mb") as server, server.connect() as other:
        with server.connect() as client, contextlib.suppress(OSError):
            client.send_raw(b"*2\r\n$4\r\nECHO\r\n$8000000\r\n" + b"x" * 8_000_000 + b"\r\n")
            assert b"xxxx" not in client.read_to_end()
        assert other.call("PING") == b"PONG"
