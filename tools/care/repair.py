"""``respq repair``: a damaged data directory made sound, with an exact account of what is lost.

Without ``--yes`` it shows what it would do. The plan is made by doing it beside, in
``DIR/repairing``, which is removed again; so the account is the one that a repair would give.
Where the directory cannot be written, a temporary directory takes its place.

Rule: one lock is held from the first look to the last step, and ``DIR/repairing`` is only touched
under it. As soon as a repair is decided (tools/care/placing.py), its work is never thrown away.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from lsmstore.fs import File
    from tools.care.mend import Repair


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
    from lsmstore.view import lock_to_read

    path = absolute(directory)
    if not any(os.path.exists(f"{path}/{name}") for name in ("CURRENT", "seg", "wal")):
        refuse("repair", f"{path} holds no store", "respq check DIR")
    fs = OsFS()
    lock: File | None = None
    try:
        try:
            lock = fs.lock(f"{path}/LOCK")
            writable = True
        except BlockingIOError:
            raise Locked(path) from None
        except OSError:
            if yes:
                raise
            lock, writable = lock_to_read(fs, path), False
        if writable:
            _go_on(path, yes, in_json)
        account = _repair(path, yes, writable)
    except Locked:
        refuse("repair", f"a server has {path} open", "respq cli SHUTDOWN, then respq repair DIR")
    except (StorageError, OSError) as error:
        why = error if isinstance(error, StorageError) else translate(error, path)
        refuse("repair", f"{path} was not repaired: {why}", f"df -h {path}", FAILED)
    finally:
        if lock is not None:
            lock.close()
    if in_json:
        print_json(account.as_json())
    else:
        click.echo("\n".join(account.lines()))
    if account.verdict is None or not account.verdict.sound:
        for finding in [] if account.verdict is None else account.verdict.findings:
            say("repair", f"still wrong: {finding.what}")
        refuse(
            "repair",
            "what came of it is not sound, so nothing was changed",
            f"respq check {path}",
            FAILED,
        )
    if not yes:
        say("repair", f"nothing was changed; to do it: respq repair {path} --yes")
        raise SystemExit(FAILED)
    say("repair", f"done; what was set aside is in {account.quarantine}")


def _repair(path: str, yes: bool, writable: bool) -> Repair:
    """Make the new state of a directory whose lock is held, and put it in place if asked to."""
    from lsmstore.survey import store_bytes
    from tools.care.mend import Builder
    from tools.care.placing import WORK, decide, is_complete
    from tools.care.verdict import HeldFS, judge

    temporary = "" if writable else tempfile.mkdtemp(prefix="respq-repair-")
    work = f"{temporary or path}/{WORK}"
    try:
        with progress_bar("reading", 2 * store_bytes(HeldFS(), path)) as progress:
            if judge(HeldFS(), path, progress).sound:
                click.echo("sound: there is nothing to repair")
                raise SystemExit(DONE)
            account = Builder(path, work, progress).build()
        if yes and account.verdict is not None and account.verdict.sound:
            decide(path, account)
            _put_in_place(path)
    finally:
        if temporary or not is_complete(path):
            shutil.rmtree(temporary or work, ignore_errors=True)
    return account


def _go_on(path: str, yes: bool, in_json: bool) -> None:
    """End what an earlier repair has decided, if there is such a thing."""
    from tools.care.placing import (
        REPORT_JSON,
        REPORT_TEXT,
        WORK,
        Phase,
        is_complete,
        phase,
        read_plan,
    )

    if not is_complete(path):
        return
    plan = read_plan(path)
    where = phase(path, plan)
    if where is Phase.OVERTAKEN:
        why = (
            f"{path}/{WORK} is of an earlier repair that did not end, "
            "and CURRENT has changed since: its state is not the newest"
        )
        refuse("repair", why, f"rm -r {path}/{WORK}, then respq repair {path}", FAILED)
    if where is Phase.DONE:
        _finish(path)
    elif yes:
        _put_in_place(path)
        say("repair", f"an earlier repair is done; what was set aside is in {plan.quarantine}")
    else:
        click.echo(plan.report(REPORT_JSON if in_json else REPORT_TEXT), nl=False)
        say("repair", f"an earlier repair did not end; to go on: respq repair {path} --yes")
        raise SystemExit(FAILED)


def _put_in_place(path: str) -> None:
    """Put in place what is decided; after an error it can be gone on with."""
    from tools.care.placing import put_in_place, read_plan

    try:
        put_in_place(path, read_plan(path))
    except OSError as error:
        why = f"{error}; the new state is kept, and the next repair goes on with it"
        refuse("repair", why, f"respq repair {path} --yes", FAILED)
    _finish(path)


def _finish(path: str) -> None:
    from tools.care.placing import WORK, finish

    try:
        finish(path)
    except OSError as error:
        say("repair", f"the repair is done, but {path}/{WORK} could not be removed: {error}")
