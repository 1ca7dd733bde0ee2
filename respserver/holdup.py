"""Connections before the loop has them, and sockets that are served while it is held up.

A connection that was accepted has an ``EarlyTransport`` until the loop has made a real one of its
socket. While a script runs for longer than it should, the loop cannot turn; what it
would do for clients is done by ``Holdup`` when the script lets it: connections are accepted, bytes
received and handed to the engine, which answers BUSY to all but a few commands, so that SCRIPT KILL
reaches the script.

Rules: the loop is not told of any of it. Its own readiness is by level, so what is read here it
does not miss. Who is gone is no client any more, but the end of the connection is the loop's.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.session import Session

RECEIVE_BYTES = 1 << 16


class EarlyTransport:
    """A connection that the loop does not have yet. It keeps what the socket does not take."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = bytearray()
        self.closing = False
        self._limits: tuple[int, int] | None = None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """For the loop's transport: here nobody is told when the socket is full."""
        self._limits = (high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that the socket has not taken."""
        return len(self.rest)

    def is_closing(self) -> bool:
        """Whether the end was asked for."""
        return self.closing

    def write(self, data: bytes) -> None:
        """Send."""
        self.rest += data
        with contextlib.suppress(BlockingIOError, ConnectionError):
            del self.rest[: self.sock.send(self.rest)]

    def close(self) -> None:
        """End the connection, once the loop has it."""
        self.closing = True

    abort = close

    def hand_over(self, transport: Any) -> None:
        """The loop has it now."""
        if self._limits is not None:
            transport.set_write_buffer_limits(*self._limits)
        if self.rest:
            transport.write(bytes(self.rest))
        if self.closing:
            transport.close()

    def pause_reading(self) -> None:
        """Nothing is read before the loop has it."""

    resume_reading = pause_reading


class Listening(Protocol):
    """Where clients come in."""

    sockets: list[socket.socket]

    def accept(self, listener: socket.socket) -> list[Session]:
        """Let in those who wait on a socket; their sessions."""


class Holdup:
    """The sockets of a node, from the first look of a script at them to its end."""

    def __init__(self, engine: Engine, entrance: Listening, caller: Session) -> None:
        self._engine = engine
        self._entrance = entrance
        self._ready = select.epoll()
        self._sessions: dict[int, Session] = {}
        self._listeners = {sock.fileno(): sock for sock in entrance.sockets}
        for fd in self._listeners:
            self._ready.register(fd, select.EPOLLIN)
        for session in list(engine.sessions.values()):
            if session is not caller and session.socket_fd >= 0 and engine.reads(session):
                self._watch(session)

    def _watch(self, session: Session) -> None:
        if session.transport.is_closing():
            self._engine.disconnect(session)
            return
        self._sessions[session.socket_fd] = session
        self._ready.register(session.socket_fd, select.EPOLLIN)

    def serve(self) -> None:
        """Accept and receive what is there."""
        ready = [fd for fd, _ in self._ready.poll(0)]
        for fd in ready:
            if fd not in self._listeners:
                self._receive(fd)
        for fd in self._listeners.keys() & ready:  # last: who has left makes room for others
            for session in self._entrance.accept(self._listeners[fd]):
                self._watch(session)

    def _receive(self, fd: int) -> None:
        session = self._sessions[fd]
        data = b""
        if not session.transport.is_closing():
            try:
                data = os.read(fd, RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                pass  # the loop finds out
        if data:
            self._engine.kernel.feed(session, data)
        else:
            self._ready.unregister(fd)
            if not session.queued:  # who waits for replies may have closed one direction only
                self._engine.disconnect(session)

    def close(self) -> None:
        """The script is over."""
        self._ready.close()
