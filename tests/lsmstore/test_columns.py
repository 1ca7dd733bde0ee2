"""Columns give back the bytes they were made of, or were never made; damage is found."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lsmstore.columnreader import unpack
from lsmstore.columns import pack
from tests.respclient import encode

Entry = list[bytes]


def wire(entries: list[tuple[tuple[int, int], Entry]]) -> bytes:
    """Entries as they are stored."""
    parts = []
    for (ms, seq), words in entries:
        entry_id = b"%d-%d" % (ms, seq)
        parts.append(b"*2\r\n$%d\r\n%b\r\n" % (len(entry_id), entry_id) + encode(words))
    return b"".join(parts)


def numbered(rows: list[Entry]) -> bytes:
    return wire([((1000 + i // 3, i % 3), row) for i, row in enumerate(rows)])


def sensors(n: int, seed: int = 1) -> list[Entry]:
    """Random walks of some sensors."""
    rng = random.Random(seed)
    state = {b"s-%02d" % i: [rng.randrange(-300_000, 300_000), 40_000] for i in range(9)}
    rows = []
    for _ in range(n):
        name = rng.choice(list(state))
        walk = state[name]
        walk[0] += rng.randrange(-9, 9)
        walk[1] += rng.randrange(-5, 5)
        shown = [b"%.2f" % (walk[0] / 100), b"%d" % walk[1]]
        rows.append([b"sensor", name, b"temp", shown[0], b"rpm", shown[1]])
    return rows


def packed(data: bytes) -> bytes:
    found = pack(data)
    assert found is not None
    assert unpack(found, len(data)) == data
    return found


def test_numbers_become_differences_to_the_last_of_the_same_sensor() -> None:
    data = numbered(sensors(900))
    # a code, two differences of a byte each, and two bytes of the ID
    assert len(packed(data)) < 900 * 5.5
    alone = numbered([row[2:] for row in sensors(900)])
    assert len(packed(alone)) > len(packed(data)), "they are those to another's"


@pytest.mark.parametrize(
    "values",
    [
        [b"0", b"-1", b"999999999999999999", b"-999999999999999999"],
        [b"0.0", b"-0.1", b"0.1", b"-12.3"],
        [b"0.00000000000000001", b"-0.99999999999999999", b"9.00000000000000000"],
        [b"-0", b"0", b"1", b"2"],
        [b"-0.0", b"0.0", b"1.0", b"2.0"],
        [b"01", b"1", b"2", b"3"],
        [b"1.", b"1", b"2", b"3"],
        [b".5", b"0.5", b"1.5", b"2.5"],
        [b"1.5", b"1.50", b"2", b"-"],
        [b"1e5", b"1", b"+1", b" 1"],
        [b"9999999999999999999", b"1", b"2", b"3"],
        [b"", b"", b"1", b""],
        [b"\r\n", b"$3", b"\0", b"\xff" * 300],
    ],
)
def test_what_looks_like_a_number_comes_back_as_it_was(values: list[bytes]) -> None:
    rng = random.Random(1)
    for few in (False, True):
        rows = [
            [b"v", rng.choice(values), b"n", b"%d" % (i % 7 if few else 977 * i)]
            for i in range(200)
        ]
        packed(numbered(rows))
        # each value once, so that they are no codes
        many = [[b"v", values[0] if i % 50 else values[1], b"n", b"%d" % i] for i in range(100)]
        packed(numbered(many))


def test_what_is_not_alike_is_left_alone() -> None:
    rows = sensors(100)
    assert pack(numbered(rows[:15])) is None, "too few"
    assert pack(numbered([*rows, rows[0][:4]])) is None, "fewer fields"
    other = [b"sensor", b"s", b"tempo", b"1.00", b"rpm", b"1"]
    assert pack(numbered([*rows, other])) is None, "another field"
    assert pack(numbered(rows)[:-1]) is None, "no whole entries"
    noise = random.Random(2)
    assert pack(numbered([[b"f", noise.randbytes(2000)] for _ in range(40)])) is not None
    assert pack(b"") is None


ids = st.lists(
    st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    min_size=16,
    max_size=60,
    unique=True,
).map(sorted)
values = st.one_of(
    st.binary(max_size=8),
    st.integers(-(2**70), 2**70).map(lambda n: b"%d" % n),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(lambda d: str(d).encode()),
    st.sampled_from([b"a", b"b", b"0", b"1.00"]),
)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), ids=ids)
@example(data=None, ids=[(i, 0) for i in range(16)])
def test_any_entries_come_back(data: st.DataObject | None, ids: list[tuple[int, int]]) -> None:
    if data is None:
        packed(wire([(at, [b"", b""]) for at in ids]))
        return
    n = len(ids)
    names = data.draw(st.lists(st.binary(max_size=5), min_size=1, max_size=4))
    columns = [data.draw(st.lists(values, min_size=n, max_size=n)) for _ in names]
    entries = [
        (
            at,
            [
                word
                for name, column in zip(names, columns, strict=True)
                for word in (name, column[i])
            ],
        )
        for i, at in enumerate(ids)
    ]
    stored = wire(entries)
    found = pack(stored)
    if found is not None:
        assert unpack(found, len(stored)) == stored
    else:
        assert n * len(names) < 40, "only what is short may grow"


def test_every_flipped_byte_and_every_cut_is_found_or_harmless() -> None:
    """Checksums find damage before; here nothing may crash, hang or write without end."""
    rows = sensors(60)
    for i, row in enumerate(rows):
        row += [b"note", b"n%d" % (i * i)]
    data = numbered(rows)
    good = packed(data)
    told = 0
    for at in range(len(good)):
        for damaged in (
            good[:at],
            good[:at] + bytes([good[at] ^ 0x80]) + good[at + 1 :],
            good[:at] + b"\xff" * 11 + good[at:],
        ):
            try:
                assert len(unpack(damaged, len(data))) == len(data)
            except ValueError:
                told += 1
    assert told > len(good)


def test_a_few_bytes_do_not_become_many() -> None:
    name = b"x" * 50_000
    bomb = b"\xff\xff\xff\x7f\x01\x00" + b"\xd0\x86\x03" + name + b"\x01\x00"
    with pytest.raises(ValueError, match="impossible number"):
        unpack(bomb, 1 << 20)
