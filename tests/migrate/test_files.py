"""Append-only files, lines of JSON, and what is damaged."""

from __future__ import annotations

import json
import pathlib
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from tests import servers
from tests.migrate.support import delay_none, migrate, url
from tests.migrate.ugly import Ugly, first_difference, known
from tests.servers import Server
from tools.cli import main


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("files")
    with servers.respq(folder / "target", presents=servers.REDIS_8_VERSION) as target:
        yield target


@pytest.mark.parametrize("version", [8, 7])
@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_an_append_only_file(
    target: Server, version: int, preamble: str, tmp_path: pathlib.Path
) -> None:
    options = ("--appendonly", "yes", "--aof-use-rdb-preamble", preamble, *delay_none())
    with (
        servers.redis(tmp_path / "source", version, *options) as source,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        ours.call("FLUSHALL")
        ugly = Ugly(theirs, random.Random(f"{version} {preamble}"), extra=version == 8)
        ugly.run(200)
        theirs.call("BGREWRITEAOF")
        while "aof_rewrite_in_progress:1" in theirs.call("INFO", "persistence").decode():
            theirs.call("PING")
        ugly.run(200)
        folder = source.directory / "appendonlydir"
        source.stop()
        less = (b"seen-time", b"active-time", *((b"entries-read",) if version == 7 else ()))
        with (
            servers.redis(tmp_path / "source", version, *options) as again,
            again.connect() as theirs,
        ):
            # what a server itself makes of the file: it is not told of history reads either
            expected = known(theirs, version, *less)
        done = migrate("run", str(folder), "-u", url(target))
        assert done.code == 0, done
        difference = first_difference(expected, known(ours, version, *less))
        assert not difference, difference
        verdict = migrate("verify", str(folder), "-u", url(target))
        assert verdict.code == 0, verdict


def test_an_append_only_file_goes_on_and_may_be_cut_short(
    target: Server, tmp_path: pathlib.Path
) -> None:
    def command(*words: str) -> bytes:
        return b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words
        )

    file = tmp_path / "appendonly.aof"
    whole = b"#TS:1700000000\r\n" + command("SELECT", "0")
    for i in range(1, 101):
        whole += command("XADD", "s", f"{i}-0", "f", "v")
    whole += command("MULTI") + command("SET", "k", "v") + command("EXEC")
    with target.connect() as ours:
        ours.call("FLUSHALL")
        file.write_bytes(whole + command("MULTI") + command("XADD", "s", "101-0", "f", "v"))
        done = migrate("run", str(file), "-u", url(target))
        assert done.code == 0, done
        assert "ends within a command" in done.out
        assert (ours.call("XLEN", "s"), ours.call("GET", "k")) == (100, b"v")
        ours.call("FLUSHALL")
        file.write_bytes(whole + b"*what\r\n" + b"x" * 100)
        done = migrate("run", str(file), "-u", url(target))
        assert done.code == 3
        assert "damaged" in done.err
        for bad, line in (
            ("file a.aof seq x type i\n", "is no manifest"),
            ("file none.aof seq 1 type i\n", "names none.aof, which is not there"),
            ("", "names no files"),
        ):
            manifest = tmp_path / "appendonly.aof.manifest"
            manifest.write_text(bad)
            ours.call("FLUSHALL")
            done = migrate("run", str(tmp_path), "-u", url(target))
            assert done.code in (2, 3)
            assert line in done.err


def pending(entry_id: str, consumer: str | None, delivered_ms: int | None, n: int) -> Any:
    row = {"id": entry_id, "consumer": consumer, "delivered_ms": delivered_ms, "deliveries": n}
    return {"stream": "s", "group": "g", "pending": row}


LINES: list[dict[str, Any]] = [
    {"stream": "s", "id": "1-0", "fields": {"f": "v", "n": 1.5}},
    {"stream": "s", "id": "3-0", "fields": [["f", {"base64": "/wA="}], ["f", "again"]]},
    {
        "stream": "s",
        "head": {
            "last_id": "9-0",
            "entries_added": 7,
            "max_deleted_id": "2-0",
            "expires_ms": 4_000_000_000_000,
        },
    },
    {
        "stream": "s",
        "group": {
            "name": "g",
            "last_delivered_id": "3-0",
            "entries_read": 5,
            "idle_timeout_ms": 60_000,
            "consumers": [
                {"name": "c", "seen_ms": 5000, "active_ms": 4000},
                {"name": "d", "seen_ms": 6000},
            ],
        },
    },
    pending("3-0", "c", 4000, 2),
    pending("2-0", "c", 3000, 1),
    pending("1-0", None, None, 3),
    {"stream": "t", "db": 1, "id": "1-0", "fields": {"f": "v"}},
    {"string": "text", "value": "value", "expires_ms": 4_000_000_000_000},
]


def test_lines_of_json(target: Server, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "streams.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in LINES) + "\n")
    with target.connect() as ours:
        ours.call("FLUSHALL")
        done = migrate("run", str(file), "-u", url(target))
        assert done.code == 0, done
        assert ours.call("XRANGE", "s", "-", "+") == [
            [b"1-0", [b"f", b"v", b"n", b"1.5"]],
            [b"3-0", [b"f", b"\xff\0", b"f", b"again"]],
        ]
        full = ours.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        told = dict(zip(full[::2], full[1::2], strict=True))
        assert told[b"last-generated-id"] == b"9-0"
        assert told[b"entries-added"] == 7
        group = told[b"groups"][0]
        assert group[group.index(b"pending") + 1] == [
            [b"1-0", b"", 0, 3],
            [b"2-0", b"c", 3000, 1],
            [b"3-0", b"c", 4000, 2],
        ]
        assert ours.call("XQ.GROUP", "GET", "s", "g") == [b"idle-timeout", 60_000]
        assert (
            ours.call("PEXPIRETIME", "s") == ours.call("PEXPIRETIME", "text") == 4_000_000_000_000
        )
        assert ours.call("GET", "text") == b"value"
        assert migrate("verify", str(file), "-u", url(target)).code == 0
        ours.call("XDEL", "s", "1-0")
        verdict = migrate("verify", str(file), "-u", url(target))
        assert verdict.code == 1
        assert "s: entry 1-0 is at the source only" in verdict.out


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 1"),
        ("[]", "line 1 is no object of JSON"),
        ('{"id": "1-0"}', "line 1: 'stream' is missing"),
        ('{"stream": "s"}', "neither an entry nor a head, a group or a pending entry"),
        ('{"stream": "s", "id": "x", "fields": {"f": "v"}}', "'x' is no ID"),
        ('{"stream": "s", "id": "1-0", "fields": {}}', "an entry needs a field at least"),
        ('{"stream": "s", "id": "1-0"}', "'fields' is missing"),
        ('{"stream": "s", "id": "1-0", "fields": {"f": null}}', "None is no string"),
        ('{"string": {"base64": "?"}, "value": ""}', "line 1"),
        ('{"string": "s"}', "'value' is missing"),
        (
            2 * '{"stream": "s", "id": "1-0", "fields": {"f": "v"}}\n',
            "line 2: 1-0 does not follow the entry before",
        ),
        ('{"stream": "s", "head": {"last_id": 5}}', "5 is no ID"),
        (json.dumps(pending("1-0", "c", 1, 1)), "'g' is missing"),
    ],
)
def test_lines_that_are_not_understood(
    target: Server, tmp_path: pathlib.Path, line: str, what: str
) -> None:
    file = tmp_path / "streams.jsonl"
    file.write_text(line + "\n")
    with target.connect() as ours:
        ours.call("FLUSHALL")
    if line == "[]":
        file.write_text('{"string": "a", "value": "v"}\n[]\n')
        what = what.replace("line 1", "line 2")
    done = migrate("run", str(file), "-u", url(target))
    assert done.code == 3, done
    assert what in done.err
    assert len(done.err.strip().split("\n")) <= 3


def test_a_file_damaged_at_any_byte_is_one_line(target: Server, tmp_path: pathlib.Path) -> None:
    """Never a traceback, and never a success that is none."""
    rng = random.Random(7)
    with servers.redis(tmp_path / "source", 8) as source, source.connect() as theirs:
        Ugly(theirs, rng, extra=True).run(150)
        theirs.call("SAVE")
        data = (source.directory / "dump.rdb").read_bytes()
    file = tmp_path / "damaged.rdb"
    codes = set()
    with target.connect() as ours:
        for _ in range(60):
            ours.call("FLUSHALL")
            damaged = bytearray(data)
            at = rng.randrange(len(data))
            if rng.random() < 0.3:
                del damaged[at:]
            else:
                damaged[at] ^= 1 << rng.randrange(8)
            file.write_bytes(bytes(damaged))
            done = migrate("run", str(file), "-u", url(target))
            codes.add(done.code)
            assert done.code in (2, 3), (at, done)
            lines = done.err.strip().split("\n")
            assert sum(line.startswith("respq migrate: ") for line in lines) == 1, lines
            assert "Traceback" not in done.err
    assert 3 in codes


def test_what_respq_export_wrote_is_a_source(target: Server, tmp_path: pathlib.Path) -> None:
    rng = random.Random(11)
    with target.connect() as ours:
        ours.call("FLUSHALL")
        for n in range(150):
            ours.call("XADD", "s", f"{n + 1}-1", "f", rng.randbytes(5))
        ours.call("XGROUP", "CREATE", "s", "g", 0)
        ours.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 9, "STREAMS", "s", ">")
        ours.call("XACK", "s", "g", "2-1")
        ours.call("XNACK", "s", "g", "FAIL", "IDS", 1, "3-1")
        ours.call("XDEL", "s", "140-1")
        before = ours.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        file = tmp_path / "streams.jsonl.zst"
        words = ["export", "s", "-u", url(target), "-o", str(file)]
        assert CliRunner().invoke(main, words).exit_code == 0
        ours.call("FLUSHALL")
        done = migrate("run", str(file), "-u", url(target))
        assert done.code == 0, done
        after = ours.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        for told in (before, after):  # how entries are grouped into nodes is not told
            told[:] = told[told.index(b"last-generated-id") :]
        before, after = [re.sub(r"\b17\d{11}\b", "now", str(told)) for told in (before, after)]
        assert after == before
        assert migrate("verify", str(file), "-u", url(target)).code == 0


def command(*words: str) -> bytes:
    """As it stands in an append-only file."""
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words
    )


def test_commands_of_a_file_replace_or_are_refused(target: Server, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "appendonly.aof"
    file.write_bytes(
        command("SELECT", "0")
        + command("XADD", "s", "5-0", "f", "v")
        + command("XADD", "s", "6-0", "f", "v")
    )
    with target.connect() as ours:
        ours.call("FLUSHALL")
        ours.call("XADD", "s", "1-0", "f", "other")
        ours.call("SET", "mine", "stays")
        done = migrate("run", str(file), "-u", url(target))
        assert done.code == 3
        assert "the target has another 's'" in done.err
        assert ours.call("XLEN", "s") == 1
        assert migrate("run", str(file), "-u", url(target), "--replace").code == 0
        assert [id for id, _ in ours.call("XRANGE", "s", "-", "+")] == [b"5-0", b"6-0"]
        assert ours.call("GET", "mine") == b"stays"


def test_lines_of_json_replace(target: Server, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "streams.jsonl"
    file.write_text('{"stream": "s", "id": "1-0", "fields": {"f": "v"}}\n')
    with target.connect() as ours:
        ours.call("FLUSHALL")
        ours.call("XADD", "s", "1-0", "f", "other")
        words = ["run", str(file), "-u", url(target)]
        assert migrate(*words).code == 3  # it leaves the mark of this source there
        assert migrate(*words, "--replace").code == 0
        assert ours.call("XRANGE", "s", "-", "+") == [[b"1-0", [b"f", b"v"]]]
