"""Programs of others at work on one server: they speak in lines, the test answers and kills.

Rules of this file:
* A program says `ready` when it listens, `took <job>` when it holds a job, and then waits for a
  line on its standard input. So the test decides when a job goes on, and kills in its middle.
* Lines of all programs come in one queue, in the order in which they are read. Nothing here waits
  for time: only for a line, with a deadline that only a defect reaches.
* What a program writes to its standard error is kept and shown when something fails.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import signal
import subprocess
import threading
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
PYTHON = ROOT / ".venv" / "applications" / "bin" / "python"
DEADLINE_S = 60.0


Words = tuple[str, ...]


class Line(NamedTuple):
    """What a program said; `text` is None when it has closed its output."""

    program: Program
    text: str | None


class Program:
    """One process of a stage."""

    def __init__(self, stage: Stage, name: str, argv: Words, errors: pathlib.Path) -> None:
        self.name = name
        self._errors = errors
        with errors.open("ab") as stderr:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
                text=True,
                bufsize=1,
            )
        self._lines = stage.lines
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(Line(self, line.rstrip("\n")))
        self._lines.put(Line(self, None))

    def errors(self) -> str:
        return self._errors.read_text("utf-8", "replace")

    def tell(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.process.kill()
        assert self.process.wait(DEADLINE_S) == -signal.SIGKILL, self.errors()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        # A dead program may have left an answer unread.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Stage:
    """All programs of one test."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self._directory = directory
        self._programs: list[Program] = []

    def start(self, name: str, *argv: str) -> Program:
        errors = self._directory / f"{name}.{len(self._programs)}.err"
        program = Program(self, name, argv, errors)
        self._programs.append(program)
        return program

    def has_line(self) -> bool:
        return not self.lines.empty()

    def next_line(self) -> Line:
        """The next line of any program; one that ends with an error fails the test."""
        try:
            line = self.lines.get(timeout=DEADLINE_S)
        except queue.Empty:
            raise AssertionError(f"nobody says anything\n{self.errors()}") from None
        if line.text is None and line.program.process.wait(DEADLINE_S) > 0:
            raise AssertionError(f"{line.program.name} failed\n{line.program.errors()}")
        return line

    def hear(self, *wanted: tuple[Program, str]) -> None:
        """Wait for these lines, in any order, and no other but the end of who was killed."""
        missing = set(wanted)
        while missing:
            program, text = self.next_line()
            if text is None:
                continue
            assert (program, text) in missing, f"{program.name}: {text}\n{self.errors()}"
            missing.remove((program, text))

    def errors(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.errors()}" for p in self._programs)

    def close(self) -> None:
        for program in self._programs:
            program.close()


def python(file: str) -> Words:
    return (str(PYTHON), str(HERE / "python" / file))


def node(file: str) -> Words:
    return ("node", str(HERE / "node" / file))


def script(interpreter: str, file: str) -> Words:
    return (interpreter, str(HERE / file))
