"""The style of the code that no tool knows. The two tables below are ratchets: they only shrink."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lsmstore", "streams", "cluster", "respserver", "tools")
FOLDERS = (*PACKAGES, "tests", "docs", "packaging", "stubs", ".ci")
ROOT_FILES = ("setup.py", "pyproject.toml", "Makefile", "README.md", "ARCHITECTURE.md")
SUFFIXES = {".py", ".pyi", ".pxd", ".mjs", ".rb", ".pl", ".md", ".toml", ".txt", ""}
NOT_OURS = {"__pycache__", "node_modules"}
THIS = "tests/test_tidy.py"

LINES_MAX = 600
# Longer files, and how long they may be: rounded up to the next 50 lines.
LONG_FILES: dict[str, int] = {}

CLOCK_MODULES = re.compile(r"(^|/)clock\.py$")
EVERYWHERE = {
    "unfinished work": re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b"),
    "a path of one machine": re.compile(r"/(root|home|work|Users)/"),
}
IN_PACKAGES = {
    "the wall clock outside of clock.py": re.compile(
        r"\btime\.time(_ns)?\(|\bfrom time import .*\btime(_ns)?\b|\bdatetime\.(now|utcnow)\("
    ),
    "a debugger": re.compile(r"\bbreakpoint\(|\bpdb\b"),
}
IN_TESTS = {
    "a test that does not run": re.compile(
        r"\bpytest\.(skip|xfail|importorskip)\b|\bmark\.(skip|skipif|xfail)\b|\bSkipTest\b"
    ),
    "a sleep": re.compile(r"\bsleep\("),
}


def files() -> Iterator[str]:
    """Every file we write, by its path from the root."""
    for name in ROOT_FILES:
        if (ROOT / name).exists():
            yield name
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            ours = file.suffix in SUFFIXES and NOT_OURS.isdisjoint(file.parts)
            if ours and file.is_file():
                yield file.relative_to(ROOT).as_posix()


def faults(name: str, text: str) -> list[str]:
    """What is wrong with a file's lines."""
    rules = dict(EVERYWHERE)
    if name.startswith(PACKAGES) and not CLOCK_MODULES.search(name):
        rules |= IN_PACKAGES
    if name.startswith("tests/"):
        rules |= IN_TESTS
    return [
        f"{name}:{number}: {what}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, rule in rules.items()
        if rule.search(line)
    ]


def test_lines_keep_the_rules() -> None:
    found = [
        fault
        for name in files()
        if name != THIS
        for fault in faults(name, (ROOT / name).read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("README.md", "TODO: say more"),
        ("lsmstore/wal.py", "    raise NotImplementedError"),
        ("docs/examples/run.py", "DATA = '/home/me/data'"),
        ("streams/stream.py", "now = time.time()"),
        ("streams/stream.py", "now = time.time_ns() // 1000"),
        ("streams/stream.py", "from time import monotonic, time"),
        ("respserver/tick.py", "now = datetime.now(tz=UTC)"),
        ("tests/test_x.py", "@pytest.mark.skipif(True)"),
        ("tests/test_x.py", "pytest.skip('no server')"),
        ("tests/test_x.py", "    time.sleep(0.1)"),
        ("tests/test_x.py", "    await asyncio.sleep(1)"),
    ],
)
def test_rules_see_what_they_are_for(name: str, line: str) -> None:
    assert len(faults(name, f"# first line\n{line}\n")) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("respserver/clock.py", "return time.time_ns() // 1_000_000"),
        ("respserver/net.py", "await asyncio.sleep(delay)"),
        ("streams/stream.py", "start = time.monotonic()"),
        ("tests/test_x.py", "now = time.time()"),
    ],
)
def test_rules_leave_the_rest_alone(name: str, line: str) -> None:
    assert faults(name, line) == []


def test_files_are_short_and_long_ones_do_not_grow() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in files()}
    long = {
        name: lines
        for name, lines in lengths.items()
        if lines > LINES_MAX and name.endswith((".py", ".pxd"))
    }
    assert sorted(long) == sorted(LONG_FILES)
    for name, lines in long.items():
        assert lines <= LONG_FILES[name], f"{name} grew from {LONG_FILES[name]} to {lines} lines"


def test_every_pxd_has_its_module() -> None:
    for package in PACKAGES:
        for declaration in (ROOT / package).rglob("*.pxd"):
            assert declaration.with_suffix(".py").exists(), declaration
