"""CLIENT TRACKING: telling clients which of the keys they have read are not what they were.

Rules: by default the server remembers which keys a client has read and tells it once when one of
them changes; with BCAST it remembers nothing and tells of every key with one of the client's
prefixes, once a tick. Keys are remembered by name alone, whatever their database, as in Redis.
Whoever speaks RESP2 hears through another connection (REDIRECT) that listens to
``__redis__:invalidate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from respserver.pubsub import push

if TYPE_CHECKING:
    from respserver.session import Session

CHANNEL = b"__redis__:invalidate"


class Tracking:
    """How one client tracks."""

    __slots__ = (
        "broadcast",
        "broken",
        "caching",
        "no_loop",
        "opt_in",
        "opt_out",
        "prefixes",
        "redirect",
    )

    def __init__(self) -> None:
        self.broadcast = False
        self.opt_in = False
        self.opt_out = False
        self.no_loop = False
        self.caching = False
        """CLIENT CACHING spoke of the next command."""
        self.redirect = 0
        self.broken = False
        """The client to redirect to is gone."""
        self.prefixes: list[bytes] = []

    def marks(self) -> bytes:
        """The letters in CLIENT LIST."""
        return b"t" + (b"R" if self.broken else b"") + (b"B" if self.broadcast else b"")

    def remembers(self) -> bool:
        """Whether what the client reads now is to be remembered."""
        if self.broadcast:
            return False
        return self.caching if self.opt_in else not (self.opt_out and self.caching)


class Trackers:
    """All clients that track, and what they have read."""

    def __init__(
        self, sessions: Mapping[int, Session], deliver: Callable[[Session, bytes], None]
    ) -> None:
        self._sessions = sessions
        self._deliver = deliver
        self.clients: dict[int, Session] = {}
        self.readers: dict[bytes, dict[int, None]] = {}
        self.prefixes: dict[bytes, dict[Session, None]] = {}
        self._changed: dict[bytes, Session | None] = {}
        """Keys to be told of by prefix at the end of the tick, and who changed them."""

    def __bool__(self) -> bool:
        return bool(self.clients)

    @property
    def items(self) -> int:
        """How many (key, reader) are remembered."""
        return sum(map(len, self.readers.values()))

    def begin(self, session: Session, tracking: Tracking, prefixes: list[bytes]) -> None:
        """A client tracks from now on, or tracks otherwise."""
        held = session.tracking
        if isinstance(held, Tracking):
            tracking.prefixes = held.prefixes
            tracking.caching = held.caching
        session.tracking = tracking
        if tracking.broadcast:
            for prefix in prefixes or ([] if tracking.prefixes else [b""]):
                if prefix not in tracking.prefixes:
                    tracking.prefixes.append(prefix)
                    self.prefixes.setdefault(prefix, {})[session] = None
        self.clients[session.id] = session
        session.settle()

    def end(self, session: Session) -> None:
        """A client tracks no more; what it has read is forgotten when it would be told."""
        if session.tracking is None:
            return
        for prefix in session.tracking.prefixes:
            of_prefix = self.prefixes[prefix]
            del of_prefix[session]
            if not of_prefix:
                del self.prefixes[prefix]
        session.tracking = None
        del self.clients[session.id]
        session.settle()

    def remember(self, session: Session, keys: Iterable[bytes], keys_max: int) -> None:
        """A client has read these keys."""
        for key in keys:
            self.readers.setdefault(key, {})[session.id] = None
        while keys_max and len(self.readers) > keys_max:
            self._tell_readers(next(iter(self.readers)), None)

    def changed(self, key: bytes, by: Session | None) -> None:
        """A key has changed."""
        if self.prefixes:
            self._changed[key] = by
        if key in self.readers:
            self._tell_readers(key, by)

    def _tell_readers(self, key: bytes, by: Session | None) -> None:
        for session_id in self.readers.pop(key):
            session = self.clients.get(session_id)
            if session is None or session.tracking.broadcast:
                continue
            if session.tracking.no_loop and session is by:
                continue
            self._tell(session, [key])

    def flushed(self) -> None:
        """A database was emptied: nothing that was read is what it was."""
        self.readers.clear()
        for session in self.clients.values():
            self._tell(session, None)

    def tell_by_prefix(self) -> bool:
        """Tell of all keys that have changed in this tick; whether there were any."""
        if not self._changed:
            return False
        changed, self._changed = self._changed, {}
        for prefix, sessions in self.prefixes.items():
            found = {key: by for key, by in changed.items() if key.startswith(prefix)}
            for session in sessions:
                no_loop = session.tracking.no_loop
                keys = [key for key, by in found.items() if not (no_loop and by is session)]
                if keys:
                    self._tell(session, keys)
        return True

    def _tell(self, session: Session, keys: list[bytes] | None) -> None:
        tracking, to = session.tracking, session
        null = b"_\r\n" if session.proto > 2 else b"$-1\r\n"
        if tracking.redirect:
            target = self._sessions.get(tracking.redirect)
            if target is None:
                tracking.broken = True
                if session.proto > 2:
                    message = push(3, b"tracking-redir-broken", tracking.redirect)
                    self._deliver(session, message)
                return
            to = target
        names = null
        if keys is not None:
            names = b"*%d\r\n" % len(keys)
            names += b"".join([b"$%d\r\n%b\r\n" % (len(key), key) for key in keys])
        if to.proto > 2:
            self._deliver(to, b">2\r\n$10\r\ninvalidate\r\n" + names)
        elif tracking.redirect and to.subscriptions is not None:
            self._deliver(
                to, b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n" % (len(CHANNEL), CHANNEL) + names
            )
