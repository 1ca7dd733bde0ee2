"""What may be wrong with a server, its streams and its machine: one function a subject, all pure.

Rules: a check looks at what was gathered (doctor.py) and yields findings, each with what helps.
What it does not know is no finding. Levels: ``warn`` will hurt some day, ``bad`` hurts now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tools.connection import text
from tools.living.facts import ConsumerFacts, GroupFacts, StreamFacts
from tools.living.units import age, count, id_key, size

WARN, BAD = "warn", "bad"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
DESCRIPTORS_BESIDE_CLIENTS = 128
DISK_FREE_MIN = 0.15
SYNC_SLOW_US = 10_000
SYNCS_MIN = 100
CLOCK_OFF_MAX_MS = 2000
UNTRIMMED_MIN = 100_000
OLD_PENDING_MS = HOUR_MS
OFTEN_DELIVERED = 10
OLD_CONSUMERS_MIN = 20
MEMORY_OVER = 1.5
LOOPBACK = ("127.", "::1", "localhost", "-::1", "-127.")


@dataclass(frozen=True)
class Finding:
    """Something that should be looked at."""

    check: str
    level: str
    text: str
    fix: str


@dataclass
class Machine:
    """What is known of the server's machine, if it is ours; else nothing."""

    descriptors: int | None = None  # how many the process may open
    disk_free: float | None = None  # share
    disk_free_bytes: int | None = None
    sync_us: int | None = None  # median of a small fdatasync in the data directory
    clock_off_ms: int | None = None  # the server's clock less ours


@dataclass
class Gathered:
    """All that is looked at."""

    info: dict[str, str]
    config: dict[str, str]
    streams: list[StreamFacts]
    groups: list[GroupFacts]
    consumers: dict[tuple[bytes, bytes], list[ConsumerFacts]] = field(default_factory=dict)
    most_delivered: dict[tuple[bytes, bytes], tuple[str, int]] = field(default_factory=dict)
    earlier: list[GroupFacts] = field(default_factory=list)  # the groups, a moment before
    machine: Machine = field(default_factory=Machine)
    now_ms: int = 0

    @property
    def is_respq(self) -> bool:
        """Whether the server is a respq."""
        return "respq_version" in self.info


def limits(seen: Gathered) -> Iterator[Finding]:
    """Descriptors for the clients that may come."""
    clients = int(seen.config.get("maxclients", 0))
    allowed = seen.machine.descriptors
    if allowed is not None and allowed < clients + DESCRIPTORS_BESIDE_CLIENTS:
        yield Finding(
            "limits",
            WARN,
            f"the process may open {count(allowed)} files, too few for {count(clients)} clients",
            f"ulimit -n {clients + DESCRIPTORS_BESIDE_CLIENTS}, or LimitNOFILE= in its unit",
        )


def disk(seen: Gathered) -> Iterator[Finding]:
    """Room, and how long a sync takes."""
    machine = seen.machine
    if machine.disk_free is not None and machine.disk_free < DISK_FREE_MIN:
        free = size(machine.disk_free_bytes or 0)
        yield Finding(
            "disk",
            BAD if machine.disk_free < DISK_FREE_MIN / 3 else WARN,
            f"{machine.disk_free:.0%} of the disk is free ({free})",
            "respq stream trim STREAM --older-than 7d --dry-run",
        )
    syncs, sync_us = int(seen.info.get("log_syncs", 0)), machine.sync_us or 0
    if syncs >= SYNCS_MIN:  # enough of the server's own
        sync_us = int(seen.info.get("log_sync_us", 0)) // syncs
    if sync_us >= SYNC_SLOW_US:
        yield Finding(
            "fsync",
            WARN,
            f"a sync of the log takes {sync_us / 1000:.1f} ms, which each write waits for",
            "another disk, or respq cli CONFIG SET appendfsync everysec (a second may be lost)",
        )


def clock(seen: Gathered) -> Iterator[Finding]:
    """The server's clock, against ours and against its own IDs."""
    off_ms = seen.machine.clock_off_ms
    if off_ms is not None and abs(off_ms) > CLOCK_OFF_MAX_MS:
        way = "ahead of" if off_ms > 0 else "behind"
        yield Finding(
            "clock",
            WARN,
            f"the server's clock is {age(abs(off_ms))} {way} ours",
            "timedatectl, on both",
        )
    for stream in seen.streams:
        ahead_ms = id_key(stream.last_id)[0] - seen.now_ms
        if 366 * DAY_MS > ahead_ms > CLOCK_OFF_MAX_MS:
            yield Finding(
                "clock",
                WARN,
                f"the last ID of {text(stream.name)} is {age(ahead_ms)} ahead of the clock, which"
                " was set back: new IDs do not tell the time",
                "chronyc tracking, on the server's machine",
            )


def door(seen: Gathered) -> Iterator[Finding]:
    """Who may come in."""
    listens = seen.config.get("bind", "").split()
    everywhere = not listens or any(not each.startswith(LOOPBACK) for each in listens)
    protected = seen.config.get("protected-mode") == "yes"
    if everywhere and not protected and seen.config.get("requirepass", "x") == "":
        yield Finding(
            "door",
            BAD,
            "anybody who reaches the port may do everything: no password, and it listens on"
            f" {' '.join(listens) or 'all addresses'}",
            "respq cli CONFIG SET requirepass PASSWORD",
        )


def durability(seen: Gathered) -> Iterator[Finding]:
    """What a crash may cost."""
    if seen.config.get("appendonly") == "no":
        yield Finding(
            "durability",
            BAD,
            "no log is written: a crash loses what was acknowledged",
            "respq cli CONFIG SET appendonly yes",
        )
    elif seen.config.get("appendfsync") == "no":
        yield Finding(
            "durability",
            WARN,
            "nobody asks the disk to keep the log: a power cut may lose half a minute",
            "respq cli CONFIG SET appendfsync always",
        )
    policy = seen.config.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and seen.config.get("maxmemory", "0") != "0":
        yield Finding(
            "durability",
            BAD,
            f"maxmemory-policy {policy} deletes whole streams when memory is short",
            "respq cli CONFIG SET maxmemory-policy noeviction",
        )
    if seen.info.get("compaction_failures", "0") != "0":
        yield Finding(
            "merges",
            BAD,
            f"{seen.info['compaction_failures']} merges have failed:"
            f" {seen.info.get('compaction_last_error', '')}",
            "respq cli INFO streams, and the server's log",
        )


def memory(seen: Gathered) -> Iterator[Finding]:
    """What it takes against what it was given."""
    budget = int(seen.info.get("memory_budget", 0))
    used = int(seen.info.get("used_memory_rss", 0))
    if budget and used > MEMORY_OVER * budget:
        yield Finding(
            "memory",
            WARN,
            f"the process takes {size(used)} with a budget of {size(budget)}",
            "respq cli CONFIG SET memory-budget BYTES, or fewer clients with long replies",
        )


def retention(seen: Gathered) -> Iterator[Finding]:
    """Streams that only grow."""
    for stream in seen.streams:
        grown = stream.length >= UNTRIMMED_MIN and stream.length == stream.entries_added
        if grown and stream.expires_ms is None:
            name = text(stream.name)
            yield Finding(
                "retention",
                WARN,
                f"{name} has {count(stream.length)} entries, and none was ever trimmed",
                f"respq add {name} --maxlen N ..., or respq stream trim {name} --older-than 7d",
            )


def readers(seen: Gathered) -> Iterator[Finding]:
    """Groups that nobody reads, and consumers that nobody is any more."""
    for group in seen.groups:
        where = f"{text(group.stream)} {text(group.name)}"
        behind = group.pending > 0 or group.lag is None or group.lag > 0
        quiet = group.consumers == 0 or (group.quiet_ms or 0) >= HOUR_MS
        if behind and quiet:
            since = "ever" if group.quiet_ms is None else f"for {age(group.quiet_ms)}"
            yield Finding(
                "readers",
                WARN,
                f"nobody has read {where} {since}: lag {count(group.lag)},"
                f" {count(group.pending)} pending",
                f"respq work {text(group.stream)} -g {text(group.name)} -- CMD,"
                f" or respq cli XGROUP DESTROY {where}",
            )
        members = seen.consumers.get((group.stream, group.name), [])
        gone = [each for each in members if each.idle_ms >= DAY_MS and each.pending == 0]
        if len(gone) >= OLD_CONSUMERS_MIN:
            yield Finding(
                "consumers",
                WARN,
                f"{where} has {count(len(gone))} consumers that nobody has heard of for a day",
                f"respq cli XGROUP DELCONSUMER {where} {text(gone[0].name)}, and so on",
            )


def pending(seen: Gathered) -> Iterator[Finding]:
    """Entries that are delivered and never acknowledged."""
    before = {(group.stream, group.name): group for group in seen.earlier}
    for group in seen.groups:
        where = f"{text(group.stream)} {text(group.name)}"
        earlier = before.get((group.stream, group.name))
        if earlier is not None and group.pending > earlier.pending:
            read = (group.entries_read or 0) - (earlier.entries_read or 0)
            if read <= group.pending - earlier.pending:
                yield Finding(
                    "pending",
                    BAD,
                    f"what {where} has pending only grows ({count(earlier.pending)} to"
                    f" {count(group.pending)}): its readers never acknowledge",
                    f"respq pending {where} --older 1m",
                )
        if group.pending > 0 and (group.oldest_ms or 0) >= OLD_PENDING_MS:
            helps = f"respq pending {where} --older 1h --claim NAME"
            if seen.is_respq:
                helps = f"respq group set {where} --idle-timeout 1m, or {helps}"
            yield Finding(
                "pending",
                WARN,
                f"{where} has {count(group.pending)} pending, the oldest of them"
                f" {age(group.oldest_ms)} old",
                helps,
            )
        worst = seen.most_delivered.get((group.stream, group.name))
        if worst is not None and worst[1] >= OFTEN_DELIVERED:
            yield Finding(
                "poison",
                WARN,
                f"{worst[0]} of {where} was delivered {count(worst[1])} times",
                f"respq work {where.replace(' ', ' -g ')} --max-deliveries 5 -- CMD, or"
                f" respq pending {where} {worst[0]} --ack",
            )


CHECKS: tuple[Callable[[Gathered], Iterator[Finding]], ...] = (
    *(limits, disk, clock, door, durability, memory, retention, readers, pending),
)


def findings(seen: Gathered) -> list[Finding]:
    """All there is, the bad ones first."""
    found = [each for check in CHECKS for each in check(seen)]
    return sorted(found, key=lambda each: each.level != BAD)
