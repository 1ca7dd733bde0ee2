"""Idempotent production, a trap at a time, on a node whose clock is the test's.

No redis-server with it is at hand: the cases follow the facts of Redis 8.6 (its documentation, its
own tests, its error strings). Second opinions are in tests/streams/test_idmp_model.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.respclient import Reply, encode
from tests.sim.node import START_MS, SimNode

INVALID_ID = b"ERR Invalid stream ID specified as stream command argument"
SECOND_MS = 1000


def info(node: SimNode, key: str = "s") -> dict[bytes, Any]:
    flat = node.call("XINFO", "STREAM", key)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def counts(node: SimNode, key: str = "s") -> tuple[int, int, int, int]:
    """pids tracked, iids tracked, iids added, duplicates."""
    found = info(node, key)
    names = (b"pids-tracked", b"iids-tracked", b"iids-added", b"iids-duplicates")
    pids, iids, added, duplicates = (found[name] for name in names)
    return pids, iids, added, duplicates


def add(node: SimNode, pid: str, iid: str, *more: str, key: str = "s") -> Any:
    return node.call("XADD", key, *more, "IDMP", pid, iid, "*", "f", iid)


def refusal(reply: Any) -> str:
    """The line of an error."""
    assert isinstance(reply, Reply) and reply.kind == "-", reply
    line: str = reply.value.decode()
    return line


def records(node: SimNode) -> int:
    return node.engine.journal.next_lsn


# ── words ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("IDMP p i 1-1 f v", "IDMP/IDMPAUTO can be used only with auto-generated IDs"),
        ("IDMP p i 5-* f v", "IDMP/IDMPAUTO can be used only with auto-generated IDs"),
        ("IDMPAUTO p 0-0 f v", "IDMP/IDMPAUTO can be used only with auto-generated IDs"),
        ("IDMP p i IDMP q j * f v", "IDMP/IDMPAUTO specified multiple times"),
        ("IDMPAUTO p IDMP q j * f v", "IDMP/IDMPAUTO specified multiple times"),
        ("IDMP p i IDMPAUTO q * f v", "IDMP/IDMPAUTO specified multiple times"),
        ("IDMPAUTO p IDMPAUTO p * f v", "IDMP/IDMPAUTO specified multiple times"),
        ("IDMP '' i * f v", "IDMP requires a non-empty producer ID"),
        ("IDMP '' '' * f v", "IDMP requires a non-empty producer ID"),
        ("IDMP p '' * f v", "IDMP requires a non-empty idempotent ID"),
        ("idmpauto '' * f v", "IDMPAUTO requires a non-empty producer ID"),
    ],
)
def test_words_that_are_refused(words: str, line: str) -> None:
    node = SimNode()
    before = records(node)
    argv = ["" if word == "''" else word for word in words.split()]
    assert refusal(node.call("XADD", "s", *argv)) == f"ERR syntax error, {line}"
    assert (records(node), node.call("EXISTS", "s")) == (before, 0)


@pytest.mark.parametrize("words", ["IDMP p * f v", "IDMP p i f v g", "IDMPAUTO f v g", "p * f v"])
def test_what_is_no_option_is_read_as_an_id(words: str) -> None:
    assert refusal(SimNode().call("XADD", "s", *words.split())) == INVALID_ID.decode()


def test_any_bytes_make_an_iid() -> None:
    node = SimNode()
    iids = ["*", "-", "+", "$", "IDMP", "1-1", "MAXLEN", "\0", "\0\1", "x" * 70_000, "\r\n"]
    first = [add(node, "p", iid) for iid in iids]
    assert len(set(first)) == len(iids) == node.call("XLEN", "s")
    assert [add(node, "p", iid) for iid in iids] == first


def test_options_stand_in_any_order_and_any_case() -> None:
    node = SimNode()
    one = node.call("XADD", "s", "idmp", "p", "i", "MAXLEN", "~", 100, "*", "f", "v")
    assert node.call("XADD", "s", "MAXLEN", 100, "IDMP", "p", "i", "*", "f", "v") == one
    assert node.call("XADD", "s", "NOMKSTREAM", "Idmp", "p", "i", "*", "f", "v") == one


@pytest.mark.parametrize("version", ["7.4.7", "8.4.0", "8.5.9"])
def test_older_versions_know_nothing_of_it(version: str) -> None:
    node = SimNode(settings={"redis-version": version})
    for words in (["IDMP", "p", "i"], ["IDMPAUTO", "p"]):
        assert refusal(node.call("XADD", "s", *words, "*", "f", "v")) == INVALID_ID.decode()
    node.call("XADD", "s", "1-1", "f", "v")
    assert not [name for name in info(node) if b"idmp" in name or b"iids" in name]


# ── a second time ────────────────────────────────────────────────────────────────────────────────


def test_a_hit_replies_the_first_id_and_adds_nothing() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    node.advance(5)
    assert node.call("XADD", "s", "IDMP", "p", "i", "*", "other", "fields") == first
    assert node.call("XRANGE", "s", "-", "+") == [[first, [b"f", b"i"]]]
    assert counts(node) == (1, 1, 1, 1)


def test_a_hit_replies_the_first_id_of_an_entry_that_is_gone() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    assert node.call("XDEL", "s", first) == 1
    assert add(node, "p", "i") == first
    second = add(node, "p", "j")
    assert node.call("XTRIM", "s", "MAXLEN", 0) == 1
    assert add(node, "p", "j") == second
    assert node.call("XLEN", "s") == 0


def test_a_hit_does_not_trim() -> None:
    node = SimNode()
    for iid in "abc":
        add(node, "p", iid)
    add(node, "p", "a", "MAXLEN", "1")
    assert node.call("XLEN", "s") == 3
    add(node, "p", "d", "MAXLEN", "1")
    assert node.call("XLEN", "s") == 1


def test_a_hit_counts_as_a_write() -> None:
    node = SimNode()
    add(node, "p", "i")
    before = records(node)
    add(node, "p", "i")
    assert records(node) == before + 1
    assert counts(SimNode(node.fs.kill())) == (1, 1, 1, 1)


def test_a_hit_wakes_no_blocked_reader() -> None:
    node = SimNode()
    add(node, "p", "i")
    reader = node.connect()
    reader.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    add(node, "p", "i")
    assert reader.take() is None
    last = add(node, "p", "j")
    reply = reader.take()
    assert reply is not None and last in reply


def test_a_hit_comes_before_the_end_of_all_ids() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    node.call("XADD", "s", f"{(1 << 64) - 1}-{(1 << 64) - 1}", "f", "v")
    assert add(node, "p", "i") == first
    assert refusal(add(node, "p", "j")).startswith(
        "ERR The stream has exhausted the last possible ID"
    )


def test_a_refused_call_leaves_no_producer() -> None:
    """Redis 8.6 to 8.10 leaves an empty one that nothing ever sweeps: its issue 15840."""
    node = SimNode()
    node.call("XADD", "s", f"{(1 << 64) - 1}-{(1 << 64) - 1}", "f", "v")
    before = records(node)
    assert refusal(add(node, "p", "i")).startswith("ERR The stream has exhausted")
    assert (records(node), counts(node)) == (before, (0, 0, 0, 0))


def test_producers_are_apart() -> None:
    node = SimNode()
    assert add(node, "p", "i") != add(node, "q", "i")
    assert add(node, "p", "i") != add(node, "q", "i")
    assert counts(node) == (2, 2, 2, 2)


def test_nomkstream_makes_neither_key_nor_producer() -> None:
    node = SimNode()
    assert add(node, "p", "i", "NOMKSTREAM") is None
    assert node.call("EXISTS", "s") == 0
    node.call("XADD", "s", "*", "f", "v")
    assert add(node, "p", "i", "NOMKSTREAM") == add(node, "p", "i", "NOMKSTREAM")


def test_the_key_may_hold_something_else() -> None:
    node = SimNode()
    node.call("SET", "s", "v")
    assert refusal(add(node, "p", "i")).startswith("WRONGTYPE")


def test_two_calls_in_one_packet() -> None:
    node = SimNode()
    words = [b"XADD", b"s", b"IDMP", b"p", b"i", b"*", b"f", b"v"]
    node.client.feed(encode(words) * 2)
    node.run()
    one, two = node.client.replies()
    assert one == two and node.call("XLEN", "s") == 1


# ── IDMPAUTO ─────────────────────────────────────────────────────────────────────────────────────


def auto(node: SimNode, *fields: str) -> Any:
    return node.call("XADD", "s", "IDMPAUTO", "p", "*", *fields)


def test_idmpauto_knows_fields_in_any_order() -> None:
    node = SimNode()
    first = auto(node, "a", "1", "b", "2", "c", "3")
    assert auto(node, "c", "3", "a", "1", "b", "2") == first
    assert counts(node) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        ["a", "2", "b", "1"],
        ["a", "1"],
        ["a", "1", "b", "2", "a", "1"],
        ["a1", "", "b", "2"],
        ["", "a1", "b", "2"],
        ["b", "2", "c", "1"],
        ["a", "1", "a", "1", "a", "1", "b", "2"],
    ],
)
def test_idmpauto_tells_other_fields_apart(fields: list[str]) -> None:
    node = SimNode()
    assert auto(node, *fields) != auto(node, "a", "1", "b", "2")
    assert node.call("XLEN", "s") == 2


def test_idmpauto_and_idmp_share_the_producer() -> None:
    node = SimNode()
    first = auto(node, "f", "v")
    stream = node.engine.keyspace.stream(node.engine.keyspace.namespaces[0], b"s")
    assert stream is not None and stream.producers is not None
    ((iid, _, _),) = stream.producers.content()[b"p"]
    assert len(iid) == 16
    assert node.call("XADD", "s", "IDMP", "p", iid, "*", "g", "w") == first


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_iid_expires_after_the_time_of_its_id() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    node.advance(99_999)
    assert add(node, "p", "i") == first
    node.advance(1)
    assert counts(node) == (0, 0, 1, 1)
    assert add(node, "p", "i") != first


def test_until_the_second_is_over_an_expired_iid_is_found() -> None:
    node = SimNode()
    node.advance(300)
    first = add(node, "p", "i")
    node.advance(100_500)
    assert add(node, "p", "i") == first
    node.advance(200)
    assert add(node, "p", "i") != first


def test_the_id_decides_not_the_hour_of_the_call() -> None:
    node = SimNode()
    node.call("XADD", "s", f"{START_MS + 50_000}-0", "f", "v")
    first = add(node, "p", "i")
    assert first == b"%d-1" % (START_MS + 50_000)
    node.advance(149_999)
    assert add(node, "p", "i") == first
    node.advance(1)
    assert add(node, "p", "i") != first


def test_an_idle_node_sweeps_by_itself() -> None:
    node = SimNode()
    add(node, "p", "i")
    add(node, "q", "i", key="t")
    node.advance(60_000)
    add(node, "p", "j")
    before = records(node)
    node.advance(40_000)
    held = {stream.key: stream.producers for stream in node.engine.keyspace.by_sid.values()}
    one, other = held[b"s"], held[b"t"]
    assert one is not None and other is not None
    assert [iid for iid, _, _ in one.content()[b"p"]] == [b"j"]
    assert other.content() == {}
    assert records(node) == before + 2
    node.advance(60_000)
    assert one.content() == {}
    assert node.engine.sweeper.next_deadline_ms() is None


def test_a_node_without_producers_has_nothing_to_sweep() -> None:
    node = SimNode()
    node.call("XADD", "s", "*", "f", "v")
    assert node.engine.sweeper.next_deadline_ms() is None
    assert node.engine.keyspace.unwatched == []


def test_a_stream_that_left_memory_is_swept_when_it_comes_back() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    node.flush()
    node.engine.keyspace.resident_limit_bytes = 0
    assert node.engine.keyspace.make_room(set()) == 1
    node.advance(100_000)
    assert node.engine.keyspace.by_sid == {}
    assert counts(node) == (0, 0, 1, 0)
    assert add(node, "p", "i") != first


def test_a_restart_does_not_make_iids_older_or_younger() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    node.advance(99_000)
    node = node.reopen()
    assert add(node, "p", "i") == first
    node.advance(1_000)
    assert counts(node) == (0, 0, 1, 1)


def test_a_clock_that_is_set_back_brings_nothing_back() -> None:
    node = SimNode()
    first = add(node, "p", "i")
    node.advance(200_000)
    node.call("PING")
    node.clock.set_wall_ms(START_MS)
    assert add(node, "p", "i") != first


def test_many_streams_are_swept_some_at_a_time() -> None:
    node = SimNode()
    for n in range(600):
        add(node, "p", "i", key=f"s{n}")
    node.advance(100_000)
    node.advance(0)
    node.advance(0)
    held = node.engine.keyspace.by_sid.values()
    assert not [stream.key for stream in held if stream.producers and stream.producers.content()]


# ── room ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_oldest_iid_of_a_producer_leaves_first() -> None:
    node = SimNode()
    add(node, "q", "old")
    node.call("XCFGSET", "s", "IDMP-MAXSIZE", 3)
    other = add(node, "q", "old")
    ids = {iid: add(node, "p", iid) for iid in "abcd"}
    assert [add(node, "p", iid) == ids[iid] for iid in "bcd"] == [True] * 3
    assert add(node, "p", "a") != ids["a"]
    assert add(node, "p", "b") != ids["b"]
    assert add(node, "p", "d") == ids["d"]
    assert add(node, "q", "old") == other
    assert counts(node)[:2] == (2, 4)


def test_a_hit_does_not_make_an_iid_young() -> None:
    node = SimNode(settings={"stream-idmp-maxsize": "2"})
    first = add(node, "p", "a")
    add(node, "p", "b")
    assert add(node, "p", "a") == first
    add(node, "p", "c")
    assert add(node, "p", "a") != first


@pytest.mark.parametrize("maxsize", [1, 2, 8, 100])
def test_as_many_as_there_is_room_for_are_known(maxsize: int) -> None:
    node = SimNode(settings={"stream-idmp-maxsize": str(maxsize)})
    ids = [add(node, "p", f"i{n}") for n in range(250)]
    kept = range(250 - maxsize, 250)
    assert [add(node, "p", f"i{n}") for n in kept] == [ids[n] for n in kept]
    assert add(node, "p", f"i{249 - maxsize}") != ids[249 - maxsize]


# ── XCFGSET ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "ERR At least one parameter must be specified"),
        ("NONSENSE", "ERR syntax error"),
        ("NONSENSE 5", "ERR syntax error"),
        ("IDMP-DURATION", "ERR syntax error"),
        ("IDMP-DURATION 5 IDMP-MAXSIZE", "ERR syntax error"),
        ("IDMP-DURATION x", "ERR value is not an integer or out of range"),
        ("IDMP-DURATION 000", "ERR value is not an integer or out of range"),
        ("IDMP-MAXSIZE 3.14", "ERR value is not an integer or out of range"),
        ("IDMP-MAXSIZE INVALID IDMP-DURATION", "ERR value is not an integer or out of range"),
        ("IDMP-DURATION 0", "ERR IDMP-DURATION must be between 1 and 86400 seconds"),
        ("IDMP-DURATION -1", "ERR IDMP-DURATION must be between 1 and 86400 seconds"),
        ("IDMP-DURATION 86401", "ERR IDMP-DURATION must be between 1 and 86400 seconds"),
        ("IDMP-MAXSIZE 0", "ERR IDMP-MAXSIZE must be between 1 and 10000 entries"),
        ("idmp-maxsize 10001", "ERR IDMP-MAXSIZE must be between 1 and 10000 entries"),
        ("IDMP-DURATION 5 IDMP-DURATION 5", "ERR IDMP-DURATION specified multiple times"),
        ("IDMP-MAXSIZE 5 IDMP-MAXSIZE 6", "ERR IDMP-MAXSIZE specified multiple times"),
    ],
)
def test_xcfgset_refuses(words: str, line: str) -> None:
    node = SimNode()
    add(node, "p", "i")
    before = records(node)
    assert refusal(node.call("XCFGSET", "s", *words.split())) == line
    assert records(node) == before


def test_xcfgset_needs_a_stream() -> None:
    node = SimNode()
    assert refusal(node.call("XCFGSET", "s", "IDMP-DURATION", 5)) == "ERR no such key"
    node.call("SET", "s", "v")
    assert refusal(node.call("XCFGSET", "s", "IDMP-DURATION", 5)).startswith("WRONGTYPE")


@pytest.mark.parametrize("words", [["IDMP-DURATION", "60"], ["IDMP-MAXSIZE", "5000"]])
def test_xcfgset_with_a_new_value_forgets_everything(words: list[str]) -> None:
    node = SimNode()
    first = add(node, "p", "i")
    add(node, "q", "i")
    add(node, "q", "i")
    assert node.call("XCFGSET", "s", *words) == b"OK"
    assert counts(node) == (0, 0, 2, 1)
    assert info(node)[words[0].lower().encode()] == int(words[1])
    assert add(node, "p", "i") != first


def test_xcfgset_with_the_same_values_forgets_nothing() -> None:
    """The documentation says it always does; Redis does not."""
    node = SimNode()
    first = add(node, "p", "i")
    before = records(node)
    assert node.call("XCFGSET", "s", "IDMP-DURATION", 100, "IDMP-MAXSIZE", 100) == b"OK"
    assert records(node) == before
    assert add(node, "p", "i") == first


def test_a_longer_duration_counts_from_now_on() -> None:
    node = SimNode()
    add(node, "p", "i")
    node.call("XCFGSET", "s", "IDMP-DURATION", 300)
    first = add(node, "p", "i")
    node.advance(299_000)
    assert add(node, "p", "i") == first
    node.advance(1_000)
    assert add(node, "p", "i") != first


def test_a_stream_takes_its_configuration_from_the_settings_when_it_begins() -> None:
    node = SimNode()
    node.call("XADD", "old", "*", "f", "v")
    assert node.call("CONFIG", "SET", "stream-idmp-duration", 7, "stream-idmp-maxsize", 9) == b"OK"
    assert node.call("CONFIG", "GET", "stream-idmp-*") == [
        b"stream-idmp-duration",
        b"7",
        b"stream-idmp-maxsize",
        b"9",
    ]
    add(node, "p", "i", key="new")
    add(node, "p", "i", key="old")
    node.call("XGROUP", "CREATE", "made", "g", "$", "MKSTREAM")
    node.call("CONFIG", "SET", "stream-idmp-duration", 100, "stream-idmp-maxsize", 100)
    for again in (node, node.reopen()):
        for key, duration, maxsize in (("old", 100, 100), ("new", 7, 9), ("made", 7, 9)):
            found = info(again, key)
            assert (found[b"idmp-duration"], found[b"idmp-maxsize"]) == (duration, maxsize)


@pytest.mark.parametrize("name", ["stream-idmp-duration", "stream-idmp-maxsize"])
@pytest.mark.parametrize("value", ["0", "-1", "86401"])
def test_settings_have_the_bounds_of_xcfgset(name: str, value: str) -> None:
    assert "must be between 1 and" in refusal(SimNode().call("CONFIG", "SET", name, value))


# ── XIDMPRECORD ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["s", "", "i", "1-1"], "ERR producer ID must be non-empty"),
        (["s", "p", "", "1-1"], "ERR idempotent ID must be non-empty"),
        (["s", "p", "i", "-"], INVALID_ID.decode()),
        (["none", "p", "i", "nonsense"], INVALID_ID.decode()),
        (["none", "p", "i", "1-1"], "ERR no such key"),
        (
            ["text", "p", "i", "1-1"],
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (["s", "p", "i", "9-9"], "ERR No such message in stream"),
        (["s", "p", "i", "2-2"], "ERR No such message in stream"),
        (
            ["s", "p", "known", "3-3"],
            "ERR IID already exists for this producer with a different stream ID",
        ),
    ],
)
def test_xidmprecord_refuses(words: list[str], line: str) -> None:
    node = SimNode()
    node.call("SET", "text", "v")
    for at in ("1-1", "2-2", "3-3", f"{START_MS}-0"):
        node.call("XADD", "s", at, "f", "v")
    node.call("XDEL", "s", "2-2")
    node.call("XIDMPRECORD", "s", "p", "known", f"{START_MS}-0")
    before = records(node)
    assert refusal(node.call("XIDMPRECORD", *words)) == line
    assert records(node) == before


def test_xidmprecord_makes_a_later_xadd_a_hit() -> None:
    node = SimNode()
    at = node.call("XADD", "s", "*", "f", "v")
    assert node.call("XIDMPRECORD", "s", "p", "i", at) == b"OK"
    before = records(node)
    assert node.call("XIDMPRECORD", "s", "p", "i", at) == b"OK"
    assert records(node) == before
    assert add(node, "p", "i") == at
    assert counts(node) == (1, 1, 0, 1)


# ── XINFO and the end ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("full", [[], ["FULL"]])
def test_the_fields_stand_where_redis_has_them(full: list[str]) -> None:
    node = SimNode()
    add(node, "p", "i")
    names = node.call("XINFO", "STREAM", "s", *full)[::2]
    at = names.index(b"recorded-first-entry-id") + 1
    assert names[at : at + 6] == [
        b"idmp-duration",
        b"idmp-maxsize",
        b"pids-tracked",
        b"iids-tracked",
        b"iids-added",
        b"iids-duplicates",
    ]
    assert names[at + 6] == (b"entries" if full else b"groups")
    assert len(names) == (15 if full else 16)


def test_a_plain_stream_shows_the_usual_configuration() -> None:
    node = SimNode()
    node.call("XADD", "s", "*", "f", "v")
    assert (info(node)[b"idmp-duration"], info(node)[b"idmp-maxsize"]) == (100, 100)
    assert counts(node) == (0, 0, 0, 0)


@pytest.mark.parametrize("end", [["DEL", "s"], ["FLUSHALL"], ["SET", "s", "v"]])
@pytest.mark.parametrize("flushed", [True, False])
def test_what_ends_the_stream_ends_its_producers(end: list[str], flushed: bool) -> None:
    node = SimNode()
    first = add(node, "p", "i")
    if flushed:
        node.flush()
    node.call(*end)
    node.call("DEL", "s")
    node.advance(1)
    assert add(node, "p", "i") != first
    assert counts(node) == (1, 1, 1, 0)
    node.call("DEL", "s")
    node.flush()
    assert [key[:1] for key, _ in node.store.scan_rows(b"", None)] == [b"N"]


def test_a_full_disk_refuses_before_anything_is_touched() -> None:
    node = SimNode()
    add(node, "p", "i")
    node.engine.upkeep.memtable_limit_bytes = 0
    node.engine.upkeep._retry_ms = node.clock.monotonic_ms() + SECOND_MS
    node.engine.verbs.log_room = 0
    before = records(node)
    assert refusal(add(node, "p", "i")).startswith("MISCONF")
    assert refusal(add(node, "p", "j")).startswith("MISCONF")
    assert (records(node), counts(node)) == (before, (1, 1, 1, 0))


def test_an_eviction_may_leave_an_older_iid_first() -> None:
    """XIDMPRECORD brings iids in any order; the sweep must still find what has expired."""
    node = SimNode(settings={"stream-idmp-duration": "1", "stream-idmp-maxsize": "2"})
    old = node.call("XADD", "s", "*", "f", "v")
    node.advance(50_000)
    add(node, "p", "young")
    node.call("XIDMPRECORD", "s", "p", "old", old)
    node.call("XADD", "s", "IDMP", "p", "next", "*", "f", "v")
    assert counts(node)[:2] == (1, 1)
    assert add(node, "p", "old") != old
