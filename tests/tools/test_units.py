"""Durations, places in a stream, entries as JSON: what is written, what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.living.entries import fields_from_json, fields_to_json, in_words
from tools.living.facts import GroupFacts
from tools.living.rates import NO_RATES, rates_between
from tools.living.units import (
    age,
    count,
    duration_ms,
    id_age_ms,
    place_id,
    rate,
    size,
)

NOW_MS = 1_795_445_541_453


@pytest.mark.parametrize(
    ("written", "meant_ms"),
    [("250ms", 250), ("30s", 30_000), ("30", 30_000), ("1.5h", 5_400_000), ("2w", 1_209_600_000)],
)
def test_durations(written: str, meant_ms: int) -> None:
    assert duration_ms(written) == meant_ms


@pytest.mark.parametrize("written", ["", "h", "-1s", "1y", "1 h", "١s"])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write 250ms"):
        duration_ms(written)


def test_places() -> None:
    for place in ("0", "$", "5-1", "17"):
        assert place_id(place, NOW_MS) == place
    assert place_id("-1h", NOW_MS) == str(NOW_MS - 3_600_000)
    assert place_id("-9000w", NOW_MS) == "0"
    assert place_id("2026-01-31T12:00", NOW_MS) == "1769860800000"
    assert place_id("2026-01-31T12:00+02:00", NOW_MS) == "1769853600000"
    with pytest.raises(ValueError, match="is no place in a stream"):
        place_id("yesterday", NOW_MS)


def test_ages_and_numbers() -> None:
    ages = [
        0,
        999,
        1000,
        1999,
        9999,
        119_999,
        120_000,
        7_199_999,
        7_200_000,
        172_800_000,
        1_209_600_000,
    ]
    assert [age(ms) for ms in ages] == [
        *("0 ms", "999 ms", "1 s", "1.9 s", "9.9 s", "119 s", "2 m", "119 m", "2 h", "2 d", "2 w")
    ]
    assert (age(None), count(None), rate(None), count(12_345)) == ("?", "?", "?", "12,345")
    assert (rate(0), rate(0.25), rate(1234.6)) == ("0", "0.2", "1,235")
    assert (size(12), size(2048), size(3 << 20), size(5 << 40)) == (
        *("12 B", "2.0 KB", "3.0 MB", "5.0 TB"),
    )
    assert id_age_ms(f"{NOW_MS - 5}-0", NOW_MS) == 5
    assert id_age_ms("1-0", NOW_MS) is None
    assert id_age_ms(f"{2**64 - 1}-0", NOW_MS) is None


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), min_size=1))
def test_no_entry_loses_a_byte(pairs: list[tuple[bytes, bytes]]) -> None:
    assert fields_from_json(fields_to_json(pairs)) == pairs


def test_the_usual_entry_is_an_object() -> None:
    assert fields_to_json([(b"a", b"1"), (b"b", b"")]) == {"a": "1", "b": ""}
    assert fields_to_json([(b"a", b"\xff")]) == {"a": {"base64": "/w=="}}
    assert fields_to_json([(b"a", b"1"), (b"a", b"2")]) == [["a", "1"], ["a", "2"]]
    assert in_words([(b"a", b"1 2"), (b"b\xff", b"")]) == "a='1 2' b\\xff=''"
    assert in_words([(b"a", b"1" * 99)], 10) == "a=1111111…"


@pytest.mark.parametrize(
    "fields", [{}, [], 1, "a", [["a"]], {"a": True}, {"a": None}, {"a": {"base64": "?"}}]
)
def test_what_is_no_entry(fields: object) -> None:
    with pytest.raises(ValueError, match=r"must be|needs|is no"):
        fields_from_json(fields)


def group(lag: int | None, pending: int, added: int | None) -> GroupFacts:
    return GroupFacts(b"s", b"g", lag, pending, None, 1, 0, "0-0", None, added)


def test_rates() -> None:
    before = group(10, 5, 100)
    assert rates_between(None, before, 1) == NO_RATES
    assert rates_between(before, group(10, 5, 100), 2) == (0, 0, "∞")
    # 20 came, 40 went, 0 are left
    assert rates_between(group(10, 10, 100), group(0, 0, 120), 2) == (10, 20, "0 s")
    # 10 came, 13 went in 2 s: 12 are left, and shrink by 1.5 a second
    assert rates_between(before, group(12, 0, 110), 2) == (5, 6.5, "8 s")
    assert rates_between(before, group(30, 5, 120), 1) == (20, 0, "∞")
    assert rates_between(before, group(None, 5, 110), 1) == (10, None, "?")
    assert rates_between(group(1, 1, None), group(1, 1, None), 1) == (None, None, "?")
