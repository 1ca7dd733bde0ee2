"""redis-servers for the tests that ask them: 8.2.3, and the older 7.0.15."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.respclient import Client


def client_of(tmp_path_factory: pytest.TempPathFactory, version: int) -> Iterator[Client]:
    with (
        servers.redis(tmp_path_factory.mktemp("oracle") / "redis", version) as server,
        server.connect() as client,
    ):
        yield client


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    yield from client_of(tmp_path_factory, 8)


@pytest.fixture(scope="module")
def older_oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    yield from client_of(tmp_path_factory, 7)
