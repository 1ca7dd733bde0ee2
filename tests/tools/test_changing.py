"""What changes a stream or a group says what it will do, asks, and can be tried first."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import Done, environment_of, fill, read, respq

ASKED = "Error: not done: nobody is there to ask\nTry: the same with --yes, or with --dry-run\n"


def with_terminal(server: servers.Server, answer: str, *words: str) -> Done:
    """Run a command whose standard input is a terminal at which somebody answers."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [servers.RESPQ, *words],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_of(server),
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        out, err = process.communicate(timeout=30)
    os.close(ours)
    return Done(process.returncode, out, err)


def lag_of(client: Client, stream: str = "s") -> int | None:
    lag: int | None = client.call("XINFO", "GROUPS", stream)[0][-1]
    return lag


def test_seek(server: servers.Server, client: Client) -> None:
    fill(client, "s", 6, "g")
    read(client, "s", "g", "ann", 4)
    seek = ("group", "seek", "s", "g", "--to")
    plan = "g goes from 4-0 to 2-0: 2 entries are delivered again"
    assert respq(server, *seek, "2-0", "--dry-run") == Done(0, f"would do: {plan}\n", "")
    assert respq(server, *seek, "2-0") == Done(1, "", f"{plan}.\n{ASKED}")
    assert lag_of(client) == 2
    assert respq(server, *seek, "2-0", "--yes") == Done(0, f"{plan}\n", "")
    assert lag_of(client) == 4  # known, since the entries were counted
    assert read(client, "s", "g", "bob", 9) == ["3-0", "4-0", "5-0", "6-0"]
    told = respq(server, *seek, "0", "--json", "--dry-run").json()
    assert told == {
        "stream": "s",
        "group": "g",
        "from": "6-0",
        "to": "0",
        "delivered_again": 6,
        "skipped": 0,
        "counted_at_most": 1_000_000,
        "dry_run": True,
    }
    client.call("XADD", "s", "7-0", "n", 7)
    assert respq(server, *seek, "$", "--yes").out == (
        "g goes from 6-0 to 7-0: 1 entries are never delivered\n"
    )
    assert lag_of(client) == 0
    assert respq(server, *seek, "$").out == "g is at 7-0 already\n"
    assert respq(server, *seek, "nowhere").status == 2
    assert respq(server, "group", "seek", "s", "none", "--to", "0").err.startswith(
        "Error: NOGROUP "
    )


def test_seek_to_a_time(server: servers.Server, client: Client) -> None:
    now_ms = int(client.call("TIME")[0]) * 1000
    client.call("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    for hours in (3, 1):
        client.call("XADD", "s", f"{now_ms - hours * 3_600_000}-0", "hours", hours)
    read(client, "s", "g", "ann", 2)
    assert respq(server, "group", "seek", "s", "g", "--to", "-2h", "--yes").status == 0
    assert read(client, "s", "g", "ann", 9) == [f"{now_ms - 3_600_000}-0"]
    done = respq(server, "group", "seek", "s", "g", "--to", "2020-02-03T00:00", "--dry-run")
    assert " to 1580688000000: 2 entries are delivered again\n" in done.out
    done = respq(server, "group", "seek", "s", "g", "--to", "2020-02-03T01:00+01:00", "--dry-run")
    assert " to 1580688000000: " in done.out


def test_trim(server: servers.Server, client: Client) -> None:
    fill(client, "s", 6, "g")
    client.call("XGROUP", "CREATE", "s", "done", "$")
    read(client, "s", "g", "ann", 2)
    trim = ("stream", "trim", "s")
    waits = "group g has 2 of them pending and was not given 2 of them\n"
    plan = "deletes 4 of 6 entries, all before 5-0"
    for options in (("--maxlen", "2"), ("--before", "5-0")):
        dry = respq(server, *trim, *options, "--dry-run")
        assert dry == Done(0, f"would do: {plan}\n", waits)
        asked = respq(server, *trim, *options)
        assert asked == Done(1, "", f"{waits}This {plan}.\n{ASKED}")
    assert client.call("XLEN", "s") == 6
    assert with_terminal(server, "n\n", *trim, "--maxlen", "2").status == 1
    assert client.call("XLEN", "s") == 6
    assert with_terminal(server, "y\n", *trim, "--maxlen", "2").out == "deleted 4 entries\n"
    assert client.call("XLEN", "s") == 2
    told = respq(server, *trim, "--maxlen", "0", "--dry-run", "--json").json()
    assert told == {
        "stream": "s",
        "before": "6-1",
        "deleted": 2,
        "dry_run": True,
        "deleted_at_least": False,
    }
    assert respq(server, *trim, "--maxlen", "5").out == "deleted 0 entries\n"
    assert respq(server, *trim, "--maxlen", "0", "--yes", "--json").json()["deleted"] == 2
    assert respq(server, *trim).status == 2
    assert respq(server, *trim, "--maxlen", "1", "--before", "1").status == 2


def test_trim_by_age(server: servers.Server, client: Client) -> None:
    now_ms = int(client.call("TIME")[0]) * 1000
    for days in (9, 8, 1):
        client.call("XADD", "s", f"{now_ms - days * 86_400_000}-0", "days", days)
    done = respq(server, "stream", "trim", "s", "--older-than", "7d", "--yes")
    assert done.out == "deleted 2 entries\n"
    assert client.call("XLEN", "s") == 1


def test_entries_are_acknowledged_only_if_somebody_says_so(
    server: servers.Server, client: Client
) -> None:
    fill(client, "s", 3, "g")
    read(client, "s", "g", "ann", 3)
    asked = "This acknowledges 3 entries of g: nobody gets them again.\n"
    assert respq(server, "pending", "s", "g", "--ack") == Done(1, "", asked + ASKED)
    dry = respq(server, "pending", "s", "g", "2-0", "--ack", "--dry-run")
    assert dry == Done(0, "2-0\n", "1 entries would be acknowledged\n")
    assert client.call("XPENDING", "s", "g")[0] == 3
    done = respq(server, "pending", "s", "g", "2-0", "--ack", "--yes")
    assert done.out == "1 of 1 entries acknowledged\n"
    rows = respq(server, "pending", "s", "g", "--ack", "--yes", "--json").rows()
    assert rows == [
        {"id": entry_id, "action": "acknowledged", "done": True} for entry_id in ("1-0", "3-0")
    ]
    assert client.call("XPENDING", "s", "g")[0] == 0


def test_entries_are_given_to_another_consumer(server: servers.Server, client: Client) -> None:
    fill(client, "s", 3, "g")
    read(client, "s", "g", "ann", 3)
    client.call("XCLAIM", "s", "g", "ann", 0, "2-0", "IDLE", 120_000)
    done = respq(server, "pending", "s", "g", "--older", "1m", "--claim", "bob")
    assert done.out == "1 of 1 entries given to bob\n"
    rows = respq(server, "pending", "s", "g", "--json").rows()
    assert [row["consumer"] for row in rows] == ["ann", "bob", "ann"]
    assert respq(server, "pending", "s", "g", "--claim", "bob", "--ack").status == 2


def test_entries_are_released_where_the_server_can(server: servers.Server, client: Client) -> None:
    fill(client, "s", 2, "g")
    read(client, "s", "g", "ann", 2)
    done = respq(server, "pending", "s", "g", "1-0", "--nack")
    if server.name == "respq":
        assert done == Done(0, "1 of 1 entries released\n", "")
        shown = respq(server, "pending", "s", "g").out.splitlines()[1].split()
        assert shown == ["1-0", "(released)", "1", "n=1"]
        row = respq(server, "pending", "s", "g", "--json").rows()[0]
        assert (row["consumer"], row["idle_ms"]) == (None, None)
    else:
        assert (done.status, done.out) == (1, "")
        assert "cannot release entries (XNACK came with Redis 8.8)" in done.err
        assert done.err.endswith("Try: respq pending s g --claim NAME\n")


def test_the_policy_of_a_group(server: servers.Server, client: Client) -> None:
    fill(client, "s", 2, "g")
    words = ("group", "set", "s", "g", "--idle-timeout")
    done = respq(server, *words, "30s")
    if server.name != "respq":
        assert done.status == 1
        assert "gives nothing back by itself; only respq does" in done.err
        assert "Try: respq work s -g g --lease 30s -- CMD\n" in done.err
        return
    assert done == Done(0, "g: what is pending for 30 s is delivered again\n", "")
    assert client.call("XQ.GROUP", "GET", "s", "g") == [b"idle-timeout", 30_000]
    assert respq(server, "group", "show", "s", "g", "--json").json()["idle_timeout_ms"] == 30_000
    assert "idle timeout    30 s\n" in respq(server, "group", "show", "s", "g").out
    told = respq(server, *words, "off", "--json").json()
    assert told == {"stream": "s", "group": "g", "idle_timeout_ms": None}
    assert respq(server, *words, "off").out == "g: idle timeout off\n"
    assert respq(server, *words, "soon").status == 2
    assert respq(server, "group", "set", "s", "none", "--idle-timeout", "1s").err.startswith(
        "Error: NOGROUP "
    )


@pytest.mark.parametrize(
    ("typed", "meant"), [("pign", "ping"), ("streem", "stream"), ("pendign", "pending")]
)
def test_a_slip_is_told_what_was_meant(typed: str, meant: str) -> None:
    done = respq(None, typed)
    assert (done.status, done.out) == (2, "")
    assert f"Did you mean '{meant}'?" in done.err
