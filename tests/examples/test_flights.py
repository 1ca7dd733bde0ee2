"""The flights example, small, against respq; and that its books can fail to balance."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "flights.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flights_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


flights = load()


@pytest.mark.serial
def test_20000_flights_survive_the_kill_of_the_server_and_two_workers() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rows", "20000"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The books balance." in done.stdout
    assert "killed the server with 10,000 or more flights stored" in done.stdout
    assert "killed worker-1" in done.stdout
    assert "killed worker-2" in done.stdout


def test_the_data_is_what_the_package_ships() -> None:
    rows = list(flights.flights(3))
    assert len(rows) == 3
    assert len(rows[0]) == 19
    assert rows[0]["carrier"] == "UA"
    assert rows[0]["time_hour"] == "2013-01-01T10:00:00Z"


def balanced() -> Any:
    return flights.Books(
        rows=100,
        adds_acknowledged=90,
        adds_found=10,
        length=100,
        processed=103,
        processed_distinct=100,
        acks_confirmed=95,
        acks_unconfirmed=7,
    )


def test_books_that_balance_have_no_faults() -> None:
    assert balanced().faults() == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"adds_missing": 1}, "an acknowledged flight is missing"),
        ({"adds_found": 9}, "produced is not acknowledged plus found"),
        ({"adds_acknowledged": 91}, "produced is not acknowledged plus found"),
        ({"length": 101}, "the stream's length is not the number of flights"),
        ({"wrong_rows": 1}, "an entry is not its flight"),
        ({"processed_distinct": 99}, "a flight was not processed"),
        ({"processed_unknown": 1}, "something was processed that is not in the stream"),
        ({"wrong_delays": 1}, "a worker read another delay than was produced"),
        ({"acks_confirmed": 101}, "a flight was acknowledged twice"),
        ({"acks_unconfirmed": 4}, "a flight was never acknowledged"),
        ({"pending": 1}, "entries are pending"),
        ({"lag": 1}, "the group lags"),
        ({"lag": None}, "the group lags"),
    ],
)
def test_every_imbalance_is_a_fault(change: dict[str, int | None], fault: str) -> None:
    assert replace(balanced(), **change).faults() == [fault]


def test_notes_count_what_was_confirmed_and_what_may_be_lost() -> None:
    notes = flights.read_worker_notes(
        "P 2 1-0,UA,5 2-0,AA,NA\nA 2\nP 1 3-0,UA,1\nP 1 \nA 1\nP 9 cut"
    )
    assert notes.items == ["1-0,UA,5", "2-0,AA,NA", "3-0,UA,1"]
    assert notes.confirmed == 3
    assert notes.unconfirmed == 1


class Stream:
    """A client whose stream holds given entries and whose group is done."""

    def __init__(self, entries: list[tuple[str, dict[str, str]]]) -> None:
        self.entries = entries

    def xlen(self, _: str) -> int:
        return len(self.entries)

    def xrange(self, _: str, start: str, __: str, count: int) -> list[Any]:
        ids = [entry_id for entry_id, _ in self.entries]
        at = 0 if start == "-" else ids.index(start[1:]) + 1
        return self.entries[at : at + count]

    def xpending(self, *_: str) -> dict[str, int]:
        return {"pending": 0}

    def xinfo_groups(self, _: str) -> list[dict[str, int]]:
        return [{"lag": 0}]


def audited(tmp_path: Path, entries: list[tuple[str, dict[str, str]]], worker: str) -> Any:
    (tmp_path / "producer").write_text("A 1-0 2-0\nF 1\n")
    (tmp_path / "worker-1").write_text(worker)
    return flights.audit(Stream(entries), flights.flights(3), tmp_path)


def stored() -> list[tuple[str, dict[str, str]]]:
    return [(f"{n}-0", row) for n, row in enumerate(flights.flights(3), start=1)]


WORKER = "P 2 1-0,UA,11 2-0,UA,20\nA 2\nP 1 3-0,AA,33\nA 1\n"


def test_the_audit_balances_what_is_right(tmp_path: Path) -> None:
    assert audited(tmp_path, stored(), WORKER).faults() == []


def test_the_audit_finds_a_lost_entry(tmp_path: Path) -> None:
    faults = audited(tmp_path, stored()[:1] + stored()[2:], WORKER).faults()
    assert "an acknowledged flight is missing" in faults
    assert "an entry is not its flight" in faults
    assert "the stream's length is not the number of flights" in faults


def test_the_audit_finds_a_changed_field(tmp_path: Path) -> None:
    entries = stored()
    entries[1][1]["tailnum"] = "N00000"
    assert audited(tmp_path, entries, WORKER).faults() == ["an entry is not its flight"]


def test_the_audit_finds_what_a_worker_never_saw_or_saw_wrongly(tmp_path: Path) -> None:
    unseen = WORKER.replace(" 2-0,UA,20", "")
    assert audited(tmp_path, stored(), unseen).faults() == ["a flight was not processed"]
    wrong = WORKER.replace("2-0,UA,20", "2-0,UA,21")
    assert audited(tmp_path, stored(), wrong).faults() == [
        "a worker read another delay than was produced"
    ]
