"""A redis-server 8.2.3 for the tests that ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.respclient import Client


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with (
        servers.redis(tmp_path_factory.mktemp("oracle") / "redis", 8) as server,
        server.connect() as client,
    ):
        yield client
