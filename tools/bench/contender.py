"""The two servers that are compared: started in a directory of their own, watched, and ended.

Rules: both listen on a free port of the loopback and get the same ``appendfsync``. redis-server
runs with its append-only file and without rewriting it, which is its quickest way to be as durable;
respq runs as it comes. A contender is ended by its own process id, and its directory removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis

START_S_MAX = 300.0
POLL_S = 0.002


class ContenderError(Exception):
    """A server did not start, or ended by itself."""


def redis_argv(program: str, directory: Path, port: int, appendfsync: str) -> list[str]:
    """The command line of redis-server."""
    return [
        *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)),
        *("--appendonly", "yes", "--appendfsync", appendfsync, "--save", ""),
        *("--auto-aof-rewrite-percentage", "0"),
    ]


def respq_argv(program: str, directory: Path, port: int, appendfsync: str) -> list[str]:
    """The command line of respq."""
    return [
        *(program, "serve", "--bind", "127.0.0.1", "--port", str(port)),
        *("--dir", str(directory), "--appendfsync", appendfsync),
    ]


def installed_respq() -> str:
    """The respq command of this installation."""
    beside = Path(sys.executable).parent / "respq"
    return str(beside) if beside.exists() else shutil.which("respq") or str(beside)


class Contender:
    """One server process. ``is_respq`` says which of the two it is."""

    def __init__(
        self,
        name: str,
        program: str,
        appendfsync: str,
        *,
        is_respq: bool,
        options: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.is_respq = is_respq
        self.durability = appendfsync  # when what it answers is on disk
        self.host = "127.0.0.1"
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix=f"respq-bench-{name}-"))
        self.data = self.home / "data"
        self.data.mkdir()
        self.log = self.home / "log"
        argv_of = respq_argv if is_respq else redis_argv
        self._argv = [*argv_of(program, self.data, self.port, appendfsync), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Redis | None = None

    def start(self) -> float:
        """Start the process; the seconds from exec to its first PONG."""
        began = time.monotonic()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        except OSError as error:
            raise ContenderError(f"{self.name} cannot be started: {error}") from error
        while not self._pongs():
            code = self._process.poll()
            if code is not None:
                raise ContenderError(f"{self.name} ended with {code}: {self.log_tail()}")
            if time.monotonic() - began > START_S_MAX:
                raise ContenderError(f"{self.name} does not answer: {self.log_tail()}")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def _pongs(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")  # not so while it is loading
        except OSError:
            return False

    @property
    def control(self) -> Redis:
        """A client for what is not measured."""
        if self._control is None:
            import redis

            self._control = redis.Redis(self.host, self.port, socket_timeout=START_S_MAX)
        return self._control

    def ask(self, *command: str | bytes | int) -> Any:
        """One command, its reply as it came."""
        execute: Any = self.control.execute_command
        return execute(*command)

    def info(self) -> dict[str, Any]:
        """INFO, every section."""
        answer: dict[str, Any] = self.control.info("everything")
        return answer

    def flushes(self) -> int | None:
        """How many memtables respq has flushed so far; None for redis-server, which has none."""
        return int(self.info()["memtable_flushes"]) if self.is_respq else None

    def cpu_seconds(self) -> float:
        """Processor time the process has used, all threads and ended children."""
        fields = Path(f"/proc/{self._pid()}/stat").read_text().rsplit(") ", 1)[1].split()
        return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self, *, peak: bool = False) -> int:
        """Memory the process has, as the system counts it, or the most it ever had."""
        status = Path(f"/proc/{self._pid()}/status").read_text()
        field = "VmHWM:" if peak else "VmRSS:"
        return int(status.split(field, 1)[1].split(maxsplit=1)[0]) * 1024

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End the process and remove what it wrote."""
        with suppress(ContenderError):
            self._end(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def stated_recovery(self) -> str:
        """The newest line in which the server says what it recovered, and in what time."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        said = (line for line in reversed(lines) if "recovered" in line or "DB loaded" in line)
        return next(said, "").strip()

    def log_tail(self) -> str:
        """The end of what the server printed."""
        return self.log.read_text("utf-8", "replace")[-2000:].strip()

    def _pid(self) -> int:
        if self._process is None:
            raise ContenderError(f"{self.name} is not running")
        return self._process.pid

    def _end(self, how: signal.Signals) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
