"""Commands about keys of any type: what there is, what kind it is, away with it."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from respserver.args import Args, parse_int
from respserver.errors import SYNTAX, ReplyError, c_string
from respserver.glob import matches
from respserver.keyspec import all_keys, one_key
from respserver.replies import OK, Simple
from respserver.spec import FAST, READONLY, WRITE, command
from streams import rowkeys

if TYPE_CHECKING:
    from respserver.call import Call

SCAN_COUNT = 10
RANDOM_PAGE = 32
UINT64_MAX = (1 << 64) - 1
# What C's strtoull takes for a whole number.
CURSOR = re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)")


@command(
    "DBSIZE",
    "",
    "Returns the number of keys in the database.",
    arity=1,
    flags=READONLY | FAST,
    acl="keyspace",
    since="1.0.0",
    group="server",
    complexity="O(1)",
    tips=(
        "request_policy:all_shards",
        "response_policy:agg_sum",
    ),
)
def dbsize(call: Call) -> int:
    return call.keyspace.size(call.ns)


def delete(call: Call) -> int:
    """Delete the keys named; how many were there."""
    there = [
        key for key in dict.fromkeys(call.argv[1:]) if call.keyspace.find(call.ns, key) is not None
    ]
    for key in there:
        call.key_records.delete(call.ns, key)
    return len(there)


@command(
    "DEL",
    "key...",
    "Deletes one or more keys.",
    arity=-2,
    flags=WRITE,
    acl="keyspace",
    keys=all_keys("RM delete"),
    since="1.0.0",
    group="generic",
    complexity=(
        "O(N) where N is the number of keys that will be removed. When a key to remove "
        "holds a value other than a string, the individual complexity for this key is O(M) "
        "where M is the number of elements in the list, set, sorted set or hash. Removing a"
        " single key that holds a string value is O(1)."
    ),
    tips=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def del_(call: Call) -> int:
    return delete(call)


@command(
    "UNLINK",
    "key...",
    "Asynchronously deletes one or more keys.",
    arity=-2,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=all_keys("RM delete"),
    since="4.0.0",
    group="generic",
    complexity=(
        "O(1) for each key removed regardless of its size. Then the command does O(N) work "
        "in a different thread in order to reclaim memory, where N is the number of "
        "allocations the deleted objects where composed of."
    ),
    tips=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def unlink(call: Call) -> int:
    return delete(call)


@command(
    "EXISTS",
    "key...",
    "Determines whether one or more keys exist.",
    arity=-2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=all_keys("RO"),
    since="1.0.0",
    group="generic",
    complexity="O(N) where N is the number of keys to check.",
    history=(("3.0.3", "Accepts multiple `key` arguments."),),
    tips=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def exists(call: Call) -> int:
    return sum(call.keyspace.find(call.ns, key) is not None for key in call.argv[1:])


def check_flush(call: Call) -> None:
    """FLUSHALL and FLUSHDB take ASYNC or SYNC, which are the same here: a flush is one record."""
    words = call.argv[1:]
    if len(words) > 1 or (words and words[0].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError(SYNTAX)


def flush(call: Call, db: int) -> None:
    """Empty a database, unless it is."""
    if call.keyspace.size(call.keyspace.namespaces[db]):
        call.key_records.flush_database(db)


@command(
    "FLUSHALL",
    "flush-type=[ASYNC@4.0.0 | SYNC@6.2.0]",
    "Removes all keys from all databases.",
    arity=-1,
    flags=WRITE,
    acl="keyspace dangerous",
    since="1.0.0",
    group="server",
    complexity="O(N) where N is the total number of keys in all databases",
    history=(
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ),
    tips=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
)
def flushall(call: Call) -> Simple:
    check_flush(call)
    for db in range(len(call.keyspace.namespaces)):
        flush(call, db)
    return OK


@command(
    "FLUSHDB",
    "flush-type=[ASYNC@4.0.0 | SYNC@6.2.0]",
    "Remove all keys from the current database.",
    arity=-1,
    flags=WRITE,
    acl="keyspace dangerous",
    since="1.0.0",
    group="server",
    complexity="O(N) where N is the number of keys in the selected database",
    history=(
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ),
    tips=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
)
def flushdb(call: Call) -> Simple:
    check_flush(call)
    flush(call, call.session.db)
    return OK


@command(
    "KEYS",
    "pattern:pattern",
    "Returns all key names that match a pattern.",
    arity=2,
    flags=READONLY,
    acl="keyspace dangerous",
    since="1.0.0",
    group="generic",
    complexity=(
        "O(N) with N being the number of keys in the database, under the assumption that "
        "the key names in the database and the given pattern have limited length."
    ),
    tips=(
        "request_policy:all_shards",
        "nondeterministic_output_order",
    ),
)
def keys(call: Call) -> list[bytes]:
    pattern = call.argv[1]
    if pattern == b"*":
        return list(call.keyspace.keys(call.ns))
    return [key for key in call.keyspace.keys(call.ns) if matches(pattern, key)]


def parse_cursor(text: bytes) -> int:
    """The cursor of SCAN, read as leniently as Redis reads it."""
    number = parse_int(text)
    found = CURSOR.fullmatch(c_string(text))
    if found is None or int(found[2]) > UINT64_MAX or (number is not None and number < 0):
        raise ReplyError(b"ERR invalid cursor")
    return -int(found[2]) & UINT64_MAX if found[1] == b"-" else int(found[2])


@command(
    "SCAN",
    "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type@6.0.0]",
    "Iterates over the key names in the database.",
    arity=-2,
    flags=READONLY,
    acl="keyspace",
    since="2.8.0",
    group="generic",
    complexity=(
        "O(1) for every call. O(N) for a complete iteration, including enough command calls"
        " for the cursor to return back to 0. N is the number of elements inside the "
        "collection."
    ),
    history=(("6.0.0", "Added the `TYPE` subcommand."),),
    tips=(
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ),
)
def scan(call: Call) -> list[object]:
    args = Args(call.argv)
    cursor = parse_cursor(args.take())
    count = SCAN_COUNT
    pattern: bytes | None = None
    kind: bytes | None = None
    while args.left:
        option = args.take_option()
        if option == b"COUNT" and args.left:
            count = args.take_int()
            if count < 1:
                raise ReplyError(SYNTAX)
        elif option == b"MATCH" and args.left:
            pattern = args.take()
        elif option == b"TYPE" and args.left:
            kind = args.take().lower()
        elif option == b"NOVALUES":
            raise ReplyError(b"ERR NOVALUES option can only be used in HSCAN")
        else:
            raise ReplyError(SYNTAX)
    if pattern == b"*":
        pattern = None
    following, found = call.keyspace.scan(call.ns, cursor, count)
    names = [
        key
        for key, row in found
        if (pattern is None or matches(pattern, key))
        and (kind is None or row.kind == kind)
        and (not row.expires_ms or call.keyspace.find(call.ns, key) is not None)
    ]
    return [b"%d" % following, names]


@command(
    "TYPE",
    "key",
    "Determines the type of value stored at a key.",
    arity=2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=one_key("RO"),
    since="1.0.0",
    group="generic",
    complexity="O(1)",
)
def type_(call: Call) -> Simple:
    return Simple(call.keyspace.kind(call.ns, call.argv[1]) or b"none")


@command(
    "TOUCH",
    "key...",
    (
        "Returns the number of existing keys out of those specified after updating the "
        "time they were last accessed."
    ),
    arity=-2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=all_keys("RO"),
    since="3.2.1",
    group="generic",
    complexity="O(N) where N is the number of keys that will be touched.",
    tips=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def touch(call: Call) -> int:
    return sum(call.keyspace.touch(call.ns, key) for key in call.argv[1:])


@command(
    "RANDOMKEY",
    "",
    "Returns a random key name from the database.",
    arity=1,
    flags=READONLY,
    acl="keyspace",
    since="1.0.0",
    group="generic",
    complexity="O(1)",
    tips=(
        "request_policy:all_shards",
        "response_policy:special",
        "nondeterministic_output",
    ),
)
def randomkey(call: Call) -> bytes | None:
    """A page of keys from somewhere on, and one of it that has not expired."""
    cursor = random.randrange(rowkeys.CURSOR_END)
    _, page = call.keyspace.scan(call.ns, cursor, RANDOM_PAGE)
    if len(page) < RANDOM_PAGE:
        page += call.keyspace.scan(call.ns, 0, RANDOM_PAGE - len(page))[1]
    random.shuffle(page)
    there = (key for key, _ in page if call.keyspace.find(call.ns, key) is not None)
    return next(there, None)
