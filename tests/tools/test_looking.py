"""`ping`, `add`, `tail`, `stream`, `group show`, `lag` and `pending` as they are seen.

What is printed is the same on respq and on both versions of Redis, where nothing else is said.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import (
    Done,
    environment_of,
    fill,
    masked,
    read,
    respq,
    start,
    url_of,
)
from tools import connection


def test_ping(server: servers.Server, client: Client) -> None:
    fill(client, "s", 1)
    done = respq(server, "ping")
    assert done.status == 0
    assert "PONG " in done.out
    assert done.out.endswith(" · 1 streams · ready\n")
    told = respq(server, "ping", "--json").json()
    assert list(told) == [
        *("server", "version", "redis_version", "address", "milliseconds", "streams", "ready")
    ]
    assert told["server"] == ("respq" if server.name == "respq" else "redis")
    assert (told["address"], told["streams"]) == (f"127.0.0.1:{server.port}", 1)


def test_nobody_there() -> None:
    port = servers.free_port()
    url = f"redis://:secret@127.0.0.1:{port}"
    assert respq(None, "lag", "-u", url).status == 1
    done = respq(None, "ping", "-u", url)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"Error: cannot talk to 127.0.0.1:{port}: ")
    assert done.err.endswith("Try: respq serve          starts a server\n")
    assert "secret" not in done.err
    done = respq(None, "ping", "-u", "nonsense://x")
    assert (done.status, done.out) == (2, "")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REPLY_S_MAX", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel connects, nobody reads
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        for command, status in (("ping", 2), ("lag", 1)):
            done = respq(None, command, "-u", f"redis://{where}")
            assert (done.status, done.out) == (status, "")
            assert done.err.splitlines() == [
                f"Error: cannot talk to {where}: it did not answer in time",
                "Try: respq ping           again in a moment: is it stopped, or busy?",
            ]


def test_who_waits_for_entries_may_wait_longer() -> None:
    read = ("XREADGROUP", "GROUP", "g", "ann", "BLOCK", 1500, "STREAMS", "s", ">")
    forever = ("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    add = ("XADD", "s", "*", "BLOCK", 0)
    assert connection.wait_s_max([read], 10.0) == 11.5
    assert connection.wait_s_max([add, read], 10.0) == 11.5
    assert connection.wait_s_max([add], 10.0) == 10.0
    assert connection.wait_s_max([forever], 10.0) is None
    assert connection.wait_s_max([read], None) is None


def test_a_password_is_asked_for_and_taken(tmp_path: Path) -> None:
    with servers.respq(tmp_path / "data", password="pw") as server:
        done = respq(None, "lag", "-u", f"redis://127.0.0.1:{server.port}")
        assert done.status == 1
        assert done.err.splitlines() == [
            "Error: NOAUTH Authentication required.",
            "Try: respq ping -u redis://:PASSWORD@HOST:PORT, or put that into RESPQ_URL",
        ]
        done = respq(None, "lag", "-u", f"redis://:no@127.0.0.1:{server.port}")
        assert done.err.startswith("Error: WRONGPASS ")
        assert respq(server, "ping").status == 0
        assert "pw" not in respq(server, "ping", "--json").out


def test_add_and_tail(server: servers.Server) -> None:
    assert respq(server, "add", "s", "--id", "1-1", "sku=A 17", "qty=2=3") == Done(0, "1-1\n", "")
    assert respq(server, "add", "s", "--id", "2", "--json", "f=").json() == {
        "stream": "s",
        "id": "2-0",
    }
    assert respq(server, "tail", "s").out == "1-1  sku='A 17' qty=2=3\n2-0  f=''\n"
    assert respq(server, "tail", "s", "--json").rows() == [
        {"stream": "s", "id": "1-1", "fields": {"sku": "A 17", "qty": "2=3"}},
        {"stream": "s", "id": "2-0", "fields": {"f": ""}},
    ]
    assert respq(server, "tail", "s", "nothing", "-n", "1").out == "s  2-0  f=''\n"
    done = respq(server, "add", "s", "--id", "1-1", "f=v")
    assert (done.status, done.out) == (1, "")
    assert "equal or smaller than the target stream top item" in done.err
    assert respq(server, "add", "s", "novalue").status == 2


def test_add_from_standard_input(server: servers.Server, client: Client) -> None:
    lines = '{"n": 1}\n\n{"n": "2", "x": ""}\n[["a", "b"], ["a", {"base64": "/w=="}]]\n'
    done = respq(server, "add", "s", "-", typed=lines)
    assert (done.status, masked(done.out)) == (0, "ID\nID\nID\n")
    entries = [entry[1] for entry in client.call("XRANGE", "s", "-", "+")]
    assert entries == [[b"n", b"1"], [b"n", b"2", b"x", b""], [b"a", b"b", b"a", b"\xff"]]
    shown = respq(server, "tail", "s", "-n", "1", "--json").json()
    assert shown["fields"] == [["a", "b"], ["a", {"base64": "/w=="}]]
    done = respq(server, "add", "s", "-", typed='{"n": 3}\n{"n": true}\n')
    assert done.status == 1
    assert done.err.startswith("Error: line 2: ")
    assert client.call("XLEN", "s") == 4  # what stood before the bad line was added


def test_a_stream_that_grows_is_trimmed_as_told(server: servers.Server, client: Client) -> None:
    lines = "".join(f'{{"n": {n}}}\n' for n in range(1200))
    assert respq(server, "add", "s", "--maxlen", "300", "-", typed=lines).status == 0
    assert 300 <= client.call("XLEN", "s") <= 400


def test_tail_follows(server: servers.Server, client: Client) -> None:
    fill(client, "s", 2)
    with start(server, "tail", "s", "-n", "1", "-f", "--count", "2", "--json") as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["id"] == "2-0"
        client.call("XADD", "s", "3-0", "n", 3)
        assert json.loads(tail.stdout.readline())["id"] == "3-0"
        client.call("XADD", "s", "4-0", "n", 4)
        assert json.loads(tail.stdout.readline())["id"] == "4-0"
        assert tail.wait(30) == 0


def test_lag_and_group_show(server: servers.Server, client: Client) -> None:
    fill(client, "orders", 5, "billing")
    client.call("XGROUP", "CREATE", "orders", "mail", 0)
    client.call("XGROUP", "CREATE", "orders", "late", "$")
    read(client, "orders", "billing", "ann", 2)
    table = (
        "STREAM  GROUP    LAG  PENDING  OLDEST  CONSUMERS\n"
        "orders  billing    3        2       ?          1\n"
        "orders  late       0        0                  0\n"
        "orders  mail       5        0       ?          0  no consumer\n"
    )
    assert respq(server, "lag") == Done(0, table, "")
    assert respq(server, "lag", "--match", "ord*").out == table
    assert respq(server, "lag", "orders").out == table
    assert respq(server, "lag", "--match", "x*").out.count("\n") == 1
    assert respq(server, "group", "show", "orders").out == table
    told = respq(server, "lag", "--json").rows()
    quiet_ms = told[0].pop("quiet_ms")
    assert 0 <= quiet_ms < 60_000
    assert told[0] == {
        "stream": "orders",
        "group": "billing",
        "lag": 3,
        "pending": 2,
        "oldest_ms": None,
        "consumers": 1,
        "last_delivered_id": "2-0",
        "entries_read": 2,
        "entries_added": 5,
    }
    shown = masked(respq(server, "group", "show", "orders", "billing").out)
    timeout = "idle timeout    off\n" if server.name == "respq" else ""
    busy = "-" if server.name == "redis-7" else "AGE"
    assert " ".join(shown.split()) == " ".join(
        f"group billing of orders\nlag 3\npending 2\noldest ?\nlast delivered 2-0\nentries read 2\n"
        f"{timeout}\nCONSUMER PENDING LAST SEEN LAST BUSY\nann 2 AGE {busy}".split()
    )
    told = respq(server, "group", "show", "orders", "billing", "--json").json()
    assert [member["consumer"] for member in told["members"]] == ["ann"]
    assert list(told["members"][0]) == ["consumer", "pending", "idle_ms", "inactive_ms"]


def test_a_lag_that_the_server_does_not_know_is_not_nought(
    server: servers.Server, client: Client
) -> None:
    fill(client, "s", 5, "g")
    client.call("XGROUP", "SETID", "s", "g", "2-0")  # nobody says how many that are
    assert client.call("XINFO", "GROUPS", "s")[0][-1] is None
    assert respq(server, "lag").out.splitlines()[1].split() == [
        "s",
        "g",
        "?",
        "0",
        "?",
        "0",
        *(("no", "consumer")),
    ]
    assert respq(server, "lag", "--json").json()["lag"] is None
    watched = respq(server, "lag", "--watch", "--count", "2", "--interval", "1ms", "--json")
    assert watched.rows()[1]["out_per_s"] is None
    assert watched.rows()[1]["empty_in"] == "?"


def test_old_entries_are_told_by_their_ids(server: servers.Server, client: Client) -> None:
    now_ms = int(client.call("TIME")[0]) * 1000
    client.call("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    client.call("XADD", "s", f"{now_ms - 7_200_000 - 5000}-0", "n", 1)
    client.call("XADD", "s", f"{now_ms - 600_000}-0", "n", 2)
    assert respq(server, "lag").out.splitlines()[1].split()[3:6] == ["0", "2", "h"]
    assert 7_200_000 <= respq(server, "lag", "--json").json()["oldest_ms"] < 7_300_000
    read(client, "s", "g", "ann", 1)
    assert respq(server, "lag").out.splitlines()[1].split()[3:6] == ["1", "2", "h"]
    client.call("XACK", "s", "g", f"{now_ms - 7_200_000 - 5000}-0")
    assert 600_000 <= respq(server, "lag", "--json").json()["oldest_ms"] < 700_000


def test_watching_tells_rates(server: servers.Server, client: Client) -> None:
    fill(client, "s", 10, "g")
    with start(server, "lag", "--watch", "--count", "2", "--interval", "300ms", "--json") as watch:
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        assert (first["in_per_s"], first["out_per_s"], first["empty_in"]) == (None, None, "")
        ids = read(client, "s", "g", "ann", 4)
        client.call("XACK", "s", "g", *ids)
        client.call("XADD", "s", "11-0", "n", 11)
        second = json.loads(watch.stdout.readline())
        assert second["in_per_s"] == pytest.approx(second["out_per_s"] / 4)
        assert second["in_per_s"] > 0
        assert watch.wait(30) == 0
    table = respq(server, "lag", "--watch", "--count", "2", "--interval", "1ms").out.splitlines()
    heading = "STREAM GROUP LAG PENDING OLDEST CONSUMERS IN/s OUT/s EMPTY IN"
    assert table[0].split() == table[2].split() == heading.split()
    assert table[3].split()[-3:] == ["0", "0", "∞"]


def test_streams(server: servers.Server, client: Client) -> None:
    fill(client, "b", 3, "g")
    fill(client, "a:1", 1)
    client.call("SET", "text", "x")
    client.call("PEXPIRE", "a:1", 3_600_000 * 3)
    assert masked(respq(server, "stream", "ls").out) == (
        "STREAM  LENGTH  GROUPS  OLDEST  NEWEST  EXPIRES IN\n"
        "a:1          1       0       ?       ?         AGE\n"
        "b            3       1       ?       ?\n"
    )
    (told,) = respq(server, "stream", "ls", "b*", "--json").rows()
    assert told == {
        "stream": "b",
        "length": 3,
        "first_id": "1-0",
        "last_id": "3-0",
        "entries_added": 3,
        "max_deleted_id": "0-0",
        "groups": 1,
        "oldest_ms": None,
        "newest_ms": None,
        "expires_ms": None,
    }
    assert respq(server, "stream", "show", "b").out == (
        "stream        b\n"
        "entries       3\n"
        "ever added    3\n"
        "first ID      1-0\n"
        "last ID       3-0\n"
        "\n"
        "STREAM  GROUP  LAG  PENDING  OLDEST  CONSUMERS\n"
        "b       g        3        0       ?          0  no consumer\n"
    )
    assert [g["group"] for g in respq(server, "stream", "show", "b", "--json").json()["groups"]]
    for name, words in (("none", "ERR no such key"), ("text", "WRONGTYPE ")):
        done = respq(server, "stream", "show", name)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith(f"Error: {words}")
        assert done.err.endswith("Try: respq stream ls      lists the streams there are\n")


def test_pending(server: servers.Server, client: Client) -> None:
    fill(client, "s", 4, "g")
    read(client, "s", "g", "ann", 2)
    read(client, "s", "g", "bob", 2)
    client.call("XDEL", "s", "2-0")
    client.call("XCLAIM", "s", "g", "bob", 0, "4-0", "IDLE", 120_000, "RETRYCOUNT", 7)
    shown = masked(respq(server, "pending", "s", "g").out).splitlines()
    assert [line.split() for line in shown] == [
        ["ID", "CONSUMER", "IDLE", "DELIVERIES", "FIELDS"],
        ["1-0", "ann", "AGE", "1", "n=1"],
        ["2-0", "ann", "AGE", "1", "(deleted)"],
        ["3-0", "bob", "AGE", "1", "n=3"],
        ["4-0", "bob", "AGE", "7", "n=4"],
    ]
    rows = respq(server, "pending", "s", "g", "--json", "-c", "bob").rows()
    assert [row.pop("idle_ms") // 60_000 for row in rows] == [0, 2]
    assert rows == [
        {"id": "3-0", "consumer": "bob", "deliveries": 1, "fields": {"n": "3"}},
        {"id": "4-0", "consumer": "bob", "deliveries": 7, "fields": {"n": "4"}},
    ]
    older = respq(server, "pending", "s", "g", "--older", "1m", "--json").rows()
    assert [row["id"] for row in older] == ["4-0"]
    done = respq(server, "pending", "s", "g", "-n", "1")
    assert (done.out.count("\n"), done.err) == (2, "the first 1; more with -n\n")
    one = respq(server, "pending", "s", "g", "3-0", "9-0", "--json").rows()
    assert [row["id"] for row in one] == ["3-0"]
    assert respq(server, "pending", "s", "none").err.startswith("Error: NOGROUP ")


def test_help_comes_without_what_is_slow() -> None:
    """All commands' help: redis alone takes longer to import than help may."""
    script = (
        "import sys; from tools.cli import main, COMMANDS\n"
        "for name in COMMANDS: main([name, '--help'], standalone_mode=False)\n"
        "heavy = {'asyncio', 'uvloop', 'redis', 'hiredis', 'rich', 'zstandard', 'subprocess', "
        "'lsmstore', 'streams', 'respserver.server'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_url_is_taken_from_flag_or_environment(server: servers.Server) -> None:
    assert respq(server, "ping").status == 0
    assert respq(None, "ping", "--url", url_of(server)).status == 0


def test_a_batch_whose_reply_is_lost_is_not_added_again(
    redis8: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_all = connection.Server.ask_all

    def cut(self: connection.Server, commands: Sequence[Sequence[connection.Word]]) -> list[Any]:
        ask_all(self, commands)
        raise connection.unreachable(self.url, ConnectionError("cut"))

    monkeypatch.setattr(connection.Server, "ask_all", cut)
    done = respq(redis8, "add", "s", "-", typed='{"n": 1}\n{"n": 2}\n')
    assert done.status == 1
    with redis8.connect() as client:
        assert client.call("XLEN", "s") == 2


def test_a_line_does_not_wait_for_the_next(redis8: servers.Server) -> None:
    with subprocess.Popen(
        [servers.RESPQ, "add", "s", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment_of(redis8),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in (1, 2):
            process.stdin.write(f'{{"n": {number}}}\n')
            process.stdin.flush()
            entry_id = process.stdout.readline().strip()
            with redis8.connect() as client:
                ((found, fields),) = client.call("XRANGE", "s", entry_id, entry_id)
            assert (found, fields) == (entry_id.encode(), [b"n", b"%d" % number])
        process.stdin.close()
        assert process.wait(timeout=30) == 0
