"""DEBUG: what tests of clients and of servers call to provoke things.

Rules: ``enable-debug-command`` says who may call it, as in Redis. SLEEP holds up the whole server.
RELOAD and LOADAOF are about the store here: the memtable goes to segments, and memory forgets what
it may, so that what is asked next comes from the disk.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from respserver.commands.memory import value_bytes
from respserver.commands.objects import object_encoding
from respserver.errors import NO_SUCH_KEY, ReplyError, subcommand_syntax
from respserver.helptext import help_reply
from respserver.replies import OK, Raw, Set, Simple, Verbatim
from respserver.spec import ADMIN, LOADING, NOSCRIPT, STALE, command

if TYPE_CHECKING:
    from respserver.call import Call
    from respserver.session import Session

DEBUG_REFUSED = (
    b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you '
    b"can run it from a local connection, otherwise you need to set this option in the "
    b"configuration file, and then restart the server."
)
RELOAD_OPTIONS = frozenset({b"MERGE", b"NOFLUSH", b"NOSAVE"})
NUMBER = re.compile(rb"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
INTEGER = re.compile(rb"\s*[+-]?\d+")
BIGNUM = b"1234567999999999999999999999999999999"
PROTOCOL_TYPES = b"string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
HELP = (
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOADAOF",
    "    Flush the AOF buffers on disk and reload the AOF in memory.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Save the data on disk and reload it back to memory.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys (and hash-fields) in background ",
    "    when they are not accessed (otherwise the Redis behavior). Setting it",
    "    to 1 reenables back the default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
)


SLEEP_S_MAX = 86400.0 * 365


def is_local(session: Session) -> bool:
    """Whether a client is on this machine, or came by a Unix socket."""
    host = session.addr.rpartition(":")[0]
    return host.startswith("127.") or host == "[::1]" or session.addr == session.laddr


def sleep(call: Call) -> Simple:
    """Seconds as C reads them: what is no number is none."""
    found = NUMBER.match(call.argv[2])
    seconds = float(found[0]) if found is not None else 0.0
    call.server.clock.sleep_s(min(seconds, SLEEP_S_MAX) if seconds > 0 else 0.0)
    return OK


def reload(call: Call) -> Simple | Raw:
    """Everything to the disk, and out of memory."""
    if not RELOAD_OPTIONS.issuperset(word.upper() for word in call.argv[2:]):
        raise ReplyError(b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    return load_again(call)


def load_again(call: Call) -> Simple | Raw:
    """The answer comes when it is done; within a transaction nothing can be."""
    if call.server.kernel.within:
        return OK
    call.server.reload(call.session)
    return Raw(b"")


def set_active_expire(call: Call) -> Simple:
    """Whether keys are deleted that nobody asks for."""
    found = INTEGER.match(call.argv[2])
    call.server.expiry.active = found is not None and int(found[0]) != 0
    call.server.begin_tick()
    return OK


def describe(call: Call) -> Simple:
    """A key: what is kept of it, in bytes."""
    encoding = object_encoding(call)
    if encoding is None:
        raise ReplyError(NO_SUCH_KEY)
    row = call.keyspace.find(call.ns, call.argv[2])
    assert row is not None
    size = value_bytes(call, call.argv[2], row)
    idle_s = call.keyspace.idle_ms(call.ns, call.argv[2]) // 1000
    lru = (call.now_ms // 1000 - idle_s) & 0xFFFFFF
    return Simple(
        b"Value at:0x%x refcount:1 encoding:%b serializedlength:%d lru:%d lru_seconds_idle:%d"
        % (id(row), encoding, size, lru, idle_s)
    )


def error(call: Call) -> object:
    """An error of the client's own words."""
    raise ReplyError(call.argv[2])


def log(call: Call) -> Simple:
    """A line for the log."""
    logging.getLogger("respq.debug").warning(
        "DEBUG LOG: %s", call.argv[2].decode(errors="backslashreplace")
    )
    return OK


def protocol(call: Call) -> object:
    """A reply of each type."""
    resp3 = call.session.proto > 2
    kind = call.argv[2].lower()
    if kind == b"push" and not resp3:
        raise ReplyError(b"ERR RESP2 is not supported by this command")
    plain = b"Some real reply following the attribute"
    attribute = b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"
    replies: dict[bytes, object] = {
        b"string": b"Hello World",
        b"integer": 12345,
        b"double": 3.141,
        b"bignum": Raw(b"(" + BIGNUM + b"\r\n") if resp3 else BIGNUM,
        b"null": None,
        b"array": [0, 1, 2],
        b"set": Set([0, 1, 2]),
        b"map": {0: False, 1: True, 2: False},
        b"attrib": Raw(attribute + b"$39\r\n" + plain + b"\r\n") if resp3 else plain,
        b"push": Raw(
            b"$40\r\nSome real reply following the push reply\r\n>2\r\n"
            b"$16\r\nserver-cpu-usage\r\n:42\r\n"
        ),
        b"verbatim": Verbatim(b"This is a verbatim\nstring"),
        b"true": True,
        b"false": False,
    }
    if kind not in replies:
        raise ReplyError(
            b"ERR Wrong protocol type name. Please use one of the following: " + PROTOCOL_TYPES
        )
    return replies[kind]


# By word: how many words the command has, and what it does.
SUBCOMMANDS: Final[dict[bytes, tuple[int, Callable[[Call], object]]]] = {
    b"ERROR": (3, error),
    b"HELP": (2, lambda call: help_reply("DEBUG", HELP)),
    b"LOADAOF": (2, load_again),
    b"LOG": (3, log),
    b"OBJECT": (3, describe),
    b"PROTOCOL": (3, protocol),
    b"RELOAD": (-2, reload),
    b"SET-ACTIVE-EXPIRE": (3, set_active_expire),
    b"SLEEP": (3, sleep),
}


@command(
    "DEBUG",
    "",
    "A container for debugging commands.",
    arity=-2,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    since="1.0.0",
    group="server",
    complexity="Depends on subcommand.",
    doc_flags=("syscmd",),
)
def debug(call: Call) -> object:
    enabled = call.server.config.enable_debug_command
    if enabled == "no" or (enabled == "local" and not is_local(call.session)):
        raise ReplyError(DEBUG_REFUSED)
    words, handler = SUBCOMMANDS.get(call.argv[1].upper(), (0, error))
    if len(call.argv) != words if words >= 0 else len(call.argv) < -words:
        raise subcommand_syntax(call.argv)
    return handler(call)
