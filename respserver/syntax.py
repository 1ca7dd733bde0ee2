"""The syntax line of a command, and what is read out of it.

Grammar of a line (the command's own words are not part of it)::

    line     := item*
    item     := [label] body [':' type] ['@' since] ['!' deprecated-since] ['...' | '...+']
    label    := name '='
    body     := word                            a value; its name is ``word``
              | word '(' display text ')'       a value shown under another name
              | TOKEN                           a word to be typed as it stands, nothing behind it
              | TOKEN value-or-group            a word with what belongs to it
              | '[' item* ['|' item*]... ']'    may be left out
              | '<' item* '|' item* ... '>'     one of these
              | '{' item* '}'                   these together
    TOKEN    := capitals, or any text in double quotes
    since    := version | '(' version ')'           in brackets where Redis' documents do not say it
    type     := string | integer | double | key | pattern | unix-time

``...`` means one or more; with ``+`` the token is repeated each time. A word called ``key`` is a
key, every other word a string unless its type is given. A TOKEN belongs to the value or group
behind it, but not to something that may be left out. Groups of several items are blocks, those
with ``|`` are a choice; they are named by their label, else after their first item.

From the tree come COMMAND DOCS (same names, same order as Redis), the fewest words a call takes,
and example calls that a fuzzer sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from respserver.version import level_of

_LEXEME = re.compile(
    r"""\s*(?:
        (?P<label>[a-z0-9-]+)=
      | "(?P<quoted>[^"]*)"
      | (?P<token>[A-Z][A-Z0-9-]*)
      | (?P<word>[a-z0-9-]+(?:\([^)]*\))?)
      | (?P<type>:[a-z-]+)
      | (?P<since>@[0-9]+(?:\.[0-9]+)*|@\([0-9]+(?:\.[0-9]+)*\))
      | (?P<deprecated>![0-9]+(?:\.[0-9]+)*)
      | (?P<repeat>\.\.\.\+?)
      | (?P<mark>[\[\]<>{}|])
    )""",
    re.VERBOSE,
)

PURE_TOKEN = "pure-token"
ONEOF = "oneof"
BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Argument:
    """One node of the argument tree."""

    name: str
    type: str
    display: str = ""
    """Empty for blocks and choices."""
    token: str = ""
    since: str = ""
    since_shown: bool = True
    deprecated_since: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    arguments: tuple[Argument, ...] = ()


def parse(line: str) -> tuple[Argument, ...]:
    """The arguments that a syntax line describes. ValueError names what cannot be read."""
    reader = _Reader(line)
    items = reader.items()
    if reader.pos < len(reader.lexemes):
        raise ValueError(f"unexpected {reader.lexemes[reader.pos][1]!r} in {line!r}")
    return items


class _Reader:
    """Recursive descent over the lexemes of one line."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.pos = 0
        self.lexemes: list[tuple[str, str]] = []
        end = 0
        text = line.rstrip()
        while end < len(text):
            match = _LEXEME.match(text, end)
            if match is None or match.lastgroup is None:
                raise ValueError(f"cannot read {text[end:]!r} in {line!r}")
            self.lexemes.append((match.lastgroup, match[match.lastgroup]))
            end = match.end()

    def kind(self) -> str:
        return self.lexemes[self.pos][0] if self.pos < len(self.lexemes) else "end"

    def text(self) -> str:
        return self.lexemes[self.pos][1] if self.pos < len(self.lexemes) else ""

    def take(self, kind: str) -> str:
        """The text of the next lexeme if it is of this kind, else an empty string."""
        if self.kind() != kind:
            return ""
        self.pos += 1
        return self.lexemes[self.pos - 1][1]

    def expect(self, mark: str) -> None:
        if self.text() != mark:
            raise ValueError(f"expected {mark!r} before {self.text()!r} in {self.line!r}")
        self.pos += 1

    def items(self) -> tuple[Argument, ...]:
        """Items up to a closing mark or a ``|``."""
        found = []
        while self.kind() != "end" and self.text() not in ("]", ">", "}", "|"):
            found.append(self.item())
        return tuple(found)

    def item(self) -> Argument:
        label = self.take("label")
        argument = self.body(label)
        kind = self.take("type")
        if kind:
            argument = replace(argument, type=kind[1:])
        since = self.take("since")[1:]
        argument = replace(
            argument,
            since=since.strip("()") or argument.since,
            since_shown=argument.since_shown and not since.startswith("("),
            deprecated_since=self.take("deprecated")[1:] or argument.deprecated_since,
        )
        repeat = self.take("repeat")
        if repeat:
            argument = replace(argument, multiple=True, multiple_token=repeat.endswith("+"))
        return argument

    def body(self, label: str) -> Argument:
        if self.kind() in ("token", "quoted"):
            token = self.text()
            self.pos += 1
            if self.kind() in ("word", "label") or self.text() in ("<", "{"):
                inner_label = self.take("label") or label
                return replace(self.body(inner_label), token=token)
            name = label or token.lower()
            return Argument(name, PURE_TOKEN, display=name, token=token)
        if self.kind() == "word":
            return self.value(label)
        if self.text() == "[":
            self.pos += 1
            inner = self.group(label, "]")
            return replace(inner, optional=True)
        if self.text() == "<":
            self.pos += 1
            return self.group(label, ">")
        if self.text() == "{":
            self.pos += 1
            return self.group(label, "}", always_block=True)
        raise ValueError(f"unexpected {self.text()!r} in {self.line!r}")

    def value(self, label: str) -> Argument:
        word = self.take("word")
        name, paren, display = word.partition("(")
        shown = display[:-1] if paren else name
        return Argument(label or name, "key" if name == "key" else "string", display=shown)

    def group(self, label: str, closing: str, always_block: bool = False) -> Argument:
        """What stands between two brackets: a choice, a block, or a single item."""
        choices = [self.items()]
        while self.text() == "|":
            self.pos += 1
            choices.append(self.items())
        self.expect(closing)
        if any(len(choice) == 0 for choice in choices):
            raise ValueError(f"an empty group in {self.line!r}")
        if len(choices) > 1:
            members = tuple(_as_one(choice, "") for choice in choices)
            return Argument(label or members[0].name, ONEOF, arguments=members)
        if always_block:
            return Argument(label or choices[0][0].name, BLOCK, arguments=choices[0])
        return _as_one(choices[0], label)


def _as_one(items: tuple[Argument, ...], label: str) -> Argument:
    """One item as it is, several as a block."""
    if len(items) > 1:
        return Argument(label or items[0].name, BLOCK, arguments=items)
    return replace(items[0], name=label) if label else items[0]


def known_at(level: int, arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """The arguments that the version of that level knows; an emptied group goes, too."""
    known = (
        replace(argument, arguments=known_at(level, argument.arguments))
        for argument in arguments
        if level_of(argument.since or "0.0") <= level
    )
    return tuple(one for one in known if one.arguments or one.type not in (BLOCK, ONEOF))


def arity(arguments: tuple[Argument, ...]) -> tuple[int, bool]:
    """The fewest words the arguments take, and whether that is the only number."""
    least = 0
    fixed = True
    for argument in arguments:
        words, only = _words(argument)
        if argument.optional:
            fixed = False
        else:
            least += words
            fixed = fixed and only and not argument.multiple
    return least, fixed


def _words(argument: Argument) -> tuple[int, bool]:
    """The same for one argument, taken once and not left out."""
    token = 1 if argument.token else 0
    if argument.type == PURE_TOKEN:
        return 1, True
    if argument.type == BLOCK:
        least, fixed = arity(argument.arguments)
        return token + least, fixed
    if argument.type == ONEOF:
        sizes = [_words(choice) for choice in argument.arguments]
        least = min(
            0 if choice.optional else size
            for choice, (size, _) in zip(argument.arguments, sizes, strict=True)
        )
        same = all(only and size == least for size, only in sizes)
        return token + least, same and not any(choice.multiple for choice in argument.arguments)
    return token + 1, True


Sample = Callable[[Argument, Random], bytes]

_STRINGS: dict[str, tuple[bytes, ...]] = {
    "id": (b"0-1", b"5-0", b"7", b"9-*"),
    "start": (b"-", b"0", b"(1-1", b"5-3"),
    "end": (b"+", b"9-9", b"(8", b"5-3"),
    "threshold": (b"0", b"3", b"100"),
    "min-idle-time": (b"0", b"1000"),
    "lastid": (b"0-1", b"99-0"),
    "last-id": (b"0-1", b"99-0"),
    "max-deleted-id": (b"0-0", b"1-1"),
}


def sample(argument: Argument, random: Random) -> bytes:
    """A value that the argument's type, or for a string its name, suggests."""
    if argument.type == "key":
        return random.choice((b"k1", b"k2", b"k3"))
    if argument.type in ("integer", "unix-time"):
        return random.choice((b"1", b"2", b"10", b"100"))
    if argument.type == "double":
        return random.choice((b"0", b"0.5", b"10"))
    if argument.type == "pattern":
        return random.choice((b"*", b"k?", b"[a-z]*"))
    return random.choice(_STRINGS.get(argument.name, (b"a", b"b", b"STREAMS", b"")))


def example(arguments: tuple[Argument, ...], random: Random, value: Sample = sample) -> list[bytes]:
    """A call that obeys the syntax. Values repeated side by side come in the same number."""
    times = random.randint(1, 3)
    return list(_example(arguments, random, value, times))


def _example(
    arguments: tuple[Argument, ...], random: Random, value: Sample, times: int
) -> Iterator[bytes]:
    for argument in arguments:
        if argument.optional and random.random() < 0.5:
            continue
        for turn in range(times if argument.multiple else 1):
            if argument.token and (turn == 0 or argument.multiple_token):
                yield argument.token.encode()
            if argument.type == ONEOF:
                yield from _example((random.choice(argument.arguments),), random, value, times)
            elif argument.type == BLOCK:
                yield from _example(argument.arguments, random, value, times)
            elif argument.type != PURE_TOKEN:
                yield value(argument, random)
