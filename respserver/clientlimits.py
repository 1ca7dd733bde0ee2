"""Which clients are closed for being a burden: replies they do not take, or long silence.

Rules: ``client-output-buffer-limit`` counts what the socket has not taken. At ``hard`` bytes a
client is closed at once; above ``soft`` bytes for longer than ``soft_seconds``, too. The transport
itself reports who passes the lower of them, so that nobody else costs anything. ``timeout`` closes
who has sent nothing for so many seconds and waits for nothing; it is looked after once a second.
Times are monotonic but for the last interaction of a client, which is wall time, as CLIENT LIST
shows it.
"""

from __future__ import annotations

from collections.abc import Mapping

from respserver.kinds import Limit
from respserver.session import Session
from respserver.settings import Config

SILENCE_CHECK_MS = 1000
REPORT_BYTES_MAX = 4 << 20


class ClientLimits:
    """Watches the clients of one node."""

    def __init__(self, config: Config, sessions: Mapping[int, Session]) -> None:
        self._config = config
        self._sessions = sessions
        self._above_soft: dict[int, int] = {}
        self._next_check_ms: int | None = None
        self._report_bytes: int | None = None

    def settings_changed(self, now_ms: int) -> None:
        """Limits are in force from now on."""
        normal, listening = (
            self._config.client_output_buffer_limit[kind] for kind in ("normal", "pubsub")
        )
        for session_id in list(self._above_soft):
            if self._limit(self._sessions.get(session_id)).soft_bytes == 0:
                del self._above_soft[session_id]
        known = [size for size in (normal.hard_bytes, normal.soft_bytes) if size > 0]
        # who listens is looked at with each message; only what is below the usual mark counts here
        known += [
            size
            for size in (listening.hard_bytes, listening.soft_bytes)
            if 0 < size < REPORT_BYTES_MAX
        ]
        if known or self._report_bytes is not None:
            self._report_bytes = min([REPORT_BYTES_MAX, *known])
            for session in self._sessions.values():
                self.connected(session)
        self._next_check_ms = now_ms + SILENCE_CHECK_MS if self._config.timeout > 0 else None

    def connected(self, session: Session) -> None:
        """Have its transport report when more than the lowest limit waits to be taken."""
        if self._report_bytes is not None:
            high_bytes = self._report_bytes - 1
            session.transport.set_write_buffer_limits(high_bytes, high_bytes // 4)

    def is_reached(self, session: Session, now_ms: int) -> bool:
        """The transport reports much output; whether the client must be closed now."""
        limit = self._limit(session)
        waiting: int = session.transport.get_write_buffer_size()
        if 0 < limit.hard_bytes <= waiting:
            return True
        if 0 < limit.soft_bytes <= waiting:
            self._above_soft.setdefault(session.id, now_ms)
        return False

    def next_deadline_ms(self) -> int | None:
        """When to look again."""
        deadlines = [] if self._next_check_ms is None else [self._next_check_ms]
        if self._above_soft:
            deadlines.append(
                min(
                    since_ms + self._soft_ms(self._sessions.get(session_id))
                    for session_id, since_ms in self._above_soft.items()
                )
            )
        return min(deadlines, default=None)

    def too_much_output(self, now_ms: int) -> list[Session]:
        """Clients that have been above the soft limit for too long."""
        found = []
        for session_id, since_ms in list(self._above_soft.items()):
            session = self._sessions.get(session_id)
            if (
                session is None
                or session.closed
                or session.transport.get_write_buffer_size() < self._limit(session).soft_bytes
                or self._limit(session).soft_bytes == 0
            ):
                del self._above_soft[session_id]
            elif now_ms - since_ms >= self._soft_ms(session):
                del self._above_soft[session_id]
                found.append(session)
        return found

    def silent(self, now_ms: int, wall_ms: int) -> list[Session]:
        """Clients that have been silent for too long."""
        if self._next_check_ms is None or now_ms < self._next_check_ms:
            return []
        self._next_check_ms = now_ms + SILENCE_CHECK_MS
        oldest_ms = wall_ms - self._config.timeout * 1000
        return [
            session
            for session in self._sessions.values()
            if session.last_interaction_ms < oldest_ms and session.blocked is None
        ]

    def _limit(self, session: Session | None) -> Limit:
        """A client that listens to channels is of the class ``pubsub``."""
        listens = session is not None and session.subscriptions is not None
        return self._config.client_output_buffer_limit["pubsub" if listens else "normal"]

    def _soft_ms(self, session: Session | None) -> int:
        return self._limit(session).soft_seconds * 1000
