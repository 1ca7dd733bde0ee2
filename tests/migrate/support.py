"""Running ``respq migrate`` in a test."""

from __future__ import annotations

import json
import pathlib
import subprocess
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from tests import servers
from tests.servers import Server
from tools.cli import main


@dataclass
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def migrate(*words: str) -> Done:
    """Run it in this process."""
    done = CliRunner().invoke(main, ["migrate", *words], catch_exceptions=False)
    return Done(done.exit_code, done.stdout, done.stderr)


def url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def begin(*words: str, folder: pathlib.Path) -> subprocess.Popen[bytes]:
    """Run it in a process of its own, which may be killed."""
    with (folder / "migrate.log").open("ab") as log:
        return subprocess.Popen(
            [str(servers.RESPQ), "migrate", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def delay_none() -> tuple[str, ...]:
    """Options of a redis-server that begins to replicate at once."""
    return ("--repl-diskless-sync-delay", "0")
