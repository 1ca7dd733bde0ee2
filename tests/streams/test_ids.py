"""Stream IDs: the parser says what redis-server says, and neighbours are neighbours."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streams import ids
from tests.respclient import Client, Reply

INVALID = Reply("-", b"ERR Invalid stream ID specified as stream command argument")

edges = [0, 1, 9, (1 << 31), (1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1, 1 << 64]
signs = st.sampled_from(["", "", "", "", "-", "+", " ", "\t", " -", "0", "-0", "+0", "--", "\0"])
numbers = st.one_of(st.integers(0, 99), st.sampled_from(edges), st.integers(0, 1 << 65))
number_texts = st.builds(lambda sign, n, tail: f"{sign}{n}{tail}", signs, numbers, signs)
id_texts = st.one_of(
    number_texts,
    st.builds("{}-{}".format, number_texts, number_texts),
    st.builds("{}-{}".format, numbers, numbers),
    st.text("0123456789-+( *\0\n.ex", max_size=8),
    st.sampled_from(["-", "+", "", "*", "-\0", "+\0x", "5-", "-5", "(5", "0-0", "5-1-2"]),
    st.builds(lambda n, size: f"{n:0{size}}", numbers, st.integers(120, 130)),
).map(str.encode)
asking = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)


def last_id(oracle: Client) -> ids.ID:
    text: bytes = oracle.call("XINFO", "GROUPS", "s")[0][7]
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


@asking
@given(text=id_texts)
@example(text=b"6--05")
@example(text=b"6--18446744073709551615")
@example(text=b"6--9223372036854775809")
@example(text=b"6--9223372036854775808")
def test_ids_are_read_as_redis_reads_them(oracle: Client, text: bytes) -> None:
    oracle.call("DEL", "s")
    oracle.call("XGROUP", "CREATE", "s", "g", "77-77", "MKSTREAM")
    lax = oracle.call("XGROUP", "SETID", "s", "g", text)
    assert ids.parse(text) == (None if lax == INVALID else last_id(oracle))
    oracle.call("DEL", "s")
    strict = oracle.call("XGROUP", "CREATE", "s", "g", text, "MKSTREAM")
    if text.partition(b"\0")[0] != b"$":
        assert ids.parse_strict(text) == (None if strict == INVALID else last_id(oracle))


@asking
@given(text=st.one_of(id_texts, id_texts.map(lambda text: b"(" + text)))
def test_bounds_are_read_as_redis_reads_them(oracle: Client, text: bytes) -> None:
    start = oracle.call("XRANGE", "none", text, "+")
    end = oracle.call("XRANGE", "none", "-", text)
    low = ids.parse_bound(text, 0)
    high = ids.parse_bound(text, ids.U64_MAX)
    assert (low is None, high is None) == (start == INVALID, end == INVALID)
    if low is not None and high is not None:
        no_start = low[1] and ids.successor(low[0]) is None
        assert no_start == (start == Reply("-", b"ERR invalid start ID for the interval"))
        no_end = high[1] and ids.predecessor(high[0]) is None
        assert no_end == (end == Reply("-", b"ERR invalid end ID for the interval"))


any_id = st.tuples(
    *[st.one_of(st.sampled_from([0, 1, ids.U64_MAX]), st.integers(0, ids.U64_MAX))] * 2
)


@given(id=any_id)
def test_neighbours(id: ids.ID) -> None:
    after = ids.successor(id)
    before = ids.predecessor(id)
    assert (after is None) == (id == ids.MAX_ID)
    assert (before is None) == (id == ids.MIN_ID)
    if after is not None:
        assert id < after
        assert ids.predecessor(after) == id
    if before is not None:
        assert before < id
        assert ids.successor(before) == id


@given(id=any_id)
def test_text_reads_back(id: ids.ID) -> None:
    assert ids.parse_strict(ids.text(id)) == id
    wire = b"*2\r\n$%d\r\n%s\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n" % (len(ids.text(id)), ids.text(id))
    assert ids.id_of_entry(wire) == id


@pytest.mark.parametrize(("text", "seq"), [(b"5", 9), (b"5-3", 3), (b"-", 0), (b"+", ids.U64_MAX)])
def test_only_a_missing_seq_is_replaced(text: bytes, seq: int) -> None:
    found = ids.parse(text, missing_seq=9)
    assert found is not None
    assert found[1] == seq
