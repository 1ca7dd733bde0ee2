"""`respq work`: what is done is acknowledged, what is not comes again, whoever is killed.

Children wait on a named pipe until the test lets them go on, so that nothing depends on who is
quicker. Where a lease has to pass, the next worker waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import environment_of, fill, read, respq, url_of

KEYS = [
    *("event", "stream", "id", "consumer", "deliveries", "milliseconds", "exit"),
    *("again_in_ms", "why"),
]


class Worker:
    """A `respq work --json` process and the events that it prints."""

    def __init__(self, server: servers.Server, *words: str) -> None:
        self.process = subprocess.Popen(
            [servers.RESPQ, "work", "--json", "s", "-g", "g", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_of(server),
        )

    def event(self) -> dict[str, Any]:
        """The next event."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line != "", self.process.communicate()[1]
        told: dict[str, Any] = json.loads(line)
        assert list(told) == KEYS
        return told

    def until(self, event: str) -> dict[str, Any]:
        """The next event of a kind."""
        while (told := self.event())["event"] != event:
            pass
        return told

    def kill(self) -> None:
        """Kill it; what it was the parent of may keep its pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """Wait for its end: exit code, the events that were left, standard error."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture
def work(server: servers.Server) -> Iterator[Any]:
    """Start workers; those that are left are killed."""
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> Worker:
            worker = Worker(server, *words)
            stack.callback(worker.kill)
            return worker

        yield start


class Gate:
    """Named pipes before which children wait, one for each entry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wait = f"read line < {folder}/$ENTRY_ID"
        for number in (1, 2, 3):
            os.mkfifo(folder / f"{number}-0")

    def open(self, number: int = 1) -> None:
        """Let the child of an entry go on."""
        with (self.folder / f"{number}-0").open("w") as pipe:
            pipe.write("go\n")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    folder = tmp_path / "gates"
    folder.mkdir()
    return Gate(folder)


def pending(client: Client) -> int:
    number: int = client.call("XPENDING", "s", "g")[0]
    return number


def test_entries_reach_the_child_and_are_acknowledged(
    server: servers.Server, client: Client, tmp_path: Path
) -> None:
    client.call("XADD", "s", "1-0", "sku", "A 17", "qty", 2)
    client.call("XADD", "s", "2-0", "same", "1", "same", b"\xff")
    out = tmp_path / "out"
    script = f'cat >> {out}; echo "$ENTRY_STREAM $ENTRY_GROUP $ENTRY_ID $ENTRY_DELIVERIES" >> {out}'
    done = respq(server, "work", "s", "-g", "g", "--drain", "--", "sh", "-c", script)
    assert done.status == 0
    lines = done.err.splitlines()
    assert lines[0] == "made the group g of s, from 0 on"
    assert [line.split(" after ")[0] for line in lines[1:]] == ["1-0 done", "2-0 done"]
    told = out.read_text().splitlines()
    assert json.loads(told[0]) == {
        "stream": "s",
        "id": "1-0",
        "fields": {"sku": "A 17", "qty": "2"},
        "deliveries": 1,
    }
    assert told[1] == "s g 1-0 1"
    assert json.loads(told[2])["fields"] == [["same", "1"], ["same", {"base64": "/w=="}]]
    assert pending(client) == 0
    assert client.call("XINFO", "GROUPS", "s")[0][3] == 0  # the consumer has left, too
    again = respq(server, "work", "s", "-g", "g", "--drain", "-q", "-c", "me", "--", "false")
    assert (again.status, again.err) == (0, "")


def test_what_fails_comes_again_later_and_later_and_is_buried(
    server: servers.Server, client: Client, work: Any
) -> None:
    client.call("XADD", "s", "1-0", "sku", "A-17")
    words = ("--lease", "1h", "--retry", "20ms", "--max-deliveries", "4", "-q")
    worker = work(*words, "--", "sh", "-c", "exit 7")
    failed = []
    for _ in range(3):
        failed.append(worker.until("failed"))
        before_s = time.monotonic()
        worker.until("started")
        # It was told a moment after the delay began.
        assert (time.monotonic() - before_s) * 1000 >= failed[-1]["again_in_ms"] - 15
    assert [event["again_in_ms"] for event in failed] == [20, 40, 80]
    assert [event["deliveries"] for event in failed] == [1, 2, 3]
    assert {(event["exit"], event["why"]) for event in failed} == {(7, "exit 7")}
    buried = worker.until("buried")
    assert (buried["deliveries"], buried["why"], buried["id"]) == (4, "exit 7", "1-0")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end()[0] == 0
    assert pending(client) == 0
    (dead,) = client.call("XRANGE", "s:dead", "-", "+")
    assert dead[1] == [
        *(b"sku", b"A-17", b"respq-stream", b"s", b"respq-group", b"g", b"respq-id", b"1-0"),
        *(b"respq-deliveries", b"4", b"respq-why", b"exit 7"),
    ]


def test_what_kills_its_worker_is_buried_unread(server: servers.Server, client: Client) -> None:
    fill(client, "s", 1, "g")
    read(client, "s", "g", "ann", 1)
    client.call("XCLAIM", "s", "g", "ann", 0, "1-0", "IDLE", 60_000, "RETRYCOUNT", 5)
    done = respq(
        server,
        *("work", "s", "-g", "g", "--drain", "--lease", "1s", "--max-deliveries", "5"),
        *("--dead", "graves", "--", "false"),
    )
    assert done.err == "1-0 buried: delivered 6 times (delivery 6)\n"
    assert (client.call("XLEN", "graves"), pending(client)) == (1, 0)


def test_entries_of_a_killed_worker_come_back(
    server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 1, "g")
    first = work("--lease", "300ms", "-c", "ann", "--", "sh", "-c", gate.wait)
    assert first.until("started")["consumer"] == "ann"
    first.kill()
    second = work("--lease", "300ms", "-c", "bob", "--", "true")
    assert second.until("done") | {"milliseconds": 0} == {
        "event": "done",
        "stream": "s",
        "id": "1-0",
        "consumer": "bob",
        "deliveries": 2,
        "milliseconds": 0,
        "exit": 0,
        "again_in_ms": None,
        "why": None,
    }
    second.process.terminate()
    assert second.end()[0] == 0
    assert pending(client) == 0
    gate.open()  # the orphan goes on


def test_whoever_works_on_keeps_the_entry(
    server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 1, "g")
    lease_s = 0.5
    worker = work("--lease", "500ms", "-c", "ann", "--", "sh", "-c", gate.wait)
    worker.until("started")
    began_s = time.monotonic()
    while time.monotonic() - began_s < 3 * lease_s:
        other = respq(server, "work", "s", "-g", "g", "--drain", "--lease", "500ms", "--", "false")
        assert (other.status, other.err) == (0, "")
    assert client.call("XPENDING", "s", "g", "-", "+", 9)[0][3] == 1  # one delivery
    gate.open()
    assert worker.until("done")["deliveries"] == 1
    assert pending(client) == 0


def test_whose_entry_was_taken_is_told(
    server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 1, "g")
    worker = work("--lease", "300ms", "-c", "ann", "--", "sh", "-c", gate.wait)
    worker.until("started")
    client.call("XCLAIM", "s", "g", "bob", 0, "1-0")
    assert worker.until("lost")["id"] == "1-0"
    assert client.call("XPENDING", "s", "g", "-", "+", 9)[0][1] == b"bob"  # it was not taken back
    gate.open()
    worker.until("done")


def test_what_somebody_else_has_is_not_buried(
    server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 1, "g")
    words = ("--lease", "1h", "--max-deliveries", "1", "-c", "ann", "--")
    worker = work(*words, "sh", "-c", f"{gate.wait}; exit 1")
    worker.until("started")
    client.call("XCLAIM", "s", "g", "bob", 0, "1-0")
    gate.open()
    lost = worker.event()
    assert (lost["event"], lost["why"]) == ("lost", "somebody else has it now")
    assert client.call("EXISTS", "s:dead") == 0
    assert client.call("XPENDING", "s", "g", "-", "+", 9)[0][1] == b"bob"


def test_what_cannot_be_buried_stays_pending(server: servers.Server, client: Client) -> None:
    fill(client, "s", 1, "g")
    client.call("SET", "s:dead", "no stream")
    done = respq(
        server, *("work", "s", "-g", "g", "--drain", "--max-deliveries", "1", "--", "false")
    )
    assert done.status == 1
    assert "WRONGTYPE" in done.err
    assert pending(client) == 1


def test_a_stop_lets_children_finish(
    server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 2, "g")
    worker = work("--", "sh", "-c", gate.wait)
    worker.until("started")
    worker.process.terminate()
    assert worker.until("stopping")["why"] == "may take 30000 ms to finish"
    gate.open()
    status, events, _ = worker.end()
    assert (status, [event["event"] for event in events]) == (0, ["done"])
    assert client.call("XINFO", "GROUPS", "s")[0][3:6] == [0, b"pending", 0]
    assert client.call("XINFO", "GROUPS", "s")[0][-1] == 1  # the second entry was left alone


@pytest.mark.parametrize("signals", [1, 2])
def test_what_a_stop_interrupts_is_given_back(
    signals: int, server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 1, "g")
    grace = "1ms" if signals == 1 else "1h"
    worker = work("--lease", "1h", "--grace", grace, "--", "sh", "-c", gate.wait)
    worker.until("started")
    worker.process.send_signal(signal.SIGINT)
    worker.until("stopping")
    if signals == 2:
        worker.process.send_signal(signal.SIGINT)
    status, events, _ = worker.end()
    assert (status, [event["event"] for event in events]) == (0, ["released"])
    done = respq(
        server, *("work", "s", "-g", "g", "--drain", "--lease", "1h", "--json", "--", "true")
    )
    assert done.rows()[0]["id"] == "1-0"
    assert done.rows()[0]["deliveries"] == (1 if server.name == "respq" else 2)
    assert pending(client) == 0


def test_several_at_once(server: servers.Server, client: Client, work: Any, gate: Gate) -> None:
    fill(client, "s", 3, "g")
    worker = work("-j", "3", "--drain", "--", "sh", "-c", gate.wait)
    assert {worker.event()["id"] for _ in range(3)} == {"1-0", "2-0", "3-0"}
    for number in (2, 1, 3):
        gate.open(number)
        told = worker.event()
        assert (told["event"], told["id"]) == ("done", f"{number}-0")
    assert worker.end()[0] == 0
    assert pending(client) == 0


def test_a_child_that_takes_too_long_has_failed(
    server: servers.Server, client: Client, work: Any, gate: Gate
) -> None:
    fill(client, "s", 1, "g")
    worker = work("--timeout", "50ms", "--", "sh", "-c", gate.wait)
    failed = worker.until("failed")
    assert failed["why"] == "took longer than 50 ms"
    assert failed["milliseconds"] >= 50


def test_a_command_that_is_not_there(server: servers.Server, client: Client) -> None:
    fill(client, "s", 1, "g")
    done = respq(server, "work", "s", "-g", "g", "--", "no-such-program")
    assert done.status == 1
    assert "Error: cannot start no-such-program: No such file or directory\n" in done.err
    rows = respq(server, "work", "s", "-g", "g", "--drain", "--json", "--", "true").rows()
    assert rows[-1]["event"] == "done"


def test_a_stream_that_goes_away(server: servers.Server, client: Client, work: Any) -> None:
    fill(client, "s", 1, "g")
    worker = work("--", "true")
    worker.until("done")
    client.call("DEL", "s")
    status, _, err = worker.end()
    assert status == 1
    assert re.search(r"Error: (NOGROUP|UNBLOCKED) ", err)


def test_a_server_that_is_killed_meanwhile(tmp_path: Path, gate: Gate) -> None:
    with servers.respq(tmp_path / "data", appendfsync="always") as server:
        with server.connect() as client:
            fill(client, "s", 2, "g")
        worker = Worker(server, "-c", "ann", "--drain", "--", "sh", "-c", gate.wait)
        try:
            worker.until("started")
            server.kill()
            gate.open()
            assert "cannot talk to" in worker.until("disconnected")["why"]
            server.start()
            assert worker.until("done")["id"] == "1-0"
            worker.until("started")
            gate.open(2)
            assert worker.until("done")["id"] == "2-0"
            assert worker.end()[0] == 0
        finally:
            worker.kill()
        with server.connect() as client:
            assert pending(client) == 0


def test_the_lease_is_the_groups_timeout(tmp_path: Path) -> None:
    """Without --lease a respq's policy of the group is obeyed."""
    with servers.respq(tmp_path / "data") as server, server.connect() as client:
        fill(client, "s", 1, "g")
        read(client, "s", "g", "ann", 1)
        client.call("XCLAIM", "s", "g", "ann", 0, "1-0", "IDLE", 5000)
        words = ("work", "s", "-g", "g", "--drain", "--json", "-u", url_of(server), "--", "true")
        assert respq(None, *words).out == ""  # thirty seconds are not over
        client.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 4000)
        assert respq(None, *words).rows()[-1]["event"] == "done"
