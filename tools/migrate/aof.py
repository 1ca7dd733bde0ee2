"""An append-only file of Redis: a directory with its manifest, or one file.

Rules: the base is RDB or commands, what follows are commands as a replica is sent them. How far the
target is stands there, as for a live source: number of the file and byte in it. A file that ends
within a command or a transaction was cut off by a crash: that end is left out, and said.

Manifest, a line a file: ``file <name> seq <n> type <b|h|i>`` (base, history, incremental).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from streams.rdb.file import RdbFile
from streams.rdb.reader import RdbError
from tools.migrate.apply import Applier, from_mark
from tools.migrate.errors import Refused, Unreachable
from tools.migrate.loader import Loader
from tools.migrate.psync import Offset
from tools.migrate.target import OWN_KEY

MARK: Final = b":aof"
CHUNK_BYTES: Final = 1 << 20
KINDS: Final = ("b", "i")


def files_of(path: Path) -> list[Path]:
    """The files of an AOF in their order. Raises MigrateError."""
    if path.suffix != ".manifest":
        return [path]
    found: list[tuple[str, int, Path]] = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreachable(f"{path} cannot be read: {error}") from None
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        told = dict(zip(words[::2], words[1::2], strict=False))
        if told.keys() < {"file", "seq", "type"} or not told["seq"].isdigit():
            raise Refused(f"{path} is no manifest: {line!r}")
        if told["type"] in KINDS:
            found.append((told["type"], int(told["seq"]), path.parent / told["file"]))
    for _, _, file in found:
        if not file.exists():
            raise Unreachable(f"{path} names {file.name}, which is not there")
    return [file for _, _, file in sorted(found, key=lambda one: (one[0], one[1]))]


def load_aof(path: Path, loader: Loader, owner: dict[str, Any]) -> None:
    """Load all of an AOF. Raises MigrateError."""
    files = files_of(path)
    if not files:
        raise Refused(f"{path} names no files")
    target = loader.target
    known = from_mark(target.mark(MARK)) if loader.policy.resumed else None
    for number, file in enumerate(files):
        offset = Offset(file.name, 0, 0)
        if known is not None and known.replid != file.name:
            if any(known.replid == later.name for later in files[number + 1 :]):
                continue  # the target is in one that follows
            known = None
        if known is not None:
            offset, known = known, None
        is_last = number == len(files) - 1
        _load_one(file, offset, loader, owner, is_first=number == 0, is_last=is_last)
    loader.set_lives()
    target.settle()


def _load_one(
    path: Path,
    offset: Offset,
    loader: Loader,
    owner: dict[str, Any],
    *,
    is_first: bool,
    is_last: bool,
) -> None:
    try:
        with path.open("rb") as file:
            if offset.offset == 0:
                head = file.read(9)
                file.seek(0)
                if head.startswith((b"REDIS", b"VALKEY")):
                    offset.offset = _preamble(file, path, loader)
                if is_first and loader.policy.drops:
                    loader.drop_others()  # what is left of an attempt before
            file.seek(offset.offset)
            applier = Applier(
                *(loader.target, loader.counts, loader.progress, offset, MARK, loader, owner)
            )
            for data in _chunks(file):
                applier.take(data)
                loader.target.settle()
            applier.finish()
    except OSError as error:
        raise Unreachable(f"{path} cannot be read: {error.strerror}") from None
    loader.policy.fresh = False
    if applier.waiting_bytes or applier.in_multi:
        line = f"{path.name} ends within a command at byte {offset.offset}"
        if not is_last:
            raise Refused(f"{line}, and is not the last file", "redis-check-aof says more")
        loader.counts.note(f"{line}: it was cut off there; that end is left out")


def _preamble(file: BinaryIO, path: Path, loader: Loader) -> int:
    """Load the RDB at the beginning of a file; where it ends."""
    loader.target.call(0, "DEL", OWN_KEY + MARK)
    for _ in range(2):
        file.seek(0)
        try:
            rdb = RdbFile(file.read)
            loader.snapshot(rdb)
        except RdbError as error:
            raise Refused(f"{path} is damaged: {error}", "redis-check-aof says more") from None
        if not loader.conflicts:
            break
        loader.policy.remake |= loader.conflicts
        loader.conflicts.clear()
    return rdb.offset


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(CHUNK_BYTES):
        yield data
