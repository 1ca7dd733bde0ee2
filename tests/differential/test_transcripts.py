"""Every case of every transcript: respq answers as 8.2.3 does now, and as the file says it did.

Where 8.2.3 has what came after 7.4, or a defect, `voices` says what respq answers. To write the
replies of 8.2.3 into the files: `python -m tests.differential.rewrite`.
"""

from __future__ import annotations

import pytest

from tests.differential import voices
from tests.differential.conftest import RunnerOf
from tests.differential.transcript import Case, Step, load_all, side_by_side
from tests.servers import Server

CASES = load_all()


def differing(case: Case, title: str, steps: list[tuple[Step, str, str]]) -> str:
    rows = [f"{case.path} (transcripts/{case.file}.txt:{case.line}): {title}"]
    for step, expected, found in steps:
        rows += [f"line {step.line}: {step.head}", side_by_side(expected, found)]
    return "\n".join(rows)


def instead(case: Case, step: Step) -> str | None:
    """What respq says where 8.2.3 has something newer than 7.4, or a defect."""
    newer = voices.REDIS_74.get(case.path, {}).get(step.head)
    return newer or voices.CORRECTED.get(case.path, {}).get(step.head)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)
def test_case(
    case: Case, proto: int, first_voice: Server, subject: Server, runner_of: RunnerOf
) -> None:
    voice = runner_of(first_voice, proto).run(case)
    stale = [
        (step, step.expectation(proto), outcome.text)
        for step, outcome in zip(case.steps, voice, strict=True)
        if step.expectation(proto) != outcome.text
    ]
    assert not stale, differing(case, "the file does not say what 8.2.3 says", stale)
    found = runner_of(subject, proto).run(case)
    wrong = []
    for step, one, other in zip(case.steps, voice, found, strict=True):
        known = instead(case, step) if subject.name == "respq" else None
        if (other.text != known) if known is not None else (other.replies != one.replies):
            wrong.append((step, known if known is not None else one.text, other.text))
    assert not wrong, differing(case, f"{subject.name} differs from 8.2.3 in RESP{proto}", wrong)
