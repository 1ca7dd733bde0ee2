"""What the target has of a stream, held against what the source has, window by window.

Rules: both sides give entries in wire form, so equal windows are equal bytes. A stream that is the
beginning of the source's is gone on with. Entries that the target has and the source no longer has
were trimmed or deleted meanwhile: they are deleted, where the target is known to be a copy.
Anything else is a conflict.
"""

from __future__ import annotations

from typing import Final

from streams.rdb.rows import Node
from tools.migrate.errors import Conflict
from tools.migrate.target import Target
from tools.migrate.wire import ID, PAGE_BYTES, entries_in, id_text, live_wire

WINDOW_ENTRIES: Final = 1024
DELETE_MAX: Final = 500


class Proof:
    """Compares a stream of the target with the nodes of the source, as they come.

    ``may_delete``: the target is a copy of this source, of an earlier time.
    """

    def __init__(self, target: Target, db: int, key: bytes, *, may_delete: bool) -> None:
        self._target = target
        self._db = db
        self._key = key
        self._may_delete = may_delete
        self.last: ID = target_end(target, db, key)
        """The last entry that the target has."""
        self._upto: ID | None = None
        self._window: list[bytes] = []
        self._n = 0
        self._bytes = 0
        self.proven = 0

    def take(self, node: Node) -> Node | None:
        """What of a node the target does not have; None: it has all. Raises Conflict."""
        wire = live_wire(node)
        if self.last == (0, 0):
            return node
        found = entries_in(wire)
        if found and found[0][0] > self.last:
            self._close(self.last)
            self.last = (0, 0)
            return node
        have = [entry for entry in found if entry[0] <= self.last]
        for id, entry in have:
            self._window.append(entry)
            self._n += 1
            self._bytes += len(entry)
            if self._n >= WINDOW_ENTRIES or self._bytes >= PAGE_BYTES:
                self._compare(id)
        rest = found[len(have) :]
        if not rest:
            return None
        self._close(self.last)
        self.last = (0, 0)
        return Node(b"".join([entry for _, entry in rest]), len(rest), [])

    def end(self) -> None:
        """All nodes were taken. Raises Conflict."""
        if self.last != (0, 0):
            self._close(self.last)

    def _close(self, upto: ID) -> None:
        self._compare(upto)

    def _compare(self, upto: ID) -> None:
        """Compare the window with all entries of the target up to ``upto``."""
        start = "-" if self._upto is None else f"({id_text(self._upto)}"
        _, theirs, _ = self._target.entries(self._db, "XRANGE", self._key, start, id_text(upto))
        ours = b"".join(self._window)
        if ours != theirs:
            self._reconcile(theirs)
        self.proven += self._n
        self._upto = upto
        self._window = []
        self._n = self._bytes = 0

    def _reconcile(self, theirs: bytes) -> None:
        """Delete what the source no longer has, or find the first difference."""
        wanted = {entries_in(entry)[0][0]: entry for entry in self._window}
        doomed: list[ID] = []
        kept = 0
        for id, entry in entries_in(theirs):
            if id not in wanted:
                doomed.append(id)
            elif wanted[id] != entry:
                raise Conflict(self._db, self._key, f"entry {id_text(id)} is another")
            else:
                kept += 1
        if kept < len(wanted):
            missing = min(set(wanted) - {id for id, _ in entries_in(theirs)})
            raise Conflict(self._db, self._key, f"entry {id_text(missing)} is missing")
        if not self._may_delete:
            raise Conflict(self._db, self._key, f"entry {id_text(doomed[0])} is not in the source")
        for at in range(0, len(doomed), DELETE_MAX):
            self._target.push("XDEL", self._key, *map(id_text, doomed[at : at + DELETE_MAX]))


def target_end(target: Target, db: int, key: bytes) -> ID:
    """The ID of the last entry of a stream of the target; 0-0 if it has none."""
    _, _, last = target.entries(db, "XREVRANGE", key, "+", "-", "COUNT", 1)
    return last or (0, 0)
