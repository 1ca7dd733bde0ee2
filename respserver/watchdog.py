"""What took too long: the slow log, and spikes of latency by the event that caused them.

Rules: commands are timed by the kernel (respserver/stopwatch.py), which tells only of those that
pass the lower of both limits. Arguments are kept as Redis cuts them, secrets are not kept. Spikes
of an event are one a second, the highest of that second, the last ``SAMPLES_MAX`` of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from respserver.redaction import redacted
from respserver.spec import FAST, SKIP_SLOWLOG

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.kernel import Verb
    from respserver.session import Session

ARGUMENTS_MAX = 32
ARGUMENT_BYTES_MAX = 128
SAMPLES_MAX = 160
COMMAND = b"command"
FAST_COMMAND = b"fast-command"
LOG_SYNC = b"aof-fsync-always"


@dataclass(frozen=True, slots=True)
class Entry:
    """A slow command."""

    number: int
    time_s: int
    took_us: int
    argv: list[bytes]
    addr: bytes
    name: bytes


def cut(argv: list[bytes]) -> list[bytes]:
    """Arguments as the slow log keeps them."""
    kept = argv if len(argv) <= ARGUMENTS_MAX else argv[: ARGUMENTS_MAX - 1]
    shown = [
        word
        if len(word) <= ARGUMENT_BYTES_MAX
        else word[:ARGUMENT_BYTES_MAX] + b"... (%d more bytes)" % (len(word) - ARGUMENT_BYTES_MAX)
        for word in kept
    ]
    if len(kept) < len(argv):
        shown.append(b"... (%d more arguments)" % (len(argv) - len(kept)))
    return shown


class SlowLog:
    """The last slow commands, the newest first."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self._next_number = 0

    def add(self, time_s: int, took_us: int, argv: list[bytes], addr: bytes, name: bytes) -> None:
        """Keep a command."""
        entry = Entry(self._next_number, time_s, took_us, cut(redacted(argv)), addr, name)
        self.entries.appendleft(entry)
        self._next_number += 1

    def trim(self, entries_max: int) -> None:
        """Keep so many at most."""
        while len(self.entries) > entries_max:
            self.entries.pop()


class Sample(NamedTuple):
    """The worst of a second."""

    time_s: int
    took_ms: int


class Spikes:
    """The samples of one event."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self.most_ms = 0

    def add(self, time_s: int, took_ms: int) -> None:
        """One more."""
        self.most_ms = max(self.most_ms, took_ms)
        if self.samples and self.samples[-1].time_s == time_s:
            if took_ms > self.samples[-1].took_ms:
                self.samples[-1] = Sample(time_s, took_ms)
            return
        self.samples.append(Sample(time_s, took_ms))


class Watchdog:
    """Both, and when they are told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.slow_log = SlowLog()
        self.spikes: dict[bytes, Spikes] = {}

    def settings_changed(self) -> None:
        """Limits are in force from now on."""
        config = self._engine.config
        limits_ns = []
        if config.slowlog_log_slower_than >= 0:
            limits_ns.append(config.slowlog_log_slower_than * 1000)
        if config.latency_monitor_threshold > 0:
            limits_ns.append(config.latency_monitor_threshold * 1_000_000)
        self._engine.kernel.stopwatch.recording = config.latency_tracking
        self._engine.kernel.stopwatch.slow_ns = min(limits_ns, default=-1)

    def slow(self, verb: Verb, session: Session, argv: list[bytes], took_ns: int) -> None:
        """A command took so long that somebody may want to know it."""
        config = self._engine.config
        flags = verb.spec.flags
        self.spike(FAST_COMMAND if flags & FAST else COMMAND, took_ns // 1_000_000)
        limit_us = config.slowlog_log_slower_than
        if flags & SKIP_SLOWLOG or not 0 <= limit_us <= took_ns // 1000:
            return
        if config.slowlog_max_len == 0:  # what is there stays, as in Redis
            return
        addr = session.addr.encode() if session.id else b""  # a script's commands are nobody's
        time_s = self._engine.clock.wall_ms() // 1000
        self.slow_log.add(time_s, took_ns // 1000, argv, addr, session.name)
        self.slow_log.trim(config.slowlog_max_len)

    def spike(self, event: bytes, took_ms: int) -> None:
        """Something took a time; kept if that is long."""
        limit_ms = self._engine.config.latency_monitor_threshold
        if 0 < limit_ms <= took_ms:
            time_s = self._engine.clock.wall_ms() // 1000
            self.spikes.setdefault(event, Spikes()).add(time_s, took_ms)

    def log_synced(self, took_s: float) -> None:
        """The log was synced, and replies waited for it."""
        if self._engine.config.appendfsync == "always":
            self.spike(LOG_SYNC, int(took_s * 1000))

    def forget(self, events: list[bytes]) -> int:
        """Forget the spikes of these events, of all if none is named; of how many."""
        found = [event for event in events or list(self.spikes) if event in self.spikes]
        for event in found:
            del self.spikes[event]
        return len(found)
