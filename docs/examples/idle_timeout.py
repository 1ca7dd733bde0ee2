"""Messages of a dead worker come back by themselves, to workers that know nothing of respq.

    python docs/examples/idle_timeout.py

One command tells the server that no message of the group may be pending for longer than two
seconds: ``XQ.GROUP SET jobs mailers IDLE-TIMEOUT 2000``. The programs that work are those of the
folder ``plain``. They would run on any Redis, which would never give back what a dead worker held.

- ``worker-1`` (redis-py) is killed with SIGKILL while it holds messages.
- ``worker-2`` (redis-py) and ``worker-3`` (ioredis) read, work and acknowledge, and nothing else.
  The dead worker's messages are delivered to them after the timeout, and not before.
- ``slow`` works longer than the timeout. It prolongs its hold with ``XCLAIM ... JUSTID`` to itself
  and is not interrupted.

At the end the account must balance, or the exit code is 1. When a message was delivered is what
the server says (``XINFO STREAM FULL``), asked while the worker that holds it waits for its answer.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, NamedTuple

import redis
from rich.console import Console
from rich.table import Table

STREAM, GROUP = "jobs", "mailers"
IDLE_TIMEOUT_MS = 2000
PROLONG_MS = IDLE_TIMEOUT_MS // 5
SLOW_MS = 2 * IDLE_TIMEOUT_MS
MESSAGES_BEFORE, MESSAGES_AFTER = 20, 20  # the kill
READ_COUNT_KILLED, READ_COUNT = 8, 2
SILENCE_S_MAX = 30.0

PLAIN = Path(__file__).resolve().parent / "plain"


# -- processes, and what they say --------------------------------------------------------------


class Note(NamedTuple):
    """A line that a program printed; its end is the word ``ended``."""

    who: str
    word: str
    entry_id: str = ""
    rest: str = ""


class Program:
    """A program of the folder ``plain``. What it prints goes to ``notes``."""

    def __init__(self, name: str, argv: Sequence[object], notes: Queue[Note]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._notes = notes
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._notes.put(Note(self.name, *line.split()))
        self._notes.put(Note(self.name, "ended"))

    def answer(self) -> None:
        """Tell a worker that the work on its message is done."""
        assert self.process.stdin is not None
        self.process.stdin.write("done\n")
        self.process.stdin.flush()

    def end(self, sig: signal.Signals) -> None:
        """Send it a signal, and wait."""
        self.process.send_signal(sig)
        self.process.wait()
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def server(home: Path) -> Iterator[int]:
    """``respq serve`` on a free port and a directory of its own; the port."""
    beside = Path(sys.executable).parent / "respq"
    program = str(beside) if beside.exists() else "respq"
    argv = [program, "serve", "--bind", "127.0.0.1", "--port", "0", "--dir", str(home / "data")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            found = re.search(r"ready on 127\.0\.0\.1:(\d+)", ready)
            if found is None:
                sys.exit(f"the server did not start: {ready}")
            yield int(found[1])
        finally:
            process.kill()


def ioredis_command(folder: Path = PLAIN, path: str | None = None) -> tuple[list[str], str]:
    """How to start the ioredis worker, or else what is missing. ``path`` is instead of $PATH."""
    install = f"npm install --prefix {os.path.relpath(folder)}"
    node = shutil.which("node", path=path)
    if node is None:
        return [], f"no ioredis worker: install Node.js (18 or newer) and npm, then: {install}"
    probe = [node, "--input-type=module", "--eval", "import 'ioredis'"]
    if subprocess.run(probe, cwd=folder, capture_output=True, check=False).returncode != 0:
        return [], f"no ioredis worker: {install}"
    return [node, str(folder / "worker.mjs")], ""


# -- the account -------------------------------------------------------------------------------


@dataclass
class Account:
    """What everybody says happened."""

    produced: int = 0
    processed: int = 0
    processed_distinct: int = 0
    wrong_bodies: int = 0  # a worker read something else than was produced
    acknowledged: int = 0
    held: int = 0  # by the worker that was killed
    came_back: int = 0
    back_after_ms: list[int] = field(default_factory=list)  # between first and next delivery
    back_deliveries: list[int] = field(default_factory=list)
    back_to: dict[str, int] = field(default_factory=dict)  # worker -> messages that came back
    slow_ms: int = 0
    slow_prolonged: int = 0
    slow_deliveries: int = 0
    slow_taken: int = 0  # deliveries of the slow worker's message to others
    pending: int = 0
    lag: int | None = 0

    def faults(self) -> list[str]:
        """Why the account does not balance; empty if it does."""
        checks = {
            "a message was not processed": self.processed_distinct == self.produced,
            "a worker read another message than was produced": self.wrong_bodies == 0,
            "a message was not acknowledged once": self.acknowledged == self.produced,
            "the killed worker held nothing": self.held > 0,
            "a message of the killed worker did not come back": (
                self.came_back == len(self.back_after_ms) == self.held
            ),
            "a message came back before the timeout": (
                min(self.back_after_ms, default=IDLE_TIMEOUT_MS) >= IDLE_TIMEOUT_MS
            ),
            "a delivery was not counted": min(self.back_deliveries, default=2) >= 2,
            "a worker got back nothing": all(self.back_to.values()),
            "the slow worker was not slow": self.slow_ms >= SLOW_MS,
            "the slow worker was interrupted": (self.slow_taken, self.slow_deliveries) == (0, 1),
            "entries are pending": self.pending == 0,
            "the group lags": self.lag == 0,
        }
        return [fault for fault, holds in checks.items() if not holds]


class Delivery(NamedTuple):
    """A delivery of a message, as the server tells it."""

    consumer: str
    at_ms: int


class Story:
    """The main program: starts and kills workers, answers them, and keeps the books."""

    def __init__(self, port: int, ioredis: Sequence[str], console: Console) -> None:
        self.port = port
        self.client: Any = redis.Redis(port=port, protocol=2, decode_responses=True)
        self.console = console
        self.notes: Queue[Note] = Queue()
        self.programs: dict[str, Program] = {}
        plain = [sys.executable, str(PLAIN / "worker.py")]
        self.healthy = {"worker-2": plain} | ({"worker-3": list(ioredis)} if ioredis else {})

        self.bodies: dict[str, str] = {}  # produced: id -> body
        self.got: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)  # id -> who, body
        self.acknowledged: Counter[str] = Counter()
        self.deliveries: dict[str, dict[int, Delivery]] = defaultdict(dict)  # id -> number -> it
        self.held: set[str] = set()
        self.prolonged = 0
        self.slow_id = ""
        self.slow_ms = 0

    def start(self, name: str, *argv: object) -> Program:
        """Start a program of the folder ``plain``."""
        program = self.programs[name] = Program(name, argv, self.notes)
        return program

    def start_worker(self, name: str, argv: Sequence[str], option: int) -> Program:
        """Start a worker."""
        return self.start(name, *argv, self.port, STREAM, GROUP, name, option)

    def produce(self, name: str, first: int, count: int) -> None:
        """Start a producer."""
        self.start(name, sys.executable, PLAIN / "producer.py", self.port, STREAM, first, count)

    def hear(self) -> Note:
        """The next note, taken into the books."""
        try:
            note = self.notes.get(timeout=SILENCE_S_MAX)
        except Empty:
            sys.exit(f"nobody said anything for {SILENCE_S_MAX:.0f} s")
        if note.word == "added":
            self.bodies[note.entry_id] = note.rest
        elif note.word == "got":
            self.got[note.entry_id][note.who, note.rest] += 1
            self.look()
        elif note.word == "acknowledged":
            self.acknowledged[note.entry_id] += int(note.rest)
        elif note.word == "prolonged":
            self.prolonged += 1
        elif self.programs[note.who].process.wait() not in (0, -signal.SIGKILL):
            sys.exit(f"{note.who} failed")
        return note

    def hear_until(self, who: str, word: str) -> Note:
        """Wait for somebody to say something."""
        while True:
            note = self.hear()
            if (note.who, note.word) == (who, word):
                return note

    def look(self) -> None:
        """Note the deliveries of what is pending. Prolonging a hold is none."""
        reply = self.client.execute_command("XINFO STREAM", STREAM, "FULL", "COUNT", 0, full=True)
        for entry_id, consumer, at_ms, number in reply["groups"][0]["pending"]:
            self.deliveries[entry_id].setdefault(number, Delivery(consumer, at_ms))

    def give_a_message_to_slow(self) -> None:
        """The slow worker gets the first of the messages, and is not answered yet."""
        self.produce("producer-1", 0, MESSAGES_BEFORE)
        self.hear_until("producer-1", "ended")
        argv = [sys.executable, str(PLAIN / "slow_worker.py")]
        self.start_worker("slow", argv, PROLONG_MS)
        self.slow_id = self.hear_until("slow", "got").entry_id

    def kill_a_worker_that_holds_messages(self) -> None:
        """The first worker finishes one message and is killed at the second."""
        argv = [sys.executable, str(PLAIN / "worker.py")]
        worker = self.start_worker("worker-1", argv, READ_COUNT_KILLED)
        self.hear_until("worker-1", "got")
        worker.answer()
        self.hear_until("worker-1", "got")
        worker.end(signal.SIGKILL)
        found = self.client.xpending_range(STREAM, GROUP, "-", "+", 100, "worker-1")
        self.held = {row["message_id"] for row in found}
        self.console.print(f"killed worker-1 (redis-py), which held {len(self.held)} messages")

    def work_through(self) -> None:
        """Answer everybody until everything is acknowledged.

        Who is the first to get a message of the dead worker is answered when all have got one.
        """
        for name, argv in self.healthy.items():
            self.start_worker(name, argv, READ_COUNT)
        self.produce("producer-2", MESSAGES_BEFORE, MESSAGES_AFTER)
        waiting: set[str] = set()
        all_got_one = False
        while self.acknowledged.total() < MESSAGES_BEFORE + MESSAGES_AFTER:
            note = self.hear()
            if note.word == "prolonged":
                self.answer_slow(note.entry_id)
            elif note.word == "got" and note.who in self.healthy:
                if all_got_one or note.entry_id not in self.held:
                    self.programs[note.who].answer()
                    continue
                waiting.add(note.who)
                if len(waiting) == len(self.healthy):
                    all_got_one = True
                    for name in waiting:
                        self.programs[name].answer()

    def answer_slow(self, entry_id: str) -> None:
        """The slow worker has prolonged its hold; end its work if that took long enough.

        It is kept busy until the others have done what came back, which it would else read, too.
        """
        if entry_id == self.slow_id:
            seconds, microseconds = self.client.time()
            now_ms = seconds * 1000 + microseconds // 1000
            self.slow_ms = now_ms - self.deliveries[entry_id][1].at_ms
            if self.slow_ms < SLOW_MS or not self.held <= self.acknowledged.keys():
                return
        self.programs["slow"].answer()

    def run(self) -> Account:
        """All of it."""
        self.client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        policy = ["XQ.GROUP", "SET", STREAM, GROUP, "IDLE-TIMEOUT", str(IDLE_TIMEOUT_MS)]
        self.console.print(f"{' '.join(policy)}: {self.client.execute_command(*policy)}")
        try:
            self.give_a_message_to_slow()
            self.kill_a_worker_that_holds_messages()
            self.work_through()
        finally:
            for program in self.programs.values():
                program.end(signal.SIGTERM)
        return self.balance()

    def balance(self) -> Account:
        """Compare what was produced with everybody's notes, and both with the server."""
        pending = self.client.xpending(STREAM, GROUP)
        groups = self.client.xinfo_groups(STREAM)
        account = Account(
            produced=len(self.bodies),
            acknowledged=self.acknowledged.total(),
            held=len(self.held),
            slow_ms=self.slow_ms,
            slow_prolonged=self.prolonged,
            slow_deliveries=len(self.deliveries[self.slow_id]),
            pending=pending["pending"],
            lag=groups[0]["lag"],
        )
        back_to = Counter(dict.fromkeys(self.healthy, 0))
        done = self.bodies.keys() & {at for at, count in self.acknowledged.items() if count}
        for entry_id, seen in self.got.items():
            account.wrong_bodies += sum(body != self.bodies.get(entry_id) for _, body in seen)
            by_others = Counter(who for who, _ in seen.elements() if who != "worker-1")
            if entry_id in self.held:
                back_to.update(by_others.keys())
                account.came_back += bool(by_others)
                self._add_return(account, self.deliveries[entry_id])
            account.processed += by_others.total() if entry_id in self.held else seen.total()
        account.processed_distinct = len(done & self.got.keys())
        account.slow_taken = sum(who != "slow" for who, _ in self.got[self.slow_id].elements())
        account.back_to = dict(back_to)
        return account

    def _add_return(self, account: Account, deliveries: dict[int, Delivery]) -> None:
        """A message of the dead worker: its first delivery, and the next that was seen."""
        later = [number for number in sorted(deliveries) if number > 1]
        if later:
            account.back_after_ms.append(deliveries[later[0]].at_ms - deliveries[1].at_ms)
            account.back_deliveries.append(max(later))


def span(numbers: Sequence[int]) -> str:
    """The least and the greatest, or the one."""
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def print_account(account: Account, console: Console) -> None:
    """The final balance."""
    table = Table(show_header=False, title="the account")
    table.add_column()
    table.add_column(justify="right")
    clients = {"worker-2": "redis-py", "worker-3": "ioredis"}
    lines: list[tuple[str, object]] = [
        ("messages produced", account.produced),
        ("messages processed", account.processed_distinct),
        ("processed again", account.processed - account.processed_distinct),
        ("messages acknowledged", account.acknowledged),
        ("held by worker-1 when it was killed", account.held),
        ("  came back by themselves", account.came_back),
        *((f"    to {name} ({clients[name]})", count) for name, count in account.back_to.items()),
        ("  milliseconds after their first delivery", span(account.back_after_ms)),
        ("  deliveries of each", span(account.back_deliveries)),
        ("milliseconds that slow held its message", account.slow_ms),
        ("  prolonged by XCLAIM JUSTID", account.slow_prolonged),
        ("  deliveries", account.slow_deliveries),
        ("  taken by others", account.slow_taken),
        ("pending", account.pending),
        ("lag", account.lag),
    ]
    for label, value in lines:
        table.add_row(label, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)


def main() -> int:
    """Run the example; 0 if the account balances."""
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave through the finally clauses
    ioredis, missing = ioredis_command()
    if missing:
        console.print(missing, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="respq-idle-") as home, server(Path(home)) as port:
        account = Story(port, ioredis, console).run()
    print_account(account, console)
    faults = account.faults()
    console.print("; ".join(faults) if faults else "The account balances.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
