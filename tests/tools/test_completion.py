"""Shells complete commands, options, and the names that the server knows."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import environment_of, fill, read, respq

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
FILES = {"bash": "respq.bash", "zsh": "_respq", "fish": "respq.fish"}


def completed(server: servers.Server, shell: str, line: str) -> list[str]:
    """What a shell would offer at the end of a line."""
    words = shlex.split(line)
    begun = "" if line.endswith(" ") else words[-1]
    number = str(len(words) - (begun != "")) if shell != "fish" else begun
    done = subprocess.run(
        [servers.RESPQ],
        env=environment_of(
            server,
            {"_RESPQ_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": number},
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    if shell == "zsh":
        return lines[1::3]
    return [line.split(",", 1)[1].split("\t")[0] for line in lines if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_come_from_the_server(shell: str, server: servers.Server, client: Client) -> None:
    fill(client, "orders", 2, "billing")
    fill(client, "orders:old", 1)
    fill(client, "mails", 1)
    fill(client, "[odd]*", 1)
    client.call("XGROUP", "CREATE", "orders", "mail", 0)
    read(client, "orders", "billing", "ann", 1)
    assert completed(server, shell, "respq pend") == ["pending"]
    assert completed(server, shell, "respq pending ") == ["[odd]*", "mails", "orders", "orders:old"]
    assert completed(server, shell, "respq pending or") == ["orders", "orders:old"]
    assert completed(server, shell, "respq tail [o") == ["[odd]*"]
    assert completed(server, shell, "respq pending orders ") == ["billing", "mail"]
    assert completed(server, shell, "respq group seek orders b") == ["billing"]
    assert completed(server, shell, "respq group s") == ["seek", "set", "show"]
    assert "--older" in completed(server, shell, "respq pending --o")


def test_without_a_server_nothing_is_offered_and_nothing_said(tmp_path: Path) -> None:
    server = servers.respq(tmp_path / "data")  # not started
    assert completed(server, "bash", "respq pending ") == []
    assert completed(server, "bash", "respq pi") == ["ping"]


@pytest.mark.parametrize("shell", FILES)
def test_the_files_are_what_the_command_prints(shell: str) -> None:
    done = respq(None, "completion", shell)
    assert done.status == 0
    assert (PACKAGING / "completions" / FILES[shell]).read_text() == done.out


def test_bash_takes_the_script(server: servers.Server, client: Client) -> None:
    fill(client, "orders", 1)
    script = (PACKAGING / "completions" / "respq.bash").read_text()
    ask = "COMP_WORDS=(respq tail ord); COMP_CWORD=2; _respq_completion respq; echo $COMPREPLY"
    environment = environment_of(server)
    environment["PATH"] = f"{servers.RESPQ.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("orders\n", "")
