"""Accepting connections: without descriptors, and before the loop has them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, cast

from respserver.holdup import EarlyTransport
from respserver.net import Entrance


class FakeLoop:
    """Remembers what is watched and what is put off."""

    def __init__(self) -> None:
        self.readers: set[int] = set()
        self.later: list[Callable[[], None]] = []

    def add_reader(self, fd: int, _call: Callable[..., Any], *_args: Any) -> None:
        self.readers.add(fd)

    def remove_reader(self, fd: int) -> None:
        self.readers.discard(fd)

    def call_later(self, _seconds: float, call: Callable[[], None]) -> None:
        self.later.append(call)


class Full:
    """A listening socket of a process that has no descriptor left."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.asked = 0

    def fileno(self) -> int:
        return self.fd

    def accept(self) -> None:
        self.asked += 1
        raise OSError(errno.EMFILE, "Too many open files")

    def close(self) -> None:
        self.fd = -1


def test_without_descriptors_nobody_is_asked_for_a_while() -> None:
    loop = FakeLoop()
    sockets = [Full(5), Full(6)]
    entrance = Entrance(cast(Any, None), cast(Any, loop))
    entrance.open(cast(Any, sockets))
    assert loop.readers == {5, 6}
    for _ in range(3):
        assert entrance.accept(cast(Any, sockets[0])) == []
    assert (sockets[0].asked, loop.readers, len(loop.later)) == (1, set(), 1)
    loop.later.pop()()
    assert loop.readers == {5, 6}
    assert entrance.accept(cast(Any, sockets[1])) == []
    entrance.close()
    loop.later.pop()()
    assert loop.readers == set()


class Taken:
    """A transport of the loop."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.done.append(("limits", (high, low)))

    def write(self, data: bytes) -> None:
        self.done.append(("write", len(data)))

    def close(self) -> None:
        self.done.append(("close", None))


def test_what_the_socket_does_not_take_is_handed_over() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        early = EarlyTransport(here)
        early.write(b"x" * 5_000_000)
        early.write(b"y")
        waiting = early.get_write_buffer_size()
        assert 0 < waiting < 5_000_001
        early.set_write_buffer_limits(20, 10)
        assert not early.is_closing()
        early.close()
        assert early.is_closing()
        taken = Taken()
        early.hand_over(taken)
        assert taken.done == [("limits", (20, 10)), ("write", waiting), ("close", None)]


def test_nothing_is_handed_over_where_nothing_is_left() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        early = EarlyTransport(here)
        early.write(b"hello")
        assert there.recv(10) == b"hello"
        there.close()
        early.write(b"nobody")  # broken: the loop finds out
        taken = Taken()
        early.hand_over(taken)
        assert taken.done in ([], [("write", 6)])
