"""The sessions that documents show, run: every command of a block, one after the other.

    block   := "```" line* "```"            without a language, with a line that begins "$ "
    command := "$ " words                   a shell's; up to the next "$ " stands its output

Rules: all blocks of a document use one server, which is killed with SIGKILL after each of them and
started again: what a document shows has survived that. Output is compared with what is different
each time masked: IDs made by a clock (the same one wherever it comes again), times, the name of a
consumer that was not given one, addresses; and with the widths of columns.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests import servers

BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRY_ID = re.compile(r"\b17\d{11}-\d+\b|\b18\d{11}-\d+\b")
MASKS = (
    (re.compile(r"\b\d[\d.,]* (ms|s|m|h|d|w)\b"), "AGE"),
    (re.compile(r"\b(127\.0\.0\.1|localhost):\d+\b"), "ADDRESS"),
    (re.compile(r"respq \d+\.\d+\.\d+\S*"), "respq VERSION"),
    (re.compile(r'"(idle_ms|inactive_ms|quiet_ms|oldest_ms|milliseconds)": [\d.]+'), r'"\1": N'),
    (re.compile(r"[ \t]+"), " "),
)
# What is started by other tests, and shown for its output's form alone.
ELSEWHERE = ("make ", "respq serve", "respq demo", "respq top", "docker ", "podman ", "systemctl ")


class Step(NamedTuple):
    """A command and what it prints."""

    command: str
    shown: str


def blocks(text: str) -> list[list[Step]]:
    """The sessions of a document."""
    found = []
    for block in BLOCK.findall(text):
        if not block.startswith("$ "):
            continue
        parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
        found.append([Step(command, shown) for command, _, shown in parts])
    return found


def masked(text: str, ids: dict[str, str]) -> str:
    """Output without what is different each time; IDs are numbered in the order of their coming."""

    def number(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"ID{len(ids) + 1}")

    text = ENTRY_ID.sub(number, text)
    for mask, instead in MASKS:
        text = mask.sub(instead, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


class Reader:
    """Somebody who types what a document shows."""

    def __init__(self, server: servers.Server, home: Path) -> None:
        self._server = server
        self._home = home
        programs = home / "programs"
        programs.mkdir()
        redis_cli = programs / "redis-cli"
        redis_cli.write_text(f'#!/bin/sh\nexec /usr/bin/redis-cli --no-raw -p {server.port} "$@"\n')
        redis_cli.chmod(0o755)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("RESPQ_")
        } | {
            "PATH": f"{programs}:{servers.RESPQ.parent}:{os.environ['PATH']}",
            "RESPQ_URL": f"redis://127.0.0.1:{server.port}",
            "TERM": "dumb",
        }
        self._typed: dict[str, str] = {}  # an ID of the document: the real one
        self.shown_ids: dict[str, str] = {}
        self.real_ids: dict[str, str] = {}

    def type(self, step: Step) -> tuple[str, str]:
        """Run a command: what it printed and what is shown, both masked."""
        command = step.command
        for shown, real in self._typed.items():
            command = command.replace(shown, real)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        for shown_id, real_id in zip(
            ENTRY_ID.findall(step.shown), ENTRY_ID.findall(done.stdout), strict=False
        ):
            self._typed.setdefault(shown_id, real_id)
        return masked(done.stdout, self.real_ids), masked(step.shown, self.shown_ids)


def read_through(text: str, home: Path) -> int:
    """Type all that a document shows, on a server of its own; how many commands that were."""
    server = servers.respq(home / "data", appendfsync="always")
    reader = Reader(server, home)
    typed = 0
    for block in blocks(text):
        with server:  # killed at the end of each block
            for step in block:
                if step.command.startswith(ELSEWHERE):
                    continue
                printed, shown = reader.type(step)
                assert printed == shown, f"$ {step.command}"
                typed += 1
    return typed
