"""Commands about the server as a whole: settings, time, saving, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respserver.commands.info import every_verb
from respserver.errors import BUSY, SYNTAX, ReplyError, c_string
from respserver.glob import matches
from respserver.helptext import help_reply
from respserver.replies import OK, Raw, Simple
from respserver.rewrite import rewrite
from respserver.settings import SETTINGS, config_names
from respserver.spec import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    command,
    declare,
)

if TYPE_CHECKING:
    from respserver.call import Call

declare(
    "CONFIG",
    "",
    "A container for server configuration commands.",
    arity=-2,
    since="2.0.0",
    group="server",
    complexity="Depends on subcommand.",
)


@command(
    "CONFIG GET",
    "parameter...",
    "Returns the effective values of configuration parameters.",
    arity=-3,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    since="2.0.0",
    group="server",
    complexity="O(N) when N is the number of configuration parameters provided",
    history=(("7.0.0", "Added the ability to pass multiple pattern parameters in one call"),),
)
def config_get(call: Call) -> dict[bytes, bytes]:
    config = call.server.config
    names = config_names(call.redis_level)
    known = frozenset(names)
    found: dict[str, bytes] = {}
    shown: dict[str, bytes] = {}
    for word in call.argv[2:]:
        if any(mark in word for mark in b"*?["):
            chosen = {name: name.encode() for name in names if matches(word, name.encode(), True)}
        else:
            name = word.decode(errors="replace").lower()
            chosen = {name: word} if name in known else {}
        for name, as_given in chosen.items():
            shown.setdefault(name, as_given)
            found.setdefault(name, config.shown(name).encode())
    return {shown[name]: value for name, value in found.items()}


@command(
    "CONFIG HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    since="5.0.0",
    group="server",
    complexity="O(1)",
)
def config_help(call: Call) -> list[Simple]:
    return help_reply("CONFIG", CONFIG_HELP)


@command(
    "CONFIG RESETSTAT",
    "",
    "Resets the server's statistics.",
    arity=2,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    since="2.0.0",
    group="server",
    complexity="O(1)",
    tips=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
)
def config_resetstat(call: Call) -> Simple:
    call.server.stats.reset()
    for verb in every_verb(call.server.kernel.table):
        verb.reset_stats()
    return OK


@command(
    "CONFIG REWRITE",
    "",
    "Persists the effective configuration to file.",
    arity=2,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    since="2.8.0",
    group="server",
    complexity="O(1)",
    tips=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
)
def config_rewrite(call: Call) -> Simple:
    config = call.server.config
    if config.file is None:
        raise ReplyError(b"ERR The server is running without a config file")
    try:
        rewrite(config.file, config)
    except OSError as error:
        why = error.strerror or str(error)
        raise ReplyError(b"ERR Rewriting config file: " + why.encode()) from None
    except ValueError as error:
        raise ReplyError(b"ERR Rewriting config file: " + str(error).encode()) from None
    return OK


def refuse_setting(name: bytes, why: str) -> ReplyError:
    """CONFIG SET changed nothing, because of this setting."""
    return ReplyError(
        b"ERR CONFIG SET failed (possibly related to argument '%s') - %s" % (name, why.encode())
    )


@command(
    "CONFIG SET",
    "data={parameter value}...",
    "Sets configuration parameters in-flight.",
    arity=-4,
    flags=ADMIN | NOSCRIPT | LOADING | STALE,
    since="2.0.0",
    group="server",
    complexity="O(N) when N is the number of configuration parameters provided",
    history=(("7.0.0", "Added the ability to set multiple parameters in one call."),),
    tips=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
)
def config_set(call: Call) -> Simple:
    words = call.argv[2:]
    if len(words) % 2:
        raise ReplyError(SYNTAX)
    config = call.server.config
    known = frozenset(config_names(call.redis_level))
    changes: dict[str, str] = {}
    for word, value in zip(words[::2], words[1::2], strict=True):
        name = word.decode(errors="replace").lower()
        if name not in known:
            raise ReplyError(
                b"ERR Unknown option or number of arguments for CONFIG SET - '%s'" % c_string(word)
            )
        if name in changes:
            raise refuse_setting(word, "duplicate parameter")
        if name in SETTINGS and not SETTINGS[name].live:
            raise refuse_setting(word, "can't set immutable config")
        changes[name] = value.decode(errors="surrogateescape")
    for name, text in changes.items():
        try:
            config.check_live(name, text)
        except ValueError as error:
            raise refuse_setting(name.encode(), str(error)) from None

    for name, text in changes.items():
        config.apply_live(name, text)
    call.server.settings_changed(frozenset(changes))
    return OK


CONFIG_HELP = (
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
)


@command(
    "TIME",
    "",
    "Returns the server time.",
    arity=1,
    flags=LOADING | STALE | FAST,
    since="2.6.0",
    group="server",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def time(call: Call) -> list[bytes]:
    seconds, rest_ms = divmod(call.now_ms, 1000)
    return [b"%d" % seconds, b"%d" % (rest_ms * 1000)]


@command(
    "LASTSAVE",
    "",
    "Returns the Unix timestamp of the last successful save to disk.",
    arity=1,
    flags=LOADING | STALE | FAST,
    acl="admin dangerous",
    since="1.0.0",
    group="server",
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def lastsave(call: Call) -> int:
    return call.server.last_save_ms // 1000


@command(
    "SAVE",
    "",
    "Synchronously saves the database(s) to disk.",
    arity=1,
    flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI,
    since="1.0.0",
    group="server",
    complexity="O(N) where N is the total number of keys in all databases",
)
def save(call: Call) -> Simple:
    call.server.flush_now()
    return OK


@command(
    "BGSAVE",
    "[SCHEDULE@3.2.2]",
    "Asynchronously saves the database(s) to disk.",
    arity=-1,
    flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING,
    since="1.0.0",
    group="server",
    complexity="O(1)",
    history=(("3.2.2", "Added the `SCHEDULE` option."),),
)
def bgsave(call: Call) -> Simple:
    words = call.argv[1:]
    if len(words) > 1 or (words and words[0].upper() != b"SCHEDULE"):
        raise ReplyError(SYNTAX)
    call.server.flush_now()
    return Simple(b"Background saving started")


@command(
    "SHUTDOWN",
    "save-selector=[NOSAVE | SAVE] [NOW@7.0.0] [FORCE@7.0.0] [ABORT@7.0.0]",
    "Synchronously saves the database(s) to disk and shuts down the Redis server.",
    arity=-1,
    flags=ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY,
    since="1.0.0",
    group="server",
    complexity=(
        "O(N) when saving, where N is the total number of keys in all databases when saving"
        " data, otherwise O(1)"
    ),
    history=(("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."),),
)
def shutdown(call: Call) -> Raw:
    """Nothing is sent: the client sees its connection close."""
    options = {word.upper() for word in call.argv[1:]}
    if not options <= {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"}:
        raise ReplyError(SYNTAX)
    if {b"NOSAVE", b"SAVE"} <= options or (b"ABORT" in options and len(options) > 1):
        raise ReplyError(SYNTAX)
    if b"ABORT" in options:
        raise ReplyError(b"ERR No shutdown in progress.")
    if call.server.kernel.busy:
        if b"NOSAVE" not in options:
            raise ReplyError(BUSY)
        call.server.busy.shutdown()
    call.server.request_shutdown()
    return Raw(b"")
