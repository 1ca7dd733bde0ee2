"""What the documents show is what happens: their sessions are typed, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import documents

ROOT = Path(__file__).resolve().parent.parent
MADE = {"commands.md", "settings.md", "cheatsheet.md", "migration.md"}  # tested elsewhere
DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in MADE),
]
FORMS = {
    "make serve": r"respq ready on \S+, \S+ \| data \S+ \| appendfsync always \| recovered .*",
    "make test": r"=+ \d+ passed in [\d.]+s \([\d:]+\) =+",
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_is_what_happens(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    typed = documents.read_through(text, tmp_path)
    shown = sum(line.startswith("$ ") for line in text.splitlines())
    elsewhere = [
        step.command
        for block in documents.blocks(text)
        for step in block
        if step.command.startswith(documents.ELSEWHERE)
    ]
    assert typed + len(elsewhere) == shown, "a command stands outside of a block"


def test_what_is_shown_of_make_is_what_it_prints() -> None:
    makefile = (ROOT / "Makefile").read_text()
    steps = [
        step
        for path in DOCUMENTS
        for block in documents.blocks(path.read_text())
        for step in block
        if step.command.startswith("make ")
    ]
    assert {step.command for step in steps} == set(FORMS)
    for command, shown in steps:
        assert re.fullmatch(FORMS[command], shown.strip()), shown
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", path.read_text()):
        found = (path.parent / target) if target else path
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor[1:] in slugs, anchor


def test_masks_hide_what_differs_and_nothing_else() -> None:
    shown, real = dict[str, str](), dict[str, str]()
    a = documents.masked("1795445541453-0  after 8 ms\n1795445541502-0 x", shown)
    b = documents.masked("1795999999999-3 after 1.2 s\n1795999999999-4   x ", real)
    assert a == b == "ID1 after AGE\nID2 x"
    assert documents.masked("1795445541502-0 1795445541453-0", shown) == "ID2 ID1"
    assert documents.masked("lag 3", shown) != documents.masked("lag 4", real)
