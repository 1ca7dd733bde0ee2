"""A shared respq, a redis-server 8.2.3 beside it, and a factory of servers of one's own."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests import servers

Starter = Callable[..., servers.Server]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A respq for all tests that harm nothing; or a redis-server, to try the tests themselves."""
    directory = tmp_path_factory.mktemp("shared")
    if os.environ.get("RESPQ_DIFFERENTIAL_SUBJECT") == "redis":
        server = servers.redis(directory / "redis", 8)
    else:
        server = servers.respq(directory / "data")
    with server:
        yield server


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.redis(tmp_path_factory.mktemp("voice") / "redis-8", 8) as server:
        yield server


@pytest.fixture
def subject(shared: servers.Server) -> servers.Server:
    """The shared respq, empty."""
    with shared.connect() as client:
        assert client.call("FLUSHALL") == b"OK"
    return shared


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Starter]:
    """Start a respq of one's own: `start(appendfsync="always", password=..)`; killed at the end."""
    started: list[servers.Server] = []

    def start(*options: str, directory: pathlib.Path | None = None, **more: str) -> servers.Server:
        server = servers.respq(directory or tmp_path / "data", *options, **more)  # type: ignore[arg-type]
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()
