"""``respq cli``: one command to any server that speaks the Redis protocol, or one a line of input.

Replies are printed as they are where a program reads them, one line a value; on a terminal as
redis-cli prints them; with ``--json`` as a line of JSON. JSON asks for RESP3, so that maps are
objects; bytes that are no UTF-8 are shown as ``\\xff``. An error reply ends with exit code 1, after
the lines that follow it were executed, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from tools.connection import Trouble, open_connection, text, unreachable, url_option

if TYPE_CHECKING:
    from redis.connection import Connection

LISTENING = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR"})
EXIT_FAILED = 1


def as_json(value: Any) -> Any:
    """A reply as JSON has it."""
    if isinstance(value, Exception):
        return {"error": str(value)}
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, dict):
        return {as_key(key): as_json(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(member) for member in value]
    return value


def as_key(value: Any) -> str:
    """A key of a map."""
    shown = as_json(value)
    return shown if isinstance(shown, str) else json.dumps(shown)


def plain(value: Any) -> Iterator[str]:
    """A reply as lines, one a value."""
    if isinstance(value, Exception):
        yield str(value)
    elif isinstance(value, bytes):
        yield text(value)
    elif isinstance(value, dict):
        for pair in value.items():
            yield from plain(list(pair))
    elif isinstance(value, list | tuple | set | frozenset):
        for member in value:
            yield from plain(member)
    else:
        yield "" if value is None else str(value)


def pretty(value: Any, indent: str = "") -> Iterator[str]:
    """A reply as lines for people; ``indent`` stands before all but the first."""
    if isinstance(value, Exception):
        yield f"(error) {value}"
    elif isinstance(value, bytes):
        yield json.dumps(text(value), ensure_ascii=False)
    elif isinstance(value, dict):
        yield from pretty([member for pair in value.items() for member in pair], indent)
    elif isinstance(value, list | tuple | set | frozenset):
        if not value:
            yield "(empty array)"
        width = len(str(len(value)))
        for number, member in enumerate(value, 1):
            inner = indent + " " * (width + 2)
            lines = pretty(member, inner)
            before = "" if number == 1 else indent
            yield f"{before}{number:>{width}}) {next(lines)}"
            yield from lines
    elif isinstance(value, int):
        yield f"(integer) {value}"
    else:
        yield "(nil)" if value is None else str(value)


class Speaker:
    """Sends commands and prints replies."""

    def __init__(self, connection: Connection, in_json: bool) -> None:
        self._connection = connection
        self._in_json = in_json
        self._for_people = sys.stdout.isatty()
        self.failed = False

    def run(self, words: list[bytes] | list[str]) -> None:
        """Execute one command; one that listens goes on until it is interrupted."""
        self._connection.send_command(*words)  # type: ignore[no-untyped-call]
        self._print(self._read())
        verb = words[0].decode(errors="replace") if isinstance(words[0], bytes) else words[0]
        while verb.upper() in LISTENING and not self.failed:
            self._print(self._read())

    def _read(self) -> Any:
        from redis.exceptions import ResponseError

        try:
            return self._connection.read_response(push_request=True)
        except ResponseError as error:
            self.failed = True
            return error

    def _print(self, reply: Any) -> None:
        if self._in_json:
            lines: Iterable[str] = [json.dumps(as_json(reply), ensure_ascii=False)]
        else:
            lines = pretty(reply) if self._for_people else plain(reply)
        for line in lines:
            click.echo(line)


def commands_in(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The commands of an input, one a line, quoted as redis-cli has it. Raises Trouble."""
    from respserver.scan import split_inline

    for number, line in enumerate(lines, 1):
        words = split_inline(line.rstrip(b"\r\n"))
        if words is None:
            raise Trouble(f"line {number}: quotes are not balanced", "respq cli --help")
        if words:
            yield words


@click.command(
    "cli",
    short_help="Send commands to a server.",
    context_settings={"allow_interspersed_args": False},
)
@url_option
@click.option("--json", "in_json", is_flag=True, help="Print each reply as a line of JSON.")
@click.argument("command", nargs=-1)
def cli(url: str, in_json: bool, command: tuple[str, ...]) -> None:
    """Send COMMAND, or the commands on standard input, one a line.

    \b
    respq cli XADD orders '*' sku A-17
    respq cli --json -u redis://127.0.0.1:6379/2 -- XINFO STREAM orders
    """
    from redis.exceptions import RedisError

    connection: Any = open_connection(url, protocol=3 if in_json else 2)
    speaker = Speaker(connection, in_json)
    try:
        connection.connect()
        if command:
            speaker.run(list(command))
        else:
            for words in commands_in(sys.stdin.buffer):
                speaker.run(words)
    except RedisError as error:
        raise unreachable(url, error) from None
    except KeyboardInterrupt:
        pass
    finally:
        connection.disconnect()
    if speaker.failed:
        raise SystemExit(EXIT_FAILED)
