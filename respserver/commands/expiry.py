"""When keys expire: EXPIRE and its kin, TTL and its kin, PERSIST.

Rules: a record holds the moment, in ms since 1970, whatever the command said. A moment that has
passed deletes the key. Source: the Redis documentation of each command; order of checks as in
redis-server 8.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import INT64_MAX, INT64_MIN, need_int
from respserver.errors import ReplyError, c_string
from respserver.keyspec import one_key
from respserver.spec import FAST, READONLY, WRITE, command

if TYPE_CHECKING:
    from respserver.call import Call


def conditions(words: list[bytes]) -> set[bytes]:
    """The conditions named: NX, XX, GT, LT, as far as they go together."""
    found = set()
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise ReplyError(b"ERR Unsupported option %s" % c_string(word))
        found.add(word.upper())
    if b"NX" in found and len(found) > 1:
        raise ReplyError(b"ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= found:
        raise ReplyError(b"ERR GT and LT options at the same time are not compatible")
    return found


def hold(conditions: set[bytes], old_ms: int, new_ms: int) -> bool:
    """Whether a key that expires at ``old_ms`` (0: never) may be told to expire at ``new_ms``."""
    if b"NX" in conditions and old_ms:
        return False
    if b"XX" in conditions and not old_ms:
        return False
    if b"GT" in conditions and (not old_ms or new_ms <= old_ms):
        return False
    return not (b"LT" in conditions and old_ms and new_ms >= old_ms)


def expire_at(call: Call, unit_ms: int, base_ms: int, name: bytes) -> int:
    """EXPIRE and its kin: 1 if the key has that time to live now (or is gone), 0 if not."""
    key = call.argv[1]
    wanted = conditions(call.argv[3:])
    at_ms = need_int(call.argv[2]) * unit_ms
    if not INT64_MIN <= at_ms <= INT64_MAX - base_ms:
        raise ReplyError(b"ERR invalid expire time in '%s' command" % name)
    at_ms += base_ms
    row = call.keyspace.find(call.ns, key)
    if row is None or not hold(wanted, row.expires_ms, at_ms):
        return 0

    if at_ms <= call.now_ms:
        call.key_records.delete(call.ns, key)
    else:
        call.key_records.expire(call.ns, key, at_ms)
    return 1


@command(
    "EXPIRE",
    "key seconds:integer condition=[NX | XX | GT | LT]@7.0.0",
    "Sets the expiration time of a key in seconds.",
    arity=-3,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=one_key("RW update"),
    since="1.0.0",
    group="generic",
    complexity="O(1)",
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def expire(call: Call) -> int:
    return expire_at(call, 1000, call.now_ms, b"expire")


@command(
    "PEXPIRE",
    "key milliseconds:integer condition=[NX | XX | GT | LT]@7.0.0",
    "Sets the expiration time of a key in milliseconds.",
    arity=-3,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=one_key("RW update"),
    since="2.6.0",
    group="generic",
    complexity="O(1)",
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def pexpire(call: Call) -> int:
    return expire_at(call, 1, call.now_ms, b"pexpire")


@command(
    "EXPIREAT",
    "key unix-time-seconds:unix-time condition=[NX | XX | GT | LT]@7.0.0",
    "Sets the expiration time of a key to a Unix timestamp.",
    arity=-3,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=one_key("RW update"),
    since="1.2.0",
    group="generic",
    complexity="O(1)",
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def expireat(call: Call) -> int:
    return expire_at(call, 1000, 0, b"expireat")


@command(
    "PEXPIREAT",
    "key unix-time-milliseconds:unix-time condition=[NX | XX | GT | LT]@7.0.0",
    "Sets the expiration time of a key to a Unix milliseconds timestamp.",
    arity=-3,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=one_key("RW update"),
    since="2.6.0",
    group="generic",
    complexity="O(1)",
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def pexpireat(call: Call) -> int:
    return expire_at(call, 1, 0, b"pexpireat")


def remaining(call: Call, unit_ms: int, base_ms: int) -> int:
    """When a key expires, from ``base_ms`` on: -1 where it does not, -2 where there is none."""
    row = call.keyspace.find(call.ns, call.argv[1])
    if row is None:
        return -2
    if not row.expires_ms:
        return -1
    return (row.expires_ms - base_ms + unit_ms // 2) // unit_ms


@command(
    "TTL",
    "key",
    "Returns the expiration time in seconds of a key.",
    arity=2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=one_key("RO access"),
    since="1.0.0",
    group="generic",
    complexity="O(1)",
    history=(("2.8.0", "Added the -2 reply."),),
    tips=("nondeterministic_output",),
)
def ttl(call: Call) -> int:
    return remaining(call, 1000, call.now_ms)


@command(
    "PTTL",
    "key",
    "Returns the expiration time in milliseconds of a key.",
    arity=2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=one_key("RO access"),
    since="2.6.0",
    group="generic",
    complexity="O(1)",
    history=(("2.8.0", "Added the -2 reply."),),
    tips=("nondeterministic_output",),
)
def pttl(call: Call) -> int:
    return remaining(call, 1, call.now_ms)


@command(
    "EXPIRETIME",
    "key",
    "Returns the expiration time of a key as a Unix timestamp.",
    arity=2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=one_key("RO access"),
    since="7.0.0",
    group="generic",
    complexity="O(1)",
)
def expiretime(call: Call) -> int:
    return remaining(call, 1000, 0)


@command(
    "PEXPIRETIME",
    "key",
    "Returns the expiration time of a key as a Unix milliseconds timestamp.",
    arity=2,
    flags=READONLY | FAST,
    acl="keyspace",
    keys=one_key("RO access"),
    since="7.0.0",
    group="generic",
    complexity="O(1)",
)
def pexpiretime(call: Call) -> int:
    return remaining(call, 1, 0)


@command(
    "PERSIST",
    "key",
    "Removes the expiration time of a key.",
    arity=2,
    flags=WRITE | FAST,
    acl="keyspace",
    keys=one_key("RW update"),
    since="2.2.0",
    group="generic",
    complexity="O(1)",
)
def persist(call: Call) -> int:
    row = call.keyspace.find(call.ns, call.argv[1])
    if row is None or not row.expires_ms:
        return 0
    call.key_records.expire(call.ns, call.argv[1], 0)
    return 1
