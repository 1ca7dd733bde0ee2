"""CLIENT PAUSE, UNPAUSE and REPLY (respserver/pause.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.errors import (
    SYNTAX,
    TIMEOUT_NEGATIVE,
    TIMEOUT_NOT_INT,
    ReplyError,
    subcommand_syntax,
)
from respserver.replies import OK, Raw, Simple
from respserver.session import NO_REPLIES, REPLIES, SKIP_NEXT
from respserver.spec import ADMIN, LOADING, NOSCRIPT, STALE, command

if TYPE_CHECKING:
    from respserver.call import Call


@command(
    "CLIENT PAUSE",
    "timeout:integer mode=[WRITE | ALL]@6.2.0",
    "Suspends commands processing.",
    arity=-3,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="3.0.0",
    group="connection",
    complexity="O(1)",
    history=(("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option."),),
)
def pause(call: Call) -> Simple:
    argv = call.argv
    if len(argv) > 4:
        raise subcommand_syntax(argv)
    mode = argv[3].upper() if len(argv) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise ReplyError(b"ERR CLIENT PAUSE mode must be WRITE or ALL")
    timeout_ms = need_int(argv[2], TIMEOUT_NOT_INT)
    if timeout_ms < 0:
        raise ReplyError(TIMEOUT_NEGATIVE)
    until_ms = call.server.clock.monotonic_ms() + timeout_ms
    call.server.observers.pause(until_ms, mode == b"WRITE")
    return OK


@command(
    "CLIENT UNPAUSE",
    "",
    "Resumes processing commands from paused clients.",
    arity=2,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="6.2.0",
    group="connection",
    complexity="O(N) Where N is the number of paused clients",
)
def unpause(call: Call) -> Simple:
    call.server.observers.unpause_soon()
    return OK


@command(
    "CLIENT REPLY",
    "action=<ON | OFF | SKIP>",
    "Instructs the server whether to reply to commands.",
    arity=3,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="3.2.0",
    group="connection",
    complexity="O(1)",
)
def reply(call: Call) -> Simple | Raw:
    session = call.session
    word = call.argv[2].upper()
    if word not in (b"ON", b"OFF", b"SKIP"):
        raise ReplyError(SYNTAX)
    if word == b"ON":
        session.reply_mode = REPLIES
    elif word == b"OFF":
        session.reply_mode = NO_REPLIES
    elif session.reply_mode != NO_REPLIES:
        session.reply_mode = SKIP_NEXT
    session.settle()
    return OK if word == b"ON" else Raw(b"")
