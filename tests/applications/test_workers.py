"""Workers of ten libraries, each unmodified: one of two is killed in the middle of a job, and every
job is done and acknowledged.

Each library takes over in its own way: the survivor claims what has been idle, or the killed worker
is started again under its name and begins with what it had not finished. The commands a program
sends are a golden list: what is new in it is a new demand on the server.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import pytest

from tests.applications.stage import Line, Program, Stage, Words, node, python, script
from tests.applications.verbs import Recording, golden
from tests.respclient import Client
from tests.servers import Server

JOBS = [f"job-{n}" for n in range(6)]
IDLE_MS = 300


@dataclasses.dataclass(frozen=True)
class Application:
    """One library: how its program is called, and what it sends.

    `restarts`: its workers take over by being started again. `looks_late`: they look for what
    others left only when something new has come. `results`: its producer is told of each job's
    result. `dead_letters`: so many jobs fail again and again. `stops`: its workers end in order
    when asked to. `errors`: the kinds of error it is told of, and takes.
    """

    name: str
    argv: Words
    verbs: str
    work: str = "work"
    restarts: bool = False
    looks_late: bool = False
    results: bool = False
    dead_letters: int = 0
    stops: bool = False
    errors: str = "BUSYGROUP"

    def start(self, stage: Stage, server: Server, role: str, name: str, *jobs: str) -> Program:
        words = (role, str(server.port), name, str(IDLE_MS), *jobs)
        return stage.start(name, *self.argv, *words)


APPLICATIONS = [
    Application(
        "faststream",
        python("faststream_app.py"),
        """
        HELLO, CLIENT SETINFO, PING, XGROUP CREATE $ MKSTREAM, XADD *, XADD MAXLEN ~ *,
        XREADGROUP BLOCK >, XAUTOCLAIM COUNT, XACK
        """,
        work="autoclaim",
        stops=True,
        errors="BUSYGROUP ERR",
    ),
    Application(
        "faststream-claim",
        python("faststream_app.py"),
        """
        HELLO, CLIENT SETINFO, PING, XGROUP CREATE $ MKSTREAM, XADD *, XADD MAXLEN ~ *,
        XREADGROUP BLOCK CLAIM >, XACK
        """,
        work="claim",
        stops=True,
        errors="BUSYGROUP ERR",
    ),
    Application(
        "taskiq-redis",
        python("taskiq_app.py"),
        """
        HELLO, CLIENT SETINFO, XGROUP CREATE MKSTREAM, XADD MAXLEN ~ *, XREADGROUP COUNT BLOCK >,
        SCRIPT EXISTS, SCRIPT LOAD, MULTI, SET NX PX, XAUTOCLAIM COUNT, EVALSHA, GET, DEL, EXEC,
        SET EX, EXISTS, XACK
        """,
        looks_late=True,
        results=True,
        errors="BUSYGROUP ERR",
    ),
    Application(
        "walrus",
        python("walrus_app.py"),
        """
        HELLO, CLIENT SETINFO, EXISTS, XADD, XDEL, TYPE, XGROUP CREATE MKSTREAM, XGROUP SETID,
        XADD *, XADD MAXLEN ~ *, XTRIM MAXLEN ~, XINFO STREAM, XSETID, XLEN, XRANGE COUNT,
        XINFO GROUPS, XAUTOCLAIM COUNT, XREADGROUP COUNT BLOCK >, XACK, XPENDING
        """,
        errors="BUSYGROUP ERR",
    ),
    Application(
        "coredis",
        python("coredis_app.py"),
        """
        HELLO, CLIENT SETINFO, XINFO GROUPS, XGROUP CREATE $ MKSTREAM, XREADGROUP COUNT BLOCK >,
        XREADGROUP COUNT BLOCK, XACK, XADD *, XINFO STREAM, XREAD COUNT
        """,
        restarts=True,
        errors="ERR",
    ),
    Application(
        "ioredis",
        node("ioredis_app.mjs"),
        """
        INFO, CLIENT SETNAME, CLIENT SETINFO, XGROUP CREATE MKSTREAM, XADD MAXLEN ~ *,
        XAUTOCLAIM COUNT, XREADGROUP COUNT BLOCK >, XACK, QUIT
        """,
    ),
    Application(
        "node-redis",
        node("node_redis_app.mjs"),
        """
        HELLO, CLIENT SETINFO, XGROUP CREATE MKSTREAM, XADD *, XAUTOCLAIM,
        XREADGROUP COUNT BLOCK >, XACK
        """,
        errors="BUSYGROUP ERR",
    ),
    Application(
        "moleculer-channels",
        node("moleculer_app.mjs"),
        """
        INFO, CLIENT SETINFO, XGROUP CREATE MKSTREAM, XADD MAXLEN ~ *, XREADGROUP BLOCK COUNT >,
        XAUTOCLAIM COUNT, XPENDING, XCLAIM, XADD *, XACK, XGROUP DELCONSUMER
        """,
        stops=True,
        dead_letters=1,
    ),
    Application(
        "redis-streams-broker",
        node("streams_broker_app.mjs"),
        """
        INFO, CLIENT SETINFO, SCRIPT LOAD, XGROUP CREATE MKSTREAM, XADD MAXLEN ~ *, EVALSHA, XLEN,
        XADD *, XREADGROUP BLOCK COUNT, XREADGROUP BLOCK COUNT >, MULTI, XACK, XDEL, EXEC,
        XPENDING, MEMORY USAGE SAMPLES, QUIT
        """,
        restarts=True,
    ),
    Application(
        "ruby-redis",
        script("ruby", "ruby_app.rb"),
        """
        CLIENT SETNAME, XGROUP CREATE MKSTREAM, XADD *, XTRIM MAXLEN ~, XAUTOCLAIM COUNT,
        XREADGROUP COUNT BLOCK >, XACK
        """,
    ),
    Application(
        "perl-redis",
        script("perl", "perl_app.pl"),
        """
        CLIENT SETNAME, XGROUP CREATE MKSTREAM, XADD *, XPENDING IDLE, XCLAIM,
        XREADGROUP COUNT BLOCK >, XACK, QUIT
        """,
    ),
]


def lag_and_pending(client: Client) -> tuple[int | None, list[tuple[str, int]]]:
    """How many entries were not delivered yet, and who has held which for how many ms."""
    (group,) = client.call("XINFO", "GROUPS", "jobs")
    lag = dict(zip(group[::2], group[1::2], strict=True))[b"lag"]
    rows = client.call("XPENDING", "jobs", "workers", "-", "+", 100)
    return lag, [(consumer.decode(), idle_ms) for _, consumer, idle_ms, _ in rows]


class Shift:
    """Two workers on one stream: the first that takes a job is killed while it holds it."""

    def __init__(
        self, application: Application, server: Server, stage: Stage, client: Client
    ) -> None:
        self.application = application
        self.client = client
        self.start = functools.partial(application.start, stage, server)
        self.stage = stage
        self.workers: list[Program] = []
        self.killed: Program | None = None
        self.held = ""
        self.done: list[str] = []
        self.results: list[str] = []
        for name in ("one", "two"):
            self.workers.append(self.start(application.work, name))
            assert stage.next_line() == (self.workers[-1], "ready")

    def run(self, finished: Callable[[], bool]) -> None:
        """Let the workers do jobs until this holds."""
        while not finished():
            self.hear(self.stage.next_line())

    def hear(self, line: Line) -> None:
        program, text = line
        if program is self.killed or text in {None, "ready"}:
            return
        assert text is not None
        word, job = text.split(" ", 1)
        if word == "result":
            self.results.append(job)
        elif self.killed is None:
            self.kill(program, job)
        else:
            self.done.append(job)
            program.tell("go")

    def run_until_idle(self) -> None:
        """Let the workers do jobs until only the killed one holds any, for as long as it takes."""
        while True:
            if self.stage.has_line():
                self.hear(self.stage.next_line())
                continue
            lag, pending = lag_and_pending(self.client)
            if self.killed is not None and lag == 0:
                name = self.killed.name
                if all(who == name and idle_ms >= IDLE_MS for who, idle_ms in pending):
                    return

    def kill(self, worker: Program, job: str) -> None:
        worker.kill()
        assert lag_and_pending(self.client)[1] != [], "it was not in the middle of its job"
        self.killed, self.held = worker, job
        self.workers.remove(worker)
        if self.application.restarts:
            self.workers.append(self.start(self.application.work, worker.name))


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda application: application.name)
def test_the_job_of_a_killed_worker_is_done(
    application: Application, server: Server, stage: Stage
) -> None:
    with server.connect() as client, Recording(server, client) as recording:
        shift = Shift(application, server, stage, client)
        if application.looks_late:
            shift.start("produce", "producer", *JOBS[:-1])
            shift.run_until_idle()
            shift.start("produce", "late-producer", JOBS[-1])
        else:
            shift.start("produce", "producer", *JOBS)
        shift.run(lambda: set(shift.done) == set(JOBS))
        assert shift.held in shift.done
        if application.results:
            shift.run(lambda: len(shift.results) == len(JOBS))
            assert set(shift.results) == {f"{job} fine" for job in JOBS}
        while lag_and_pending(client) != (0, []):
            recording.next_command()
        if application.stops:
            assert [worker.stop() for worker in shift.workers] == [0]
        recording.finish()
        assert client.call("XLEN", "dead") == application.dead_letters
    assert recording.verbs == golden(application.verbs)
    assert recording.errors == set(application.errors.split())
