"""What ends a migration early: one line, what to try next, and an exit code."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
DIFFERS: Final = 1
UNREACHABLE: Final = 2
REFUSED: Final = 3


class MigrateError(Exception):
    """The line; ``hint`` is the next command to try."""

    code = DIFFERS

    def __init__(self, line: str, hint: str = "") -> None:
        super().__init__(line)
        self.hint = hint


class Differs(MigrateError):
    """Both sides were compared, or something could not be carried."""


class Unreachable(MigrateError):
    """A server does not answer, or no longer; a file cannot be read."""

    code = UNREACHABLE


class Refused(MigrateError):
    """One side does not allow it, or it would overwrite something."""

    code = REFUSED


class Conflict(Exception):
    """A key of the target is not what the source's was at any time: it must be made anew."""

    def __init__(self, db: int, key: bytes, what: str) -> None:
        super().__init__(what)
        self.db = db
        self.key = key
