"""Strings in parts, and numbers in strings: APPEND, ranges, INCR and its kin.

Rules: those of respserver/commands/strings.py. What is written into a string is logged as what was
written and where, not as the whole string. A number is kept as its text; floating point is C's
``long double`` (respserver/longdouble.py) and the record holds the sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import INT64_MAX, INT64_MIN, need_int
from respserver.errors import ReplyError
from respserver.keyspec import one_key
from respserver.longdouble import add
from respserver.spec import DENYOOM, FAST, READONLY, WRITE, command

if TYPE_CHECKING:
    from respserver.call import Call


def check_length(call: Call, length: int) -> None:
    """Refuse a string that would be longer than an argument may be."""
    if length > call.server.config.proto_max_bulk_len:
        raise ReplyError(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")


@command(
    "APPEND",
    "key value",
    "Appends a string to the value of a key. Creates the key if it doesn't exist.",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW insert"),
    since="2.0.0",
    group="string",
    complexity=(
        "O(1). The amortized time complexity is O(1) assuming the appended value is small"
        " and the already present value is of any size, since the dynamic string library "
        "used by Redis will double the free space available on every reallocation."
    ),
)
def append(call: Call) -> int:
    _, key, more = call.argv
    row = call.keyspace.string_row(call.ns, key)
    if row is None:
        call.key_records.set_string(call.ns, key, more, 0)
        return len(more)
    check_length(call, row.length + len(more))

    call.key_records.patch_string(call.ns, key, row.length, more)
    return row.length + len(more)


@command(
    "STRLEN",
    "key",
    "Returns the length of a string value.",
    arity=2,
    flags=READONLY | FAST,
    acl="string",
    keys=one_key("RO"),
    since="2.2.0",
    group="string",
    complexity="O(1)",
)
def strlen(call: Call) -> int:
    row = call.keyspace.string_row(call.ns, call.argv[1])
    return 0 if row is None else row.length


@command(
    "SETRANGE",
    "key offset:integer value",
    (
        "Overwrites a part of a string value with another by an offset. Creates the key "
        "if it doesn't exist."
    ),
    arity=4,
    flags=WRITE | DENYOOM,
    acl="string",
    keys=one_key("RW update"),
    since="2.2.0",
    group="string",
    complexity=(
        "O(1), not counting the time taken to copy the new string in place. Usually, this"
        " string is very small so the amortized complexity is O(1). Otherwise, complexity"
        " is O(M) with M being the length of the value argument."
    ),
)
def setrange(call: Call) -> int:
    _, key, start, value = call.argv
    offset = need_int(start)
    if offset < 0:
        raise ReplyError(b"ERR offset is out of range")
    row = call.keyspace.string_row(call.ns, key)
    length = 0 if row is None else row.length
    if not value:
        return length
    check_length(call, offset + len(value))

    call.key_records.patch_string(call.ns, key, offset, value)
    return max(length, offset + len(value))


def part(call: Call) -> bytes:
    """The part of a string that GETRANGE names; both ends are in it and may count from behind."""
    start, end = need_int(call.argv[2]), need_int(call.argv[3])
    value = call.keyspace.string(call.ns, call.argv[1]) or b""
    if start < 0 and end < 0 and start > end:
        return b""
    first = max(start + len(value), 0) if start < 0 else start
    last = max(end + len(value), 0) if end < 0 else end
    return value[first : last + 1]


@command(
    "GETRANGE",
    "key start:integer end:integer",
    "Returns a substring of the string stored at a key.",
    arity=4,
    flags=READONLY,
    acl="string",
    keys=one_key("RO access"),
    since="2.4.0",
    group="string",
    complexity=(
        "O(N) where N is the length of the returned string. The complexity is ultimately "
        "determined by the returned length, but because creating a substring from an "
        "existing string is very cheap, it can be considered O(1) for small strings."
    ),
)
def getrange(call: Call) -> bytes:
    return part(call)


@command(
    "SUBSTR",
    "key start:integer end:integer",
    "Returns a substring from a string value.",
    arity=4,
    flags=READONLY,
    acl="string",
    keys=one_key("RO access"),
    since="1.0.0",
    group="string",
    complexity=(
        "O(N) where N is the length of the returned string. The complexity is ultimately "
        "determined by the returned length, but because creating a substring from an "
        "existing string is very cheap, it can be considered O(1) for small strings."
    ),
    doc_flags=("deprecated",),
    deprecated_since="2.0.0",
    replaced_by="`GETRANGE`",
)
def substr(call: Call) -> bytes:
    return part(call)


def increase(call: Call, by: int) -> int:
    """Add to the number in a string; a key that does not exist is 0."""
    key = call.argv[1]
    row = call.keyspace.string_row(call.ns, key)
    number = (0 if row is None else need_int(row.string)) + by
    if not INT64_MIN <= number <= INT64_MAX:
        raise ReplyError(b"ERR increment or decrement would overflow")

    expires_ms = 0 if row is None else row.expires_ms
    call.key_records.set_string(call.ns, key, b"%d" % number, expires_ms)
    return number


@command(
    "INCR",
    "key",
    (
        "Increments the integer value of a key by one. Uses 0 as initial value if the key"
        " doesn't exist."
    ),
    arity=2,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW access update"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
)
def incr(call: Call) -> int:
    return increase(call, 1)


@command(
    "INCRBY",
    "key increment:integer",
    (
        "Increments the integer value of a key by a number. Uses 0 as initial value if "
        "the key doesn't exist."
    ),
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW access update"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
)
def incrby(call: Call) -> int:
    return increase(call, need_int(call.argv[2]))


@command(
    "DECR",
    "key",
    (
        "Decrements the integer value of a key by one. Uses 0 as initial value if the key"
        " doesn't exist."
    ),
    arity=2,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW access update"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
)
def decr(call: Call) -> int:
    return increase(call, -1)


@command(
    "DECRBY",
    "key decrement:integer",
    (
        "Decrements a number from the integer value of a key. Uses 0 as initial value if "
        "the key doesn't exist."
    ),
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW access update"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
)
def decrby(call: Call) -> int:
    by = need_int(call.argv[2])
    if by == INT64_MIN:
        raise ReplyError(b"ERR decrement would overflow")
    return increase(call, -by)


@command(
    "INCRBYFLOAT",
    "key increment:double",
    (
        "Increment the floating point value of a key by a number. Uses 0 as initial value"
        " if the key doesn't exist."
    ),
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW access update"),
    since="2.6.0",
    group="string",
    complexity="O(1)",
)
def incrbyfloat(call: Call) -> bytes:
    _, key, by = call.argv
    row = call.keyspace.string_row(call.ns, key)
    try:
        total = add(b"0" if row is None else row.string, by)
    except ValueError:
        raise ReplyError(b"ERR value is not a valid float") from None
    if total is None:
        raise ReplyError(b"ERR increment would produce NaN or Infinity")

    call.key_records.set_string(call.ns, key, total, 0 if row is None else row.expires_ms)
    return total
