"""What ``respq check`` finds, as data: used by whoever made a directory and wants to know it sound.

Rules: nothing is written. Files come first (lsmstore/survey.py); what they add up to
(streams/verify.py) is only looked at where all of them can be opened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from cluster.slots import key_slot
from lsmstore.errors import Corruption, StorageError
from lsmstore.fs import FileSystem, OsFS
from lsmstore.survey import StoreSurvey, survey_store
from lsmstore.view import LOCK, StoreView, lock_to_read
from streams.verify import Holdings, verify


class HeldFS(OsFS):
    """What whoever holds the lock of a directory sees: all but that lock."""

    def exists(self, path: str) -> bool:
        return os.path.basename(path) != LOCK and super().exists(path)


class Finding(NamedTuple):
    """One thing that is wrong."""

    file: str
    """Relative to the directory; empty where it is about what files add up to."""
    offset: int
    what: str


@dataclass
class Verdict:
    """Whether a directory is sound, and what it holds."""

    path: str
    findings: list[Finding] = field(default_factory=list)
    holdings: Holdings = field(default_factory=Holdings)
    segments: int = 0
    row_files: int = 0
    bytes: int = 0
    last_lsn: int = 0
    epoch: int = 0
    leftovers: list[str] = field(default_factory=list)
    state_checked: bool = False
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "path": self.path,
            "sound": self.sound,
            "findings": [finding._asdict() for finding in self.findings],
            "state_checked": self.state_checked,
            **asdict(self.holdings),
            "segments": self.segments,
            "row_files": self.row_files,
            "bytes": self.bytes,
            "epoch": self.epoch,
            "last_lsn": self.last_lsn,
            "leftovers": self.leftovers,
            "seconds": round(self.seconds, 3),
        }


def judge(fs: FileSystem, path: str, progress: Callable[[int], None]) -> Verdict:
    """Look at all of a directory. Raises Locked, or another StorageError if there is no store."""
    began = time.perf_counter()
    verdict = Verdict(path)
    lock = lock_to_read(fs, path)
    try:
        survey = survey_store(fs, path, progress)
        _take_files(verdict, survey)
        _check_state(fs, verdict)
    finally:
        if lock is not None:
            lock.close()
    verdict.seconds = time.perf_counter() - began
    return verdict


def found(path: str, error: Corruption) -> Finding:
    """A damage as a finding."""
    return Finding(error.path.removeprefix(f"{path}/"), error.offset, error.why)


def _take_files(verdict: Verdict, survey: StoreSurvey) -> None:
    verdict.findings += [found(verdict.path, error) for error in survey.findings]
    verdict.segments, verdict.row_files = len(survey.segments), len(survey.rows)
    verdict.bytes = sum([segment.size for segment in survey.segments.values()])
    verdict.bytes += sum([rows.size for rows in survey.rows.values()])
    verdict.last_lsn = survey.log.last_lsn
    verdict.epoch = 0 if survey.version is None else survey.version.epoch
    verdict.leftovers = [name.removeprefix(f"{verdict.path}/") for name in survey.leftovers]


def _check_state(fs: FileSystem, verdict: Verdict) -> None:
    """What the files add up to, as far as they can be read."""
    known = {(finding.file, finding.offset) for finding in verdict.findings}
    try:
        view = StoreView.open(fs, verdict.path)
        try:
            for what in verify(view, key_slot, verdict.holdings):
                verdict.findings.append(Finding("", 0, what))
            verdict.state_checked = True
        finally:
            view.close()
    except StorageError as error:
        if not isinstance(error, Corruption):
            verdict.findings.append(Finding("", 0, str(error)))
        elif found(verdict.path, error)[:2] not in known:
            verdict.findings.append(found(verdict.path, error))
