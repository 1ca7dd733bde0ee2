"""The I/O shell: asyncio protocols, timers and threads around the engine. No meaning lives here."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from respserver.engine import Engine
from respserver.holdup import EarlyTransport, Holdup
from respserver.session import Session

PROTECTED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no "
    b"password is set for the default user. In this mode connections are only accepted from the "
    b"loopback interface. If you want to connect from external computers to Redis you may adopt "
    b"one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG "
    b"SET protected-mode no' from the loopback interface by connecting to Redis from the same "
    b"host the server is running, however MAKE SURE Redis is not publicly accessible from "
    b"internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively "
    b"you can just disable the protected mode by editing the Redis configuration file, and "
    b"setting the protected mode option to 'no', and then restarting the server. 3) If you "
    b"started the server manually just for testing, restart it with the '--protected-mode no' "
    b"option. 4) Set up an authentication password for the default user. NOTE: You only need to "
    b"do one of the above things in order for the server to start accepting connections from the "
    b"outside.\r\n"
)
TOO_MANY = b"-ERR max number of clients reached\r\n"
OUTPUT_HIGH_BYTES = 4 << 20
OUTPUT_LOW_BYTES = 1 << 20
ACCEPTED_AT_ONCE = 64
ACCEPT_AGAIN_S = 0.5


class Entrance:
    """Listens, and accepts whoever comes: refuses them or gives them a session at once.

    The loop makes a transport of the connection later (respserver/holdup.py): between accept and
    session there is no moment in which a command that holds the loop up could come.
    """

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._adopting: set[asyncio.Task[None]] = set()
        self._paused = False
        self.sockets: list[socket.socket] = []

    def open(self, sockets: list[socket.socket]) -> None:
        """Accept connections on these, which listen."""
        self.sockets = sockets
        self._go_on()

    def close(self) -> None:
        """Accept none any more."""
        for sock in self.sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self.sockets = []

    def _pause(self) -> None:
        self._paused = True
        for sock in self.sockets:
            self._loop.remove_reader(sock.fileno())
        self._loop.call_later(ACCEPT_AGAIN_S, self._go_on)

    def _go_on(self) -> None:
        self._paused = False
        for sock in self.sockets:
            self._loop.add_reader(sock.fileno(), self.accept, sock)

    def accept(self, listener: socket.socket) -> list[Session]:
        """Let in those who wait on a socket; their sessions."""
        met: list[Session] = []
        if self._paused:
            return met
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError:  # no descriptor is left: whoever waits goes on waiting
                self._pause()
                break
            sock.setblocking(False)
            session = greet(self._engine, sock)
            if session is None:
                sock.close()
                continue
            met.append(session)
            task = self._loop.create_task(self._adopt(sock, session))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)
        return met

    async def _adopt(self, sock: socket.socket, session: Session) -> None:
        protocol = cast("asyncio.Protocol", session)
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            sock.close()
            self._engine.disconnect(session)


def greet(engine: Engine, sock: socket.socket) -> Session | None:
    """The session of a new connection; None where it is refused."""
    early = EarlyTransport(sock)
    here = sock.getsockname()
    try:
        peer = sock.getpeername()
    except OSError:  # gone already
        return None
    if len(engine.sessions) >= engine.config.maxclients:
        engine.stats.rejected_connections += 1
        early.write(TOO_MANY)
        return None
    if sock.family == socket.AF_UNIX:
        peer = here  # who connects has no name; Redis shows the socket's on both sides
    elif (
        engine.config.protected_mode
        and engine.config.requirepass == ""
        and not _is_loopback(peer[0])
    ):
        early.write(PROTECTED)
        return None
    else:
        _set_up(sock, engine.config.tcp_keepalive)
    early.set_write_buffer_limits(OUTPUT_HIGH_BYTES, OUTPUT_LOW_BYTES)
    session = engine.connect(_text(peer), _text(here), sock.fileno(), early)
    session.socket_fd = sock.fileno()
    return session


class LoopSkin:
    """What the engine asks of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.call_soon: Callable[[Callable[[], None]], Any] = loop.call_soon
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: int | None = None
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="respq")
        self.engine: Engine | None = None
        self.entrance: Entrance | None = None
        self._holdup: Holdup | None = None
        self.stopped = asyncio.Event()
        self.error: BaseException | None = None

    def in_thread(
        self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Run ``work`` on a thread, then ``done(result, error)`` on the loop."""
        future = self._loop.run_in_executor(self._pool, work)

        def finished(ended: asyncio.Future[Any]) -> None:
            error = ended.exception()  # asked for in any case, or it would be printed
            if self.engine is None:
                return  # the store is closed
            done(None if error is not None else ended.result(), error)

        future.add_done_callback(finished)

    def set_timer(self, deadline_ms: int | None) -> None:
        """Call the engine's ``on_timer`` once, at this monotonic time."""
        if self.engine is None or deadline_ms == self._timer_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_ms = deadline_ms
        if deadline_ms is not None:
            delay_s = max(0, deadline_ms - self.engine.clock.monotonic_ms()) / 1000
            self._timer = self._loop.call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._timer_ms = None
        if self.engine is not None:
            self.engine.on_timer()

    def fatal(self, error: BaseException) -> None:
        """Close everything and exit with a failure."""
        if self.error is None:
            self.error = error
        if self.engine is not None:
            for session in list(self.engine.sessions.values()):
                session.transport.abort()
        self.stopped.set()

    def unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: a bug. What it left half done is not served any further."""
        error = context.get("exception")
        if isinstance(error, OSError) and "transport" in context:
            return  # a socket's own trouble; its connection is lost
        traceback.print_exception(error)
        self.fatal(error or RuntimeError(str(context.get("message"))))

    def shutdown(self) -> None:
        """Stop as on SIGTERM."""
        self.stopped.set()

    def serve_held_up(self, caller: Session) -> None:
        """Receive what clients have sent while a command of ``caller`` holds the loop up."""
        engine = self.engine
        if engine is None or self.entrance is None:
            return
        if self._holdup is None:
            self._holdup = Holdup(engine, self.entrance, caller)
        self._holdup.serve()

    def end_holdup(self) -> None:
        """The loop turns again."""
        if self._holdup is not None:
            self._holdup.close()
            self._holdup = None

    def leave(self) -> None:
        """End the process as it stands. What was promised is on disk."""
        os._exit(0)

    def close(self) -> None:
        """Wait for the threads; the engine does not hear of them any more."""
        self._pool.shutdown(wait=True)
        self.engine = None


def _set_up(sock: Any, quiet_s: int) -> None:
    """Send without delay; probe a client that has been silent for ``quiet_s``, unless that is 0."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if quiet_s > 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, quiet_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, quiet_s // 3))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _text(address: Any) -> str:
    if not isinstance(address, tuple):  # the path of a Unix socket
        return f"{address}:0"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
