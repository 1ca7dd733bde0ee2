"""The server that a command of ``respq`` talks to: its URL, one connection, and what goes wrong.

Rules: this module imports click alone, so that help comes at once; redis-py comes with the first
connection. A command that talks to a server is made by ``talks_to_server``: it takes ``--url``
(``RESPQ_URL``) and ``--json`` and is given a ``Server``. Whatever keeps it from being done is a
``Trouble``: one line that says what, one that says what to try next, and exit code 1. A server that
does not answer within ``REPLY_S_MAX`` (``?socket_timeout=SECONDS`` in the URL) counts as gone; what
waits for entries may take so much longer than it asked to wait, and for ever if it asked for that.

Replies are RESP2, raw: bytes, int, list and None, whatever the command.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from redis.connection import Connection

Word = str | bytes | int
Command = Callable[..., Any]

URL = "redis://127.0.0.1:6379"
URL_VARIABLE = "RESPQ_URL"
CONNECT_S_MAX = 5.0
REPLY_S_MAX = 10.0

# What to try after a refusal, by the first word of the error.
AFTER_REFUSAL = {
    "NOGROUP": "respq lag            lists the groups there are",
    "WRONGTYPE": "respq stream ls      lists the streams there are",
    "NOAUTH": "respq ping -u redis://:PASSWORD@HOST:PORT, or put that into RESPQ_URL",
    "WRONGPASS": "respq ping -u redis://:PASSWORD@HOST:PORT, or put that into RESPQ_URL",
    "BUSY": "respq cli SCRIPT KILL",
    "LOADING": "respq ping           again in a moment",
}
AFTER_NO_KEY = "respq stream ls      lists the streams there are"
AFTER_UNKNOWN = "respq ping           says which server this is"


class Trouble(click.ClickException):
    """It could not be done: why, and the next command to try."""

    def __init__(self, message: str, try_next: str = "respq ping") -> None:
        super().__init__(message)
        self.try_next = try_next

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it on standard error."""
        click.echo(f"Error: {self.message}\nTry: {self.try_next}", file=file, err=file is None)


class Unreachable(Trouble):
    """There is no server, or it went away."""


class Refused(Trouble):
    """The server answered with an error; ``code`` is its first word."""

    def __init__(self, text: str) -> None:
        self.code = text.partition(" ")[0]
        try_next = AFTER_REFUSAL.get(self.code, AFTER_UNKNOWN)
        if "no such key" in text or "requires the key to exist" in text:
            try_next = AFTER_NO_KEY
        super().__init__(text, try_next)


def open_connection(
    url: str, protocol: int = 2, reply_s_max: float | None = None, **options: Any
) -> Connection:
    """A connection as redis-py makes it, not connected yet. Raises UsageError for a bad URL.

    Errors that it reads keep the code at their beginning, which redis-py's own parser takes away.
    """
    from redis._parsers import _HiredisParser
    from redis.connection import Connection, parse_url
    from redis.exceptions import ResponseError

    class Parser(_HiredisParser):
        @classmethod
        def parse_error(cls, response: str) -> ResponseError:
            return ResponseError(response)

    try:
        settings: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    kind = settings.pop("connection_class", Connection)
    settings.setdefault("socket_timeout", reply_s_max)
    made: Connection = kind(**settings, **options, protocol=protocol, parser_class=Parser)
    return made


def place(url: str) -> str:
    """The server's address without what is secret about it."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def is_local(url: str) -> bool:
    """Whether a server is on this machine, as its URL tells."""
    return url.startswith("unix:") or place(url).startswith(("127.", "localhost:", "::1:"))


def unreachable(url: str, error: Exception) -> Unreachable:
    """What to say where a server cannot be talked to."""
    from redis.exceptions import TimeoutError as NoAnswer

    where = place(url)
    if isinstance(error, NoAnswer):
        said = f"cannot talk to {where}: it did not answer in time"
        return Unreachable(said, "respq ping           again in a moment: is it stopped, or busy?")
    try_next = "respq ping -u redis://HOST:PORT"
    if is_local(url):
        try_next = "respq serve          starts a server"
    return Unreachable(f"cannot talk to {where}: {error}", try_next)


class Server:
    """One connection, made when it is first needed.

    ``ask`` raises Refused for an error reply, Unreachable where the connection cannot be made or
    breaks; after that the next call makes a new one.
    """

    def __init__(self, url: str = URL, name: str | None = None) -> None:
        self.url = url
        self.place = place(url)
        self._connection = open_connection(
            url, 2, REPLY_S_MAX, client_name=name, socket_connect_timeout=CONNECT_S_MAX
        )
        self._about: dict[str, str] | None = None

    def ask(self, *words: Word) -> Any:
        """Send one command; its reply."""
        (reply,) = self.ask_all([words])
        if isinstance(reply, Refused):
            raise reply
        return reply

    def ask_all(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send many at once; their replies, a Refused in the place of each error."""
        from redis.exceptions import RedisError, ResponseError

        connection: Any = self._connection
        replies: list[Any] = []
        try:
            connection.connect()
            connection._sock.settimeout(wait_s_max(commands, connection.socket_timeout))
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    replies.append(Refused(str(error)))
        except ResponseError as error:  # of AUTH or SELECT, when the connection was made
            connection.disconnect()
            raise Refused(str(error)) from None
        except RedisError as error:
            connection.disconnect()
            raise unreachable(self.url, error) from None
        except BaseException:
            connection.disconnect()  # half a reply may be left to read
            raise
        return replies

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()  # type: ignore[no-untyped-call]

    @property
    def about(self) -> dict[str, str]:
        """What INFO says."""
        if self._about is None:
            self._about = info_fields(self.ask("INFO"))
        return self._about

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return is_local(self.url)

    @property
    def is_respq(self) -> bool:
        """Whether it is a respq."""
        return "respq_version" in self.about

    @property
    def redis_level(self) -> tuple[int, ...]:
        """The version of Redis that it is, or presents."""
        parts = self.about.get("redis_version", "0").split(".")
        return tuple(int(part) for part in parts if part.isdigit())

    @property
    def title(self) -> str:
        """What it is, for people."""
        if self.is_respq:
            return f"respq {self.about['respq_version']}"
        return f"Redis {self.about.get('redis_version', '?')}"

    def has(self, command: str) -> bool:
        """Whether it knows a command."""
        (found,) = self.ask("COMMAND", "INFO", command)
        return found is not None

    def now_ms(self) -> int:
        """Its clock: milliseconds since 1970."""
        seconds, microseconds = self.ask("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000


def wait_s_max(commands: Sequence[Sequence[Word]], reply_s_max: float | None) -> float | None:
    """How long the replies may be waited for: XREAD and XREADGROUP may BLOCK."""
    blocked_ms = 0
    for words in commands:
        if words[0] in {"XREAD", "XREADGROUP"} and "BLOCK" in words:
            block_ms = int(words[words.index("BLOCK") + 1])
            if block_ms == 0:
                return None
            blocked_ms += block_ms
    return None if reply_s_max is None else blocked_ms / 1000 + reply_s_max


def info_fields(reply: bytes) -> dict[str, str]:
    """The lines of INFO."""
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def text(value: bytes) -> str:
    """Bytes as text; what is no UTF-8 is shown as ``\\xff``."""
    return value.decode("utf-8", "backslashreplace")


url_option = click.option(
    "-u",
    "--url",
    default=URL,
    show_default=True,
    envvar=URL_VARIABLE,
    show_envvar=True,
    metavar="URL",
    help="redis://[user:password@]host:port/database, rediss:// or unix:///path.",
)
json_option = click.option("--json", "in_json", is_flag=True, help="Print a line of JSON a row.")


def talks_to_server(function: Command) -> Command:
    """Give a command ``--url`` and ``--json``; the function is called with a Server first."""

    @url_option
    @json_option
    @functools.wraps(function)
    def run(url: str, **options: Any) -> Any:
        server = Server(url)
        try:
            return function(server, **options)
        finally:
            server.close()

    return run
