"""The two voices and the subjects, one process each for a test session, and runners of transcripts
on them.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests import servers
from tests.differential.transcript import DEBUG, Runner

RunnerOf = Callable[[servers.Server, int], Runner]
SubjectOf = Callable[[str], servers.Server]
IS_REDIS = os.environ.get("RESPQ_DIFFERENTIAL_SUBJECT") == "redis"


@pytest.fixture(scope="session")
def first_voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.redis(tmp_path_factory.mktemp("voice") / "redis-8", 8, *DEBUG) as server:
        yield server


@pytest.fixture(scope="session")
def second_voice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.redis(tmp_path_factory.mktemp("voice") / "redis-7", 7, *DEBUG) as server:
        yield server


@pytest.fixture(scope="session")
def subject_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubjectOf]:
    """respq that presents a version of Redis, started when it is first asked for; or a second
    redis-server 8.2.3, to try the tests (RESPQ_DIFFERENTIAL_SUBJECT=redis).
    """
    started: dict[str, servers.Server] = {}

    def subject_of(version: str) -> servers.Server:
        if version not in started:
            directory: pathlib.Path = tmp_path_factory.mktemp(f"subject-{version}")
            started[version] = (
                servers.redis(directory / "redis", 8, *DEBUG)
                if IS_REDIS
                else servers.respq(directory / "data", *DEBUG, presents=version)
            ).start()
        return started[version]

    yield subject_of
    for server in started.values():
        server.kill()


@pytest.fixture(scope="session")
def subject(subject_of: SubjectOf) -> servers.Server:
    """The subject as the first voice's version."""
    return subject_of(servers.REDIS_8_VERSION)


@pytest.fixture(scope="session")
def runner_of() -> Iterator[RunnerOf]:
    """A runner for a server and a protocol version, made once."""
    runners: dict[tuple[str, int], Runner] = {}

    def runner_of(server: servers.Server, proto: int) -> Runner:
        key = (f"{server.name}:{server.port}", proto)
        if key not in runners:
            runners[key] = Runner(server, proto)
        return runners[key]

    yield runner_of
    for runner in runners.values():
        runner.close()
