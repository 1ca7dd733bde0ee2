"""The command table: one declaration per command, read by everybody.

A command is declared beside its handler with ``@command``; the verbs whose work is compiled, and
containers like XGROUP that have nothing but subcommands, with ``declare``. Dispatch (arity,
flags), COMMAND and its kin, key routing, ACL categories, the generated command page and the syntax
fuzzer all read ``TABLE``; nothing is told twice.

Rules: subcommands are declared by their full name (``"XGROUP CREATE"``), after their container;
table keys are lower case; flags and categories are those of Redis, printed in its order. What
Redis derives from flags is derived here: ``write`` and ``readonly`` give ``@write`` and ``@read``,
``admin`` gives ``@admin @dangerous``, ``blocking`` ``@blocking``, ``fast`` ``@fast`` and its
absence ``@slow``.

A node reads the table as of the version that it presents: ``table_at`` leaves out what came later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

from respserver.keyspec import AnyKeySpec
from respserver.syntax import Argument, known_at, parse
from respserver.version import level_of

if TYPE_CHECKING:
    from respserver.call import Call

Handler = Callable[["Call"], object]
HandlerT = TypeVar("HandlerT", bound=Handler)

# Flags, in the order in which COMMAND prints them. The names are Redis'.
FLAG_NAMES: Final = (
    "write",
    "readonly",
    "denyoom",
    "module",
    "admin",
    "pubsub",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "asking",
    "fast",
    "no_auth",
    "no_mandatory_keys",
    "no_async_loading",
    "no_multi",
    "movablekeys",
    "allow_busy",
)
WRITE: Final = 1 << 0
READONLY: Final = 1 << 1
DENYOOM: Final = 1 << 2
ADMIN: Final = 1 << 4
PUBSUB: Final = 1 << 5
NOSCRIPT: Final = 1 << 6
BLOCKING: Final = 1 << 7
LOADING: Final = 1 << 8
STALE: Final = 1 << 9
SKIP_MONITOR: Final = 1 << 10
SKIP_SLOWLOG: Final = 1 << 11
ASKING: Final = 1 << 12
FAST: Final = 1 << 13
NO_AUTH: Final = 1 << 14
NO_MANDATORY_KEYS: Final = 1 << 15
NO_ASYNC_LOADING: Final = 1 << 16
NO_MULTI: Final = 1 << 17
MOVABLEKEYS: Final = 1 << 18
ALLOW_BUSY: Final = 1 << 19

# ACL categories, in the order in which COMMAND prints them.
ACL_CATEGORIES: Final = (
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """All there is to know about a command."""

    name: bytes
    """Full lower-case name; ``xgroup|create`` for a subcommand."""
    handler: Handler | None
    """None for a verb that is compiled (``hot``) and for a pure container."""
    hot: str | None
    """The name under which the compiled kernel knows the verb."""
    arity: int
    flags: int
    acl: tuple[str, ...]
    keys: tuple[AnyKeySpec, ...]
    syntax: str
    arguments: tuple[Argument, ...]
    summary: str
    since: str
    group: str
    complexity: str
    history: tuple[tuple[str, str], ...]
    tips: tuple[str, ...]
    doc_flags: tuple[str, ...]
    deprecated_since: str
    replaced_by: str
    subcommands: Table = field(default_factory=dict)

    def takes(self, argc: int) -> bool:
        """Whether so many words, the name included, satisfy the arity."""
        return argc == self.arity if self.arity >= 0 else argc >= -self.arity

    def find_keys(self, argv: Sequence[bytes]) -> list[int]:
        """Positions of all keys in ``argv``, in the order of the key specs."""
        return [pos for spec in self.keys for pos in spec.find(argv)]

    def flag_names(self) -> list[str]:
        """The flags by name, as COMMAND prints them."""
        return [name for bit, name in enumerate(FLAG_NAMES) if self.flags >> bit & 1]


Table = dict[bytes, CommandSpec]
TABLE: Final[Table] = {}
"""Every command, as the newest version has it."""


def table_at(level: int, specs: Table = TABLE) -> Table:
    """The commands of the version of that level, with the arguments and history it knows."""
    return {
        word: replace(
            spec,
            arguments=known_at(level, spec.arguments),
            history=tuple(row for row in spec.history if level_of(row[0]) <= level),
            subcommands=table_at(level, spec.subcommands),
        )
        for word, spec in specs.items()
        if level_of(spec.since) <= level
    }


@cache
def commands_at(level: int) -> Table:
    """All commands of the version of that level; not to be changed."""
    return table_at(level)


def lookup(table: Table, argv: Sequence[bytes]) -> CommandSpec | None:
    """The command that ``argv`` calls; None if there is no such command or subcommand."""
    spec = table.get(argv[0].lower())
    if spec is None or not spec.subcommands or len(argv) == 1:
        return spec
    return spec.subcommands.get(argv[1].lower())


def lookup_name(table: Table, name: bytes) -> CommandSpec | None:
    """The command of that full name: ``xadd``, ``xgroup`` or ``xgroup|create``."""
    base, bar, sub = name.lower().partition(b"|")
    spec = table.get(base)
    if spec is None or not bar:
        return spec
    return spec.subcommands.get(sub)


def declare(
    name: str,
    syntax: str,
    summary: str,
    *,
    arity: int,
    since: str,
    flags: int = 0,
    acl: str = "",
    keys: AnyKeySpec | tuple[AnyKeySpec, ...] = (),
    group: str = "stream",
    complexity: str = "",
    history: tuple[tuple[str, str], ...] = (),
    tips: tuple[str, ...] = (),
    doc_flags: tuple[str, ...] = (),
    deprecated_since: str = "",
    replaced_by: str = "",
    hot: str | None = None,
    handler: Handler | None = None,
) -> CommandSpec:
    """Put a command into the table."""
    container, _, word = name.lower().encode().partition(b" ")
    where = TABLE if not word else TABLE[container].subcommands
    key = word or container
    if key in where:
        raise ValueError(f"{name} is declared twice")
    spec = CommandSpec(
        name=container + b"|" + word if word else container,
        handler=handler,
        hot=hot,
        arity=arity,
        flags=flags,
        acl=_categories(acl, flags),
        keys=keys if isinstance(keys, tuple) else (keys,),
        syntax=syntax,
        arguments=parse(syntax),
        summary=summary,
        since=since,
        group=group,
        complexity=complexity,
        history=history,
        tips=tips,
        doc_flags=doc_flags,
        deprecated_since=deprecated_since,
        replaced_by=replaced_by,
    )
    where[key] = spec
    return spec


def command(
    name: str,
    syntax: str,
    summary: str,
    *,
    arity: int,
    since: str,
    flags: int = 0,
    acl: str = "",
    keys: AnyKeySpec | tuple[AnyKeySpec, ...] = (),
    group: str = "stream",
    complexity: str = "",
    history: tuple[tuple[str, str], ...] = (),
    tips: tuple[str, ...] = (),
    doc_flags: tuple[str, ...] = (),
    deprecated_since: str = "",
    replaced_by: str = "",
) -> Callable[[HandlerT], HandlerT]:
    """Declare the command that the decorated function handles."""

    def register(handler: HandlerT) -> HandlerT:
        declare(
            name,
            syntax,
            summary,
            arity=arity,
            since=since,
            flags=flags,
            acl=acl,
            keys=keys,
            group=group,
            complexity=complexity,
            history=history,
            tips=tips,
            doc_flags=doc_flags,
            deprecated_since=deprecated_since,
            replaced_by=replaced_by,
            handler=handler,
        )
        return handler

    return register


def _categories(explicit: str, flags: int) -> tuple[str, ...]:
    """The categories named by the declaration and those that follow from the flags."""
    found = set(explicit.split())
    unknown = found - set(ACL_CATEGORIES)
    if unknown:
        raise ValueError(f"unknown ACL category {unknown}")
    for flag, implied in (
        (WRITE, ("write",)),
        (ADMIN, ("admin", "dangerous")),
        (PUBSUB, ("pubsub",)),
        (BLOCKING, ("blocking",)),
        (FAST, ("fast",)),
    ):
        if flags & flag:
            found.update(implied)
    if flags & READONLY and "scripting" not in found:
        found.add("read")
    if not flags & FAST:
        found.add("slow")
    return tuple(name for name in ACL_CATEGORIES if name in found)
