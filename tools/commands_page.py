"""Writes docs/commands.md from the command table: ``make docs``."""

from __future__ import annotations

from collections.abc import Sequence

import respserver.commands
from respserver.spec import TABLE, CommandSpec
from respserver.syntax import BLOCK, ONEOF, PURE_TOKEN, Argument
from respserver.version import OLDEST, level_of

HEAD = """# Commands

This page is made from the declarations in `respserver/commands/` by `make docs`; `COMMAND DOCS`
tells the same. Those that begin with `XQ.` are respq's own. The others are Redis' commands, with
Redis' answers as of the version in `redis-version`; what came after 7.4 says with which, and a
server that presents an older version does not have it. Anything else is answered `ERR unknown
command`.
"""

TITLES = {"stream": "Streams", "generic": "Keys", "string": "Strings"}


def _usage(argument: Argument) -> str:
    """One argument as people write it."""
    if argument.type == ONEOF:
        text = " | ".join(_usage(choice) for choice in argument.arguments)
        text = text if argument.optional and not argument.token else f"<{text}>"
    elif argument.type == BLOCK:
        text = _usages(argument.arguments)
    elif argument.type == PURE_TOKEN:
        text = argument.token
    else:
        text = argument.display
    if argument.multiple and not argument.multiple_token:
        text += f" [{text} ...]"
    if argument.token and argument.type != PURE_TOKEN:
        text = f"{argument.token} {text}"
    if argument.multiple_token:
        text += f" [{text} ...]"
    return f"[{text}]" if argument.optional else text


def _usages(arguments: Sequence[Argument]) -> str:
    """Several, one after the other."""
    return " ".join(_usage(argument) for argument in arguments)


def _leaves(spec: CommandSpec) -> list[CommandSpec]:
    """The command itself, unless it only holds subcommands; then those."""
    inner = [leaf for sub in spec.subcommands.values() for leaf in _leaves(sub)]
    return inner if inner and spec.handler is None and spec.hot is None else [spec, *inner]


def _news(spec: CommandSpec) -> str:
    """What of a command came after the oldest version that can be presented."""
    if level_of(spec.since) > OLDEST:
        return f" Since {spec.since}."
    return "".join(
        f" {since}: {text.rstrip('.')}." for since, text in spec.history if level_of(since) > OLDEST
    )


def _row(spec: CommandSpec) -> str:
    """One line of the table."""
    name = spec.name.decode().upper().replace("|", " ")
    usage = f"{name} {_usages(spec.arguments)}".rstrip().replace("|", "\\|")
    return f"| `{usage}` | {spec.summary}{_news(spec)} |"


def page() -> str:
    """The whole page. Streams first, then the other groups in order of the alphabet."""
    assert respserver.commands.__path__  # importing it has filled the table
    groups: dict[str, list[CommandSpec]] = {}
    for spec in TABLE.values():
        groups.setdefault(spec.group, []).extend(_leaves(spec))
    lines = [HEAD]
    for group in sorted(groups, key=lambda name: (name != "stream", name)):
        lines.append(f"## {TITLES.get(group, group.capitalize())}\n")
        lines.append("| command | what it does |")
        lines.append("|---|---|")
        lines.extend(_row(spec) for spec in sorted(groups[group], key=lambda spec: spec.name))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
