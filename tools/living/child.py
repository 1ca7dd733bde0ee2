"""A child process that works on one entry: started with the entry at hand, waited for, ended.

Rules: the entry is the child's standard input, a line of JSON in a file without a name, so that a
child which does not read it cannot get stuck. The child is a process group of its own: ^C at the
terminal is for the worker, who lets it finish.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

STANDARD_ERROR = 2
KILL_AFTER_S = 5.0


class Child:
    """One child process. Raises OSError if it cannot be started."""

    def __init__(
        self, argv: Sequence[str], told: Any, environment: dict[str, str], *, talks_apart: bool
    ) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
            file.seek(0)
            self._process = subprocess.Popen(
                argv,
                stdin=file,
                stdout=STANDARD_ERROR if talks_apart else None,
                env=os.environ | environment,
                start_new_session=True,
            )
        self._descriptor = os.pidfd_open(self._process.pid)

    def wait(self, timeout_s: float, wake: int | None = None) -> int | None:
        """Wait until it ends, until the time (which may be infinite) is over, or until the
        descriptor ``wake`` can be read; its exit code if it has ended, below 0 for a signal.
        """
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        poll.poll(None if timeout_s == math.inf else max(0, timeout_s) * 1000)
        return self._process.poll()

    def end(self) -> None:
        """SIGTERM to its process group, and SIGKILL where that is not enough."""
        for how, wait_s in ((signal.SIGTERM, KILL_AFTER_S), (signal.SIGKILL, math.inf)):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            if self.wait(wait_s) is not None:
                return

    def close(self) -> None:
        """Let go of what was needed to wait for it."""
        os.close(self._descriptor)
