"""What COMMAND says of each implemented command is what 8.2.3 says; and a server that
presents an older version tells of nothing newer.

Flags, categories and key-specification flags are compared as sets in both protocols; everything
else as it stands. Of DOCS, since, group and option words are compared here, the rest in
process (tests/respserver/test_table.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from respserver.version import level_of
from tests.differential.conftest import IS_REDIS, SubjectOf
from tests.respclient import Client, plain
from tests.servers import REDIS_8_VERSION, Server


def names(client: Client) -> set[bytes]:
    return set(client.call("COMMAND", "LIST"))


def as_map(value: Any) -> dict[bytes, Any]:
    """A map, which is a flat array in RESP2."""
    if isinstance(value, dict):
        return value
    return dict(zip(value[::2], value[1::2], strict=True))


def info(client: Client, name: bytes) -> dict[str, Any] | None:
    """COMMAND INFO of one command, its subcommands below `subcommands`."""
    client.send("COMMAND", "INFO", name)
    reply = plain(client.read()[1])[0]
    return None if reply is None else _info(reply)


def _info(row: list[Any]) -> dict[str, Any]:
    name, arity, flags, first, last, step, categories, tips, specs, subcommands = row
    return {
        "name": name,
        "arity": arity,
        "flags": sorted(flags),
        "keys": (first, last, step),
        "categories": sorted(categories),
        "tips": tips,
        "specs": [_spec(spec) for spec in specs],
        "subcommands": {sub[0]: _info(sub) for sub in subcommands},
    }


def _spec(spec: Any) -> dict[str, Any]:
    fields = {key.decode(): value for key, value in as_map(spec).items()}
    fields["flags"] = sorted(fields["flags"])
    for part in ("begin_search", "find_keys"):
        inner = as_map(fields[part])
        fields[part] = (inner[b"type"], as_map(inner[b"spec"]))
    return fields


def docs(client: Client, name: bytes) -> dict[str, Any]:
    """COMMAND DOCS of one command: what clients rely on, without its prose."""
    return _docs(as_map(client.call("COMMAND", "DOCS", name))[name])


def _docs(value: Any) -> dict[str, Any]:
    fields = as_map(value)
    return {
        "has a summary": fields.get(b"summary", b"") != b"",
        "since": fields.get(b"since"),
        "group": fields[b"group"],
        "tokens": sorted(_tokens(fields.get(b"arguments", []))),
        "subcommands": {
            name: _docs(item) for name, item in as_map(fields.get(b"subcommands", [])).items()
        },
    }


def _tokens(arguments: list[Any]) -> set[bytes]:
    """The option words in a tree of arguments."""
    found: set[bytes] = set()
    for fields in map(as_map, arguments):
        assert {b"name", b"type"} <= set(fields)
        found |= {fields[b"token"]} if b"token" in fields else set()
        found |= _tokens(fields.get(b"arguments", []))
    return found


def differing(path: str, one: Any, other: Any) -> list[str]:
    """Where two descriptions differ, as lines; of subcommands only those that respq has."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = set(other) if path.endswith("subcommands") else set(one) | set(other)
        return [
            line
            for key in sorted(keys, key=str)
            for line in differing(
                f"{path}.{key.decode() if isinstance(key, bytes) else key}",
                one.get(key, "(absent)"),
                other.get(key, "(absent)"),
            )
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line
            for i, (left, right) in enumerate(zip(one, other, strict=True))
            for line in differing(f"{path}[{i}]", left, right)
        ]
    return [] if one == other else [f"{path}:\n  8.2.3 {one!r}\n  respq {other!r}"]


def of_redis(found: Iterable[bytes]) -> set[bytes]:
    """The commands among them that are not respq's own."""
    return {name for name in found if not name.startswith(b"xq.")}


@pytest.mark.parametrize("proto", [2, 3])
def test_command_info_and_docs(first_voice: Server, subject: Server, proto: int) -> None:
    wrong = []
    with first_voice.connect(proto) as voice, subject.connect(proto) as client:
        mine = {name for name in of_redis(names(client)) if b"|" not in name}
        assert mine >= {b"xadd", b"xreadgroup", b"xinfo", b"get", b"client", b"hello"}
        for name in sorted(mine):
            described = info(voice, name)
            assert described is not None, f"8.2.3 has no {name!r}"
            path = name.decode()
            wrong += differing(path, described, info(client, name))
            wrong += differing(f"{path} docs", docs(voice, name), docs(client, name))
    assert not wrong, "\n".join(wrong)


VERSIONS = pytest.mark.parametrize(
    "version", [REDIS_8_VERSION] if IS_REDIS else ["7.4.7", REDIS_8_VERSION, "8.10.0"]
)


def versions_in(value: Any) -> Iterator[bytes]:
    """Every version that a reply of COMMAND DOCS names: of commands, arguments and history."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key == b"since":
                yield member
            elif key == b"history":
                yield from (since for since, _ in member)
            else:
                yield from versions_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from versions_in(member)


@VERSIONS
def test_nothing_is_told_that_came_later(version: str, subject_of: SubjectOf) -> None:
    with subject_of(version).connect(3) as client:
        assert client.call("HELLO")[b"version"] == version.encode()
        told = {level_of(since.decode()) for since in versions_in(client.call("COMMAND", "DOCS"))}
    assert level_of("7.2.0") < max(told) <= level_of(version)


@VERSIONS
def test_the_plain_forms_agree_with_each_other(version: str, subject_of: SubjectOf) -> None:
    """COMMAND, COMMAND COUNT, COMMAND LIST and COMMAND INFO speak of the same commands."""
    with subject_of(version).connect() as client:
        everything = client.call("COMMAND")
        listed = {name for name in names(client) if b"|" not in name}
        assert {row[0] for row in everything} == listed
        assert client.call("COMMAND", "COUNT") == len(everything)
        assert sorted(client.call("COMMAND", "INFO")) == sorted(everything)
        assert set(as_map(client.call("COMMAND", "DOCS"))) == listed
        some = client.call("COMMAND", "INFO", "xadd", "nosuchcommand", "XREAD", "xgroup|create")
        assert [None if row is None else row[0] for row in some] == [
            b"xadd",
            None,
            b"xread",
            b"xgroup|create",
        ]
        assert as_map(client.call("COMMAND", "DOCS", "nosuchcommand")) == {}


def test_lists_can_be_filtered(subject: Server, first_voice: Server) -> None:
    with subject.connect() as client, first_voice.connect() as voice:
        for words in (
            ("FILTERBY", "PATTERN", "x*"),
            ("FILTERBY", "ACLCAT", "stream"),
            ("FILTERBY", "ACLCAT", "blocking"),
        ):
            mine = of_redis(client.call("COMMAND", "LIST", *words))
            theirs = set(voice.call("COMMAND", "LIST", *words))
            assert mine == theirs & names(client)
            assert len(mine) > 1
