"""Reading arguments: Redis' strict integers, and a cursor over the words of a command.

Numbers follow Redis' ``string2ll``: an optional ``-``, no ``+``, no spaces, no leading zeros, no
``-0``, and the range of a signed 64-bit integer. Option words are compared without regard to case.
"""

from __future__ import annotations

from collections.abc import Sequence

from respserver.errors import NOT_INT, SYNTAX, ReplyError

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
_INT64_DIGITS_MAX = 20


def parse_int(text: bytes) -> int | None:
    """The signed 64-bit integer that ``text`` is, or None."""
    if len(text) > _INT64_DIGITS_MAX:
        return None
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit():
        return None
    if digits[0] == 0x30 and len(text) > 1:
        return None
    value = int(text)
    return value if INT64_MIN <= value <= INT64_MAX else None


def need_int(text: bytes, refusal: bytes = NOT_INT) -> int:
    """The integer, or a refusal with the line given."""
    value = parse_int(text)
    if value is None:
        raise ReplyError(refusal)
    return value


def need_int_between(text: bytes, low: int, high: int, refusal: bytes | None = None) -> int:
    """An integer within ``low..high``; without a line of its own the refusal names the range."""
    value = parse_int(text)
    if value is None:
        raise ReplyError(NOT_INT if refusal is None else refusal)
    if not low <= value <= high:
        if refusal is None:
            raise ReplyError(
                b"ERR value is out of range, value must between %d and %d" % (low, high)
            )
        raise ReplyError(refusal)
    return value


class Args:
    """A cursor over ``argv``. Running out of words is Redis' syntax error."""

    __slots__ = ("argv", "pos")

    def __init__(self, argv: Sequence[bytes], start: int = 1) -> None:
        self.argv = argv
        self.pos = start

    @property
    def left(self) -> int:
        """Words not yet taken."""
        return len(self.argv) - self.pos

    def take(self) -> bytes:
        """The next word."""
        if self.pos >= len(self.argv):
            raise ReplyError(SYNTAX)
        word = self.argv[self.pos]
        self.pos += 1
        return word

    def take_option(self) -> bytes:
        """The next word in upper case, to be compared with option names."""
        return self.take().upper()

    def take_int(self) -> int:
        """The next word as an integer."""
        return need_int(self.take())
