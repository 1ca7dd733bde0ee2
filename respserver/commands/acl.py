"""ACL, as far as it tells of the one user there is, ``default``, who may do everything.

His password is the setting ``requirepass``; of it the SHA-256 is shown, as in Redis.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

from respserver.args import need_int
from respserver.errors import ReplyError, c_string, subcommand_syntax, wrong_arity
from respserver.helptext import help_reply
from respserver.replies import OK, Set, Simple
from respserver.spec import (
    ACL_CATEGORIES,
    ADMIN,
    LOADING,
    NOSCRIPT,
    STALE,
    command,
    declare,
    lookup,
)

if TYPE_CHECKING:
    from respserver.call import Call

ASKED = ADMIN | NOSCRIPT | LOADING | STALE
OPEN = NOSCRIPT | LOADING | STALE
USER = b"default"
PASSWORD_BITS = 256
PASSWORD_BITS_MAX = 4096
BAD_BITS = (
    b"ERR ACL GENPASS argument must be the number of bits for the output password, a positive "
    b"number up to %d" % PASSWORD_BITS_MAX
)

declare(
    "ACL",
    "",
    "A container for Access List Control commands.",
    arity=-2,
    since="6.0.0",
    group="server",
    complexity="Depends on subcommand.",
)


@command(
    "ACL CAT",
    "[category]",
    "Lists the ACL categories, or the commands inside a category.",
    arity=-2,
    flags=NOSCRIPT | LOADING | STALE,
    since="6.0.0",
    group="server",
    complexity="O(1) since the categories and commands are a fixed set.",
)
def acl_cat(call: Call) -> list[bytes]:
    if len(call.argv) > 3:
        raise subcommand_syntax(call.argv)
    if len(call.argv) == 2:
        return [name.encode() for name in ACL_CATEGORIES]
    wanted = call.argv[2].decode(errors="replace").lower()
    if wanted not in ACL_CATEGORIES:
        raise ReplyError(b"ERR Unknown category '%s'" % c_string(call.argv[2]))
    return [
        spec.name
        for top in call.server.table.values()
        for spec in (top.subcommands.values() if top.subcommands else (top,))
        if wanted in spec.acl
    ]


def password_hashes(call: Call) -> list[bytes]:
    """What is kept of the one user's passwords."""
    password = call.server.config.requirepass.encode()
    return [sha256(password).hexdigest().encode()] if password else []


@command(
    "ACL LIST",
    "",
    "Dumps the effective rules in ACL file format.",
    arity=2,
    flags=ASKED,
    since="6.0.0",
    group="server",
    complexity="O(N). Where N is the number of configured users.",
)
def acl_list(call: Call) -> list[bytes]:
    hashes = password_hashes(call)
    how = b"sanitize-payload #%b" % hashes[0] if hashes else b"nopass sanitize-payload"
    return [b"user default on " + how + b" ~* &* +@all"]


@command(
    "ACL USERS",
    "",
    "Lists all ACL users.",
    arity=2,
    flags=ASKED,
    since="6.0.0",
    group="server",
    complexity="O(N). Where N is the number of configured users.",
)
def acl_users(call: Call) -> list[bytes]:
    return [b"default"]


@command(
    "ACL WHOAMI",
    "",
    "Returns the authenticated username of the current connection.",
    arity=2,
    flags=NOSCRIPT | LOADING | STALE,
    since="6.0.0",
    group="server",
    complexity="O(1)",
)
def acl_whoami(call: Call) -> bytes:
    return b"default"


@command(
    "ACL DRYRUN",
    "username command [arg...]",
    "Simulates the execution of a command by a user, without executing the command.",
    arity=-4,
    flags=ASKED,
    since="7.0.0",
    group="server",
    complexity="O(1).",
)
def acl_dryrun(call: Call) -> Simple:
    user, argv = call.argv[2], call.argv[3:]
    if user != USER:
        raise ReplyError(b"ERR User '%s' not found" % c_string(user))
    spec = lookup(call.server.table, argv)
    if spec is None:
        raise ReplyError(b"ERR Command '%s' not found" % c_string(argv[0]))
    if not spec.takes(len(argv)):
        raise wrong_arity(spec.name)
    return OK


@command(
    "ACL GENPASS",
    "[bits:integer]",
    "Generates a pseudorandom, secure password that can be used to identify ACL users.",
    arity=-2,
    flags=OPEN,
    since="6.0.0",
    group="server",
    complexity="O(1)",
)
def acl_genpass(call: Call) -> bytes:
    if len(call.argv) > 3:
        raise subcommand_syntax(call.argv)
    bits = PASSWORD_BITS
    if len(call.argv) == 3:
        bits = need_int(call.argv[2])
        if not 0 < bits <= PASSWORD_BITS_MAX:
            raise ReplyError(BAD_BITS)
    digits = -(-bits // 4)
    return secrets.token_hex(-(-digits // 2))[:digits].encode()


@command(
    "ACL GETUSER",
    "username",
    "Lists the ACL rules of a user.",
    arity=3,
    flags=ASKED,
    since="6.0.0",
    group="server",
    complexity=(
        "O(N). Where N is the number of password, command and pattern rules that the user has."
    ),
    history=(
        ("6.2.0", "Added Pub/Sub channel patterns."),
        (
            "7.0.0",
            (
                "Added selectors and changed the format of key and channel patterns from a list "
                "to their rule representation."
            ),
        ),
    ),
)
def acl_getuser(call: Call) -> dict[bytes, object] | None:
    if call.argv[2] != USER:
        return None
    hashes = password_hashes(call)
    flags: list[object] = [b"on", *([] if hashes else [b"nopass"]), b"sanitize-payload"]
    return {
        b"flags": Set(flags),
        b"passwords": hashes,
        b"commands": b"+@all",
        b"keys": b"~*",
        b"channels": b"&*",
        b"selectors": [],
    }


@command(
    "ACL HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    since="6.0.0",
    group="server",
    complexity="O(1)",
)
def acl_help(call: Call) -> list[Simple]:
    return help_reply("ACL", HELP)


HELP = (
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
)
