"""What a Python handler may touch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.journal import Journal
from streams.keyrecords import KeyRecords
from streams.keyspace import Keyspace
from streams.stream import Stream

if TYPE_CHECKING:
    from respserver.engine import Engine
    from respserver.session import Session


FRAME_BYTES_MAX: Final = 1 << 30
"""What one frame of the log takes: all that a command, a transaction or a script changes."""


class Cold:
    """The type of COLD."""


COLD: Final = Cold()
"""What a handler returns that must wait for cold blocks: it is called again when they are there."""


class Call:
    """One command of one client."""

    __slots__ = ("argv", "server", "session")

    def __init__(self, argv: list[bytes], session: Session, server: Engine) -> None:
        self.argv = argv
        self.session = session
        self.server = server

    @property
    def now_ms(self) -> int:
        """Wall time of this tick."""
        return self.server.now_ms

    @property
    def ns(self) -> int:
        """The namespace of the client's database."""
        return self.server.keyspace.namespaces[self.session.db]

    @property
    def keyspace(self) -> Keyspace:
        """All keys."""
        return self.server.keyspace

    @property
    def journal(self) -> Journal:
        """Where changes are made."""
        return self.server.journal

    @property
    def key_records(self) -> KeyRecords:
        """Where changes to keys are made."""
        return self.server.key_records

    @property
    def redis_level(self) -> int:
        """The version of Redis that is presented (respserver/version.py)."""
        return self.server.verbs.redis_level

    def reserve(self, record_bytes: int, frees: bool = False) -> None:
        """Make sure that so many bytes of records fit in the log, beyond what the arguments
        suggest.

        ``frees``: the command gives space back and may draw on the log's reserve. Raises
        ReplyError where the disk is full. Call it before the first change.
        """
        self.server.reserve(record_bytes, frees)

    def waits_for(self, stream: Stream, first_pos: int, stop_pos: int) -> bool:
        """Whether the command must wait until these entries are in memory; if so, return COLD.

        Where few of them are not, they are read now. Call it before the first change.
        """
        return self.server.verbs.waits_for(stream, first_pos, stop_pos)
