"""The README says what of Redis is there: counted against a real Redis' command table.

When this fails, the table that it prints belongs between the marks in README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import respserver.commands
from respserver.spec import TABLE
from tests import servers

README = Path(__file__).resolve().parent.parent / "README.md"
NAMED_MAX = 14
MARKED = re.compile(r"<!-- limits -->\n(.*?)<!-- /limits -->", re.DOTALL)


def commands_of_redis(directory: Path) -> dict[str, list[str]]:
    """The commands of Redis 8.2.3 by their groups; names that begin with another's are its own."""
    with servers.redis(directory, 8) as redis, redis.connect() as client:
        docs = client.call("COMMAND", "DOCS")
    found: dict[str, list[str]] = {}
    for name, told in zip(docs[::2], docs[1::2], strict=True):
        group = dict(zip(told[::2], told[1::2], strict=True))[b"group"].decode()
        found.setdefault(group, []).append(name.decode())
    return found


def table(groups: dict[str, list[str]]) -> str:
    """What is there, group by group."""
    assert respserver.commands.__path__  # importing it has filled the table
    there = {name.decode() for name in TABLE}
    lines = ["| group | commands there | absent |", "|---|---|---|"]
    for group, names in sorted(groups.items(), key=lambda each: (each[0] != "stream", each[0])):
        absent = sorted(name.upper() for name in names if name not in there)
        said = ", ".join(absent) if len(absent) <= NAMED_MAX else f"{len(absent)} of them"
        if len(absent) == len(names):
            said = "all"
        lines.append(f"| {group} | {len(names) - len(absent)} of {len(names)} | {said or '-'} |")
    return "\n".join(lines) + "\n"


def test_the_readme_says_what_is_there(tmp_path: Path) -> None:
    made = table(commands_of_redis(tmp_path / "redis"))
    found = MARKED.search(README.read_text())
    assert found is not None
    assert found[1] == made, f"put this into README.md:\n{made}"
