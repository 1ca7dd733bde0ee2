"""A real cluster of three primaries, followed and scanned, into one respq."""

from __future__ import annotations

import pathlib
import select

import pytest

from tests import servers
from tests.migrate.support import delay_none, migrate, url
from tests.respclient import Client, Reply
from tests.servers import Server

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


def join(nodes: list[Server], buses: list[int]) -> list[Client]:
    """Make a cluster of the nodes, which gossip at ``buses``."""
    clients = [node.connect() for node in nodes]
    for client, (first, last) in zip(clients, SLOTS, strict=True):
        assert client.call("CLUSTER", "ADDSLOTSRANGE", first, last) == b"OK"
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        assert clients[0].call("CLUSTER", "MEET", "127.0.0.1", node.port, bus) == b"OK"
    for client in clients:
        while b"cluster_state:ok" not in client.call("CLUSTER", "INFO"):
            select.select([], [], [], 0.02)
    for client in clients:
        while len(client.call("CLUSTER", "SLOTS")) < len(nodes):
            select.select([], [], [], 0.02)
    return clients


def put(clients: list[Client], *words: str | int) -> Reply | object:
    """Send a command to whoever has its key."""
    reply: object = None
    for client in clients:
        reply = client.call(*words)
        if not (isinstance(reply, Reply) and reply.value.startswith(b"MOVED")):
            return reply
    return reply


@pytest.mark.parametrize("mode", ["follow", "scan"])
def test_a_cluster(mode: str, tmp_path: pathlib.Path) -> None:
    buses = [servers.free_port() for _ in SLOTS]
    nodes = [
        servers.redis(
            *(tmp_path / f"node{i}", 8, "--cluster-enabled", "yes"),
            *("--cluster-port", str(bus), *delay_none()),
        )
        for i, bus in enumerate(buses)
    ]
    try:
        for node in nodes:
            node.start()
        clients = join(nodes, buses)
        with servers.respq(tmp_path / "target") as target, target.connect() as ours:
            names = [f"stream{i}" for i in range(30)]
            for name in names:
                for i in range(1, 40):
                    put(clients, "XADD", name, f"{i}-0", "f", "v")
                put(clients, "XGROUP", "CREATE", name, "g", 0)
                put(clients, "XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "STREAMS", name, ">")
            where = url(nodes[1])
            plan = migrate("plan", where, "-u", url(target))
            assert "cluster of 3 primaries" in plan.out
            assert "mode: follow" in plan.out
            words = [where, "-u", url(target), "--mode", mode]
            done = migrate("run", *words)
            assert done.code == 0, done
            assert ours.call("DBSIZE") - len(ours.call("KEYS", "respq:*")) == 30
            for name in names:
                put(clients, "XADD", name, "*", "f", "w")
                put(clients, "XACK", name, "g", "1-0")
            put(clients, "DEL", names[0])
            assert migrate("run", *words).code == 0
            done = migrate("cutover", *words)
            assert done.code == 0, done
            verdict = migrate("verify", where, "-u", url(target))
            assert verdict.code == 0, verdict
            assert "identical: 29 streams, 1,160 entries, 29 groups, 116 pending" in verdict.out
            for client, name in zip(clients, names[1:], strict=False):
                reply = client.call("XADD", name, "*", "f", "v")
                assert isinstance(reply, Reply)
                assert reply.value.startswith((b"NOREPLICAS", b"MOVED"))
        for client in clients:
            client.close()
    finally:
        for node in nodes:
            node.kill()
