"""Whether the store may still write. One object is shared by all that write, and it only ever
turns bad.

After a failed write or a failed sync nobody knows what the disk holds (Linux marks the pages clean
and forgets them), so the failed call is never repeated, and everything that follows is refused.
"""

from __future__ import annotations

from lsmstore.errors import Poisoned


class Health:
    """The sticky failure of a store."""

    __slots__ = ("failure",)

    def __init__(self) -> None:
        self.failure: str | None = None

    def check(self) -> None:
        """Refuse if something failed before."""
        if self.failure is not None:
            raise Poisoned(self.failure)

    def fail(self, error: OSError, what: str) -> Poisoned:
        """Remember the first failure; returns the error to raise."""
        if self.failure is None:
            self.failure = f"{what}: {error.strerror or error}"
        return Poisoned(self.failure)
