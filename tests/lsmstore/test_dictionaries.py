"""Trained dictionaries: where they help, when they are known, what happens without them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from lsmstore.block import Block
from lsmstore.errors import Corruption, DiskFull
from lsmstore.simfs import LOSE_ALL, SimFS
from lsmstore.store import Store
from tests.lsmstore.support import SMALL, compact, open_store

OPTIONS = replace(
    SMALL, dictionary_bytes=4096, dictionaries_max=2, dictionary_run_bytes=4000, frame_bytes=2048
)
WORDS = [random.Random(i).randbytes(12).hex().encode() for i in range(60)]


def blocks(seed: int, first_pos: int, count: int = 60) -> list[Block]:
    """Blocks whose likeness lies further apart than one frame reaches."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        data = b""
        for j in range(4):
            value = b" ".join(rng.choices(WORDS, k=16))
            pos = first_pos + 4 * i + j + 1
            data += b"*2\r\n$%d\r\n%d-0\r\n*2\r\n$1\r\nf\r\n$%d\r\n%s\r\n" % (
                len(b"%d-0" % pos),
                pos,
                len(value),
                value,
            )
        made.append(Block.sealed(data, first_pos + 4 * i))
    return made


def flush(store: Store, seed: int, sid: int = 1) -> None:
    work = store.begin_flush(0)
    end = max([run.end_pos for run in store.runs(sid)], default=0)
    work.add_run(sid, blocks(seed, end), [])
    work.write()
    work.install()


def content(store: Store, sid: int = 1) -> list[bytes]:
    return [store.read_block(run, i).data for run in store.runs(sid) for i in range(run.n_blocks)]


def test_a_dictionary_is_trained_once_shared_and_there_after_a_crash() -> None:
    fs, plain = SimFS(), SimFS()
    store, _ = open_store(fs, OPTIONS)
    without, _ = open_store(plain, replace(OPTIONS, dictionary_bytes=0))
    for seed in range(4):
        flush(store, seed)
        flush(without, seed)
    assert len(store._version.dictionaries) == 1
    assert store.stats()["segment_bytes"] < without.stats()["segment_bytes"] * 9 // 10
    expected = content(without)
    assert content(store) == expected
    compact(store)
    assert b"".join(content(store)) == b"".join(expected)
    after, _ = open_store(fs.crash(random.Random(0), LOSE_ALL), OPTIONS)
    assert b"".join(content(after)) == b"".join(expected)
    off, _ = open_store(fs.crash(random.Random(0), LOSE_ALL), SMALL)
    flush(off, 9)
    assert b"".join(content(off)).startswith(b"".join(expected))


def test_what_does_not_gain_gets_no_dictionary() -> None:
    store, _ = open_store(SimFS(), OPTIONS)
    noise = [random.Random(i).randbytes(700) for i in range(40)]
    work = store.begin_flush(0)
    made = [
        Block.sealed(b"*2\r\n$4\r\n%02d-1\r\n*2\r\n$1\r\nf\r\n$700\r\n%s\r\n" % (i + 10, v), i)
        for i, v in enumerate(noise)
    ]
    work.add_run(1, made, [])
    work.write()
    work.install()
    assert store._version.dictionaries == {}


def test_a_flush_that_finds_the_disk_full_leaves_no_dictionary_behind() -> None:
    fs = SimFS()
    store, _ = open_store(fs, OPTIONS)
    fs.capacity_bytes = fs._used + 4000
    with pytest.raises(DiskFull):
        flush(store, 1)
    assert store._version.dictionaries == {}
    fs.capacity_bytes = None
    flush(store, 2)
    assert len(content(store)) == 60
    assert len(store._version.dictionaries) == 1


def test_a_frame_whose_dictionary_is_unknown_is_damage() -> None:
    store, _ = open_store(SimFS(), OPTIONS)
    flush(store, 1)
    store._version.dictionaries.clear()
    with pytest.raises(Corruption, match="dictionary 1 is unknown"):
        content(store)
