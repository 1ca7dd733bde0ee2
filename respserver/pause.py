"""CLIENT PAUSE and WAIT: clients whose command, or whose answer, waits for a time.

Rules: a held command is its bytes and is executed as if it came when the pause ends, in the order
in which commands came; a held answer leaves when its time is over. Both keep their client from
going on.
"""

from __future__ import annotations

from dataclasses import dataclass

from respserver.session import Session

# Beside the commands that write, these may cause writes or messages.
MAY_REPLICATE = frozenset({b"publish", b"spublish", b"eval", b"evalsha"})


@dataclass(eq=False, slots=True)
class Held:
    """What a client waits for: its own command, or its answer."""

    session: Session
    wire: bytes
    reply: bytes
    deadline_ms: int | None
    """Of an answer, in monotonic time; None waits for ever."""
    keys: tuple[()] = ()
    group: None = None
    cold: bool = False


class Holding:
    """All that is held."""

    def __init__(self) -> None:
        self.until_ms: int | None = None
        """When the pause ends, in monotonic time."""
        self.writes_only = True
        self.commands: list[Held] = []
        self.answers: list[Held] = []

    @property
    def next_deadline_ms(self) -> int | None:
        """When something ends."""
        known = [held.deadline_ms for held in self.answers if held.deadline_ms is not None]
        if self.until_ms is not None:
            known.append(self.until_ms)
        return min(known, default=None)

    def pause(self, until_ms: int, writes_only: bool) -> None:
        """Pause, or pause for longer; what was stricter stays so."""
        if self.until_ms is None:
            self.until_ms, self.writes_only = until_ms, writes_only
        else:
            self.until_ms = max(self.until_ms, until_ms)
            self.writes_only = self.writes_only and writes_only

    def end(self) -> list[Held]:
        """The pause is over; the commands that it held."""
        self.until_ms = None
        held, self.commands = self.commands, []
        return held

    def answers_due(self, now_ms: int) -> list[Held]:
        """The answers whose time is over."""
        due = [
            held
            for held in self.answers
            if held.deadline_ms is not None and held.deadline_ms <= now_ms
        ]
        self.answers = [held for held in self.answers if held not in due]
        return due

    def forget(self, session: Session) -> None:
        """A client is gone."""
        self.commands = [held for held in self.commands if held.session is not session]
        self.answers = [held for held in self.answers if held.session is not session]
