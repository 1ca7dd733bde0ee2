"""cjson, struct, bit and cmsgpack of scripts.

Rules: a function gets the arguments of Lua and gives back a list of results; a LibraryError is
what the script sees. Tables are arrays where their keys are 1..n, as the libraries of Redis
see them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, Literal, Protocol

DEPTH_MAX = 1000


class LibraryError(ValueError):
    """What the script sees as the error of a library."""


class Tables(Protocol):
    """How tables are made and recognised."""

    null: Any

    def make(self, pairs: dict[Any, Any]) -> Any:
        """A Lua table."""

    def is_table(self, value: Any) -> bool:
        """Whether a value is one."""

    def is_null(self, value: Any) -> bool:
        """Whether a value is cjson.null."""


def plain_number(value: float) -> int | float:
    """Whole numbers without a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Libraries:
    """The functions by name."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.functions: dict[bytes, Callable[..., list[Any]]] = {
            b"cjson.encode": self.json_encode,
            b"cjson.decode": self.json_decode,
            b"cmsgpack.pack": self.msgpack_pack,
            b"cmsgpack.unpack": self.msgpack_unpack,
            b"cmsgpack.unpack_one": self.msgpack_unpack_one,
            b"cmsgpack.unpack_limit": self.msgpack_unpack_limit,
            b"struct.pack": struct_pack,
            b"struct.unpack": struct_unpack,
            b"struct.size": struct_size,
            **BIT,
        }
        for name in (
            "encode_sparse_array", "encode_max_depth", "decode_max_depth",
            "encode_number_precision", "encode_keep_buffer", "encode_invalid_numbers",
            "decode_invalid_numbers", "decode_array_with_array_mt",
        ):  # fmt: skip
            self.functions[b"cjson." + name.encode()] = unchangeable

    # ── cjson ────────────────────────────────────────────────────────────────────────────────────

    def json_encode(self, *args: Any) -> list[Any]:
        """A value as JSON."""
        if len(args) != 1:
            raise LibraryError("bad argument #1 to 'encode' (expected 1 argument)")
        parts: list[bytes] = []
        self._put_json(args[0], parts, 0)
        return [b"".join(parts)]

    def _put_json(self, value: Any, parts: list[bytes], depth: int) -> None:
        if depth > DEPTH_MAX:
            raise LibraryError(f"Cannot serialise, excessive depth ({depth})")
        if value is None or self._tables.is_null(value):
            parts.append(b"null")
        elif isinstance(value, bool):
            parts.append(b"true" if value else b"false")
        elif isinstance(value, int | float):
            parts.append(json_number(value))
        elif isinstance(value, bytes):
            parts.append(json_string(value))
        elif self._tables.is_table(value):
            self._put_json_table(value, parts, depth)
        else:
            raise LibraryError("Cannot serialise function: type not supported")

    def _put_json_table(self, value: Any, parts: list[bytes], depth: int) -> None:
        pairs = list(value.items())
        length = array_length(pairs)
        if length > 0:
            found = dict(pairs)
            if length > 10 and length > 2 * len(pairs):
                raise LibraryError("Cannot serialise table: excessively sparse array")
            for at in range(1, length + 1):
                parts.append(b"," if at > 1 else b"[")
                self._put_json(found.get(at), parts, depth + 1)
            parts.append(b"]")
            return
        parts.append(b"{")
        for at, (name, member) in enumerate(pairs):
            if at:
                parts.append(b",")
            if isinstance(name, bytes):
                parts.append(json_string(name))
            elif isinstance(name, int | float) and not isinstance(name, bool):
                parts.append(b'"' + json_number(name) + b'"')
            else:
                raise LibraryError("Cannot serialise table: table key must be a number or string")
            parts.append(b":")
            self._put_json(member, parts, depth + 1)
        parts.append(b"}")

    def json_decode(self, *args: Any) -> list[Any]:
        """The value that JSON text means."""
        if len(args) != 1 or not isinstance(args[0], bytes):
            raise LibraryError("bad argument #1 to 'decode' (string expected)")
        try:
            value = json.loads(args[0].decode("utf-8", "surrogateescape"))
        except json.JSONDecodeError as error:
            raise LibraryError(
                f"Expected value but found invalid token at character {error.pos + 1}"
            ) from None
        except RecursionError:
            raise LibraryError("Found too many nested data structures (1001)") from None
        return [self._from_json(value)]

    def _from_json(self, value: Any) -> Any:
        if value is None:
            return self._tables.null
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        if isinstance(value, int) and not isinstance(value, bool):
            return value if abs(value) < 1 << 53 else float(value)
        if isinstance(value, list):
            return self._tables.make({at + 1: self._from_json(m) for at, m in enumerate(value)})
        if isinstance(value, dict):
            return self._tables.make(
                {self._from_json(name): self._from_json(m) for name, m in value.items()}
            )
        return value

    # ── cmsgpack ─────────────────────────────────────────────────────────────────────────────────

    def msgpack_pack(self, *args: Any) -> list[Any]:
        """Values one behind the other."""
        if not args:
            raise LibraryError("bad argument #0 to 'pack' (MessagePack pack needs input.)")
        return [b"".join(self._pack(value, 0) for value in args)]

    def _pack(self, value: Any, depth: int) -> bytes:
        if value is None or depth > 16 or self._tables.is_null(value):
            return b"\xc0"
        if isinstance(value, bool):
            return b"\xc3" if value else b"\xc2"
        if isinstance(value, float):
            value = plain_number(value)
        if isinstance(value, int):
            return pack_integer(value)
        if isinstance(value, float):
            short = struct.pack(">f", value) if abs(value) < 3e38 else b""
            if short and struct.unpack(">f", short)[0] == value:
                return b"\xca" + short
            return b"\xcb" + struct.pack(">d", value)
        if isinstance(value, bytes):
            return pack_head(len(value), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + value
        if not self._tables.is_table(value):
            return b"\xc0"
        pairs = list(value.items())
        if array_length(pairs) == len(pairs):
            found = dict(pairs)
            head = pack_head(len(pairs), 0x90, 16, (0, 0xDC, 0xDD))
            return head + b"".join(
                self._pack(found[at], depth + 1) for at in range(1, len(pairs) + 1)
            )
        head = pack_head(len(pairs), 0x80, 16, (0, 0xDE, 0xDF))
        return head + b"".join(
            self._pack(name, depth + 1) + self._pack(member, depth + 1) for name, member in pairs
        )

    def msgpack_unpack(self, *args: Any) -> list[Any]:
        """All values of the bytes."""
        data = _packed(args)
        found, at = [], 0
        while at < len(data):
            value, at = self._unpack(data, at, 0)
            found.append(value)
        return found

    def msgpack_unpack_one(self, *args: Any) -> list[Any]:
        """Where to go on (-1: at the end), and the value at an offset."""
        return self.msgpack_unpack_limit(args[0] if args else None, 1, *args[1:])

    def msgpack_unpack_limit(self, *args: Any) -> list[Any]:
        """Where to go on (-1: at the end), and so many values from an offset."""
        data = _packed(args)
        limit = int(args[1]) if len(args) > 1 else 0
        at = int(args[2]) if len(args) > 2 else 0
        if limit < 0 or at < 0 or at > len(data):
            raise LibraryError(f"Start offset {at} greater than input length {len(data)}.")
        found: list[Any] = []
        while at < len(data) and len(found) < limit:
            value, at = self._unpack(data, at, 0)
            found.append(value)
        return [-1 if at >= len(data) else at, *found]

    def _unpack(self, data: bytes, at: int, depth: int) -> tuple[Any, int]:
        if depth > DEPTH_MAX:
            raise LibraryError("Too deep nesting in input.")
        try:
            return self._unpack_one(data, at, depth)
        except (struct.error, IndexError):
            raise LibraryError("Missing bytes in input.") from None

    def _unpack_one(self, data: bytes, at: int, depth: int) -> tuple[Any, int]:
        head = data[at]
        at += 1
        if head < 0x80 or head >= 0xE0:
            return (head if head < 0x80 else head - 256), at
        if head in {0xC0, 0xC2, 0xC3}:
            return {0xC0: None, 0xC2: False, 0xC3: True}[head], at
        if head in NUMBERS:
            form = NUMBERS[head]
            (value,) = struct.unpack_from(form, data, at)
            return plain_number(value), at + struct.calcsize(form)
        kind, size, at = read_head(data, head, at)
        if kind == "text":
            if at + size > len(data):
                raise LibraryError("Missing bytes in input.")
            return data[at : at + size], at + size
        pairs: dict[Any, Any] = {}
        for place in range(1, size + 1):
            name: Any = place
            if kind == "map":
                name, at = self._unpack(data, at, depth + 1)
            value, at = self._unpack(data, at, depth + 1)
            if name is not None:
                pairs[name] = value
        return self._tables.make(pairs), at


NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
HEADS = {
    0xC4: ("text", ">B"), 0xC5: ("text", ">H"), 0xC6: ("text", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip


def read_head(data: bytes, head: int, at: int) -> tuple[str, int, int]:
    """Kind and size of a string, array or map, and where it begins."""
    if head < 0x90:
        return "map", head & 15, at
    if head < 0xA0:
        return "array", head & 15, at
    if head < 0xC0:
        return "text", head & 31, at
    if head not in HEADS:
        raise LibraryError("Bad data format in input.")
    kind, form = HEADS[head]
    (size,) = struct.unpack_from(form, data, at)
    return kind, size, at + struct.calcsize(form)


def pack_head(size: int, small: int, small_max: int, heads: tuple[int, int, int]) -> bytes:
    """The head of a string, array or map."""
    if size < small_max:
        return bytes([small | size])
    if size < 256 and heads[0]:
        return bytes([heads[0], size])
    if size < 65536:
        return struct.pack(">BH", heads[1], size)
    return struct.pack(">BI", heads[2], size)


def pack_integer(value: int) -> bytes:
    """The shortest form of an integer."""
    if -32 <= value < 128:
        return struct.pack(">b", value) if value < 0 else bytes([value])
    forms = ((0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"))
    if value < 0:
        forms = ((0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"))
    for head, form in forms:
        try:
            return bytes([head]) + struct.pack(form, value)
        except struct.error:
            continue
    return b"\xcb" + struct.pack(">d", value)


def _packed(args: tuple[Any, ...]) -> bytes:
    if not args or not isinstance(args[0], bytes):
        raise LibraryError("bad argument #1 to 'unpack' (string expected)")
    return args[0]


def unchangeable(*_args: Any) -> list[Any]:
    """Settings of cjson hold for all scripts: nobody changes them."""
    raise LibraryError("settings of cjson cannot be changed here")


def array_length(pairs: list[tuple[Any, Any]]) -> int:
    """The largest key where all are whole numbers from 1 on, else -1; 0 for an empty table."""
    largest = 0
    for name, _ in pairs:
        if not isinstance(name, int) or isinstance(name, bool) or name < 1:
            return -1
        largest = max(largest, name)
    return largest


def json_number(value: float) -> bytes:
    """A number as cjson prints it: 14 digits."""
    if math.isinf(value) or math.isnan(value):
        raise LibraryError("Cannot serialise number: must not be NaN or Infinity")
    return b"%.14g" % value


JSON_ESCAPES = {
    **{byte: b"\\u%04x" % byte for byte in range(32)},
    8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r",
    0x22: b'\\"', 0x2F: b"\\/", 0x5C: b"\\\\", 0x7F: b"\\u007f",
}  # fmt: skip


def json_string(text: bytes) -> bytes:
    """A string in quotes."""
    return b'"' + b"".join(JSON_ESCAPES.get(byte) or bytes([byte]) for byte in text) + b'"'


# ── struct ───────────────────────────────────────────────────────────────────────────────────────

SIZES = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "i": 4, "I": 4, "f": 4, "d": 8}
ALIGN_MAX = 16


class Layout:
    """A walk over a format: byte order, alignment, and one option after the other."""

    def __init__(self, form: Any) -> None:
        if not isinstance(form, bytes):
            raise LibraryError("bad argument #1 (format string expected)")
        self._text = form.decode("latin-1")
        self._at = 0
        self.order: Literal["little", "big"] = "little"
        self.align = 1

    def options(self) -> Any:
        """(option, size) of each thing to be packed."""
        while self._at < len(self._text):
            option = self._text[self._at]
            self._at += 1
            if option == " ":
                continue
            if option in "<>":
                self.order = "little" if option == "<" else "big"
            elif option == "!":
                self.align = self._number(8)
                if self.align & (self.align - 1) or self.align == 0:
                    raise LibraryError("alignment is not a power of 2")
            elif option in "iI":
                size = self._number(4)
                if size > 32:
                    raise LibraryError(f"integral size {size} is larger than limit of 32")
                yield option, size
            elif option == "c":
                yield option, self._number(1)
            elif option in "xs":
                yield option, 1 if option == "x" else 0
            elif option in SIZES:
                yield option, SIZES[option]
            else:
                raise LibraryError(f"invalid format option '{option}'")

    def _number(self, default: int) -> int:
        start = self._at
        while self._at < len(self._text) and self._text[self._at].isdigit():
            self._at += 1
        digits = self._text[start : self._at]
        if len(digits) > 9:
            raise LibraryError("integral size overflow")
        return int(digits) if digits else default

    def padding(self, option: str, size: int, total: int) -> int:
        """Bytes before an option for its alignment."""
        if size == 0 or option in "cxs" or size & (size - 1):
            return 0
        return -total % min(size, self.align)


def struct_pack(*args: Any) -> list[Any]:
    """Values packed by a format."""
    layout, out = Layout(args[0] if args else None), bytearray()
    values = iter(args[1:])
    for option, size in layout.options():
        out += bytes(layout.padding(option, size, len(out)))
        if option == "x":
            out += b"\0"
            continue
        value = next(values, None)
        if option in "sc":
            if not isinstance(value, bytes):
                raise LibraryError("bad argument (string expected)")
            size = size or len(value)
            if option == "c" and len(value) < size:
                raise LibraryError("string too short")
            out += value + b"\0" if option == "s" else value[:size]
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LibraryError("bad argument (number expected)")
        if option in "fd":
            out += struct.pack(("<" if layout.order == "little" else ">") + option, value)
        else:
            out += (int(value) % (1 << 8 * size)).to_bytes(size, layout.order)
    return [bytes(out)]


def struct_unpack(*args: Any) -> list[Any]:
    """Values of packed bytes, and where to go on."""
    layout = Layout(args[0] if args else None)
    if len(args) < 2 or not isinstance(args[1], bytes):
        raise LibraryError("bad argument #2 to 'unpack' (string expected)")
    data = args[1]
    at = int(args[2]) - 1 if len(args) > 2 else 0
    if at < 0:
        raise LibraryError("offset must be 1 or greater")
    found: list[Any] = []
    for option, size in layout.options():
        at += layout.padding(option, size, at)
        if option == "c" and size == 0:
            if not found or not isinstance(found[-1], int):
                raise LibraryError("format 'c0' needs a previous size")
            size = found.pop()
        if option == "s":
            end = data.find(b"\0", at)
            if end < 0:
                raise LibraryError("unfinished string in data")
            found.append(data[at:end])
            at = end + 1
            continue
        if size < 0 or at + size > len(data):
            raise LibraryError("data string too short")
        part = data[at : at + size]
        at += size
        if option == "c":
            found.append(part)
        elif option in "fd":
            (value,) = struct.unpack(("<" if layout.order == "little" else ">") + option, part)
            found.append(value)
        elif option != "x":
            found.append(int.from_bytes(part, layout.order, signed=option in "bhli"))
    return [*found, at + 1]


def struct_size(*args: Any) -> list[Any]:
    """How many bytes a format takes."""
    layout, total = Layout(args[0] if args else None), 0
    for option, size in layout.options():
        if option == "s" or (option == "c" and size == 0):
            raise LibraryError("variable-size format in 'size'" if option == "s" else
                             "variable-length format 'c0'")  # fmt: skip
        total += layout.padding(option, size, total) + size
    return [total]


# ── bit ──────────────────────────────────────────────────────────────────────────────────────────


def word(value: Any) -> int:
    """A number as 32 bits without a sign."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LibraryError("bad argument (number expected)")
    return round(value) & 0xFFFFFFFF


def signed(value: int) -> list[Any]:
    """32 bits as a number with a sign."""
    value &= 0xFFFFFFFF
    return [value - (1 << 32) if value >> 31 else value]


def fold(operation: Callable[[int, int], int]) -> Callable[..., list[Any]]:
    """An operation over all arguments."""

    def folded(*args: Any) -> list[Any]:
        if not args:
            raise LibraryError("bad argument #1 (number expected, got no value)")
        total = word(args[0])
        for value in args[1:]:
            total = operation(total, word(value))
        return signed(total)

    return folded


def tohex(value: Any, digits: Any = 8) -> list[Any]:
    """Hexadecimal digits; capitals for a negative number of them."""
    count = min(abs(int(digits)), 8)
    text = f"{word(value):08x}"[8 - count :]
    return [(text.upper() if digits < 0 else text).encode()]


BIT: dict[bytes, Callable[..., list[Any]]] = {
    b"bit.tobit": lambda a: signed(word(a)),
    b"bit.tohex": tohex,
    b"bit.bnot": lambda a: signed(~word(a)),
    b"bit.band": fold(lambda a, b: a & b),
    b"bit.bor": fold(lambda a, b: a | b),
    b"bit.bxor": fold(lambda a, b: a ^ b),
    b"bit.lshift": lambda a, n: signed(word(a) << (word(n) & 31)),
    b"bit.rshift": lambda a, n: signed(word(a) >> (word(n) & 31)),
    b"bit.arshift": lambda a, n: signed(signed(word(a))[0] >> (word(n) & 31)),
    b"bit.rol": lambda a, n: signed(word(a) << (word(n) & 31) | word(a) >> (-word(n) & 31)),
    b"bit.ror": lambda a, n: signed(word(a) >> (word(n) & 31) | word(a) << (-word(n) & 31)),
    b"bit.bswap": lambda a: signed(int.from_bytes(word(a).to_bytes(4, "little"), "big")),
}
