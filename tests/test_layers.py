"""Imports only go down, and only the shell knows an event loop: import-linter's contracts hold.

The contracts stand in pyproject.toml. import-linter reads ``import`` lines; ``cimport`` lines of
``.pxd`` files are read here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["lsmstore", "streams", "cluster", "respserver", "tools"]  # upwards
CIMPORT = re.compile(r"^\s*(?:from\s+(\w+)[.\w]*\s+cimport|cimport\s+(\w+))")


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages in ``directory``."""
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def upward_cimports(package: str, declarations: str) -> list[str]:
    """The lines of a ``.pxd`` of ``package`` that cimport from a layer above it."""
    above = set(LAYERS[LAYERS.index(package) + 1 :])
    return [
        line
        for line in declarations.splitlines()
        if (found := CIMPORT.match(line)) and (found[1] or found[2]) in above
    ]


def test_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("lsmstore/broken.py", "import streams", "Imports only go down"),
        ("cluster/broken.py", "from respserver import settings", "Imports only go down"),
        ("streams/broken.py", "import asyncio", "Only the shell knows an event loop"),
        ("respserver/broken.py", "import uvloop", "Only the shell knows an event loop"),
    ],
)
def test_a_broken_contract_is_seen(file: str, line: str, contract: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in LAYERS:
        sources = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=sources)
    (tmp_path / file).write_text(f"{line}\n")
    done = lint(tmp_path)
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(broken) == 1
    assert broken[0].startswith(contract)


def test_compiled_modules_cimport_downwards() -> None:
    declarations = [file for package in LAYERS for file in (ROOT / package).rglob("*.pxd")]
    assert declarations
    for file in declarations:
        package = file.relative_to(ROOT).parts[0]
        assert upward_cimports(package, file.read_text()) == [], file
    assert upward_cimports("streams", "from lsmstore.buf cimport Buf\ncimport cython\n") == []
    assert upward_cimports("streams", "from respserver.scan cimport Scan\n") != []
