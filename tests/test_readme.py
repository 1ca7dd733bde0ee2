"""What the README shows is what happens: its sessions are typed, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests import servers

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
ENTRY_ID = re.compile(r"\d{13}-\d+")
SHOWN_ID = "1795445541453-0"


def sessions() -> list[list[tuple[list[str], str]]]:
    """Each block of the README that uses redis-cli: its commands and what they print."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        if "$ redis-cli " not in block:
            continue
        steps = [step.partition("\n") for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
        found.append([(shlex.split(line), printed) for line, _, printed in steps])
    return found


def test_sessions_of_the_readme(tmp_path: Path) -> None:
    server = servers.respq(tmp_path / "data", appendfsync="always")
    real_id = SHOWN_ID
    assert len(sessions()) == 2
    for session in sessions():
        with server:  # killed with SIGKILL at the end of each session
            for command, shown in session:
                assert command[0] == "redis-cli"
                words = [word.replace(SHOWN_ID, real_id) for word in command[1:]]
                done = subprocess.run(
                    ["redis-cli", "--no-raw", "-p", str(server.port), *words],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                if found := ENTRY_ID.search(done.stdout):
                    real_id = found[0]
                assert done.stdout.replace(real_id, SHOWN_ID) == shown, command


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
