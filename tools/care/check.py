"""``respq check``: every checksum, every reference, every invariant of a data directory.

It reads and never writes. A directory that a server has open cannot be checked beside it: a
checkpoint of it can.
"""

from __future__ import annotations

import os

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


@click.command(short_help="Verify every byte of a data directory.")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--json", "in_json", is_flag=True, help="Print the verdict as JSON.")
def check(directory: str, in_json: bool) -> None:
    """Verify a data directory, a checkpoint or a backup.

    Every byte of segments, row files, dictionaries, manifest and log is read and held against its
    checksums; then what they add up to: streams, groups, pending entries, keys, copies.

    \b
    Exit codes: 0 sound, 1 damaged, 2 it cannot be opened.
    respq cli XQ.CHECKPOINT now && respq check respq-data/checkpoints/now
    """
    from lsmstore.errors import Locked, StorageError
    from lsmstore.fs import OsFS
    from lsmstore.survey import store_bytes
    from tools.care.verdict import judge

    path = absolute(directory)
    if not os.path.isdir(path):
        refuse("check", f"there is no directory {path}", "respq check DIR")
    if not any(os.path.exists(f"{path}/{name}") for name in ("CURRENT", "seg", "wal")):
        refuse("check", f"{path} holds no store", "respq check DIR/checkpoints/NAME")
    fs = OsFS()
    try:
        with progress_bar("checking", store_bytes(fs, path)) as progress:
            verdict = judge(fs, path, progress)
    except Locked:
        refuse(
            "check",
            f"a server has {path} open",
            f"respq cli XQ.CHECKPOINT now, then respq check {path}/checkpoints/now",
        )
    except (StorageError, OSError) as error:
        refuse("check", f"{path} cannot be read: {error}", f"ls -l {path}", ASKED_WRONGLY)
    if in_json:
        print_json(verdict.as_json())
    else:
        for finding in verdict.findings:
            where = f"{finding.file} at {finding.offset}: " if finding.file else ""
            click.echo(f"{where}{finding.what}")
        held = verdict.holdings
        click.echo(
            f"{'sound' if verdict.sound else 'damaged'}: {held.keys} keys, {held.streams} streams, "
            f"{held.entries} entries, {held.groups} groups, {held.pending} pending; "
            f"{verdict.segments} segments and {verdict.row_files} row files of "
            f"{human(verdict.bytes)}, {held.records} records in the log up to {verdict.last_lsn}"
        )
    if verdict.sound:
        raise SystemExit(DONE)
    say("check", f"{len(verdict.findings)} findings; try: respq repair {path} (it shows its plan)")
    raise SystemExit(FAILED)
