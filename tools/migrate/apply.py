"""The commands that a replica is sent, applied to the target.

Rules: they go as they came; everything in them is resolved. Some hundred of them and the mark that
says how far the target is are one transaction of the target: whoever is killed goes on exactly
there. A transaction of the source is never divided. What the target has no command for is counted
by name; where such a command makes another type of what the target has under a key, the key goes.

A time to live is held back as long as a snapshot's are (loader.py).
"""

from __future__ import annotations

from typing import Any, Final

import hiredis

from streams.entrycheck import split_commands
from tools.migrate.errors import Refused
from tools.migrate.link import CommandError, encode
from tools.migrate.loader import REPLACE_HINT as HINT
from tools.migrate.loader import Loader, Place, differs
from tools.migrate.progress import Progress
from tools.migrate.psync import Offset
from tools.migrate.target import FULL, OWN_KEY, Counts, Target, failure, mark_words
from tools.migrate.wire import name_of

BATCH_COMMANDS: Final = 500
BATCH_BYTES: Final = 1 << 20
DB_AT: Final = 4
"""Where COPY names a database."""
IGNORED: Final = frozenset(
    (b"", b"PING", b"REPLCONF", b"PUBLISH", b"SPUBLISH", b"SCRIPT", b"FUNCTION")
)
STORES: Final = frozenset(
    b"SDIFFSTORE SINTERSTORE SUNIONSTORE ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZRANGESTORE "
    b"GEOSEARCHSTORE GEORADIUS SORT BITOP".split()
)
"""Commands that overwrite a key, whatever it held."""
OF_STRINGS: Final = frozenset(b"SETBIT BITFIELD BITOP PFADD PFMERGE PFDEBUG".split())
"""Commands that change a string."""
OVERWRITE: Final = frozenset((b"RENAME", b"RESTORE", b"COPY"))
SECOND: Final = frozenset((b"RENAME", b"RENAMENX", b"COPY", b"XGROUP", b"BITOP"))
"""Commands whose second word is a key, too."""
CLEARS: Final = frozenset((b"SWAPDB", b"FLUSHALL", b"FLUSHDB"))
LIVES: Final = frozenset(
    b"PEXPIREAT PERSIST DEL UNLINK SET RENAME COPY MOVE RESTORE FLUSHALL FLUSHDB SWAPDB".split()
)
"""Commands that change when keys expire."""


class Applier:
    """Takes the bytes of the stream. ``offset`` is how far the target is, or soon will be."""

    def __init__(
        self,
        target: Target,
        counts: Counts,
        progress: Progress,
        offset: Offset,
        mark: bytes,
        loader: Loader,
        owner: dict[str, Any],
        *,
        alone: bool = True,
    ) -> None:
        """``mark``: the name of the mark; ``owner``: the one that names the migration; ``alone``:
        all of the target comes from this stream.
        """
        self.target = target
        self.counts = counts
        self.progress = progress
        self.offset = offset
        self.landed = offset.offset
        """How far the target is."""
        self.catching_up = True
        self.wants_ack = False
        self._mark = mark
        self._loader = loader
        self._owner = owner
        self._alone = alone
        self._left = b""
        self._db = offset.db
        self._batch: list[bytes] = []
        self._words: list[tuple[bytes, bytes]] = []
        self._batch_bytes = 0
        self.in_multi = False
        self._before = 0, 0
        """The batch and the offset before the transaction that is open."""
        self._moved = False

    def take(self, data: bytes) -> None:
        """Apply the whole commands; what is left waits for more. Raises Refused."""
        if self._left:
            data = self._left + data
        try:
            found, end = split_commands(data, 0)
        except ValueError as error:
            raise Refused(f"the source's command stream is damaged: {error}") from None
        for start, stop, name, key in found:
            self._one(data, start, stop, name, key)
            self.offset.offset += stop - start
            if not self.in_multi and (
                len(self._batch) >= BATCH_COMMANDS or self._batch_bytes >= BATCH_BYTES
            ):
                self.commit()
        self._left = data[end:]
        if not self.in_multi:
            self.commit()

    def finish(self) -> None:
        """Nothing follows: hand over what is whole. What is left of a transaction is left out."""
        if self.in_multi:
            length, self.offset.offset = self._before
            del self._batch[length:], self._words[length:]
        self.commit()
        self.target.settle()

    @property
    def waiting_bytes(self) -> int:
        """What came and is no whole command or transaction yet."""
        return len(self._left)

    def _one(self, data: bytes, start: int, stop: int, name: bytes, key: bytes) -> None:
        self._moved = True
        if name in IGNORED:
            self.wants_ack = self.wants_ack or (name == b"REPLCONF" and key.upper() == b"GETACK")
        elif name == b"SELECT":
            self._db = int(key)
            self._push(encode(["SELECT", key]), name, key)
        elif name == b"MULTI":
            self.in_multi = True
            self._before = len(self._batch), self.offset.offset
        elif name == b"EXEC":
            self.in_multi = False
        elif self._loader.policy.foreign and self._looks_at_foreign(data[start:stop], name):
            self._one(data, start, stop, name, key)
        elif name not in self.target.commands:
            self._cannot(data[start:stop], name, key)
        elif self.catching_up and name in LIVES and self._holds(data[start:stop], name, key):
            pass
        else:
            if name in OVERWRITE:
                self._make_way(data[start:stop], name)
            self._push(data[start:stop], name, key)
            if name in CLEARS:
                self._after_clearing(data[start:stop], name)

    def _looks_at_foreign(self, command: bytes, name: bytes) -> bool:
        """Refuse what changes keys of somebody else, or delete them; whether some were deleted."""
        if name not in self.target.commands and name not in STORES:
            return False
        policy = self._loader.policy
        if name in CLEARS:
            if not policy.replace:
                raise Refused(f"{name.decode()} of the source: the target has others' keys", HINT)
            policy.foreign.clear()
            return False
        found = False
        for db, key in keys_of(words_of(command), name, self._db):
            if not policy.is_foreign(db, key):
                continue
            if policy.replace:
                self._push(encode(["SELECT", db]), b"SELECT", b"")
                self._push(encode(["DEL", key]), b"DEL", key)
                self._push(encode(["SELECT", self._db]), b"SELECT", b"")
            elif self.target.call(db, "EXISTS", key):
                raise differs(db, key, f"the source changes it, too ({name.decode()})")
            policy.adopt(db, key)
            found = True
        return found

    def _push(self, command: bytes, name: bytes, key: bytes) -> None:
        if not self._batch and name != b"SELECT":
            self._push(encode(["SELECT", self._db]), b"SELECT", b"")
        self._batch.append(command)
        self._words.append((name, key))
        self._batch_bytes += len(command)

    def _cannot(self, command: bytes, name: bytes, key: bytes) -> None:
        """The target does not have this command."""
        self.counts.skipped[name.decode()] = self.counts.skipped.get(name.decode(), 0) + 1
        if name in OF_STRINGS:
            self.counts.note(
                f"{name.decode()} changes strings and was not carried: verify names them"
            )
        if name in STORES:
            words = words_of(command)
            at = next((i for i, w in enumerate(words) if w.upper() == b"STORE"), 0)
            place = words[at + 1] if at else words[2] if name == b"BITOP" else key
            self._loader.lives.pop((self._db, place), None)
            self._push(encode(["DEL", place]), b"DEL", place)

    def _holds(self, command: bytes, name: bytes, key: bytes) -> bool:
        """Keep times to live in mind while they are held back; whether that is all there is."""
        lives = self._loader.lives
        words = words_of(command)
        place = (self._db, key)
        if name == b"PEXPIREAT":
            lives[place] = int(words[2])
            return True
        if name in (b"RENAME", b"COPY", b"MOVE"):
            to = self._db, words[2]
            if name == b"MOVE":
                to = int(words[2]), key
            elif len(words) > DB_AT and words[DB_AT - 1].upper() == b"DB":
                to = int(words[DB_AT]), words[2]
            life = lives.get(place, 0) if name == b"COPY" else lives.pop(place, 0)
            lives.pop(to, None)
            if life:
                lives[to] = life
        elif name in CLEARS:
            self._clear_lives(name, words)
        elif name in (b"DEL", b"UNLINK"):
            for word in words[1:]:
                lives.pop((self._db, word), None)
        elif not (name == b"SET" and any(word.upper() == b"KEEPTTL" for word in words[3:])):
            lives.pop(place, None)
        return False

    def _clear_lives(self, name: bytes, words: list[bytes]) -> None:
        lives = dict(self._loader.lives)
        self._loader.lives.clear()
        swapped: dict[int, int] = {}
        if name == b"SWAPDB":
            a, b = int(words[1]), int(words[2])
            swapped = {a: b, b: a}
        for (db, key), life in lives.items():
            if name == b"SWAPDB" or (name == b"FLUSHDB" and db != self._db):
                self._loader.lives[swapped.get(db, db), key] = life

    def _make_way(self, command: bytes, name: bytes) -> None:
        """What is overwritten goes, even if what comes in its place is of a type not carried."""
        words = words_of(command)
        options = {word.upper() for word in words[3:]}
        if name == b"RENAME" and words[1] != words[2]:
            self._push(encode(["DEL", words[2]]), b"DEL", words[2])
        elif name == b"RESTORE" and b"REPLACE" in options:
            self._push(encode(["DEL", words[1]]), b"DEL", words[1])
        elif name == b"COPY" and options == {b"REPLACE"}:
            self._push(encode(["DEL", words[2]]), b"DEL", words[2])

    def _after_clearing(self, command: bytes, name: bytes) -> None:
        """Databases were emptied or swapped: our own marks stay in database 0."""
        if not self._alone:
            self.target.settle()
            self.target.call(0, "DEL", OWN_KEY + self._mark)
            raise Refused(
                f"{name.decode()} on one primary of a cluster: the target must be made anew",
                "run it again: what differs is found and repaired",
            )
        if name == b"SWAPDB":
            for db in {int(word) for word in words_of(command)[1:3]} - {0}:
                self._push(encode(["SELECT", db]), b"SELECT", b"")
                self._push(encode(["DEL", OWN_KEY, OWN_KEY + self._mark]), b"DEL", OWN_KEY)
        self._push(encode(["SELECT", 0]), b"SELECT", b"")
        self._push(encode(mark_words(b"", self._owner)), b"SET", OWN_KEY)
        self._push(encode(["SELECT", self._db]), b"SELECT", b"")

    # ── handing over ─────────────────────────────────────────────────────────────────────────────

    def commit(self) -> None:
        """Hand the batch over with the mark, as one transaction."""
        if not self._moved:
            return
        self._moved = False
        upto = Offset(self.offset.replid, self.offset.offset, self._db)
        held = self.catching_up and bool(self._loader.lives)
        mark = encode(["SELECT", 0]) + encode(mark_words(self._mark, as_mark(upto, held=held)))
        data = b"".join([MULTI, *self._batch, mark, EXEC])
        words = self._words
        replies = len(self._batch) + 4
        self._batch, self._words, self._batch_bytes = [], [], 0

        def landed(reply: Any) -> None:
            if isinstance(reply, CommandError):
                raise failure(self.target.address, reply)
            self._look(reply, words)
            self.landed = upto.offset
            n = sum(name == b"XADD" for name, _ in words)
            self.counts.commands += len(words)
            self.progress.step(n, len(data))

        self.target.push_bytes(data, replies, landed)
        self.target.forget_db()

    def _look(self, replies: list[Any], words: list[tuple[bytes, bytes]]) -> None:
        """Look at what a transaction answered."""
        for reply, (name, key) in zip(replies, [*words, (b"", b""), (b"", b"")], strict=True):
            if not isinstance(reply, CommandError):
                continue
            text = str(reply)
            if text.startswith(FULL) or not name:
                self.target.link.ask("DEL", OWN_KEY + self._mark)
                raise failure(self.target.address, reply)
            if name in (b"RENAME", b"RENAMENX", b"RESTORE") or text.startswith("WRONGTYPE"):
                continue  # about a key of a type that was not carried
            line = f"{name.decode()} {name_of(key)}: {text}"
            self.counts.refused[line] = self.counts.refused.get(line, 0) + 1


def keys_of(words: list[bytes], name: bytes, db: int) -> list[Place]:
    """The keys that a command names, with their databases."""
    if name in (b"DEL", b"UNLINK", b"PFMERGE"):
        return [(db, word) for word in words[1:]]
    if name in (b"MSET", b"MSETNX"):
        return [(db, word) for word in words[1::2]]
    if name == b"MOVE":
        return [(db, words[1]), (int(words[2]), words[1])]
    if name == b"COPY" and len(words) > DB_AT and words[DB_AT - 1].upper() == b"DB":
        return [(db, words[1]), (int(words[DB_AT]), words[2])]
    found = words[1:2]
    if name in SECOND:
        found = words[1:3]
    elif name in STORES:
        at = next((i for i, w in enumerate(words) if i > 1 and w.upper() == b"STORE"), 0)
        found = words[at + 1 : at + 2]
    return [(db, word) for word in found]


MULTI: Final = encode(["MULTI"])
EXEC: Final = encode(["EXEC"])


def as_mark(offset: Offset, *, held: bool) -> dict[str, Any]:
    """How far the target is, as it is written there. ``held``: times to live are not yet."""
    return {"replid": offset.replid, "offset": offset.offset, "db": offset.db, "held": held}


def from_mark(mark: dict[str, Any] | None) -> Offset | None:
    """How far the target is; None: not so far that a source could go on."""
    if mark is None or mark["held"]:
        return None
    return Offset(mark["replid"], mark["offset"], mark["db"])


def words_of(command: bytes) -> list[bytes]:
    """The words of an encoded command."""
    reader = hiredis.Reader()
    reader.feed(command)
    return list(reader.gets())
