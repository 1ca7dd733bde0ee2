"""MONITOR, ROLE, WAIT, BGREWRITEAOF and what tools ask of one node: its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import INT64_MAX, need_int, need_int_between
from respserver.errors import TIMEOUT_NEGATIVE, TIMEOUT_NOT_INT, ReplyError
from respserver.helptext import help_reply
from respserver.replies import OK, Raw, Simple
from respserver.spec import (
    ADMIN,
    BLOCKING,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NOSCRIPT,
    STALE,
    command,
    declare,
)

if TYPE_CHECKING:
    from respserver.call import Call

ASKED = ADMIN | NOSCRIPT | LOADING | STALE

NOT_POSITIVE = b"ERR value is out of range, must be positive"


def need_timeout(word: bytes) -> int:
    """A timeout in milliseconds."""
    timeout_ms = need_int(word, TIMEOUT_NOT_INT)
    if timeout_ms < 0:
        raise ReplyError(TIMEOUT_NEGATIVE)
    return timeout_ms


@command(
    "MONITOR",
    "",
    "Listens for all requests received by the server in real-time.",
    arity=1,
    flags=ASKED,
    since="1.0.0",
    group="server",
)
def monitor(call: Call) -> Simple:
    call.server.observers.monitor(call.session)
    return OK


@command(
    "ROLE",
    "",
    "Returns the replication role.",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | FAST,
    acl="admin dangerous",
    since="2.8.12",
    group="server",
    complexity="O(1)",
)
def role(call: Call) -> list[object]:
    return [b"master", call.server.store.written_lsn, []]


@command(
    "WAIT",
    "numreplicas:integer timeout:integer",
    (
        "Blocks until the asynchronous replication of all preceding write commands sent by the "
        "connection is completed."
    ),
    arity=3,
    flags=BLOCKING,
    acl="connection",
    since="3.0.0",
    group="generic",
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
def wait(call: Call) -> Raw | int:
    """There are no replicas: who wants some waits in vain."""
    wanted = need_int(call.argv[1])
    timeout_ms = need_timeout(call.argv[2])
    if wanted <= 0 or call.server.kernel.within:
        return 0
    call.server.observers.delay(call.session, b":0\r\n", timeout_ms)
    return Raw(b"")


@command(
    "WAITAOF",
    "numlocal:integer numreplicas:integer timeout:integer",
    (
        "Blocks until all of the preceding write commands sent by the connection are written to "
        "the append-only file of the master and/or replicas."
    ),
    arity=4,
    flags=BLOCKING,
    acl="connection",
    since="7.2.0",
    group="generic",
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
def waitaof(call: Call) -> Raw | list[int]:
    """The log is synced in place; there are no replicas."""
    local = need_int_between(call.argv[1], 0, 1)
    replicas = need_int_between(call.argv[2], 0, INT64_MAX, NOT_POSITIVE)
    timeout_ms = need_timeout(call.argv[3])
    if local:
        call.server.sync_now()
    if replicas == 0 or call.server.kernel.within:
        return [local, 0]
    call.server.observers.delay(call.session, b"*2\r\n:%d\r\n:0\r\n" % local, timeout_ms)
    return Raw(b"")


@command(
    "BGREWRITEAOF",
    "",
    "Asynchronously rewrites the append-only file to disk.",
    arity=1,
    flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING,
    since="1.0.0",
    group="server",
    complexity="O(1)",
)
def bgrewriteaof(call: Call) -> Simple:
    """What shortens the log is a flush of what it holds."""
    call.server.flush_now()
    return Simple(b"Background append only file rewriting started")


declare(
    "MODULE",
    "",
    "A container for module commands.",
    arity=-2,
    since="4.0.0",
    group="server",
    complexity="Depends on subcommand.",
)


@command(
    "MODULE LIST",
    "",
    "Returns all loaded modules.",
    arity=2,
    flags=ADMIN | NOSCRIPT,
    since="4.0.0",
    group="server",
    complexity="O(N) where N is the number of loaded modules.",
    tips=("nondeterministic_output_order",),
)
def module_list(call: Call) -> list[object]:
    return []


@command(
    "MODULE HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    since="5.0.0",
    group="server",
    complexity="O(1)",
)
def module_help(call: Call) -> list[Simple]:
    return help_reply("MODULE", ("LIST", "    Return a list of loaded modules."))
