"""taskiq with the stream broker of taskiq-redis, its lock around XAUTOCLAIM and its result backend.

python taskiq_app.py produce|work PORT NAME IDLE_MS [JOB..]
"""

from __future__ import annotations

import asyncio
import sys

from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from tests.applications.python.holding import say, took_async

RESULT_DEADLINE_S = 60


async def produce(broker: RedisStreamBroker, jobs: list[str]) -> None:
    task = broker.register_task(took_async, task_name="job")
    await broker.startup()
    kicked = [(job, await task.kiq(job)) for job in jobs]
    for job, handle in kicked:
        result = await handle.wait_result(timeout=RESULT_DEADLINE_S)
        say(f"result {job} {'failed' if result.is_err else 'fine'}")
    await broker.shutdown()


async def work(broker: RedisStreamBroker) -> None:
    broker.register_task(took_async, task_name="job")
    broker.is_worker_process = True
    receiver = asyncio.create_task(run_receiver_task(broker, run_startup=True))
    say("ready")
    await receiver


def main(role: str, port: str, name: str, idle_ms: str, *jobs: str) -> None:
    url = f"redis://127.0.0.1:{port}"
    broker = RedisStreamBroker(
        url,
        queue_name="jobs",
        consumer_group_name="workers",
        consumer_name=name,
        consumer_id="0",
        xread_block=100,
        xread_count=1,
        maxlen=1000,
        idle_timeout=int(idle_ms),
        unacknowledged_lock_timeout=5.0,
    ).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=600))
    assert isinstance(broker, RedisStreamBroker)
    asyncio.run(produce(broker, list(jobs)) if role == "produce" else work(broker))


if __name__ == "__main__":
    main(*sys.argv[1:])
