"""The distribution holds the five packages and nothing else; what a build misses is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["cluster", "lsmstore", "respserver", "streams", "tools"]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command from the root of the project."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_packages_and_their_declarations(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made = (".*", "*.so", "*.c", "build", "*.egg-info", "__pycache__", "node_modules")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*made))
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = run(
        *wheel, "--wheel-dir", tmp_path, source, RESPQ_SETUP="without-extensions", PIP_NO_INDEX="1"
    )
    assert done.returncode == 0, done.stderr
    (built,) = tmp_path.glob("respq-*.whl")
    names = zipfile.ZipFile(built).namelist()
    assert sorted({name.split("/")[0] for name in names if ".dist-info" not in name}) == PACKAGES
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.p[yx]*"):
            if file.suffix in {".py", ".pxd"}:
                assert file.relative_to(ROOT).as_posix() in names
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert b"respq = tools.cli:main" in zipfile.ZipFile(built).read(entry_points)


def test_a_missing_compiler_is_one_clear_line() -> None:
    for command in (["sh", ".ci/need-tools"], [sys.executable, "setup.py", "--version"]):
        done = run(*command, CC="no-such-cc")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "needs a C compiler, and 'no-such-cc' was not found" in done.stderr
        assert "apt-get install build-essential" in done.stderr


def test_a_missing_node_is_one_clear_line(tmp_path: Path) -> None:
    for there, missing in ([], "node"), (["node"], "npm"):
        for name in there:
            (tmp_path / name).symlink_to("/bin/true")
        done = run("/bin/sh", ".ci/need-tools", "node", PATH=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"Node.js 18 or newer with npm, and '{missing}' was not found" in done.stderr
        assert "apt-get install nodejs npm" in done.stderr


def test_missing_programs_are_one_clear_line(tmp_path: Path) -> None:
    for name in ("node", "npm", "perl"):
        (tmp_path / name).symlink_to("/bin/true")
    done = run("/bin/sh", ".ci/need-tools", "applications", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("apt-get install ruby-redis prometheus-redis-exporter\n")


def test_an_old_python_is_one_clear_line() -> None:
    done = run("sh", ".ci/need-tools", PYTHON="/bin/false")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or newer" in done.stderr


def test_the_python_to_build_with_is_named() -> None:
    done = run("sh", ".ci/need-tools", "python", PYTHON=sys.executable)
    assert (done.returncode, done.stdout) == (0, f"{sys.executable}\n")
