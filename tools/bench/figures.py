"""Figures of respq's own that have a limit: bytes a pending entry, seconds to start after a kill.

redis-server's are measured beside them, so that a reader can see what is usual.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

from tools.bench import payload
from tools.bench.contender import Contender
from tools.bench.generator import generator, run_load
from tools.bench.loadgen import PartJob
from tools.bench.rows import FILL_S_MAX, KEY, Scale, add_commands, fill, insist

WRITE_BEFORE_KILL_S = 1.0


@dataclass(frozen=True)
class Measured:
    """One figure of one server, and the server's own words about it."""

    value: float
    stated: str = ""


@dataclass(frozen=True)
class Figure(ABC):
    """A figure with a limit; ``goal`` is the most it may be."""

    name: str
    title: str
    goal: float
    unit: str
    appendfsync: str = "everysec"

    @abstractmethod
    def measure(self, server: Contender, number: int, scale: Scale) -> Measured:
        """Measure once, on a server that goes on through the rounds."""


@dataclass(frozen=True)
class PendingBytes(Figure):
    """Memory that one pending entry costs, delivered ``count`` at a time."""

    count: int = 1

    def measure(self, server: Contender, number: int, scale: Scale) -> Measured:
        """Deliver a whole stream to one group and see what INFO says."""
        if number == 0:
            fill(server, KEY, scale.pending_entries)
        length = server.control.xlen(KEY)
        group = b"g%d" % number
        server.control.xgroup_create(KEY, group, 0)
        before = pending_memory(server)
        depth = max(1, 100 // self.count)
        reads = [
            [payload.group_read(KEY, group, b"c%d" % one, self.count)] * depth for one in range(4)
        ]
        run_load(server, [PartJob("drain", 4, reads, depth, entries_depth=2)], FILL_S_MAX)
        pending = server.control.xpending(KEY, group)["pending"]
        insist(pending == length, server, f"{pending} pending of {length} delivered")
        value = (pending_memory(server) - before) / length
        server.control.xgroup_destroy(KEY, group)
        return Measured(value)


def pending_memory(server: Contender) -> float:
    """Bytes that pending entries take: respq accounts for them, redis-server for all it has."""
    info = server.info()
    return float(info["pending_bytes"] if server.is_respq else info["used_memory"])


@dataclass(frozen=True)
class Recovery(Figure):
    """Seconds from exec to the first PONG after SIGKILL in the midst of writes."""

    def measure(self, server: Contender, number: int, scale: Scale) -> Measured:
        """Kill the server while it writes a long stream, start it again, count the entries."""
        if number == 0:
            fill(server, KEY, scale.recovery_entries)
        part = PartJob("repeat", 50, [add_commands(KEY)], 100)
        with generator(server, [part], FILL_S_MAX):
            time.sleep(WRITE_BEFORE_KILL_S)
            server.kill()
        took_s = server.start()
        length = server.control.xlen(KEY)
        insist(length >= scale.recovery_entries, server, f"only {length} entries after the kill")
        return Measured(took_s, server.stated_recovery())
