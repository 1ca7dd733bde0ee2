"""``respq doctor``: gather what is known of a server, look at it (checks.py), say what helps.

Rules: nothing is changed. The machine is looked at only where the server runs on ours. A bundle is
what was gathered, for a report: no entries, no passwords, no addresses of clients, no arguments of
commands.
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from respserver.clock import SystemClock
from tools.connection import Refused, Server, Trouble, info_fields, talks_to_server
from tools.living.facts import read_consumers, read_groups, read_pending, read_streams
from tools.living.names import stream_names
from tools.living.output import print_json, say
from tools.living.units import Duration

if TYPE_CHECKING:
    from tools.living.checks import Finding, Gathered, Machine

EXIT_FOUND = 3
SYNCS = 9
LOOKED_AT_MAX = 100
SECRET = ("pass", "auth", "secret", "key-file", "users")


def our_machine(server: Server, info: dict[str, str], config: dict[str, str]) -> Machine:
    """What is known of the server's machine."""
    from tools.living.checks import Machine

    machine = Machine()
    clock = SystemClock()
    began_ms, theirs_ms, ended_ms = clock.wall_ms(), server.now_ms(), clock.wall_ms()
    if not began_ms <= theirs_ms <= ended_ms:
        machine.clock_off_ms = theirs_ms - (began_ms + ended_ms) // 2
    pid, folder = info.get("process_id", ""), Path(config.get("dir", ""))
    if not server.is_local or not pid.isdigit() or not folder.is_dir():
        return machine
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
        allowed = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        machine.descriptors = int(allowed.split()[3])
    except (OSError, StopIteration, ValueError):
        pass  # not ours to look at
    there = os.statvfs(folder)
    machine.disk_free = there.f_bavail / max(1, there.f_blocks)
    machine.disk_free_bytes = there.f_bavail * there.f_frsize
    machine.sync_us = sync_us(folder)
    return machine


def sync_us(folder: Path) -> int | None:
    """How long a small sync takes there, on a file without a name; None if we may not write."""
    try:
        file = os.open(folder, os.O_TMPFILE | os.O_WRONLY)
    except OSError:
        return None
    try:
        took = []
        for _ in range(SYNCS):
            began_s = time.perf_counter()
            os.write(file, bytes(4096))
            os.fdatasync(file)
            took.append(time.perf_counter() - began_s)
        return round(median(took) * 1_000_000)
    except OSError:  # the disk is full: that is told otherwise
        return None
    finally:
        os.close(file)


def gather(server: Server, observe_ms: int) -> Gathered:
    """All that is looked at. Raises Trouble."""
    from tools.living.checks import Gathered

    info = info_fields(server.ask("INFO", "everything"))
    (reply,) = server.ask_all([("CONFIG", "GET", "*")])
    told = [] if isinstance(reply, Refused) else [each.decode() for each in reply]
    config = dict(zip(told[::2], told[1::2], strict=True))
    names = stream_names(server)
    earlier = read_groups(server, names)
    if observe_ms > 0:
        time.sleep(observe_ms / 1000)
    groups = read_groups(server, names)
    seen = Gathered(
        info=info,
        config=config,
        streams=read_streams(server, names),
        groups=groups,
        earlier=earlier,
        machine=our_machine(server, info, config),
        now_ms=server.now_ms(),
    )
    for group in groups:
        where = (group.stream, group.name)
        try:
            seen.consumers[where] = read_consumers(server, *where)
            rows = read_pending(server, *where, at_most=LOOKED_AT_MAX) if group.pending else []
        except Refused:  # it went away
            continue
        if rows:
            worst = max(rows, key=lambda row: row.deliveries)
            seen.most_delivered[where] = (worst.id, worst.deliveries)
    return seen


def without_secrets(config: dict[str, str]) -> dict[str, str]:
    """Settings whose values may be shown."""
    return {
        name: "(set)" if value and any(word in name for word in SECRET) else value
        for name, value in config.items()
    }


def bundle(path: Path, server: Server, seen: Gathered, found: list[Finding]) -> None:
    """Write what was gathered. Raises Trouble."""
    import zipfile
    from importlib.metadata import version

    slow = server.ask_all([("SLOWLOG", "GET", 100)])[0]
    slow = [] if isinstance(slow, Refused) else slow
    told: dict[str, Any] = {
        "findings.json": [asdict(each) for each in found],
        "info.json": seen.info,
        "config.json": without_secrets(seen.config),
        "streams.json": [each.to_json() for each in seen.streams],
        "groups.json": [each.to_json() for each in seen.groups],
        "machine.json": asdict(seen.machine)
        | {"system": platform.platform(), "python": platform.python_version()}
        | {"respq": version("respq")},
        "slowlog.json": [
            {"at_s": each[1], "us": each[2], "command": each[3][0].decode("utf-8", "replace")}
            for each in slow
        ],
    }
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in told.items():
                archive.writestr(name, json.dumps(content, indent=2, ensure_ascii=False))
    except OSError as error:
        raise Trouble(f"cannot write {path}: {error.strerror}", "df -h") from None


@click.command(short_help="Find out what is wrong, and what helps.")
@talks_to_server
@click.option(
    "--observe",
    type=Duration(),
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="How long to watch what is pending.",
)
@click.option(
    "--bundle",
    "bundle_path",
    type=click.Path(path_type=Path),
    metavar="FILE.zip",
    help="Write what was looked at, without entries, passwords and addresses.",
)
def doctor(server: Server, in_json: bool, observe: int, bundle_path: Path | None) -> None:
    """Look for what is wrong: limits, disk, syncs, clock, open doors, groups that nobody reads,
    streams that only grow, entries that nobody acknowledges. Each is told with what helps.

    Exit code 0: nothing found; 3: something.

    \b
    respq doctor
    respq doctor --bundle respq-report.zip
    """
    from tools.living.checks import CHECKS, findings

    seen = gather(server, observe)
    found = findings(seen)
    if bundle_path is not None:
        bundle(bundle_path, server, seen, found)
        say(
            f"wrote {bundle_path}: no entries, no passwords, no addresses; do look before you share"
        )
    if in_json:
        for each in found:
            print_json(asdict(each))
    else:
        for each in found:
            click.echo(f"{each.level:<5}{each.check}: {each.text}\n     try: {each.fix}")
        streams, groups = len(seen.streams), len(seen.groups)
        say(
            f"{server.title}: looked at {streams} streams and {groups} groups in {len(CHECKS)} ways"
        )
        if not found:
            click.echo("nothing is wrong")
    if found:
        raise SystemExit(EXIT_FOUND)
