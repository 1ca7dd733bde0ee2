"""Write the replies of redis-server 8.2.3 into the transcripts: `python -m
tests.differential.rewrite [name ...]`.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

from tests import servers
from tests.differential.transcript import FOLDER, Runner, load, rewrite


def main(names: list[str]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.redis(pathlib.Path(folder) / "redis-8", 8) as voice,
        Runner(voice, 2) as two,
        Runner(voice, 3) as three,
    ):
        for path in sorted(FOLDER.glob("*.txt")):
            if names and path.stem not in names:
                continue
            fresh: dict[int, tuple[str, str]] = {}
            for case in load(path):
                replies = zip(case.steps, two.run(case), three.run(case), strict=True)
                fresh |= {step.line: (a.text, b.text) for step, a, b in replies}
            changed = rewrite(path, fresh)
            sys.stdout.write(f"{path.name}: {'rewritten' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
