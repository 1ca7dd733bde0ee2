"""How a migration goes on: a bar for people, lines of JSON for programs, and a limit of its rate.

Rules: all of it goes to standard error, at most ten times a second (JSON: once). Whoever loads
tells of entries and bytes; how many there will be is a guess of whoever knows the source.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tools.migrate.wire import name_of

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

SHOW_S: Final = 0.1
JSON_S: Final = 1.0
RATE_SLICE_S: Final = 0.05


class Progress:
    """What is shown while entries arrive. ``max_rate``: entries a second, 0: as fast as it goes."""

    def __init__(self, *, in_json: bool = False, quiet: bool = False, max_rate: int = 0) -> None:
        self.in_json = in_json
        self.entries = 0
        self.bytes = 0
        self.size = 0
        """What there is to be read, in bytes or keys; 0: nobody knows."""
        self.done = 0
        """What of it was read."""
        self.phase = "load"
        self.lag_bytes = 0
        self.guard: Callable[[], None] | None = None
        """Asked at every stream and page whether to go on: it raises if not."""
        self._key = ""
        self._began = time.monotonic()
        self._shown = self._began
        self._max_rate = max_rate
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._quiet = quiet
        if not quiet and not in_json and sys.stderr.isatty():
            self._start_bar()

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, figures="")
        self._bar.start()

    def begin(self, key: bytes) -> None:
        """A stream comes next."""
        self._key = name_of(key)
        if self.guard is not None:
            self.guard()

    def step(self, entries: int, n_bytes: int) -> None:
        """So much more has arrived; waits where that is too fast."""
        self.entries += entries
        self.bytes += n_bytes
        if self.guard is not None:
            self.guard()
        if self._max_rate:
            ahead = self.entries / self._max_rate - (time.monotonic() - self._began)
            if ahead > RATE_SLICE_S:
                time.sleep(ahead)
        self.show()

    def show(self) -> None:
        """Show it, if it is time."""
        now = time.monotonic()
        if now - self._shown < (JSON_S if self.in_json else SHOW_S):
            return
        self._shown = now
        if self.in_json:
            self._print(self.figures(now))
        elif self._bar is not None and self._task is not None:
            rate = self.entries / max(now - self._began, 0.001)
            self._bar.update(
                self._task,
                description=self._key if self.phase == "load" else self.phase,
                total=self.size or None,
                completed=min(self.done, self.size),
                figures=f"{self.entries:,} entries  {rate:,.0f}/s  lag {self.lag_bytes:,} B",
            )

    def figures(self, now: float) -> dict[str, Any]:
        """What a line of JSON tells."""
        seconds = max(now - self._began, 0.001)
        rate = self.entries / seconds
        left_s = seconds * (self.size / self.done - 1) if 0 < self.done <= self.size else None
        return {
            "phase": self.phase,
            "key": self._key,
            "entries": self.entries,
            "bytes": self.bytes,
            "entries_per_s": round(rate),
            "lag_bytes": self.lag_bytes,
            "eta_s": None if left_s is None else round(left_s, 1),
        }

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, line: str) -> None:
        """A line for people."""
        if self._quiet:
            return
        if self.in_json:
            self._print({"say": line})
        elif self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def _print(self, value: dict[str, Any]) -> None:
        if not self._quiet:
            print(json.dumps(value), file=sys.stderr, flush=True)

    def end(self) -> None:
        """No more."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
