"""redis-py, unchanged: a whole round of producing, consuming in a group, claiming and settling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from respserver.version import DEFAULT_VERSION
from tests.servers import Server
from tests.wire.conftest import Starter

ENTRIES = 50


def flat(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in a reply of XREAD or XREADGROUP, in either protocol's shape."""
    if isinstance(reply, dict):
        (rows,) = reply.values()
        return [row for page in rows for row in page]
    ((_, rows),) = reply
    return list(rows)


@pytest.mark.parametrize("protocol", [2, 3])
def test_round(subject: Server, protocol: int) -> None:
    with redis.Redis(port=subject.port, protocol=protocol) as client:
        assert client.ping()
        made = [client.xadd("jobs", {"n": n, "text": f"job {n}"}) for n in range(ENTRIES)]
        assert client.xlen("jobs") == ENTRIES
        assert [entry_id for entry_id, _ in client.xrange("jobs")] == made
        assert client.xrevrange("jobs", count=1)[0][1] == {b"n": b"49", b"text": b"job 49"}
        assert client.xgroup_create("jobs", "workers", id="0")
        with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
            client.xgroup_create("jobs", "workers")
        first = flat(client.xreadgroup("workers", "one", {"jobs": ">"}, count=30))
        second = flat(client.xreadgroup("workers", "two", {"jobs": ">"}, block=1000))
        assert [entry_id for entry_id, _ in first + second] == made
        assert client.xack("jobs", "workers", *made[:10]) == 10
        summary = client.xpending("jobs", "workers")
        assert summary["pending"] == 40
        assert {row["name"]: row["pending"] for row in summary["consumers"]} == {
            b"one": 20,
            b"two": 20,
        }
        rows = client.xpending_range("jobs", "workers", "-", "+", 100, consumername="one")
        assert [row["message_id"] for row in rows] == made[10:30]
        claimed = client.xclaim("jobs", "workers", "two", 0, made[10:15])
        assert [entry_id for entry_id, _ in claimed] == made[10:15]
        cursor, taken, deleted = client.xautoclaim("jobs", "workers", "three", 0, "0-0", count=10)
        assert [entry_id for entry_id, _ in taken] == made[10:20]
        assert (cursor, deleted) == (made[20], [])
        assert client.xdel("jobs", made[20]) == 1
        _, taken, deleted = client.xautoclaim("jobs", "workers", "three", 0, made[20])
        assert deleted == [made[20]]
        assert [entry_id for entry_id, _ in taken] == made[21:]
        assert client.xack("jobs", "workers", *made[10:]) == 39
        assert client.xpending("jobs", "workers")["pending"] == 0
        (group,) = client.xinfo_groups("jobs")
        assert group["lag"] == 0
        assert {row["name"] for row in client.xinfo_consumers("jobs", "workers")} == {
            b"one",
            b"two",
            b"three",
        }
        full = client.xinfo_stream("jobs", full=True)
        assert full["length"] == 49
        assert client.xinfo_stream("jobs")["last-generated-id"] == made[-1]
        assert client.xtrim("jobs", maxlen=5, approximate=False) == 44
        assert client.xgroup_delconsumer("jobs", "workers", "one") == 0
        assert client.xgroup_destroy("jobs", "workers")
        assert client.delete("jobs") == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_pipelines_names_and_errors(subject: Server, protocol: int) -> None:
    with redis.Redis(
        port=subject.port, protocol=protocol, client_name="tester", decode_responses=True, db=3
    ) as client:
        assert client.client_getname() == "tester"
        with client.pipeline(transaction=False) as pipeline:
            for n in range(200):
                pipeline.xadd("s", {"n": n}, id=f"{n + 1}-1", maxlen=100, approximate=False)
            made = pipeline.execute()
        assert made == [f"{n + 1}-1" for n in range(200)]
        assert client.xlen("s") == 100
        assert list(client.scan_iter(match="s*", _type="stream")) == ["s"]
        assert client.type("s") == "stream"
        client.set("text", "value")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.xadd("text", {"a": "b"})
        assert client.info("server")["redis_version"] == DEFAULT_VERSION
        assert client.config_get("stream-node-max-entries") == {"stream-node-max-entries": "100"}
        assert any(row["name"] == "tester" for row in client.client_list())
        assert client.dbsize() == 2
        assert client.flushdb()


@pytest.mark.parametrize("protocol", [2, 3])
def test_asyncio_producers_and_blocked_consumers(subject: Server, protocol: int) -> None:
    """Consumers wait before anything is there; every entry is handled once and acknowledged."""

    async def consume(name: str, seen: list[bytes]) -> None:
        async with redis.asyncio.Redis(port=subject.port, protocol=protocol) as client:
            while len(seen) < ENTRIES:
                reply = await client.xreadgroup("g", name, {"s": ">"}, count=3, block=200)
                for entry_id, _ in flat(reply) if reply else []:
                    seen.append(entry_id)
                    await client.xack("s", "g", entry_id)

    async def main() -> None:
        async with redis.asyncio.Redis(port=subject.port, protocol=protocol) as client:
            await client.xgroup_create("s", "g", id="$", mkstream=True)
            seen: list[bytes] = []
            consumers = [asyncio.create_task(consume(f"c{i}", seen)) for i in range(4)]
            made = await asyncio.gather(*(client.xadd("s", {"n": n}) for n in range(ENTRIES)))
            await asyncio.gather(*consumers)
            assert sorted(seen) == sorted(made)
            assert (await client.xpending("s", "g"))["pending"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("protocol", [2, 3])
def test_idempotent_production(start: Starter, protocol: int) -> None:
    server = start("--redis-version", "8.10.0")
    with redis.Redis(port=server.port, protocol=protocol) as client:
        first = client.xadd("jobs", {"n": 1}, idmp=("producer", b"order-1"))
        assert client.xadd("jobs", {"n": 2}, idmp=("producer", b"order-1")) == first
        second = client.xadd("jobs", {"a": 1, "b": 2}, idmpauto="producer")
        assert client.xadd("jobs", {"b": 2, "a": 1}, idmpauto="producer") == second
        assert [at for at, _ in client.xrange("jobs")] == [first, second]
        found = client.xinfo_stream("jobs")
        assert (found["pids-tracked"], found["iids-tracked"]) == (1, 2)
        assert (found["iids-added"], found["iids-duplicates"]) == (2, 2)
        assert client.xcfgset("jobs", idmp_duration=60, idmp_maxsize=500)
        assert client.xadd("jobs", {"n": 3}, idmp=("producer", b"order-1")) != first
        assert client.xinfo_stream("jobs")["idmp-maxsize"] == 500
    server.kill()
    server.start()
    with redis.Redis(port=server.port, protocol=protocol) as client:
        third = client.xrange("jobs")[-1][0]
        assert client.xadd("jobs", {"n": 4}, idmp=("producer", b"order-1")) == third


@pytest.mark.parametrize("protocol", [2, 3])
def test_transactions_scripts_locks_and_messages(subject: Server, protocol: int) -> None:
    with redis.Redis(port=subject.port, protocol=protocol) as client:
        client.flushall()
        pipe = client.pipeline(transaction=True)
        pipe.xadd("jobs", {"n": 1}, id="1-1").xlen("jobs").set("k", "v")
        assert pipe.execute() == [b"1-1", 1, True]

        def swap(pipe: Any) -> None:
            value = pipe.get("k")
            pipe.multi()
            pipe.set("k", value + b"w")

        assert client.transaction(swap, "k") == [True]
        assert client.get("k") == b"vw"
        script = client.register_script("return redis.call('XLEN', KEYS[1]) + ARGV[1]")
        assert script(keys=["jobs"], args=[41]) == 42
        with client.lock("lock", blocking=False) as lock:
            assert lock.owned()
            assert not client.lock("lock", blocking=False).acquire()
        assert client.exists("lock") == 0
        with client.pubsub() as pubsub:
            pubsub.subscribe("news")
            pubsub.psubscribe("n*")
            assert [pubsub.get_message(timeout=5)["type"] for _ in range(2)] == [
                "subscribe",
                "psubscribe",
            ]
            assert client.publish("news", "x") == 2
            told = [pubsub.get_message(timeout=5) for _ in range(2)]
            assert [message["type"] for message in told] == ["message", "pmessage"]
            assert {message["data"] for message in told} == {b"x"}
