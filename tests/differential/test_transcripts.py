"""Every case of every transcript: respq answers as 8.2.3 does now, and as the file says it did.

Where 8.2.3 has a defect, `voices.CORRECTED` says what respq answers. Cases about what 8.2.3 does
not know, or an older version no more, are held against the file alone (`transcript`, version).
"""

from __future__ import annotations

import pytest

from tests.differential import voices
from tests.differential.conftest import IS_REDIS, RunnerOf, SubjectOf
from tests.differential.transcript import Case, Outcome, Step, load_all, side_by_side
from tests.servers import Server

ALL = load_all()
EACH = pytest.mark.parametrize("case", [c for c in ALL if c.voices], ids=lambda case: case.path)
VOICELESS = [case for case in ALL if not case.voices and not IS_REDIS]
BOTH_PROTOCOLS = pytest.mark.parametrize("proto", [2, 3])


def differing(case: Case, title: str, steps: list[tuple[Step, str, str]]) -> str:
    rows = [f"{case.path} (transcripts/{case.file}.txt:{case.line}): {title}"]
    for step, expected, found in steps:
        rows += [f"line {step.line}: {step.head}", side_by_side(expected, found)]
    return "\n".join(rows)


def unlike_the_file(case: Case, proto: int, outcomes: list[Outcome]) -> list[tuple[Step, str, str]]:
    """The steps that did not go as the file says, each with both replies."""
    return [
        (step, step.expectation(proto), outcome.text)
        for step, outcome in zip(case.steps, outcomes, strict=True)
        if step.expectation(proto) != outcome.text
    ]


@BOTH_PROTOCOLS
@EACH
def test_case(
    case: Case, proto: int, first_voice: Server, subject: Server, runner_of: RunnerOf
) -> None:
    voice = runner_of(first_voice, proto).run(case)
    stale = unlike_the_file(case, proto, voice)
    assert not stale, differing(case, "the file does not say what 8.2.3 says", stale)
    found = runner_of(subject, proto).run(case)
    corrected = voices.CORRECTED.get(case.path, {}) if subject.name == "respq" else {}
    wrong = []
    for step, one, other in zip(case.steps, voice, found, strict=True):
        known = corrected.get(step.head)
        if (other.text != known) if known is not None else (other.replies != one.replies):
            wrong.append((step, known if known is not None else one.text, other.text))
    assert not wrong, differing(case, f"{subject.name} differs from 8.2.3 in RESP{proto}", wrong)


@BOTH_PROTOCOLS
@pytest.mark.parametrize("case", VOICELESS, ids=lambda case: case.path)
def test_case_that_no_voice_knows(
    case: Case, proto: int, subject_of: SubjectOf, runner_of: RunnerOf
) -> None:
    wrong = unlike_the_file(case, proto, runner_of(subject_of(case.presents), proto).run(case))
    assert not wrong, differing(case, f"as {case.presents} respq differs from the file", wrong)
