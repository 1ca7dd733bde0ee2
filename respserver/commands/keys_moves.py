"""Keys that move: RENAME, MOVE, COPY, SWAPDB.

Rules: what a key holds is not touched, whatever its size; a move is one record and changes key rows
alone, a copy of a stream shares its segments (streams/stream.py). Source: the Redis documentation
of each command; order of checks as in redis-server 8.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import Args, need_int, need_int_between
from respserver.errors import DB_INDEX_RANGE, NO_SUCH_KEY, SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, FAST, WRITE, command

if TYPE_CHECKING:
    from respserver.call import Call

INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1
SAME_OBJECT = b"ERR source and destination objects are the same"


def rename_key(call: Call, over: bool) -> bool:
    """Give a key another name; False where that is taken and must not be given ``over``."""
    _, key, name = call.argv
    if call.keyspace.find(call.ns, key) is None:
        raise ReplyError(NO_SUCH_KEY)
    if key == name:
        return over
    if call.keyspace.find(call.ns, name) is not None and not over:
        return False

    call.key_records.move(call.ns, key, call.ns, name)
    return True


@command(
    "RENAME",
    "key newkey:key",
    "Renames a key and overwrites the destination.",
    arity=3,
    flags=WRITE,
    acl="keyspace",
    keys=(one_key("RW access delete"), one_key("OW update", 2)),
    since="1.0.0",
    group="generic",
    complexity="O(1)",
)
def rename(call: Call) -> Simple:
    rename_key(call, over=True)
    return OK


@command(
    "RENAMENX",
    "key newkey:key",
    "Renames a key only when the target key name doesn't exist.",
    arity=3,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=(one_key("RW access delete"), one_key("OW insert", 2)),
    since="1.0.0",
    group="generic",
    complexity="O(1)",
    history=(
        (
            "3.2.0",
            (
                "The command no longer returns an error when source and destination names are"
                " the same."
            ),
        ),
    ),
)
def renamenx(call: Call) -> int:
    return int(rename_key(call, over=False))


def database(call: Call, text: bytes) -> int:
    """The number of a database."""
    db = need_int_between(text, INT32_MIN, INT32_MAX)
    if not 0 <= db < call.server.config.databases:
        raise ReplyError(DB_INDEX_RANGE)
    return db


@command(
    "MOVE",
    "key db:integer",
    "Moves a key to another database.",
    arity=3,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=one_key("RW access update"),
    since="1.0.0",
    group="generic",
    complexity="O(1)",
)
def move(call: Call) -> int:
    key = call.argv[1]
    db = database(call, call.argv[2])
    to_ns = call.keyspace.namespaces[db]
    if db == call.session.db:
        raise ReplyError(SAME_OBJECT)
    if call.keyspace.find(call.ns, key) is None or call.keyspace.find(to_ns, key) is not None:
        return 0

    call.key_records.move(call.ns, key, to_ns, key)
    return 1


@command(
    "COPY",
    "source:key destination:key [DB destination-db:integer] [REPLACE]",
    "Copies the value of a key to a new key.",
    arity=-3,
    flags=WRITE | DENYOOM,
    acl="keyspace",
    keys=(one_key("RO access"), one_key("OW update", 2)),
    since="6.2.0",
    group="generic",
    complexity=(
        "O(N) worst case for collections, where N is the number of nested items. O(1) for"
        " string values."
    ),
)
def copy(call: Call) -> int:
    key, name = call.argv[1:3]
    args = Args(call.argv, 3)
    db = call.session.db
    over = False
    while args.left:
        option = args.take_option()
        if option == b"REPLACE":
            over = True
        elif option == b"DB" and args.left:
            db = database(call, args.take())
        else:
            raise ReplyError(SYNTAX)
    to_ns = call.keyspace.namespaces[db]
    if key == name and db == call.session.db:
        raise ReplyError(SAME_OBJECT)
    row = call.keyspace.find(call.ns, key)
    if row is None or (call.keyspace.find(to_ns, name) is not None and not over):
        return 0

    if row.is_stream:
        stream = call.keyspace.stream(call.ns, key)
        assert stream is not None
        call.key_records.copy_stream(stream, to_ns, name, row.expires_ms)
    else:
        call.reserve(row.length)
        call.key_records.copy_string(to_ns, name, row)
    return 1


@command(
    "SWAPDB",
    "index1:integer index2:integer",
    "Swaps two Redis databases.",
    arity=3,
    flags=WRITE | FAST,
    acl="dangerous keyspace",
    since="4.0.0",
    group="server",
    complexity=(
        "O(N) where N is the count of clients watching or blocking on keys from both databases."
    ),
)
def swapdb(call: Call) -> Simple:
    one = need_int(call.argv[1], b"ERR invalid first DB index")
    other = need_int(call.argv[2], b"ERR invalid second DB index")
    for db in (one, other):
        if not 0 <= db < call.server.config.databases:
            raise ReplyError(DB_INDEX_RANGE)
    if one != other:
        call.key_records.swap_databases(one, other)
    return OK
