"""The work of ``respq repair``: a sound directory made beside from what is left of a damaged one.

Rules of this file:

1. What is there is only read. The new state is made in another directory, until it is complete,
   durable and checked; putting it in place is tools/care/placing.py.
2. Nothing is deleted because it is damaged: what is to be set aside is named in the account.
3. Sound files stay where they are; the new state links them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from cluster.slots import key_slot
from lsmstore.dictfile import dictionary_path, write_dictionary
from lsmstore.errors import Corruption, StorageError
from lsmstore.files import row_path, segment_path
from lsmstore.fs import OsFS
from lsmstore.health import Health
from lsmstore.logfile import numbers
from lsmstore.manifest import (
    CURRENT,
    PREFIX,
    Manifest,
    manifest_name,
    read_current,
    read_manifest,
)
from lsmstore.options import KIB, StoreOptions
from lsmstore.rebuild import interval_of, read_dictionaries, rebuild
from lsmstore.recovery import LogReader
from lsmstore.rowfile import write_row_file
from lsmstore.salvage import (
    Gap,
    copy_log,
    frames_beyond,
    salvage_rows,
    salvage_segment,
    write_gaps,
)
from lsmstore.store import Store
from lsmstore.survey import RowSurvey, SegmentSurvey, StoreSurvey, survey_files, survey_store
from lsmstore.version import RowFileMeta, SegmentMeta, Version
from lsmstore.view import StoreView
from streams.healing import heal
from streams.logread import added, records
from streams.mending import Loss, Mender
from streams.stream import HEADER
from tools.care.verdict import Finding, Verdict, found, judge

SETTLE_ROUNDS_MAX: Final = 4

Id = tuple[int, int]


@dataclass
class Repair:
    """What was wrong, what came of it, and what is lost."""

    path: str
    findings: list[Finding] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    """Files that go to the quarantine, relative to the directory."""
    lost_records: dict[str, Any] = field(default_factory=dict)
    quarantine: str = ""
    verdict: Verdict | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "path": self.path,
            "findings": [finding._asdict() for finding in self.findings],
            "losses": [_loss_as_json(loss) for loss in self.losses],
            "lost_records": self.lost_records,
            "set_aside": self.set_aside,
            "quarantine": self.quarantine,
            "after": None if self.verdict is None else self.verdict.as_json(),
        }

    def lines(self) -> list[str]:
        """The same for people."""
        lines = ["damage:"]
        for finding in self.findings:
            where = f"{finding.file} at {finding.offset}: " if finding.file else ""
            lines.append(f"  {where}{finding.what}")
        lines.append("lost:" if self.losses or self.lost_records else "lost: nothing")
        lines += [f"  {_told(loss)}" for loss in self.losses]
        if self.lost_records:
            lost = self.lost_records
            lines.append(
                f"  records of the log from {lost['first_lsn']} on: {lost['readable']} of them can "
                f"still be read in the quarantined files, up to {lost['last_lsn']}"
            )
            for stream in lost["streams"]:
                lines.append(
                    f"    stream {stream['sid']}: {stream['entries']} entries "
                    f"{stream['first']} .. {stream['last']}"
                )
        lines.append("set aside:" if self.set_aside else "set aside: nothing")
        lines += [f"  {name}" for name in self.set_aside]
        if self.verdict is not None:
            held = self.verdict.holdings
            lines.append(
                f"after: {held.keys} keys, {held.streams} streams, {held.entries} entries, "
                f"{held.groups} groups, {held.pending} pending"
            )
        return lines


def _text(ident: Id | None) -> str | None:
    return None if ident is None else f"{ident[0]}-{ident[1]}"


def _loss_as_json(loss: Loss) -> dict[str, Any]:
    fields = loss._asdict()
    fields["key"] = loss.key.decode("utf-8", "backslashreplace")
    fields["first"], fields["last"] = _text(loss.first), _text(loss.last)
    return fields


def _told(loss: Loss) -> str:
    about = f"stream {loss.key.decode('utf-8', 'backslashreplace')!r} ({loss.sid}): "
    if not loss.sid:
        about = ""
    much = f" ({loss.entries} of them)" if loss.entries else ""
    ids = f", from about {_text(loss.first)} to about {_text(loss.last)}" if loss.first else ""
    return f"{about}{loss.what}{much}{ids}"


class Builder:
    """Makes the new state of ``path`` in ``work``, which is emptied first."""

    def __init__(self, path: str, work: str, progress: Callable[[int], None]) -> None:
        self._fs = OsFS()
        self._path = path
        self._work = work
        self._progress = progress
        self._options = StoreOptions(log_file_bytes_min=256 * KIB)  # its log is of no use
        self.repair = Repair(path)
        self._version = Version()
        self._gaps: list[Gap] = []
        self._lost_rows: list[tuple[bytes, bytes]] = []
        self._added: dict[int, list[tuple[int, Id]]] = {}
        self._last_lsn = 0

    def build(self) -> Repair:
        """Do it. Raises StorageError or OSError; the damaged directory stays as it is."""
        shutil.rmtree(self._work, ignore_errors=True)
        for name in ("seg", "wal"):
            self._fs.mkdir(f"{self._work}/{name}")
        survey, old = self._look()
        self._take_dictionaries(old)
        for segment in survey.segments.values():
            self._take_segment(segment, old)
        for rows in survey.rows.values():
            self._take_rows(rows, old)
        self._take_log()
        self._write_manifest(1)
        self._mend()
        store = Store.open(self._fs, self._work, self._options)
        self.repair.losses += heal(store, self._gaps, key_slot)
        self._settle()
        self._finish()
        self.repair.verdict = judge(self._fs, self._work, lambda _bytes: None)
        return self.repair

    # -- what is left ---------------------------------------------------------------------------

    def _look(self) -> tuple[StoreSurvey, Version]:
        """What of the store is sound, by the manifest or, without one, by the files."""
        fs, path = self._fs, self._path
        survey = survey_store(fs, path, self._progress)
        version = survey.version or Version()
        gone = self._gone(version)
        if survey.version is None or survey.log.damage or gone:  # it may have lost its end
            rebuilt = rebuild(fs, path)
            merged = gone & rebuilt.replaced
            if merged:
                why = "it has lost its end: it names files that a merge has put into others"
                survey.damage.append(Corruption(f"{path}/{CURRENT}", 0, why))
            behind = rebuilt.version.floor_lsn > version.floor_lsn
            if survey.version is None or behind or merged:
                for number, content in version.dictionaries.items():
                    rebuilt.version.dictionaries.setdefault(number, content)
                version = rebuilt.version
                survey = StoreSurvey(path, survey.damage + survey.log.damage)
                if fs.exists(f"{path}/seg"):
                    survey_files(fs, survey, version, self._progress)
                self._take_unreadable(survey, version, rebuilt.rows, rebuilt.segments)
        names = fs.listdir(f"{path}/seg") if fs.exists(f"{path}/seg") else []
        for number, content in read_dictionaries(fs, f"{path}/seg", names).items():
            version.dictionaries.setdefault(number, content)
        self.repair.findings = [found(path, error) for error in survey.findings]
        new = self._version
        new.epoch, new.epoch_file = version.epoch, version.epoch_file
        new.floor_lsn = version.floor_lsn
        taken = [number for suffix in (".seg", ".row") for number in numbers(names, suffix)]
        new.next_file = max([version.next_file, *[number + 1 for number in taken]])
        new.dictionaries = dict(version.dictionaries)
        return survey, version

    def _gone(self, version: Version) -> set[int]:
        """Numbers of files that a state names and that are not there."""
        directory = f"{self._path}/seg"
        paths = {number: segment_path(directory, number) for number in version.segments}
        paths |= {number: row_path(directory, number) for number in version.row_files}
        return {number for number, path in paths.items() if not self._fs.exists(path)}

    def _take_unreadable(
        self, survey: StoreSurvey, version: Version, rows: list[int], segments: list[int]
    ) -> None:
        """Files that cannot be opened, where no manifest says what they were."""
        directory = f"{self._path}/seg"
        for number in rows:
            path = row_path(directory, number)
            interval = interval_of(self._fs, path, number) or (0, version.floor_lsn)
            version.floor_lsn = max(version.floor_lsn, interval[1])
            version.row_files[number] = RowFileMeta(number, number, 0, *interval, 0)
            damage = [Corruption(path, 0, "it cannot be opened, and there is no manifest")]
            survey.rows[number] = RowSurvey(number, path, damage=damage)
        for number in segments:
            path = segment_path(directory, number)
            interval = interval_of(self._fs, path, number) or (0, version.floor_lsn)
            if interval[1] <= version.floor_lsn:
                version.segments[number] = SegmentMeta(number, 0, *interval, 0, 0)
                damage = [Corruption(path, 0, "it cannot be opened, and there is no manifest")]
                survey.segments[number] = SegmentSurvey(number, path, damage=damage)

    def _take_number(self) -> int:
        self._version.next_file += 1
        return self._version.next_file - 1

    def _take_dictionaries(self, old: Version) -> None:
        for number, content in old.dictionaries.items():
            name = dictionary_path("", number)
            sound = f"{self._path}/seg{name}"
            write_dictionary(self._fs, f"{self._work}/seg", number, content, Health())
            if any(finding.file == f"seg{name}" for finding in self.repair.findings):
                if os.path.exists(sound):
                    self.repair.set_aside.append(f"seg{name}")
            elif os.path.exists(sound):
                os.unlink(f"{self._work}/seg{name}")
                _link(sound, f"{self._work}/seg{name}")

    def _take_segment(self, survey: SegmentSurvey, old: Version) -> None:
        version, meta = self._version, old.segments[survey.number]
        dead = old.dead.get(survey.number)
        if not survey.damage:
            _link(survey.path, segment_path(f"{self._work}/seg", survey.number))
            number = survey.number
            version.segments[number] = meta
        else:
            self._set_aside(survey.path)
            number = self._take_number()
            made, gaps = salvage_segment(
                self._fs,
                survey,
                f"{self._work}/seg",
                number,
                meta,
                old.dictionaries,
                self._options,
            )
            if made is None:
                return
            version.segments[number] = made
            self._gaps += [gap for gap in gaps if dead is None or gap.sid not in dead]
        if dead:
            version.dead[number] = set(dead)
            version.dead_bytes[number] = old.dead_bytes.get(survey.number, 0)

    def _take_rows(self, survey: RowSurvey, old: Version) -> None:
        version, meta = self._version, old.row_files[survey.number]
        if not survey.damage:
            _link(survey.path, row_path(f"{self._work}/seg", survey.number))
            version.row_files[survey.number] = meta
            return
        self._set_aside(survey.path)
        number = self._take_number()
        made, lost = salvage_rows(
            self._fs, survey, f"{self._work}/seg", number, meta, old.dictionaries, self._options
        )
        self._lost_rows += lost
        if made is not None:
            version.row_files[number] = made

    def _set_aside(self, path: str) -> None:
        if os.path.exists(path):
            self.repair.set_aside.append(os.path.relpath(path, self._path))

    def _take_log(self) -> None:
        """The log as far as it can be read; what lies beyond is described."""
        version, wal = self._version, f"{self._path}/wal"
        if not os.path.isdir(wal):
            version.epoch_file = 0
            self._last_lsn = version.floor_lsn
            return
        reader = LogReader(
            self._fs,
            wal,
            floor_lsn=version.floor_lsn,
            epoch=version.epoch,
            epoch_file=version.epoch_file,
            dictionaries=version.dictionaries,
        )
        damaged = False
        try:
            for first_lsn, payload in reader.frames():
                for record in records(first_lsn, payload):
                    entry = added(record)
                    if entry is not None:
                        self._added.setdefault(entry[0], []).append((record.lsn, entry[1]))
        except StorageError:
            damaged = True
        version.epoch_file = reader.chain[-1].number if reader.chain else 0
        copy_log(self._fs, reader, wal, f"{self._work}/wal")
        self._last_lsn = reader.last_lsn
        if damaged:
            self._describe_lost(reader.last_lsn)

    def _describe_lost(self, last_lsn: int) -> None:
        """What the log still says beyond its damage."""
        streams: dict[int, list[Id]] = {}
        readable = 0
        for _, frame in frames_beyond(self._fs, f"{self._path}/wal", last_lsn):
            self._last_lsn = max(self._last_lsn, frame.last_lsn)
            readable += frame.records
            for record in records(frame.first_lsn, frame.payload):
                entry = added(record)
                if entry is not None:
                    streams.setdefault(entry[0], []).append(entry[1])
        self.repair.lost_records = {
            "first_lsn": last_lsn + 1,
            "last_lsn": self._last_lsn,
            "readable": readable,
            "streams": [
                {
                    "sid": sid,
                    "entries": len(idents),
                    "first": _text(min(idents)),
                    "last": _text(max(idents)),
                }
                for sid, idents in sorted(streams.items())
            ],
        }

    # -- the new state --------------------------------------------------------------------------

    def _write_manifest(self, number: int) -> None:
        Manifest(self._fs, self._work, number, self._version, Health()).close()

    def _mend(self) -> None:
        """Make rows and segments fit each other."""
        view = StoreView.open(self._fs, self._work, self._options)
        mender = Mender(view, self._lost_rows, self._added, key_slot)
        mender.run()
        for _, value in view.scan_rows(b"S", b"T"):
            self._last_lsn = max(self._last_lsn, HEADER.unpack_from(value)[1])
        view.close()
        self._lost_ranges()
        self._gaps += mender.gaps
        self._take_mended(mender, 2)

    def _settle(self) -> None:
        """Mend what the log has brought, until nothing is left that does not fit."""
        fs, work = self._fs, self._work
        for _ in range(SETTLE_ROUNDS_MAX):
            view = StoreView.open(fs, work, self._options)
            mender = Mender(view, (), {}, key_slot)
            mender.run()
            view.close()
            if not mender.rows and not mender.gaps:
                return
            number = read_current(fs, work)
            assert number is not None
            self._version = read_manifest(fs, work, number)
            self._take_mended(mender, number + 1)
            store = Store.open(fs, work, self._options)
            self.repair.losses += heal(store, mender.gaps, key_slot)

    def _take_mended(self, mender: Mender, manifest: int) -> None:
        """Files of what was mended, and a manifest that names them."""
        version, directory = self._version, f"{self._work}/seg"
        self.repair.losses += mender.losses
        interval = (version.floor_lsn, version.floor_lsn)
        if mender.rows:
            number = self._take_number()
            made = write_row_file(
                self._fs,
                row_path(directory, number),
                number,
                number,
                interval,
                sorted(mender.rows.items()),
                self._options,
                Health(),
            )
            assert made is not None
            version.row_files[number] = made
        if mender.gaps:
            number = self._take_number()
            version.segments[number] = write_gaps(
                self._fs, directory, number, version.floor_lsn, mender.gaps, self._options
            )
        self._fs.fsync_dir(directory)
        self._write_manifest(manifest)

    def _lost_ranges(self) -> None:
        """Rows of which nothing is known any more."""
        for first, end in self._lost_rows:
            kinds = "all" if not first else f"those from {first[:40]!r} to {end[:40]!r}"
            why = f"state rows are lost: of {kinds} an older version stands, or none"
            self.repair.losses.append(Loss(why))

    def _finish(self) -> None:
        """All is in files now: a manifest that needs no log, above every position ever given."""
        fs, work = self._fs, self._work
        number = read_current(fs, work)
        assert number is not None
        version = read_manifest(fs, work, number)
        version.floor_lsn = max(version.floor_lsn, self._last_lsn)
        version.epoch, version.epoch_file = max(version.epoch, self._version.epoch) + 1, 0
        for name in os.listdir(f"{work}/wal"):
            os.unlink(f"{work}/wal/{name}")
        taken = [
            int(name.removeprefix(PREFIX))
            for name in [*os.listdir(self._path), *os.listdir(work)]
            if name.startswith(PREFIX) and name.removeprefix(PREFIX).isdecimal()
        ]
        with suppress(Corruption):  # a manifest that is missing has its number still
            taken.append(read_current(fs, self._path) or 0)
        new = max(taken) + 1
        Manifest(fs, work, new, version, Health()).close()
        for name in os.listdir(work):
            if name.startswith(PREFIX) and name != manifest_name(new):
                os.unlink(f"{work}/{name}")
        if os.path.exists(f"{work}/LOCK"):
            os.unlink(f"{work}/LOCK")
        fs.fsync_dir(f"{work}/seg")
        fs.fsync_dir(work)


def _link(source: str, target: str) -> None:
    """A sound file under another name; one of another medium is only pointed to."""
    try:
        os.link(source, target)
    except OSError:
        os.symlink(source, target)
