"""Commands on keys and strings."""

from __future__ import annotations

import pytest

from tests.respserver.fakes import Node
from tests.servers import Server

OK = b"+OK\r\n"
# Commands that both servers answer alike, one after the other on one connection.
DIALOGUES = {
    "scan cursors": (
        *("SCAN 0", "SCAN +0", "SCAN -0", "SCAN 00", "SCAN -1", "SCAN x", "SCAN 0x", "SCAN +"),
        *("SCAN 18446744073709551615", "SCAN 18446744073709551616", "SCAN \t7", "SCAN 7\t"),
        *("SCAN 0\x00x", "SCAN \x000"),
    ),
    "scan options": (
        "SET a 1",
        "SET b 1",
        *("SCAN 0 COUNT 0", "SCAN 0 COUNT -1", "SCAN 0 COUNT x", "SCAN 0 COUNT", "SCAN 0 MATCH"),
        *("SCAN 0 TYPE", "SCAN 0 FOO", "SCAN 0 FOO x", "SCAN 0 MATCH a COUNT 100 TYPE STRING"),
        *("SCAN 0 MATCH * COUNT 100 TYPE stream", "SCAN 0 TYPE nope", "SCAN 0 MATCH b MATCH a"),
        "SCAN 0 COUNT 9223372036854775808",
    ),
    "flushing": (
        *("SET a 1", "FLUSHDB FOO", "FLUSHDB SYNC ASYNC", "FLUSHALL SYNC x", "DBSIZE"),
        *("FLUSHDB sync", "DBSIZE", "SET a 1", "SELECT 2", "SET a 1", "FLUSHALL async", "DBSIZE"),
        *("SELECT 0", "DBSIZE"),
    ),
    "set and get": (
        *("GET k", "SET k v", "GET k", "SET k w NX", "GET k", "SET k w XX", "GET k"),
        *("SET other v XX", "GET other", "SET other v NX", "GET other", "SET k x GET", "GET k"),
        *("SET k y NX GET", "GET k", "SET new y NX GET", "GET new", "SET none y XX GET"),
        *("GET none", "SET k z GET XX", "GET k", "SET k v KEEPTTL", "SET k v get keepttl"),
        *("SET k v NX XX", "SET k v XX NX GET", "SET k v FOO", "SET k v nx nx", "SET k v EX"),
        *("SET k v PX", "SET k v EXAT", "TYPE k", "TYPE missing", "DEL k k k", "EXISTS k other"),
        *("EXISTS other other", "UNLINK other other missing", "DBSIZE"),
    ),
}


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogues(name: str, proto: int, oracle: Server) -> None:
    node = Node()
    node.client.proto = proto
    with oracle.connect(proto) as client:
        client.call("FLUSHALL")
        for line in DIALOGUES[name]:
            words = line.split(" ")
            assert node.run(*words) == client.raw(*words), line
        client.call("FLUSHALL")


def test_a_stream_is_no_string() -> None:
    node = Node()
    node.stream(b"s")
    wrong = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
    assert node.run("GET", "s") == wrong
    assert node.run("SET", "s", "v", "GET") == wrong
    assert node.run("SET", "s", "v", "NX", "GET") == wrong
    assert node.run("TYPE", "s") == b"+stream\r\n"
    assert node.run("SET", "s", "v", "NX") == b"$-1\r\n"
    assert node.run("SET", "s", "v") == OK
    assert node.run("TYPE", "s") == b"+string\r\n"


def test_scan_sees_every_key() -> None:
    node = Node()
    for number in range(100):
        node.run("SET", f"k{number}", "v")
        node.stream(b"s%d" % number)
    seen: list[bytes] = []
    cursor = b"0"
    pages = 0
    while cursor != b"0" or pages == 0:
        words = node.run("SCAN", cursor, "COUNT", "7", "TYPE", "stream").split(b"\r\n")
        cursor = words[2]
        seen += [word for word in words if word.startswith(b"s")]
        pages += 1
    assert sorted(seen) == sorted(b"s%d" % number for number in range(100))
    assert pages > 20


def test_keys_matches_names() -> None:
    node = Node()
    for key in (b"apple", b"", b"\xff"):
        node.stream(key)
    assert node.run("KEYS", "a*") == b"*1\r\n$5\r\napple\r\n"
    assert node.run("KEYS", "*") == b"*3\r\n$5\r\napple\r\n$0\r\n\r\n$1\r\n\xff\r\n"


def test_only_databases_with_keys_are_flushed() -> None:
    node = Node()
    assert node.run("FLUSHALL") == OK
    assert node.run("FLUSHDB") == OK
    assert node.server.keyspace.flushed == []
    node.stream(b"s", db=3)
    node.stream(b"s", db=7)
    assert node.run("FLUSHDB") == OK
    assert node.run("FLUSHALL") == OK
    assert node.server.keyspace.flushed == [3, 7]
