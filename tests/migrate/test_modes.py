"""Ugly streams of real servers arrive the same in every mode."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Iterator

import pytest

from tests import servers
from tests.migrate.support import delay_none, migrate, url
from tests.migrate.ugly import Ugly, first_difference, known
from tests.seeds import seeds
from tests.servers import Server

STEPS = 600


@pytest.fixture(scope="module", params=[8, 7])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Server, Server]]:
    """A redis-server and a respq."""
    folder: pathlib.Path = tmp_path_factory.mktemp("modes")
    # a presented version that is the source's, so that what XINFO tells is the same
    presents = servers.REDIS_8_VERSION
    with (
        servers.redis(folder / "source", request.param, *delay_none()) as source,
        servers.respq(folder / "target", presents=presents) as target,
    ):
        yield request.param, source, target


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("mode", ["file", "follow", "takeover", "scan"])
def test_ugly_streams_arrive_the_same(
    pair: tuple[int, Server, Server], mode: str, seed: int
) -> None:
    print(f"seed {seed}")
    version, source, target = pair
    rng = random.Random(f"{seed} {mode}")
    live = mode != "file"
    with source.connect() as theirs, target.connect() as ours:
        theirs.call("REPLICAOF", "NO", "ONE")
        theirs.call("CONFIG", "SET", "min-replicas-to-write", 0)
        theirs.call("FLUSHALL")
        ours.call("FLUSHALL")
        ugly = Ugly(theirs, rng, extra=version == 8)
        ugly.run(STEPS)
        where = url(source)
        words = ["-u", url(target), *(["--mode", mode] if live else [])]
        if not live:
            assert theirs.call("SAVE") == b"OK"
            where = str(source.directory / "dump.rdb")
        done = migrate("run", where, *words)
        assert done.code == 0, done
        difference = first_difference(known(theirs, version), known(ours, version))
        assert not difference, difference
        verdict = migrate("verify", where, "-u", url(target))
        assert verdict.code == 0, verdict
        if not live:
            return
        ugly.run(STEPS)
        done = migrate("cutover", where, *words)
        assert done.code == 0, done
        assert "nobody could write for 0." in done.out
        difference = first_difference(known(theirs, version), known(ours, version))
        assert not difference, difference
        assert theirs.call("XADD", "a", "*", "f", "v").kind == "-"
        assert ours.call("KEYS", "respq:*") == [b"respq:migrate:over"]
        verdict = migrate("verify", where, "-u", url(target))
        assert verdict.code == 0, verdict
        # the target goes on by itself: nothing comes from there any more, unless it is said
        assert ours.call("XADD", "after", "1-0", "f", "v") == b"1-0"
        verdict = migrate("verify", where, "-u", url(target))
        assert verdict.code == 1
        assert "try: nothing: the target was cut over" in verdict.err
        again = migrate("run", where, "-u", url(target))
        assert again.code == 3
        assert "the target was cut over from" in again.err
        assert ours.call("XLEN", "after") == 1
