"""``respq repair``: a damaged data directory made sound, with an exact account of what is lost.

Without ``--yes`` it shows what it would do. The plan is made by doing it beside, in
``DIR/repairing``, which is removed again; so the account is the one that a repair would give.
"""

from __future__ import annotations

import os

import click

from tools.care.console import (
    DONE,
    FAILED,
    absolute,
    print_json,
    progress_bar,
    refuse,
    say,
)


@click.command(short_help="Make a damaged data directory sound.")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--yes", is_flag=True, help="Do it; without, only show what would be done.")
@click.option("--json", "in_json", is_flag=True, help="Print the account as JSON.")
def repair(directory: str, yes: bool, in_json: bool) -> None:
    """Rebuild a lost manifest, set damaged files aside, and say exactly what is lost.

    Nothing is deleted: what is damaged goes to DIR/quarantine/<n>, with report.txt and report.json.
    The log ends before its first damage. Lost entries of a stream become deleted ones, so that
    positions, groups and copies stay as they are.

    \b
    Exit codes: 0 sound (now, or already), 1 it could not be done or --yes is missing, 2 it cannot
    be opened.
    """
    from lsmstore.errors import Locked, StorageError, translate
    from lsmstore.fs import OsFS
    from lsmstore.survey import store_bytes
    from tools.care.mend import Builder, discard, is_complete, put_in_place
    from tools.care.verdict import judge

    path = absolute(directory)
    if not any(os.path.exists(f"{path}/{name}") for name in ("CURRENT", "seg", "wal")):
        refuse("repair", f"{path} holds no store", "respq check DIR")
    fs = OsFS()
    lock = None
    try:
        try:
            lock = fs.lock(f"{path}/LOCK")
        except BlockingIOError:
            raise Locked(path) from None
        if is_complete(path):
            say("repair", f"going on where an earlier repair ended: {put_in_place(path, None)}")
        lock.close()
        with progress_bar("reading", 2 * store_bytes(fs, path)) as progress:
            before = judge(fs, path, progress)
            if before.sound:
                click.echo("sound: there is nothing to repair")
                raise SystemExit(DONE)
            lock = fs.lock(f"{path}/LOCK")
            work = Builder(path, progress)
            account = work.build()
        if yes:
            put_in_place(path, account)
        else:
            discard(path)
    except Locked:
        refuse("repair", f"a server has {path} open", "respq cli SHUTDOWN, then respq repair DIR")
    except (StorageError, OSError) as error:
        why = error if isinstance(error, StorageError) else translate(error, path)
        discard(path)
        refuse("repair", f"{path} was not repaired: {why}", f"df -h {path}", FAILED)
    finally:
        if lock is not None:
            lock.close()
    if in_json:
        print_json(account.as_json())
    else:
        click.echo("\n".join(account.lines()))
    if not yes:
        say("repair", f"nothing was changed; to do it: respq repair {path} --yes")
        raise SystemExit(FAILED)
    if account.verdict is None or not account.verdict.sound:
        say("repair", f"not all of it is sound; try: respq check {path}")
        raise SystemExit(FAILED)
    say("repair", f"done; what was set aside is in {account.quarantine}")
