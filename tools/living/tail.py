"""``respq tail``: the newest entries of streams, and those that come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import click

from tools.connection import Server, Trouble, talks_to_server, text
from tools.living.entries import Entry, entry_of, in_words, to_json
from tools.living.names import STREAM
from tools.living.output import print_json


def print_entries(stream: bytes, entries: Iterable[Entry], *, in_json: bool, named: bool) -> None:
    """One line an entry."""
    for entry in entries:
        if in_json:
            print_json(to_json(stream, entry))
        else:
            before = f"{text(stream)}  " if named else ""
            click.echo(f"{before}{entry.id}  {in_words(entry.pairs)}")


def newest(server: Server, stream: bytes, at_most: int) -> list[Entry]:
    """The newest entries, the oldest of them first."""
    if at_most == 0:
        return []
    found = server.ask("XREVRANGE", stream, "+", "-", "COUNT", at_most)
    return [entry_of(reply) for reply in reversed(found)]


def last_id(server: Server, stream: bytes) -> str:
    """The ID that the stream has come to; 0-0 where there is no stream yet."""
    (reply,) = server.ask_all([("XINFO", "STREAM", stream)])
    if isinstance(reply, Trouble):
        return "0-0"
    found: bytes = reply[reply.index(b"last-generated-id") + 1]
    return found.decode()


@click.command(short_help="Print the newest entries of streams.")
@talks_to_server
@click.option(
    "-n", "at_most", default=10, show_default=True, type=click.IntRange(0), help="So many of each."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with those that come, until ^C.")
@click.option(
    "--count", "ends_after", type=click.IntRange(1), help="With -f: end after so many more."
)
@click.argument("streams", nargs=-1, required=True, type=STREAM, metavar="STREAM...")
def tail(
    server: Server,
    in_json: bool,
    at_most: int,
    follow: bool,
    ends_after: int | None,
    streams: tuple[bytes, ...],
) -> None:
    """Print the newest entries of streams, and with -f those that come. No group notices.

    \b
    respq tail orders -n 3
    respq tail orders mails -f --json
    """
    with suppress(KeyboardInterrupt):
        _tail(server, streams, at_most, ends_after if follow else 0, in_json=in_json)


def _tail(
    server: Server, streams: Sequence[bytes], at_most: int, left: int | None, *, in_json: bool
) -> None:
    """The newest entries, then ``left`` more; None for all that ever come."""
    named = len(streams) > 1
    after: dict[bytes, str] = {}
    for stream in streams:
        entries = newest(server, stream, at_most)
        after[stream] = entries[-1].id if entries else last_id(server, stream)
        print_entries(stream, entries, in_json=in_json, named=named)
    while left is None or left > 0:
        limit = () if left is None else ("COUNT", left)
        reply = server.ask("XREAD", *limit, "BLOCK", 0, "STREAMS", *after, *after.values())
        for stream, found in reply:
            entries = [entry_of(each) for each in found][:left]
            after[stream] = entries[-1].id if entries else after[stream]
            print_entries(stream, entries, in_json=in_json, named=named)
            left = None if left is None else left - len(entries)
