"""A consumer group of walrus over one stream, and its containers' view of the stream.

python walrus_app.py produce|work PORT NAME IDLE_MS [JOB..]
"""

from __future__ import annotations

import sys

from walrus import Database

from tests.applications.python.holding import say, took


def produce(database: Database, jobs: list[str]) -> None:
    stream = database.Stream("jobs")
    first = stream.add({"job": jobs[0]}, id="1-1")
    for job in jobs[1:]:
        stream.add({"job": job}, maxlen=1000)
    stream.trim(1000)
    stream.set_id(stream.info()["last-generated-id"])
    assert len(stream) == len(jobs)
    assert stream[first] == (first, {b"job": jobs[0].encode()})
    assert [row["name"] for row in stream.groups_info()] == [b"workers"]
    other = database.Stream("other")
    gone = other.add({"job": "none"})
    del other[gone]


def work(database: Database, name: str, idle_ms: int) -> None:
    group = database.consumer_group("workers", ["jobs"], consumer=name)
    group.create(mkstream=True)
    group.set_id("0")
    say("ready")
    while True:
        _, left = group.jobs.autoclaim(name, idle_ms, count=10)[:2]
        new = [entry for _, entries in group.read(count=1, block=100) for entry in entries]
        for entry_id, fields in [*left, *new]:
            took(fields[b"job"].decode())
            group.jobs.ack(entry_id)
        group.jobs.pending(count=10)


def main(role: str, port: str, name: str, idle_ms: str, *jobs: str) -> None:
    database = Database(host="127.0.0.1", port=int(port))
    if role == "produce":
        produce(database, list(jobs))
    else:
        work(database, name, int(idle_ms))


if __name__ == "__main__":
    main(*sys.argv[1:])
