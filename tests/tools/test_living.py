"""`demo`, `top` and `cheat`: what a newcomer sees first, and what stays on the screen."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import Done, environment_of, fill, read, respq
from tools.living.cheat import TOPICS
from tools.living.demo import Account

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_the_demo_on_a_given_server(server: servers.Server, client: Client) -> None:
    words = ("demo", "--orders", "8", "--lease", "500ms", "--work", "sleep 0.1")
    done = respq(server, *words)
    assert done.status == 0, done.err
    assert "ann      KILLED with order " in done.err
    assert re.search(
        r"bob      order \d+ CAME BACK after (\d+ ms|[\d.]+ s): delivery 2\n", done.err
    )
    assert re.search(
        r"\n8 produced, (8|9) done \((0|1) of them again\), 0 lost; 1 of 1 came ", done.out
    )
    assert client.call("DBSIZE") == 0


def test_the_demo_brings_its_own_server(tmp_path: Path) -> None:
    done = subprocess.run(
        [servers.RESPQ, "demo", "--orders", "4", "--lease", "300ms", "--json"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "RESPQ_PORT": "6379"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = Done(0, done.stdout, "").json()
    took_ms = told.pop("back_after_ms")
    assert took_ms >= 100
    assert told.pop("done") - told.pop("done_again") == 4
    assert told == {
        "produced": 4,
        "held_by_the_killed": 1,
        "came_back": 1,
        "lost": 0,
        "balances": True,
    }
    assert list(tmp_path.iterdir()) == []


def test_an_account_that_does_not_balance() -> None:
    assert Account(produced=4, done=4, held_by_the_killed=1, came_back=1).balances
    assert not Account(produced=4, done=4, held_by_the_killed=1, came_back=0).balances
    assert not Account(produced=4, done=4, held_by_the_killed=0, came_back=0).balances
    assert not Account(produced=4, done=4, held_by_the_killed=1, came_back=1, lost=1).balances


@contextlib.contextmanager
def on_a_terminal(server: servers.Server, *words: str) -> Iterator[tuple[int, int]]:
    """A command on a terminal of its own: the terminal, and the process."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = environment_of(server, {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"})
        os.execve(servers.RESPQ, ["respq", *words], environment)
    try:
        yield terminal, pid
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def shown(terminal: int, wanted: str) -> str:
    """What the screen shows, until it shows what is wanted."""
    text = ""
    until_s = time.monotonic() + 20
    while wanted not in (plain := COLOURS.sub("", text)):
        left_s = until_s - time.monotonic()
        assert left_s > 0, plain[-2000:]
        if select.select([terminal], [], [], left_s)[0]:
            text += os.read(terminal, 65536).decode("utf-8", "replace")
    return plain


@pytest.mark.parametrize("end", ["q", "\x03"])
def test_top_on_a_terminal(end: str, server: servers.Server, client: Client) -> None:
    fill(client, "orders", 5, "billing")
    read(client, "orders", "billing", "ann", 2)
    with on_a_terminal(server, "top", "--interval", "50ms") as (terminal, pid):
        text = shown(terminal, "EMPTY IN")
        assert f"127.0.0.1:{server.port}" in text
        assert "1 groups of 1 streams" in text
        shown(terminal, "billing")
        client.call("XADD", "orders", "6-0", "n", 6)
        shown(terminal, "    4    ")
        os.write(terminal, b"p")
        os.write(terminal, end.encode())
        with contextlib.suppress(OSError):  # the terminal is gone with the process
            while os.read(terminal, 65536):
                pass
        assert os.waitpid(pid, 0)[1] == 0


def test_top_without_a_terminal(server: servers.Server, client: Client) -> None:
    fill(client, "a", 5, "g")
    fill(client, "b", 9, "g")
    fill(client, "c", 7, "g")
    read(client, "a", "g", "ann", 3)
    done = respq(server, "top", "--count", "1", "-n", "2")
    lines = done.out.splitlines()
    assert f" · 127.0.0.1:{server.port} · up " in lines[0]
    assert lines[1] == "3 groups of 3 streams (1 not shown)"
    assert [line.split()[0] for line in lines[4:6]] == ["b", "c"]
    for order, first in (("pending", "a"), ("name", "a"), ("lag", "b")):
        rows = respq(server, "top", "--count", "1", "--json", "--sort", order).rows()
        assert rows[0]["stream"] == first
        assert "out_per_s" in rows[0]
    done = respq(server, "top")
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        "Error: top needs a terminal\nTry: respq top --count 2, or respq lag --watch\n"
    )


def test_cheat() -> None:
    whole = respq(None, "cheat").out
    for topic, (title, rows) in TOPICS.items():
        part = respq(None, "cheat", topic).out
        assert part.startswith(f"{title}  ({topic})\n")
        assert part in whole
        assert part.count("\n  ") == len(rows)
    done = respq(None, "cheat", "nothing")
    assert done.status == 1
    assert done.err.startswith("Error: no topic nothing; there are start, produce, ")
