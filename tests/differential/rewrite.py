"""Write replies into the transcripts: `python -m tests.differential.rewrite [name ...]`.

Those of redis-server 8.2.3 where it is asked. Where no voice is (`transcript`, version), a step
without a reply gets that of respq, to be read against the reference; stored replies stay.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
import tempfile

from tests import servers
from tests.differential.transcript import DEBUG, FOLDER, Case, Runner, load, rewrite


def fresh_replies(case: Case, two: Runner, three: Runner) -> dict[int, tuple[str, str]]:
    """By line of the step: the replies in RESP2 and RESP3 that the file is to have."""
    return {
        step.line: (a.text, b.text)
        if case.voices or not step.expected
        else (step.expectation(2), step.expectation(3))
        for step, a, b in zip(case.steps, two.run(case), three.run(case), strict=True)
    }


def main(names: list[str]) -> None:
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners: dict[str, tuple[Runner, Runner]] = {}

        def runners_of(case: Case) -> tuple[Runner, Runner]:
            if case.presents not in runners:
                directory = folder / case.presents
                server = stack.enter_context(
                    servers.redis(directory, 8, *DEBUG)
                    if case.voices
                    else servers.respq(directory, *DEBUG, presents=case.presents)
                )
                two, three = (stack.enter_context(Runner(server, proto)) for proto in (2, 3))
                runners[case.presents] = two, three
            return runners[case.presents]

        for path in sorted(FOLDER.glob("*.txt")):
            if names and path.stem not in names:
                continue
            fresh: dict[int, tuple[str, str]] = {}
            for case in load(path):
                fresh |= fresh_replies(case, *runners_of(case))
            changed = rewrite(path, fresh)
            sys.stdout.write(f"{path.name}: {'rewritten' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
