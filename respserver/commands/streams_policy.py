"""What the server does by itself for a consumer group: XQ.GROUP, a command of respq's own.

IDLE-TIMEOUT: an entry that is pending for so long is delivered again, by the next plain
``XREADGROUP ... >`` of any consumer, its own included, before new entries, the longest idle first.
A consumer that needs longer prolongs its hold with ``XCLAIM key group itself 0 id JUSTID``.

Such a group is read as with CLAIM, without its reply: what was released by XNACK is due at once, in
any mode, and what comes again stays pending whether the reader says NOACK or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.errors import SYNTAX, ReplyError
from respserver.helptext import help_reply
from respserver.keyspec import one_key
from respserver.replies import OK, Simple
from respserver.spec import FAST, LOADING, READONLY, STALE, WRITE, command, declare
from respserver.stream_args import need_stream, no_group, option

if TYPE_CHECKING:
    from respserver.call import Call
    from streams.group import Group
    from streams.stream import Stream

IDLE_TIMEOUT_MAX_MS = 100 * 366 * 86_400_000
BAD_IDLE_TIMEOUT = (
    b"ERR IDLE-TIMEOUT must be between 1 and %d milliseconds, or OFF" % IDLE_TIMEOUT_MAX_MS
)
OFF = b"OFF"
HELP = (
    "GET <key> <groupname>",
    "    Show the policy of <groupname>.",
    "SET <key> <groupname> <option> ...",
    "    Set the policy of <groupname>. Options are:",
    "    * IDLE-TIMEOUT <milliseconds|OFF>",
    "      Deliver an entry again once it has been pending for so long.",
)

declare(
    "XQ.GROUP",
    "",
    "A container for commands on what the server does by itself for a consumer group.",
    arity=-2,
    since="0.1.0",
    complexity="Depends on subcommand.",
)


def need_group(call: Call) -> tuple[Stream, Group]:
    """The stream and its group."""
    stream = need_stream(call, call.argv[2])
    group = stream.groups.get(call.argv[3])
    if group is None:
        raise no_group(call.argv[2], call.argv[3])
    return stream, group


def need_idle_timeout_ms(text: bytes) -> int:
    """The argument of IDLE-TIMEOUT; 0 is OFF."""
    if option(text) == OFF:
        return 0
    idle_ms = need_int(text, BAD_IDLE_TIMEOUT)
    if not 1 <= idle_ms <= IDLE_TIMEOUT_MAX_MS:
        raise ReplyError(BAD_IDLE_TIMEOUT)
    return idle_ms


@command(
    "XQ.GROUP SET",
    'key group IDLE-TIMEOUT idle-timeout=<milliseconds:integer | off="OFF">',
    "Sets what the server does by itself for a consumer group.",
    arity=-6,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW update", at=2),
    since="0.1.0",
    complexity="O(1)",
)
def xq_group_set(call: Call) -> Simple:
    idle_ms: int | None = None
    at = 4
    while at < len(call.argv):
        if option(call.argv[at]) != b"IDLE-TIMEOUT" or at + 1 == len(call.argv):
            raise ReplyError(SYNTAX)
        if idle_ms is not None:
            raise ReplyError(b"ERR IDLE-TIMEOUT specified multiple times")
        idle_ms = need_idle_timeout_ms(call.argv[at + 1])
        at += 2
    stream, group = need_group(call)

    if idle_ms is not None and idle_ms != group.idle_timeout_ms:
        call.journal.set_idle_timeout(stream, group, idle_ms)
        call.server.on_change(stream.ns, stream.key)
    return OK


@command(
    "XQ.GROUP GET",
    "key group",
    "Returns what the server does by itself for a consumer group.",
    arity=4,
    flags=READONLY | FAST,
    acl="stream",
    keys=one_key("RO access", at=2),
    since="0.1.0",
    complexity="O(1)",
)
def xq_group_get(call: Call) -> dict[bytes, object]:
    _, group = need_group(call)
    return {b"idle-timeout": group.idle_timeout_ms or None}


@command(
    "XQ.GROUP HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="stream",
    since="0.1.0",
    complexity="O(1)",
)
def xq_group_help(call: Call) -> list[Simple]:
    return help_reply("XQ.GROUP", HELP)
