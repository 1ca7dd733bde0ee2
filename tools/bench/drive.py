"""The load itself: many nonblocking connections on one thread, commands built beforehand.

A connection sends a batch of ``depth`` commands, and the next once every reply is in (as
redis-benchmark's pipelining does). What it does then is its part's role:

- REPEAT: the next batch, for as long as the time lasts.
- FILL: a given number of batches.
- DRAIN: the next batch, until a reply is null or empty: everything was delivered.
- PRODUCE / CONSUME: a closed circle. A producer sends only while fewer entries are on their way
  than there are producers; each delivery to a consumer lets one producer go on. So consumers are
  blocked when entries come, and no backlog builds up.
- TAKE_ACK: after a delivery of one entry, the acknowledgement of its id; then the next batch, until
  a reply is null.

Nothing is built per reply: replies are skipped and counted (skipper.py).
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from time import monotonic_ns

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.errno import EAGAIN, EINTR, errno
from cython.cimports.libc.stdint import int64_t
from cython.cimports.posix.unistd import read, write

from tools.bench.latency import Histogram
from tools.bench.skipper import Skipper

REPEAT = 0
DRAIN = 1
PRODUCE = 2
CONSUME = 3
TAKE_ACK = 4
FILL = 5

ROLES = {
    "repeat": REPEAT,
    "drain": DRAIN,
    "produce": PRODUCE,
    "consume": CONSUME,
    "take_ack": TAKE_ACK,
    "fill": FILL,
}

RECEIVE_BYTES = 256 * 1024


class LoadError(Exception):
    """The server closed a connection or sent what is not RESP2."""


@cython.final
@cython.cclass
class Connection:
    """One client of a part."""


@cython.final
@cython.cclass
class Part:
    """Connections with one role, and what they counted."""

    def __cinit__(self, role: str, ack_head: bytes, batches_each: cython.Py_ssize_t) -> None:
        self.role = ROLES[role]
        self.ack_head = ack_head
        self.batches_each = batches_each
        self.connections = []
        self.latency = Histogram()

    def connect(
        self, host: str, port: int, batches: Sequence[bytes], depth: cython.int, entries_depth: int
    ) -> None:
        """Add a connection that goes through ``batches`` of ``depth`` commands each."""
        connection: Connection = Connection.__new__(Connection)
        connection.socket = socket.create_connection((host, port), timeout=10)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket.setblocking(False)
        connection.fd = connection.socket.fileno()
        connection.part = self
        connection.role = self.role
        connection.skipper = Skipper(entries_depth)
        connection.batches = list(batches)
        # Connections that share batches start at different ones.
        connection.next_batch = 7 * len(self.connections) % len(batches)
        connection.depth = depth
        connection.batches_left = self.batches_each
        connection.out = b""
        self.connections.append(connection)

    def counts(self) -> dict[str, int]:
        """Replies, errors, nulls, entries and the sum of numbers, over all connections."""
        counts = dict.fromkeys(("replies", "errors", "nulls", "entries", "total"), 0)
        connection: Connection
        for connection in self.connections:
            skipper = connection.skipper
            counts["replies"] += skipper.replies
            counts["errors"] += skipper.errors
            counts["nulls"] += skipper.nulls
            counts["entries"] += skipper.entries
            counts["total"] += skipper.total
        return counts

    def first_error(self) -> bytes:
        """An error line that came, or nothing."""
        connection: Connection
        for connection in self.connections:
            if connection.skipper.error_line:
                return connection.skipper.error_line
        return b""


@cython.final
@cython.cclass
class Drive:
    """Runs parts against a server until the time is over, everything is drained, or it is told."""

    def __cinit__(self, parts: Sequence[Part]) -> None:
        part: Part
        connection: Connection
        self.parts = list(parts)
        self.epoll = select.epoll()
        self.by_fd = {}
        self.idle = []
        self.room = bytearray(RECEIVE_BYTES)
        for part in self.parts:
            for connection in part.connections:
                self.by_fd[connection.fd] = connection
                self.epoll.register(connection.fd, select.EPOLLIN)
                if part.role == PRODUCE:
                    self.credits += 1

    def run(self, seconds_max: float, stop_fd: int) -> None:
        """Load the server; the end of input on ``stop_fd`` ends it early."""
        connection: Connection
        fd: int
        events: int
        start: int64_t = monotonic_ns()
        deadline: int64_t = start + int(seconds_max * 1e9)
        now: int64_t = start
        self.epoll.register(stop_fd, select.EPOLLIN)
        for connection in list(self.by_fd.values()):
            if connection.role == PRODUCE:
                self.idle.append(connection)
            else:
                self.working += connection.role != REPEAT and connection.role != CONSUME
                self.send_next(connection)
        ends: cython.bint = self.working > 0
        self.release()
        told: cython.bint = False
        while now < deadline and not told and not (ends and self.working == 0):
            for fd, events in self.epoll.poll((deadline - now) / 1e9):
                if fd == stop_fd:
                    told = True
                    break
                connection = self.by_fd[fd]
                if events & select.EPOLLOUT:
                    self.push(connection)
                if events & ~select.EPOLLOUT:
                    self.receive(connection)
            now = monotonic_ns()
        self.elapsed_ns = now - start

    def close(self) -> None:
        """Close every connection."""
        connection: Connection
        for connection in self.by_fd.values():
            connection.socket.close()
        self.epoll.close()

    def send_next(self, connection):
        """Send the connection's next batch."""
        batch: bytes = connection.batches[connection.next_batch]
        connection.next_batch += 1
        if connection.next_batch == len(connection.batches):
            connection.next_batch = 0
        connection.awaited = connection.skipper.replies + connection.depth
        connection.sent_ns = monotonic_ns()
        return self.send(connection, batch)

    def send(self, connection, data):
        """Send ``data``, the rest of it once the socket has room."""
        connection.out = data
        connection.out_at = 0
        return self.push(connection)

    def push(self, connection):
        """Write what is left of the connection's output."""
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(connection.out)
        written: cython.Py_ssize_t
        while connection.out_at < size:
            written = write(
                connection.fd,
                PyBytes_AS_STRING(connection.out) + connection.out_at,
                size - connection.out_at,
            )
            if written >= 0:
                connection.out_at += written
            elif errno == EAGAIN:
                if not connection.blocked:
                    connection.blocked = True
                    self.epoll.modify(connection.fd, select.EPOLLIN | select.EPOLLOUT)
                return 0
            elif errno != EINTR:
                raise LoadError(f"write failed with errno {errno}")
        if connection.blocked:
            connection.blocked = False
            self.epoll.modify(connection.fd, select.EPOLLIN)
        return 0

    def receive(self, connection):
        """Take in what has come, and go on if a batch is answered."""
        room: cython.p_char = self.room
        size: cython.Py_ssize_t = read(connection.fd, room, len(self.room))
        if size < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            raise LoadError(f"read failed with errno {errno}")
        if size == 0:
            raise LoadError("the server closed a connection")
        if connection.skipper.feed(room, size) < 0:
            raise LoadError("the server sent what is not RESP2")
        if connection.skipper.replies >= connection.awaited and connection.awaited > 0:
            return self.answered(connection)
        return 0

    def answered(self, connection):
        """A batch is answered: what the role does next."""
        part: Part = connection.part
        role: cython.int = connection.role
        taken: bytes
        if role == TAKE_ACK and not connection.acking and connection.skipper.nulls == 0:
            connection.acking = True
            connection.awaited += 1
            taken = connection.skipper.kept[: connection.skipper.kept_len]
            return self.send(connection, part.ack_head + b"$%d\r\n%b\r\n" % (len(taken), taken))
        part.rounds += 1
        connection.acking = False
        connection.awaited = 0
        if role != CONSUME:  # a consumer waits for producers, not for the server
            part.latency.put(monotonic_ns() - connection.sent_ns)
        if role == PRODUCE:
            self.idle.append(connection)
            return self.release()
        if connection.skipper.nulls > 0 and (role == DRAIN or role == TAKE_ACK):
            self.working -= 1
            return 0
        if role == FILL:
            connection.batches_left -= 1
            if connection.batches_left == 0:
                self.working -= 1
                return 0
        self.send_next(connection)
        if role == CONSUME:
            self.credits += 1
            self.release()
        return 0

    def release(self):
        """Let idle producers send, one for each credit."""
        while self.credits > 0 and len(self.idle) > 0:
            self.credits -= 1
            self.send_next(self.idle.pop())
        return 0
