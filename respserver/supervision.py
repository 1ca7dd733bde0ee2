"""What a service manager is told: systemd's notify protocol, a datagram a message.

    message := "READY=1" | "STOPPING=1" | "WATCHDOG=1" | "STATUS=" text | ...      lines in UTF-8

Rules: the manager says in ``NOTIFY_SOCKET`` where it listens (``@`` begins an abstract name), in
``WATCHDOG_USEC`` how long it bears silence before it takes the process for hung; ``WATCHDOG_PID``
says whom that is for. A manager that does not read is waited for where it must know (``WAIT_S``),
and otherwise not told; without a manager nothing is sent. Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

# While it recovers, a server asks for this much more time to start with each sign of progress.
MORE_TIME_USEC = 60_000_000
WAIT_S = 5.0


class Manager:
    """The service manager of this process, if it has one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._percent = -1
        self.watchdog_s = _watchdog_s(environment) if address else None

    def tell(self, *lines: str, wait_s: float = 0.0) -> None:
        """Send a message; wait for so long if the manager is behind with reading."""
        if self._socket is not None:
            self._socket.settimeout(wait_s)
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)

    def recovering(self, percent: int) -> None:
        """How much of the log has been read."""
        if percent != self._percent:
            self._percent = percent
            self.tell(f"STATUS=recovering {percent} %", f"EXTEND_TIMEOUT_USEC={MORE_TIME_USEC}")

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """How often to say that one lives: twice in the time the manager bears; None if never."""
    pid = environment.get("WATCHDOG_PID", "")
    patience_usec = environment.get("WATCHDOG_USEC", "")
    if pid not in {"", str(os.getpid())} or not patience_usec.isdigit() or patience_usec == "0":
        return None
    return int(patience_usec) / 2_000_000
