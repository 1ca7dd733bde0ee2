"""SET and GET: as much of strings as programs around streams need.

Rules: keys do not expire yet, so the options of SET that set a time to live are refused as a syntax
error; KEEPTTL has nothing to keep and is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from respserver.errors import SYNTAX, ReplyError
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import DENYOOM, FAST, READONLY, WRITE, command

if TYPE_CHECKING:
    from respserver.call import Call


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
    ("key value condition=[NX | XX]@2.6.12 [GET@6.2.0] [KEEPTTL@6.0.0]"),
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
    options = {word.upper() for word in call.argv[3:]}
    if not options <= {b"NX", b"XX", b"GET", b"KEEPTTL"} or {b"NX", b"XX"} <= options:
        raise ReplyError(SYNTAX)
    wants_old = b"GET" in options
    old = call.keyspace.string(call.ns, key) if wants_old else None
    there = call.keyspace.lookup(call.ns, key) is not None

    if (b"NX" in options and there) or (b"XX" in options and not there):
        return old
    call.journal.set_string(call.ns, key, value)
    return old if wants_old else OK
