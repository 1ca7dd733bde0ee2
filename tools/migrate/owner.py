"""Who fills the target, and what may be done with what it has.

Rules: a mark in the target says from which source it is filled, and the name of the connection that
does so. While that connection is there nobody else begins: it is gone with its process. A target
that has keys and no such mark is somebody else's: the mark then says so for good, and nothing is
overwritten or deleted there that differs, unless told to.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final
from uuid import uuid4

from tools.migrate.errors import Refused
from tools.migrate.link import NAME, Address, CommandError, key_pages
from tools.migrate.loader import FOREIGN, Policy, place_hash
from tools.migrate.target import OWN_KEY, Target, mark_words

OWNER: Final = b""
OVER: Final = b":over"
"""The mark that stays after a cut-over: from that source nothing may come any more."""
# What the target was when it was begun with: what may be done with it later.
EMPTY: Final = "empty"
REPLACE: Final = "replace"
STRICT: Final = "strict"


class Owned:
    """A target that this process fills alone."""

    def __init__(
        self, address: Address, source: str, mode: str, *, replace: bool, needs_mark: bool = False
    ) -> None:
        """``source``: what names it for good. Raises MigrateError."""
        self.name = f"{NAME}:{uuid4().hex[:12]}"
        self.target = Target(address, self.name)
        self.target.need_respq()
        held = self.target.mark(OWNER)
        self._refuse_others(held)
        over = self.target.mark(OVER)
        if over is not None and over["source"] == source and not replace:
            raise Refused(
                f"the target was cut over from {source} and goes on by itself",
                "--replace, if all that was written there since may be lost",
            )
        same = held is not None and held["source"] == source
        if held is not None and not same and not replace:
            raise Refused(
                f"the target is being filled from {held['source']}, not from {source}",
                f"respq migrate run {held['source']}, or --replace to begin anew",
            )
        if needs_mark and not same:
            raise Refused(
                f"nothing was moved from {source} to {address} yet",
                f"respq migrate run {source} -u {address}",
            )
        kind = str(held["kind"]) if held is not None and same else ""
        # a file of commands that replaces has no point to go on from
        replace = replace or (kind == REPLACE and mode == "file")
        if replace:  # all is to be proven, from the beginning
            for key in self.target.own_keys():
                if key != OWN_KEY or not same:
                    self.target.call(0, "DEL", key)
        fresh = not self.target.dbs()
        if not kind or replace:
            kind = EMPTY if fresh or kind == EMPTY else REPLACE if replace else STRICT
        self.mark: dict[str, Any] = {
            "source": source, "mode": mode, "by": self.name, "kind": kind,
        }  # fmt: skip
        self.policy = Policy(
            fresh=fresh,
            owned=same and not fresh and kind != STRICT,
            replace=replace,
            resumed=same and not replace,
            drops=same and not fresh and kind == EMPTY,
        )
        if kind == STRICT or (replace and mode == "file"):
            told = self.target.mark(FOREIGN) if same and not replace else None
            self.policy.foreign |= set(told["keys"]) if told is not None else self._keys()
        self._take()

    def _keys(self) -> set[int]:
        """All that the target has."""
        found: set[int] = set()
        for db in self.target.dbs():
            for keys in key_pages(partial(self.target.call, db)):
                found |= {place_hash(db, key) for key in keys if not key.startswith(OWN_KEY)}
        self.target.select(0)
        self.target.settle()
        return found

    def _refuse_others(self, held: dict[str, Any] | None) -> None:
        if held is None:
            return
        clients = bytes(self.target.call(0, "CLIENT", "LIST")).decode()
        by = re.search(
            rf"^id=\d+ addr=(\S+) .*\bname={re.escape(held['by'])} ", clients, re.MULTILINE
        )
        if by is not None:
            raise Refused(
                f"another migrator fills this target from {held['source']} (client {by[1]})",
                "wait for it, or stop it",
            )

    def _take(self) -> None:
        """Write the mark, unless another was quicker."""
        link = self.target.link
        link.call("WATCH", OWN_KEY)
        self._refuse_others(self.target.mark(OWNER))
        link.call("MULTI")
        link.ask(*mark_words(OWNER, self.mark))
        if self.policy.foreign:
            link.ask(*mark_words(FOREIGN, self.policy.mark()))
        done = link.ask("EXEC")
        if done is None:
            raise Refused("another migrator began at the same moment", "wait for it")
        if isinstance(done, CommandError) or isinstance(done[0], CommandError):
            raise Refused(f"the target {self.target.address} takes nothing: {done}")

    def drop_offsets(self) -> None:
        """Forget how far a replication stream was followed."""
        for key in self.target.own_keys():
            if key not in (OWN_KEY, OWN_KEY + FOREIGN):
                self.target.call(0, "DEL", key)

    def leave(self, *, is_cut_over: bool = False) -> None:
        """The migration is over for good: nothing of it stays but that the source is done with."""
        if is_cut_over:
            self.target.put_mark(OVER, {"source": self.mark["source"]})
        for key in self.target.own_keys():
            if key != OWN_KEY + OVER:
                self.target.call(0, "DEL", key)
