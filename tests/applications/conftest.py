"""A server of its own for each test, and a stage for the programs that use it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

from tests import servers
from tests.applications.stage import Stage


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[servers.Server]:
    """A respq; or a redis-server, to try the tests themselves."""
    if os.environ.get("RESPQ_DIFFERENTIAL_SUBJECT") == "redis":
        made = servers.redis(tmp_path / "redis", 8)
    else:
        made = servers.respq(tmp_path / "data")
    with made:
        yield made


@pytest.fixture
def stage(server: servers.Server, tmp_path: pathlib.Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()
