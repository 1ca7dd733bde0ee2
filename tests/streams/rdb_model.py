"""A second reader of DUMP payloads, as plain as can be: what the compiled one is held against.

It knows the layout and nothing else: no checks beyond its own assertions, no speed. Below it what
payloads are made of by hand, right ones and such as no Redis writes.
"""

from __future__ import annotations

import struct
from typing import Any

from streams.listpack import encode_element

POLYNOMIAL = 0x95AC9329AC4BC9B5
# From these lengths on an element has one more byte of it behind it.
BACKLEN_EDGES = (128, 16383, 2097151, 268435455)


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def crc64(data: bytes) -> int:
    value = 0
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 255]
    return value


def sealed(body: bytes, version: int) -> bytes:
    """A payload of a body, with a right footer."""
    body += struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def lzf(data: bytes, length: int) -> bytes:
    out = bytearray()
    at = 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            assert at + control < len(data)
            out += data[at : at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8 | data[at]) - 1
        at += 1
        assert start >= 0
        for i in range(count + 2):
            out.append(out[start + i])
    assert len(out) == length
    return bytes(out)


class Body:
    """The value of a payload, from front to back."""

    def __init__(self, payload: bytes) -> None:
        assert crc64(payload[:-8]) == int.from_bytes(payload[-8:], "little")
        self.version = int.from_bytes(payload[-10:-8], "little")
        self.data = payload[:-10]
        self.at = 0

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def length(self) -> int:
        first = self.take(1)[0]
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 63) << 8 | self.take(1)[0]
        assert first in (0x80, 0x81)
        return int.from_bytes(self.take(4 if first == 0x80 else 8), "big")

    def string(self) -> bytes:
        first = self.data[self.at]
        if first < 0xC0:
            return self.take(self.length())
        self.take(1)
        if first == 0xC3:
            packed = self.length()
            length = self.length()
            return lzf(self.take(packed), length)
        size = 1 << (first - 0xC0)
        return b"%d" % int.from_bytes(self.take(size), "little", signed=True)

    def time(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def id(self) -> tuple[int, int]:
        ms, seq = struct.unpack(">QQ", self.take(16))
        return ms, seq

    def lengths(self, n: int) -> tuple[int, ...]:
        return tuple(self.length() for _ in range(n))


def listpack_elements(listpack: bytes) -> list[bytes]:
    """Every element as the string that it is."""
    size, count = struct.unpack_from("<IH", listpack)
    assert size == len(listpack)
    assert listpack[-1] == 0xFF
    found = []
    at = 6
    while at < size - 1:
        first = listpack[at]
        start = at
        if first < 0x80:
            found.append(b"%d" % first)
            at += 1
        elif first < 0xC0:
            at += 1 + (first & 63)
            found.append(listpack[start + 1 : at])
        elif first < 0xE0:
            value = (first & 31) << 8 | listpack[at + 1]
            found.append(b"%d" % (value - 8192 if value >= 4096 else value))
            at += 2
        elif first < 0xF0:
            at += 2 + ((first & 15) << 8 | listpack[at + 1])
            found.append(listpack[start + 2 : at])
        elif first == 0xF0:
            at += 5 + int.from_bytes(listpack[at + 1 : at + 5], "little")
            found.append(listpack[start + 5 : at])
        else:
            width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}[first]
            value = int.from_bytes(listpack[at + 1 : at + 1 + width], "little", signed=True)
            found.append(b"%d" % value)
            at += 1 + width
        length = at - start
        told = listpack[at : at + 1 + sum(length >= edge for edge in BACKLEN_EDGES)]
        value = 0
        for byte in told:
            value = value << 7 | byte & 127
        assert value == length
        at += len(told)
    assert count == 65535 or count == len(found)
    return found


def stream_of(payload: bytes) -> dict[str, Any]:
    """All that a payload says of a stream; listpacks as they are."""
    body = Body(payload)
    rdb_type = body.take(1)[0]
    found: dict[str, Any] = {
        "type": rdb_type,
        "nodes": [(body.string(), body.string()) for _ in range(body.length())],
        "length": body.length(),
        "last": body.lengths(2),
    }
    if rdb_type >= 19:
        found["first"] = body.lengths(2)
        found["max deleted"] = body.lengths(2)
        found["added"] = body.length()
    found["groups"] = {}
    for _ in range(body.length()):
        name = body.string()
        group: dict[str, Any] = {"last": body.lengths(2)}
        if rdb_type >= 19:
            group["read"] = body.length()
        group["pending"] = [(body.id(), body.time(), body.length()) for _ in range(body.length())]
        group["consumers"] = {}
        for _ in range(body.length()):
            consumer = body.string()
            times = [body.time() for _ in range(2 if rdb_type >= 21 else 1)]
            group["consumers"][consumer] = (times, [body.id() for _ in range(body.length())])
        found["groups"][name] = group
    assert body.at == len(body.data)
    return found


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def length(value: int) -> bytes:
    if value < 64:
        return bytes((value,))
    return b"\x81" + value.to_bytes(8, "big")


def string(data: bytes) -> bytes:
    return length(len(data)) + data


def id_bytes(ms: int, seq: int) -> bytes:
    return struct.pack(">QQ", ms, seq)


def listpack(elements: list[bytes | int]) -> bytes:
    parts = [encode_element(b"%d" % e if isinstance(e, int) else e) for e in elements]
    body = b"".join(parts)
    return struct.pack("<IH", len(body) + 7, min(len(parts), 65535)) + body + b"\xff"


def node(
    entries: list[tuple[int, int]],
    *,
    names: tuple[bytes, ...] = (b"f",),
    deleted: tuple[int, ...] = (),
) -> tuple[bytes, bytes]:
    """A node of entries with these IDs, all with the same fields and the value ``v``."""
    base_ms, base_seq = entries[0]
    elements: list[bytes | int] = [len(entries) - len(deleted), len(deleted), len(names), *names, 0]
    for i, (ms, seq) in enumerate(entries):
        elements += [3 if i in deleted else 2, ms - base_ms, seq - base_seq]
        elements += [b"v"] * len(names) + [len(names) + 3]
    return id_bytes(base_ms, base_seq), listpack(elements)


def group(
    name: bytes,
    pending: list[tuple[int, int]],
    consumers: dict[bytes, list[tuple[int, int]]],
    released: list[tuple[int, int]] | None = None,
    *,
    last: tuple[int, int] = (9, 0),
) -> bytes:
    """A group of type 21 or, with ``released``, of type 27."""
    parts = [string(name), length(last[0]), length(last[1]), length(3), length(len(pending))]
    parts += [id_bytes(*id) + struct.pack("<q", 1000) + length(2) for id in pending]
    parts.append(length(len(consumers)))
    for consumer, own in consumers.items():
        parts += [string(consumer), struct.pack("<qq", 2000, 1500), length(len(own))]
        parts += [id_bytes(*id) for id in own]
    if released is not None:
        parts += [length(len(released)), *[id_bytes(*id) for id in released]]
    return b"".join(parts)


def payload(
    nodes: list[tuple[bytes, bytes]],
    entries: int,
    *,
    rdb_type: int = 21,
    version: int = 11,
    last: tuple[int, int] = (9, 0),
    groups: list[bytes] | None = None,
    behind: bytes = b"",
) -> bytes:
    """A payload of type 21 or above; ``behind`` is what stands behind the groups."""
    parts = [bytes((rdb_type,)), length(len(nodes))]
    parts += [string(key) + string(data) for key, data in nodes]
    parts.append(length(entries))
    parts += [length(n) for n in (*last, 1, 0, 0, 0, entries + 2)]
    groups = groups or []
    return sealed(b"".join([*parts, length(len(groups)), *groups, behind]), version)
