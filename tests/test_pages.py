"""Pages that are made from the code say what the code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from respserver.spec import TABLE
from tools import commands_page, settings_page
from tools.living import cheat, picture

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("settings.md", settings_page.page),
        ("commands.md", commands_page.page),
        ("cheatsheet.md", cheat.page),
        ("lag.svg", picture.picture),
    ],
)
def test_page_is_what_make_docs_writes(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text() == page(), "run `make docs`"


def test_every_command_is_on_the_page_once() -> None:
    lines = commands_page.page().splitlines()
    for spec in TABLE.values():
        names = [spec.name, *(sub.name for sub in spec.subcommands.values())]
        shown = [name for name in names if name != spec.name] or names
        for name in shown:
            start = f"| `{name.decode().upper().replace('|', ' ')}"
            assert len([line for line in lines if line.startswith((f"{start} ", f"{start}`"))]) == 1
