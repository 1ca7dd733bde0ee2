"""One client: how it speaks, where it stands, what it sent and what it will be sent.

Rules: ``inp`` holds bytes that were received and not yet executed, ``out`` the replies that the
tick has not yet released. ``blocked`` is what the client waits for (respserver/waiters.py); while
it waits, while a long reply is being sent (``stream_reply``) and while its socket is full
(``paused``), nothing more of ``inp`` is executed. ``total_commands`` counts the commands that were
begun; what was handed to the socket counts as sent.

``special`` is set while more belongs to the client's commands than their execution: it is within
MULTI, subscribed, tracking, or does not want replies. Messages that must not stand within a reply
wait in ``pushes``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cython
from cython.cimports.respserver.session import SEND_FLAGS, send_bytes

from lsmstore.buf import Buf

# What CLIENT REPLY asked for; SKIP is for the command behind it.
REPLIES = 0
NO_REPLIES = 1
SKIP_NEXT = 2
SKIP_THIS = 3


class Owner(Protocol):
    """Who is told of what happens to the connection."""

    def socket_full(self, session: Session) -> None:
        """The client does not take its replies."""

    def socket_drained(self, session: Session) -> None:
        """The client took its replies."""

    def disconnect(self, session: Session) -> None:
        """The client is gone."""


@cython.final
@cython.cclass
class Session:
    """The state of one connection."""

    def __init__(
        self,
        session_id: int,
        addr: str,
        laddr: str,
        fd: int,
        now_ms: int,
        owner: Owner,
        feed: Callable[[Session, bytes], None],
    ) -> None:
        self.id = session_id
        self.owner = owner
        self.feed = feed
        self.addr = addr
        self.laddr = laddr
        self.fd = fd
        self.created_ms = now_ms
        self.last_interaction_ms = now_ms
        self.inp = Buf(16)
        self.out = Buf(1024)
        self.closed = False
        self.queued = False
        self.paused = False
        self.transport = None
        self.socket_fd = -1
        self.through_transport = False
        self.blocked = None
        self.stream_reply = None
        self.pushes = []
        self.total_commands = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.watching = None
        self.subscriptions = None
        self.tracking = None
        self.monitoring = False
        self.reset(authenticated=False)

    def reset(self, authenticated: bool) -> None:
        """As after connecting; RESET does it, too."""
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.proto = 2
        self.db = 0
        self.authenticated = authenticated
        self.no_evict = False
        self.no_touch = False
        self.multi = None
        self.reply_mode = REPLIES
        self.special = False
        self.last_command = None
        self.close_after_reply = False

    def settle(self) -> None:
        """What decides on ``special`` has changed."""
        self.special = (
            self.multi is not None
            or self.subscriptions is not None
            or self.tracking is not None
            or self.monitoring
            or self.reply_mode != REPLIES
        )

    def take_push(self, data: bytes, executing: bool) -> None:
        """A message that the client did not ask for: behind the reply of what is executing now."""
        if executing or self.stream_reply is not None:
            self.pushes.append(data)
        else:
            self.out.put_bytes(data)

    def cut_reply(self, before: int) -> None:
        """Take back what was answered behind byte ``before``."""
        if cython.cast(cython.Py_ssize_t, before) < self.out.n:
            self.out.n = before

    def put_pushes(self) -> bool:
        """Put the messages that waited behind the replies; whether there were any."""
        if not self.pushes or self.stream_reply is not None:
            return False
        for data in self.pushes:
            self.out.put_bytes(data)
        self.pushes.clear()
        return True

    # What the loop calls: a session is the protocol of its own connection.

    def connection_made(self, transport: Any) -> None:
        """The loop takes the connection over from the transport that stood in."""
        early = self.transport
        self.transport = transport
        self.through_transport = True
        early.hand_over(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self.feed(self, data)

    def eof_received(self) -> bool:
        """The client will send nothing more: close, once the replies of this tick are out."""
        self.close_after_reply = self.close_after_reply or self.queued
        return self.close_after_reply

    def pause_writing(self) -> None:
        """The socket is full."""
        self.owner.socket_full(self)

    def resume_writing(self) -> None:
        """The socket drained."""
        self.owner.socket_drained(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """The client is gone."""
        self.owner.disconnect(self)

    def fail(self, line, n):
        """Answer with an error; ``line`` comes without the ``-``."""
        self.out.put_byte(45)
        self.out.put(line, n)
        self.out.put(b"\r\n", 2)

    def send_out(self):
        """Send ``out``: straight to the socket where it is free, the rest through the transport.

        A transport that closes itself may have given its descriptor back: it is asked each time.
        """
        sent: cython.Py_ssize_t = 0
        if self.socket_fd >= 0 and not self.transport.is_closing():
            if self.through_transport:
                self.through_transport = self.transport.get_write_buffer_size() > 0
            if not self.through_transport:
                sent = send_bytes(self.socket_fd, self.out.p, self.out.n, SEND_FLAGS)
                if sent < 0:
                    sent = 0  # full, or broken: the transport finds out which
                self.sent_bytes += sent
                if sent == self.out.n:
                    self.out.clear()
                    return 0
        self.out.drop_front(sent)
        self.write(self.out.take())
        return 0

    def write(self, data: bytes) -> None:
        """Send bytes through the transport; what follows queues behind them."""
        self.through_transport = True
        self.sent_bytes += len(data)
        self.transport.write(data)

    def refuse(self, line: bytes) -> None:
        """Answer with an error line, given without the ``-``."""
        self.fail(line, len(line))

    def say(self, data: bytes) -> None:
        """Put encoded bytes into the replies."""
        self.out.put_bytes(data)

    @property
    def reply(self) -> Buf:
        """The replies not yet released."""
        return self.out

    @property
    def query_buffer_bytes(self) -> int:
        """Bytes received and not yet executed."""
        return cython.cast(cython.Py_ssize_t, self.inp.n)

    @property
    def output_bytes(self) -> int:
        """Bytes of replies not yet taken by the socket."""
        waiting: int = 0
        if self.transport is not None:
            waiting = self.transport.get_write_buffer_size()
        return waiting + cython.cast(cython.Py_ssize_t, self.out.n)

    def take_output(self) -> bytes:
        """The replies, for the socket."""
        return self.out.take()


def send(sessions: list[Session], rest: list[Session]) -> int:
    """Hand the replies of these clients to their sockets; returns how many bytes.

    Those with something behind the reply (the end of the connection, a long reply) go to ``rest``.
    """
    session: Session
    total: cython.Py_ssize_t = 0
    for session in sessions:
        if session.close_after_reply or session.stream_reply is not None:
            rest.append(session)
            continue
        session.queued = False
        if session.out.n and not session.closed:
            total += session.out.n
            session.send_out()
    return total
