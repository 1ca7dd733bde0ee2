"""CLIENT: who is connected, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from respserver.args import INT64_MAX, need_int, need_int_between, parse_int
from respserver.errors import SYNTAX, ReplyError, c_string, subcommand_syntax
from respserver.helptext import help_reply
from respserver.replies import OK, Simple, Verbatim
from respserver.spec import ADMIN, LOADING, NOSCRIPT, STALE, command, declare
from respserver.version import LEVEL_8_0, LEVEL_8_2

if TYPE_CHECKING:
    from respserver.call import Call
    from respserver.session import Session

NORMAL = b"normal"
# There are no replication links: nobody is a master or a replica.
CLIENT_TYPES = frozenset({NORMAL, b"master", b"slave", b"replica", b"pubsub"})
NO_SUCH_CLIENT = b"ERR No such client"
ID_REFUSAL = b"ERR client-id should be greater than 0"

Filter = Callable[["Session"], bool]


def printable(text: bytes) -> bool:
    """Whether ``text`` has neither spaces nor control characters nor bytes beyond ASCII."""
    return all(0x21 <= byte <= 0x7E for byte in text)


def checked_name(name: bytes) -> bytes:
    """``name``, if a client may be called so."""
    if not printable(name):
        raise ReplyError(b"ERR Client names cannot contain spaces, newlines or special characters.")
    return name


def describe(session: Session, call: Call) -> bytes:
    """The client as a line of CLIENT LIST, as ``call`` is told it."""
    now_ms = call.now_ms
    multi, watching, subscriptions = session.multi, session.watching, session.subscriptions
    marks = b""
    if session.monitoring:
        marks += b"O"
    if subscriptions is not None:
        marks += b"P"
    if multi is not None:
        marks += b"x"
    if session.blocked is not None and not session.blocked.cold:
        marks += b"b"
    if session.tracking is not None:
        marks += session.tracking.marks()
    if watching is not None and watching.dirty:
        marks += b"d"
    if session.close_after_reply:
        marks += b"c"
    if session.no_evict:
        marks += b"e"
    if session.no_touch:
        marks += b"T"
    waiting = session.output_bytes
    words = [
        b"id=%d" % session.id,
        b"addr=" + session.addr.encode(),
        b"laddr=" + session.laddr.encode(),
        b"fd=%d" % session.fd,
        b"name=" + session.name,
        b"age=%d" % ((now_ms - session.created_ms) // 1000),
        b"idle=%d" % ((now_ms - session.last_interaction_ms) // 1000),
        b"flags=" + (marks or b"N"),
        b"db=%d" % session.db,
        b"sub=%d psub=%d ssub=%d"
        % ((0, 0, 0) if subscriptions is None else subscriptions.counts()),
        b"multi=%d" % (-1 if multi is None else len(multi.commands)),
        b"watch=%d" % (0 if watching is None else len(watching.keys)),
        b"qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0" % session.query_buffer_bytes,
        b"obl=0 oll=0 omem=%d tot-mem=%d" % (waiting, waiting + session.query_buffer_bytes),
        b"events=" + (b"rw" if waiting else b"r"),
        b"cmd=" + (b"NULL" if session.last_command is None else session.last_command.name),
        b"user=default redir=%d" % (-1 if session.tracking is None else session.tracking.redirect),
        b"resp=%d" % session.proto,
        b"lib-name=" + session.lib_name,
        b"lib-ver=" + session.lib_ver,
    ]
    if call.redis_level >= LEVEL_8_0:
        words.append(b"io-thread=0")
    if call.redis_level >= LEVEL_8_2:
        begun = session is call.session or session.blocked is not None
        words += [
            b"tot-net-in=%d" % session.received_bytes,
            b"tot-net-out=%d" % session.sent_bytes,
            b"tot-cmds=%d" % (session.total_commands - begun),
        ]
    return b" ".join(words)


declare(
    "CLIENT",
    "",
    "A container for client connection commands.",
    arity=-2,
    since="2.4.0",
    group="connection",
    complexity="Depends on subcommand.",
)


@command(
    "CLIENT GETNAME",
    "",
    "Returns the name of the connection.",
    arity=2,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="2.6.9",
    group="connection",
    complexity="O(1)",
)
def getname(call: Call) -> bytes | None:
    return call.session.name or None


@command(
    "CLIENT HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="connection",
    since="5.0.0",
    group="connection",
    complexity="O(1)",
)
def client_help(call: Call) -> list[Simple]:
    return help_reply("CLIENT", HELP)


@command(
    "CLIENT ID",
    "",
    "Returns the unique client ID of the connection.",
    arity=2,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="5.0.0",
    group="connection",
    complexity="O(1)",
)
def client_id(call: Call) -> int:
    return call.session.id


@command(
    "CLIENT INFO",
    "",
    "Returns information about the connection.",
    arity=2,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="6.2.0",
    group="connection",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def info(call: Call) -> Verbatim:
    return Verbatim(describe(call.session, call) + b"\n")


def type_filter(word: bytes) -> Filter:
    """Clients of a type."""
    if word.lower() not in CLIENT_TYPES:
        raise ReplyError(b"ERR Unknown client type '%s'" % c_string(word))
    kind = word.lower()
    if kind == b"pubsub":
        return lambda session: session.subscriptions is not None
    return lambda session: kind == NORMAL and session.subscriptions is None


def id_filter(word: bytes) -> Filter:
    """The client with an id."""
    wanted = need_int_between(word, 1, INT64_MAX, ID_REFUSAL)
    return lambda session: session.id == wanted


def addr_filter(word: bytes) -> Filter:
    """Clients that came from an address."""
    return lambda session: session.addr.encode() == word


def laddr_filter(word: bytes) -> Filter:
    """Clients that came to an address."""
    return lambda session: session.laddr.encode() == word


def user_filter(word: bytes) -> Filter:
    """Clients of a user."""
    if word != b"default":
        raise ReplyError(b"ERR No such user '%s'" % c_string(word))
    return lambda session: True


def age_filter(word: bytes, now_ms: int) -> Filter:
    """Clients connected for so many seconds or longer."""
    age_s = need_int(word, b"ERR maxage is not an integer or out of range")
    if age_s <= 0:
        raise ReplyError(b"ERR maxage should be greater than 0")
    return lambda session: now_ms // 1000 - session.created_ms // 1000 >= age_s


def kill_filters(call: Call) -> tuple[list[Filter], bool]:
    """The filters of CLIENT KILL, and whether the caller itself is spared."""
    words = call.argv[2:]
    skip_me = True
    filters: list[Filter] = []
    for at in range(0, len(words), 2):
        if at + 1 == len(words):
            raise ReplyError(SYNTAX)
        option, word = words[at].upper(), words[at + 1]
        if option == b"ID":
            filters.append(id_filter(word))
        elif option == b"MAXAGE":
            filters.append(age_filter(word, call.now_ms))
        elif option == b"TYPE":
            filters.append(type_filter(word))
        elif option == b"ADDR":
            filters.append(addr_filter(word))
        elif option == b"LADDR":
            filters.append(laddr_filter(word))
        elif option == b"USER":
            filters.append(user_filter(word))
        elif option == b"SKIPME" and word.upper() in (b"YES", b"NO"):
            skip_me = word.upper() == b"YES"
        else:
            raise ReplyError(SYNTAX)
    return filters, skip_me


@command(
    "CLIENT KILL",
    (
        "filter=<old-format(ip:port)!2.8.12 | new-format=<[ID client-id:integer@2.8.12] | "
        "[TYPE client-type=<NORMAL | MASTER@3.2.0 | SLAVE | REPLICA@5.0.0 | PUBSUB>@2.8.12]"
        " | [USER username] | [ADDR addr(ip:port)] | [LADDR laddr(ip:port)@6.2.0] | [SKIPME"
        " skipme=<YES | NO>] | [MAXAGE maxage:integer@7.4.0]>...>"
    ),
    "Terminates open connections.",
    arity=-3,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="2.4.0",
    group="connection",
    complexity="O(N) where N is the number of client connections",
    history=(
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        (
            "5.0.0",
            (
                "Replaced `slave` `TYPE` with `replica`. `slave` still supported for "
                "backward compatibility."
            ),
        ),
        ("6.2.0", "`LADDR` option."),
        ("7.4.0", "`MAXAGE` option."),
    ),
)
def kill(call: Call) -> int | Simple:
    old_form = len(call.argv) == 3
    if old_form:
        filters, skip_me = [addr_filter(call.argv[2])], False
    else:
        filters, skip_me = kill_filters(call)
    victims = [
        session
        for session in call.server.sessions.values()
        if all(wanted(session) for wanted in filters) and not (skip_me and session is call.session)
    ]
    if old_form and not victims:
        raise ReplyError(NO_SUCH_CLIENT)

    for victim in victims:
        if victim is call.session:
            victim.close_after_reply = True
        else:
            call.server.kill(victim)
    return OK if old_form else len(victims)


@command(
    "CLIENT LIST",
    (
        "[TYPE client-type=<NORMAL | MASTER | REPLICA | PUBSUB>@5.0.0] [ID client-"
        "id:integer@6.2.0...]"
    ),
    "Lists open connections.",
    arity=-2,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="2.4.0",
    group="connection",
    complexity="O(N) where N is the number of client connections",
    history=(
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        (
            "6.2.0",
            (
                "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional "
                "`ID` filter."
            ),
        ),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
        ("7.2.0", "Added `lib-name` and `lib-ver` fields."),
        ("7.4.0", "Added `watch` field."),
        ("8.0.0", "Added `io-thread` field."),
    ),
    tips=("nondeterministic_output",),
)
def client_list(call: Call) -> Verbatim:
    argv = call.argv
    option = argv[2].upper() if len(argv) > 3 else b""
    sessions = list(call.server.sessions.values())
    if option == b"TYPE" and len(argv) == 4:
        wanted = type_filter(argv[3])
        sessions = [session for session in sessions if wanted(session)]
    elif option == b"ID":
        sessions = []
        for word in argv[3:]:
            number = parse_int(word)
            if number is None:
                raise ReplyError(b"ERR Invalid client ID")
            if number in call.server.sessions:
                sessions.append(call.server.sessions[number])
    elif len(argv) != 2:
        raise ReplyError(SYNTAX)
    return Verbatim(b"".join(describe(session, call) + b"\n" for session in sessions))


def switch(word: bytes) -> bool:
    """ON or OFF."""
    if word.upper() not in (b"ON", b"OFF"):
        raise ReplyError(SYNTAX)
    return word.upper() == b"ON"


@command(
    "CLIENT NO-EVICT",
    "enabled=<ON | OFF>",
    "Sets the client eviction mode of the connection.",
    arity=3,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="7.0.0",
    group="connection",
    complexity="O(1)",
)
def no_evict(call: Call) -> Simple:
    call.session.no_evict = switch(call.argv[2])
    return OK


@command(
    "CLIENT NO-TOUCH",
    "enabled=<ON | OFF>",
    "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
    arity=3,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="7.2.0",
    group="connection",
    complexity="O(1)",
)
def no_touch(call: Call) -> Simple:
    call.session.no_touch = switch(call.argv[2])
    return OK


@command(
    "CLIENT SETINFO",
    "attr=<LIB-NAME libname | LIB-VER libver>",
    "Sets information specific to the client or connection.",
    arity=4,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="7.2.0",
    group="connection",
    complexity="O(1)",
    tips=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
)
def setinfo(call: Call) -> Simple:
    option, value = call.argv[2], call.argv[3]
    if option.upper() not in (b"LIB-NAME", b"LIB-VER"):
        raise ReplyError(b"ERR Unrecognized option '%s'" % c_string(option))
    if not printable(value):
        raise ReplyError(b"ERR %s cannot contain spaces, newlines or special characters." % option)
    if option.upper() == b"LIB-NAME":
        call.session.lib_name = value
    else:
        call.session.lib_ver = value
    return OK


@command(
    "CLIENT SETNAME",
    "connection-name",
    "Sets the connection name.",
    arity=3,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="2.6.9",
    group="connection",
    complexity="O(1)",
    tips=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
)
def setname(call: Call) -> Simple:
    call.session.name = checked_name(call.argv[2])
    return OK


@command(
    "CLIENT UNBLOCK",
    "client-id:integer unblock-type=[TIMEOUT | ERROR]",
    "Unblocks a client blocked by a blocking command from a different connection.",
    arity=-3,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="5.0.0",
    group="connection",
    complexity="O(log N) where N is the number of client connections",
)
def unblock(call: Call) -> int:
    if len(call.argv) > 4:
        raise subcommand_syntax(call.argv)
    reason = call.argv[3].upper() if len(call.argv) == 4 else b"TIMEOUT"
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise ReplyError(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    target = call.server.sessions.get(need_int(call.argv[2]))
    if target is None or target.blocked is None or target.blocked.cold:
        return 0
    return int(call.server.unblock(target, reason == b"ERROR"))


HELP = (
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id>",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
)
