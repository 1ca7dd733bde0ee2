"""The rows and figures of ``respq bench``, with their goals. ``everysec`` on both unless said."""

from __future__ import annotations

from typing import Final

from tools.bench.figures import Figure, PendingBytes, Recovery
from tools.bench.rows import (
    MAXLEN,
    Add,
    AddOnce,
    Backlog,
    Circle,
    ClaimNothing,
    GroupRead,
    Job,
    Ping,
    Range,
    Row,
)

ADDS: Final = "XADD/s"
READ: Final = "entries/s"

ROWS: Final[tuple[Row, ...]] = (
    Add("xadd", "XADD, 50 clients", 1.0, ADDS),
    Add("xadd-always", "XADD, 50 clients, always", 1.0, ADDS, "always"),
    Add("xadd-16", "XADD, pipeline 16", 1.5, ADDS, depth=16),
    Add("xadd-100", "XADD, pipeline 100", 2.0, ADDS, depth=100),
    Add("xadd-16-always", "XADD, pipeline 16, always", 1.5, ADDS, "always", depth=16),
    Add(
        "xadd-maxlen",
        f"XADD MAXLEN ~ {MAXLEN}, pipeline 16",
        1.3,
        ADDS,
        depth=16,
        options=(b"MAXLEN", b"~", b"%d" % MAXLEN),
        prefilled=False,
    ),
    Add(
        "xadd-1k",
        "XADD of 1 KB values, pipeline 16",
        1.2,
        ADDS,
        depth=16,
        order=True,
        prefilled=False,
    ),
    Circle("blocked", "20 producers to 20 blocked consumers", 0.9, READ),
    GroupRead("read-100", "XREADGROUP COUNT 100, in turn", 3.0, READ),
    GroupRead("read-100-8", "XREADGROUP COUNT 100, 8 deep", 6.0, READ, clients=4, depth=8),
    Range("xrange-100", "XRANGE COUNT 100, 20 clients", 2.0, READ),
    Job("job", "XREADGROUP COUNT 1, then XACK, 20 clients", 0.9, "jobs/s"),
    Ping("ping", "PING, 50 clients", 0.9, "PING/s"),
    # What an option costs, beside the same work without it.
    AddOnce("idmp", "XADD IDMP, 50 clients", 0.77, ADDS, beside_itself=True),
    AddOnce("idmp-16", "XADD IDMP, pipeline 16", 0.77, ADDS, beside_itself=True, depth=16),
    ClaimNothing(
        *("claim", "XREADGROUP COUNT 100 CLAIM, nothing due", 0.95, READ),
        beside_itself=True,
        clients=4,
        depth=8,
    ),
    Backlog(
        *("backlog", "XREADGROUP COUNT 100, idle timeout, 1 M pending", 0.8, READ),
        beside_itself=True,
        clients=4,
        depth=8,
    ),
)

FIGURES: Final[tuple[Figure, ...]] = (
    PendingBytes("pending-1", "RAM a pending entry, COUNT 1", 24, "B"),
    PendingBytes("pending-100", "RAM a pending entry, COUNT 100", 24, "B", count=100),
    Recovery("recovery", "start after SIGKILL", 1.0, "s"),
)

WORK: Final[tuple[Row | Figure, ...]] = (*ROWS, *FIGURES)
NAMES: Final = tuple(one.name for one in WORK)
