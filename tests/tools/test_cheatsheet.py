"""Every command of the cheat sheet does what it is there for."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests import servers
from tests.tools.commandline import environment_of, read
from tools.living.cheat import TOPICS

# What goes on until it is interrupted, and the line by which one sees that it goes.
ENDLESS = {
    "respq tail orders -f --json": '{"stream": "orders", ',
    "respq lag --watch": "orders ",
    "respq work orders -g billing -- ./handle.sh": " done after ",
    "respq work orders -g billing -j 4 --lease 10s -- ./handle.sh": " done after ",
    "respq work orders -g billing --max-deliveries 3 -- ./handle.sh": " done after ",
}
# These are run by tests of their own: servers, a terminal's whole screen.
ELSEWHERE = ("respq serve", "respq top", "respq demo")
FOUND = {"respq doctor": 3}  # somebody else's work is pending


@pytest.fixture
def home(tmp_path: Path) -> Path:
    handle = tmp_path / "handle.sh"
    handle.write_text("#!/bin/sh\ncat\n")
    handle.chmod(0o755)
    jq = tmp_path / "jq"  # the sheet pipes into it; any reader of lines will do
    jq.write_text("#!/bin/sh\nexec cat\n")
    jq.chmod(0o755)
    return tmp_path


def run_until(line: str, command: str, environment: dict[str, str], home: Path) -> int:
    """Run a command on a terminal until it has printed a line, then ^C; its exit code."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        text = ""
        while line not in text:
            text += os.read(ours, 65536).decode()
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    os.close(ours)
    return code


def test_the_commands_of_the_cheat_sheet(respq: servers.Server, home: Path) -> None:
    environment = environment_of(respq)
    environment["PATH"] = f"{servers.RESPQ.parent}:{home}:{environment['PATH']}"
    for topic, (_, rows) in TOPICS.items():
        with respq.connect() as client:
            client.call("FLUSHALL")
            client.call("XGROUP", "CREATE", "orders", "billing", 0, "MKSTREAM")
            client.call("XADD", "orders", "*", "sku", "A-17")
            if topic in {"pending", "watch"}:
                read(client, "orders", "billing", "ann", 1)
        for command, _ in rows:
            if command.startswith(ELSEWHERE):
                continue
            with respq.connect() as client:
                client.call("XADD", "orders", "*", "sku", "B-4")
            if command in ENDLESS:
                assert run_until(ENDLESS[command], command, environment, home) == 0, command
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode in {0, FOUND.get(command)}, (command, done.stderr)
