"""A store copied to another directory: for ``respq restore``, and for backups that share nothing.

Rules: CURRENT comes last, after all else is durable, so what was interrupted is no store. Files of
``seg/`` never change and may be linked; log and manifest are always copied, because who opens a
store goes on with them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from lsmstore.fs import OsFS
from lsmstore.logfile import LIVE_SUFFIX
from lsmstore.manifest import CURRENT, manifest_name, read_current

COPY_BYTES: Final = 1 << 20
TEMPORARY: Final = ".copy"

Progress = Callable[[int], None]


def copy_store(source: str, target: str, *, link: bool, progress: Progress) -> int:
    """Copy a store that nobody writes to into a new or empty directory; how many were linked.

    Raises OSError, with nothing left behind.
    """
    fs = OsFS()
    number = read_current(fs, source)
    assert number is not None
    existed = os.path.isdir(target)
    linked = 0
    try:
        for directory in (target, f"{target}/seg", f"{target}/wal"):
            fs.mkdir(directory)
        for name in _files(source, manifest_name(number)):
            if link and name.startswith("seg/"):
                with suppress(OSError):
                    os.link(f"{source}/{name}", f"{target}/{name}")
                    linked += 1
                    continue
            copy_file(f"{source}/{name}", f"{target}/{name}", progress)
        for directory in (f"{target}/seg", f"{target}/wal", target):
            fs.fsync_dir(directory)
        copy_file(f"{source}/{CURRENT}", f"{target}/{CURRENT}", progress)
        fs.fsync_dir(target)
    except BaseException:
        for name in (CURRENT, manifest_name(number)):
            with suppress(OSError):
                os.unlink(f"{target}/{name}")
        for name in ("seg", "wal") if existed else (".",):
            shutil.rmtree(os.path.normpath(f"{target}/{name}"), ignore_errors=True)
        raise
    return linked


def unshare(path: str, progress: Progress) -> int:
    """Replace hard links in a checkpoint by copies of their own; how many there were."""
    found = 0
    for name in sorted(os.listdir(f"{path}/seg")):
        file = f"{path}/seg/{name}"
        if os.stat(file).st_nlink > 1:
            copy_file(file, file + TEMPORARY, progress)
            os.rename(file + TEMPORARY, file)
            found += 1
    OsFS().fsync_dir(f"{path}/seg")
    return found


def copy_file(source: str, target: str, progress: Progress) -> None:
    """Copy a file, durably but for its name."""
    with open(source, "rb") as origin, open(target, "xb") as copy:
        while data := origin.read(COPY_BYTES):
            copy.write(data)
            progress(len(data))
        copy.flush()
        os.fsync(copy.fileno())


def _files(source: str, manifest: str) -> Iterator[str]:
    """What a store consists of, but for CURRENT."""
    for name in sorted(os.listdir(f"{source}/seg")):
        yield f"seg/{name}"
    for name in sorted(os.listdir(f"{source}/wal")):
        if name.endswith(LIVE_SUFFIX):
            yield f"wal/{name}"
    yield manifest
