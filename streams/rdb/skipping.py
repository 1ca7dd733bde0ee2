"""Passes over RDB values that are neither string nor stream, exactly, holding little of them.

What each type is made of, in strings (s), lengths (l), doubles (d: a byte that is the length of a
text, or 253 to 255), and bytes (8)::

    1, 14 list  n * s           2 set   n * s         3 zset  n * (s d)      4 hash  n * (s s)
    5 zset      n * (s 8)       9, 13, 16 hash  s     10 list s              11, 20 set  s
    12, 17 zset s               18 list n * (l s)     7 module: opcodes      25 hash 8 s
    22 hash     n * (l s s), Valkey: n * (s s 8)      23 hash s              24 hash 8, n * (l s s)

Source: the Redis documentation, and files of redis-server 7.0 and 8.2. What these do not write (the
types of older servers, of Valkey and of release candidates) follows the notes of other parsers; the
types above 27, which came with Redis 8.8 and later, are not known and refused by number.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streams.rdb.reader import RdbReader

NAN: Final = 253
MODULE: Final = 7
VALKEY_HASH: Final = 22


class Shape(NamedTuple):
    """What a type is called, what comes before its items, and what an item is made of.

    Without an item there is one value and no number of them.
    """

    name: str
    before: str
    item: str


SHAPES: Final[dict[int, Shape]] = {
    1: Shape("list", "", "s"),
    2: Shape("set", "", "s"),
    3: Shape("zset", "", "sd"),
    4: Shape("hash", "", "ss"),
    5: Shape("zset", "", "s8"),
    9: Shape("hash", "s", ""),
    10: Shape("list", "s", ""),
    11: Shape("set", "s", ""),
    12: Shape("zset", "s", ""),
    13: Shape("hash", "s", ""),
    14: Shape("list", "", "s"),
    16: Shape("hash", "s", ""),
    17: Shape("zset", "s", ""),
    18: Shape("list", "", "ls"),
    20: Shape("set", "s", ""),
    22: Shape("hash", "", "lss"),
    23: Shape("hash", "s", ""),
    24: Shape("hash", "8", "lss"),
    25: Shape("hash", "8s", ""),
}
HASH_OF_VALKEY: Final = Shape("hash", "", "ss8")

# Opcodes of what a module writes, and the parts of each.
MODULE_END: Final = 0
MODULE_PARTS: Final = {1: "l", 2: "l", 3: "4", 4: "8", 5: "s"}


def skip_value(reader: RdbReader, rdb_type: int, *, of_valkey: bool) -> str:
    """Pass over a value; what its type is called. Raises RdbError, also for an unknown type."""
    if rdb_type == MODULE:
        reader.count()  # which module
        skip_module(reader)
        return "module"
    shape = SHAPES.get(rdb_type)
    if of_valkey and rdb_type == VALKEY_HASH:
        shape = HASH_OF_VALKEY
    if shape is None:
        raise reader.error(f"unknown type {rdb_type} before")
    skip_parts(reader, shape.before)
    if shape.item:
        for _ in range(reader.count()):
            skip_parts(reader, shape.item)
    return shape.name


def skip_module(reader: RdbReader) -> None:
    """Pass over what a module wrote, to its end."""
    while (opcode := reader.count()) != MODULE_END:
        if opcode not in MODULE_PARTS:
            raise reader.error(f"unknown opcode {opcode} of a module before")
        skip_parts(reader, MODULE_PARTS[opcode])


def skip_parts(reader: RdbReader, parts: str) -> None:
    """Pass over strings, lengths, doubles and bytes."""
    for part in parts:
        if part == "s":
            reader.pass_string()
        elif part == "l":
            reader.count()
        elif part == "d":
            length = reader.number(1)
            reader.pass_bytes(length if length < NAN else 0)
        else:
            reader.pass_bytes(int(part))
