"""A server that is there already, in the place of the redis-server that is compared with.

Rules: it is neither started nor ended nor set up; what it promises is asked of it and told beside
its figures. The benchmark writes streams of its own into database 0; where one of their names is
taken it refuses, and in the end it deletes them. The load goes to a host and port, without TLS and
without a password.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools.bench.contender import Contender, ContenderError
from tools.bench.rows import KEY

KEYS = (KEY, *(b"circle-%d" % number for number in range(100)))


class Given(Contender):
    """A running server. Raises ContenderError where it cannot be measured."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "redis" or parts.password or parts.path.strip("/") not in {"", "0"}:
            raise ContenderError(
                "a given server is redis://host:port, without TLS, password and database"
            )
        self.name = "given"
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 6379
        self.is_respq = False
        self._control = None
        self._ours: list[bytes] = []

    def look(self) -> None:
        """See whether it can be measured, and leave everything as it is."""
        self.start()
        self._ours = []  # nothing was written yet
        self.close()

    def start(self) -> float:
        """Look at it: it must answer, and have none of our keys."""
        from redis.exceptions import RedisError

        try:
            taken = [key for key in KEYS if self.control.exists(key)]
            info = self.info()
        except RedisError as error:
            raise ContenderError(f"{self.host}:{self.port}: {error}") from error
        if taken:
            name = taken[0].decode()
            raise ContenderError(f"{self.host}:{self.port} has a key {name}, which would be lost")
        self._ours = list(KEYS)
        self.is_respq = "respq_version" in info
        self.name = "respq given" if self.is_respq else "given"
        pid = Path(f"/proc/{info.get('process_id', 0)}/stat")
        here = self.host in {"127.0.0.1", "localhost", "::1"} and pid.exists()
        self._stat = pid if here else None
        settings: Any = self.control.config_get("append*")
        self.durability = str(settings.get("appendfsync", "?"))
        if settings.get("appendonly") == "no":
            self.durability = "memory"
        return 0.0

    def cpu_seconds(self) -> float:
        """Processor time it has used; 0 where that cannot be seen."""
        if self._stat is None:
            return 0.0
        fields = self._stat.read_text().rsplit(") ", 1)[1].split()
        return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """It is not ours to end."""
        raise ContenderError("a given server is not killed")

    def close(self) -> None:
        """Delete what we wrote, and let go."""
        if self._ours:
            self.control.delete(*self._ours)
        if self._control is not None:
            self._control.close()
            self._control = None

    def stated_recovery(self) -> str:
        """It is not watched."""
        return ""

    def log_tail(self) -> str:
        """Nor is its log."""
        return ""
