"""Arguments of the stream commands that are not compiled: IDs, bounds, streams and groups.

Each function gives what was asked for or refuses in Redis' words; nothing is changed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.errors import INVALID_STREAM_ID, NO_SUCH_KEY, ReplyError, c_string
from streams import ids
from streams.ids import ID

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.group import Group
    from streams.stream import Stream

# What becomes of the groups' references to an entry that is deleted: they stay, they go, or the
# entry stays as long as there are any.
KEEPREF = b"KEEPREF"
DELREF = b"DELREF"
ACKED = b"ACKED"
REFERENCES = (KEEPREF, DELREF, ACKED)


def option(word: bytes) -> bytes:
    """An option word as it is compared: upper case, up to a NUL."""
    return c_string(word).upper()


def need_id(text: bytes) -> ID:
    """An ID, ``-`` or ``+``."""
    id = ids.parse(text)
    if id is None:
        raise ReplyError(INVALID_STREAM_ID)
    return id


def need_strict_id(text: bytes) -> ID:
    """An ID."""
    id = ids.parse_strict(text)
    if id is None:
        raise ReplyError(INVALID_STREAM_ID)
    return id


def need_start(text: bytes) -> ID:
    """The lowest ID of the range that begins at this bound."""
    bound = ids.parse_bound(text, 0)
    if bound is None:
        raise ReplyError(INVALID_STREAM_ID)
    id, excluded = bound
    start = ids.successor(id) if excluded else id
    if start is None:
        raise ReplyError(b"ERR invalid start ID for the interval")
    return start


def need_end(text: bytes) -> ID:
    """The highest ID of the range that ends at this bound."""
    bound = ids.parse_bound(text, ids.U64_MAX)
    if bound is None:
        raise ReplyError(INVALID_STREAM_ID)
    id, excluded = bound
    end = ids.predecessor(id) if excluded else id
    if end is None:
        raise ReplyError(b"ERR invalid end ID for the interval")
    return end


def need_stream(call: Call, key: bytes) -> Stream:
    """The stream of a key that must exist."""
    stream = call.keyspace.stream(call.ns, key)
    if stream is None:
        raise ReplyError(NO_SUCH_KEY)
    return stream


def need_pending_group(call: Call, key: bytes, name: bytes) -> tuple[Stream, Group]:
    """Stream and group, as the commands about pending entries refuse their absence."""
    stream = call.keyspace.stream(call.ns, key)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise ReplyError(
            b"NOGROUP No such key '%s' or consumer group '%s'" % (c_string(key), c_string(name))
        )
    return stream, group


def no_group(key: bytes, name: bytes) -> ReplyError:
    """XGROUP and XINFO miss a group of a stream that exists."""
    return ReplyError(
        b"NOGROUP No such consumer group '%s' for key name '%s'" % (c_string(name), c_string(key))
    )
