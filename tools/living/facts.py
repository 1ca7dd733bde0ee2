"""What the server knows of its streams, groups and pending entries, as plain data.

Rules: what the server does not know (a lag that is nil, an ID that is no time) is None and never 0.
Every reader asks for many things at once, so that a table of hundreds of groups is two trips.
``oldest_ms`` is the age of the oldest entry that a group has not done with: pending, or else the
next to be delivered. ``quiet_ms`` is how long ago a consumer of the group last asked for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tools.connection import Refused, Server, text
from tools.living.units import id_age_ms


def pairs_of(reply: Sequence[Any]) -> dict[str, Any]:
    """A flat reply of names and values."""
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def or_none(reply: Any) -> Any:
    """A reply; None for an error: what was asked for went away, or is unknown here."""
    return None if isinstance(reply, Refused) else reply


@dataclass(frozen=True)
class StreamFacts:
    """A stream. ``first_id`` and ``last_id`` are 0-0 where there never was an entry."""

    name: bytes
    length: int
    first_id: str
    last_id: str
    entries_added: int | None
    max_deleted_id: str | None
    groups: int
    oldest_ms: int | None
    newest_ms: int | None
    expires_ms: int | None

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` tells it."""
        told = asdict(self)
        return {"stream": text(told.pop("name"))} | told


@dataclass(frozen=True)
class GroupFacts:
    """A group of a stream."""

    stream: bytes
    name: bytes
    lag: int | None
    pending: int
    oldest_ms: int | None
    consumers: int
    quiet_ms: int | None
    last_delivered_id: str
    entries_read: int | None
    entries_added: int | None

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` tells it."""
        told = asdict(self)
        return {"stream": text(told.pop("stream")), "group": text(told.pop("name"))} | told


@dataclass(frozen=True)
class ConsumerFacts:
    """A consumer. ``inactive_ms`` is since it was last given something: None if it never was, or if
    the server does not tell (Redis 7.0).
    """

    name: bytes
    pending: int
    idle_ms: int
    inactive_ms: int | None

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` tells it."""
        told = asdict(self)
        return {"consumer": text(told.pop("name"))} | told


@dataclass(frozen=True)
class PendingFacts:
    """A pending entry; the consumer of one that was released has no name."""

    id: str
    consumer: bytes
    idle_ms: int
    deliveries: int


def read_stream(server: Server, name: bytes) -> StreamFacts:
    """One stream. Raises Refused if there is none."""
    server.ask("XINFO", "STREAM", name)
    (found,) = read_streams(server, [name])
    return found


def read_streams(server: Server, names: Sequence[bytes]) -> list[StreamFacts]:
    """Streams by name; one that went away meanwhile is left out."""
    now_ms = server.now_ms()
    asked = [("XINFO", "STREAM", name) for name in names]
    told = [or_none(reply) for reply in server.ask_all(asked)]
    expires = server.ask_all([("PTTL", name) for name in names])
    return [
        _stream(name, pairs_of(reply), ttl_ms, now_ms)
        for name, reply, ttl_ms in zip(names, told, expires, strict=True)
        if reply is not None
    ]


def _stream(name: bytes, told: dict[str, Any], ttl_ms: Any, now_ms: int) -> StreamFacts:
    first = told["first-entry"]
    last = told["last-entry"]
    deleted = told.get("max-deleted-entry-id")
    return StreamFacts(
        name=name,
        length=told["length"],
        first_id=first[0].decode() if first else "0-0",
        last_id=told["last-generated-id"].decode(),
        entries_added=told.get("entries-added"),
        max_deleted_id=None if deleted is None else deleted.decode(),
        groups=told["groups"],
        oldest_ms=id_age_ms(first[0].decode(), now_ms) if first else None,
        newest_ms=id_age_ms(last[0].decode(), now_ms) if last else None,
        expires_ms=ttl_ms if isinstance(ttl_ms, int) and ttl_ms >= 0 else None,
    )


def read_groups(server: Server, streams: Sequence[bytes]) -> list[GroupFacts]:
    """The groups of streams, in the order of the streams and of their names."""
    now_ms = server.now_ms()
    asked = [("XINFO", what, name) for name in streams for what in ("STREAM", "GROUPS")]
    replies = server.ask_all(asked)
    found: list[tuple[bytes, int | None, dict[str, Any]]] = []
    for name, stream, groups in zip(streams, replies[::2], replies[1::2], strict=True):
        if or_none(stream) is not None and or_none(groups) is not None:
            added = pairs_of(stream).get("entries-added")
            told = sorted((pairs_of(group) for group in groups), key=lambda one: one["name"])
            found += [(name, added, group) for group in told]
    details = server.ask_all([part for each in found for part in _details(each[0], each[2])])
    return [
        _group(name, added, group, details[3 * number : 3 * number + 3], now_ms)
        for number, (name, added, group) in enumerate(found)
    ]


def _details(stream: bytes, group: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    """What is asked for of each group: what it has pending, what comes next, who reads it."""
    yield ("XPENDING", stream, group["name"])
    yield ("XRANGE", stream, b"(" + group["last-delivered-id"], "+", "COUNT", 1)
    yield ("XINFO", "CONSUMERS", stream, group["name"])


def _group(
    stream: bytes, added: int | None, told: dict[str, Any], details: list[Any], now_ms: int
) -> GroupFacts:
    pending, ahead, consumers = (or_none(reply) for reply in details)
    first = pending[1] if pending and pending[1] else None
    if first is None and ahead:
        first = ahead[0][0]
    idle = [pairs_of(consumer)["idle"] for consumer in consumers or []]
    return GroupFacts(
        stream=stream,
        name=told["name"],
        lag=told.get("lag"),
        pending=told["pending"],
        oldest_ms=None if first is None else id_age_ms(first.decode(), now_ms),
        consumers=told["consumers"],
        quiet_ms=min(idle, default=None),
        last_delivered_id=told["last-delivered-id"].decode(),
        entries_read=told.get("entries-read"),
        entries_added=added,
    )


def read_group(server: Server, stream: bytes, group: bytes) -> GroupFacts:
    """One group. Raises Refused if there is none."""
    server.ask("XINFO", "CONSUMERS", stream, group)
    return next(each for each in read_groups(server, [stream]) if each.name == group)


def read_consumers(server: Server, stream: bytes, group: bytes) -> list[ConsumerFacts]:
    """The consumers of a group, by name. Raises Refused."""
    found = [pairs_of(reply) for reply in server.ask("XINFO", "CONSUMERS", stream, group)]
    return sorted(
        (
            ConsumerFacts(
                name=each["name"],
                pending=each["pending"],
                idle_ms=each["idle"],
                inactive_ms=None if each.get("inactive", -1) < 0 else each["inactive"],
            )
            for each in found
        ),
        key=lambda one: one.name,
    )


def read_pending(
    server: Server,
    stream: bytes,
    group: bytes,
    *,
    older_ms: int = 0,
    consumer: bytes | None = None,
    start: str = "-",
    at_most: int = 1000,
) -> list[PendingFacts]:
    """Pending entries from ``start`` on that have been idle for ``older_ms``. Raises Refused."""
    idle: tuple[str | int, ...] = ("IDLE", older_ms) if older_ms > 0 else ()
    who = () if consumer is None else (consumer,)
    rows = server.ask("XPENDING", stream, group, *idle, start, "+", at_most, *who)
    return [PendingFacts(row[0].decode(), row[1], row[2], row[3]) for row in rows]
