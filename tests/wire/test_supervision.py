"""What systemd is told over its socket: recovery, readiness, that the loop turns, the end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from respserver.supervision import Manager
from tests import servers

WAIT_S = 30.0


class Listener:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._messages: Queue[dict[str, str]] = Queue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while lines := self._socket.recv(65536).decode().splitlines():
            self._messages.put(dict(line.split("=", 1) for line in lines))

    def message(self) -> dict[str, str]:
        """The next message."""
        return self._messages.get(timeout=WAIT_S)

    @property
    def silent(self) -> bool:
        """Whether there is none."""
        return self._messages.empty()

    def until(self, name: str) -> dict[str, str]:
        """The next message that has a line of this name."""
        while name not in (told := self.message()):
            pass
        return told

    def close(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._reader.join()
        self._socket.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    yield made
    made.close()


def test_a_service_manager_is_told(listener: Listener, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    server = servers.respq(tmp_path / "data", environment=environment)
    with server:
        assert listener.message()["STATUS"] == "recovering 0 %"
        ready = listener.message()
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith("respq ready on ")
        for _ in range(3):
            assert listener.message() == {"WATCHDOG": "1"}
        with server.connect() as client:
            for _ in range(60):
                client.call("XADD", "s", "*", "f", "x" * 10_000)
            assert "process_supervised:systemd\r\n" in client.call("INFO", "server").decode()
        server.kill()
        server.start()
        told = [listener.until("STATUS")["STATUS"]]
        while not told[-1].startswith("respq ready"):
            told.append(listener.until("STATUS")["STATUS"])
        percents = [int(found[1]) for text in told if (found := re.search(r"(\d+) %", text))]
        assert percents == sorted(set(percents))
        assert percents[0] == 0
        assert percents[-1] <= 65  # of a file of 1 MiB, not told at every percent
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        assert listener.until("STOPPING") == {"STOPPING": "1", "STATUS": "stopping"}
        assert server.process.wait(WAIT_S) == 0


def test_a_server_that_cannot_start_is_never_ready(listener: Listener, tmp_path: Path) -> None:
    with servers.respq(tmp_path / "data") as server:
        done = subprocess.run(
            [*(servers.RESPQ, "serve", "--port", str(server.port), "--dir", tmp_path / "other")],
            env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": "/bin"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1
    assert "READY" not in listener.message()
    assert listener.silent


def test_abstract_names_and_nobody_there() -> None:
    listener = Listener("\0respq-test-supervision")
    manager = Manager({"NOTIFY_SOCKET": "@respq-test-supervision"})
    assert manager.watchdog_s is None
    manager.recovering(7)
    manager.recovering(7)
    manager.tell("READY=1")
    assert listener.message() == {"STATUS": "recovering 7 %", "EXTEND_TIMEOUT_USEC": "60000000"}
    assert listener.message() == {"READY": "1"}
    listener.close()
    manager.tell("WATCHDOG=1")  # nobody hears it
    manager.close()
    manager.tell("WATCHDOG=1")
    Manager({}).tell("READY=1")


def test_whose_watchdog_it_is() -> None:
    here = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000"}
    cases = [({}, 1.5), ({"WATCHDOG_PID": "1"}, None), ({"WATCHDOG_USEC": "soon"}, None)]
    for more, expected in cases:
        manager = Manager(here | more)
        assert manager.watchdog_s == expected
        manager.close()
    assert Manager({"WATCHDOG_USEC": "3000000"}).watchdog_s is None
