"""Small stores in which everything occurs, for the tests of what looks after them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from click.testing import CliRunner

from lsmstore.fs import FileSystem, OsFS
from lsmstore.options import StoreOptions
from lsmstore.simfs import SimFS
from lsmstore.store import Store
from tests.sim.node import PATH, SMALL, SimNode
from tools.cli import main

WORDY = replace(SMALL, dictionary_bytes=4096, frame_bytes=1024, merge_width=2)


def on_disk(path: Path, options: StoreOptions = SMALL, **more: Any) -> SimNode:
    """A node without sockets on the real filesystem."""
    return SimNode(cast(SimFS, OsFS()), path=str(path), options=options, **more)


def fill(node: SimNode, rounds: int = 4, entries: int = 25) -> None:
    """Streams, groups, deletions, trims, copies, strings, keys that expire; flushes between."""
    rng = random.Random(7)
    words = [random.Random(i).randbytes(9).hex() for i in range(40)]
    node.call("XGROUP", "CREATE", "orders", "g", "0", "MKSTREAM")
    for round_ in range(1, rounds + 1):
        for key in ("orders", "events", "small"):
            for n in range(entries if key != "small" else 2):
                value = " ".join(rng.choices(words, k=6))
                node.call("XADD", key, f"{round_}-{n + 1}", "f", value, "n", n)
        node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 17, "STREAMS", "orders", ">")
        node.call("XACK", "orders", "g", f"{round_}-1", f"{round_}-2")
        node.call("XDEL", "events", f"{round_}-3", f"{round_}-4")
        node.call("XTRIM", "small", "MAXLEN", 3)
        node.call("COPY", "events", f"copy{round_ % 2}", "REPLACE")
        node.call("SET", f"text{round_}", "x" * 40, "PX", 1_000_000 * round_)
        node.call("XADD", "idmp", "IDMP", "p", f"i{round_}", "*", "f", "v")
        node.call("SET", "gone", "x")
        node.call("DEL", "gone")
        if round_ < rounds:
            node.flush()


def fill_with_words(node: SimNode, rounds: int = 5) -> None:
    """Many small streams of words, for which dictionaries are trained."""
    rng = random.Random(7)
    words = [random.Random(i).randbytes(12).hex() for i in range(60)]
    for round_ in range(rounds):
        for i in range(14):
            for n in range(3):
                node.call(
                    "XADD", f"s{i}", f"{round_ + 1}-{n}", "f", " ".join(rng.choices(words, k=14))
                )
        node.flush()


def copy_of(path: Path, to: Path) -> Path:
    shutil.copytree(path, to, ignore=shutil.ignore_patterns("LOCK"))
    return to


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "LOCK"
    }


def flip(path: Path, offset: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def respq(*arguments: str) -> tuple[int, str, str]:
    """Run ``respq``; exit status, standard output and standard error."""
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def files(fs: FileSystem, path: str = PATH) -> Iterator[str]:
    """All files of a store but LOCK and spares."""
    for directory in (path, f"{path}/seg", f"{path}/wal"):
        for name in fs.listdir(directory):
            if name not in {"seg", "wal", "LOCK", "checkpoints"} and ".spare" not in name:
                yield f"{directory}/{name}"


def change_rows(fs: SimFS, rows: dict[bytes, bytes | None]) -> None:
    """Put rows into a closed store that no server would have written."""
    store = Store.open(fs, PATH, SMALL)
    for _ in store.replay():
        pass
    flush = store.begin_flush(store.floor_lsn)
    for key, value in rows.items():
        flush.add_row(key, value)
    flush.write()
    flush.install()
    store.close()


COLUMNED = replace(SMALL, own_frame_bytes=4096, graduate_bytes=1000, dictionary_bytes=0)


def fill_with_measurements(node: SimNode, rounds: int = 4) -> None:
    """One stream of numbers, which a merge puts into columns."""
    rng = random.Random(7)
    heights = [rng.randrange(1 << 20) for _ in range(6)]
    for round_ in range(1, rounds + 1):
        for n in range(100):
            at = rng.randrange(6)
            heights[at] += rng.randrange(-9, 10)
            node.call("XADD", "s", f"{round_}-{n}", "at", at, "height", f"{heights[at] / 100:.2f}")
        node.flush()
