"""Which commands a program sends, as the server's MONITOR shows them, and which errors it was told.

A command is written as its verb, its subcommand and the option words it came with, so that a
golden list reads like a syntax: `XREADGROUP COUNT BLOCK >`. Keys, values, names and numbers are
left out. What MONITOR does not show (a command nobody knows) is in the errors that INFO counts.
"""

from __future__ import annotations

import re
from types import TracebackType

from tests.applications.stage import DEADLINE_S
from tests.respclient import Client, split_args
from tests.servers import Server

SUBCOMMANDS = frozenset(
    b"ACL CLIENT CLUSTER COMMAND CONFIG LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT SLOWLOG".split()
    + b"XGROUP XINFO".split()
)
OPTIONS = frozenset(
    b"~ $ > * BLOCK CLAIM COUNT EX FORCE FULL IDLE JUSTID MATCH MAXLEN MINID MKSTREAM NOACK".split()
    + b"NOMKSTREAM NX PX SAMPLES TYPE XX".split()
)
_LINE = re.compile(r"\d+\.\d{6} \[(\d+) ([^\]]+)\] (.*)", re.DOTALL)
_END = "the recording ends here"


def shape(words: list[bytes]) -> str:
    """A command without what differs from call to call."""
    verb, *rest = words
    verb = verb.upper()
    if verb in SUBCOMMANDS and rest:
        verb += b" " + rest.pop(0).upper()
    if verb == b"XADD" and b"*" in rest:
        rest = rest[: rest.index(b"*") + 1]  # what follows is the entry
    said = [verb, *(word.upper() for word in rest if word.upper() in OPTIONS)]
    return b" ".join(dict.fromkeys(said)).decode()


def golden(text: str) -> set[str]:
    """A list of shapes with commas between them."""
    return {" ".join(verb.split()) for verb in text.split(",")}


class Recording:
    """Commands of all connections but `own`, from entering to `finish`."""

    def __init__(self, server: Server, own: Client) -> None:
        self._own = own
        self._monitor = server.connect()
        self.verbs: set[str] = set()
        self.errors: set[str] = set()

    def __enter__(self) -> Recording:
        assert self._own.call("CONFIG", "RESETSTAT") == b"OK"
        assert self._monitor.call("MONITOR") == b"OK"
        return self

    def next_command(self) -> None:
        """Wait for the next command of a program."""
        while self._next()[0] == self._own.local_address:
            pass

    def finish(self) -> None:
        """Take in all that has been sent until now."""
        assert self._own.call("ECHO", _END) == _END.encode()
        while self._next() != (self._own.local_address, [b"ECHO", _END.encode()]):
            pass
        info: bytes = self._own.call("INFO", "errorstats")
        self.errors = {word.decode() for word in re.findall(rb"errorstat_([^:]+):", info)}

    def _next(self) -> tuple[str, list[bytes]]:
        line = self._monitor.read(DEADLINE_S)[1].value.decode("utf-8", "surrogateescape")
        found = _LINE.fullmatch(line)
        assert found is not None, line
        sender, words = found[2], split_args(found[3])
        if sender != self._own.local_address:
            self.verbs.add(shape(words))
        return sender, words

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._monitor.close()
