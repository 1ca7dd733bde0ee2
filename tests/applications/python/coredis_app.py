"""coredis' group consumer. Started again under its name, it begins with what it had not finished.

python coredis_app.py produce|work PORT NAME IDLE_MS [JOB..]
"""

from __future__ import annotations

import asyncio
import sys

from coredis import Redis
from coredis.patterns.streams import Consumer, GroupConsumer

from tests.applications.python.holding import say, took_async


async def produce(client: Redis[str], jobs: list[str]) -> None:
    for job in jobs:
        await client.xadd("jobs", field_values={"job": job})
    # A consumer without a group sees the whole stream from where it is told to begin.
    async with Consumer(client, ["jobs"], buffer_size=100, jobs={"identifier": "0-0"}) as all_jobs:
        for job in jobs:
            _, entry = await all_jobs.get_entry()
            assert entry is not None
            assert entry.field_values["job"] == job


async def work(client: Redis[str], name: str) -> None:
    consumer = GroupConsumer(
        client, ["jobs"], "workers", name, start_from_backlog=True, timeout=100
    )
    async with consumer:
        say("ready")
        while True:
            _, entry = await consumer.get_entry()
            if entry is not None:
                await took_async(entry.field_values["job"])
                await client.xack("jobs", "workers", [entry.identifier])


async def main(role: str, port: str, name: str, _idle_ms: str, *jobs: str) -> None:
    client = Redis(host="127.0.0.1", port=int(port), decode_responses=True)
    async with client:
        await (produce(client, list(jobs)) if role == "produce" else work(client, name))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
