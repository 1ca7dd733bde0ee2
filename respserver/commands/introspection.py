"""COMMAND: the command table, as clients read it.

Everything is made from the declarations, as of the version that the node presents. Names, flags,
categories and options are printed in the order in which Redis prints them; commands come in the
order of their declaration, in Redis it is that of a hash table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from respserver.errors import SYNTAX, ReplyError
from respserver.glob import matches
from respserver.helptext import help_reply
from respserver.keyspec import AnyKeySpec, CountedKeys, KeysAfter, KeySpec
from respserver.replies import Set, Simple
from respserver.spec import (
    LOADING,
    NO_MANDATORY_KEYS,
    STALE,
    CommandSpec,
    Table,
    command,
    lookup,
    lookup_name,
)
from respserver.syntax import Argument

if TYPE_CHECKING:
    from respserver.call import Call

Map = dict[bytes, object]


def every_command(specs: Table) -> Iterator[CommandSpec]:
    """Commands, each followed by its subcommands."""
    for spec in specs.values():
        yield spec
        yield from every_command(spec.subcommands)


def words(names: Sequence[str], before: str = "") -> Set:
    """Names as a set of status lines."""
    return Set([Simple((before + name).encode()) for name in names])


def key_spec_map(spec: AnyKeySpec) -> Map:
    """A key spec as COMMAND INFO prints it."""
    shown: Map = {}
    if spec.notes:
        shown[b"notes"] = spec.notes.encode()
    shown[b"flags"] = words(spec.flags)
    if isinstance(spec, KeysAfter):
        begin: Map = {b"keyword": spec.word, b"startfrom": spec.start}
        shown[b"begin_search"] = {b"type": b"keyword", b"spec": begin}
        shown[b"find_keys"] = range_map(last=-1, step=1, limit=2)
    elif isinstance(spec, CountedKeys):
        shown[b"begin_search"] = {b"type": b"index", b"spec": {b"index": spec.count_at}}
        find: Map = {b"keynumidx": 0, b"firstkey": 1, b"keystep": spec.step}
        shown[b"find_keys"] = {b"type": b"keynum", b"spec": find}
    else:
        shown[b"begin_search"] = {b"type": b"index", b"spec": {b"index": spec.first}}
        shown[b"find_keys"] = range_map(last=spec.last, step=spec.step, limit=0)
    return shown


def range_map(last: int, step: int, limit: int) -> Map:
    """Keys from a beginning to an end."""
    spec: Map = {b"lastkey": last, b"keystep": step, b"limit": limit}
    return {b"type": b"range", b"spec": spec}


def info(spec: CommandSpec) -> list[object]:
    """A command as COMMAND INFO prints it."""
    first = last = step = 0
    fixed = [keys for keys in spec.keys if isinstance(keys, KeySpec)]
    if fixed:
        one = fixed[0]
        first, step = one.first, one.step
        last = one.first + one.last if one.last >= 0 else one.last
        for other in fixed[1:]:  # as far as they follow each other
            if other.first == last + 1 and other.last >= 0:
                last = other.first + other.last
    subcommands = [info(sub) for sub in spec.subcommands.values()]
    return [
        spec.name,
        spec.arity,
        words(spec.flag_names()),
        first,
        last,
        step,
        words(spec.acl, before="@"),
        Set([tip.encode() for tip in spec.tips]),
        Set([key_spec_map(keys) for keys in spec.keys]),
        subcommands or Set([]),
    ]


def argument_map(argument: Argument, keys: Iterator[int]) -> Map:
    """An argument as COMMAND DOCS prints it; ``keys`` numbers the key specs."""
    shown: Map = {b"name": argument.name.encode(), b"type": argument.type.encode()}
    if argument.display:
        shown[b"display_text"] = argument.display.encode()
    if argument.type == "key":
        shown[b"key_spec_index"] = next(keys)
    for name, text in (
        (b"token", argument.token),
        (b"since", argument.since if argument.since_shown else ""),
        (b"deprecated_since", argument.deprecated_since),
    ):
        if text:
            shown[name] = text.encode()
    flags = [
        name
        for name, on in (
            ("optional", argument.optional),
            ("multiple", argument.multiple),
            ("multiple_token", argument.multiple_token),
        )
        if on
    ]
    if flags:
        shown[b"flags"] = words(flags)
    if argument.arguments:
        shown[b"arguments"] = [argument_map(inner, keys) for inner in argument.arguments]
    return shown


def docs(spec: CommandSpec) -> Map:
    """A command as COMMAND DOCS prints it."""
    shown: Map = {
        b"summary": spec.summary.encode(),
        b"since": spec.since.encode(),
        b"group": spec.group.encode(),
    }
    if spec.complexity:
        shown[b"complexity"] = spec.complexity.encode()
    if spec.doc_flags:
        shown[b"doc_flags"] = words(spec.doc_flags)
    if spec.deprecated_since:
        shown[b"deprecated_since"] = spec.deprecated_since.encode()
    if spec.replaced_by:
        shown[b"replaced_by"] = spec.replaced_by.encode()
    if spec.history:
        shown[b"history"] = Set([[since.encode(), text.encode()] for since, text in spec.history])
    if spec.arguments:
        numbers = iter(range(len(spec.keys)))
        shown[b"arguments"] = [argument_map(argument, numbers) for argument in spec.arguments]
    if spec.subcommands:
        shown[b"subcommands"] = {sub.name: docs(sub) for sub in spec.subcommands.values()}
    return shown


@command(
    "COMMAND",
    "",
    "Returns detailed information about all commands.",
    arity=-1,
    flags=LOADING | STALE,
    acl="connection",
    since="2.8.13",
    group="server",
    complexity="O(N) where N is the total number of Redis commands",
    tips=("nondeterministic_output_order",),
)
def command_(call: Call) -> list[object]:
    return [info(spec) for spec in call.server.table.values()]


@command(
    "COMMAND COUNT",
    "",
    "Returns a count of commands.",
    arity=2,
    flags=LOADING | STALE,
    acl="connection",
    since="2.8.13",
    group="server",
    complexity="O(1)",
)
def count(call: Call) -> int:
    return len(call.server.table)


@command(
    "COMMAND DOCS",
    "[command-name...]",
    "Returns documentary information about one, multiple or all commands.",
    arity=-2,
    flags=LOADING | STALE,
    acl="connection",
    since="7.0.0",
    group="server",
    complexity="O(N) where N is the number of commands to look up",
    tips=("nondeterministic_output_order",),
)
def command_docs(call: Call) -> Map:
    if len(call.argv) == 2:
        return {spec.name: docs(spec) for spec in call.server.table.values()}
    named = (lookup_name(call.server.table, name) for name in call.argv[2:])
    return {spec.name: docs(spec) for spec in named if spec is not None}


def keys_of(call: Call) -> list[tuple[int, tuple[str, ...]]]:
    """The command given as arguments, and where its keys are and what it does with them."""
    argv = call.argv[2:]
    spec = lookup(call.server.table, argv)
    if spec is None:
        raise ReplyError(b"ERR Invalid command specified")
    if not spec.keys:
        raise ReplyError(b"ERR The command has no key arguments")
    if not spec.takes(len(argv)):
        raise ReplyError(b"ERR Invalid number of arguments specified for command")
    found = [(pos, keys.flags_of(argv)) for keys in spec.keys for pos in keys.find(argv)]
    if not found and not spec.flags & NO_MANDATORY_KEYS:
        raise ReplyError(b"ERR Invalid arguments specified for command")
    return found


@command(
    "COMMAND GETKEYS",
    "command [arg...]",
    "Extracts the key names from an arbitrary command.",
    arity=-3,
    flags=LOADING | STALE,
    acl="connection",
    since="2.8.13",
    group="server",
    complexity="O(N) where N is the number of arguments to the command",
)
def getkeys(call: Call) -> list[bytes]:
    return [call.argv[2 + pos] for pos, _ in keys_of(call)]


@command(
    "COMMAND GETKEYSANDFLAGS",
    "command [arg...]",
    "Extracts the key names and access flags for an arbitrary command.",
    arity=-3,
    flags=LOADING | STALE,
    acl="connection",
    since="7.0.0",
    group="server",
    complexity="O(N) where N is the number of arguments to the command",
)
def getkeysandflags(call: Call) -> list[object]:
    return [[call.argv[2 + pos], words(flags)] for pos, flags in keys_of(call)]


@command(
    "COMMAND HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    acl="connection",
    since="5.0.0",
    group="server",
    complexity="O(1)",
)
def command_help(call: Call) -> list[Simple]:
    return help_reply("COMMAND", HELP)


@command(
    "COMMAND INFO",
    "[command-name...]",
    "Returns information about one, multiple or all commands.",
    arity=-2,
    flags=LOADING | STALE,
    acl="connection",
    since="2.8.13",
    group="server",
    complexity="O(N) where N is the number of commands to look up",
    history=(("7.0.0", "Allowed to be called with no argument to get info on all commands."),),
    tips=("nondeterministic_output_order",),
)
def command_info(call: Call) -> list[object]:
    if len(call.argv) == 2:
        return [info(spec) for spec in call.server.table.values()]
    named = [lookup_name(call.server.table, name) for name in call.argv[2:]]
    return [None if spec is None else info(spec) for spec in named]


def list_filter(kind: bytes, word: bytes) -> Callable[[CommandSpec], bool]:
    """FILTERBY of COMMAND LIST."""
    if kind.upper() == b"MODULE":
        return lambda spec: False
    if kind.upper() == b"ACLCAT":
        category = word.decode(errors="replace").lower()
        return lambda spec: category in spec.acl
    if kind.upper() == b"PATTERN":
        return lambda spec: matches(word, spec.name, True)
    raise ReplyError(SYNTAX)


@command(
    "COMMAND LIST",
    "[FILTERBY filterby=<MODULE module-name | ACLCAT category | PATTERN pattern:pattern>]",
    "Returns a list of command names.",
    arity=-2,
    flags=LOADING | STALE,
    acl="connection",
    since="7.0.0",
    group="server",
    complexity="O(N) where N is the total number of Redis commands",
    tips=("nondeterministic_output_order",),
)
def command_list(call: Call) -> list[bytes]:
    argv = call.argv
    if len(argv) == 2:
        return [spec.name for spec in every_command(call.server.table)]
    if len(argv) != 5 or argv[2].upper() != b"FILTERBY":
        raise ReplyError(SYNTAX)
    wanted = list_filter(argv[3], argv[4])
    return [spec.name for spec in every_command(call.server.table) if wanted(spec)]


HELP = (
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
)
