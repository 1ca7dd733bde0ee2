"""What ``respq repair`` has made, put in the place of the damaged state; and what a crash leaves.

``DIR/repairing`` holds the new state. As soon as it holds ``COMPLETE`` too, the plan as JSON, the
repair is decided and only has to be put in place::

    quarantine   the directory for what is set aside      set_aside   files, relative to DIR
    old          what CURRENT says, null if it is missing  new        the manifest it will name

Rules of this file:

1. Files are put in place in an order in which a crash leaves a directory that is not served, never
   one that lacks something silently. CURRENT is switched last.
2. A plan is gone on with only where CURRENT is what it was: whoever opened the store since then
   began a manifest, and may have taken writes.
3. Nothing is deleted because it is damaged, and nothing in the quarantine is replaced.
4. All of it is done under the lock of the directory.
"""

from __future__ import annotations

import json
import os
import shutil
from enum import Enum
from typing import Final, NamedTuple

from lsmstore.fs import OsFS
from lsmstore.logfile import LIVE_SUFFIX
from lsmstore.manifest import CURRENT, CURRENT_NEW, PREFIX
from tools.care.mend import Repair

WORK: Final = "repairing"
QUARANTINE: Final = "quarantine"
COMPLETE: Final = "COMPLETE"
REPORT_TEXT: Final = "report.txt"
REPORT_JSON: Final = "report.json"


class Phase(Enum):
    """How far putting in place had come."""

    BEGUN = "begun"
    DONE = "done"
    OVERTAKEN = "overtaken"


class Plan(NamedTuple):
    """What is to be put in place."""

    quarantine: str
    set_aside: list[str]
    old: str | None
    new: str

    def report(self, name: str) -> str:
        """The account of it."""
        with open(f"{self.quarantine}/{name}", encoding="utf-8") as file:
            return file.read()


def is_complete(path: str) -> bool:
    """Whether a repair is decided."""
    return os.path.exists(f"{path}/{WORK}/{COMPLETE}")


def read_plan(path: str) -> Plan:
    """The plan of a repair that is decided."""
    with open(f"{path}/{WORK}/{COMPLETE}", encoding="utf-8") as file:
        return Plan(**json.load(file))


def phase(path: str, plan: Plan) -> Phase:
    """How far it has come."""
    current = _text(f"{path}/{CURRENT}")
    manifest = _text(f"{path}/{plan.new}")
    if current == f"{plan.new}\n" and manifest == _text(f"{path}/{WORK}/{plan.new}"):
        return Phase.DONE
    return Phase.BEGUN if current in {None, plan.old} else Phase.OVERTAKEN


def decide(path: str, repair: Repair) -> Plan:
    """Make a quarantine with the account, and the plan; from here on it can be gone on with."""
    fs, work = OsFS(), f"{path}/{WORK}"
    names = [int(name) for name in _listed(f"{path}/{QUARANTINE}") if name.isdecimal()]
    quarantine = f"{path}/{QUARANTINE}/{max([0, *names]) + 1}"
    fs.mkdir(f"{quarantine}/seg")
    fs.mkdir(f"{quarantine}/wal")
    repair.quarantine = quarantine
    _write(f"{quarantine}/{REPORT_JSON}", json.dumps(repair.as_json(), indent=2) + "\n")
    _write(f"{quarantine}/{REPORT_TEXT}", "\n".join(repair.lines()) + "\n")
    fs.fsync_dir(quarantine)
    (manifest,) = [name for name in _listed(work) if name.startswith(PREFIX)]
    plan = Plan(quarantine, repair.set_aside, _text(f"{path}/{CURRENT}"), manifest)
    _write(f"{work}/{COMPLETE}.new", json.dumps(plan._asdict()))
    os.rename(f"{work}/{COMPLETE}.new", f"{work}/{COMPLETE}")
    fs.fsync_dir(work)
    return plan


def put_in_place(path: str, plan: Plan) -> None:
    """Make what was built the store, or go on with that. ``finish`` comes after it."""
    fs, work, quarantine = OsFS(), f"{path}/{WORK}", plan.quarantine
    fs.mkdir(f"{path}/seg")
    fs.mkdir(f"{path}/wal")
    for name in plan.set_aside:
        _move(f"{path}/{name}", f"{quarantine}/{name}")
    for name in _listed(f"{work}/seg"):
        if not os.path.exists(f"{path}/seg/{name}"):
            os.link(f"{work}/seg/{name}", f"{path}/seg/{name}")
    for name in _listed(f"{path}/wal"):
        if not name.endswith(LIVE_SUFFIX):
            os.unlink(f"{path}/wal/{name}")  # reserved for the log, and no part of it
            continue
        _move(f"{path}/wal/{name}", f"{quarantine}/wal/{name}")
    for name in _listed(path):
        if name.startswith(PREFIX) and name != plan.new:
            _move(f"{path}/{name}", f"{quarantine}/{name}")
    kept = set(_listed(f"{work}/seg"))
    for name in _listed(f"{path}/seg"):
        if name not in kept:
            _move(f"{path}/seg/{name}", f"{quarantine}/seg/{name}")
    if not os.path.exists(f"{path}/{plan.new}"):
        os.link(f"{work}/{plan.new}", f"{path}/{plan.new}")
    for directory in (f"{path}/seg", f"{path}/wal", f"{quarantine}/seg", f"{quarantine}/wal"):
        fs.fsync_dir(directory)
    fs.fsync_dir(quarantine)
    fs.fsync_dir(path)
    _write(f"{path}/{CURRENT_NEW}", f"{plan.new}\n")
    os.rename(f"{path}/{CURRENT_NEW}", f"{path}/{CURRENT}")
    fs.fsync_dir(path)


def finish(path: str) -> None:
    """Forget a plan that is in place. The repair is done even if this raises OSError."""
    fs, work = OsFS(), f"{path}/{WORK}"
    fs.fsync_dir(path)
    os.unlink(f"{work}/{COMPLETE}")
    fs.fsync_dir(work)
    shutil.rmtree(work)


def _listed(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def _text(path: str) -> str | None:
    """What is in a small file, whatever that is; None if it is missing."""
    try:
        with open(path, encoding="latin-1", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _move(source: str, target: str) -> None:
    """Move a file; one that was moved before is not there any more. Nothing is replaced."""
    if not os.path.exists(source):
        return
    free, n = target, 0
    while os.path.lexists(free):
        n += 1
        free = f"{target}.{n}"
    os.rename(source, free)


def _write(path: str, text: str) -> None:
    """A small file, durable but for its name."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
