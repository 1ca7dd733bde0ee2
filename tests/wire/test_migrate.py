"""A redis-server hands keys over with MIGRATE, and redis-py carries them back."""

from __future__ import annotations

import pathlib

import pytest
import redis

from tests import servers
from tests.wire.conftest import Starter


@pytest.mark.parametrize("version", [8, 7])
def test_a_redis_server_migrates_keys_here_and_takes_them_back(
    version: int, start: Starter, tmp_path: pathlib.Path
) -> None:
    subject = start("--rdb-stream-type", "21" if version == 8 else "19")
    with (
        servers.redis(tmp_path / "source", version) as source,
        source.connect() as theirs,
        subject.connect() as ours,
        redis.Redis(port=subject.port) as client,
    ):
        for i in range(1, 300):
            theirs.call("XADD", "s", f"{i}-0", "sensor", i % 7, "temp", f"{i}.5", "note", "n" * i)
        theirs.call("XGROUP", "CREATE", "s", "g", 0)
        theirs.call("XREADGROUP", "GROUP", "g", "worker", "COUNT", 120, "STREAMS", "s", ">")
        theirs.call("XACK", "s", "g", *[f"{i}-0" for i in range(1, 50)])
        theirs.call("XDEL", "s", "60-0", "299-0")
        theirs.call("PEXPIRE", "s", 1_000_000)
        theirs.call("SET", "k", "text " * 20)
        entries = theirs.raw("XRANGE", "s", "-", "+")
        full = theirs.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        moved = theirs.call(
            *("MIGRATE", "127.0.0.1", subject.port, "", 0, 10_000, "KEYS", "s", "k")
        )
        assert moved == b"OK"
        assert theirs.call("DBSIZE") == 0
        assert ours.raw("XRANGE", "s", "-", "+") == entries
        assert ours.call("XPENDING", "s", "g")[0] == 71
        assert 0 < ours.call("PTTL", "s") <= 1_000_000
        assert ours.call("GET", "k") == b"text " * 20

        with redis.Redis(port=source.port) as back:
            for name in (b"s", b"k"):
                payload = client.dump(name)
                assert payload is not None
                back.restore(name, 0, payload)
        assert theirs.raw("XRANGE", "s", "-", "+") == entries
        again = theirs.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        names = (b"groups", b"entries-added", b"max-deleted-entry-id", b"radix-tree-keys")
        for name in names:
            assert again[again.index(name) + 1] == full[full.index(name) + 1]


def test_a_long_stream_comes_and_survives_a_kill(start: Starter, tmp_path: pathlib.Path) -> None:
    """Ten megabytes are one frame of the log; nothing of it is lost by SIGKILL."""
    subject = start(appendfsync="always")
    with subject.connect() as client:
        value = "v" * 200
        for first in range(0, 40_000, 1000):
            for i in range(first, first + 1000):
                client.send("XADD", "s", f"{i + 1}-0", "n", i, "value", value)
            for _ in range(1000):
                client.read()
        payload = client.call("DUMP", "s")
        assert client.call("RESTORE", "t", 0, payload) == b"OK"
        last = client.call("XREVRANGE", "t", "+", "-", "COUNT", 5)
    subject.kill()
    with start(directory=tmp_path / "data").connect() as client:
        assert client.call("XLEN", "t") == 40_000
        assert client.call("XREVRANGE", "t", "+", "-", "COUNT", 5) == last
        assert client.call("DUMP", "t") == payload
