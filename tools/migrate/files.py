"""A file of RDB, read from front to back."""

from __future__ import annotations

from pathlib import Path

from streams.rdb.file import RdbFile
from streams.rdb.reader import RdbError
from tools.migrate.errors import Refused, Unreachable
from tools.migrate.loader import Loader

PASSES_MAX = 2


def load_rdb(path: Path, loader: Loader) -> None:
    """Load a file; once more where some of the target has to be made anew. Raises MigrateError."""
    for _ in range(PASSES_MAX):
        try:
            with path.open("rb", buffering=0) as source:
                file = RdbFile(source.read)
                loader.snapshot(file, path.stat().st_size)
        except RdbError as error:
            raise Refused(
                f"{path} is damaged: {error}",
                "redis-check-rdb says more; what came before is in the target",
            ) from None
        except OSError as error:
            raise Unreachable(f"{path} cannot be read: {error.strerror}") from None
        if not loader.conflicts:
            break
        loader.policy.remake |= loader.conflicts
        loader.conflicts.clear()
    if loader.policy.drops:
        loader.drop_others()
    loader.set_lives()
