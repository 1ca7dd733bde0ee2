"""Entries as JSON and as text, the same in ``tail``, ``work``, ``export`` and ``import``.

    entry  := {"stream": name, "id": id, "fields": fields, ...}
    fields := {name: value, ...}            where every name is UTF-8 and none comes twice, else
            | [[item, item], ...]           the pairs in their order
    item   := string | {"base64": string}   the latter for what is no UTF-8

So the usual entry is an object that any program reads, and no entry loses a byte.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

from tools.connection import text

Pair = tuple[bytes, bytes]


class Entry(NamedTuple):
    """An entry of a stream."""

    id: str
    pairs: list[Pair]


def entry_of(reply: Sequence[Any]) -> Entry:
    """An entry as XRANGE and its kin tell it; one that was deleted has no pairs."""
    flat = reply[1] or []
    return Entry(reply[0].decode(), list(zip(flat[::2], flat[1::2], strict=True)))


def fields_to_json(pairs: Sequence[Pair]) -> Any:
    """The fields of an entry for JSON."""
    try:
        names = [name.decode() for name, _ in pairs]
    except UnicodeDecodeError:
        names = []
    if len(names) == len(pairs) == len(set(names)):
        return {name: as_item(value) for name, (_, value) in zip(names, pairs, strict=True)}
    return [[as_item(name), as_item(value)] for name, value in pairs]


def fields_from_json(fields: Any) -> list[Pair]:
    """The pairs that JSON tells. Numbers are written as JSON writes them. Raises ValueError."""
    if isinstance(fields, dict):
        pairs = [(name.encode(), as_bytes(value)) for name, value in fields.items()]
    elif isinstance(fields, list) and all(
        isinstance(pair, list) and len(pair) == 2 for pair in fields
    ):
        pairs = [(as_bytes(name), as_bytes(value)) for name, value in fields]
    else:
        raise ValueError("fields must be an object, or a list of pairs")
    if not pairs:
        raise ValueError("an entry needs a field at least")
    return pairs


def as_item(value: bytes) -> Any:
    """A name or value for JSON."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def as_bytes(item: Any) -> bytes:
    """What JSON tells of a name or value. Raises ValueError."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, int | float) and not isinstance(item, bool):
        return str(item).encode()
    if isinstance(item, dict) and item.keys() == {"base64"} and isinstance(item["base64"], str):
        try:
            return base64.b64decode(item["base64"], validate=True)
        except binascii.Error:
            raise ValueError(f"{item['base64']!r} is no base64") from None
    raise ValueError(f'{item!r} is no string, number or {{"base64": ...}}')


def to_json(stream: bytes, entry: Entry, **more: Any) -> dict[str, Any]:
    """An entry as a line of JSON has it."""
    told = {"stream": text(stream), "id": entry.id, "fields": fields_to_json(entry.pairs)}
    return told | more


def in_words(pairs: Sequence[Pair], width: int | None = None) -> str:
    """The fields in one line; cut after ``width`` characters."""
    said = " ".join(f"{_word(name)}={_word(value)}" for name, value in pairs)
    return said if width is None or len(said) <= width else said[: width - 1] + "…"


def _word(value: bytes) -> str:
    said = text(value)
    return said if said.isprintable() and " " not in said and said else repr(said)
