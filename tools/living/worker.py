"""The worker of ``respq work``: slots that each read an entry, let a child work on it, and answer.

Rules: a slot is a thread with a connection of its own, and does one thing after the other. An entry
is acknowledged after its child has ended well, never before: who is killed in between leaves it
pending, and it is delivered again when the lease is over. While the child runs its entry is
prolonged every third of a lease. When the connection breaks, slots try again until stopped.

To stop: no slot reads any more, children may finish within ``grace_ms``; those that do not are
ended and their entries given back. A second request ends them at once.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from tools.connection import Server, Trouble, Unreachable, text
from tools.living.child import Child
from tools.living.entries import to_json
from tools.living.holding import Delivery, Holding, Post

BLOCK_MS = 500  # how long a stop may have to wait for a reader that waits
RECONNECT_S = (0.1, 5.0)
RETRY_DOUBLINGS_MAX = 20
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """What a worker does, and what becomes of what fails."""

    post: Post
    argv: Sequence[str]
    retry_ms: int
    grace_ms: int
    timeout_ms: int | None = None
    max_deliveries: int | None = None
    dead: bytes = b""
    drain: bool = False
    talks_apart: bool = False  # what children print goes to standard error

    def retry_after_ms(self, deliveries: int) -> int:
        """How long a failed entry has to wait: twice as long each time, at most the lease."""
        doublings = min(deliveries - 1, RETRY_DOUBLINGS_MAX)
        return min(self.post.lease_ms, self.retry_ms << doublings)


@dataclass(frozen=True)
class Event:
    """What became of a delivery: started, done, failed, buried, released, lost, stopping,
    or, of no delivery, disconnected.
    """

    event: str
    stream: str
    id: str
    consumer: str
    deliveries: int
    milliseconds: int | None = None
    exit: int | None = None
    again_in_ms: int | None = None
    why: str | None = None


class Stop:
    """The requests to stop. ``wake`` is a descriptor that the next one makes readable."""

    def __init__(self) -> None:
        self._descriptors = (os.eventfd(0), os.eventfd(0))
        self._numbers = count()
        self._known: list[int] = []
        self.at_s = math.inf
        self._asked = threading.Event()

    def ask(self) -> None:
        """Stop; the second time, at once. One signal's handler may interrupt another's: what is
        counted here is counted in one step, and what wakes a slot comes before it looks further.
        """
        number = next(self._numbers)
        self.at_s = min(self.at_s, time.monotonic())
        self._asked.set()
        if number < len(self._descriptors):
            os.eventfd_write(self._descriptors[number], 1)
        self._known.append(number)

    @property
    def requests(self) -> int:
        """How often it was asked so far."""
        return len(self._known)

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked.is_set()

    @property
    def wake(self) -> int | None:
        """What to look at while waiting for something else."""
        open_ones = self._descriptors[self.requests :]
        return open_ones[0] if open_ones else None

    def kill_at_s(self, grace_ms: int) -> float:
        """When children have to end."""
        return self.at_s + (grace_ms / 1000 if self.requests < 2 else 0)

    def wait(self, seconds: float) -> None:
        """Do nothing for a while, unless asked to stop."""
        self._asked.wait(seconds)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self._descriptors:
            os.close(descriptor)


class Worker:
    """Slots that work on a job until they are stopped; ``report`` is told what becomes of it."""

    def __init__(self, url: str, job: Job, stop: Stop, report: Callable[[Event], None]) -> None:
        self._url = url
        self._job = job
        self._stop = stop
        self._report = report
        self.trouble: Trouble | None = None

    def run(self, slots: int) -> None:
        """Work in so many slots; return when all have ended. Raises Trouble."""
        threads = [threading.Thread(target=self._slot) for _ in range(slots)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.trouble is not None:
            raise self.trouble

    def _slot(self) -> None:
        server = Server(self._url, name="respq-work")
        try:
            _Slot(server, self._job, self._stop, self._report).run()
        except Trouble as trouble:
            self.trouble = trouble
            self._stop.ask()
        finally:
            server.close()


class _Slot:
    """One entry at a time."""

    def __init__(
        self, server: Server, job: Job, stop: Stop, report: Callable[[Event], None]
    ) -> None:
        self._job = job
        self._stop = stop
        self._tell = report
        self._holding = Holding(server, job.post)

    def run(self) -> None:
        """Work until there is no more, or until asked to stop."""
        block_ms = 0 if self._job.drain else BLOCK_MS
        while not self._stop.asked:
            delivery = self._patiently(lambda: self._holding.read(block_ms))
            if delivery is not None:
                self._handle(delivery)
            elif self._job.drain:
                return

    def _patiently(self, do: Callable[[], Result]) -> Result | None:
        """Do what needs the server, again while it cannot be talked to; None when stopped."""
        wait_s, wait_max_s = RECONNECT_S
        while True:
            try:
                return do()
            except Unreachable as error:
                if self._stop.asked or (self._job.drain and wait_s >= wait_max_s):
                    raise
                self._report("disconnected", None, why=error.message)
                self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, wait_max_s)

    def _handle(self, delivery: Delivery) -> None:
        job, entry_id = self._job, delivery.entry.id
        if self._stop.asked:
            self._give_back(delivery, 0)
            return
        if job.max_deliveries is not None and delivery.deliveries > job.max_deliveries:
            self._bury(delivery, f"delivered {delivery.deliveries} times", None, None)
            return
        began_s = time.monotonic()
        try:
            child = Child(
                job.argv,
                self._told(delivery),
                self._variables(delivery),
                talks_apart=job.talks_apart,
            )
        except OSError as error:
            self._holding.release(entry_id)
            raise Trouble(
                f"cannot start {job.argv[0]}: {error.strerror}", "respq work --help"
            ) from None
        self._report("started", delivery)
        try:
            code, why = self._see_through(delivery, child, began_s)
        finally:
            child.close()
        took_ms = round((time.monotonic() - began_s) * 1000)
        if why == "stopped":
            self._give_back(delivery, took_ms)
        elif code == 0 and why is None:
            self._patiently(lambda: self._holding.finish(entry_id))
            self._report("done", delivery, took_ms, code)
        else:
            self._fail(delivery, why or _how(code), took_ms, code)

    def _see_through(
        self, delivery: Delivery, child: Child, began_s: float
    ) -> tuple[int, str | None]:
        """Wait for a child and prolong its entry meanwhile: its exit code, and why it was ended if
        it did not end by itself.
        """
        job, entry_id = self._job, delivery.entry.id
        ends_s = began_s + job.timeout_ms / 1000 if job.timeout_ms is not None else math.inf
        prolong_s = job.post.lease_ms / 3000
        next_s = began_s + prolong_s
        told = False
        while True:
            wake = self._stop.wake
            if self._stop.asked and not told:
                told = True
                self._report("stopping", delivery, why=f"may take {job.grace_ms} ms to finish")
            until_s = min(next_s, ends_s, self._stop.kill_at_s(job.grace_ms))
            code = child.wait(until_s - time.monotonic(), wake)
            if code is not None:
                return code, None
            if self._stop.asked and not told:
                continue
            now_s = time.monotonic()
            if now_s >= self._stop.kill_at_s(job.grace_ms):
                child.end()
                return -1, "stopped"
            if now_s >= ends_s:
                child.end()
                return -1, f"took longer than {job.timeout_ms} ms"
            if now_s >= next_s:
                next_s = now_s + prolong_s
                try:
                    if not self._holding.prolong(entry_id):
                        self._report("lost", delivery, why="somebody else has it now")
                        next_s = math.inf
                except Unreachable as error:  # the lease may hold until the server is back
                    self._report("disconnected", delivery, why=error.message)

    def _fail(self, delivery: Delivery, why: str, took_ms: int, code: int) -> None:
        job, entry_id = self._job, delivery.entry.id
        if job.max_deliveries is not None and delivery.deliveries >= job.max_deliveries:
            self._bury(delivery, why, took_ms, code)
            return
        delay_ms = job.retry_after_ms(delivery.deliveries)
        ours = self._patiently(lambda: self._holding.again(entry_id, delay_ms))
        self._report("failed", delivery, took_ms, code, delay_ms if ours else None, why)

    def _bury(self, delivery: Delivery, why: str, took_ms: int | None, code: int | None) -> None:
        ours = self._patiently(lambda: self._holding.bury(self._job.dead, delivery, why))
        if ours:
            self._report("buried", delivery, took_ms, code, why=why)
        else:
            self._report("lost", delivery, took_ms, code, why="somebody else has it now")

    def _give_back(self, delivery: Delivery, took_ms: int) -> None:
        self._holding.release(delivery.entry.id)
        self._report("released", delivery, took_ms)

    def _told(self, delivery: Delivery) -> dict[str, Any]:
        return to_json(self._job.post.stream, delivery.entry, deliveries=delivery.deliveries)

    def _variables(self, delivery: Delivery) -> dict[str, str]:
        post = self._job.post
        return {
            "ENTRY_STREAM": os.fsdecode(post.stream),
            "ENTRY_GROUP": os.fsdecode(post.group),
            "ENTRY_CONSUMER": os.fsdecode(post.consumer),
            "ENTRY_ID": delivery.entry.id,
            "ENTRY_DELIVERIES": str(delivery.deliveries),
        }

    def _report(
        self,
        event: str,
        delivery: Delivery | None,
        took_ms: int | None = None,
        code: int | None = None,
        again_in_ms: int | None = None,
        why: str | None = None,
    ) -> None:
        post = self._job.post
        self._tell(
            Event(
                event,
                text(post.stream),
                "" if delivery is None else delivery.entry.id,
                text(post.consumer),
                0 if delivery is None else delivery.deliveries,
                took_ms,
                code,
                again_in_ms,
                why,
            )
        )


def _how(code: int) -> str:
    """How a child ended."""
    return f"exit {code}" if code >= 0 else f"killed by signal {-code}"
