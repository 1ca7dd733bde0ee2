"""EVAL, SCRIPT and as much of FUNCTION as an empty server answers (respserver/scripting)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from respserver.args import need_int
from respserver.errors import ReplyError, subcommand_syntax
from respserver.helptext import help_reply
from respserver.keyspec import CountedKeys
from respserver.replies import OK, Simple
from respserver.spec import (
    ALLOW_BUSY,
    LOADING,
    MOVABLEKEYS,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    READONLY,
    SKIP_MONITOR,
    STALE,
    WRITE,
    command,
    declare,
)

if TYPE_CHECKING:
    from respserver.call import Call

NO_SCRIPT = b"NOSCRIPT No matching script. Please use EVAL."
WORST = "We cannot tell how the keys will be used so we assume the worst, "
RUNNING = NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS
# The payload of a server without functions: the RDB version and a CRC64.
EMPTY_DUMP = bytes.fromhex("0c0096ed6880f5553c93")


def keys_and_arguments(call: Call) -> tuple[list[bytes], list[bytes]]:
    """What the script finds in KEYS and ARGV. Raises ReplyError."""
    count = need_int(call.argv[2])
    if count > len(call.argv) - 3:
        raise ReplyError(b"ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise ReplyError(b"ERR Number of keys can't be negative")
    return call.argv[3 : 3 + count], call.argv[3 + count :]


def run_body(call: Call, read_only: bool) -> object:
    """EVAL: the script comes along."""
    words = keys_and_arguments(call)
    scripts = call.server.scripts
    return scripts.run(scripts.load(call.argv[1]), words, call.session, read_only)


def run_sha(call: Call, read_only: bool) -> object:
    """EVALSHA: the script is known, or not."""
    scripts = call.server.scripts
    sha = call.argv[1].lower()
    if sha not in scripts.bodies:
        raise ReplyError(NO_SCRIPT)
    return scripts.run(sha, keys_and_arguments(call), call.session, read_only)


@command(
    "EVAL",
    "script numkeys:integer [key...] [arg...]",
    "Executes a server-side Lua script.",
    arity=-3,
    flags=RUNNING,
    acl="scripting",
    keys=CountedKeys(
        2,
        ("RW", "access", "update"),
        "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE",
    ),
    since="2.6.0",
    group="scripting",
    complexity="Depends on the script that is executed.",
)
def eval_(call: Call) -> object:
    return run_body(call, read_only=False)


@command(
    "EVAL_RO",
    "script numkeys:integer [key...] [arg...]",
    "Executes a read-only server-side Lua script.",
    arity=-3,
    flags=RUNNING | READONLY,
    acl="scripting",
    keys=CountedKeys(
        2,
        ("RO", "access"),
        "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS",
    ),
    since="7.0.0",
    group="scripting",
    complexity="Depends on the script that is executed.",
)
def eval_ro(call: Call) -> object:
    return run_body(call, read_only=True)


@command(
    "EVALSHA",
    "sha1 numkeys:integer [key...] [arg...]",
    "Executes a server-side Lua script by SHA1 digest.",
    arity=-3,
    flags=RUNNING,
    acl="scripting",
    keys=CountedKeys(2, ("RW", "access", "update")),
    since="2.6.0",
    group="scripting",
    complexity="Depends on the script that is executed.",
)
def evalsha(call: Call) -> object:
    return run_sha(call, read_only=False)


@command(
    "EVALSHA_RO",
    "sha1 numkeys:integer [key...] [arg...]",
    "Executes a read-only server-side Lua script by SHA1 digest.",
    arity=-3,
    flags=RUNNING | READONLY,
    acl="scripting",
    keys=CountedKeys(2, ("RO", "access")),
    since="7.0.0",
    group="scripting",
    complexity="Depends on the script that is executed.",
)
def evalsha_ro(call: Call) -> object:
    return run_sha(call, read_only=True)


declare(
    "SCRIPT",
    "",
    "A container for Lua scripts management commands.",
    arity=-2,
    since="2.6.0",
    group="scripting",
    complexity="Depends on subcommand.",
)


@command(
    "SCRIPT DEBUG",
    "mode=<YES | SYNC | NO>",
    "Sets the debug mode of server-side Lua scripts.",
    arity=3,
    flags=NOSCRIPT,
    acl="scripting",
    since="3.2.0",
    group="scripting",
    complexity="O(1)",
)
def script_debug(call: Call) -> Simple:
    """There is no debugger: NO is what is, and the others are refused."""
    word = call.argv[2].upper()
    if word in (b"YES", b"SYNC"):
        raise ReplyError(b"ERR SCRIPT DEBUG YES and SYNC need a debugger, and there is none")
    if word != b"NO":
        raise ReplyError(b"ERR Use SCRIPT DEBUG YES/SYNC/NO")
    return OK


@command(
    "SCRIPT EXISTS",
    "sha1...",
    "Determines whether server-side Lua scripts exist in the script cache.",
    arity=-3,
    flags=NOSCRIPT,
    acl="scripting",
    since="2.6.0",
    group="scripting",
    complexity=(
        "O(N) with N being the number of scripts to check (so checking a single script is an O(1) "
        "operation)."
    ),
    tips=("request_policy:all_shards", "response_policy:agg_logical_and"),
)
def script_exists(call: Call) -> list[int]:
    return [int(sha.lower() in call.server.scripts.bodies) for sha in call.argv[2:]]


@command(
    "SCRIPT FLUSH",
    "flush-type=[ASYNC | SYNC]@6.2.0",
    "Removes all server-side Lua scripts from the script cache.",
    arity=-2,
    flags=NOSCRIPT,
    acl="scripting",
    since="2.6.0",
    group="scripting",
    complexity="O(N) with N being the number of scripts in cache",
    history=(("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers."),),
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
def script_flush(call: Call) -> Simple:
    words = call.argv[2:]
    if len(words) > 1 or (words and words[0].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError(b"ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    call.server.scripts.flush()
    return OK


@command(
    "SCRIPT HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="scripting",
    since="5.0.0",
    group="scripting",
    complexity="O(1)",
)
def script_help(call: Call) -> list[Simple]:
    return help_reply("SCRIPT", SCRIPT_HELP)


@command(
    "SCRIPT KILL",
    "",
    "Terminates a server-side Lua script during execution.",
    arity=2,
    flags=NOSCRIPT | ALLOW_BUSY,
    acl="scripting",
    since="2.6.0",
    group="scripting",
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:one_succeeded"),
)
def script_kill(call: Call) -> Simple:
    call.server.scripts.kill()
    return OK


@command(
    "SCRIPT LOAD",
    "script",
    "Loads a server-side Lua script to the script cache.",
    arity=3,
    flags=NOSCRIPT | STALE,
    acl="scripting",
    since="2.6.0",
    group="scripting",
    complexity="O(N) with N being the length in bytes of the script body.",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
def script_load(call: Call) -> bytes:
    return call.server.scripts.keep(call.argv[2])


declare(
    "FUNCTION",
    "",
    "A container for function commands.",
    arity=-2,
    since="7.0.0",
    group="scripting",
    complexity="Depends on subcommand.",
)


@command(
    "FUNCTION DELETE",
    "library-name",
    "Deletes a library and its functions.",
    arity=3,
    flags=WRITE | NOSCRIPT,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)
def function_delete(call: Call) -> object:
    raise ReplyError(b"ERR Library not found")


@command(
    "FUNCTION DUMP",
    "",
    "Dumps all libraries into a serialized binary payload.",
    arity=2,
    flags=NOSCRIPT,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(N) where N is the number of functions",
)
def function_dump(call: Call) -> bytes:
    return EMPTY_DUMP


@command(
    "FUNCTION FLUSH",
    "flush-type=[ASYNC | SYNC]",
    "Deletes all libraries and functions.",
    arity=-2,
    flags=WRITE | NOSCRIPT,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(N) where N is the number of functions deleted",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)
def function_flush(call: Call) -> Simple:
    if len(call.argv) > 3:
        raise subcommand_syntax(call.argv)
    if len(call.argv) == 3 and call.argv[2].upper() not in (b"ASYNC", b"SYNC"):
        raise ReplyError(b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    return OK


@command(
    "FUNCTION HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(1)",
)
def function_help(call: Call) -> list[Simple]:
    return help_reply("FUNCTION", FUNCTION_HELP)


@command(
    "FUNCTION KILL",
    "",
    "Terminates a function during execution.",
    arity=2,
    flags=NOSCRIPT | ALLOW_BUSY,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:one_succeeded"),
)
def function_kill(call: Call) -> NoReturn:
    """There are no functions, but a script may be running: it is none of FUNCTION's."""
    call.server.scripts.refuse_kill()


@command(
    "FUNCTION LIST",
    "[LIBRARYNAME library-name-pattern] [WITHCODE]",
    "Returns information about all libraries.",
    arity=-2,
    flags=NOSCRIPT,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(N) where N is the number of functions",
    tips=("nondeterministic_output_order",),
)
def function_list(call: Call) -> list[bytes]:
    words = iter(call.argv[2:])
    seen: set[bytes] = set()
    for word in words:
        option = word.upper()
        if option == b"LIBRARYNAME" and option not in seen:
            if next(words, None) is None:
                raise ReplyError(b"ERR library name argument was not given")
        elif option != b"WITHCODE" or option in seen:
            raise ReplyError(b"ERR Unknown argument " + word)
        seen.add(option)
    return []


@command(
    "FUNCTION STATS",
    "",
    "Returns information about a function during execution.",
    arity=2,
    flags=NOSCRIPT | ALLOW_BUSY,
    acl="scripting",
    since="7.0.0",
    group="scripting",
    complexity="O(1)",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
def function_stats(call: Call) -> dict[bytes, object]:
    call.server.busy.refuse()
    nothing = {b"libraries_count": 0, b"functions_count": 0}
    return {b"running_script": None, b"engines": {b"LUA": nothing}}


SCRIPT_HELP = (
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
)
FUNCTION_HELP = (
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries.",
    "STATS",
    "    Return information about the current function running.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries.",
)
