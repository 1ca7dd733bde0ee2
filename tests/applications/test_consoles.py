"""Programs that look at a server from outside: Prometheus' exporter scrapes it, redis-commander
shows a stream.
"""

from __future__ import annotations

import json
import pathlib
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.applications.stage import DEADLINE_S, HERE, Program, Stage
from tests.applications.verbs import Recording, golden
from tests.respclient import Client
from tests.servers import Server, free_port

EXPORTER_VERBS = """
    CLIENT SETNAME, INFO, SELECT, XINFO STREAM, XINFO GROUPS, XINFO CONSUMERS
"""
COMMANDER_VERBS = """
    INFO, COMMAND, CLIENT SETNAME, SCAN MATCH * COUNT, TYPE, XLEN, XRANGE COUNT, TTL
"""


def fill(client: Client) -> None:
    """A stream of three entries and a group, one of whose consumers holds two."""
    for number in (1, 2, 3):
        client.call("XADD", "jobs", f"{number}-1", "job", f"job-{number}")
    client.call("XGROUP", "CREATE", "jobs", "workers", "0")
    client.call("XREADGROUP", "GROUP", "workers", "one", "COUNT", 2, "STREAMS", "jobs", ">")


def page(program: Program, url: str) -> str:
    """A page of a program that has just been started: ask until it listens."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as reply:
                text: str = reply.read().decode()
                return text
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            assert program.process.poll() is None, program.errors()
            assert time.monotonic() < deadline, program.errors()


def test_the_exporter_of_prometheus_scrapes(server: Server, stage: Stage) -> None:
    listens = f"127.0.0.1:{free_port()}"
    with server.connect() as client, Recording(server, client) as recording:
        fill(client)
        exporter = stage.start(
            "exporter",
            "prometheus-redis-exporter",
            f"-redis.addr=redis://127.0.0.1:{server.port}",
            f"-web.listen-address={listens}",
            "-check-streams=jobs",
        )
        metrics = dict(
            line.rsplit(" ", 1)
            for line in page(exporter, f"http://{listens}/metrics").splitlines()
            if not line.startswith("#")
        )
        recording.finish()
    group = 'db="db0",group="workers",stream="jobs"'
    expected = {
        "redis_up": "1",
        'redis_exporter_last_scrape_error{err=""}': "0",
        'redis_db_keys{db="db0"}': "1",
        'redis_stream_length{db="db0",stream="jobs"}': "3",
        'redis_stream_groups{db="db0",stream="jobs"}': "1",
        f"redis_stream_group_consumers{{{group}}}": "1",
        f"redis_stream_group_messages_pending{{{group}}}": "2",
        f'redis_stream_group_consumer_messages_pending{{consumer="one",{group}}}': "2",
    }
    assert {name: metrics.get(name) for name in expected} == expected
    assert recording.verbs == golden(EXPORTER_VERBS)


def test_redis_commander_shows_a_stream(
    server: Server, stage: Stage, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where it would look for its settings
    port = free_port()
    with server.connect() as client, Recording(server, client) as recording:
        fill(client)
        commander = stage.start(
            "redis-commander",
            "node",
            str(HERE / "node/node_modules/redis-commander/bin/redis-commander.js"),
            f"--redis-host={server.host}",
            f"--redis-port={server.port}",
            "--address=127.0.0.1",
            f"--port={port}",
            "--nosave",
            "--noload",
        )

        def ask(path: str) -> Any:
            return json.loads(page(commander, f"http://127.0.0.1:{port}/{path}"))

        connected = "Redis Connection 127.0.0.1"
        while not (stage.next_line().text or "").startswith(connected):
            pass
        connection = f"R:127.0.0.1:{server.port}:0"
        (shown,) = ask(f"apiv2/keystree/{connection}/")["data"]
        assert (shown["text"], shown["rel"]) == ("jobs (3)", "stream")
        key = ask(f"apiv1/key/{connection}/jobs")
        assert (key["type"], key["length"], key["ttl"]) == ("stream", 3, -1)
        assert [(row["timestamp"], row["field"], row["value"]) for row in key["items"]] == [
            (f"{number}-1", "job", f"job-{number}") for number in (1, 2, 3)
        ]
        recording.finish()
    assert recording.verbs == golden(COMMANDER_VERBS)
