"""Taking over from a primary by its own FAILOVER TO: it waits for us, then becomes our replica.

Rules: we listen where the replica link said. The source pauses its writers, waits until we have all
of its stream, and asks us for what follows, ``PSYNC <replid> <offset> FAILOVER``. We say CONTINUE
if the target has everything before that offset; from then on the source refuses writes. What it
asks before is answered as a primary would.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final
from uuid import uuid4

import hiredis

from tools.migrate.errors import Refused, Unreachable
from tools.migrate.follow import Follower
from tools.migrate.link import OPEN, CommandError

TIMEOUT_MS: Final = 10_000
POLL_S: Final = 0.005


class Listener:
    """Where the source will ask us."""

    def __init__(self, host: str) -> None:
        self._server = socket.create_server((host, 0))
        OPEN.add(self._server)
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self._peers: list[tuple[socket.socket, Any]] = []

    def poll(self, landed: int) -> int | None:
        """Answer what was asked; the offset asked for, once it was granted. Raises Refused."""
        try:
            peer, _ = self._server.accept()
            OPEN.add(peer)
            peer.settimeout(1.0)
            self._peers.append((peer, hiredis.Reader()))
        except BlockingIOError:
            pass
        for peer, reader in self._peers:
            peer.setblocking(False)
            try:
                data = peer.recv(1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            finally:
                peer.settimeout(1.0)
            if not data:
                self._peers.remove((peer, reader))
                break
            reader.feed(data)
            while (words := reader.gets()) is not False:
                offset = self._answer(peer, words, landed)
                if offset is not None:
                    return offset
        return None

    def _answer(self, peer: socket.socket, words: list[bytes], landed: int) -> int | None:
        verb = words[0].upper()
        if verb != b"PSYNC":
            peer.sendall(b"+PONG\r\n" if verb == b"PING" else b"+OK\r\n")
            return None
        offset = int(words[2])
        if len(words) < 4 or offset != landed + 1:
            peer.sendall(b"-NOMASTERLINK not yet\r\n")
            return None
        peer.sendall(b"+CONTINUE %b\r\n" % (uuid4().hex + uuid4().hex[:8]).encode())
        return offset

    def close(self) -> None:
        """Listen no more."""
        for peer, _ in self._peers:
            peer.close()
        self._server.close()


def own_host(follower: Follower) -> str:
    """The address by which the source knows us."""
    return str(follower.control.socket.getsockname()[0])


def take_over(follower: Follower, listener: Listener, host: str) -> float:
    """Have the source hand over; for how many seconds nobody could write. Raises Refused."""
    control = follower.control
    began_s = time.monotonic()
    asked = control.ask("FAILOVER", "TO", host, listener.port, "TIMEOUT", TIMEOUT_MS)
    if isinstance(asked, CommandError):
        raise Refused(
            f"the source does not fail over to us: {asked}", "--mode follow fences it instead"
        )
    stop_s = began_s + TIMEOUT_MS / 1000 + 2
    while time.monotonic() < stop_s:
        try:
            follower.step(POLL_S)
            follower.replica.tell()
        except Unreachable:
            # the source ends our link when it changes its role
            if listener.poll(follower.landed) is None and not _wait(follower, listener, stop_s):
                raise
            return time.monotonic() - began_s
        if listener.poll(follower.landed) is not None:
            return time.monotonic() - began_s
    control.ask("FAILOVER", "ABORT")
    raise Refused(
        "the source did not hand over in time and goes on as before",
        "--mode follow fences it instead",
    )


def _wait(follower: Follower, listener: Listener, stop_s: float) -> bool:
    while time.monotonic() < stop_s:
        if listener.poll(follower.landed) is not None:
            return True
        time.sleep(POLL_S)
    return False
