"""MULTI, EXEC and their kin (respserver/transactions.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.errors import ReplyError
from respserver.keyspec import all_keys
from respserver.replies import NULL_ARRAY, OK, NullArray, Raw, Simple
from respserver.spec import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    NOSCRIPT,
    SKIP_SLOWLOG,
    STALE,
    command,
)
from respserver.transactions import ABORTED, ABORTED_BY, Transaction

if TYPE_CHECKING:
    from respserver.call import Call


@command(
    "MULTI",
    "",
    "Starts a transaction.",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
    acl="transaction",
    since="1.2.0",
    group="transactions",
    complexity="O(1)",
)
def multi(call: Call) -> Simple:
    session = call.session
    if session.multi is not None:
        raise ReplyError(b"ERR MULTI calls can not be nested")
    session.multi = Transaction()
    session.settle()
    return OK


@command(
    "EXEC",
    "",
    "Executes all commands in a transaction.",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG,
    acl="transaction",
    since="1.2.0",
    group="transactions",
    complexity="Depends on commands in the transaction",
)
def exec_(call: Call) -> Raw | NullArray:
    """All records of the commands stand in one frame of the log: nothing commits within a tick."""
    session, server = call.session, call.server
    transaction, watching = session.multi, session.watching
    if transaction is None:
        raise ReplyError(b"ERR EXEC without MULTI")
    is_dirty = watching is not None and server.observers.is_dirty(watching)
    server.observers.end_transaction(session)
    if transaction.failed:
        raise ReplyError(ABORTED)
    if is_dirty:
        return NULL_ARRAY
    if transaction.record_bytes:
        try:
            server.reserve(transaction.record_bytes, transaction.writes_only_to_free)
        except ReplyError as refusal:
            raise ReplyError(ABORTED_BY + refusal.line) from None

    session.say(b"*%d\r\n" % len(transaction.commands))
    with server.busy.command(session):
        server.kernel.run_within(session, transaction.commands)
    return Raw(b"")


@command(
    "DISCARD",
    "",
    "Discards a transaction.",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
    acl="transaction",
    since="2.0.0",
    group="transactions",
    complexity="O(N), when N is the number of queued commands",
)
def discard(call: Call) -> Simple:
    if call.session.multi is None:
        raise ReplyError(b"ERR DISCARD without MULTI")
    call.server.observers.end_transaction(call.session)
    return OK


@command(
    "WATCH",
    "key...",
    "Monitors changes to keys to determine the execution of a transaction.",
    arity=-2,
    flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
    acl="transaction",
    keys=all_keys("RO"),
    since="2.2.0",
    group="transactions",
    complexity="O(1) for every key.",
)
def watch(call: Call) -> Simple:
    if call.session.multi is not None:
        raise ReplyError(b"ERR WATCH inside MULTI is not allowed")
    call.server.observers.watch(call.session, call.argv[1:])
    return OK


@command(
    "UNWATCH",
    "",
    "Forgets about watched keys of a transaction.",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
    acl="transaction",
    since="2.2.0",
    group="transactions",
    complexity="O(1)",
)
def unwatch(call: Call) -> Simple:
    call.server.observers.unwatch(call.session)
    return OK
