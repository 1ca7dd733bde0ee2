"""FastStream, as its documentation shows it: one subscriber for new messages, one for what others
left behind; or one for both, which reads with CLAIM.

python faststream_app.py produce|autoclaim|claim PORT NAME IDLE_MS [JOB..]
"""

from __future__ import annotations

import asyncio
import sys

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from tests.applications.python.holding import say, took_async

POLL_MS = 100


async def produce(broker: RedisBroker, jobs: list[str]) -> None:
    async with broker:
        for number, job in enumerate(jobs):
            await broker.publish(job, stream="jobs", maxlen=1000 if number % 2 else None)


async def work(broker: RedisBroker, role: str, name: str, idle_ms: int) -> None:
    if role == "claim":
        both = StreamSub(
            "jobs",
            group="workers",
            consumer=name,
            polling_interval=POLL_MS,
            claim_min_idle_time=idle_ms,
        )
        broker.subscriber(stream=both)(took_async)
    else:
        new = StreamSub("jobs", group="workers", consumer=name, polling_interval=POLL_MS)
        left = StreamSub(
            "jobs",
            group="workers",
            consumer=name,
            polling_interval=POLL_MS,
            min_idle_time=idle_ms,
        )
        broker.subscriber(stream=new)(took_async)
        broker.subscriber(stream=left)(took_async)
    app = FastStream(broker)

    @app.after_startup
    async def ready() -> None:
        say("ready")

    await app.run()


def main(role: str, port: str, name: str, idle_ms: str, *jobs: str) -> None:
    broker = RedisBroker(f"redis://127.0.0.1:{port}", logger=None)
    if role == "produce":
        asyncio.run(produce(broker, list(jobs)))
    else:
        asyncio.run(work(broker, role, name, int(idle_ms)))


if __name__ == "__main__":
    main(*sys.argv[1:])
