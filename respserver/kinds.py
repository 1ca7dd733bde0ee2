"""Kinds of settings: how a value is read from text, printed again and described.

Every source of settings speaks text (a TOML value is turned into it first), so there is one
parser a kind. A refusal is a ValueError whose words are those of Redis' CONFIG SET, because
that is where most of them are read.

Grammar::

    yes/no    := 'yes' | 'no'                            letter case does not matter
    integer   := '0' | ['-'] [1-9] [0-9]*                no sign '+', no leading zeros, no spaces
    memory    := [0-9]+ ['b'|'k'|'kb'|'m'|'mb'|'g'|'gb'] k = 1000, kb = 1024, and so on
    addresses := address (' ' address)*                  '-' before one: may be missing
    limits    := (class hard soft seconds)*              class: normal, replica or slave, pubsub
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from typing import Final, Generic, NamedTuple, TypeVar

from respserver.eventclasses import read_classes, show_classes
from respserver.version import NEWEST, OLDEST, level_of

T = TypeVar("T")

INT64_MAX: Final = (1 << 63) - 1
INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
DIGITS: Final = re.compile(r"[0-9]{1,10}")
MEMORY: Final = re.compile(r"([0-9]{1,19})([a-z]*)", re.IGNORECASE)
PERMISSIONS: Final = re.compile("[0-7]{1,3}")
SURROGATE: Final = re.compile("[\ud800-\udfff]")  # stands for a byte that is no UTF-8
MEMORY_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": 1 << 20,
    "g": 1000**3,
    "gb": 1 << 30,
}


def memory_bytes(text: str) -> int | None:
    """The number of bytes that ``64mb`` and the like mean; None if it is no such text."""
    found = MEMORY.fullmatch(text)
    if found is None or found[2].lower() not in MEMORY_UNITS:
        return None
    return int(found[1]) * MEMORY_UNITS[found[2].lower()]


def memory_text(size: int) -> str:
    """The shortest text that means ``size`` bytes."""
    for unit in ("gb", "mb", "kb"):
        if size >= MEMORY_UNITS[unit] and size % MEMORY_UNITS[unit] == 0:
            return f"{size // MEMORY_UNITS[unit]}{unit}"
    return str(size)


class Kind(ABC, Generic[T]):
    """What a value of a setting may be."""

    secret: bool = False

    @abstractmethod
    def parse(self, text: str, current: T) -> T:
        """The value that ``text`` means. Raises ValueError with Redis' words.

        ``current`` matters only where text may speak of a part of the value.
        """

    def show(self, value: T) -> str:
        """The value as CONFIG GET prints it."""
        return str(value)

    @abstractmethod
    def describe(self) -> str:
        """What may be written, for help and documentation."""

    def example(self, value: T) -> str:
        """The value as one would write it in a file."""
        return self.show(value)


class Switch(Kind[bool]):
    """yes or no."""

    def parse(self, text: str, current: bool) -> bool:
        """True for yes."""
        if text.lower() not in {"yes", "no"}:
            raise ValueError("argument must be 'yes' or 'no'")
        return text.lower() == "yes"

    def show(self, value: bool) -> str:
        """The word."""
        return "yes" if value else "no"

    def describe(self) -> str:
        """Both words."""
        return "yes | no"


class EventClasses(Kind[str]):
    """Letters that choose keyspace events."""

    def parse(self, text: str, current: str) -> str:
        """The letters, each once, in the order in which they are shown."""
        return read_classes(text)

    def show(self, value: str) -> str:
        """With ``A`` for all that it stands for."""
        return show_classes(value)

    def describe(self) -> str:
        """The letters."""
        return "letters of A g $ l s h z x e K E t m d n o c"


class RedisVersion(Kind[str]):
    """A version of Redis whose words are known here."""

    def parse(self, text: str, current: str) -> str:
        """The version, as it is printed."""
        try:
            level = level_of(text)
        except ValueError:
            level = 0
        if text.count(".") != 2 or not OLDEST <= level <= NEWEST:
            raise ValueError("argument must be a version from 7.4.0 to 8.10.255")
        return text

    def describe(self) -> str:
        """From the oldest to the newest."""
        return "version, 7.4.0 to 8.10.255"


class Integer(Kind[int]):
    """A whole number within bounds."""

    def __init__(self, low: int = 0, high: int = INT64_MAX) -> None:
        self.low = low
        self.high = high

    def parse(self, text: str, current: int) -> int:
        """The number."""
        if INTEGER.fullmatch(text) is None or not -INT64_MAX - 1 <= int(text) <= INT64_MAX:
            raise ValueError("argument couldn't be parsed into an integer")
        return self.within(int(text))

    def within(self, value: int) -> int:
        """``value``, unless it is out of bounds."""
        if not self.low <= value <= self.high:
            raise ValueError(f"argument must be between {self.low} and {self.high} inclusive")
        return value

    def describe(self) -> str:
        """The bounds."""
        if self.high >= INT64_MAX:
            return f"integer, {self.low} or more"
        return f"integer, {self.low} to {self.high}"


class Memory(Integer):
    """A number of bytes, written ``64mb`` or plain."""

    def parse(self, text: str, current: int) -> int:
        """The number of bytes."""
        size = memory_bytes(text)
        if size is None:
            raise ValueError("argument must be a memory value")
        return self.within(size)

    def describe(self) -> str:
        """The lower bound; the upper one is out of reach."""
        return f"size such as 64mb or 1gb, {memory_text(self.low)} or more"

    def example(self, value: int) -> str:
        """With a unit."""
        return memory_text(value)


class Choice(Kind[str]):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def parse(self, text: str, current: str) -> str:
        """The word in lower case."""
        if text.lower() not in self.words:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(self.words)}")
        return text.lower()

    def describe(self) -> str:
        """The words."""
        return " | ".join(self.words)


class Text(Kind[str]):
    """Any text without line breaks and NUL."""

    def __init__(self, *, empty: bool = True) -> None:
        self.empty = empty

    def parse(self, text: str, current: str) -> str:
        """The text as it is."""
        if not text and not self.empty:
            raise ValueError("argument must not be empty")
        if any(mark in text for mark in "\0\r\n"):
            raise ValueError("argument must not contain line breaks or NUL")
        if SURROGATE.search(text):
            raise ValueError("argument must be UTF-8")
        return text

    def describe(self) -> str:
        """One word."""
        return "text"


class Secret(Text):
    """Text that no message, log or representation shows."""

    secret = True

    def describe(self) -> str:
        """Says what becomes of it."""
        return "text, never shown in messages"


class Directory(Text):
    """A directory; CONFIG GET shows it from the root."""

    def show(self, value: str) -> str:
        """The absolute path."""
        return os.path.abspath(value)

    def describe(self) -> str:
        """One word."""
        return "path"

    def example(self, value: str) -> str:
        """As it was given."""
        return value


class Octal(Kind[int]):
    """Permissions of a file."""

    def parse(self, text: str, current: int) -> int:
        """The number."""
        if PERMISSIONS.fullmatch(text) is None:
            raise ValueError("argument must be between 0 and 777 inclusive")
        return int(text, 8)

    def show(self, value: int) -> str:
        """In octal digits."""
        return f"{value:o}"

    def describe(self) -> str:
        """The form."""
        return "octal digits, 0 to 777"


class Percentiles(Kind[tuple[float, ...]]):
    """Percentiles, separated by spaces."""

    def parse(self, text: str, current: tuple[float, ...]) -> tuple[float, ...]:
        """The numbers in the order given."""
        try:
            found = tuple(float(word) for word in text.split())
        except ValueError:
            raise ValueError("Invalid latency-tracking-info-percentiles parameters") from None
        if not all(0 <= value <= 100 for value in found):  # NaN is not, either
            raise ValueError(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
            )
        return found

    def show(self, value: tuple[float, ...]) -> str:
        """The shortest form of each."""
        return " ".join(f"{percent:g}" for percent in value)

    def describe(self) -> str:
        """The form."""
        return "numbers from 0 to 100, separated by spaces"


class Addresses(Kind[tuple[str, ...]]):
    """Addresses to listen on, separated by spaces; ``-`` before one: it may be missing."""

    MAX: Final = 16

    def parse(self, text: str, current: tuple[str, ...]) -> tuple[str, ...]:
        """The addresses in the order given."""
        addresses = tuple(text.split())
        if not addresses or any(address.lstrip("-") == "" for address in addresses):
            raise ValueError("argument must name at least one address")
        if len(addresses) > self.MAX:
            raise ValueError("Too many bind addresses specified.")
        return addresses

    def show(self, value: tuple[str, ...]) -> str:
        """The addresses, separated by spaces."""
        return " ".join(value)

    def describe(self) -> str:
        """The form."""
        return "addresses, separated by spaces; `-` before one: it may be missing"


class Limit(NamedTuple):
    """When a client that does not read its replies is closed; 0 is never."""

    hard_bytes: int
    soft_bytes: int
    soft_seconds: int


Limits = dict[str, Limit]
CLIENT_CLASSES: Final = {
    "normal": "normal",
    "replica": "slave",
    "slave": "slave",
    "pubsub": "pubsub",
}


class OutputLimits(Kind[Limits]):
    """Limits of output buffers by class of client; classes that are not named stay as they are."""

    def parse(self, text: str, current: Limits) -> Limits:
        """All limits, with those that ``text`` names changed."""
        words = text.split()
        if len(words) % 4:
            raise ValueError("Wrong number of arguments in buffer limit configuration.")
        changed = dict(current)
        for at in range(0, len(words), 4):
            client, hard, soft, seconds = words[at : at + 4]
            if client.lower() not in CLIENT_CLASSES:
                raise ValueError("Invalid client class specified in buffer limit configuration.")
            hard_bytes, soft_bytes = memory_bytes(hard), memory_bytes(soft)
            if hard_bytes is None or soft_bytes is None or not DIGITS.fullmatch(seconds):
                raise ValueError(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                )
            changed[CLIENT_CLASSES[client.lower()]] = Limit(hard_bytes, soft_bytes, int(seconds))
        return changed

    def show(self, value: Limits) -> str:
        """All classes in Redis' order."""
        return " ".join(
            f"{client} {limit.hard_bytes} {limit.soft_bytes} {limit.soft_seconds}"
            for client, limit in value.items()
        )

    def example(self, value: Limits) -> str:
        """With units."""
        return " ".join(
            f"{client} {memory_text(limit.hard_bytes)} {memory_text(limit.soft_bytes)} "
            f"{limit.soft_seconds}"
            for client, limit in value.items()
        )

    def describe(self) -> str:
        """The form."""
        return "class hard soft seconds ..., class: normal, replica or pubsub"
