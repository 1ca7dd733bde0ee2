"""Keyspace notifications: events of keys, published on channels named after them.

Rules: the setting ``notify-keyspace-events`` chooses (respserver/eventclasses.py). An event that
Redis tells is told in its order; what it does not tell (XACK, XCLAIM, deliveries) is not told here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from respserver.spec import READONLY
from streams.changes import TIMED

CLASS_OF: Final[dict[bytes, str]] = {
    b"new": "n",
    b"overwritten": "o",
    b"type_changed": "c",
    b"keymiss": "m",
    b"expired": "x",
    b"del": "g",
    b"expire": "g",
    b"persist": "g",
    b"rename_from": "g",
    b"rename_to": "g",
    b"move_from": "g",
    b"move_to": "g",
    b"copy_to": "g",
    b"restore": "g",
}
STREAM_CLASS: Final = "t"
STRING_CLASS: Final = "$"

# What the event of a written string is called, by command; else ``set``.
STRING_EVENTS: Final[dict[bytes, bytes]] = {
    b"incr": b"incrby",
    b"decr": b"decrby",
    b"incrby": b"incrby",
    b"decrby": b"decrby",
    b"incrbyfloat": b"incrbyfloat",
    b"append": b"append",
    b"setrange": b"setrange",
    b"copy": b"copy_to",
}
# These write what was there anew; others that write over it tell so.
REWRITING: Final = frozenset(STRING_EVENTS) - {b"copy"}
TIMING: Final = frozenset({b"set", b"setex", b"psetex", b"msetex"})
MOVE_EVENTS: Final = {b"rename_from": b"move_from", b"rename_to": b"move_to"}
# A group moved by these is no event.
SILENT_SETID: Final = frozenset({b"xclaim", b"xreadgroup"})


def class_of(event: bytes, of_string: bool) -> str:
    """The letter of an event's class."""
    return CLASS_OF.get(event) or (STRING_CLASS if of_string else STREAM_CLASS)


# Commands that only look at a key without telling where it is missing.
QUIET: Final = frozenset({b"object", b"memory", b"debug", b"eval_ro", b"evalsha_ro"})
# Commands that write and look a key up as those that read.
LOOKING: Final = frozenset(
    {b"xack", b"xclaim", b"xautoclaim", b"xreadgroup", b"getdel", b"getex", b"getset"} | {b"copy"}
)


def missed(name: bytes, flags: int, keys: list[bytes], words: list[bytes]) -> list[bytes]:
    """The keys that a command looks up and tells of where they are missing, as Redis does it."""
    if name == b"xread":  # looks each key up twice
        return [key for key in keys for _ in range(2)]
    if name == b"copy":
        return keys[:1]
    if name in LOOKING:
        return keys
    if name == b"set":
        return keys if any(word.upper() == b"GET" for word in words[3:]) else []
    return keys if flags & READONLY and name.partition(b"|")[0] not in QUIET else []


def told_of(
    event: bytes, verb: bytes, words: list[bytes], before: bytes | None, after: bytes | None
) -> Iterator[bytes]:
    """The events that Redis tells for a change (streams/changes.py) that a command made.

    ``before`` is the kind of what the key held before the command, ``after`` what it holds since.
    """
    if verb == b"restore" and event != b"expired":
        yield from _restored(event, before, after)
    elif event == TIMED:
        if verb in TIMING and not any(word.upper() == b"KEEPTTL" for word in words[3:]):
            yield b"expire"
    elif event == b"set" and verb != b"copy":
        if before is None:
            yield b"new"
        elif verb not in REWRITING:
            yield from _over(before, after)
        yield STRING_EVENTS.get(verb, event)
    elif event in (b"set", b"copy_to", b"rename_to"):
        if event == b"set":
            yield b"new"
            event = b"copy_to"
        yield MOVE_EVENTS[event] if verb == b"move" else event
        if before is not None:
            yield from _over(before, after)
    elif event == b"rename_from":
        yield MOVE_EVENTS[event] if verb == b"move" else event
    elif event != b"xgroup-setid" or verb not in SILENT_SETID:
        yield event


def _restored(event: bytes, before: bytes | None, after: bytes | None) -> Iterator[bytes]:
    """RESTORE tells that there is a key, not how it was made; or that one is gone whose successor
    would have been over already.
    """
    if event in (b"new", b"set"):
        yield from (b"new", b"restore")
        if before is not None:
            yield from _over(before, after)
    elif event == b"del" and after is None:
        yield event


def _over(before: bytes, after: bytes | None) -> Iterator[bytes]:
    yield b"overwritten"
    if before != after:
        yield b"type_changed"


def copied_to(words: list[bytes], db: int, databases: int) -> int:
    """The database that COPY copies to."""
    for option, value in pairwise(words[3:]):
        if option.upper() == b"DB" and value.isdigit() and int(value) < databases:
            return int(value)
    return db
