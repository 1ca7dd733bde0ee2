"""The migrator is killed at random points and run again; two at once; a source that dies."""

from __future__ import annotations

import os
import pathlib
import random
import re
import select
import signal
import threading

import pytest

from tests import servers
from tests.migrate.support import begin, delay_none, migrate, url
from tests.migrate.ugly import Ugly, first_difference, known
from tests.respclient import Client
from tests.seeds import seeds
from tools.migrate import fence
from tools.migrate.move import Move

LONG = 30_000


def fill(client: Client, key: str, n: int, first: int = 1) -> None:
    """A long stream with a group."""
    for at in range(first, first + n, 1000):
        for i in range(at, at + 1000):
            client.send("XADD", key, f"{i}-0", "n", i, "value", "v" * 50)
        for _ in range(1000):
            client.read()
    client.call("XGROUP", "CREATE", key, "g", 0)
    client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 500, "STREAMS", key, ">")


def wait_for(process_pid: int, seconds: float) -> bool:
    """Whether the process ended within so many seconds."""
    descriptor = os.pidfd_open(process_pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(int(seconds * 1000)))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("mode", ["file", "follow", "scan"])
def test_a_migrator_killed_at_any_point_goes_on(
    mode: str, seed: int, tmp_path: pathlib.Path
) -> None:
    print(f"seed {seed}")
    rng = random.Random(f"{seed} {mode} killed")
    version = rng.choice((7, 8))
    with (
        servers.redis(tmp_path / "source", version, *delay_none()) as source,
        servers.respq(tmp_path / "target", presents=servers.REDIS_8_VERSION) as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        fill(theirs, "long", LONG)
        ugly = Ugly(theirs, rng, extra=False)
        ugly.run(300)
        theirs.call("SAVE")
        words = ["run", url(source), "-u", url(target), "--mode", mode]
        if mode == "file":
            words = ["run", str(source.directory / "dump.rdb"), "-u", url(target)]
        killed = 0
        for turn in range(4):
            process = begin(*words, "--max-rate", "30000", folder=tmp_path)
            if not wait_for(process.pid, rng.uniform(0.4, 1.2)):
                killed += 1
            process.kill()
            process.wait()
            if mode != "file":
                ugly.run(60)
                theirs.call("XDEL", "long", f"{turn * 50 + 7}-0", f"{rng.randrange(LONG)}-0")
                theirs.call("XTRIM", "long", "MINID", turn * 40)
        assert killed
        done = migrate(*words)
        assert done.code == 0, done
        if mode != "file":
            done = migrate("cutover", *words[1:])
            assert done.code == 0, done
        difference = first_difference(known(theirs, version), known(ours, version))
        assert not difference, difference


def test_only_one_migrator_at_a_time(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        fill(theirs, "s", 1000)
        first = begin("run", url(source), "-u", url(target), "--follow", folder=tmp_path)
        while ours.call("XLEN", "s") != 1000 or ours.call("EXISTS", "respq:migrate:offset") != 1:
            assert not wait_for(first.pid, 0.01)
        done = migrate("run", url(source), "-u", url(target))
        assert done.code == 3
        assert "another migrator fills this target" in done.err
        first.terminate()
        assert first.wait(20) == 0
        assert migrate("run", url(source), "-u", url(target)).code == 0


def test_a_follower_goes_on_where_it_was_without_a_snapshot(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        fill(theirs, "s", 2000)
        words = ["run", url(source), "-u", url(target), "--json"]
        assert migrate(*words).json["streams"] == 1
        theirs.call("XADD", "s", "9000-0", "f", "v")
        again = migrate(*words)
        assert again.json["streams"] == 0
        assert again.json["proven"] == 0
        assert again.json["commands"] >= 1
        assert ours.call("XREVRANGE", "s", "+", "-", "COUNT", 1)[0][0] == b"9000-0"
        # what follows is no longer there: a snapshot, proven against what is there
        theirs.call("CONFIG", "SET", "repl-backlog-size", 16384)
        theirs.call("SET", "k", "v" * 100_000)
        theirs.call("XADD", "s", "9001-0", "f", "v")
        again = migrate(*words)
        assert again.code == 0
        assert again.json["streams"] == 1
        assert again.json["proven"] == 2001
        assert again.json["entries"] == 1


def test_a_source_that_dies_midway_is_one_line(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        fill(theirs, "s", LONG)
        words = ["run", url(source), "-u", url(target), "--max-rate", "20000"]
        process = begin(*words, folder=tmp_path)
        while not ours.call("XLEN", "s"):
            assert not wait_for(process.pid, 0.01)
        source.kill()
        assert process.wait(20) == 2
        log = (tmp_path / "migrate.log").read_text().strip().split("\n")
        assert [line for line in log if line.startswith("respq migrate:")] == [log[-2]]
        assert "closed the connection" in log[-2] or "broke" in log[-2]
        assert log[-1].startswith("try: run the same command again")
        assert 0 < ours.call("XLEN", "s") <= LONG


def test_a_stream_that_was_made_anew_is_made_anew(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        for mode in ("follow", "scan"):
            theirs.call("FLUSHALL")
            ours.call("FLUSHALL")
            fill(theirs, "s", 2000)
            words = ["run", url(source), "-u", url(target), "--mode", mode]
            assert migrate(*words).code == 0
            theirs.call("DEL", "s")
            theirs.call("XADD", "s", "5-0", "other", "stream")
            theirs.call("XADD", "t", "5-0", "other", "stream")
            ours.call("DEL", "respq:migrate:offset")  # as if the backlog had run out
            done = migrate(*words)
            assert done.code == 0, done
            assert ours.call("XRANGE", "s", "-", "+") == [[b"5-0", [b"other", b"stream"]]]
            theirs.call("DEL", "t")
            ours.call("DEL", "respq:migrate:offset")
            assert migrate(*words).code == 0
            assert ours.call("EXISTS", "t") == 0


def test_a_cut_over_that_fails_lets_the_writers_go_on(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
    ):
        fill(theirs, "s", 1000)
        theirs.call("ACL", "SETUSER", "default", "-failover")
        words = [url(source), "-u", url(target), "--mode", "takeover"]
        done = migrate("cutover", *words)
        assert done.code == 3, done
        assert "does not fail over" in done.err
        writer = threading.Thread(target=theirs.call, args=("XADD", "s", "*", "f", "v"))
        writer.start()
        writer.join(5)
        assert not writer.is_alive()


@pytest.mark.parametrize("mode", ["follow", "scan"])
def test_a_pause_is_held_or_nothing_is_cut_over(
    mode: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
    ):
        theirs.call("XADD", "s", "1-0", "f", "v")
        theirs.call("CONFIG", "SET", "min-replicas-max-lag", 77)
        words = [url(source), "-u", url(target), "--mode", mode]
        heads = Move._true_heads

        def slow(move: Move) -> None:
            """Until the pause was renewed twice."""
            calls = 0
            while calls < 3:
                told = theirs.call("INFO", "commandstats").decode()
                found = re.search(r"cmdstat_client\|pause:calls=(\d+)", told)
                calls = int(found[1]) if found else 0
            heads(move)

        def settings() -> list[bytes]:
            told = theirs.call("CONFIG", "GET", "min-replicas-*")
            return sorted(told[1::2])

        # it lapsed: writers go on, and all is as it was
        monkeypatch.setattr(fence, "PAUSE_MS", 1)
        done = migrate("cutover", *words)
        assert done.code == 3, done
        assert "the pause ran out before everything was over" in done.err
        assert settings() == [b"0", b"77"]
        assert theirs.call("XADD", "s", "2-0", "f", "v") == b"2-0"
        monkeypatch.undo()
        # it is renewed for as long as it takes
        theirs.call("CONFIG", "RESETSTAT")
        monkeypatch.setattr(fence, "RENEW_S", 0.01)
        monkeypatch.setattr(Move, "_true_heads", slow)
        done = migrate("cutover", *words)
        assert done.code == 0, done
        assert settings() == [b"10", b"9999"]
        assert "CONFIG SET min-replicas-max-lag 77; " in done.out
        assert "CONFIG SET min-replicas-to-write 0" in done.out


def test_a_cut_over_that_is_terminated_lets_the_writers_go_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
    ):
        theirs.call("XADD", "s", "1-0", "f", "v")
        monkeypatch.setattr(Move, "_true_heads", lambda _: signal.raise_signal(signal.SIGTERM))
        done = migrate("cutover", url(source), "-u", url(target), "--mode", "follow")
        assert done.code == 1, done
        assert "writers of the source go on" in done.err
        assert theirs.call("XADD", "s", "2-0", "f", "v") == b"2-0"
