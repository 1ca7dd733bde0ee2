"""CLIENT TRACKING and its kin (respserver/tracking.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.errors import SYNTAX, ReplyError
from respserver.replies import OK, Set, Simple
from respserver.spec import LOADING, NOSCRIPT, STALE, command
from respserver.tracking import Tracking

if TYPE_CHECKING:
    from respserver.call import Call

NOT_OPTED = (
    b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
    b"OPTOUT mode enabled"
)
SWITCH_BROADCAST = (
    b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then "
    b"re-enabling it with a different mode."
)
SWITCH_OPTED = (
    b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then "
    b"re-enabling it with a different mode."
)
OVERLAP = (
    b"ERR Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not overlap."
)


@command(
    "CLIENT CACHING",
    "mode=<YES | NO>",
    "Instructs the server whether to track the keys in the next request.",
    arity=3,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="6.0.0",
    group="connection",
    complexity="O(1)",
)
def caching(call: Call) -> Simple:
    tracking = call.session.tracking
    if tracking is None:
        raise ReplyError(NOT_OPTED)
    word = call.argv[2].upper()
    if word == b"YES":
        if not tracking.opt_in:
            raise ReplyError(
                b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
            )
    elif word == b"NO":
        if not tracking.opt_out:
            raise ReplyError(
                b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
            )
    else:
        raise ReplyError(SYNTAX)
    tracking.caching = True
    return OK


@command(
    "CLIENT GETREDIR",
    "",
    ("Returns the client ID to which the connection's tracking notifications are redirected."),
    arity=2,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="6.0.0",
    group="connection",
    complexity="O(1)",
)
def getredir(call: Call) -> int:
    tracking = call.session.tracking
    return -1 if tracking is None else int(tracking.redirect)


@command(
    "CLIENT TRACKINGINFO",
    "",
    "Returns information about server-assisted client-side caching for the connection.",
    arity=2,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="6.2.0",
    group="connection",
    complexity="O(1)",
)
def trackinginfo(call: Call) -> dict[bytes, object]:
    tracking: Tracking | None = call.session.tracking
    if tracking is None:
        return {b"flags": Set([b"off"]), b"redirect": -1, b"prefixes": []}
    flags: list[object] = [b"on"]
    if tracking.broadcast:
        flags.append(b"bcast")
    if tracking.opt_in:
        flags += [b"optin", b"caching-yes"] if tracking.caching else [b"optin"]
    if tracking.opt_out:
        flags += [b"optout", b"caching-no"] if tracking.caching else [b"optout"]
    if tracking.no_loop:
        flags.append(b"noloop")
    if tracking.broken:
        flags.append(b"broken_redirect")
    return {
        b"flags": Set(flags),
        b"redirect": tracking.redirect,
        b"prefixes": list(tracking.prefixes),
    }


def check_prefixes(prefixes: list[bytes], held: list[bytes]) -> None:
    """Refuse prefixes of which one begins with another."""
    for at, prefix in enumerate(prefixes):
        for others, which in ((held, b"an existing"), (prefixes[at + 1 :], b"another provided")):
            for other in others:
                overlaps = prefix.startswith(other) or other.startswith(prefix)
                if overlaps and not (others is held and prefix == other):
                    raise ReplyError(OVERLAP % (prefix, which, other))


@command(
    "CLIENT TRACKING",
    (
        "status=<ON | OFF> [REDIRECT client-id:integer] [PREFIX prefix...+] [BCAST] [OPTIN] "
        "[OPTOUT] [NOLOOP]"
    ),
    "Controls server-assisted client-side caching for the connection.",
    arity=-3,
    flags=NOSCRIPT | LOADING | STALE,
    acl="connection",
    since="6.0.0",
    group="connection",
    complexity="O(1). Some options may introduce additional complexity.",
)
def tracking_(call: Call) -> Simple:
    argv, session = call.argv, call.session
    wanted, prefixes = read_options(call)
    word = argv[2].upper()
    held: Tracking | None = session.tracking
    observers = call.server.observers
    if word == b"OFF":
        observers.trackers.end(session)
        observers.settle()
        return OK
    if word != b"ON":
        raise ReplyError(SYNTAX)
    if prefixes and not wanted.broadcast:
        raise ReplyError(b"ERR PREFIX option requires BCAST mode to be enabled")
    if held is not None and held.broadcast != wanted.broadcast:
        raise ReplyError(SWITCH_BROADCAST)
    if wanted.broadcast and (wanted.opt_in or wanted.opt_out):
        raise ReplyError(b"ERR OPTIN and OPTOUT are not compatible with BCAST")
    if wanted.opt_in and wanted.opt_out:
        raise ReplyError(b"ERR You can't specify both OPTIN mode and OPTOUT mode")
    if held is not None and ((wanted.opt_in and held.opt_out) or (wanted.opt_out and held.opt_in)):
        raise ReplyError(SWITCH_OPTED)
    if wanted.broadcast:
        check_prefixes(prefixes, [] if held is None else held.prefixes)
    observers.trackers.begin(session, wanted, prefixes)
    observers.settle()
    return OK


def read_options(call: Call) -> tuple[Tracking, list[bytes]]:
    """How the client wants to track."""
    wanted, prefixes = Tracking(), []
    words = iter(call.argv[3:])
    for word in words:
        option = word.upper()
        if option == b"BCAST":
            wanted.broadcast = True
        elif option == b"OPTIN":
            wanted.opt_in = True
        elif option == b"OPTOUT":
            wanted.opt_out = True
        elif option == b"NOLOOP":
            wanted.no_loop = True
        elif option in (b"REDIRECT", b"PREFIX") and (value := next(words, None)) is not None:
            if option == b"PREFIX":
                prefixes.append(value)
                continue
            if wanted.redirect:
                raise ReplyError(b"ERR A client can only redirect to a single other client")
            wanted.redirect = need_int(value)
            if wanted.redirect not in call.server.sessions:
                raise ReplyError(b"ERR The client ID you want redirect to does not exist")
        else:
            raise ReplyError(SYNTAX)
    return wanted, prefixes
