"""``respq backup`` and ``respq restore``: a store kept elsewhere, and brought back.

A backup is a checkpoint (XQ.CHECKPOINT), made by the server on its own machine and then verified
here: both must see the same directory. Files that never change are linked where they can be, so a
backup on the same filesystem takes no room and shares the fate of its disk; ``--copy`` makes
it one of its own.
"""

from __future__ import annotations

import os
from typing import Any

import click

from tools.care.console import (
    ASKED_WRONGLY,
    DONE,
    FAILED,
    absolute,
    human,
    print_json,
    progress_bar,
    refuse,
    say,
)

URL = "redis://127.0.0.1:6379"


@click.command(short_help="Keep a copy of a running server's data.")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option(
    "-u",
    "--url",
    default=URL,
    show_default=True,
    metavar="URL",
    help="The server: redis://[user:password@]host:port, rediss:// or unix:///path.",
)
@click.option("--copy", "own", is_flag=True, help="Share no file with the server's data.")
@click.option("--json", "in_json", is_flag=True, help="Print the outcome as JSON.")
def backup(directory: str, url: str, own: bool, in_json: bool) -> None:
    """Let the server make a checkpoint in DIR, which is new or empty, and verify every byte of it.

    The server goes on meanwhile. It must run on this machine, and may write to DIR: the path is the
    server's. A server elsewhere makes its checkpoint there; run respq backup there.

    \b
    respq backup /backups/monday && respq restore /backups/monday --data-dir respq-data
    Exit codes: 0 made and sound, 1 not, 2 asked wrongly.
    """
    from lsmstore.errors import StorageError
    from lsmstore.fs import OsFS
    from lsmstore.survey import store_bytes
    from tools.care.copying import unshare
    from tools.care.verdict import judge

    path = absolute(directory)
    if os.path.isdir(path) and os.listdir(path):
        refuse("backup", f"{path} is not empty", "respq backup with a directory that is new")
    told = _ask(url, ["XQ.CHECKPOINT", path])
    made = {name.decode(): value for name, value in told.items()}
    if not os.path.exists(f"{path}/CURRENT"):
        refuse(
            "backup",
            f"the server at {url} made the checkpoint {path} on its own machine, where this "
            "command cannot see it: it is not verified",
            f"respq check {path}, on that machine",
            FAILED,
        )
    fs = OsFS()
    copied = made["files-copied"]
    try:
        with progress_bar("verifying", store_bytes(fs, path)) as progress:
            if own:
                copied += unshare(path, progress)
            verdict = judge(fs, path, progress)
    except (StorageError, OSError) as error:
        refuse("backup", f"{path} cannot be read: {error}", f"ls -l {path}", FAILED)
    linked = made["files-linked"] if not own else 0
    if in_json:
        print_json({**verdict.as_json(), "files_linked": linked, "files_copied": copied})
    else:
        held = verdict.holdings
        click.echo(
            f"{path}: {held.keys} keys, {held.streams} streams, {held.entries} entries, "
            f"{held.pending} pending, up to record {made['lsn']}; {human(verdict.bytes)}, "
            f"{linked} files linked, {copied} copied"
        )
    if not verdict.sound:
        say("backup", f"it is not sound; try: respq check {path}")
        raise SystemExit(FAILED)
    if linked:
        say("backup", "it shares files with the server's data; --copy makes it independent")
    raise SystemExit(DONE)


def _ask(url: str, words: list[str]) -> dict[bytes, Any]:
    """The reply to a command, a map."""
    from redis import Redis
    from redis.exceptions import RedisError, ResponseError

    try:
        client = Redis.from_url(url, socket_timeout=None, protocol=3)
    except ValueError as error:
        refuse("backup", str(error), f"respq backup DIR -u {URL}", ASKED_WRONGLY)
    try:
        reply: dict[bytes, Any] = client.execute_command(*words)  # type: ignore[no-untyped-call]
        return reply
    except ResponseError as error:
        refuse("backup", f"the server says: {error}", f"respq cli -u {url} INFO server", FAILED)
    except (RedisError, OSError) as error:
        refuse("backup", f"no server at {url}: {error}", f"respq cli -u {url} PING", FAILED)
    finally:
        client.close()


@click.command(short_help="Bring a backup back.")
@click.argument("source", metavar="BACKUP", type=click.Path())
@click.option("--data-dir", required=True, metavar="DIR", help="Where to: new or empty.")
@click.option("--link", is_flag=True, help="Link files that never change, where that is possible.")
@click.option("--json", "in_json", is_flag=True, help="Print the outcome as JSON.")
def restore(source: str, data_dir: str, link: bool, in_json: bool) -> None:
    """Copy BACKUP, a backup or a checkpoint, to a directory that a server can be started on.

    BACKUP is verified before and DIR after; BACKUP stays as it is.

    \b
    respq restore /backups/monday --data-dir respq-data && respq serve --dir respq-data
    Exit codes: 0 restored and sound, 1 not, 2 asked wrongly.
    """
    from lsmstore.errors import Locked, StorageError
    from lsmstore.fs import OsFS
    from lsmstore.survey import store_bytes
    from tools.care.copying import copy_store
    from tools.care.verdict import judge

    origin, target = absolute(source), absolute(data_dir)
    if not os.path.exists(f"{origin}/CURRENT"):
        refuse("restore", f"{origin} holds no backup", "respq check BACKUP")
    if os.path.exists(target) and (not os.path.isdir(target) or os.listdir(target)):
        refuse("restore", f"{target} is not empty", "respq restore BACKUP --data-dir NEW")
    if f"{target}/".startswith(f"{origin}/"):
        refuse("restore", f"{target} is within {origin}", "respq restore BACKUP --data-dir NEW")
    fs = OsFS()
    size = store_bytes(fs, origin)
    try:
        with progress_bar("restoring", 3 * size) as progress:
            before = judge(fs, origin, progress)
            if not before.sound:
                refuse(
                    "restore", f"{origin} is damaged", f"respq repair {origin}, which says", FAILED
                )
            linked = copy_store(origin, target, link=link, progress=progress)
            after = judge(fs, target, progress)
    except Locked:
        refuse("restore", f"a server has {origin} open", "respq backup DIR, then restore that")
    except (StorageError, OSError) as error:
        refuse("restore", f"{target} was not made: {error}", f"df -h {target}", FAILED)
    if in_json:
        print_json({**after.as_json(), "files_linked": linked})
    else:
        held = after.holdings
        click.echo(
            f"{target}: {held.keys} keys, {held.streams} streams, {held.entries} entries, "
            f"{held.pending} pending; {human(after.bytes)}, {linked} files linked"
        )
    if not after.sound:
        say("restore", f"it is not sound; try: respq check {target}")
        raise SystemExit(FAILED)
    say("restore", f"to serve it: respq serve --dir {target}")
    raise SystemExit(DONE)
