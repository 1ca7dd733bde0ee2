"""Clients that are a burden are closed when the settings say so, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from respserver.clientlimits import ClientLimits
from respserver.session import Session
from respserver.settings import Config
from tests import servers
from tests.respclient import Closed


class Transport:
    """Holds as many bytes as the test says."""

    def __init__(self) -> None:
        self.waiting = 0
        self.reports_above: int | None = None

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        assert 0 <= low <= high
        self.reports_above = high


class Clients:
    """Sessions with such transports, and the limits over them."""

    def __init__(self, *settings: tuple[str, str]) -> None:
        self.config = Config()
        self.sessions: dict[int, Session] = {}
        self.limits = ClientLimits(self.config, self.sessions)
        self.set(0, *settings)

    def set(self, now_ms: int, *settings: tuple[str, str]) -> None:
        for name, text in settings:
            self.config.apply_live(name, text)
        self.limits.settings_changed(now_ms)

    def add(self, wall_ms: int = 0) -> tuple[Session, Transport]:
        number = len(self.sessions) + 1
        session = Session(number, "", "", number, wall_ms, NOBODY, NOBODY)
        session.transport = transport = Transport()
        self.sessions[number] = session
        self.limits.connected(session)
        return session, transport


NOBODY: Any = None
OUTPUT = "client-output-buffer-limit"


def test_without_limits_nothing_is_watched() -> None:
    clients = Clients()
    session, transport = clients.add()
    transport.waiting = 1 << 40
    assert transport.reports_above is None
    assert not clients.limits.is_reached(session, 0)
    assert clients.limits.next_deadline_ms() is None
    assert clients.limits.too_much_output(1 << 40) == []
    assert clients.limits.silent(1 << 40, 1 << 40) == []


def test_the_hard_limit_closes_at_once() -> None:
    clients = Clients((OUTPUT, "normal 1000 0 0"))
    session, transport = clients.add()
    assert transport.reports_above == 999
    transport.waiting = 999
    assert not clients.limits.is_reached(session, 0)
    transport.waiting = 1000
    assert clients.limits.is_reached(session, 0)


def test_the_soft_limit_closes_after_its_seconds() -> None:
    clients = Clients((OUTPUT, "normal 5000 1000 3"))
    slow, slow_transport = clients.add()
    drained, drained_transport = clients.add()
    gone, gone_transport = clients.add()
    assert slow_transport.reports_above == 999
    for transport in (slow_transport, drained_transport, gone_transport):
        transport.waiting = 1000
    for session in (slow, drained, gone):
        assert not clients.limits.is_reached(session, 100)
    assert not clients.limits.is_reached(slow, 2000), "the first time counts"
    assert clients.limits.next_deadline_ms() == 3100
    assert clients.limits.too_much_output(3099) == []
    drained_transport.waiting = 999
    del clients.sessions[gone.id]
    assert clients.limits.too_much_output(3100) == [slow]
    assert clients.limits.next_deadline_ms() is None


def test_limits_change_for_those_already_connected() -> None:
    clients = Clients()
    session, transport = clients.add()
    clients.set(0, (OUTPUT, "normal 0 1000 3"))
    assert transport.reports_above == 999
    transport.waiting = 1000
    assert not clients.limits.is_reached(session, 0)
    clients.set(0, (OUTPUT, "normal 0 0 0"))
    assert transport.reports_above is not None
    assert transport.reports_above > 1 << 20
    assert clients.limits.next_deadline_ms() is None
    assert clients.limits.too_much_output(1 << 40) == []


@pytest.mark.parametrize("start_ms", [0, 123_456])
def test_silence_is_measured_once_a_second(start_ms: int) -> None:
    clients = Clients()
    clients.set(start_ms, ("timeout", "10"))
    silent, _ = clients.add(wall_ms=5_000)
    clients.add(wall_ms=5_001)
    waiting, _ = clients.add(wall_ms=0)
    waiting.blocked = object()
    assert clients.limits.next_deadline_ms() == start_ms + 1000
    assert clients.limits.silent(start_ms + 999, 15_001) == []
    assert clients.limits.silent(start_ms + 1000, 15_000) == []
    assert clients.limits.next_deadline_ms() == start_ms + 2000
    assert clients.limits.silent(start_ms + 2000, 15_001) == [silent]
    clients.set(start_ms + 2000, ("timeout", "0"))
    assert clients.limits.next_deadline_ms() is None


def test_a_real_server_closes_the_silent_and_spares_the_blocked(tmp_path: Path) -> None:
    with (
        servers.respq(tmp_path / "data", "--timeout", "1") as server,
        server.connect() as silent,
        server.connect() as blocked,
    ):
        blocked.send("XREAD", "BLOCK", 3500, "STREAMS", "s", "$")
        assert silent.call("PING") == b"PONG"
        assert silent.read_to_end() == b""
        with pytest.raises((Closed, OSError)):
            silent.call("PING")
        assert blocked.read()[0] == b"*-1\r\n"
