"""OBJECT: what a key is inside, and for how long nobody asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import parse_int
from respserver.errors import ReplyError
from respserver.helptext import help_reply
from respserver.keyspec import one_key
from respserver.replies import Simple
from respserver.spec import LOADING, READONLY, STALE, command, declare

if TYPE_CHECKING:
    from respserver.call import Call

# The longest string that Redis keeps in one piece with its object.
EMBEDDED_BYTES_MAX = 44
NO_LFU = (
    b"ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
    b"when switching between policies at runtime LRU and LFU data will take some time to adjust."
)

declare(
    "OBJECT",
    "",
    "A container for object introspection commands.",
    arity=-2,
    since="2.2.3",
    group="generic",
    complexity="Depends on subcommand.",
)


@command(
    "OBJECT ENCODING",
    "key",
    "Returns the internal encoding of a Redis object.",
    arity=3,
    flags=READONLY,
    acl="keyspace",
    keys=one_key("RO", 2),
    since="2.2.3",
    group="generic",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_encoding(call: Call) -> bytes | None:
    row = call.keyspace.find(call.ns, call.argv[2])
    if row is None:
        return None
    if row.is_stream:
        return b"stream"
    if row.is_raw or row.length > EMBEDDED_BYTES_MAX:
        return b"raw"
    return b"embstr" if parse_int(row.string) is None else b"int"


@command(
    "OBJECT FREQ",
    "key",
    "Returns the logarithmic access frequency counter of a Redis object.",
    arity=3,
    flags=READONLY,
    acl="keyspace",
    keys=one_key("RO", 2),
    since="4.0.0",
    group="generic",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_freq(call: Call) -> None:
    if call.keyspace.find(call.ns, call.argv[2]) is not None:
        raise ReplyError(NO_LFU)


@command(
    "OBJECT HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="keyspace",
    since="6.2.0",
    group="generic",
    complexity="O(1)",
)
def object_help(call: Call) -> list[Simple]:
    return help_reply("OBJECT", OBJECT_HELP)


OBJECT_HELP = (
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
)


@command(
    "OBJECT IDLETIME",
    "key",
    "Returns the time since the last access to a Redis object.",
    arity=3,
    flags=READONLY,
    acl="keyspace",
    keys=one_key("RO", 2),
    since="2.2.3",
    group="generic",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_idletime(call: Call) -> int | None:
    key = call.argv[2]
    if call.keyspace.find(call.ns, key) is None:
        return None
    return call.keyspace.idle_ms(call.ns, key) // 1000


@command(
    "OBJECT REFCOUNT",
    "key",
    "Returns the reference count of a value of a key.",
    arity=3,
    flags=READONLY,
    acl="keyspace",
    keys=one_key("RO", 2),
    since="2.2.3",
    group="generic",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_refcount(call: Call) -> int | None:
    return None if call.keyspace.find(call.ns, call.argv[2]) is None else 1
