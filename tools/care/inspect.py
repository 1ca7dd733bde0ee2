"""``respq inspect``: what a stream is made of, asked of a server or read from a directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from tools.care.console import ASKED_WRONGLY, FAILED, absolute, human, print_json, refuse

URL = "redis://127.0.0.1:6379"


@click.command(short_help="Tell what a stream is made of.")
@click.argument("words", metavar="[DIR|URL] STREAM", nargs=-1, required=True)
@click.option("-u", "--url", default=URL, show_default=True, metavar="URL", help="The server.")
@click.option("-n", "--database", default=0, type=click.IntRange(0), help="Of a directory.")
@click.option("--json", "in_json", is_flag=True, help="Print it as JSON.")
def inspect(words: tuple[str, ...], url: str, database: int, in_json: bool) -> None:
    """Tell how many bytes STREAM takes, raw and on the disk, and how they are compressed.

    Without DIR the server at URL is asked. A directory must not be open in a server; a checkpoint
    of it will do.

    \b
    respq inspect orders
    respq inspect redis://127.0.0.1:6380/2 orders
    respq inspect respq-data/checkpoints/monday orders --json
    """
    if len(words) > 2:
        raise click.UsageError("one directory or URL, and one stream")
    source, stream = words[0] if len(words) > 1 else url, words[-1]
    if "://" in source:
        found = _ask(source, stream)
    else:
        found = _read(absolute(source), database, stream)
    if in_json:
        print_json(found)
    else:
        _print(stream, found)


def _read(path: str, database: int, stream: str) -> Mapping[str, Any]:
    """From a directory."""
    from cluster.slots import key_slot
    from lsmstore.anatomy import anatomy
    from lsmstore.errors import Locked, StorageError
    from lsmstore.fs import OsFS
    from lsmstore.view import StoreView
    from streams.description import describe
    from streams.keyspace import WrongTypeError
    from streams.replay import RecordError
    from streams.verify import open_keyspace

    if not os.path.isdir(path):
        refuse("inspect", f"there is no directory {path}", f"respq inspect {URL} STREAM")
    try:
        view = StoreView.open(OsFS(), path)
        try:
            keyspace, _ = open_keyspace(view, key_slot)
            if database >= len(keyspace.namespaces):
                refuse("inspect", f"there is no database {database}", "respq inspect -n 0")
            name = os.fsencode(stream)
            found = keyspace.stream(keyspace.namespaces[database], name)
            if found is None:
                refuse("inspect", f"{path} has no stream {stream!r}", f"respq check {path}")
            return describe(found, anatomy(found.runs))
        finally:
            view.close()
    except WrongTypeError:
        refuse("inspect", f"{stream!r} is no stream", f"respq check {path}")
    except Locked:
        refuse("inspect", f"a server has {path} open", f"respq inspect -u {URL} {stream}")
    except (StorageError, RecordError, OSError) as error:
        refuse("inspect", str(error), f"respq check {path}", FAILED)


def _ask(url: str, stream: str) -> Mapping[str, Any]:
    """From a server."""
    from redis import Redis
    from redis.exceptions import RedisError, ResponseError

    try:
        client = Redis.from_url(url, protocol=3)
    except ValueError as error:
        refuse("inspect", str(error), f"respq inspect {URL} STREAM", ASKED_WRONGLY)
    try:
        reply = client.execute_command("XQ.INSPECT", os.fsencode(stream))  # type: ignore[no-untyped-call]
    except ResponseError as error:
        refuse("inspect", f"the server says: {error}", f"respq cli -u {url} TYPE {stream}", FAILED)
    except (RedisError, OSError) as error:
        refuse("inspect", f"no server at {url}: {error}", f"respq cli -u {url} PING", FAILED)
    finally:
        client.close()
    found: Mapping[str, Any] = _as_text(reply)
    return found


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {_as_text(name): _as_text(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_text(member) for member in value]
    return value.decode() if isinstance(value, bytes) else value


def _print(stream: str, found: Mapping[str, Any]) -> None:
    """For people: what it comes to, then a line a run."""
    codecs = ", ".join(f"{frames} frames {name}" for name, frames in found["codecs"].items())
    lines = [
        ("entries", f"{found['length']} (last {found['last-generated-id']})"),
        ("in segments", f"{found['entries-in-segments']} entries, {found['blocks']} blocks"),
        ("raw", human(found["raw-bytes"])),
        (
            "on disk",
            f"{human(found['stored-bytes'])}, ratio {found['ratio']}",
        ),
        ("an entry", f"{found['stored-bytes-per-entry']} bytes on disk"),
        ("compressed", codecs or "nothing is in segments yet"),
        ("memtable", f"{found['memtable-entries']} entries, {human(found['memtable-bytes'])}"),
        ("memory", human(found["memory-bytes"])),
        ("positions", f"{found['first-position']} to {found['end-position']}"),
        ("deleted", f"{found['deleted-between']} between them"),
        ("groups", f"{found['groups']}, {found['pending']} pending"),
    ]
    click.echo(f"stream {stream} ({found['sid']})")
    for name, text in lines:
        click.echo(f"  {name:<12}{text}")
    for run in found["runs"]:
        click.echo(
            f"  segment {run['segment']}: positions {run['first-position']} to "
            f"{run['end-position']}, IDs {run['first-id']} to {run['last-id']}, {run['blocks']} "
            f"blocks in {run['frames']} frames ({run['shared-frames']} shared), "
            f"{human(run['raw-bytes'])} in {human(run['stored-bytes'])}"
        )
