"""Keeping the writers of a source waiting, and making it refuse writes for good.

Rules: a pause ends by itself, so it is set again and again, by a thread with links of its own,
whatever the migrator waits for meanwhile. From sending one pause to the answer of the next must
pass less time than a pause lasts: else somebody may have written, and nothing is cut over. What is
undone is undone on new connections, each server by itself.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from tools.migrate.errors import MigrateError, Refused
from tools.migrate.heads import pairs
from tools.migrate.link import Address, CommandError, Link

PAUSE_MS: Final = 20_000
RENEW_S: Final = 4.0
MARGIN_S: Final = 1.0
HOLD_MAX_S: Final = 60.0
"""Longer than this nobody is kept waiting."""
LAG: Final = "min-replicas-max-lag"
REPLICAS: Final = "min-replicas-to-write"
FENCE: Final = {LAG: "10", REPLICAS: "9999"}


class Hold:
    """The writers of some primaries wait while this holds."""

    def __init__(self, addresses: list[Address]) -> None:
        self._links = [Link(address) for address in addresses]
        self._sent_s: list[float | None] = [None] * len(addresses)
        self._lapse = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self.began_s = time.monotonic()

    def begin(self) -> None:
        """From now on they wait. Raises MigrateError."""
        self.began_s = time.monotonic()
        self.pause()
        self._thread.start()

    def pause(self) -> None:
        """Pause everybody for ``PAUSE_MS`` from now on. Raises MigrateError."""
        for place, link in enumerate(self._links):
            sent_s = time.monotonic()
            must(link, "CLIENT", "PAUSE", PAUSE_MS, "WRITE")
            self._look(place)
            self._sent_s[place] = sent_s

    def _look(self, place: int) -> None:
        sent_s = self._sent_s[place]
        if sent_s is not None and time.monotonic() - sent_s > PAUSE_MS / 1000 - MARGIN_S:
            self._lapse = self._lapse or f"{self._links[place].address} answered too late"

    def _renew(self) -> None:
        try:
            while not self._over.wait(RENEW_S):
                if time.monotonic() - self.began_s > HOLD_MAX_S:
                    self._lapse = f"it would have taken longer than {HOLD_MAX_S:.0f} s"
                    return
                self.pause()
        except MigrateError as error:
            self._lapse = str(error)

    def check(self) -> None:
        """Raises Refused where somebody may have written since ``begin``."""
        for place in range(len(self._links)):
            self._look(place)
        if self._lapse:
            raise Refused(
                f"the pause ran out before everything was over, so writers go on: {self._lapse}",
                "run it again when less is written, or stop the writers yourself",
            )

    def stop(self) -> None:
        """Set the pause no more: it ends by itself."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for link in self._links:
            link.close()

    def end(self) -> None:
        """Nobody waits any longer."""
        self.stop()
        for link in self._links:
            release(link.address)


def release(address: Address) -> None:
    """Let the writers of a server go on, if it answers."""
    try:
        link = Link(address)
        link.ask("CLIENT", "UNPAUSE")
        link.close()
    except MigrateError:
        pass  # then its pause ends by itself


class Fence:
    """The settings of a primary by which it refuses writes, and what they were before."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_up = False
        link = Link(address)
        found = link.ask("CONFIG", "GET", "min-replicas-*")
        link.close()
        told = {} if isinstance(found, CommandError) else pairs(found)
        self._before = {
            name: told[name.encode()].decode() for name in FENCE if name.encode() in told
        }
        if len(self._before) < len(FENCE):
            raise Refused(
                f"{address} does not tell its {REPLICAS}, by which it is fenced: {found}",
                "stop its writers yourself, then respq migrate run once more",
            )

    def put_up(self) -> None:
        """Refuse writes until somebody changes the settings. Raises MigrateError."""
        link = Link(self.address)
        self.is_up = True
        for name, value in FENCE.items():
            must(link, "CONFIG", "SET", name, value)
        link.close()

    def take_down(self) -> None:
        """Set what was before. Raises MigrateError."""
        link = Link(self.address)
        for name, value in self._before.items():
            must(link, "CONFIG", "SET", name, value)
        link.close()
        self.is_up = False

    @property
    def undo(self) -> str:
        """The commands that do this."""
        return "; ".join(
            f"redis-cli -u {self.address.template} CONFIG SET {name} {value}"
            for name, value in self._before.items()
        )


def take_down(fences: list[Fence]) -> str:
    """Take down what is up; how to do so by hand where a server does not answer."""
    left: list[str] = []
    for fence in fences:
        if fence.is_up:
            try:
                fence.take_down()
            except MigrateError:
                left.append(fence.undo)
    return "; ".join(left)


def must(link: Link, *words: str | int) -> None:
    """Raises Refused where the source does not do this."""
    reply = link.ask(*words)
    if isinstance(reply, CommandError):
        raise Refused(
            f"{link.address} refuses {words[0]} {words[1]}: {reply}",
            "stop its writers yourself, then respq migrate run once more",
        )
