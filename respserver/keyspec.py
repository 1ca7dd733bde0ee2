"""Where the keys of a command are among its arguments.

A key spec is what ``COMMAND INFO`` prints (where to begin, how to go on, what is done with the
keys) and can find the keys of one call. "After STREAMS" is found by walking the options in order,
each with the words that belong to it: a group or a consumer may be called ``STREAMS``. A word that
is no option is passed over, as in Redis: what it makes of the call is for the command to say.

Key flags: one of ``RO RW OW RM`` (read, read and write, overwrite, remove), then any of
``access update insert delete not_key incomplete variable_flags``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from respserver.args import parse_int


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Keys at fixed places: from ``first``, every ``step``, to ``last``.

    ``last`` counts from ``first``, or from the end of the arguments if negative (-1 is the last
    argument).
    """

    first: int
    last: int
    step: int
    flags: tuple[str, ...]
    notes: str = ""
    variable: Callable[[Sequence[bytes]], tuple[str, ...]] | None = None
    """What one call does with its keys, where that depends on its options."""

    def flags_of(self, argv: Sequence[bytes]) -> tuple[str, ...]:
        """What the call does with its keys."""
        return self.flags if self.variable is None else self.variable(argv)

    def find(self, argv: Sequence[bytes]) -> list[int]:
        """Positions of the keys in ``argv``; empty if the call has none."""
        last = self.first + self.last if self.last >= 0 else len(argv) + self.last
        if last >= len(argv):
            return []
        return list(range(self.first, last + 1, self.step))


@dataclass(frozen=True, slots=True)
class KeysAfter:
    """Keys in the first half of what follows a word: ``STREAMS k1 k2 id1 id2``.

    ``start`` is what ``COMMAND INFO`` prints as ``startfrom``, the first place where the word is
    looked for; ``options`` says how many words each option before it takes with it.
    """

    word: bytes
    start: int
    options: Mapping[bytes, int]
    flags: tuple[str, ...]
    notes: str = ""

    def flags_of(self, argv: Sequence[bytes]) -> tuple[str, ...]:
        """What the call does with its keys."""
        return self.flags

    def find(self, argv: Sequence[bytes]) -> list[int]:
        """Positions of the keys in ``argv``; a word that has no partner is none of them."""
        pos = 1
        while pos < len(argv):
            option = argv[pos].upper()
            if option == self.word and pos >= self.start:
                count = (len(argv) - pos - 1) // 2
                return list(range(pos + 1, pos + 1 + count))
            pos += 1 + self.options.get(option, 0)
        return []


@dataclass(frozen=True, slots=True)
class CountedKeys:
    """Keys behind a number that says how many there are (``numkeys key [key ...]``)."""

    count_at: int
    flags: tuple[str, ...]
    notes: str = ""
    step: int = 1

    def flags_of(self, argv: Sequence[bytes]) -> tuple[str, ...]:
        """What the call does with its keys."""
        return self.flags

    def find(self, argv: Sequence[bytes]) -> list[int]:
        """Positions of the keys in ``argv``; empty if the number does not fit the arguments."""
        if self.count_at >= len(argv):
            return []
        count = parse_int(argv[self.count_at])
        if count is None or count <= 0:
            return []
        first = self.count_at + 1
        last = first + (count - 1) * self.step
        return [] if last >= len(argv) else list(range(first, last + 1, self.step))


AnyKeySpec = KeySpec | KeysAfter | CountedKeys


def one_key(
    flags: str,
    at: int = 1,
    notes: str = "",
    variable: Callable[[Sequence[bytes]], tuple[str, ...]] | None = None,
) -> KeySpec:
    """A single key."""
    return KeySpec(at, 0, 1, tuple(flags.split()), notes, variable)


def all_keys(flags: str, at: int = 1) -> KeySpec:
    """Every argument from ``at`` on is a key."""
    return KeySpec(at, -1, 1, tuple(flags.split()))


def keys_after_streams(flags: str, start: int) -> KeysAfter:
    """``[options] STREAMS key... id...`` of XREAD and XREADGROUP."""
    options = {
        b"COUNT": 1,
        b"BLOCK": 1,
        b"GROUP": 2,
        b"CLAIM": 1,
        b"MAXCOUNT": 1,
        b"MAXSIZE": 1,
    }
    return KeysAfter(b"STREAMS", start, options, tuple(flags.split()))


def counted_keys(flags: str, count_at: int) -> CountedKeys:
    """``numkeys key [key ...]`` with the number at ``count_at``."""
    return CountedKeys(count_at, tuple(flags.split()))
