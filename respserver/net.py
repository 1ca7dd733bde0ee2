"""The I/O shell: asyncio protocols, timers and threads around the engine. No meaning lives here."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from respserver.engine import Engine

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


class Doorman(asyncio.Protocol):
    """Greets a new connection: refuses it or hands it over to a session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        engine = self._engine
        peer = transport.get_extra_info("peername")
        here = transport.get_extra_info("sockname")
        sock = transport.get_extra_info("socket")
        if len(engine.sessions) >= engine.config.maxclients:
            engine.stats.rejected_connections += 1
            transport.write(TOO_MANY)
            transport.close()
            return
        if (
            engine.config.protected_mode
            and engine.config.requirepass == ""
            and not _is_loopback(peer[0])
        ):
            transport.write(PROTECTED)
            transport.close()
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (quiet_s := engine.config.tcp_keepalive) > 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, quiet_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, quiet_s // 3))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        transport.set_write_buffer_limits(high=OUTPUT_HIGH_BYTES, low=OUTPUT_LOW_BYTES)
        session = engine.connect(_text(peer), _text(here), sock.fileno(), transport)
        session.socket_fd = sock.fileno()
        transport.set_protocol(cast("asyncio.Protocol", session))


class LoopSkin:
    """What the engine asks of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.call_soon: Callable[[Callable[[], None]], Any] = loop.call_soon
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: int | None = None
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="respq")
        self.engine: Engine | None = None
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

    def close(self) -> None:
        """Wait for the threads; the engine does not hear of them any more."""
        self._pool.shutdown(wait=True)
        self.engine = None


def _text(address: Any) -> str:
    if not isinstance(address, tuple):
        return "?:0"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
