"""The command table walked: every declaration agrees with itself; the table as of 8.2.3 with that
redis-server; and no version shows what came after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

import respserver.commands
from respserver import spec as spec_module
from respserver import syntax
from respserver.commands.introspection import docs, every_command, info
from respserver.keyspec import CountedKeys, counted_keys, keys_after_streams
from respserver.spec import (
    ADMIN,
    FAST,
    TABLE,
    WRITE,
    CommandSpec,
    declare,
    lookup,
    lookup_name,
    table_at,
)
from respserver.syntax import Argument, parse
from respserver.version import level_of
from tests.respserver.fakes import Node
from tests.respserver.test_replies import encoded
from tests.servers import REDIS_8_VERSION, Server

assert respserver.commands

SPECS = list(every_command(TABLE))
NAMES = [spec.name.decode() for spec in SPECS]
EACH = pytest.mark.parametrize("spec", SPECS, ids=NAMES)
SPECS_OF_REDIS = [
    spec
    for spec in every_command(table_at(level_of(REDIS_8_VERSION)))
    if not spec.name.startswith(b"xq.")  # commands of respq's own
]
EACH_OF_REDIS = pytest.mark.parametrize("spec", SPECS_OF_REDIS, ids=lambda spec: spec.name.decode())
SEEDS = range(50)

# Redis declares fewer words than the arity asks for: the missing ones are not in its syntax.
SYNTAX_SHORTER_THAN_ARITY = {b"client|kill", b"debug"}


def call_name(spec: CommandSpec) -> list[bytes]:
    return spec.name.split(b"|")


def is_container(spec: CommandSpec) -> bool:
    return bool(spec.subcommands) and spec.handler is None


@EACH
def test_arity_agrees_with_syntax(spec: CommandSpec) -> None:
    least, fixed = syntax.arity(spec.arguments)
    words = least + len(call_name(spec))
    if is_container(spec):
        assert spec.arity == -2
    elif spec.name in SYNTAX_SHORTER_THAN_ARITY:
        assert words < -spec.arity
    elif spec.arity > 0:
        assert fixed
        assert words == spec.arity
    else:
        assert words == -spec.arity


@EACH
def test_every_command_is_handled(spec: CommandSpec) -> None:
    assert (spec.handler is None) == (spec.hot is not None or is_container(spec))


@EACH
def test_examples_satisfy_the_arity(spec: CommandSpec) -> None:
    if is_container(spec) or spec.name in SYNTAX_SHORTER_THAN_ARITY:
        assert not spec.takes(1)
        return
    for seed in SEEDS:
        argv = call_name(spec) + syntax.example(spec.arguments, Random(seed))
        assert spec.takes(len(argv)), (seed, argv)
        assert lookup(TABLE, argv) is spec


@EACH
def test_key_specs_find_the_keys_of_examples(spec: CommandSpec) -> None:
    """Keys are marked in the example; every other word may look like an option."""
    for seed in SEEDS:
        random = Random(seed)

        def value(argument: Argument, random: Random = random) -> bytes:
            if argument.type == "key" or argument.name == "shardchannel":
                return b"key:%d" % random.getrandbits(64)
            return random.choice((b"STREAMS", b"streams", b"COUNT", b"7"))

        argv = call_name(spec) + syntax.example(spec.arguments, random, value)
        if spec.group == "pubsub" and not spec.keys:
            continue
        keys = sum(word.startswith(b"key:") for word in argv)
        for counted in spec.keys:
            if isinstance(counted, CountedKeys):
                argv[counted.count_at] = b"%d" % keys
        marked = [pos for pos, word in enumerate(argv) if word.startswith(b"key:")]
        assert sorted(spec.find_keys(argv)) == marked, (seed, argv)


@EACH
def test_lookup_by_full_name(spec: CommandSpec) -> None:
    assert lookup_name(TABLE, spec.name) is spec
    assert lookup_name(TABLE, spec.name.upper()) is spec
    assert lookup(TABLE, call_name(spec)) is spec


def test_a_consumer_may_be_called_streams() -> None:
    keys = keys_after_streams("RO access", start=4)
    for words, found in (
        (b"GROUP g STREAMS COUNT 1 STREAMS a b > >", [7, 8]),
        (b"GROUP STREAMS STREAMS NOACK STREAMS a >", [6]),
        (b"COUNT 5 GROUP g c STREAMS a b c > > >", [7, 8, 9]),
        (b"GROUP g c STREAMS", []),
        (b"GROUP g c STREAMS a", []),
        (b"GROUP g c FOO STREAMS a >", [6]),
        (b"GROUP g c FOO a >", []),
        (b"STREAMS a b c d e", []),
        (b"GROUP g", []),
        (b"BLOCK", []),
    ):
        assert keys.find([b"XREADGROUP", *words.split()]) == found


def test_keys_that_are_counted() -> None:
    keys = counted_keys("RO access", 2)
    for words, found in (
        (b"script 2 a b more", [3, 4]),
        (b"script 0 a", []),
        (b"script x a", []),
        (b"script -1 a", []),
        (b"script 3 a b", []),
        (b"script", []),
    ):
        assert keys.find([b"EVAL", *words.split()]) == found


def test_a_command_cannot_be_declared_twice() -> None:
    with pytest.raises(ValueError, match="GET is declared twice"):
        declare("GET", "key", "", arity=2, since="1.0.0")
    with pytest.raises(ValueError, match="unknown ACL category"):
        declare("NEVER", "", "", arity=1, since="1.0.0", acl="streams")
    assert b"never" not in TABLE


def test_categories_follow_from_flags() -> None:
    assert spec_module.TABLE[b"del"].acl == ("keyspace", "write", "slow")
    assert spec_module.TABLE[b"unlink"].flags == WRITE | FAST
    assert spec_module.TABLE[b"unlink"].acl == ("keyspace", "write", "fast")
    assert spec_module.TABLE[b"shutdown"].flags & ADMIN
    assert spec_module.TABLE[b"shutdown"].acl == ("admin", "slow", "dangerous")


# What 8.2.3 has and respq has not.
SUBCOMMANDS_ABSENT = {
    b"acl": {
        *(b"acl|deluser", b"acl|load", b"acl|log", b"acl|save", b"acl|setuser"),
    },
    b"module": {b"module|load", b"module|loadex", b"module|unload"},
    b"function": {b"function|load", b"function|restore"},
}


@pytest.mark.parametrize("proto", [2, 3])
@EACH_OF_REDIS
def test_command_info_is_that_of_redis(spec: CommandSpec, proto: int, oracle: Server) -> None:
    """To the byte; of a container, what it says of itself: its subcommands come by themselves."""
    with oracle.connect(proto) as client:
        theirs = client.raw("COMMAND", "INFO", spec.name)
        if not spec.subcommands:
            assert encoded([info(spec)], proto) == theirs
            return
        own = info(spec)
        client.send("COMMAND", "INFO", spec.name)
        described = client.read()[1].value[0].value
        assert encoded(own[:9], proto)[4:] == theirs[9:][: len(encoded(own[:9], proto)) - 4]
        subcommands = {sub.value[0].value for sub in described[9].value}
        absent = SUBCOMMANDS_ABSENT.get(spec.name, set())
        assert {sub.name for sub in spec.subcommands.values()} == subcommands - absent
        assert absent <= subcommands


@EACH_OF_REDIS
def test_command_docs_are_those_of_redis(spec: CommandSpec, oracle: Server) -> None:
    with oracle.connect(3) as client:
        theirs = client.call("COMMAND", "DOCS", spec.name)[spec.name]
    theirs.pop(b"subcommands", None)
    ours = docs(spec)
    ours.pop(b"subcommands", None)
    assert parsed(ours) == ordered(theirs)


def ordered(value: Any) -> Any:
    """Maps as lists of pairs, so that their order counts."""
    if isinstance(value, dict):
        return [(key, ordered(member)) for key, member in value.items()]
    return [ordered(member) for member in value] if isinstance(value, list) else value


def parsed(value: Any) -> Any:
    """A value of ours as a client of RESP3 reads it."""
    if isinstance(value, dict):
        return [(key, parsed(member)) for key, member in value.items()]
    if hasattr(value, "members"):
        return [parsed(member) for member in value.members]
    if hasattr(value, "text"):
        return value.text
    return [parsed(member) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize(
    "spec",
    [spec for spec in SPECS_OF_REDIS if not spec.subcommands],
    ids=lambda spec: spec.name.decode(),
)
def test_command_docs_to_the_byte(spec: CommandSpec, proto: int, oracle: Server) -> None:
    """Of the commands without subcommands: those come in the order of a hash table."""
    with oracle.connect(proto) as client:
        theirs = client.raw("COMMAND", "DOCS", spec.name)
    ours = encoded({spec.name: docs(spec)}, proto)
    assert ours == theirs


def test_forms_of_command_agree() -> None:
    node = Node()
    table = node.server.table
    everything = encoded([info(spec) for spec in table.values()], 2)
    assert node.run("COMMAND") == everything
    assert node.run("COMMAND", "INFO") == everything
    assert node.run("COMMAND", "COUNT") == b":%d\r\n" % len(table)
    assert node.run("COMMAND", "LIST") == encoded([spec.name for spec in every_command(table)], 2)
    assert node.run("COMMAND", "INFO", "nope", "get") == encoded([None, info(table[b"get"])], 2)
    assert node.run("COMMAND", "DOCS", "nope", "get") == encoded({b"get": docs(table[b"get"])}, 2)
    assert node.run("COMMAND", "DOCS") == encoded(
        {spec.name: docs(spec) for spec in table.values()}, 2
    )
    assert node.run("COMMAND", "LIST", "FILTERBY", "ACLCAT", "STRING") == encoded(
        [spec.name for spec in SPECS if "string" in spec.acl], 2
    )


GETKEYS = (
    "GETKEYS SET k v",
    "GETKEYS XADD s * f v",
    "GETKEYS XREAD COUNT 1 BLOCK 5 STREAMS a b c 0 0 0",
    "GETKEYS XREADGROUP GROUP g STREAMS STREAMS a >",
    "GETKEYS XREAD STREAMS a b 0",
    "GETKEYS XREAD GROUP g c STREAMS a 0",
    "GETKEYS XREAD FOO STREAMS a 0",
    "GETKEYS XREADGROUP GROUP g c CLAIM 5 STREAMS a >",
    "GETKEYS XREADGROUP STREAMS a b c d e f",
    "GETKEYS XREADGROUP STREAMS STREAMS STREAMS STREAMS a >",
    "GETKEYS XREAD COUNT 1 BLOCK 5",
    "GETKEYS DEL a b c",
    "GETKEYS PING",
    "GETKEYS PING a",
    "GETKEYS CLIENT LIST",
    "GETKEYS FOO a",
    "GETKEYS CLIENT FOO",
    "GETKEYS GET",
    "GETKEYS GET a b",
    "GETKEYSANDFLAGS GET a",
    "GETKEYSANDFLAGS SET a b",
    "GETKEYSANDFLAGS SET a b nx get",
    "GETKEYSANDFLAGS DEL a b",
    "GETKEYSANDFLAGS EXISTS a b",
    "GETKEYSANDFLAGS XREAD STREAMS a 0",
    "GETKEYSANDFLAGS FOO a",
    "HELP",
    "LIST FILTERBY PATTERN XAD*",
    "LIST FILTERBY MODULE x",
    "LIST FILTERBY ACLCAT nope",
    "LIST FILTERBY FOO x",
    "LIST FILTERBY PATTERN",
    "LIST FOO",
    "COUNT x",
    "FOO",
)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("words", GETKEYS)
def test_command_subcommands_answer_as_redis_does(words: str, proto: int, oracle: Server) -> None:
    node = Node(redis_version=REDIS_8_VERSION)
    node.client.proto = proto
    with oracle.connect(proto) as client:
        assert node.run("COMMAND", *words.split()) == client.raw("COMMAND", *words.split())


def versions_in(arguments: tuple[Argument, ...]) -> Iterator[str]:
    """When each of these came."""
    for argument in arguments:
        yield argument.since or "0.0"
        yield from versions_in(argument.arguments)


@pytest.mark.parametrize("version", ["7.4.0", "8.0.0", "8.2.0", "8.4.0", "8.6.0", "8.8.0"])
def test_a_version_has_what_came_until_then(version: str) -> None:
    level = level_of(version)
    node = Node(redis_version=version)
    listed = {spec.name: spec for spec in every_command(node.server.table)}
    for spec in SPECS:
        if level_of(spec.since) > level:
            assert spec.name not in listed
            assert node.run(*call_name(spec)).startswith(
                (b"-ERR unknown command", b"-ERR unknown sub")
            )
            assert node.run("COMMAND", "INFO", spec.name) == b"*1\r\n$-1\r\n"
            assert node.run("COMMAND", "DOCS", spec.name) == b"*0\r\n"
            continue
        shown = listed.pop(spec.name)
        came = [*versions_in(shown.arguments), *(since for since, _ in shown.history)]
        assert all(level_of(since) <= level for since in came)
        assert [row for row in spec.history if level_of(row[0]) <= level] == list(shown.history)
    assert not listed


def test_the_newest_version_hides_nothing() -> None:
    assert table_at(level_of("8.10.0")) == TABLE


def test_what_came_later_is_left_out() -> None:
    """Commands, subcommands, arguments at any depth with what they leave empty, history."""
    line = "key [A@8.2.0] x=[<B | C@8.6.0>] [D d@8.4.0] y=[E@8.4.0 F@8.6.0] z=<G@8.4.0 | H@8.6.0>"
    create = replace(TABLE[b"xgroup"].subcommands[b"create"], since="8.6.0")
    specs = {
        b"old": replace(
            TABLE[b"xadd"],
            arguments=parse(line),
            history=(("5.0.0", "a"), ("8.4.0", "b"), ("8.6.2", "c")),
            subcommands={b"create": create},
        ),
        b"new": replace(TABLE[b"xadd"], since="8.4.0"),
    }

    def at(version: str) -> tuple[set[bytes], list[str], list[str]]:
        table = table_at(level_of(version), specs)
        old = table[b"old"]
        names = {*table, *old.subcommands}
        return names, [one.name for one in old.arguments], [text for _, text in old.history]

    assert at("7.4.7") == ({b"old"}, ["key", "x"], ["a"])
    assert at("8.2.3") == ({b"old"}, ["key", "a", "x"], ["a"])
    assert at("8.4.0") == ({b"old", b"new"}, ["key", "a", "x", "d", "y", "z"], ["a", "b"])
    assert at("8.6.1")[0] == {b"old", b"new", b"create"}
    assert at("8.6.2")[2] == ["a", "b", "c"]
    (x,) = (one for one in table_at(level_of("8.2.3"), specs)[b"old"].arguments if one.name == "x")
    assert [one.name for one in x.arguments] == ["b"]


# What these do is done by the node itself; tests/sim/test_every_call.py calls them.
NEED_A_NODE = frozenset({"transactions", "pubsub", "scripting"})
ASK_A_NODE = frozenset(
    {b"dump", b"monitor", b"wait", b"waitaof", b"client|pause", b"client|reply", b"client|unpause"}
)

TOGETHER_NEVER = {b"client|list": {b"TYPE", b"ID"}, b"restore": {b"IDLETIME", b"FREQ"}}


def test_valid_calls_are_never_syntax_errors() -> None:
    """The fuzzer: what the declaration allows, the handler reads."""
    ran = 0
    for spec in SPECS:
        if spec.handler is None or spec.name.startswith(b"x") or spec.name == b"shutdown":
            continue
        if spec.group in NEED_A_NODE or spec.name in ASK_A_NODE:
            continue
        for seed in SEEDS:
            node = Node()
            node.stream(b"k2")
            argv = call_name(spec) + syntax.example(spec.arguments, Random(seed))
            if not spec.takes(len(argv)):
                continue
            reply = node.run(*argv)
            # Redis declares both as optional and refuses them together.
            never = TOGETHER_NEVER.get(spec.name)
            both = never is not None and never <= set(argv)
            assert reply.startswith(b"-ERR syntax error") == both, (seed, argv)
            assert not reply.startswith(b"-ERR wrong number"), (seed, argv)
            ran += 1
    assert ran > 1000
