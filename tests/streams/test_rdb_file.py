"""Whole RDB files: of redis-server with every type it has, and made by hand; read piecemeal."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from streams.rdb.crc64 import checksum
from streams.rdb.file import OtherValue, RdbFile, StreamValue, StringValue, Value
from streams.rdb.reader import RdbError, RdbTooLarge
from tests import servers
from tests.respclient import Client
from tests.streams.rdb_model import id_bytes, length, node, string

LIST_OF_ALL = (
    (b"RPUSH", b"list", b"a", b"b", b"c" * 70),
    (b"RPUSH", b"long list", *[b"%d" % i for i in range(2000)]),
    (b"RPUSH", b"list of large", b"x" * 9000, b"y"),
    (b"SADD", b"ints", b"1", b"2", b"70000"),
    (b"SADD", b"set", b"a", b"1"),
    (b"SADD", b"large set", *[b"member %d" % i for i in range(300)]),
    (b"ZADD", b"zset", b"1.5", b"a", b"-inf", b"b"),
    (b"ZADD", b"large zset", *[w for i in range(300) for w in (b"%d.25" % i, b"m%d" % i)]),
    (b"HSET", b"hash", b"f", b"v", b"g", b"12"),
    (b"HSET", b"large hash", *[w for i in range(700) for w in (b"f%d" % i, b"v%d" % i)]),
    (b"PFADD", b"hll", b"a", b"b"),
)
WITH_TIMES = (
    (b"HSET", b"timed", b"f", b"v", b"g", b"w"),
    (b"HPEXPIRE", b"timed", b"100000000", b"FIELDS", b"1", b"f"),
    (b"HSET", b"large timed", *[w for i in range(700) for w in (b"f%d" % i, b"v%d" % i)]),
    (b"HPEXPIRE", b"large timed", b"100000000", b"FIELDS", b"2", b"f1", b"f9"),
)
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"


def pieces(data: bytes, size: int):  # type: ignore[no-untyped-def]
    """A ``read`` that gives up to ``size`` bytes at a time."""
    at = 0

    def read(n: int) -> bytes:
        nonlocal at
        found = data[at : at + min(n, size)]
        at += len(found)
        return found

    return read


@pytest.fixture(scope="module", params=[8, 7])
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Client, bytes]]:
    """A redis-server with something of everything, and the file that it saved."""
    folder: pathlib.Path = tmp_path_factory.mktemp("saved") / "redis"
    with servers.redis(folder, request.param) as server, server.connect() as client:
        for words in (*LIST_OF_ALL, *(WITH_TIMES if request.param == 8 else ())):
            assert not hasattr(client.call(*words), "kind")
        client.call(
            "FUNCTION",
            "LOAD",
            "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
        )
        client.call("SET", "string", "value" * 100, "PXAT", 4_000_000_000_000)
        client.call("SET", "number", -12)
        for i in range(1, 400):
            client.call("XADD", "s", f"{i}-0", "n", i, "f", "x" * (i % 50))
        client.call("XDEL", "s", "5-0", "6-0", "399-0")
        client.call("XGROUP", "CREATE", "s", "g", 0)
        client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 150, "STREAMS", "s", ">")
        client.call("PEXPIREAT", "s", 4_000_000_000_001)
        client.call("SELECT", 3)
        client.call("XGROUP", "CREATE", "empty", "g", "$", "MKSTREAM")
        client.call("SELECT", 0)
        assert client.call("SAVE") == b"OK"
        yield request.param, client, (folder / "dump.rdb").read_bytes()


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_file_of_redis(saved: tuple[int, Client, bytes], size: int) -> None:
    version, client, data = saved
    file = RdbFile(pieces(data, size))
    found: dict[tuple[int, bytes], Value] = {}
    entries = b""
    deleted: list[list[int]] = []
    for value in file:
        found[value.key.db, value.key.name] = value
        if value.key.name == b"s":
            assert isinstance(value, StreamValue)
            for one in value:
                entries += one.wire
                deleted.append(one.deleted)
    assert file.version == (12 if version == 8 else 10)
    assert file.offset == len(data)
    assert file.about[b"redis-ver"] == (b"8.2.3" if version == 8 else b"7.0.15")
    assert deleted == [[4, 5], [], [], [98]]
    assert file.functions == 1
    assert file.sizes == {0: client.call("DBSIZE"), 3: 1}
    assert {name for db, name in found if db == 0} == set(client.call("KEYS", "*"))
    for (db, name), value in found.items():
        kind = client.call("TYPE", name) if db == 0 else b"stream"
        told = {StringValue: b"string", StreamValue: b"stream"}.get(type(value))
        assert (value.kind.encode() if isinstance(value, OtherValue) else told) == kind
        if isinstance(value, StringValue) and name != b"hll":
            assert value.value == client.call("GET", name)
    assert found[0, b"string"].key.expires_ms == 4_000_000_000_000
    assert found[0, b"s"].key.expires_ms == 4_000_000_000_001
    assert found[0, b"number"].key.expires_ms == 0
    head = found[0, b"s"]
    assert isinstance(head, StreamValue)
    assert (head.head().length, head.head().groups[0].pending.length) == (396, 150)
    assert entries.count(b"*2\r\n$") == 399
    empty = found[3, b"empty"]
    assert isinstance(empty, StreamValue)
    assert [group.name for group in empty.head().groups] == [b"g"]


def test_a_file_cut_short_or_damaged(saved: tuple[int, Client, bytes]) -> None:
    _, _, data = saved
    for end in (0, 5, 8, 9, 20, len(data) // 2, len(data) - 9, len(data) - 1):
        with pytest.raises(RdbError):
            list(RdbFile(pieces(data[:end], 1 << 16)))
    at = data.index(b"value")
    damaged = data[:at] + b"w" + data[at + 1 :]
    with pytest.raises(RdbError, match="checksum"):
        list(RdbFile(pieces(damaged, 1 << 16)))
    unchecked = damaged[:-8] + bytes(8)
    assert list(RdbFile(pieces(unchecked, 1 << 16)))


def file_of(*ops: bytes, magic: bytes = b"REDIS0011", end: bytes = b"\xff") -> bytes:
    body = magic + b"".join(ops) + end
    return body + checksum(body, len(body)).to_bytes(8, "little")


def key(rdb_type: int, name: bytes, value: bytes) -> bytes:
    return bytes((rdb_type,)) + string(name) + value


OLD_AND_STRANGE = (
    (1, length(2) + string(b"a") + string(b"b"), "list"),
    (3, length(2) + string(b"a") + b"\x031.5" + string(b"b") + b"\xfd", "zset"),
    (3, length(1) + string(b"c") + b"\xff", "zset"),
    (9, string(b"zipmap"), "hash"),
    (10, string(b"ziplist"), "list"),
    (12, string(b"ziplist"), "zset"),
    (13, string(b"ziplist"), "hash"),
    (14, length(1) + string(b"ziplist"), "list"),
    (22, length(1) + length(5) + string(b"f") + string(b"v"), "hash"),
    (23, string(b"listpack"), "hash"),
    (7, length(99) + b"\x02\x05\x01\x06\x03abcd\x04abcdefgh\x05\x01x\x00", "module"),
)


def test_types_that_new_servers_write_no_more() -> None:
    ops = [key(kind, b"k%d" % kind, value) for kind, value, _ in OLD_AND_STRANGE]
    found = list(RdbFile(pieces(file_of(*ops), 3)))
    assert [value.kind for value in found if isinstance(value, OtherValue)] == [
        kind for _, _, kind in OLD_AND_STRANGE
    ]


def test_what_stands_between_keys() -> None:
    ops = (
        b"\xfa" + string(b"redis-ver") + string(b"255.255.255"),
        b"\xf7" + length(7) + b"\x02\x01\x05" + string(b"aux") + b"\x00",
        b"\xfe" + length(2) + b"\xfb" + length(3) + length(1),
        b"\xf4" + length(100) + length(1) + length(0),
        b"\xfd" + (77).to_bytes(4, "little") + key(0, b"a", string(b"1")),
        b"\xfc" + (88).to_bytes(8, "little") + b"\xf8" + length(9) + key(0, b"b", b"\xc0\x02"),
        b"\xf9\x05" + key(0, b"c", string(b"3")),
        b"\xf3" + length(2) + (b"abcd\x05" + string(b"of a module") + b"\0") * 2,
    )
    file = RdbFile(pieces(file_of(*ops) + b"the command stream", 1 << 16))
    found = [(v.key.db, v.key.name, v.key.expires_ms, v.value) for v in file]  # type: ignore[union-attr]
    assert found == [(2, b"a", 77_000, b"1"), (2, b"b", 88, b"2"), (2, b"c", 0, b"3")]
    assert file.rest() == b"the command stream"


def test_files_of_valkey() -> None:
    timed = key(22, b"h", length(1) + string(b"f") + string(b"v") + bytes(8))
    file = RdbFile(pieces(file_of(timed, key(0, b"s", string(b"v")), magic=b"VALKEY080"), 5))
    assert (file.of_valkey, file.version) == (True, 80)
    assert [value.key.name for value in file] == [b"h", b"s"]


def test_versions_without_a_checksum() -> None:
    data = b"REDIS0003" + key(0, b"s", string(b"v")) + b"\xff"
    assert [value.key.name for value in RdbFile(pieces(data, 4))] == [b"s"]


@pytest.mark.parametrize(
    "data",
    [
        b"REDIS",
        b"NOREDIS11",
        b"REDISxxxx",
        file_of(b"\x63" + string(b"k")),
        file_of(b"\xf6"),
        file_of(b"\xf3", magic=b"VALKEY080"),
        file_of(key(28, b"array", b"\0")),
        file_of(key(6, b"k", b"")),
        file_of(key(7, b"k", length(1) + length(9))),
        file_of(key(0, b"k", b"\xc4")),
    ],
)
def test_files_that_are_none(data: bytes) -> None:
    with pytest.raises(RdbError):
        list(RdbFile(pieces(data, 1 << 16)))


def test_memory_is_bounded_by_the_largest_node_not_by_the_file() -> None:
    """The file is made as it is read, so it is nowhere whole."""
    nodes = 3000
    wide = tuple(b"field %d" % i for i in range(40))
    taken = 0

    def parts() -> Iterator[bytes]:
        yield b"REDIS0011" + bytes((21,)) + string(b"s") + length(nodes)
        for i in range(nodes):
            base, listpack = node([(i + 1, seq) for seq in range(3)], names=wide)
            yield length(16) + base + string(listpack)
        yield length(3 * nodes) + length(nodes) + length(2) + length(1) + length(0) * 3
        yield length(3 * nodes) + length(0) + b"\xff" + bytes(8)

    source = parts()
    buffer = b""

    def read(n: int) -> bytes:
        nonlocal buffer, taken
        while len(buffer) < 4096 and (part := next(source, b"")):
            buffer += part
        found, buffer = buffer[:n], buffer[n:]
        taken += len(found)
        return found

    file = RdbFile(read, limit_bytes=1 << 14)
    (stream,) = list(file)
    assert isinstance(stream, StreamValue)
    assert stream.head().length == 3 * nodes
    assert taken == file.offset > 100 * (1 << 14)

    large = file_of(key(21, b"s", length(1) + length(16) + id_bytes(1, 0) + length(1 << 40)))
    with pytest.raises(RdbTooLarge):
        list(RdbFile(pieces(large, 1 << 16)))
