"""Strings: setting and getting them whole.

Rules: a string is its key row, when it expires included; what a command does to one is a single
record with the value and the time resolved. A time to live that has passed already deletes the key
instead. Source: the Redis documentation of each command; order of checks as in redis-server 8.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from respserver.args import INT64_MAX, Args, need_int
from respserver.errors import SYNTAX, ReplyError, wrong_arity
from respserver.keyspec import KeySpec, all_keys, one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, FAST, READONLY, WRITE, command

if TYPE_CHECKING:
    from respserver.call import Call

TTL_WORDS: Final = {
    b"EX": (1000, True),
    b"PX": (1, True),
    b"EXAT": (1000, False),
    b"PXAT": (1, False),
}
"""Milliseconds a unit, and whether it counts from now on."""
SET_WORDS: Final = frozenset({b"NX", b"XX", b"GET", b"KEEPTTL"})
GETEX_WORDS: Final = frozenset({b"PERSIST"})
Ttl = tuple[bytes, bytes]
"""A word of ``TTL_WORDS`` and its number as it was given."""


def expiry_time(call: Call, ttl: Ttl, command: bytes) -> int:
    """When a key with this time to live expires, in ms. Refuses what is not a time after 1970."""
    unit_ms, relative = TTL_WORDS[ttl[0]]
    number = need_int(ttl[1])
    at_ms = number * unit_ms + (call.now_ms if relative else 0)
    if number <= 0 or at_ms > INT64_MAX:
        raise ReplyError(b"ERR invalid expire time in '%s' command" % command)
    return at_ms


def read_options(args: Args, allowed: frozenset[bytes]) -> tuple[set[bytes], Ttl | None]:
    """The words of SET or GETEX, and the time to live among them. Refuses what excludes itself."""
    words: set[bytes] = set()
    ttl: Ttl | None = None
    while args.left:
        word = args.take_option()
        if word in TTL_WORDS:
            if (ttl is not None and ttl[0] != word) or words & {b"KEEPTTL", b"PERSIST"}:
                raise ReplyError(SYNTAX)
            ttl = (word, args.take())
        elif word in allowed:
            words.add(word)
            if ttl is not None and word in (b"KEEPTTL", b"PERSIST"):
                raise ReplyError(SYNTAX)
            if {b"NX", b"XX"} <= words:
                raise ReplyError(SYNTAX)
        else:
            raise ReplyError(SYNTAX)
    return words, ttl


def put(call: Call, key: bytes, value: bytes, expires_ms: int, there: bool) -> None:
    """Set a string, or delete the key where its time has passed already."""
    if not 0 < expires_ms <= call.now_ms:
        call.key_records.set_string(call.ns, key, value, expires_ms)
    elif there:
        call.key_records.delete(call.ns, key)


@command(
    "GET",
    "key",
    "Returns the string value of a key.",
    arity=2,
    flags=READONLY | FAST,
    acl="string",
    keys=one_key("RO access"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
)
def get(call: Call) -> bytes | None:
    return call.keyspace.string(call.ns, call.argv[1])


def key_flags_of_set(argv: Sequence[bytes]) -> tuple[str, ...]:
    """What SET does with its key: with GET it reads it too."""
    if any(word.upper() == b"GET" for word in argv[3:]):
        return ("RW", "access", "update")
    return ("OW", "update")


@command(
    "SET",
    (
        "key value condition=[NX | XX]@2.6.12 [GET@6.2.0] expiration=[EX "
        "seconds:integer@2.6.12 | PX milliseconds:integer@2.6.12 | EXAT unix-time-"
        "seconds:unix-time@6.2.0 | PXAT unix-time-milliseconds:unix-time@6.2.0 | "
        "KEEPTTL@6.0.0]"
    ),
    ("Sets the string value of a key, ignoring its type. The key is created if it doesn't exist."),
    arity=-3,
    flags=WRITE | DENYOOM,
    acl="string",
    keys=one_key(
        "RW access update variable_flags",
        notes="RW and ACCESS due to the optional `GET` argument",
        variable=key_flags_of_set,
    ),
    since="1.0.0",
    group="string",
    complexity="O(1)",
    history=(
        ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
        ("6.0.0", "Added the `KEEPTTL` option."),
        ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
        ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
    ),
)
def set_(call: Call) -> Simple | bytes | None:
    key, value = call.argv[1], call.argv[2]
    words, ttl = read_options(Args(call.argv, 3), SET_WORDS)
    expires_ms = expiry_time(call, ttl, b"set") if ttl is not None else 0
    wants_old = b"GET" in words
    row = call.keyspace.string_row(call.ns, key) if wants_old else call.keyspace.find(call.ns, key)
    old = row.string if wants_old and row is not None else None
    if (b"NX" in words and row is not None) or (b"XX" in words and row is None):
        return old

    if b"KEEPTTL" in words and row is not None:
        expires_ms = row.expires_ms
    put(call, key, value, expires_ms, row is not None)
    return old if wants_old else OK


@command(
    "SETNX",
    "key value",
    "Set the string value of a key only when the key doesn't exist.",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("OW insert"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `NX` argument",
)
def setnx(call: Call) -> int:
    if call.keyspace.find(call.ns, call.argv[1]) is not None:
        return 0
    call.key_records.set_string(call.ns, call.argv[1], call.argv[2], 0)
    return 1


def set_expiring(call: Call, unit: bytes, name: bytes) -> Simple:
    """SETEX and PSETEX."""
    _, key, ttl, value = call.argv
    expires_ms = expiry_time(call, (unit, ttl), name)
    call.keyspace.find(call.ns, key)
    call.key_records.set_string(call.ns, key, value, expires_ms)
    return OK


@command(
    "SETEX",
    "key seconds:integer value",
    ("Sets the string value and expiration time of a key. Creates the key if it doesn't exist."),
    arity=4,
    flags=WRITE | DENYOOM,
    acl="string",
    keys=one_key("OW update"),
    since="2.0.0",
    group="string",
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `EX` argument",
)
def setex(call: Call) -> Simple:
    return set_expiring(call, b"EX", b"setex")


@command(
    "PSETEX",
    "key milliseconds:integer value",
    (
        "Sets both string value and expiration time in milliseconds of a key. The key is "
        "created if it doesn't exist."
    ),
    arity=4,
    flags=WRITE | DENYOOM,
    acl="string",
    keys=one_key("OW update"),
    since="2.6.0",
    group="string",
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `PX` argument",
)
def psetex(call: Call) -> Simple:
    return set_expiring(call, b"PX", b"psetex")


@command(
    "GETSET",
    "key value",
    "Returns the previous string value of a key after setting it to a new value.",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    acl="string",
    keys=one_key("RW access update"),
    since="1.0.0",
    group="string",
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`SET` with the `!GET` argument",
)
def getset(call: Call) -> bytes | None:
    old = call.keyspace.string(call.ns, call.argv[1])
    call.key_records.set_string(call.ns, call.argv[1], call.argv[2], 0)
    return old


@command(
    "GETDEL",
    "key",
    "Returns the string value of a key after deleting the key.",
    arity=2,
    flags=WRITE | FAST,
    acl="string",
    keys=one_key("RW access delete"),
    since="6.2.0",
    group="string",
    complexity="O(1)",
)
def getdel(call: Call) -> bytes | None:
    old = call.keyspace.string(call.ns, call.argv[1])
    if old is not None:
        call.key_records.delete(call.ns, call.argv[1])
    return old


@command(
    "GETEX",
    (
        "key expiration=[EX seconds:integer | PX milliseconds:integer | EXAT unix-time-"
        "seconds:unix-time | PXAT unix-time-milliseconds:unix-time | PERSIST]"
    ),
    "Returns the string value of a key after setting its expiration time.",
    arity=-2,
    flags=WRITE | FAST,
    acl="string",
    keys=one_key("RW access update", notes="RW and UPDATE because it changes the TTL"),
    since="6.2.0",
    group="string",
    complexity="O(1)",
)
def getex(call: Call) -> bytes | None:
    key = call.argv[1]
    words, ttl = read_options(Args(call.argv, 2), GETEX_WORDS)
    row = call.keyspace.string_row(call.ns, key)
    if row is None:
        return None
    expires_ms = expiry_time(call, ttl, b"getex") if ttl is not None else 0
    value = row.string

    if 0 < expires_ms <= call.now_ms:
        call.key_records.delete(call.ns, key)
    elif ttl is not None or (words and row.expires_ms):
        call.key_records.expire(call.ns, key, expires_ms)
    return value


@command(
    "MGET",
    "key...",
    "Atomically returns the string values of one or more keys.",
    arity=-2,
    flags=READONLY | FAST,
    acl="string",
    keys=all_keys("RO access"),
    since="1.0.0",
    group="string",
    complexity="O(N) where N is the number of keys to retrieve.",
    tips=("request_policy:multi_shard",),
)
def mget(call: Call) -> list[bytes | None]:
    rows = [call.keyspace.find(call.ns, key) for key in call.argv[1:]]
    return [None if row is None or row.is_stream else row.string for row in rows]


def set_all(call: Call) -> None:
    """Set the keys and values named; each key once, to its last value."""
    pairs = dict(zip(call.argv[1::2], call.argv[2::2], strict=True))
    for key, value in pairs.items():
        call.key_records.set_string(call.ns, key, value, 0)


@command(
    "MSET",
    "data={key value}...",
    "Atomically creates or modifies the string values of one or more keys.",
    arity=-3,
    flags=WRITE | DENYOOM,
    acl="string",
    keys=KeySpec(1, -1, 2, ("OW", "update")),
    since="1.0.1",
    group="string",
    complexity="O(N) where N is the number of keys to set.",
    tips=(
        "request_policy:multi_shard",
        "response_policy:all_succeeded",
    ),
)
def mset(call: Call) -> Simple:
    if len(call.argv) % 2 == 0:
        raise wrong_arity(b"mset")
    for key in call.argv[1::2]:
        call.keyspace.find(call.ns, key)

    set_all(call)
    return OK


@command(
    "MSETNX",
    "data={key value}...",
    ("Atomically modifies the string values of one or more keys only when all keys don't exist."),
    arity=-3,
    flags=WRITE | DENYOOM,
    acl="string",
    keys=KeySpec(1, -1, 2, ("OW", "insert")),
    since="1.0.1",
    group="string",
    complexity="O(N) where N is the number of keys to set.",
)
def msetnx(call: Call) -> int:
    if len(call.argv) % 2 == 0:
        raise wrong_arity(b"msetnx")
    rows = [call.keyspace.find(call.ns, key) for key in call.argv[1::2]]
    if any(row is not None for row in rows):
        return 0

    set_all(call)
    return 1
