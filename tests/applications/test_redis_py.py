"""redis-py's own tests pass against respq, but for those listed, which fail for the cause given."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests import servers
from tests.applications import redis_py
from tests.servers import Server

PASSED_MIN = {"commands": 250, "pubsub": 190, "connection": 300, "asyncio": 180}


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    with servers.respq(tmp_path / "data", *redis_py.OPTIONS) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("part", redis_py.PARTS)
def test_what_passes_and_what_fails_is_known(server: Server, part: str) -> None:
    files = tuple(f"{file}.py::" for file in redis_py.PARTS[part])
    listed = {test: cause for test, cause in redis_py.read_list().items() if test.startswith(files)}
    outcome = redis_py.run_part(server, part, listed)
    assert {test: redis_py.cause_of(error) for test, error in outcome.errors.items()} == listed
    assert outcome.passed >= PASSED_MIN[part]
