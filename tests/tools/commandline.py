"""The command line against real servers: in the process for most, as a process where that matters.

In the process a command is called through click, with its standard output and error apart. The
machine's clock and the servers' IDs are real, so what is shown is compared with IDs and times
masked (`masked`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

from click.testing import CliRunner

from tests import servers
from tests.respclient import Client
from tools.cli import main

ENTRY_ID = re.compile(r"\b1[78]\d{11}-\d+\b")
AGE = re.compile(r"\b[\d.]+ (ms|s|m|h|d|w)\b")


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """The line of JSON that was printed."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    def rows(self) -> list[Any]:
        """The lines of JSON that were printed."""
        return [json.loads(line) for line in self.out.splitlines()]


def url_of(server: servers.Server) -> str:
    auth = f":{server.password}@" if server.password else ""
    return f"redis://{auth}127.0.0.1:{server.port}"


def respq(server: servers.Server | None, *words: str, typed: str | bytes | None = None) -> Done:
    """Run a command in this process; `-u` names the server through the environment."""
    environment = {"RESPQ_URL": url_of(server)} if server is not None else {}
    done = CliRunner().invoke(main, list(words), input=typed, env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def environment_of(server: servers.Server, more: Mapping[str, str] | None = None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("RESPQ_")}
    return own | {"RESPQ_URL": url_of(server)} | dict(more or {})


def start(server: servers.Server, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command as a process of its own, with pipes."""
    return subprocess.Popen(
        [servers.RESPQ, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_of(server),
        **options,
    )


def masked(text: str) -> str:
    """What was printed, without what is different each time."""
    return AGE.sub("AGE", ENTRY_ID.sub("ID", text))


def fill(client: Client, stream: str, number: int, group: str | None = None) -> list[str]:
    """Entries 1-0, 2-0 and so on with field `n`; their IDs."""
    if group is not None:
        assert client.call("XGROUP", "CREATE", stream, group, 0, "MKSTREAM") == b"OK"
    ids = [f"{n}-0" for n in range(1, number + 1)]
    for n, entry_id in enumerate(ids, 1):
        assert client.call("XADD", stream, entry_id, "n", n) == entry_id.encode()
    return ids


def read(client: Client, stream: str, group: str, consumer: str, number: int) -> list[str]:
    """Let a consumer be given entries; their IDs."""
    reply = client.call(
        "XREADGROUP", "GROUP", group, consumer, "COUNT", number, "STREAMS", stream, ">"
    )
    return [entry[0].decode() for entry in reply[0][1]]
