"""Commands about the client's own connection: protocol, password, database, farewell.

Rules: there is one user, ``default``; its password is the setting ``requirepass``, and while that
is empty any password will do where a user is named, as in Redis. Passwords are compared in
constant time.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from respserver.args import need_int, need_int_between
from respserver.commands.clients import checked_name
from respserver.errors import (
    DB_INDEX_RANGE,
    NOPROTO,
    SYNTAX,
    WRONGPASS,
    ReplyError,
    c_string,
)
from respserver.replies import OK, Simple
from respserver.session import REPLIES
from respserver.spec import ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE, command

if TYPE_CHECKING:
    from respserver.call import Call

DEFAULT_USER = b"default"
INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1
NO_PASSWORD_SET = (
    b"ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?"
)
HELLO_NOAUTH = (
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    b"<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
    b"RESP protocol version at the same time"
)


def check_password(call: Call, user: bytes, password: bytes) -> None:
    """Refuse a user that is not there or a password that is not his."""
    required = call.server.config.requirepass.encode()
    right = user == DEFAULT_USER and (required == b"" or compare_digest(password, required))
    if not right:
        call.server.stats.acl_access_denied_auth += 1
        raise ReplyError(WRONGPASS)


@command(
    "AUTH",
    "[username@6.0.0] password",
    "Authenticates the connection.",
    arity=-2,
    flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
    acl="connection",
    since="1.0.0",
    group="connection",
    complexity="O(N) where N is the number of passwords defined for the user",
    history=(("6.0.0", "Added ACL style (username and password)."),),
)
def auth(call: Call) -> Simple:
    if len(call.argv) > 3:
        raise ReplyError(SYNTAX)
    if len(call.argv) == 2:
        if call.server.config.requirepass == "":
            raise ReplyError(NO_PASSWORD_SET)
        check_password(call, DEFAULT_USER, call.argv[1])
    else:
        check_password(call, call.argv[1], call.argv[2])
    call.session.authenticated = True
    return OK


@command(
    "ECHO",
    "message",
    "Returns the given string.",
    arity=2,
    flags=LOADING | STALE | FAST,
    acl="connection",
    since="1.0.0",
    group="connection",
    complexity="O(1)",
)
def echo(call: Call) -> bytes:
    return call.argv[1]


@command(
    "HELLO",
    "arguments=[protover:integer [AUTH auth={username password}] [SETNAME clientname]]",
    "Handshakes with the Redis server.",
    arity=-1,
    flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
    acl="connection",
    since="6.0.0",
    group="connection",
    complexity="O(1)",
    history=(
        (
            "6.2.0",
            (
                "`protover` made optional; when called without arguments the command "
                "reports the current connection's context."
            ),
        ),
    ),
)
def hello(call: Call) -> dict[bytes, object]:
    argv = call.argv
    proto = 0
    if len(argv) > 1:
        proto = need_int(argv[1], b"ERR Protocol version is not an integer or out of range")
        if proto not in (2, 3):
            raise ReplyError(NOPROTO)
    login: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        left = len(argv) - 1 - at
        if option == b"AUTH" and left >= 2:
            login = (argv[at + 1], argv[at + 2])
            at += 3
        elif option == b"SETNAME" and left >= 1:
            name = checked_name(argv[at + 1])
            at += 2
        else:
            raise ReplyError(b"ERR Syntax error in HELLO option '%s'" % c_string(argv[at]))
    session = call.session
    if login is not None:
        check_password(call, *login)
    elif not session.authenticated and call.server.config.requirepass != "":
        raise ReplyError(HELLO_NOAUTH)

    if login is not None:
        session.authenticated = True
    if name is not None:
        session.name = name
    if proto:
        session.proto = proto
    return {
        b"server": b"redis",
        b"version": call.server.config.redis_version.encode(),
        b"proto": session.proto,
        b"id": session.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }


@command(
    "QUIT",
    "",
    "Closes the connection.",
    arity=-1,
    flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
    acl="connection",
    since="1.0.0",
    group="connection",
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="7.2.0",
    replaced_by="just closing the connection",
)
def quit_(call: Call) -> Simple:
    call.session.close_after_reply = True
    return OK


@command(
    "RESET",
    "",
    "Resets the connection.",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
    acl="connection",
    since="6.2.0",
    group="connection",
    complexity="O(1)",
)
def reset(call: Call) -> Simple:
    session = call.session
    session.multi = None
    call.server.observers.forget(session)
    session.reply_mode = REPLIES
    session.settle()
    session.db = 0
    session.proto = 2
    session.name = b""
    session.authenticated = call.server.config.requirepass == ""
    session.no_evict = False
    session.no_touch = False
    return Simple(b"RESET")


@command(
    "SELECT",
    "index:integer",
    "Changes the selected database.",
    arity=2,
    flags=LOADING | STALE | FAST,
    acl="connection",
    since="1.0.0",
    group="connection",
    complexity="O(1)",
)
def select(call: Call) -> Simple:
    index = need_int_between(call.argv[1], INT32_MIN, INT32_MAX)
    if not 0 <= index < call.server.config.databases:
        raise ReplyError(DB_INDEX_RANGE)
    call.session.db = index
    return OK
