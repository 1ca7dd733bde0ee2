"""``respq demo``: a producer and two workers; one is killed, and what it held comes back.

Rules: the workers are `respq work` processes, as anybody would start them. Without a URL the demo
starts a server of its own on a directory that is removed at the end; on a given server it uses a
stream that nobody else has, and deletes it. At the end the account must balance, or the exit code
is 1.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from tools.bench.contender import installed_respq
from tools.connection import Server, Trouble
from tools.living.output import say
from tools.living.units import age

GROUP = "billing"
WORKERS = ("ann", "bob")
SILENCE_S_MAX = 30.0
READY = re.compile(r"ready on 127\.0\.0\.1:(\d+)")


@contextmanager
def own_server() -> Iterator[str]:
    """A server of our own; its URL."""
    with tempfile.TemporaryDirectory(prefix="respq-demo-") as home:
        words = ("serve", "--bind", "127.0.0.1", "--port", "0", "--dir", str(Path(home) / "data"))
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("RESPQ_")
        }
        with subprocess.Popen(
            [installed_respq(), *words], stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None
                found = READY.search(process.stdout.readline())
                if found is None:
                    raise Trouble("the demo's server did not start", "respq serve --port 0")
                yield f"redis://127.0.0.1:{found[1]}"
            finally:
                process.kill()


class Worker:
    """A `respq work` process; what it tells goes to ``events``."""

    def __init__(
        self, name: str, url: str, stream: str, lease_ms: int, work: str, events: Queue[Any]
    ) -> None:
        options = ("-g", GROUP, "-c", name, "--lease", f"{lease_ms}ms", "--json", "-u", url)
        self.name = name
        self.process = subprocess.Popen(
            [installed_respq(), "work", stream, *options, "--", "sh", "-c", work],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._events = events
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put(json.loads(line))

    def end(self, how: signal.Signals) -> None:
        """Send it a signal, and wait."""
        self.process.send_signal(how)
        self.process.wait()
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Account:
    """What happened."""

    produced: int = 0
    done: int = 0
    done_again: int = 0
    held_by_the_killed: int = 0
    came_back: int = 0
    back_after_ms: int | None = None
    lost: int = 0

    @property
    def balances(self) -> bool:
        """Whether nothing was lost, and what the killed worker held came back."""
        return self.lost == 0 and self.came_back == self.held_by_the_killed > 0


@dataclass
class Story:
    """Produces, hears what the workers tell, kills one of them."""

    url: str
    stream: str
    orders: int
    lease_ms: int
    work: str
    account: Account = field(default_factory=Account)
    _events: Queue[Any] = field(default_factory=Queue)
    _numbers: dict[str, int] = field(default_factory=dict)  # by ID
    _workers: dict[str, Worker] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _held: dict[str, float] = field(default_factory=dict)  # by the killed one, since when

    def tell(self, server: Server) -> Account:
        """All of it. Raises Trouble."""
        server.ask("XGROUP", "CREATE", self.stream, GROUP, "0", "MKSTREAM")
        producer = Server(self.url)
        try:
            for name in WORKERS:
                args = (name, self.url, self.stream, self.lease_ms, self.work, self._events)
                self._workers[name] = Worker(*args)
            say(f"{' and '.join(WORKERS)} work on orders, one at a time")
            for number in range(1, self.orders + 1):
                entry_id = producer.ask("XADD", self.stream, "*", "order", number).decode()
                self._numbers[entry_id] = number
            self.account.produced = self.orders
            say(f"{self.orders} orders are in the stream")
            while len(self._done) < self.orders:
                self._hear()
        finally:
            producer.close()
            for worker in self._workers.values():
                worker.end(signal.SIGTERM)
        pending = server.ask("XPENDING", self.stream, GROUP)[0]
        self.account.lost = self.orders - len(self._done) + pending
        return self.account

    def _hear(self) -> None:
        """One thing that a worker tells."""
        try:
            event = self._events.get(timeout=SILENCE_S_MAX)
        except Empty:
            raise Trouble(
                f"the workers have been silent for {SILENCE_S_MAX:.0f} s", "respq doctor"
            ) from None
        who, entry_id = event["consumer"], event["id"]
        number = self._numbers.get(entry_id)
        if event["event"] == "started":
            if entry_id in self._held and event["deliveries"] > 1:
                self._comes_back(who, entry_id, event["deliveries"])
            elif who == WORKERS[0] and not self._held and len(self._done) >= self.orders // 4:
                self._kill(who, entry_id)
        elif event["event"] == "done":
            self.account.done += 1
            self.account.done_again += entry_id in self._done
            self._done.add(entry_id)
            say(f"{who:<8} order {number} done")

    def _kill(self, who: str, entry_id: str) -> None:
        self._workers.pop(who).end(signal.SIGKILL)
        self._held[entry_id] = time.monotonic()
        self.account.held_by_the_killed += 1
        say(f"{who:<8} KILLED with order {self._numbers[entry_id]} in hand")

    def _comes_back(self, who: str, entry_id: str, deliveries: int) -> None:
        took_ms = round((time.monotonic() - self._held[entry_id]) * 1000)
        self.account.came_back += 1
        self.account.back_after_ms = took_ms
        number = self._numbers[entry_id]
        say(f"{who:<8} order {number} CAME BACK after {age(took_ms)}: delivery {deliveries}")


def run(url: str | None, orders: int, lease_ms: int, work: str) -> Account:
    """The demo, on a server or on one of its own. Raises Trouble."""
    with own_server() if url is None else given(url) as where:
        server = Server(where)
        stream = f"respq-demo:{os.getpid()}:{time.monotonic_ns()}"
        try:
            say(f"{server.title} on {server.place}")
            return Story(where, stream, orders, lease_ms, work).tell(server)
        finally:
            with suppress(Trouble):
                server.ask("DEL", stream)
            server.close()


@contextmanager
def given(url: str) -> Iterator[str]:
    """A server that is there."""
    yield url
