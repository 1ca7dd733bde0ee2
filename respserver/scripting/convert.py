"""Values between Redis and Lua: replies in, what scripts return out.

``into_lua`` reads one reply in wire form. As in Redis: a bulk string is a string, an integer a
number, an array a table, a status or error a table with ``ok`` or ``err``, a null ``false`` (RESP3:
``nil``); RESP3 maps, sets, doubles, big numbers and verbatim strings are tables with one field.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from respserver.args import INT64_MAX, INT64_MIN
from respserver.errors import ReplyError
from respserver.replies import Raw, Set, Simple, Verbatim

Make = Callable[[dict[Any, Any]], Any]
Get = Callable[[Any, Any], Any]
DEPTH_MAX = 200
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class Reader:
    """Turns a reply in wire form into a Lua value."""

    def __init__(self, data: bytes, make: Make) -> None:
        self._data = data
        self._at = 0
        self._make = make

    def value(self) -> Any:
        """The next reply."""
        end = self._data.index(b"\r\n", self._at)
        kind, rest = self._data[self._at : self._at + 1], self._data[self._at + 1 : end]
        self._at = end + 2
        if kind == b":":
            return int(rest)
        if kind in b"$=":
            if rest == b"-1":
                return False
            text = self._data[self._at : self._at + int(rest)]
            self._at += int(rest) + 2
            if kind == b"=":
                parts = self._make({b"format": text[:3], b"string": text[4:]})
                return self._make({b"verbatim_string": parts})
            return text
        if kind == b"*" or kind == b">":
            if rest == b"-1":
                return False
            return self._make({at + 1: self.value() for at in range(int(rest))})
        if kind == b"%":
            pairs = {}
            for _ in range(int(rest)):
                name = self.value()
                pairs[name] = self.value()
            return self._make({b"map": self._make(pairs)})
        if kind == b"~":
            members = {self.value(): True for _ in range(int(rest))}
            return self._make({b"set": self._make(members)})
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return self._make({b"double": float(rest)})
        if kind == b"(":
            return self._make({b"big_number": rest})
        return self._make({b"ok" if kind == b"+" else b"err": rest})


def argument(value: Any) -> bytes | None:
    """An argument of redis.call as a word; None if it is neither a string nor a number."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return b"%d" % value
    if math.isfinite(value) and value == int(value) and abs(value) < 1e17:
        return b"%d" % int(value)
    return (b"%.17g" % value) if float(repr(value)) != value else repr(value).encode()


def out_of_lua(
    value: Any, is_table: Callable[[Any], bool], get: Get, proto: int, depth: int = 0
) -> Any:
    """What a script returned, as a reply. ``proto`` is what the script chose by setresp.

    ``get`` reads a table as ``rawget`` does: the script has ended, and none of its functions runs.
    """
    if depth > DEPTH_MAX:
        return ReplyError(b"ERR reached lua stack limit")
    if value is None:
        return None
    if isinstance(value, bool):
        if proto > 2:
            return value
        return 1 if value else None
    if isinstance(value, int | float):
        return _integer(value)
    if isinstance(value, bytes):
        return value
    if not is_table(value):
        return None
    return _table(value, is_table, get, proto, depth)


def _table(value: Any, is_table: Callable[[Any], bool], get: Get, proto: int, depth: int) -> Any:
    def inner(member: Any) -> Any:
        return out_of_lua(member, is_table, get, proto, depth + 1)

    err = get(value, b"err")
    if isinstance(err, bytes):
        return ReplyError(err)
    ok = get(value, b"ok")
    if isinstance(ok, bytes):
        return Simple(ok.translate(_LINE_ENDS))
    double = get(value, b"double")
    if isinstance(double, int | float) and not isinstance(double, bool):
        return float(double)
    pairs = get(value, b"map")
    if is_table(pairs):
        return _Map([(inner(name), inner(member)) for name, member in pairs.items()])
    members = get(value, b"set")
    if is_table(members):
        return Set([inner(member) for member in members.keys()])  # noqa: SIM118 - of Lua
    big = get(value, b"big_number")
    if isinstance(big, bytes):
        return _Big(big.translate(_LINE_ENDS))
    verbatim = get(value, b"verbatim_string")
    if is_table(verbatim) and isinstance(text := get(verbatim, b"string"), bytes):
        return _verbatim(get(verbatim, b"format"), text)
    found = []
    at = 1
    while (member := get(value, at)) is not None:
        found.append(inner(member))
        at += 1
    return found


def _integer(value: float) -> int:
    """A number without its fraction, in the range that C gives it."""
    if value != value or not INT64_MIN <= value <= INT64_MAX:  # noqa: PLR0124 - not a number
        return INT64_MIN
    return int(value)


class _Map:
    """A map whose keys are replies of any kind."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs


class _Big:
    """A number too big for an integer."""

    def __init__(self, text: bytes) -> None:
        self.text = text


def _verbatim(form: Any, text: bytes) -> Any:
    if form == b"txt":
        return Verbatim(text)
    return _Text(form if isinstance(form, bytes) else b"txt", text)


class _Text:
    """Verbatim text of a format other than txt."""

    def __init__(self, form: bytes, text: bytes) -> None:
        self.form = form
        self.text = text


def flatten(value: Any, proto: int) -> Any:
    """The reply for a client of protocol ``proto``: what it has no type for becomes what it has."""
    if isinstance(value, list):
        return [flatten(member, proto) for member in value]
    if isinstance(value, Set):
        return Set([flatten(member, proto) for member in value.members])
    if isinstance(value, _Map):
        return _map(value, proto)
    if isinstance(value, _Big):
        return Raw(b"(" + value.text + b"\r\n") if proto > 2 else value.text
    if isinstance(value, _Text):
        if proto == 2:
            return value.text
        return Raw(b"=%d\r\n%b:%b\r\n" % (len(value.text) + 4, value.form[:3], value.text))
    return value


def _map(value: _Map, proto: int) -> Any:
    pairs = [(flatten(name, proto), flatten(member, proto)) for name, member in value.pairs]
    if proto == 2:
        return [part for pair in pairs for part in pair]
    if all(isinstance(name, bytes | int) for name, _ in pairs):
        return dict(pairs)
    return [list(pair) for pair in pairs]
