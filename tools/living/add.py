"""``respq add``: an entry from the command line, or many from standard input.

Rules: what one read of standard input brings is sent before the next, so that no line waits for
those after it. A batch is sent once: when the connection breaks, what of it was added is unknown,
and the IDs that were printed are those that were.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import click

from tools.connection import Refused, Server, Trouble, Word, talks_to_server, text
from tools.living.entries import Pair, fields_from_json
from tools.living.names import STREAM
from tools.living.output import print_json

BATCH = 500
READ_BYTES = 1 << 16
Entries = list[list[Pair]]


def pair_of(written: str) -> Pair:
    """``sku=A-17``. Raises UsageError."""
    name, equals, value = os.fsencode(written).partition(b"=")
    if not equals:
        raise click.UsageError(f"{written!r} is no field: write name=value")
    return name, value


def typed_entries(file: IO[bytes]) -> Iterator[Entries]:
    """The entries of an input, an object of JSON a line, as they come in. Raises Trouble."""
    rest, number = b"", 1
    while chunk := file.read1(READ_BYTES):  # type: ignore[attr-defined]
        *whole, rest = (rest + chunk).split(b"\n")
        yield from _batches(whole, number)
        number += len(whole)
    yield from _batches([rest], number)


def _batches(lines: Iterable[bytes], first: int) -> Iterator[Entries]:
    """The entries of some lines; those before a bad one, too. Raises Trouble."""
    batch: Entries = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            batch.append(fields_from_json(json.loads(line)))
        except ValueError as error:
            yield batch
            raise Trouble(
                f"line {number}: {error}", """echo '{"sku": "A-17"}' | respq add orders -"""
            ) from None
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


@click.command(short_help="Add entries to a stream.")
@talks_to_server
@click.option("--id", "entry_id", default="*", show_default=True, help="The entry's ID.")
@click.option(
    "--maxlen", type=click.IntRange(0), metavar="N", help="Trim the stream to about N entries."
)
@click.argument("stream", type=STREAM)
@click.argument("fields", nargs=-1, required=True, metavar="NAME=VALUE...|-")
def add(
    server: Server,
    in_json: bool,
    entry_id: str,
    maxlen: int | None,
    stream: bytes,
    fields: tuple[str, ...],
) -> None:
    """Add an entry to STREAM and print its ID; with - one for each line of standard input, which
    are objects of JSON.

    \b
    respq add orders sku=A-17 qty=2
    respq add orders --maxlen 100000 - < orders.jsonl
    """
    options: tuple[Word, ...] = () if maxlen is None else ("MAXLEN", "~", maxlen)
    batches: Iterable[Entries]
    if fields == ("-",):
        batches = typed_entries(sys.stdin.buffer)
    else:
        batches = [[[pair_of(each) for each in fields]]]

    def words(pairs: Sequence[Pair]) -> list[Word]:
        return ["XADD", stream, *options, entry_id, *(part for pair in pairs for part in pair)]

    for batch in batches:
        if not batch:
            continue
        refused = None
        for reply in server.ask_all([words(pairs) for pairs in batch]):
            if isinstance(reply, Refused):
                refused = refused or reply
            elif in_json:
                told: dict[str, Any] = {"stream": text(stream), "id": reply.decode()}
                print_json(told)
            else:
                click.echo(reply)
        if refused is not None:
            raise refused
