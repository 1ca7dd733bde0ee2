"""``respq add``: an entry from the command line, or many from standard input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from tools.connection import Refused, Server, Trouble, Word, talks_to_server, text
from tools.living.entries import Pair, fields_from_json
from tools.living.names import STREAM
from tools.living.output import print_json

BATCH = 500


def pair_of(written: str) -> Pair:
    """``sku=A-17``. Raises UsageError."""
    name, equals, value = os.fsencode(written).partition(b"=")
    if not equals:
        raise click.UsageError(f"{written!r} is no field: write name=value")
    return name, value


def typed_entries(lines: Iterable[bytes]) -> Iterator[list[Pair]]:
    """The entries of an input, an object of JSON a line. Raises Trouble."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield fields_from_json(json.loads(line))
            except ValueError as error:
                raise Trouble(
                    f"line {number}: {error}", """echo '{"sku": "A-17"}' | respq add orders -"""
                ) from None


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
    typed = fields == ("-",)
    entries = typed_entries(sys.stdin.buffer) if typed else [[pair_of(each) for each in fields]]
    batch: list[list[Word]] = []

    def send() -> None:
        for reply in server.ask_all(batch):
            if isinstance(reply, Refused):
                raise reply
            if in_json:
                told: dict[str, Any] = {"stream": text(stream), "id": reply.decode()}
                print_json(told)
            else:
                click.echo(reply)
        batch.clear()

    try:
        for pairs in entries:
            flat = [part for pair in pairs for part in pair]
            batch.append(["XADD", stream, *options, entry_id, *flat])
            if len(batch) == BATCH:
                send()
    finally:
        if batch:
            send()
