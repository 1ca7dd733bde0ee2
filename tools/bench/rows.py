"""What is measured beside redis-server, or beside respq itself: one class for each kind of work.

A row prepares a server (``prepare``) and is then measured for a number of rounds (``round``). It
insists that the server did the work: what was delivered is what was there, what was acknowledged is
what was taken. Rows of writes go on until respq has flushed three memtables and end on a stream of
millions of entries (of kilobyte values: as many as the time gives); redis-server's round then lasts
as long as respq's did.

A row that is ``beside_itself`` says what an option costs: two respqs run, and the one called PLAIN
does the same work without it.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from tools.bench import payload
from tools.bench.contender import Contender
from tools.bench.generator import Load, LoadFailed, run_load
from tools.bench.loadgen import PartJob

KEY = b"bench"
PLAIN = "plain"
BACKLOG = 1_000_000
WRITE_S_MAX = 240.0
FILL_CONNECTIONS = 20
FILL_DEPTH = 100
FILL_S_MAX = 1800.0
MAXLEN = 10_000
ADDERS = 50
IIDS = 512  # of one producer; more than are remembered
CPU_TICK_S = 0.01


@dataclass(frozen=True)
class Scale:
    """How much is done: the options of the command line."""

    rounds: int = 3
    seconds: float = 5.0
    entries: int = 2_000_000
    flushes: int = 3
    recovery_entries: int = 5_000_000
    pending_entries: int = 200_000


@dataclass(frozen=True)
class Round:
    """One round on one server: how much work in how many seconds, and who was busy."""

    done: int
    elapsed_s: float
    generator_cpu: float
    server_cpu: float
    others_cpu: float
    p50_us: float
    p99_us: float
    flushes: int | None = None

    @property
    def rate(self) -> float:
        """Work in a second."""
        return self.done / self.elapsed_s

    @property
    def rate_of_cpu(self) -> float:
        """Work in a second of the server's processor time."""
        return self.rate / max(self.server_cpu, CPU_TICK_S / self.elapsed_s)


@dataclass(frozen=True)
class Row(ABC):
    """Work whose rate is compared; ``goal`` is the least ratio to the other server."""

    name: str
    title: str
    goal: float
    unit: str
    appendfsync: str = "everysec"
    beside_itself: bool = False

    @abstractmethod
    def prepare(self, server: Contender, scale: Scale) -> None:
        """Fill the server with what the rounds need."""

    @abstractmethod
    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """Measure once. ``like`` is respq's round of the same number, once that is done."""


@dataclass(frozen=True)
class Ping(Row):
    """PING on 50 connections, one at a time on each."""

    def prepare(self, server: Contender, scale: Scale) -> None:
        """Nothing to fill."""

    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """PING for the seconds."""
        load = run_load(
            server, [PartJob("repeat", 50, [[payload.command(b"PING")]])], scale.seconds
        )
        return rounded(load, load.parts[0]["replies"])


@dataclass(frozen=True)
class Add(Row):
    """XADD on 50 connections, ``depth`` at a time on each, to one stream."""

    depth: int = 1
    options: tuple[bytes, ...] = ()
    order: bool = False
    prefilled: bool = True

    def prepare(self, server: Contender, scale: Scale) -> None:
        """A stream that is long already."""
        if self.prefilled:
            fill(server, KEY, scale.entries)

    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """Write until the time is over and three memtables were flushed."""
        if not self.prefilled:
            server.control.delete(KEY)
        before = server.control.xlen(KEY)
        flushed = server.flushes()
        part = PartJob("repeat", ADDERS, self.scripts(server, number), self.depth)

        def enough(elapsed_s: float) -> bool:
            return elapsed_s >= scale.seconds and flushes_since(server, flushed) >= scale.flushes

        if flushed is None:
            seconds = scale.seconds if like is None else like.elapsed_s
            load = run_load(server, [part], seconds)
        else:
            load = run_load(server, [part], WRITE_S_MAX, enough)
        added = load.parts[0]["replies"]
        if not self.options:
            now = server.control.xlen(KEY)
            in_flight = ADDERS * self.depth
            insist(0 <= now - before - added <= in_flight, server, f"{added} added, {now} there")
        flushes = None if flushed is None else flushes_since(server, flushed)
        return rounded(load, added, flushes=flushes)

    def scripts(self, server: Contender, number: int) -> Sequence[Sequence[bytes]]:
        """What connections send in a round, over and over."""
        return [add_commands(KEY, self.options, self.order)]


@dataclass(frozen=True)
class AddOnce(Add):
    """XADD with IDMP: an iid that comes again was pushed out by later ones, so each is new."""

    def scripts(self, server: Contender, number: int) -> Sequence[Sequence[bytes]]:
        """Each connection is a producer of its own, each round a new one."""
        if not is_measured(server):
            return super().scripts(server, number)
        fields = payload.sensor_fields(IIDS)
        names = [b"producer-%d-%d" % (number, one) for one in range(ADDERS)]
        return [payload.adds_once(KEY, fields, name) for name in names]


@dataclass(frozen=True)
class Circle(Row):
    """20 producers and 20 consumers that are blocked when an entry comes."""

    clients: int = 20

    def prepare(self, server: Contender, scale: Scale) -> None:
        """Each round has its own stream."""

    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """Deliveries for the seconds."""
        key = b"circle-%d" % number
        server.control.xgroup_create(key, b"g", 0, mkstream=True)
        reads = [
            [payload.group_read(key, b"g", b"c%d" % one, 1, (b"BLOCK", b"0"))]
            for one in range(self.clients)
        ]
        load = run_load(
            server,
            [
                PartJob("produce", self.clients, [add_commands(key)]),
                PartJob("consume", self.clients, reads, entries_depth=2),
            ],
            scale.seconds,
        )
        added, delivered = load.parts[0]["replies"], load.parts[1]["entries"]
        insist(abs(added - delivered) <= self.clients, server, f"{added} added, {delivered} read")
        return rounded(load, delivered)


@dataclass(frozen=True)
class GroupRead(Row):
    """A group reads a stream to its end, COUNT 100, ``depth`` calls at a time on a connection."""

    clients: int = 1
    depth: int = 1

    def prepare(self, server: Contender, scale: Scale) -> None:
        """The stream."""
        fill(server, KEY, scale.entries)

    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """Whole passes, each with a new group, until their time adds up to the seconds."""
        length = server.control.xlen(KEY)
        passes: list[Round] = []
        while sum(one.elapsed_s for one in passes) < scale.seconds:
            group = b"g%d" % len(passes)
            server.control.xgroup_create(KEY, group, 0)
            left = length - self.begin(server, group)
            options = self.options(server)
            reads = [
                [payload.group_read(KEY, group, b"c%d" % one, 100, options)] * self.depth
                for one in range(self.clients)
            ]
            part = PartJob("drain", self.clients, reads, self.depth, entries_depth=2)
            load = run_load(server, [part], FILL_S_MAX)
            delivered = load.parts[0]["entries"]
            insist(delivered == left, server, f"{left} entries, {delivered} delivered")
            server.control.xgroup_destroy(KEY, group)
            passes.append(rounded(load, delivered))
        return replace(
            passes[-1],
            done=sum(one.done for one in passes),
            elapsed_s=sum(one.elapsed_s for one in passes),
        )

    def begin(self, server: Contender, group: bytes) -> int:
        """Before a pass, untimed; how many entries are delivered then."""
        return 0

    def options(self, server: Contender) -> tuple[bytes, ...]:
        """More words of XREADGROUP."""
        return ()


@dataclass(frozen=True)
class ClaimNothing(GroupRead):
    """XREADGROUP with CLAIM, and nothing is due."""

    def options(self, server: Contender) -> tuple[bytes, ...]:
        """CLAIM."""
        return (b"CLAIM", b"3600000") if is_measured(server) else ()


@dataclass(frozen=True)
class Backlog(GroupRead):
    """New entries for a group with an idle timeout and BACKLOG pending, at most half of all."""

    def begin(self, server: Contender, group: bytes) -> int:
        """Deliver the first entries of the stream; PLAIN's are pending for nobody."""
        options: tuple[bytes, ...] = (b"NOACK",)
        if is_measured(server):
            server.ask("XQ.GROUP", "SET", KEY, group, "IDLE-TIMEOUT", 3_600_000)
            options = ()
        wanted = min(BACKLOG, int(server.control.xlen(KEY)) // 2)
        read = payload.group_read(KEY, group, b"slow", 100, options)
        part = PartJob(
            "fill", 1, [[read] * 10], 10, entries_depth=2, batches_each=max(1, wanted // 1000)
        )
        delivered: int = run_load(server, [part], FILL_S_MAX).parts[0]["entries"]
        return delivered


@dataclass(frozen=True)
class Range(Row):
    """XRANGE COUNT 100 on 20 connections, from anywhere in the stream."""

    def prepare(self, server: Contender, scale: Scale) -> None:
        """The stream."""
        fill(server, KEY, scale.entries)

    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """Ranges for the seconds."""
        # Start times are drawn up to the 200th entry from the end: every range finds 100.
        oldest = server.ask("XRANGE", KEY, "-", "+", "COUNT", 1)
        newest = server.ask("XREVRANGE", KEY, "+", "-", "COUNT", 200)
        first, last = (int(end[0].split(b"-")[0]) for end in (oldest[0], newest[-1]))
        chance = random.Random(number)
        ranges = [
            payload.command(b"XRANGE", KEY, b"%d" % start, b"+", b"COUNT", b"100")
            for start in (chance.randint(first, last) for _ in range(payload.POOL))
        ]
        load = run_load(server, [PartJob("repeat", 20, [ranges], entries_depth=0)], scale.seconds)
        replies, entries = load.parts[0]["replies"], load.parts[0]["entries"]
        insist(entries >= 100 * replies, server, f"{replies} ranges with {entries} entries")
        return rounded(load, entries)


@dataclass(frozen=True)
class Job(Row):
    """XREADGROUP COUNT 1, then XACK of what came, on 20 connections."""

    clients: int = 20

    def prepare(self, server: Contender, scale: Scale) -> None:
        """The stream."""
        fill(server, KEY, scale.entries)

    def round(self, server: Contender, number: int, scale: Scale, like: Round | None) -> Round:
        """Jobs for the seconds, or until none is left."""
        group = b"g%d" % number
        server.control.xgroup_create(KEY, group, 0)
        reads = [[payload.group_read(KEY, group, b"c%d" % one, 1)] for one in range(self.clients)]
        head = payload.ack_head(KEY, group)
        part = PartJob("take_ack", self.clients, reads, entries_depth=2, ack_head=head)
        load = run_load(server, [part], scale.seconds)
        seen = load.parts[0]
        done = seen["total"]  # an XACK answers 1
        insist(done == seen["rounds"] - seen["nulls"], server, "an XACK acknowledged nothing")
        pending = server.control.xpending(KEY, group)["pending"]
        insist(pending <= self.clients, server, f"{pending} pending after all were acknowledged")
        return rounded(load, done)


def rounded(load: Load, done: int, flushes: int | None = None) -> Round:
    """The round that ``load`` was; latencies are those of its first part."""
    timed = load.parts[0]
    return Round(
        done,
        load.elapsed_s,
        load.generator_cpu,
        load.server_cpu,
        load.others_cpu,
        timed["p50_us"],
        timed["p99_us"],
        flushes,
    )


def is_measured(server: Contender) -> bool:
    """Whether this is the respq whose option is measured (calibration has none)."""
    return server.is_respq and server.name != PLAIN


def insist(holds: bool, server: Contender, what: str) -> None:
    """Refuse a measurement whose work was not done."""
    if not holds:
        raise LoadFailed(f"{server.name}: {what}")


def flushes_since(server: Contender, before: int | None) -> int:
    """How many memtables were flushed since ``before``."""
    return (server.flushes() or 0) - (before or 0)


def fill(server: Contender, key: bytes, entries: int) -> int:
    """Add about ``entries`` sensor readings (rounded up to whole batches); the stream's length."""
    per_round = FILL_CONNECTIONS * FILL_DEPTH
    batches_each = -(-entries // per_round)
    part = PartJob(
        "fill", FILL_CONNECTIONS, [add_commands(key)], FILL_DEPTH, batches_each=batches_each
    )
    run_load(server, [part], FILL_S_MAX)
    length: int = server.control.xlen(key)
    insist(length >= entries, server, f"{entries} entries were to be added, {length} are there")
    return length


@cache
def add_commands(
    key: bytes, options: tuple[bytes, ...] = (), order: bool = False
) -> Sequence[bytes]:
    """XADD commands of the pool of sensor readings, or of orders."""
    fields = payload.order_fields if order else payload.sensor_fields
    return payload.adds(key, fields(payload.ORDER_POOL if order else payload.POOL), options)
