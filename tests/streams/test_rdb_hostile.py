"""Payloads that no Redis writes: refused, or read as what they say; never a crash, never a hang."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.respclient import Reply
from tests.streams.node import Node
from tests.streams.rdb_model import (
    group,
    id_bytes,
    length,
    listpack,
    node,
    payload,
    sealed,
    string,
)

BAD_DATA = Reply("-", b"ERR Bad data format")
OUT_OF_MEMORY = Reply("-", b"OOM command not allowed when used memory > 'maxmemory'.")
WRONG_FOOTER = Reply("-", b"ERR DUMP payload version or checksum are wrong")
A, B, C = (1, 0), (2, 0), (2, 5)
THREE = node([A, B, C])


def elements(*changed: tuple[int, int | bytes]) -> tuple[bytes, bytes]:
    """The node THREE with elements of its listpack changed."""
    found: list[int | bytes] = [3, 0, 1, b"f", 0]
    for ms, seq in (A, B, C):
        found += [2, ms - 1, seq, b"v", 4]
    for place, value in changed:
        found[place] = value
    return id_bytes(*A), listpack(found)


def with_groups(*groups: bytes) -> bytes:
    return payload([THREE], 3, groups=list(groups))


WHOLE = {
    "a stream": payload([THREE], 3),
    "no entries": payload([], 0),
    "a deleted entry": payload([node([A, B, C], deleted=(1,))], 2),
    "a node without entries": payload([node([A, B, C], deleted=(0, 1, 2))], 0),
    "a group": with_groups(group(b"g", [A, B, (8, 8)], {b"a": [A, (8, 8)], b"b": [B], b"c": []})),
}
HOSTILE = {
    "pending twice": with_groups(group(b"g", [A, A], {b"a": [A]})),
    "pending out of order": with_groups(group(b"g", [B, A], {b"a": [A, B]})),
    "a row of two consumers": with_groups(group(b"g", [A], {b"a": [A], b"b": [A]})),
    "a row twice with one consumer": with_groups(group(b"g", [A, B], {b"a": [A, A]})),
    "a row of nobody": with_groups(group(b"g", [A, B], {b"a": [A]})),
    "a consumer's row that is not pending": with_groups(group(b"g", [A], {b"a": [A, B]})),
    "rows of a consumer out of order": with_groups(group(b"g", [A, B], {b"a": [B, A]})),
    "a group twice": with_groups(group(b"g", [], {}), group(b"g", [], {})),
    "a consumer twice": with_groups(
        string(b"g") + length(0) * 4 + length(2) + (string(b"a") + bytes(16) + length(0)) * 2
    ),
    "the wrong number of entries": payload([THREE], 4),
    "an entry above the last ID": payload([THREE], 3, last=(2, 4)),
    "nodes out of order": payload([node([(5, 0)]), node([A])], 2),
    "a node twice": payload([THREE, THREE], 6),
    "IDs out of order": payload([node([A, C, B])], 3),
    "an ID twice": payload([node([A, A])], 2),
    "the ID zero": payload([node([(0, 0), A])], 2),
    "more live entries than there are": payload([elements((0, 4))], 4),
    "fewer live entries than there are": payload([elements((0, 2))], 2),
    "deleted entries that are not": payload([elements((1, 1))], 3),
    "a deleted entry not counted": payload([elements((5, 3))], 3),
    "a negative number of entries": payload([elements((0, -1), (1, 4))], 3),
    "very many entries": payload([elements((0, 1 << 40))], 3),
    "very many deleted entries": payload([elements((1, (1 << 63) - 1))], 3),
    "no fields": payload([elements((2, 0))], 3),
    "very many fields": payload([elements((2, 1 << 40))], 3),
    "no end of the names": payload([elements((4, 1))], 3),
    "unknown flags": payload([elements((5, 6))], 3),
    "a string for a flag": payload([elements((5, b"x"))], 3),
    "a string for a delta": payload([elements((6, b"x"))], 3),
    "a wrong number of elements": payload([elements((9, 5))], 3),
    "an element too many": payload([(THREE[0], listpack([3, 0, 1, b"f", 0, 2, 0, 0, b"v", 4]))], 1),
    "an empty listpack": payload([(THREE[0], listpack([]))], 0),
    "no listpack": payload([(THREE[0], b"")], 0),
    "a short key": payload([(THREE[0][:15], THREE[1])], 3),
    "a long key": payload([(THREE[0] + b"\0", THREE[1])], 3),
    "a listpack of another length": payload([(THREE[0], b"\xff" + THREE[1][1:])], 3),
    "a listpack of more elements": payload([(THREE[0], THREE[1][:4] + b"\x01" + THREE[1][5:])], 3),
    "a listpack without an end": payload([(THREE[0], THREE[1][:-1] + b"\0")], 3),
    "very many nodes": sealed(b"\x15" + length(1 << 60), 11),
    "very many groups": sealed(payload([], 0)[:-11] + length(1 << 60), 11),
    "very many pending rows": with_groups(
        string(b"g") + length(0) * 3 + length((1 << 64) - 1) + id_bytes(1, 1)
    ),
    "something left over": sealed(WHOLE["a group"][:-10] + b"\0", 11),
    "no value": sealed(b"\x15", 11),
    "no type": sealed(b"", 11),
    "an unknown type": sealed(b"\x63" + WHOLE["a stream"][1:-10], 11),
    "a string left over": sealed(b"\0\x01ab", 11),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_payloads_are_taken(name: str) -> None:
    server = Node()
    assert server.call("RESTORE", "s", 0, WHOLE[name]) == b"OK"
    server.check()
    assert server.replayed().rows() == server.rows()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_redis_writes_is_refused(name: str) -> None:
    server = Node()
    assert server.call("RESTORE", "s", 0, HOSTILE[name]) == BAD_DATA
    assert server.call("DBSIZE") == 0
    assert server.journal.count == 0


def test_strings_and_nodes_that_claim_to_be_large() -> None:
    server = Node()
    for claim in (
        b"\0" + length(1 << 62),
        b"\0\xc3" + length(8) + length(1 << 62) + bytes(8),
        b"\x15\x01\x10" + THREE[0] + length(1 << 40),
    ):
        assert server.call("RESTORE", "s", 0, sealed(claim, 11)) == OUT_OF_MEMORY
    assert server.call("RESTORE", "s", 0, WHOLE["a stream"][:-1] + b"\0") == WRONG_FOOTER
    assert server.call("RESTORE", "s", 0, sealed(WHOLE["a stream"][:-10], 15)) == WRONG_FOOTER


def test_heads_that_would_take_much_more_memory_than_bytes() -> None:
    server = Node()
    server.config = replace(server.config, memory_budget=1 << 22)
    many = range(12_000)
    for payload_of_many in (
        payload([THREE], 3, groups=[group(b"%d" % i, [], {}) for i in many]),
        payload([THREE], 3, groups=[group(b"g", [], {b"%d" % i: [] for i in range(17_000)})]),
        payload([THREE], 3, groups=[group(b"g", [(i + 1, 0) for i in range(90_000)], {})]),
    ):
        assert server.call("RESTORE", "s", 0, payload_of_many) == OUT_OF_MEMORY
    assert server.call("RESTORE", "s", 0, WHOLE["a group"]) == b"OK"


def same_again(server: Node) -> None:
    """What was taken is sound, and goes out and in again."""
    server.check()
    again = server.call("DUMP", "s")
    full = server.raw("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
    assert server.call("RESTORE", "s", 0, again, "REPLACE") == b"OK"
    assert server.raw("XINFO", "STREAM", "s", "FULL", "COUNT", 0) == full


@pytest.mark.parametrize("name", ["a deleted entry", "a group"])
def test_every_byte_changed(name: str) -> None:
    """With a right checksum: each value is refused, or is a stream like any other."""
    body = WHOLE[name][:-10]
    server = Node()
    taken = 0
    chance = random.Random(7)
    for at in range(len(body)):
        flips = {body[at] ^ 1 << bit for bit in range(8)} | {chance.randrange(256), 0, 255}
        for value in flips - {body[at]}:
            changed = sealed(body[:at] + bytes((value,)) + body[at + 1 :], 11)
            reply = server.call("RESTORE", "s", 0, changed, "REPLACE")
            if reply != b"OK":
                assert reply in (BAD_DATA, OUT_OF_MEMORY), (at, value)
                continue
            taken += 1
            if server.call("TYPE", "s") == b"stream":
                same_again(server)
    assert taken > 20  # names, values, times and counters may be others


@pytest.mark.parametrize("name", WHOLE)
def test_every_truncation_is_refused(name: str) -> None:
    body = WHOLE[name][:-10]
    server = Node()
    for end in range(len(body)):
        assert server.call("RESTORE", "s", 0, sealed(body[:end], 11)) == BAD_DATA, end
    for end in range(len(body) + 10):
        assert server.call("RESTORE", "s", 0, WHOLE[name][:end]) == WRONG_FOOTER


def test_noise() -> None:
    """Bytes moved about, lengths grown, halves of two payloads."""
    server = Node()
    bodies = [data[:-10] for data in WHOLE.values()]
    for seed in range(3000):
        chance = random.Random(seed)
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(1, len(body))
            what = chance.randrange(4)
            if what == 0:
                body[at:at] = chance.randbytes(chance.randrange(1, 9))
            elif what == 1:
                del body[at : at + chance.randrange(1, 20)]
                body += bytes(not body)
            elif what == 2:
                body[at:] = chance.choice(bodies)[at:]
            else:
                body[at : at + 1] = chance.choice((b"\x80\xff\xff\xff\xff", b"\x81" + b"\xff" * 8))
            if len(body) < 2:
                break
        reply = server.call("RESTORE", "s", 0, sealed(bytes(body), 11), "REPLACE")
        if reply == b"OK" and server.call("TYPE", "s") == b"stream":
            same_again(server)
        else:
            assert reply in (b"OK", BAD_DATA, OUT_OF_MEMORY), seed


# ── types 26 and 27, of which no server that writes them is at hand ──────────────────────────────


def producers(*iids: tuple[bytes, list[bytes]], maxsize: int = 7, duration_s: int = 50) -> bytes:
    parts = [length(duration_s), length(maxsize), length(len(iids))]
    for pid, own in iids:
        parts += [string(pid), length(len(own))]
        parts += [string(iid) + length(i + 1) + length(0) for i, iid in enumerate(own)]
    return b"".join([*parts, length(12), length(4)])


IDMP = payload([THREE], 3, rdb_type=26, version=13, behind=producers((b"p", [b"x", b"y"])))
RELEASED = payload(
    [THREE],
    3,
    rdb_type=27,
    version=14,
    groups=[group(b"g", [A, B, C, (8, 8)], {b"a": [B]}, [C, A, (8, 8)])],
    behind=producers(),
)


def test_a_stream_of_8_6_brings_its_producers() -> None:
    server = Node()
    server.now_ms = 10_000
    assert server.call("RESTORE", "s", 0, IDMP) == b"OK"
    server.check()
    kept = server.stream().producers
    assert kept is not None
    assert (kept.duration_s, kept.maxsize, kept.iids_added, kept.iids_duplicates) == (50, 7, 12, 4)
    assert kept.content() == {b"p": [(b"x", 1, 0), (b"y", 2, 0)]}
    assert server.replayed().rows() == server.rows()
    assert server.call("XADD", "s", "IDMP", "p", "y", "*", "f", "v") == b"2-0"
    assert kept.iids_duplicates == 5


def test_a_stream_of_8_8_brings_its_released_entries_in_order() -> None:
    server = Node()
    server.now_ms = 10_000
    assert server.call("RESTORE", "s", 0, RELEASED) == b"OK"
    server.check()
    assert server.replayed().rows() == server.rows()
    found = server.call("XPENDING", "s", "g", "-", "+", 10)
    assert [row[:2] for row in found] == [
        [b"1-0", b""],
        [b"2-0", b"a"],
        [b"2-5", b""],
        [b"8-8", b""],
    ]
    claimed = server.call(
        *("XREADGROUP", "GROUP", "g", "b", "COUNT", 2, "CLAIM", 0, "STREAMS", "s", ">")
    )
    assert [entry[0] for entry in claimed[0][1]] == [b"2-5", b"1-0"]


def test_released_entries_are_written_for_a_consumer_without_a_name() -> None:
    server = Node()
    server.now_ms = 10_000
    assert server.call("RESTORE", "s", 0, RELEASED) == b"OK"
    assert server.call("RESTORE", "t", 0, server.call("DUMP", "s")) == b"OK"
    found = server.call("XPENDING", "t", "g", "-", "+", 10)
    assert [row[:3] for row in found] == [
        [b"1-0", b"", 10_000],
        [b"2-0", b"a", 9_000],
        [b"2-5", b"", 10_000],
        [b"8-8", b"", 10_000],
    ]
    server.call("XCLAIM", "s", "g", "", 0, "1-0")
    server.check()
    assert server.call("RESTORE", "u", 0, server.call("DUMP", "s")) == b"OK"
    assert [row[1] for row in server.call("XPENDING", "u", "g", "-", "+", 10)] == [
        *(b"", b"a", b"", b"")
    ]


@pytest.mark.parametrize(
    ("version", "idmp", "released"),
    [
        ("8.2.3", WRONG_FOOTER, WRONG_FOOTER),
        ("8.6.0", b"OK", WRONG_FOOTER),
        ("8.8.0", b"OK", b"OK"),
    ],
)
def test_a_version_takes_what_it_knows(version: str, idmp: object, released: object) -> None:
    server = Node(presents=version)
    assert server.call("RESTORE", "s", 0, IDMP) == idmp
    assert server.call("RESTORE", "t", 0, RELEASED) == released
    if released != b"OK":
        hidden = sealed(RELEASED[:-10], 12)
        assert server.call("RESTORE", "t", 0, hidden) == BAD_DATA


@pytest.mark.parametrize(
    "data",
    [
        producers((b"", [b"x"])),
        producers((b"p", [b""])),
        producers((b"p", [b"x", b"x"])),
        producers((b"p", [b"x"]), (b"p", [b"y"])),
        producers((b"p", [b"x", b"y"]), maxsize=1),
        producers((b"p", [b"x"]), maxsize=1 << 40),
        producers((b"p", [b"x"]), duration_s=1 << 40),
        producers()[:-1],
        producers()[:-1] + length(1 << 63),
    ],
)
def test_producers_that_are_none(data: bytes) -> None:
    server = Node()
    bad = payload([THREE], 3, rdb_type=26, version=13, behind=data)
    assert server.call("RESTORE", "s", 0, bad) == BAD_DATA


@pytest.mark.parametrize(
    ("pending", "consumers", "released"),
    [
        ([A, B], {b"a": [A]}, []),
        ([A, B], {b"a": [A]}, [A, B]),
        ([A, B], {b"a": [A]}, [B, B]),
        ([A, B], {b"a": [A]}, [C, B]),
    ],
)
def test_released_entries_that_are_none(
    pending: list[tuple[int, int]],
    consumers: dict[bytes, list[tuple[int, int]]],
    released: list[tuple[int, int]],
) -> None:
    server = Node()
    groups = [group(b"g", pending, consumers, released)]
    bad = payload([THREE], 3, rdb_type=27, version=14, groups=groups, behind=producers())
    assert server.call("RESTORE", "s", 0, bad) == BAD_DATA
