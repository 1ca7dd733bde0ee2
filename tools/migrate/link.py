"""A connection to a server: commands, pipelines, and replies as the bytes they came as.

Rules: one thread uses a link. Whatever fails on the way is Unreachable, with the place; an error
reply is CommandError, unless it is asked for as a value. A URL is never shown with its password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

import hiredis

from streams.entrycheck import whole_entries
from tools.migrate.errors import Refused, Unreachable

Word = bytes | str | int
RECV_BYTES: Final = 1 << 18
CONNECT_TIMEOUT_S: Final = 5.0
REPLY_TIMEOUT_S: Final = 60.0
NAME: Final = "respq-migrate"
SCHEMES: Final = ("redis", "rediss", "unix")
MAX_PORT: Final = 65535
KEYS: Final = 500
"""What a page of SCAN is asked for."""


OPEN: Final[WeakSet[socket.socket]] = WeakSet()
"""What has to be closed in the end, however it comes."""


def close_all() -> None:
    """Close every connection that is open."""
    while OPEN:
        OPEN.pop().close()


class CommandError(Exception):
    """The server's error reply."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and who asks."""

    host: str
    port: int
    path: str
    username: str
    password: str
    db: int
    tls: bool

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}"

    @property
    def template(self) -> str:
        """The URL for a command that people shall type: whose password is theirs to fill in."""
        if not self.password:
            return str(self)
        scheme, _, rest = str(self).partition("://")
        return f"{scheme}://{self.username}:PASSWORD@{rest}"

    def at(self, host: str, port: int) -> Address:
        """Another server of the same owner."""
        return Address(host, port, "", self.username, self.password, 0, self.tls)


def parse_address(url: str) -> Address:
    """A ``redis://``, ``rediss://`` or ``unix://`` URL. Raises Refused."""
    try:
        parts = urlsplit(url)
        port = 6379 if parts.port is None else parts.port
    except ValueError as error:
        raise Refused(f"'{shown(url)}' is no URL: {error}", HINT_URL) from None
    if parts.scheme not in SCHEMES:
        raise Refused(f"'{shown(url)}' is neither a URL that I know nor a file", HINT_URL)
    if parts.query or parts.fragment:
        raise Refused(f"'{shown(url)}' has something behind the database", HINT_URL)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        return Address("", 0, unquote(parts.path), user, password, 0, False)
    number = parts.path.strip("/")
    if number and not number.isdigit():
        raise Refused(f"'{shown(url)}': '{number}' is no database", HINT_URL)
    if not parts.hostname:
        raise Refused(f"'{shown(url)}' names no host", HINT_URL)
    host = parts.hostname
    return Address(host, port, "", user, password, int(number or 0), parts.scheme == "rediss")


HINT_URL: Final = "redis://[user:password@]host:port, rediss://..., unix:///path, or a file"


def shown(url: str) -> str:
    """A URL without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://...@{tail}" if at else url


def encode(words: Iterable[Word]) -> bytes:
    """A command as it is sent."""
    parts = [
        word
        if isinstance(word, bytes)
        else (b"%d" % word if isinstance(word, int) else word.encode())
        for word in words
    ]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(p), p) for p in parts])


class Link:
    """A connection that has been opened and authenticated."""

    def __init__(self, address: Address, name: str = NAME) -> None:
        self.address = address
        self.name = name
        self._reader = hiredis.Reader(notEnoughData=NOT_ENOUGH)
        try:
            self.socket = self._open()
        except (OSError, ssl.SSLError) as error:
            what = error.strerror or str(error)
            raise Unreachable(
                f"{address} does not answer: {what}", f"redis-cli -u {address} PING"
            ) from None
        self._greet()

    def _open(self) -> socket.socket:
        address = self.address
        if address.path:
            link = socket.socket(socket.AF_UNIX)
            OPEN.add(link)
            link.settimeout(CONNECT_TIMEOUT_S)
            link.connect(address.path)
        else:
            link = socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls:
            link = ssl.create_default_context().wrap_socket(link, server_hostname=address.host)
        link.settimeout(REPLY_TIMEOUT_S)
        OPEN.add(link)
        return link

    def _greet(self) -> None:
        address = self.address
        if address.password:
            who = [address.username] if address.username else []
            self._must("AUTH", *who, address.password)
        reply = self.ask("PING")
        if isinstance(reply, CommandError):
            text = str(reply)
            if text.startswith("NOAUTH"):
                raise Unreachable(
                    f"{address} asks for a password", f"redis://:PASSWORD@{self._where()}"
                )
            if not text.startswith(("LOADING", "MASTERDOWN", "NOPERM")):
                raise Unreachable(f"{address} does not answer PING: {text}")
        elif reply != b"PONG":
            raise Unreachable(f"{address} does not speak the Redis protocol")
        self.ask("CLIENT", "SETNAME", self.name)
        self.ask("CLIENT", "NO-EVICT", "ON")

    def _where(self) -> str:
        return str(self.address).partition("://")[2]

    def _must(self, *words: Word) -> None:
        reply = self.ask(*words)
        if isinstance(reply, CommandError):
            raise Unreachable(f"{self.address} refuses to let us in: {reply}")

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
        OPEN.discard(self.socket)

    # ── sending and reading ──────────────────────────────────────────────────────────────────────

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from None

    def receive(self, n: int = RECV_BYTES) -> bytes:
        """Up to ``n`` bytes; at least one."""
        try:
            data = self.socket.recv(n)
        except OSError as error:
            raise self._lost(error) from None
        if not data:
            raise Unreachable(f"{self.address} closed the connection", self._again())
        return data

    def _lost(self, error: OSError) -> Unreachable:
        what = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return Unreachable(f"the connection to {self.address} broke: {what}", self._again())

    def _again(self) -> str:
        return "run the same command again: it goes on where it was"

    def read(self) -> Any:
        """The next reply; an error as a CommandError."""
        while True:
            try:
                reply = self._reader.gets()
            except hiredis.ProtocolError as error:
                raise Unreachable(
                    f"{self.address} does not speak the Redis protocol: {error}"
                ) from None
            if reply is not NOT_ENOUGH:
                return as_error(reply)
            self._reader.feed(self.receive())

    def ask(self, *words: Word) -> Any:
        """One command; an error reply is returned."""
        self.send(encode(words))
        return self.read()

    def call(self, *words: Word) -> Any:
        """One command. Raises CommandError."""
        reply = self.ask(*words)
        if isinstance(reply, CommandError):
            raise reply
        return reply

    def pipeline(self, commands: Iterable[Iterable[Word]]) -> list[Any]:
        """Several commands at once; errors are returned."""
        sent = [encode(words) for words in commands]
        self.send(b"".join(sent))
        return [self.read() for _ in sent]

    def transaction(self, commands: Iterable[Iterable[Word]]) -> list[Any]:
        """Several commands as one. Raises CommandError, also for one of them."""
        sent = [list(words) for words in commands]
        replies = self.pipeline([["MULTI"], *sent, ["EXEC"]])
        found = replies[-1]
        for reply in (*replies, *(found if isinstance(found, list) else ())):
            if isinstance(reply, CommandError):
                raise reply
        return list(found)

    # ── entries as they came ─────────────────────────────────────────────────────────────────────

    def array(self, *words: Word) -> tuple[int, bytes]:
        """Send a command that answers with an array: its length, and what came behind it.

        REQUIRES: no other reply is on its way. Raises CommandError.
        """
        self.send(encode(words))
        data = self.receive()
        while (start := data.find(b"\r\n")) < 0:
            data += self.receive()
        if data[:1] != b"*":
            self._reader.feed(data)
            reply = self.read()
            raise reply if isinstance(reply, CommandError) else Unreachable("an odd reply")
        return int(data[1:start]), data[start + 2 :]

    def entries(self, *words: Word) -> tuple[int, bytes, tuple[int, int] | None]:
        """What XRANGE answers: how many entries, their bytes in wire form, the last ID.

        REQUIRES: no other reply is on its way. Raises CommandError.
        """
        wanted, tail = self.array(*words)
        parts: list[bytes] = []
        n = 0
        last: tuple[int, int] | None = None
        while True:
            got, end, latest = whole_entries(tail, 0, len(tail), wanted - n)
            n += got
            last = latest or last
            parts.append(tail[:end])
            if n == wanted:
                return n, b"".join(parts), last
            tail = tail[end:] + self.receive()


NOT_ENOUGH: Final = object()


def as_error(reply: Any) -> Any:
    """Error replies of hiredis as ours, within arrays, too."""
    if isinstance(reply, hiredis.ReplyError):
        return CommandError(str(reply))
    if isinstance(reply, list):
        for i, member in enumerate(reply):
            if isinstance(member, (hiredis.ReplyError, list)):
                reply[i] = as_error(member)
    return reply


def key_pages(call: Callable[..., Any], *options: Word) -> Iterator[list[bytes]]:
    """The keys of a database, a page of SCAN each; one may come twice while others change."""
    cursor: Any = b"0"
    while True:
        cursor, keys = call("SCAN", cursor, *options, "COUNT", KEYS)
        yield keys
        if cursor == b"0":
            return
