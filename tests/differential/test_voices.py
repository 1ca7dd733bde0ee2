"""The table of voices is complete, and nothing in it is idle."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.differential import voices
from tests.differential.conftest import RunnerOf
from tests.differential.transcript import differences, load_all
from tests.servers import Server


def test_every_difference_is_in_the_table_and_every_row_is_a_difference(
    first_voice: Server, second_voice: Server, runner_of: RunnerOf
) -> None:
    found: set[tuple[str, str]] = set()
    for proto in (2, 3):
        one, other = runner_of(first_voice, proto), runner_of(second_voice, proto)
        for case in (case for case in load_all() if case.voices == 2):
            for i in differences(case, one.run(case), other.run(case)):
                occurrence = sum(step.head == case.steps[i].head for step in case.steps[: i + 1])
                suffix = f" #{occurrence}" if occurrence > 1 else ""
                found.add((case.path, case.steps[i].head + suffix))
    listed = Counter(
        (case, step)
        for voice in voices.VOICES
        for case, steps in voice.steps.items()
        for step in steps
    )
    assert [row for row, times in listed.items() if times > 1] == [], "listed twice"
    assert sorted(found - set(listed)) == [], "the voices differ and the table does not say so"
    assert sorted(set(listed) - found) == [], "the table says so and the voices do not differ"


def test_what_is_said_instead_differs_from_what_the_voice_says() -> None:
    cases = {case.path: case for case in load_all()}
    for path, steps in voices.CORRECTED.items():
        stored = {step.head: step.expectation(2) for step in cases[path].steps}
        for head, reply in steps.items():
            assert stored[head] != reply


@pytest.mark.parametrize("voice", voices.VOICES, ids=lambda voice: voice.why[:40])
def test_a_row_says_which_version_and_why(voice: voices.Voice) -> None:
    assert voice.follows in ("8.2.3", "7.0.15")
    assert voice.why.endswith(".")
    assert voice.steps
