"""What RDB is made of: checksum, LZF, elements of listpacks, lengths and strings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.listpack import element_size, encode_element
from streams.rdb.crc64 import checksum
from streams.rdb.lzf import compressed, decompressed
from streams.rdb.payload import WrongFooter, dump_string, open_payload
from streams.rdb.reader import RdbError, RdbReader, RdbTooLarge
from tests.streams.rdb_model import crc64, listpack_elements, lzf

# Of redis-server 8.2.3 and 7.0.15: what DUMP gave for these strings.
DUMPED = {
    b"hello": b"\x00\x05hello\x0c\x00\xa8\x04\xeb\xb6\x9f\x1e\xbeC",
    b"12": b'\x00\xc0\x0c\x0c\x00\xf7\\\xcc\x91\xa6."\x9c',
    b"-1": b'\x00\xc0\xff\x0c\x00\xc7\xe5J\xe4\x7f"\x03\x8c',
    b"300": b"\x00\xc1,\x01\x0c\x00^4U2\x9f\xa8\xc2Y",
    b"70000": b"\x00\xc2p\x11\x01\x00\x0c\x00\xca\xd2<>o\x1a\x0b\xec",
    b"2147483648": b"\x00\n2147483648\x0c\x00,\xc7\x1dc\xb67\xe8\xa7",
    b"": b"\x00\x00\x0c\x00\x96\xedh\x80\xf5U<\x93",
    b"x" * 20: b"\x00\x14" + b"x" * 20 + b'\x0c\x00\x90J\xb5,_\xa6["',
    b"x" * 21: b"\x00\xc3\x06\x15\x01xx\xe0\n\x00\x0c\x00_l\xb7\xa7\x9a=\x87f",
    b"ab" * 30: b"\x00\xc3\n<\x02aba\xe0.\x01\x01ab\x0c\x00p`\xe7+TE[=",
}
VERSION = 12

texts = st.one_of(
    st.binary(max_size=40),
    st.integers(-(1 << 64), 1 << 64).map(lambda value: b"%d" % value),
    st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 3000)).map(lambda t: t[0] * t[1]),
)


def test_the_checksum_is_that_of_jones() -> None:
    assert checksum(b"123456789", 9) == 0xE9C6D914C4B8D9CA
    data = random.Random(1).randbytes(1000)
    for n in (0, 1, 7, 8, 9, 100, 1000):
        assert checksum(data, n) == crc64(data[:n])


@pytest.mark.parametrize("value", DUMPED)
def test_strings_are_written_as_redis_writes_them(value: bytes) -> None:
    payload = DUMPED[value]
    rdb_type, reader = open_payload(payload, VERSION, 1 << 20)
    assert (rdb_type, reader.text(), reader.left) == (0, value, 0)
    if len(value) < 21:
        assert dump_string(value, VERSION) == payload


@given(texts)
def test_strings_come_back(value: bytes) -> None:
    payload = dump_string(value, 9)
    assert len(payload) <= len(value) + 20
    _, reader = open_payload(payload, VERSION, 1 << 20)
    assert reader.text() == value
    assert reader.left == 0
    pieces = RdbReader(b"", pieces_of(payload[1:-10], 1))
    assert pieces.text() == value
    assert pieces.offset == len(payload) - 11
    assert pieces.digest() == crc64(payload[1:-10])
    passed = RdbReader(payload[1:-10])
    passed.pass_string()
    assert passed.left == 0


def pieces_of(data: bytes, size: int):  # type: ignore[no-untyped-def]
    """A ``read`` that gives a few bytes at a time, whatever is asked for."""
    rest = [data[at : at + size] for at in range(0, len(data), size)]
    return lambda _: rest.pop(0) if rest else b""


@given(texts)
def test_lzf_comes_back(data: bytes) -> None:
    short = compressed(data)
    if short is not None:
        assert len(short) < len(data)
        assert decompressed(short, len(data)) == data == lzf(short, len(data))
        assert decompressed(short, len(data) + 1) is None
        assert len(data) == 0 or decompressed(short, len(data) - 1) is None
    if len(data) > 300 and len(set(data)) == 1:
        assert short is not None


@given(st.binary(max_size=30), st.integers(0, 300))
def test_damaged_lzf_is_refused_or_has_its_length(data: bytes, length: int) -> None:
    found = decompressed(data, length)
    assert found is None or found == lzf(data, length)


def test_long_data_is_compressed_across_its_windows() -> None:
    chance = random.Random(5)
    words = [chance.randbytes(chance.randrange(3, 300)) for _ in range(40)]
    data = b"".join(chance.choice(words) for _ in range(2000))
    short = compressed(data)
    assert short is not None
    assert len(short) < len(data) // 2
    assert decompressed(short, len(data)) == data


@given(texts)
def test_elements_are_as_long_as_reckoned(value: bytes) -> None:
    element = encode_element(value)
    assert len(element) == element_size(value)
    listpack = (len(element) + 7).to_bytes(4, "little") + b"\1\0" + element + b"\xff"
    assert listpack_elements(listpack) == [value]


@pytest.mark.parametrize(
    "length", [63, 64, 4095, 4096, 16377, 16378, 16379, 2097145, 2097146, 2097147]
)
def test_elements_at_the_edges_of_their_lengths(length: int) -> None:
    """Redis writes a length of 16383 or 2097151 in a byte more than it would need."""
    value = b"x" * length
    element = encode_element(value)
    assert len(element) == element_size(value)
    body = length + (1 if length < 64 else 2 if length < 4096 else 5)
    assert len(element) - body == 1 + (body > 127) + (body >= 16383) + (body >= 2097151)


def test_lengths_of_all_widths() -> None:
    for raw, value in (
        ("3f", 63),
        ("40ff", 255),
        ("7fff", 16383),
        ("8000010000", 65536),
        ("81ffffffffffffffff", (1 << 64) - 1),
    ):
        assert RdbReader(bytes.fromhex(raw)).count() == value
    for raw in ("", "40", "80000000", "81", "82", "c0", "c3"):
        with pytest.raises(RdbError):
            RdbReader(bytes.fromhex(raw)).count()


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ("c4", RdbError),
        ("0541", RdbError),
        ("c1ff", RdbError),
        ("81ffffffffffffffff", RdbTooLarge),
        ("c30181ffffffffffffffff00", RdbTooLarge),
        ("c381ffffffffffffffff01", RdbTooLarge),
        ("c30141000000", RdbError),
        ("c3010500", RdbError),
        ("c302052000", RdbError),
    ],
)
def test_strings_that_are_none(raw: str, error: type[RdbError]) -> None:
    with pytest.raises(error):
        RdbReader(bytes.fromhex(raw), None, 1 << 20).text()


def test_footers_that_are_none() -> None:
    payload = dump_string(b"value", VERSION)
    for bad in (b"", payload[:9], payload[:-1], payload[2:], payload[:-8] + bytes(8)):
        with pytest.raises(WrongFooter):
            open_payload(bad, VERSION, 1 << 20)
    with pytest.raises(WrongFooter):
        open_payload(payload, VERSION - 1, 1 << 20)
