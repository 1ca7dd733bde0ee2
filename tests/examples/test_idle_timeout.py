"""The example of the idle timeout with both clients; and that its account can fail to balance."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "idle_timeout.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("idle_timeout_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


example = load()


@pytest.mark.serial
def test_messages_of_a_dead_worker_come_back_to_redis_py_and_ioredis() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The account balances." in done.stdout
    assert "killed worker-1 (redis-py), which held 7 messages" in done.stdout
    assert "to worker-2 (redis-py)" in done.stdout
    assert "to worker-3 (ioredis)" in done.stdout, "ioredis is not installed: run `make test`"


def test_the_example_says_in_one_line_what_ioredis_needs(tmp_path: Path) -> None:
    argv, missing = example.ioredis_command(path=str(tmp_path))
    assert argv == []
    assert "install Node.js (18 or newer) and npm, then: npm install --prefix " in missing
    argv, missing = example.ioredis_command(folder=tmp_path)
    assert argv == []
    assert missing.startswith("no ioredis worker: npm install --prefix ")
    assert "\n" not in missing
    argv, missing = example.ioredis_command()
    assert argv[1:] == [str(SCRIPT.parent / "plain" / "worker.mjs")]
    assert missing == ""


def balanced() -> Any:
    return example.Account(
        produced=40,
        processed=41,
        processed_distinct=40,
        acknowledged=40,
        held=3,
        came_back=3,
        back_after_ms=[2000, 2001, 2100],
        back_deliveries=[2, 2, 3],
        back_to={"worker-2": 2, "worker-3": 1},
        slow_ms=4000,
        slow_prolonged=10,
        slow_deliveries=1,
    )


def test_an_account_that_balances_has_no_faults() -> None:
    assert balanced().faults() == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"processed_distinct": 39}, "a message was not processed"),
        ({"wrong_bodies": 1}, "a worker read another message than was produced"),
        ({"acknowledged": 39}, "a message was not acknowledged once"),
        ({"acknowledged": 41}, "a message was not acknowledged once"),
        ({"came_back": 2}, "a message of the killed worker did not come back"),
        ({"back_after_ms": [2000]}, "a message of the killed worker did not come back"),
        ({"back_after_ms": [1999, 2000, 2000]}, "a message came back before the timeout"),
        ({"back_deliveries": [2, 1, 2]}, "a delivery was not counted"),
        ({"back_to": {"worker-2": 3, "worker-3": 0}}, "a worker got back nothing"),
        ({"slow_ms": 3999}, "the slow worker was not slow"),
        ({"slow_taken": 1}, "the slow worker was interrupted"),
        ({"slow_deliveries": 2}, "the slow worker was interrupted"),
        ({"pending": 1}, "entries are pending"),
        ({"lag": 1}, "the group lags"),
        ({"lag": None}, "the group lags"),
    ],
)
def test_every_imbalance_is_a_fault(change: dict[str, Any], fault: str) -> None:
    assert replace(balanced(), **change).faults() == [fault]


def test_a_worker_that_held_nothing_proves_nothing() -> None:
    nothing = replace(balanced(), held=0, came_back=0, back_after_ms=[], back_deliveries=[])
    assert nothing.faults() == ["the killed worker held nothing"]


class Client:
    """A client whose group has given entries pending, and whose clock stands at 9 s."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.left = 0

    def execute_command(self, *_: object, **__: object) -> dict[str, Any]:
        return {"groups": [{"pending": self.rows}]}

    def time(self) -> tuple[int, int]:
        return 9, 0

    def xpending(self, *_: str) -> dict[str, int]:
        return {"pending": self.left}

    def xinfo_groups(self, _: str) -> list[dict[str, int]]:
        return [{"lag": 0}]


class Silent:
    """A console that prints nothing."""

    def print(self, _: str) -> None: ...


def told(*notes: str, back_after_ms: int = 2000) -> Any:
    """A story of three messages: one that is slow, one done at once, one that comes back."""
    story = example.Story(0, ["node", "worker.mjs"], Silent())
    client = story.client = Client()
    story.slow_id, story.slow_ms, story.held = "1-0", 4000, {"3-0"}
    first = [["1-0", "slow", 1000, 1], ["3-0", "worker-1", 1000, 1]]
    again = [["1-0", "slow", 2500, 1], ["3-0", "worker-3", 1000 + back_after_ms, 2]]
    for rows in (first, again):
        client.rows = rows
        story.look()
    for line in notes:
        story.notes.put(example.Note(*line.split()))
        story.hear()
    return story.balance()


TOLD = (
    *(f"producer-1 added {n}-0 body-{n}" for n in (1, 2, 3)),
    "slow got 1-0 body-1",
    "worker-1 got 2-0 body-2",
    "worker-1 acknowledged 2-0 1",
    "worker-1 got 3-0 body-3",
    "worker-3 got 3-0 body-3",
    "worker-3 acknowledged 3-0 1",
    "slow acknowledged 1-0 1",
)


def test_the_story_is_taken_into_the_account() -> None:
    account = told(*TOLD)
    assert account.back_to == {"worker-2": 0, "worker-3": 1}
    assert account.faults() == ["a worker got back nothing"]
    assert (account.processed, account.processed_distinct) == (3, 3)
    assert (account.back_after_ms, account.back_deliveries) == ([2000], [2])


@pytest.mark.parametrize(
    ("left_out", "fault"),
    [
        ("worker-3 got 3-0 body-3", "a message of the killed worker did not come back"),
        ("worker-3 acknowledged 3-0 1", "a message was not acknowledged once"),
        ("worker-1 got 2-0 body-2", "a message was not processed"),
    ],
)
def test_what_is_not_told_is_missed(left_out: str, fault: str) -> None:
    assert fault in told(*(line for line in TOLD if line != left_out)).faults()


def test_what_is_told_wrongly_is_found() -> None:
    assert "a message came back before the timeout" in told(*TOLD, back_after_ms=1999).faults()
    assert "the slow worker was interrupted" in told(*TOLD, "worker-2 got 1-0 body-1").faults()
    wrong = "a worker read another message than was produced"
    assert wrong in told(*TOLD, "worker-2 got 2-0 body-3").faults()
    twice = told(*TOLD, "worker-2 got 2-0 body-2", "worker-2 acknowledged 2-0 0")
    assert (twice.processed, twice.processed_distinct, twice.acknowledged) == (4, 3, 3)
