"""redis-py's own tests, from its source distribution, run against respq.

Rules of this file:
* Tests that fail are listed in redis_py_failures.txt under their cause, and a cause knows the error
  by which it is recognised. So a listed test must fail, and for that cause; every other must pass.
* redis-py's tests measure time. One that fails and is not listed is run again by itself, and only
  what fails twice is a failure.

`python -m tests.applications.redis_py` runs all of them and writes the list anew.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Iterable
from typing import NamedTuple

from tests import servers
from tests.applications.stage import HERE, PYTHON

SUITE = PYTHON.parents[1] / "redis-py"
LIST = HERE / "redis_py_failures.txt"
DEADLINE_S = 280.0
PARTS: dict[str, list[str]] = {
    "commands": ["commands"],
    "pubsub": ["pubsub", "pipeline", "scripting", "lock", "monitor"],
    "connection": [
        "connection",
        "connection_pool",
        "encoding",
        "client",
        "keyspace_notifications",
    ],
    "asyncio": [
        "asyncio/test_encoding",
        "asyncio/test_keyspace_notifications",
        "asyncio/test_lock",
        "asyncio/test_monitor",
        "asyncio/test_pipeline",
        "asyncio/test_scripting",
    ],
}
OPTIONS = ("--enable-debug-command", "local")  # the pools' tests make errors with DEBUG ERROR
# Marks of tests for other servers than a single one without modules and TLS.
MARKS = "not onlycluster and not redismod and not replica and not ssl and not cp_integration"

# Why a test fails, and what its error looks like.
CAUSES: dict[str, str] = {
    "needs lists": r"unknown command '(B?[LR]PUSHX?|LINSERT)'",
    "needs hashes": r"unknown command 'H(?!OTKEYS)\w+'",
    "needs sets": r"unknown command 'SADD'",
    "needs sorted sets": r"unknown command 'Z\w+'",
    "needs geographic indexes": r"unknown command 'GEO\w+'",
    "needs arrays": r"unknown command 'AR\w+'",
    "needs bitmaps": r"unknown command '(BIT\w+|[GS]ETBIT)'",
    "needs HyperLogLog": r"unknown command 'PFADD'",
    "needs commands of strings of Redis 8.4 and later": (
        r"unknown command '(DELEX|DIGEST|INCREX|MSETEX)'"
    ),
    "needs SET with IFEQ and IFNE, of Redis 8.4": r"ResponseError: syntax error",
    "needs LCS": r"unknown command 'LCS'",
    "needs HOTKEYS, of Redis 8.6": r"unknown command 'HOTKEYS'",
    "needs ACL users": r"unknown subcommand '\w+'. Try ACL HELP",
    "needs REPLICAOF": r"unknown command 'REPLICAOF'",
    "sets a limit of memory; what respq keeps is on disk": r"related to argument 'maxmemory'",
    "asks for settings of hashes": r"'hash-max-listpack-entries' in",
    "counts the commands of a Redis with all types": r"assert \d+ > 300",
    "asks for the keys of a command of lists": r"Invalid command specified",
    "listens to events of fields of hashes": r"Invalid event class character",
    "connects to port 6379, whatever the URL": r"connecting to localhost:6379|assert 0 == 3",
}
_OUTCOME = re.compile(r"(?:FAILED|ERROR) tests/test_(\S+)(?: - (.*))?")
_PASSED = re.compile(r"\b(\d+) passed\b")


class Outcome(NamedTuple):
    """How many passed, and the errors of those that did not, by name: `commands.py::..`."""

    passed: int
    errors: dict[str, str]


def run(server: servers.Server, tests: Iterable[str]) -> Outcome:
    """Run files or single tests, named like those of an outcome."""
    assert SUITE.exists(), "redis-py's tests are not there: run `make test`"
    options = ("-q", "--tb=no", "-rfE", "-m", MARKS, "-o", "addopts=", "-W", "ignore")
    argv = [str(PYTHON), "-m", "pytest", *options, "-p", "no:cacheprovider"]
    argv += [f"--redis-url=redis://127.0.0.1:{server.port}/0"]
    argv += [f"tests/test_{test}" for test in tests]
    done = subprocess.run(
        argv,
        cwd=SUITE,
        env=os.environ | {"COLUMNS": "1000"},  # one outcome a line, whole
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = (_OUTCOME.fullmatch(line) for line in done.stdout.splitlines())
    errors = {outcome[1]: outcome[2] or "" for outcome in found if outcome}
    passed = _PASSED.search(done.stdout.splitlines()[-1])
    return Outcome(int(passed[1]) if passed else 0, errors)


def run_part(server: servers.Server, part: str, listed: dict[str, str]) -> Outcome:
    """Run a part; what fails and is not listed, a second time."""
    outcome = run(server, [f"{file}.py" for file in PARTS[part]])
    surprises = [test for test in outcome.errors if test not in listed]
    if not surprises or not listed:
        return outcome
    again = run(server, surprises)
    expected = {test: error for test, error in outcome.errors.items() if test in listed}
    return Outcome(outcome.passed + again.passed, expected | again.errors)


def cause_of(error: str) -> str | None:
    """The first cause by which an error is recognised."""
    return next((cause for cause, form in CAUSES.items() if re.search(form, error)), None)


def read_list() -> dict[str, str]:
    """Each test that is expected to fail, and its cause."""
    listed, cause = {}, ""
    for line in LIST.read_text().splitlines():
        if line.startswith("    "):
            listed[line.strip()] = cause
        elif line and not line.startswith("#"):
            cause = line
            assert cause in CAUSES, cause
    return listed


def write_list(errors: dict[str, str]) -> None:
    """Write the list of these failures; one without a known cause is refused."""
    by_cause: dict[str, list[str]] = {cause: [] for cause in CAUSES}
    for test, error in errors.items():
        cause = cause_of(error)
        assert cause is not None, f"no cause for {test}: {error}"
        by_cause[cause].append(test)
    lines = ["# Tests of redis-py that fail against respq, each under its cause; see redis_py.py."]
    for cause, tests in by_cause.items():
        if tests:
            lines += ["", cause, *(f"    {test}" for test in sorted(tests))]
    LIST.write_text("\n".join(lines) + "\n")


def main() -> None:
    errors: dict[str, str] = {}
    for part in PARTS:
        with (
            tempfile.TemporaryDirectory() as folder,
            servers.respq(pathlib.Path(folder) / "data", *OPTIONS) as server,
        ):
            outcome = run_part(server, part, {})
        print(f"{part}: {outcome.passed} passed, {len(outcome.errors)} did not")
        errors |= outcome.errors
    write_list(errors)


if __name__ == "__main__":
    main()
