"""Lines of JSON, one an entry, a head or a string.

Lines::

    {"key": K, "id": "1-0", "fields": {"f": "v", ...} or [["f", "v"], ...]}
    {"key": K, "stream": {"last_id", "entries_added", "max_deleted_id", "groups": [{"name",
        "last_id", "entries_read", "consumers": [{"name", "seen_ms", "active_ms"}],
        "pending": [[id, consumer, delivered_ms, count], ...]}]}}
    {"key": K, "string": "value"}

each with ``"db"`` (0) and, but for entries, ``"expires_ms"`` (never) if need be. A text that is no
UTF-8 is ``{"base64": "..."}``. The entries of a key stand together, in the order of their IDs, and
its head, which may be left out, behind them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from streams import ids
from streams.rdb.heads import ConsumerHead, GroupHead, StreamHead
from streams.rdb.rows import Node, PendingRows
from tools.migrate.errors import Refused, Unreachable
from tools.migrate.loader import Loader
from tools.migrate.scan import entry_wire
from tools.migrate.wire import ID

NODE_ENTRIES: Final = 100


class BadLine(ValueError):
    """A line that is not understood."""


def text(value: Any) -> bytes:
    """A text."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return base64.b64decode(value["base64"], validate=True)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value).encode()
    raise BadLine(f"{value!r} is no text")


def id_of(value: Any) -> ID:
    """An ID."""
    found = ids.parse_strict(value.encode()) if isinstance(value, str) else None
    if found is None:
        raise BadLine(f"{value!r} is no ID")
    return found


def load_jsonl(path: Path, loader: Loader) -> None:
    """Load a file. Raises MigrateError."""
    try:
        with path.open("rb") as file:
            numbered = enumerate(file, 1)
            lines = (
                (number, _line(path, number, line)) for number, line in numbered if line.strip()
            )
            for place, group in groupby(
                lines, key=lambda one: (one[1].get("db", 0), one[1]["key"])
            ):
                _key(path, int(place[0]), place[1], group, loader)
    except OSError as error:
        raise Unreachable(f"{path} cannot be read: {error.strerror}") from None
    loader.target.settle()
    if loader.conflicts:
        raise Refused(f"the target has other streams than {path}", "--replace")
    loader.set_lives()


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if not isinstance(found, dict) or "key" not in found:
            raise BadLine("a line is an object with a key")
        found["key"] = text(found["key"])
        found["db"] = int(found.get("db", 0))
        return found
    except (ValueError, TypeError, KeyError) as error:
        raise Refused(f"{path}, line {number}: {error}") from None


def _key(
    path: Path, db: int, key: bytes, lines: Iterator[tuple[int, dict[str, Any]]], loader: Loader
) -> None:
    number = 0
    told: dict[str, Any] = {}
    count, first_last = 0, [(0, 0)]

    def nodes() -> Iterator[Node]:
        nonlocal number, told, count
        entries: list[bytes] = []
        for number, line in lines:
            try:
                if "id" not in line:
                    told = line
                    break
                id = id_of(line["id"])
                if id <= first_last[0]:
                    raise BadLine(f"{line['id']} does not follow the entry before")
                first_last[0] = id
                entries.append(entry_wire(ids.text(id), _fields(line["fields"])))
            except (ValueError, TypeError, KeyError) as error:
                raise Refused(f"{path}, line {number}: {error!r}") from None
            if len(entries) == NODE_ENTRIES:
                count += len(entries)
                yield Node(b"".join(entries), len(entries), [])
                entries = []
        if entries:
            count += len(entries)
            yield Node(b"".join(entries), len(entries), [])

    def head() -> StreamHead:
        try:
            return _head(told.get("stream") or {}, count, first_last[0])
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(f"{path}, line {number}: {error!r}") from None

    found = nodes()
    node = next(found, None)
    if node is None and "string" in told:
        loader.string(db, key, text(told["string"]), int(told.get("expires_ms", 0)))
    elif node is None and "stream" not in told:
        raise Refused(f"{path}, line {number}: neither id nor stream nor string")
    else:
        everything = (one for part in ((node,) if node else (), found) for one in part)
        loader.stream(db, key, everything, head, 0)
        if told.get("expires_ms"):
            loader.lives[db, key] = int(told["expires_ms"])
    for number, _ in lines:
        raise Refused(f"{path}, line {number}: the key was complete before")


def _fields(value: Any) -> list[bytes]:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not pairs:
        raise BadLine("an entry has a field at least")
    return [text(word) for field, member in pairs for word in (field, member)]


def _head(told: dict[str, Any], count: int, last: ID) -> StreamHead:
    head = StreamHead(
        count,
        id_of(told["last_id"]) if "last_id" in told else last,
        id_of(told.get("max_deleted_id", "0-0")),
        int(told.get("entries_added", count)),
    )
    for one in told.get("groups", ()):
        group = GroupHead(text(one["name"]), id_of(one["last_id"]), one.get("entries_read"))
        places: dict[bytes, int] = {}
        for place, consumer in enumerate(one.get("consumers", ()), 1):
            name = text(consumer["name"])
            places[name] = place
            group.consumers.append(
                ConsumerHead(name, int(consumer["seen_ms"]), int(consumer.get("active_ms", -1)))
            )
        rows = PendingRows()
        rows.extend(
            (*id_of(id), places[text(consumer)], int(delivered_ms), int(times))
            for id, consumer, delivered_ms, times in sorted(
                one.get("pending", ()), key=lambda row: id_of(row[0])
            )
        )
        group.pending = rows
        head.groups.append(group)
    return head
