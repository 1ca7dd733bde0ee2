"""Lines of JSON as a source: what ``respq export`` writes (tools/living/jsonl.py), and strings.

Beside the lines described there, of the stream that the lines before are of:

    {"stream", "head": {..., "expires_ms"}}                         when the stream expires
    {"stream", "group": {..., "consumers": [{"name", "seen_ms", "active_ms"}, ...]}}
    {"string": name, "value": value, "expires_ms"}                  a string

Each line may have ``"db"``; 0 if not. The entries of a stream stand together in the order of their
IDs; its head, groups and pending entries follow, and all of them may be left out. What a group does
by itself (``idle_timeout_ms``) is set, too. Pending entries without a consumer are released ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final

from streams import ids
from streams.rdb.heads import ConsumerHead, GroupHead, StreamHead
from streams.rdb.rows import Node
from tools.connection import Trouble
from tools.living.entries import as_bytes, fields_from_json
from tools.living.jsonl import read_lines
from tools.migrate.errors import Refused, Unreachable
from tools.migrate.loader import Loader
from tools.migrate.scan import entry_wire
from tools.migrate.wire import ID

NODE_ENTRIES: Final = 100
Numbered = tuple[int, dict[str, Any]]
Row = tuple[ID, int, int, int]
"""A pending entry: ID, place of its consumer (0: nobody), delivery time, deliveries."""


@dataclass(slots=True)
class Told:
    """What the lines behind the entries of a stream tell."""

    head: dict[str, Any] = field(default_factory=dict)
    groups: dict[bytes, GroupHead] = field(default_factory=dict)
    places: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    """Of the consumers of each group."""
    rows: dict[bytes, list[Row]] = field(default_factory=dict)
    idle_timeouts_ms: dict[bytes, int] = field(default_factory=dict)


def load_jsonl(path: Path, loader: Loader) -> None:
    """Load a file, compressed or not; once more where some has to be made anew.

    Raises MigrateError.
    """
    _load(path, loader)
    if loader.conflicts:
        loader.policy.remake |= loader.conflicts
        loader.conflicts.clear()
        _load(path, loader)
    loader.set_lives()


def _load(path: Path, loader: Loader) -> None:
    try:
        with path.open("rb") as file:
            for place, lines in groupby(read_lines(file), key=lambda one: _place(path, *one)):
                _Key(path, place, lines, loader).load()
    except OSError as error:
        raise Unreachable(f"{path} cannot be read: {error.strerror}") from None
    except Trouble as trouble:
        raise Refused(f"{path}: {trouble.message}", trouble.try_next) from None
    loader.target.settle()


def _place(path: Path, number: int, line: dict[str, Any]) -> tuple[int, bool, bytes]:
    """Of which database and key a line is, and whether that is a string."""
    try:
        kind = "string" if "string" in line else "stream"
        return int(line.get("db", 0)), kind == "string", as_bytes(line[kind])
    except (ValueError, TypeError, KeyError) as error:
        raise _refused(path, number, error) from None


def _refused(path: Path, number: int, error: Exception) -> Refused:
    said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return Refused(f"{path}, line {number}: {said}", "respq export STREAM | head")


class _Key:
    """The lines of one key."""

    def __init__(
        self,
        path: Path,
        place: tuple[int, bool, bytes],
        lines: Iterator[Numbered],
        loader: Loader,
    ) -> None:
        self._path = path
        self._db, self._is_string, self._name = place
        self._lines = lines
        self._loader = loader
        self._rest: list[Numbered] = []  # the first line behind the entries
        self._count = 0
        self._last: ID = (0, 0)
        self._told = Told()

    def load(self) -> None:
        """Load it. Raises MigrateError."""
        if self._is_string:
            self._string()
            return
        loader, told = self._loader, self._told
        loader.stream(self._db, self._name, self._nodes(), self._head, 0)
        if expires_ms := told.head.get("expires_ms"):
            loader.lives[self._db, self._name] = int(expires_ms)
        for group, idle_ms in told.idle_timeouts_ms.items():
            loader.target.select(self._db)
            loader.target.push("XQ.GROUP", "SET", self._name, group, "IDLE-TIMEOUT", idle_ms)

    def _string(self) -> None:
        for number, line in self._lines:
            try:
                expires_ms = int(line.get("expires_ms", 0))
                self._loader.string(self._db, self._name, as_bytes(line["value"]), expires_ms)
            except (ValueError, TypeError, KeyError) as error:
                raise _refused(self._path, number, error) from None

    def _nodes(self) -> Iterator[Node]:
        entries: list[bytes] = []
        for number, line in self._lines:
            if "id" not in line:
                self._rest.append((number, line))
                break
            try:
                entries.append(self._entry(line))
            except (ValueError, TypeError, KeyError) as error:
                raise _refused(self._path, number, error) from None
            if len(entries) == NODE_ENTRIES:
                yield self._node(entries)
                entries = []
        if entries:
            yield self._node(entries)

    def _node(self, entries: list[bytes]) -> Node:
        self._count += len(entries)
        return Node(b"".join(entries), len(entries), [])

    def _entry(self, line: dict[str, Any]) -> bytes:
        found = id_of(line["id"])
        if found <= self._last:
            raise ValueError(f"{line['id']} does not follow the entry before")
        self._last = found
        pairs = fields_from_json(line["fields"])
        return entry_wire(ids.text(found), list(chain.from_iterable(pairs)))

    def _head(self) -> StreamHead:
        told = self._told
        number = 0
        try:
            for number, line in chain(self._rest, self._lines):
                _tell(told, line)
            head = StreamHead(
                self._count,
                id_of(told.head.get("last_id", ids.text(self._last).decode())),
                id_of(told.head.get("max_deleted_id") or "0-0"),
                int(told.head.get("entries_added") or self._count),
            )
            for name, group in told.groups.items():
                _put_rows(group, told.rows.get(name, ()))
                head.groups.append(group)
        except (ValueError, TypeError, KeyError) as error:
            raise _refused(self._path, number, error) from None
        return head


def id_of(value: Any) -> ID:
    """An ID."""
    found = ids.parse_strict(value.encode()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no ID")
    return found


def _tell(told: Told, line: dict[str, Any]) -> None:
    """Take a line that is no entry."""
    if "id" in line:
        raise ValueError("the entries of the stream were complete before")
    if "pending" in line:
        name, row = as_bytes(line["group"]), line["pending"]
        group = told.groups[name]
        place = 0
        if row["consumer"] is not None:
            places, consumer = told.places[name], as_bytes(row["consumer"])
            if consumer not in places:
                group.consumers.append(ConsumerHead(consumer, 0, -1))
                places[consumer] = len(group.consumers)
            place = places[consumer]
        times = int(row["delivered_ms"] or 0), int(row["deliveries"])
        told.rows.setdefault(name, []).append((id_of(row["id"]), place, *times))
    elif "group" in line:
        one = line["group"]
        group = GroupHead(
            as_bytes(one["name"]), id_of(one["last_delivered_id"]), one.get("entries_read")
        )
        group.consumers = [_consumer(each) for each in one.get("consumers", ())]
        told.groups[group.name] = group
        told.places[group.name] = {each.name: i for i, each in enumerate(group.consumers, 1)}
        if one.get("idle_timeout_ms") is not None:
            told.idle_timeouts_ms[group.name] = int(one["idle_timeout_ms"])
    elif "head" in line:
        told.head = dict(line["head"])
    else:
        raise ValueError("neither an entry nor a head, a group or a pending entry")


def _consumer(told: Any) -> ConsumerHead:
    if not isinstance(told, dict) or "name" not in told:
        return ConsumerHead(as_bytes(told), 0, -1)
    active_ms = told.get("active_ms")
    return ConsumerHead(
        as_bytes(told["name"]),
        int(told.get("seen_ms") or 0),
        -1 if active_ms is None else int(active_ms),
    )


def _put_rows(group: GroupHead, rows: Iterable[Row]) -> None:
    found = sorted(rows)
    group.pending.extend(
        (*entry_id, place, delivered_ms, deliveries)
        for entry_id, place, delivered_ms, deliveries in found
    )
    group.released = [entry_id for entry_id, place, _, _ in found if place == 0]
