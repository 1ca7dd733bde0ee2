"""Channels, patterns and shard channels: who listens, and handing out messages.

Rules: a message goes to each listener of its channel in the order of subscription, then to each
listener of a pattern that it matches. Messages are pushes in RESP3 and arrays in RESP2; they leave
with the tick like replies, so nobody hears of what a crash could take back. Shard channels are a
world of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from respserver.glob import matches
from respserver.session import Session

Deliver = Callable[[Session, bytes], None]


def push(proto: int, *parts: bytes | int | None) -> bytes:
    """A message as protocol ``proto`` writes it."""
    found = [b"%s%d\r\n" % (b">" if proto > 2 else b"*", len(parts))]
    for part in parts:
        if part is None:
            found.append(b"_\r\n" if proto > 2 else b"$-1\r\n")
        elif isinstance(part, int):
            found.append(b":%d\r\n" % part)
        else:
            found.append(b"$%d\r\n%b\r\n" % (len(part), part))
    return b"".join(found)


class Subscriptions:
    """What one client listens to, in the order of subscription."""

    __slots__ = ("channels", "patterns", "shard_channels")

    def __init__(self) -> None:
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}

    def __bool__(self) -> bool:
        return bool(self.channels or self.patterns or self.shard_channels)

    def counts(self) -> tuple[int, int, int]:
        """How many of each."""
        return len(self.channels), len(self.patterns), len(self.shard_channels)


class Listeners:
    """Who listens to the names of one kind."""

    def __init__(self, kind: str, said: bytes) -> None:
        self.kind = kind
        """The attribute of Subscriptions."""
        self.said = said
        """What stands before ``subscribe`` in the answer."""
        self.by_name: dict[bytes, dict[Session, None]] = {}

    def count(self, subscriptions: Subscriptions) -> int:
        """The number that the answer tells: shard channels are counted for themselves."""
        channels, patterns, shard_channels = subscriptions.counts()
        return shard_channels if self.kind == "shard_channels" else channels + patterns


class PubSub:
    """All that is listened to."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self.channels = Listeners("channels", b"")
        self.patterns = Listeners("patterns", b"p")
        self.shard_channels = Listeners("shard_channels", b"s")

    def subscribe(self, session: Session, to: Listeners, names: list[bytes]) -> bytes:
        """Listen to these; the answer."""
        if session.subscriptions is None:
            session.subscriptions = Subscriptions()
            session.settle()
        subscriptions: Subscriptions = session.subscriptions
        answer = []
        for name in names:
            getattr(subscriptions, to.kind)[name] = None
            to.by_name.setdefault(name, {})[session] = None
            answer.append(
                push(session.proto, to.said + b"subscribe", name, to.count(subscriptions))
            )
        return b"".join(answer)

    def unsubscribe(self, session: Session, to: Listeners, names: list[bytes]) -> bytes:
        """Listen to these no more, to none of the kind if none is named; the answer."""
        subscriptions = session.subscriptions or Subscriptions()
        mine = getattr(subscriptions, to.kind)
        answer = []
        word = to.said + b"unsubscribe"
        for name in names or list(mine):
            if name in mine:
                del mine[name]
                listeners = to.by_name[name]
                del listeners[session]
                if not listeners:
                    del to.by_name[name]
            answer.append(push(session.proto, word, name, to.count(subscriptions)))
        if not answer:
            answer.append(push(session.proto, word, None, to.count(subscriptions)))
        if not subscriptions:
            session.subscriptions = None
            session.settle()
        return b"".join(answer)

    def forget(self, session: Session) -> None:
        """A client is gone, or begins anew."""
        if session.subscriptions is not None:
            for to in (self.channels, self.patterns, self.shard_channels):
                self.unsubscribe(session, to, [])

    def publish(self, channel: bytes, message: bytes) -> int:
        """Tell the listeners of a channel and of patterns that it matches; how many heard it."""
        heard = 0
        for session in self.channels.by_name.get(channel, ()):
            self._deliver(session, push(session.proto, b"message", channel, message))
            heard += 1
        for pattern, listeners in self.patterns.by_name.items():
            if matches(pattern, channel):
                for session in listeners:
                    self._deliver(
                        session, push(session.proto, b"pmessage", pattern, channel, message)
                    )
                    heard += 1
        return heard

    def publish_to_shard(self, channel: bytes, message: bytes) -> int:
        """Tell the listeners of a shard channel; how many heard it."""
        listeners = self.shard_channels.by_name.get(channel, {})
        for session in listeners:
            self._deliver(session, push(session.proto, b"smessage", channel, message))
        return len(listeners)
