"""Rows that no server would have written, and what ``respq check`` says of them."""

from __future__ import annotations

from collections.abc import Callable

from cluster.slots import key_slot
from lsmstore.simfs import SimFS
from streams import rowkeys
from streams.keyrow import stream_row
from tests.sim.node import SimNode


def key_of(name: bytes) -> bytes:
    return rowkeys.key_row(1, key_slot(name), name)


def sid_of(fs: SimFS, name: str) -> int:
    node = SimNode(fs.kill())
    stream = node.engine.keyspace.stream(1, name.encode())
    assert stream is not None
    return stream.sid


Change = Callable[[SimFS], dict[bytes, bytes | None]]
WRONG: list[tuple[str, Change]] = [
    ("has no header", lambda fs: {rowkeys.header_row(sid_of(fs, "orders")): None}),
    ("has no key", lambda fs: {key_of(b"orders"): None}),
    ("the directory says", lambda fs: {key_of(b"text1"): None}),
    (
        "are one stream",
        lambda fs: {key_of(b"other"): stream_row(sid_of(fs, "orders"))},
    ),
    (
        "which has no header",
        lambda _: {rowkeys.group_row(999, 1): b"x"},
    ),
    (
        "pending entries of",
        lambda fs: {rowkeys.chunk_row(sid_of(fs, "orders"), 1, 0): None},
    ),
    (
        "is said to share",
        lambda fs: {rowkeys.lent_row(sid_of(fs, "events"), 777): (1).to_bytes(8, "big")},
    ),
    (
        "and no row says so",
        lambda fs: {rowkeys.lent_row(sid_of(fs, "events"), sid_of(fs, "copy0")): None},
    ),
    (
        "expires at another time",
        lambda _: {rowkeys.expiry_row(77, 1, b"text1"): b""},
    ),
    ("in the wrong place", lambda _: {rowkeys.key_row(1, 5, b"odd"): b"\0x"}),
]
