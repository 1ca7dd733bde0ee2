"""DUMP and RESTORE against redis-server 8.2.3 and 7.0.15, in both directions.

A stream is made by drawn commands, ugly on purpose. Its payload from there must make the same
stream here: all that XINFO and XRANGE know, to the byte, and what is pending. Our payload of that
must make the same stream there again. Both go on with the same commands then, which shows what
XINFO does not: where nodes end, and how full the last one is. A second reader of payloads
(rdb_model) says where they are not the same bytes.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.respclient import Client, Reply
from tests.servers import REDIS_8_VERSION
from tests.streams.node import Node
from tests.streams.rdb_model import listpack_elements, stream_of

Words = list[Any]
RADIX_NODES = re.compile(rb"(\$16\r\nradix-tree-nodes\r\n:)\d+")
RADIX_KEYS = re.compile(rb"(\$15\r\nradix-tree-keys\r\n:)\d+")
EXAMPLES = int(os.environ.get("RESPQ_DUMP_EXAMPLES", "60"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

values = st.one_of(
    st.sampled_from([b"", b"v", b"0", b"-1", b"007", b"12", b"-4096", b"4095", b"70000", b"2.50"]),
    st.sampled_from([b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808"]),
    st.sampled_from([b"x" * 63, b"x" * 64, b"y" * 4095, b"y" * 4096, b"\xff\r\n\0", b"ab" * 9000]),
    st.integers(-(1 << 40), 1 << 40).map(lambda n: b"%d" % n),
    st.binary(max_size=30),
)
names = st.sampled_from([b"f", b"temperature", b"1", b"", b"g" * 70])
fields = st.one_of(
    values.map(lambda value: [b"f", value]),
    values.map(lambda value: [b"f", value]),
    st.lists(st.tuples(names, values), min_size=1, max_size=5).map(
        lambda pairs: [word for pair in pairs for word in pair]
    ),
)
GROUPS = (b"g", b"12", b"a group of more than twenty bytes")
groups = st.sampled_from([b"g", b"g", *GROUPS])
consumers = st.sampled_from([b"a", b"b", b"7", b"", b"longer-than-twenty-bytes-it-is"])
id_lists = st.lists(
    st.integers(0, 30).map(lambda n: b"%d-1" % n), min_size=1, max_size=6, unique=True
)


def drawn(*parts: Any) -> st.SearchStrategy[Words]:
    """A command: strategies and words; a drawn list is several words."""

    def flat(found: tuple[Any, ...]) -> Words:
        words: Words = []
        for part in found:
            words += part if isinstance(part, list) else [part]
        return words

    return st.tuples(
        *(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)
    ).map(flat)


adds = drawn(b"XADD", b"s", b"*1", fields)
losses = st.one_of(
    drawn(b"XDEL", b"s", id_lists),
    drawn(b"XDEL", b"s", id_lists),
    drawn(b"XDEL", b"s", id_lists),
    drawn(b"XTRIM", b"s", b"MAXLEN", st.integers(2, 20)),
    drawn(b"XTRIM", b"s", b"MAXLEN", b"~", st.integers(2, 20)),
    drawn(b"XTRIM", b"s", b"MINID", st.integers(0, 9)),
)
reads = drawn(
    *(b"XREADGROUP", b"GROUP", groups, consumers, b"COUNT", st.integers(1, 9)),
    *(b"STREAMS", b"s", b">"),
)
group_commands = st.one_of(
    reads,
    reads,
    reads,
    reads,
    drawn(b"XGROUP", b"CREATE", b"s", b"h", st.sampled_from([b"0", b"$", b"5-1"])),
    drawn(b"XGROUP", b"CREATE", b"s", b"i", b"0", b"ENTRIESREAD", st.integers(0, 9)),
    drawn(b"XGROUP", b"SETID", b"s", groups, st.sampled_from([b"0", b"$", b"9-1"])),
    drawn(b"XGROUP", b"CREATECONSUMER", b"s", groups, consumers),
    drawn(b"XGROUP", b"DELCONSUMER", b"s", groups, consumers),
    drawn(b"XACK", b"s", groups, id_lists),
    drawn(
        *(b"XCLAIM", b"s", groups, consumers, 0, id_lists),
        *(b"TIME", st.integers(1, 1 << 41), b"RETRYCOUNT", st.integers(0, 1 << 33), b"FORCE"),
    ),
)
rare = st.one_of(
    drawn(b"XSETID", b"s", b"100000-0", b"ENTRIESADDED", 5000, b"MAXDELETEDID", b"3-1"),
    drawn(b"XADD", b"s", b"18446744073709551615-18446744073709551614", b"f", b"v"),
    drawn(b"XTRIM", b"s", b"MAXLEN", 0),
)
commands = st.one_of(adds, adds, adds, adds, losses, group_commands, group_commands)
streams = st.tuples(
    st.tuples(st.lists(fields, min_size=1, max_size=6), st.integers(0, 40)),
    st.lists(commands, min_size=8, max_size=40),
    st.lists(rare, max_size=1),
    st.sampled_from([(100, 4096), (3, 4096), (3, 4096), (10, 300), (0, 0)]),
)
further = st.lists(st.one_of(adds, losses, losses, group_commands), max_size=8)


class Pair:
    """A redis-server and a node in process."""

    def __init__(self, client: Client, presents: str) -> None:
        self.client = client
        self.node = Node(presents=presents)
        self.next_ms = 0
        client.call("FLUSHALL")

    def ask(self, *words: Any) -> Any:
        return self.client.call(*words)

    def configure(self, entries: int, size: int) -> None:
        for name, value in (("entries", entries), ("bytes", size)):
            self.ask("CONFIG", "SET", f"stream-node-max-{name}", value)
            self.node.set(f"stream-node-max-{name}", value)

    def resolved(self, words: Words) -> Words:
        """With an ID where the command wants the next one."""
        if b"*1" in words:
            self.next_ms += 1 + self.next_ms % 3
            words = [b"%d-1" % self.next_ms if word == b"*1" else word for word in words]
        return words

    def make(self, drawn_stream: Any) -> None:
        (kinds, entries), ugly, strange, (node_entries, node_bytes) = drawn_stream
        self.configure(node_entries, node_bytes)
        for i in range(entries):
            self.ask(*self.resolved([b"XADD", b"s", b"*1", *kinds[i % len(kinds)]]))
        for group in GROUPS[: 1 + entries % 3]:
            self.ask("XGROUP", "CREATE", "s", group, "0", "MKSTREAM")
        for words in [*ugly, *strange]:
            words = self.resolved(words)
            note(words)
            self.ask(*words)

    def state(self, call: Any, raw: Any, key: str) -> dict[str, Any]:
        """All that is known of a stream."""
        full = RADIX_NODES.sub(rb"\g<1>", raw("XINFO", "STREAM", key, "FULL", "COUNT", 0))
        found = {
            "full": full,
            "groups": raw("XINFO", "GROUPS", key),
            "range": raw("XRANGE", key, "-", "+"),
            "back": raw("XREVRANGE", key, "+", "-"),
        }
        for group in call("XINFO", "GROUPS", key):
            found[f"pending {group[1]}"] = raw("XPENDING", key, group[1])
        return found

    def states(self, key: str = "s") -> list[dict[str, Any]]:
        return [
            self.state(self.client.call, self.client.raw, key),
            self.state(self.node.call, self.node.raw, key),
        ]


def same_payload(theirs: bytes, ours: bytes) -> None:
    """The payloads say the same; the nodes are the same but for one that a trim has cut, and such
    as 7.0 sometimes keeps although none of their entries is left.
    """
    one, other = stream_of(theirs), stream_of(ours)
    nodes = [
        [node for node in found.pop("nodes") if listpack_elements(node[1])[0] != b"0"]
        for found in (one, other)
    ]
    assert one == other
    assert len(nodes[0]) == len(nodes[1])
    if nodes[0]:
        assert nodes[0][1:] == nodes[1][1:]


@SETTINGS
@given(streams, further)
def test_a_stream_of_8_2_comes_and_goes(
    oracle: Client, drawn_stream: Any, commands: list[Words]
) -> None:
    pair = Pair(oracle, REDIS_8_VERSION)
    pair.make(drawn_stream)
    payload = pair.ask("DUMP", "s")
    assert pair.node.call("RESTORE", "s", 0, payload) == b"OK"
    pair.node.check()
    theirs, ours = pair.states()
    assert theirs == ours
    again = pair.node.call("DUMP", "s")
    same_payload(payload, again)
    assert pair.ask("RESTORE", "back", 0, again) == b"OK"
    back = pair.state(oracle.call, oracle.raw, "back")
    assert back == theirs
    assert pair.node.replayed().rows() == pair.node.rows()

    for words in commands:
        words = pair.resolved(words)
        note(words)
        if words[0] in (b"XREADGROUP", b"XCLAIM", b"XGROUP"):
            continue  # their times are those of the clocks
        assert pair.client.raw(*words) == pair.node.raw(*words)
    theirs, ours = pair.states()
    assert theirs == ours


@SETTINGS
@given(streams, st.sampled_from([15, 19]))
def test_a_stream_of_7_0_comes_and_goes(
    older_oracle: Client, drawn_stream: Any, rdb_type: int
) -> None:
    pair = Pair(older_oracle, REDIS_8_VERSION)
    pair.make(drawn_stream)
    payload = pair.ask("DUMP", "s")
    assert payload[0] == 19
    assert pair.node.call("RESTORE", "s", 0, payload) == b"OK"
    pair.node.check()
    pair.node.set("rdb-stream-type", rdb_type)
    again = pair.node.call("DUMP", "s")
    if rdb_type == 19:
        same_payload(payload, again)
    assert pair.ask("RESTORE", "back", 0, again) == b"OK"
    theirs = pair.state(older_oracle.call, older_oracle.raw, "s")
    back = pair.state(older_oracle.call, older_oracle.raw, "back")
    if rdb_type == 19:
        for state in (theirs, back):
            state["full"] = RADIX_KEYS.sub(rb"\g<1>", state["full"])
        assert back == theirs
    else:
        assert (back["range"], back["back"]) == (theirs["range"], theirs["back"])


def test_older_types_are_read_as_8_2_reads_them(oracle: Client) -> None:
    """What is estimated where the type has no place for it."""
    node = Node(presents=REDIS_8_VERSION)
    oracle.call("FLUSHALL")
    for i in range(1, 9):
        node.call("XADD", "s", f"{i}-0", "f", i)
    for group, start in ((b"zero", 0), (b"mid", "4-0"), (b"end", "$"), (b"gone", "1-0")):
        node.call("XGROUP", "CREATE", "s", group, start)
    node.call("XREADGROUP", "GROUP", "zero", "c", "COUNT", 2, "STREAMS", "s", ">")
    node.call("XDEL", "s", "1-0", "6-0")
    for rdb_type in (15, 19, 21):
        node.set("rdb-stream-type", rdb_type)
        payload = node.call("DUMP", "s")
        assert payload[0] == rdb_type
        key = f"of {rdb_type}"
        for server in (oracle, node):
            assert server.call("RESTORE", key, 0, payload) == b"OK"
        theirs, ours = (
            RADIX_NODES.sub(b"", server.raw("XINFO", "STREAM", key, "FULL", "COUNT", 0))
            for server in (oracle, node)
        )
        assert theirs == ours


@pytest.mark.parametrize("version", [8, 7])
def test_long_values_and_many_fields(version: int, oracle: Client, older_oracle: Client) -> None:
    client = oracle if version == 8 else older_oracle
    pair = Pair(client, REDIS_8_VERSION)
    pair.node.set("rdb-stream-type", 21 if version == 8 else 19)
    for value in (b"x" * 16377, b"x" * 16378, b"x" * 16379, b"rnd" * 70_000, b"1" * 20, b"1" * 19):
        pair.ask(*pair.resolved([b"XADD", b"s", b"*1", b"f", value]))
    many = [word for i in range(40_000) for word in (b"field-%d" % i, b"%d" % i)]
    pair.ask(*pair.resolved([b"XADD", b"s", b"*1", *many]))
    payload = pair.ask("DUMP", "s")
    assert pair.node.call("RESTORE", "s", 0, payload) == b"OK"
    assert client.raw("XRANGE", "s", "-", "+") == pair.node.raw("XRANGE", "s", "-", "+")
    again = pair.node.call("DUMP", "s")
    assert stream_of(again)["nodes"] == stream_of(payload)["nodes"]
    assert pair.ask("RESTORE", "t", 0, again) == b"OK"
    assert client.raw("XRANGE", "s", "-", "+") == client.raw("XRANGE", "t", "-", "+")


@pytest.mark.parametrize("version", [8, 7])
def test_strings(version: int, oracle: Client, older_oracle: Client) -> None:
    client = oracle if version == 8 else older_oracle
    node = Node(presents=REDIS_8_VERSION)
    node.set("rdb-stream-type", 21 if version == 8 else 19)
    client.call("FLUSHALL")
    found = [b"", b"v", b"12", b"-129", b"32768", b"-2147483649", b"2147483647", b"0012", b"a" * 21]
    found += [bytes(range(256)), b"abc" * 100_000, b"9" * 12]
    for at, value in enumerate(found):
        client.call("SET", f"k{at}", value)
        assert node.call("RESTORE", f"k{at}", 0, client.call("DUMP", f"k{at}")) == b"OK"
        assert node.call("GET", f"k{at}") == value
        assert client.call("RESTORE", f"c{at}", 0, node.call("DUMP", f"k{at}")) == b"OK"
        assert client.call("GET", f"c{at}") == value


def test_what_redis_has_and_we_have_not(oracle: Client) -> None:
    node = Node(presents=REDIS_8_VERSION)
    oracle.call("FLUSHALL")
    oracle.call("RPUSH", "list", "a", "b")
    refused = node.call("RESTORE", "list", 0, oracle.call("DUMP", "list"))
    assert refused == Reply("-", b"ERR Bad data format")
