"""Replies: Python values in, RESP2 or RESP3 bytes out.

What a handler returns is a value; what it looks like on the wire depends on the protocol the
client chose::

    value               RESP2                     RESP3
    int                 ':' num                   the same
    bytes               '$' len bytes             the same
    None                '$-1'                     '_'
    NULL_ARRAY          '*-1'                     '_'
    list, tuple         '*' n items               the same
    dict                '*' 2n items              '%' n items
    Set                 '*' n items               '~' n items
    bool                ':1' or ':0'              '#t' or '#f'
    float               '$' len text              ',' text
    Simple              '+' text                  the same
    Verbatim            '$' len text              '=' len+4 'txt:' text
    ReplyError          '-' line                  the same
    Raw                 bytes already encoded     the same

Rules: anything else is a bug and raises TypeError; an integer beyond 64 bits raises OverflowError.
Text of ``Simple`` holds no line end, its author sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cython

from lsmstore.buf import Buf
from respserver.errors import ReplyError


@cython.cclass
class Simple:
    """A status line such as ``+OK``."""

    def __init__(self, text: bytes) -> None:
        self.text = text


@cython.cclass
class Verbatim:
    """Text for people (INFO); a plain bulk string in RESP2."""

    def __init__(self, text: bytes) -> None:
        self.text = text


@cython.cclass
class Raw:
    """A reply that is already encoded."""

    def __init__(self, data: bytes) -> None:
        self.data = data


@cython.cclass
class Set:
    """Members without order; an array in RESP2."""

    def __init__(self, members: list[object]) -> None:
        self.members = members


@cython.cclass
class NullArray:
    """The type of ``NULL_ARRAY``."""


NULL_ARRAY = NullArray()
OK = Simple(b"OK")


def put_int(buf: Buf, value: cython.longlong) -> None:
    """Append a RESP integer."""
    if value >= 0:
        buf.put_head(58, value)
        return
    buf.put(b":-", 2)
    # The smallest integer has no positive twin: negate one less, as unsigned.
    buf.put_num(cython.cast(cython.ulonglong, -(value + 1)) + 1)
    buf.put(b"\r\n", 2)


def encode_members(members: Iterable[Any], proto: cython.int, buf: Buf) -> cython.int:
    """Append each member."""
    for member in members:
        encode(member, proto, buf)
    return 0


def encode(value: Any, proto: cython.int, buf: Buf) -> cython.int:
    """Append ``value`` as protocol ``proto`` (2 or 3) writes it."""
    kind = type(value)
    if kind is bytes:
        data: bytes = value
        buf.put_bulk(data, len(data))
    elif kind is int:
        put_int(buf, value)
    elif value is None:
        if proto == 2:
            buf.put(b"$-1\r\n", 5)
        else:
            buf.put(b"_\r\n", 3)
    elif kind is list or kind is tuple:
        buf.put_head(42, len(value))
        encode_members(value, proto, buf)
    elif kind is Simple:
        buf.put_byte(43)
        buf.put_bytes(cython.cast(Simple, value).text)
        buf.put(b"\r\n", 2)
    elif kind is dict:
        if proto == 2:
            buf.put_head(42, 2 * len(value))
        else:
            buf.put_head(37, len(value))
        for name, member in value.items():
            encode(name, proto, buf)
            encode(member, proto, buf)
    else:
        encode_other(value, proto, buf)
    return 0


def encode_other(value: Any, proto: cython.int, buf: Buf) -> cython.int:
    """The rarer values, and subclasses of the common ones."""
    text: bytes
    if isinstance(value, Raw):
        buf.put_bytes(cython.cast(Raw, value).data)
    elif isinstance(value, NullArray):
        if proto == 2:
            buf.put(b"*-1\r\n", 5)
        else:
            buf.put(b"_\r\n", 3)
    elif isinstance(value, ReplyError):
        buf.put_byte(45)
        buf.put_bytes(value.line)
        buf.put(b"\r\n", 2)
    elif isinstance(value, Verbatim):
        text = cython.cast(Verbatim, value).text
        if proto == 2:
            buf.put_bulk(text, len(text))
        else:
            buf.put_head(61, len(text) + 4)
            buf.put(b"txt:", 4)
            buf.put_bytes(text)
            buf.put(b"\r\n", 2)
    elif isinstance(value, Set):
        buf.put_head(42 if proto == 2 else 126, len(value.members))
        encode_members(value.members, proto, buf)
    elif isinstance(value, bool):
        if proto == 2:
            put_int(buf, 1 if value else 0)
        elif value:
            buf.put(b"#t\r\n", 4)
        else:
            buf.put(b"#f\r\n", 4)
    elif isinstance(value, float):
        text = double_text(value)
        if proto == 2:
            buf.put_bulk(text, len(text))
        else:
            buf.put_byte(44)
            buf.put_bytes(text)
            buf.put(b"\r\n", 2)
    elif isinstance(value, int):
        put_int(buf, value)
    else:
        raise TypeError(f"{type(value).__name__} is not a reply")
    return 0


def double_text(value: float) -> bytes:
    """A double as Redis prints it: whole numbers in full, others by their shortest digits, with an
    exponent only where it saves many zeros.
    """
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return text.encode()
    if abs(value) <= 1 << 62 and value == int(value):
        return b"%d" % int(value)
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or "0") - len(fraction)
    stripped = digits.rstrip("0")
    power += len(digits) - len(stripped)
    digits = stripped
    scientific = power + len(digits) - 1
    if power >= 0 and abs(scientific) < len(digits) + 7:
        plain = digits + "0" * power
    elif power < 0 and (power > -7 or abs(scientific) < 4):
        point = len(digits) + power
        plain = digits[:point] + "." + digits[point:] if point > 0 else "0." + "0" * -point + digits
    else:
        tail = "." + digits[1:] if len(digits) > 1 else ""
        plain = f"{digits[0]}{tail}e{'+' if scientific >= 0 else '-'}{abs(scientific)}"
    return (sign + plain).encode()
