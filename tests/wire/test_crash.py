"""SIGKILL under load, again and again: a ledger of what was acknowledged, and what is there.

Several clients write at once and note each reply; another has the server flush (so that it merges)
and make checkpoints. After a restart on the same directory nothing that was acknowledged is
missing, and what is there beyond it is what was sent next, without holes. Checkpoints that were
answered are sound, and hold what was acknowledged when they were asked for. `make kill ROUNDS=n`
kills more often.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import shutil
import threading
from collections.abc import Callable

import pytest

from cluster.slots import key_slot
from lsmstore.fs import OsFS
from lsmstore.view import StoreView
from streams.verify import open_keyspace
from tests.respclient import Client, Closed, Reply, encode
from tests.servers import Server
from tests.wire.conftest import Starter
from tools.care.verdict import judge

SEED = 20261123
BATCH = 16
MORE_ROUNDS = int(os.environ.get("KILL_ROUNDS", "0"))
Words = list[bytes]


@dataclasses.dataclass
class Producer:
    """Adds entries with explicit IDs to its own stream, sixteen at a time."""

    key: bytes
    sent: int = 0
    acknowledged: int = 0

    def command(self, n: int) -> Words:
        return [b"XADD", self.key, b"%d-1" % n, b"n", b"%d" % n, b"fill", b"x" * (n * 37 % 300)]

    def run(self, client: Client) -> None:
        while True:
            batch = range(self.sent + 1, self.sent + 1 + BATCH)
            self.sent = batch[-1]
            client.send_raw(b"".join(encode(self.command(n)) for n in batch))
            for n in batch:
                assert client.read()[1].value == b"%d-1" % n
                self.acknowledged = n

    def check(self, client: Client) -> None:
        rows = client.call("XRANGE", self.key, "-", "+")
        there = len(rows)
        assert self.acknowledged <= there <= self.sent, self
        for n, (entry_id, fields) in enumerate(rows, 1):
            assert entry_id == b"%d-1" % n
            assert fields == self.command(n)[3:]
        self.sent = self.acknowledged = there


@dataclasses.dataclass
class Member:
    """Reads the stream of a producer in a group, acknowledges two of three, deletes some."""

    key: bytes
    random: random.Random
    received: set[bytes] = dataclasses.field(default_factory=set)
    settled: set[bytes] = dataclasses.field(default_factory=set)  # XACK was answered
    asked: set[bytes] = dataclasses.field(default_factory=set)  # XACK was sent
    group: bytes = b"g"

    def run(self, client: Client) -> None:
        words = [b"XREADGROUP", b"GROUP", self.group, b"c", b"COUNT", b"7", b"BLOCK", b"0"]
        while True:
            client.send(*words, b"STREAMS", self.key, b">")
            reply = client.read()[1]
            ids = [row.value[0].value for row in reply.value[0].value[1].value]
            assert not self.received & set(ids), "delivered twice"
            self.received |= set(ids)
            chosen = [entry_id for entry_id in ids if self.random.random() < 2 / 3]
            if chosen:
                self.asked |= set(chosen)
                client.send(b"XACK", self.key, self.group, *chosen)
                assert client.read()[1] == Reply(":", len(chosen))
                self.settled |= set(chosen)

    def check(self, client: Client) -> None:
        rows = client.call("XPENDING", self.key, self.group, "-", "+", 1_000_000)
        pending = {row[0] for row in rows}
        assert not pending & self.settled, "an acknowledged XACK was forgotten"
        assert self.received - self.asked <= pending, "a delivery was forgotten"
        (group,) = client.call("XINFO", "GROUPS", self.key)
        last = int(
            dict(zip(group[::2], group[1::2], strict=True))[b"last-delivered-id"].split(b"-")[0]
        )
        delivered = {b"%d-1" % n for n in range(1, last + 1)}
        assert self.received | pending <= delivered, "the group went back"
        assert delivered - self.asked <= pending, "an entry is neither pending nor acknowledged"
        # What was delivered but never arrived here counts as received from now on.
        self.received = delivered
        self.asked -= pending
        self.settled = set(self.asked)


@dataclasses.dataclass
class Trimmer:
    """Adds with MAXLEN, deletes and trims in turn; each reply says what must hold afterwards."""

    key: bytes
    steps: int = 0
    replies: int = 0

    def command(self, n: int) -> Words:
        if n % 5 == 0:
            return [b"XDEL", self.key, b"%d-1" % (n - 2)]
        if n % 11 == 0:
            return [b"XTRIM", self.key, b"MINID", b"%d-1" % max(0, n - 20)]
        return [b"XADD", self.key, b"MAXLEN", b"~", b"200", b"%d-1" % n, b"n", b"%d" % n]

    def run(self, client: Client) -> None:
        while True:
            self.steps += 1
            client.send(*self.command(self.steps))
            assert client.read()[1].kind in "$:"
            self.replies = self.steps

    def check(self, client: Client) -> None:
        """The stream is what the first k commands make, for a k of all replies or one more."""
        found = [row[0] for row in client.call("XRANGE", self.key, "-", "+")]
        assert found in (self.model(self.replies), self.model(self.steps)), (self, found[:5])
        self.replies = self.steps = max(
            n for n in (self.replies, self.steps) if found == self.model(n)
        )

    def model(self, steps: int) -> list[bytes]:
        """What is left; less than 200 live at any time, so `~` never trims."""
        live: dict[int, None] = {}
        for n in range(1, steps + 1):
            command = self.command(n)
            if command[0] == b"XADD":
                live[n] = None
            elif command[0] == b"XDEL":
                live.pop(n - 2, None)
            else:
                live = {k: None for k in live if k >= n - 20}
        return [b"%d-1" % n for n in live]


@dataclasses.dataclass
class Keeper:
    """Flushes, so that there is something to merge, and makes a checkpoint now and then."""

    directory: pathlib.Path
    producers: list[Producer]
    asked: int = 0
    least: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """By checkpoint: what was acknowledged of each producer when it was asked for."""
    most: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    """What was sent when it was answered; of those that were."""
    checked: set[str] = dataclasses.field(default_factory=set)

    def run(self, client: Client) -> None:
        while True:
            for _ in range(3):
                client.send("SAVE")
                assert client.read()[1].value == b"OK"
            self.asked += 1
            name = f"c{self.asked}"
            self.least[name] = [producer.acknowledged for producer in self.producers]
            client.send("XQ.CHECKPOINT", name)
            assert client.read()[1].kind == "*"
            self.most[name] = [producer.sent for producer in self.producers]

    def check(self, _client: Client) -> None:
        """Once for each checkpoint; they are removed then."""
        for name in self.least:
            path = self.directory / "checkpoints" / name
            assert name in self.checked or name not in self.most or path.is_dir(), "it is gone"
            if name in self.checked or not (path / "CURRENT").exists():
                continue
            self.checked.add(name)
            verdict = judge(OsFS(), str(path), lambda _bytes: None)
            assert verdict.sound, verdict.findings
            view = StoreView.open(OsFS(), str(path))
            keyspace, _ = open_keyspace(view, key_slot)
            for i, producer in enumerate(self.producers):
                stream = keyspace.stream(keyspace.namespaces[0], producer.key)
                length = 0 if stream is None else stream.length
                assert self.least[name][i] <= length
                assert name not in self.most or length <= self.most[name][i]
            view.close()
            shutil.rmtree(path)


Worker = Producer | Member | Trimmer | Keeper


def work(worker: Worker, server: Server, problems: list[BaseException]) -> None:
    try:
        with server.connect() as client:
            worker.run(client)
    except (Closed, OSError):
        pass  # the kill
    except BaseException as problem:  # noqa: BLE001  (told to the test)
        problems.append(problem)


@pytest.mark.slow
@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_nothing_acknowledged_is_lost(
    start: Starter,
    appendfsync: str,
    tmp_path: pathlib.Path,
    record_property: Callable[[str, object], None],
) -> None:
    producers = [Producer(b"p%d" % i) for i in range(3)]
    members = [Member(producer.key, random.Random(SEED)) for producer in producers[:2]]
    trimmer = Trimmer(b"t")
    keeper = Keeper(tmp_path / "data", producers)
    workers: list[Worker] = [*producers, *members, trimmer, keeper]
    server = start(appendfsync=appendfsync)
    with server.connect() as client:
        for member in members:
            assert client.call("XGROUP", "CREATE", member.key, "g", "0", "MKSTREAM") == b"OK"
    goals = [300, 3000, 9000, 9500, *range(10_500, 10_500 + 1500 * MORE_ROUNDS, 1500)]
    for goal in goals:
        problems: list[BaseException] = []
        threads = [
            threading.Thread(target=work, args=(worker, server, problems)) for worker in workers
        ]
        for thread in threads:
            thread.start()
        with server.connect() as client:  # each question is a turn of the server's loop
            while sum(producer.acknowledged for producer in producers) < goal and not problems:
                assert client.call("PING") == b"PONG"
        server.kill()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not problems, problems
        server.start()
        assert "recovered" in server.log_text()
        with server.connect() as client:
            for worker in workers:
                worker.check(client)
    record_property("kills", len(goals))
    assert keeper.checked
    server.stop()
    verdict = judge(OsFS(), str(tmp_path / "data"), lambda _bytes: None)
    assert verdict.sound, verdict.findings


def test_a_clean_stop_loses_nothing(start: Starter) -> None:
    server = start(appendfsync="everysec")
    with server.connect() as client:
        for n in range(1, 500):
            client.call("XADD", "s", f"{n}-1", "f", "v")
        client.call("XGROUP", "CREATE", "s", "g", "0")
        client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", "9", "STREAMS", "s", ">")
        client.call("XDEL", "s", "5-1")
        client.call("SET", "text", "value")
        before = client.raw("XINFO", "STREAM", "s", "FULL", "COUNT", "0")
    assert server.stop() == 0
    server.start()
    with server.connect() as client:
        assert client.raw("XINFO", "STREAM", "s", "FULL", "COUNT", "0") == before
        assert client.call("GET", "text") == b"value"


def test_all_kinds_of_state_come_back_after_a_kill(start: Starter) -> None:
    """Every byte that XINFO STREAM FULL shows, of several streams in several states."""
    server = start(appendfsync="always")
    with server.connect() as client:
        client.call("CONFIG", "SET", "stream-node-max-entries", "10")
        for n in range(1, 300):
            client.call("XADD", "s", f"{n}-{n % 3}", "f", "v" * (n % 50))
        client.call("XGROUP", "CREATE", "s", "g", "0")
        client.call("XGROUP", "CREATE", "s", "h", "$", "ENTRIESREAD", "17")
        client.call("XGROUP", "CREATECONSUMER", "s", "h", "idle")
        client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", "50", "STREAMS", "s", ">")
        client.call("XREADGROUP", "GROUP", "g", "d", "COUNT", "70", "STREAMS", "s", ">")
        client.call("XREADGROUP", "GROUP", "g", "e", "NOACK", "COUNT", "5", "STREAMS", "s", ">")
        client.call("XACK", "s", "g", "3-0", "4-1", "60-0")
        client.call("XCLAIM", "s", "g", "d", 0, "5-2", "6-0", "IDLE", "500000", "RETRYCOUNT", "12")
        client.call(
            "XCLAIM", "s", "g", "d", 0, "7-1", "RETRYCOUNT", "9223372036854775807", "JUSTID"
        )
        client.call("XDEL", "s", "100-1", "8-2", "299-2")
        client.call("XTRIM", "s", "MAXLEN", "~", "250")
        client.call("XGROUP", "SETID", "s", "h", "150-0")
        client.call("XGROUP", "CREATE", "s", "gone", "0")
        client.call("XGROUP", "DESTROY", "s", "gone")
        client.call("XADD", "empty", "5-5", "f", "v")
        client.call("XDEL", "empty", "5-5")
        client.call("XADD", "moved", "1-1", "f", "v")
        client.call("XSETID", "moved", "50-0", "ENTRIESADDED", "99", "MAXDELETEDID", "30-0")
        client.call("XADD", "deleted", "1-1", "f", "v")
        client.call("DEL", "deleted")
        client.call("XGROUP", "CREATE", "made", "g", "$", "MKSTREAM")
        client.call("XGROUP", "DELCONSUMER", "s", "g", "e")
        client.call("SELECT", "7")
        client.call("XADD", "s", "18446744073709551615-18446744073709551615", "f", "v")
        before = state(client)
    server.kill()
    server.start()
    with server.connect() as client:
        assert state(client) == before
        client.call("SELECT", "7")
        refused = client.raw("XADD", "s", "*", "f", "v")
        assert refused.startswith(b"-ERR The stream has exhausted the last possible ID")


def state(client: Client) -> list[bytes]:
    found = []
    for database in ("0", "7"):
        client.call("SELECT", database)
        for key in sorted(client.call("KEYS", "*")):
            found += [key, client.raw("XINFO", "STREAM", key, "FULL", "COUNT", "0")]
            found.append(client.raw("XINFO", "GROUPS", key))
        found.append(client.raw("DBSIZE"))
    return found


@pytest.mark.parametrize(
    "words", [["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"], ["SHUTDOWN", "SAVE", "NOW"]]
)
def test_shutdown_stops_cleanly(start: Starter, words: list[str]) -> None:
    """Replies that were due are out, waiting clients are closed, and the status is 0."""
    server = start(appendfsync="everysec")
    with server.connect() as client, server.connect() as waiting:
        waiting.send("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        client.send_raw(encode([b"XADD", b"t", b"1-1", b"f", b"v"]))
        client.send(*words)
        assert client.read()[1].value == b"1-1"
        assert client.read_to_end() == b""
        assert waiting.read_to_end() == b""
    assert server.process is not None
    assert server.process.wait(30) == 0
    server.start()
    with server.connect() as client:
        assert client.call("XLEN", "t") == 1


def test_a_stop_lets_replies_out(start: Starter) -> None:
    """SIGTERM while a pipeline is under way: what was answered is there after the restart."""
    server = start(appendfsync="everysec")
    with server.connect() as client:
        for n in range(1, 10_001):
            client.send("XADD", "s", f"{n}-1", "f", "v")
        assert server.process is not None
        server.process.terminate()
        answered = client.read_to_end().count(b"\r\n") // 2
    assert server.process.wait(30) == 0
    server.start()
    with server.connect() as client:
        length = client.call("XLEN", "s")
        assert answered <= length <= 10_000
