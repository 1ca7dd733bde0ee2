"""One respq and one of each Redis for the whole folder; each test starts with empty ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.respclient import Client


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, servers.Server]]:
    home = tmp_path_factory.mktemp("tools")
    found = {
        "respq": servers.respq(home / "respq"),
        "redis-8": servers.redis(home / "redis-8", 8),
        "redis-7": servers.redis(home / "redis-7", 7),
    }
    try:
        for server in found.values():
            server.start()
        yield found
    finally:
        for server in found.values():
            if server.process is not None:
                server.kill()


def emptied(server: servers.Server) -> servers.Server:
    with server.connect() as client:
        assert client.call("FLUSHALL") == b"OK"
    return server


@pytest.fixture
def respq(started: dict[str, servers.Server]) -> servers.Server:
    return emptied(started["respq"])


@pytest.fixture
def redis8(started: dict[str, servers.Server]) -> servers.Server:
    return emptied(started["redis-8"])


@pytest.fixture
def redis7(started: dict[str, servers.Server]) -> servers.Server:
    return emptied(started["redis-7"])


@pytest.fixture(params=["respq", "redis-8", "redis-7"])
def server(request: pytest.FixtureRequest, started: dict[str, servers.Server]) -> servers.Server:
    """Every server in turn: what a command prints is the same on each."""
    return emptied(started[request.param])


@pytest.fixture
def client(server: servers.Server) -> Iterator[Client]:
    with server.connect() as connected:
        yield connected
