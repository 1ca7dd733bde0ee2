"""`respq export` and `import`: what comes out goes in again, with groups and what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import fill, read, respq
from tools.living import export, facts, importing


def furnish(client: Client) -> None:
    """A stream with all there is to carry over, an empty one, and one that has no groups."""
    fill(client, "s", 6, "g")
    client.call("XADD", "s", "7-0", b"\xff", b"\x00\xfe", "n", "7", "n", "8")
    client.call("XGROUP", "CREATE", "s", b"h\xff", "$")
    read(client, "s", "g", "ann", 3)
    client.call("XGROUP", "CREATECONSUMER", "s", "g", "idle")
    client.call("XCLAIM", "s", "g", "bob", 0, "2-0", "TIME", 1_700_000_000_000, "RETRYCOUNT", 9)
    client.call("XDEL", "s", "4-0")
    client.call("XGROUP", "CREATE", "empty", "g", "$", "MKSTREAM")
    client.call("XADD", "plain", "5-5", "a", "1")


def state(client: Client, stream: str) -> dict[str, Any]:
    """All that a stream is, without when its consumers were seen."""
    info = client.call("XINFO", "STREAM", stream)
    told = dict(zip(info[::2], info[1::2], strict=True))
    found: dict[str, Any] = {
        name: told[name.encode()]
        for name in ("length", "last-generated-id", "max-deleted-entry-id", "entries-added")
    }
    found["entries"] = client.call("XRANGE", stream, "-", "+")
    for group in client.call("XINFO", "GROUPS", stream):
        rows = client.call("XPENDING", stream, group[1], "-", "+", 100)
        found[repr(group[1])] = (
            group,
            [(row[0], row[1], row[3]) for row in rows],
            [consumer[1] for consumer in client.call("XINFO", "CONSUMERS", stream, group[1])],
        )
    return found


@pytest.mark.parametrize("name", ["streams.jsonl", "streams.jsonl.zst"])
def test_there_and_back(
    name: str,
    server: servers.Server,
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)  # several pages of everything
    monkeypatch.setattr(importing, "BATCH", 3)
    furnish(client)
    before = {stream: state(client, stream) for stream in ("s", "empty", "plain")}
    file = tmp_path / name
    done = respq(server, "export", "--all", "-o", str(file))
    assert done == (0, "", "exported 7 entries of 3 streams\n")
    assert file.read_bytes().startswith(b"\x28\xb5\x2f\xfd") == name.endswith(".zst")
    client.call("FLUSHALL")
    dry = respq(server, "import", "--dry-run", str(file))
    assert dry == (*(0, "", "would have imported 7 entries of 3 streams, 3 groups, 3 pending\n"),)
    assert client.call("DBSIZE") == 0
    done = respq(server, "import", str(file), "--json")
    assert done.json() == {
        "streams": 3,
        "entries": 7,
        "skipped": 0,
        "groups": 3,
        "groups_kept": 0,
        "pending": 3,
        "pending_lost": 0,
        "policies_lost": 0,
        "dry_run": False,
    }
    assert {stream: state(client, stream) for stream in before} == before
    idle = client.call("XPENDING", "s", "g", "2-0", "2-0", 1)[0][2]
    assert idle > 1_000_000_000  # it was delivered long ago


def test_lines_are_for_other_programs_too(server: servers.Server, client: Client) -> None:
    fill(client, "s", 2)
    done = respq(server, "export", "s", "--no-groups")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"stream": "s", "id": "1-0", "fields": {"n": "1"}},
        {"stream": "s", "id": "2-0", "fields": {"n": "2"}},
        {
            "stream": "s",
            "head": {"last_id": "2-0", "entries_added": 2, "max_deleted_id": "0-0"},
        },
    ]
    typed = '{"stream": "t", "id": "9-1", "fields": {"a": 1}}\n\n'
    done = respq(server, "import", "-", typed=typed)
    assert done.err == "imported 1 entries of 1 streams, 0 groups, 0 pending\n"
    assert client.call("XRANGE", "t", "-", "+") == [[b"9-1", [b"a", b"1"]]]


def test_what_is_there_is_not_written_to_unless_told(
    server: servers.Server, client: Client, tmp_path: Path
) -> None:
    furnish(client)
    file = tmp_path / "s.jsonl"
    assert respq(server, "export", "s", "-o", str(file)).status == 0
    before = state(client, "s")
    done = respq(server, "import", str(file))
    assert done.status == 1
    assert done.err.startswith("Error: there is a stream s already\nTry: respq import --resume")
    assert state(client, "s") == before
    client.call("DEL", "s")
    half = "".join(line + "\n" for line in file.read_text().splitlines()[:3])
    assert respq(server, "import", typed=half).status == 0
    done = respq(server, "import", "--resume", str(file))
    assert done.err == (
        "imported 3 entries of 1 streams, 2 groups, 3 pending\n3 entries were there already\n"
    )
    assert state(client, "s") == before


def test_what_cannot_be_carried_over_is_said(
    server: servers.Server, client: Client, tmp_path: Path
) -> None:
    fill(client, "s", 3, "g")
    read(client, "s", "g", "ann", 3)
    client.call("XDEL", "s", "2-0")
    file = tmp_path / "s.jsonl"
    respq(server, "export", "s", "-o", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if isinstance(line.get("group"), dict):
            line["group"]["idle_timeout_ms"] = 5000
        if line.get("pending", {}).get("id") == "3-0":
            line["pending"] |= {"consumer": None, "delivered_ms": None}
    client.call("DEL", "s")
    typed = "".join(f"{json.dumps(line)}\n" for line in lines)
    done = respq(server, "import", typed=typed)
    said = done.err.splitlines()
    assert said[:2] == [
        "imported 2 entries of 1 streams, 1 groups, 2 pending",
        "1 were pending whose entries are gone: left out",
    ]
    released = client.call("XPENDING", "s", "g", "3-0", "3-0", 1)[0][1]
    if server.name == "respq":
        assert (said[2:], released) == ([], b"")
        assert client.call("XQ.GROUP", "GET", "s", "g")[1] == 5000
    else:
        assert said[2:] == ["1 idle timeouts are nothing for this server"]
        assert released == b"released"


def test_released_entries_and_policies_go_along(respq: servers.Server, tmp_path: Path) -> None:
    from tests.tools.commandline import respq as run

    with respq.connect() as client:
        fill(client, "s", 2, "g")
        read(client, "s", "g", "ann", 2)
        client.call("XNACK", "s", "g", "FAIL", "IDS", 1, "1-0")
        client.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 9000)
        out = run(respq, "export", "s").out
        client.call("DEL", "s")
        assert run(respq, "import", typed=out).status == 0
        assert [row[:2] for row in client.call("XPENDING", "s", "g", "-", "+", 9)] == [
            [b"1-0", b""],
            [b"2-0", b"ann"],
        ]
        assert client.call("XQ.GROUP", "GET", "s", "g")[1] == 9000


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (b'{"stream": "s"}\n', "line 1: neither an entry nor a head"),
        (b'{"id": "1-0"}\n', "line 1: 'stream' is missing"),
        (b"\n[]\n", "line 2 is no object of JSON"),
        (b"{\n", "line 1: Expecting property name"),
        (b'{"stream": "s", "id": "x", "fields": {"a": "1"}}\n', "line 1: invalid literal"),
        (b'{"stream": "s", "id": "1-0", "fields": {}}\n', "line 1: an entry needs a field"),
        (
            (
                b'{"stream": "s", "id": "2-0", "fields": {"a": "1"}}\n'
                b'{"stream": "s", "id": "1-9", "fields": {"a": "1"}}\n'
            ),
            "line 2: 1-9 is out of order",
        ),
        (b'{"stream": "s", "id": "1-0", "fields": {"a": "1"}}', "line 1 has no end: the file was"),
    ],
)
def test_bad_lines(typed: bytes, said: str, redis7: servers.Server) -> None:
    done = respq(redis7, "import", typed=typed)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"Error: {said}")
    assert "\nTry: respq export" in done.err


def test_a_file_that_was_cut_or_damaged(redis7: servers.Server, tmp_path: Path) -> None:
    line = b'{"stream": "s", "id": "%d-0", "fields": {"a": "1"}}\n'
    frames = [
        zstandard.ZstdCompressor(write_checksum=True).compress(line % number) for number in (1, 2)
    ]
    file = tmp_path / "x.zst"
    file.write_bytes(b"".join(frames))
    assert respq(redis7, "import", str(file)).err.startswith("imported 2 entries")
    file.write_bytes(b"".join(frames)[:-3])
    assert "ends in the midst of a zstd frame" in respq(redis7, "import", str(file), "--resume").err
    file.write_bytes(frames[0][:-3] + b"abc")
    assert "the file is damaged" in respq(redis7, "import", str(file), "--resume").err
    assert respq(redis7, "import", str(tmp_path / "none")).status == 1


def test_what_is_to_be_exported_must_be_said(redis7: servers.Server, tmp_path: Path) -> None:
    assert respq(redis7, "export").status == 2
    assert respq(redis7, "export", "s", "--all").status == 2
    done = respq(redis7, "export", "none", "-o", str(tmp_path / "x"))
    assert (done.status, list(tmp_path.iterdir())) == (1, [])
    done = respq(redis7, "export", "--all", "-o", str(tmp_path / "no" / "x"))
    assert done.err.startswith("Error: cannot write ")


def test_what_a_group_has_done_since_stays_done(
    server: servers.Server, client: Client, tmp_path: Path
) -> None:
    """An import that is run again may meet groups that work already."""
    fill(client, "s", 3, "g")
    read(client, "s", "g", "ann", 2)
    client.call("XGROUP", "CREATE", "s", "later", "$")
    file = tmp_path / "s.jsonl"
    respq(server, "export", "s", "-o", str(file))
    read(client, "s", "g", "bob", 1)
    assert client.call("XACK", "s", "g", "1-0", "3-0") == 2
    client.call("XGROUP", "DESTROY", "s", "later")
    before = state(client, "s")
    for options in (("--dry-run",), ()):
        done = respq(server, "import", "--resume", *options, str(file))
        assert done.err.splitlines()[-1] == (
            "1 groups were there already: left alone, with what they have pending"
        )
        found = state(client, "s")
        assert {name: found[name] for name in before} == before
    assert found.keys() - before.keys() == {"b'later'"}


def test_streams_expire_when_they_did(
    server: servers.Server, client: Client, tmp_path: Path
) -> None:
    fill(client, "s", 1, "g")
    at_ms = 4_000_000_000_123
    assert client.call("PEXPIREAT", "s", at_ms) == 1
    file = tmp_path / "s.jsonl"
    respq(server, "export", "s", "-o", str(file))
    client.call("DEL", "s")
    assert respq(server, "import", str(file)).status == 0
    assert client.call("PEXPIRETIME", "s") == at_ms
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["head"]["expires_ms"] = 1_000  # is over: nothing comes to life for good
    client.call("DEL", "s")
    typed = "".join(f"{json.dumps(line)}\n" for line in lines)
    assert respq(server, "import", typed=typed).status == 0
    assert client.call("EXISTS", "s") == 0


def test_a_stream_is_exported_as_it_is_when_its_turn_comes(
    redis8: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []
    read_streams = facts.read_streams

    def turn(server: Any, names: Any) -> Any:
        turns.append(names)
        if names == [b"b"]:
            with redis8.connect() as other:
                fill(other, "b", 0)
                other.call("XADD", "b", "9-0", "n", 9)
                other.call("DEL", "c")
        return read_streams(server, names)

    monkeypatch.setattr(export, "read_streams", turn)
    with redis8.connect() as client:
        for name in "abc":
            fill(client, name, 1)
    done = respq(redis8, "export", "--all", "--no-groups", "-o", str(tmp_path / "all.jsonl"))
    assert done == (0, "", "exported 3 entries of 2 streams\n")
    assert turns == [[b"a"], [b"b"], [b"c"]]
