"""One bit flips in every byte of every file of a store: it is seen, or it changes nothing.

Each byte gets one flip, of the bit ``offset % 8``. The file alone is looked at first, as
``respq check`` does; where that sees nothing, the whole store is opened and compared. Beside it
whole nodes are opened on flips drawn from a seed: they refuse, or answer an error that names the
file, or answer what they did before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lsmstore.dictfile import read_dictionary
from lsmstore.errors import Corruption
from lsmstore.manifest import read_current, read_manifest
from lsmstore.simfs import SimFS
from lsmstore.survey import survey_log, survey_rows, survey_segment
from lsmstore.version import Version
from tests.care.stores import WORDY, files, fill, fill_with_words
from tests.sim.dump import dump
from tests.sim.node import PATH, SimNode
from tools.care.verdict import judge

WHOLE_NODES = 120
GROUP_READS = ("XREADGROUP", "XREADGROUP", "XCLAIM", "XAUTOCLAIM")  # after an error they differ
OPTIONS = replace(WORDY, dictionary_bytes=1024)


def version_of(fs: SimFS) -> Version:
    number = read_current(fs, PATH)
    assert number is not None
    return read_manifest(fs, PATH, number)


def is_seen(fs: SimFS, path: str, version: Version) -> bool:
    """Whether whoever reads this file notices."""
    name = path.rpartition("/")[2]
    directory = f"{PATH}/seg"
    try:
        if name.endswith(".seg"):
            return bool(
                survey_segment(fs, directory, int(name[:-4]), version, print_nothing).damage
            )
        if name.endswith(".row"):
            return bool(survey_rows(fs, directory, int(name[:-4]), version, print_nothing).damage)
        if name.endswith(".dict"):
            read_dictionary(fs, path, int(name[:-5]))
        elif name.endswith(".wal"):
            return bool(survey_log(fs, PATH, version).damage)
        else:
            version_of(fs)
    except Corruption:
        return True
    return False


def print_nothing(_bytes: int) -> None:
    """Nobody waits for it."""


def log_ends(node: SimNode) -> dict[str, int]:
    """Where the log ends in each of its files: what lies beyond is zeros, or of no meaning."""
    log = node.store._log
    return {old.path: old.end for old in log._older} | {log._current.path: log._end}


def made() -> SimNode:
    """A node with everything, dictionaries included, whose log is marked."""
    node = SimNode(options=OPTIONS)
    fill_with_words(node, rounds=1)
    fill(node, rounds=2, entries=9)
    node.advance(1000)
    return node


@pytest.fixture(scope="module")
def node() -> SimNode:
    return made()


def spots(fs: SimFS, ends: dict[str, int]) -> Iterator[tuple[str, int]]:
    for path in files(fs):
        for offset in range(ends.get(path, len(fs._inode(path).live))):
            yield path, offset


@pytest.mark.slow
def test_after_a_clean_stop_every_flip_is_seen_or_harmless() -> None:
    node = made()
    assert len(node.store._version.dictionaries) > 0
    before = dump(node)
    ends = log_ends(node)
    node.close()
    fs = node.fs.kill()
    ends = {path: end + 48 for path, end in ends.items()}  # the marker
    version = version_of(fs)
    flips = harmless = 0
    for path, offset in spots(fs, ends):
        flips += 1
        fs.flip_bit(path, offset, offset % 8)
        if not is_seen(fs, path, version):
            harmless += 1
            again = SimNode(fs.kill(), options=OPTIONS)
            assert dump(again) == before, f"{path} at {offset} was believed"
        fs.flip_bit(path, offset, offset % 8)
    print(f"{flips} flips, {harmless} of them harmless")
    assert flips > 8_000
    assert harmless < 200, "what is at or below the floor, and the last markers"


@pytest.mark.slow
@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_after_a_crash_every_flip_is_seen_but_in_an_unmarked_frame(appendfsync: str) -> None:
    node = SimNode(appendfsync=appendfsync)
    for n in range(1, 15):
        node.call("XADD", "s", f"{n}-1", "f", "v" * n)
    node.advance(1000)  # synced, and marked
    marked = node.store._log._end
    length = node.call("XLEN", "s")
    node.call("XADD", "s", "99-1", "f", "not marked")
    fs = node.fs.kill()
    version = version_of(fs)
    path = node.store._log._current.path
    end = node.store._log._end
    seen = 0
    for offset in range(end):
        fs.flip_bit(path, offset, offset % 8)
        if is_seen(fs, path, version):
            seen += 1
        else:
            assert offset >= marked - 48, f"{path} at {offset} was believed"
            after = SimNode(fs.kill())
            assert after.call("XLEN", "s") in {length, length + 1}
        fs.flip_bit(path, offset, offset % 8)
    assert seen >= marked - 48


def answers(node: SimNode) -> list[bytes]:
    """What a client is told of everything."""
    found = [node.raw("KEYS", "*"), node.raw("DBSIZE")]
    for key in (
        "orders",
        "events",
        "copy0",
        "copy1",
        "idmp",
        "small",
        *[f"s{i}" for i in range(14)],
    ):
        found.append(node.raw("XRANGE", key, "-", "+"))
        found.append(node.raw("XREVRANGE", key, "+", "-", "COUNT", 3))
        found.append(node.raw("XREAD", "COUNT", 500, "STREAMS", key, "0"))
        found.append(node.raw("DUMP", key))
    found.append(node.raw("GET", "text1"))
    found.append(node.raw("XINFO", "STREAM", "orders", "FULL", "COUNT", 0))
    found.append(node.raw("XPENDING", "orders", "g", "-", "+", 1000))
    found.append(node.raw("XREADGROUP", "GROUP", "g", "c", "STREAMS", "orders", "0"))
    found.append(node.raw("XREADGROUP", "GROUP", "g", "c", "STREAMS", "orders", ">"))
    found.append(node.raw("XCLAIM", "orders", "g", "d", 0, "1-5", "1-6", "2-9"))
    found.append(node.raw("XAUTOCLAIM", "orders", "g", "e", 0, "0"))
    return found


@pytest.mark.slow
def test_a_node_on_a_flip_refuses_answers_an_error_or_what_it_did(node: SimNode) -> None:
    """An error names the file, and what does not need it is answered as before."""
    fs = node.fs.kill()
    before = answers(SimNode(fs.kill(), options=OPTIONS))
    rng = random.Random(5)
    everything = list(spots(fs, log_ends(node)))
    outcomes = {"refused": 0, "answered": 0, "same": 0}
    for path, offset in rng.sample(everything, WHOLE_NODES):
        flipped = fs.kill()
        flipped.flip_bit(path, offset, rng.randrange(8))
        try:
            again = SimNode(flipped, options=OPTIONS)
        except Corruption:
            outcomes["refused"] += 1
            continue
        found = answers(again)
        errors = [reply for reply in found if reply[:1] == b"-"]
        outcomes["answered" if errors else "same"] += 1
        for reply in errors:
            assert path.encode() in reply, (path, offset, reply)
            assert b" is damaged at offset " in reply
        readers = found[: -len(GROUP_READS)], before[: -len(GROUP_READS)]
        for reply, expected in zip(*readers, strict=True):
            assert reply == expected or reply[:1] == b"-", f"{path} at {offset} was believed"
        if not errors:
            assert found == before, f"{path} at {offset} was believed"
        assert again.call("XADD", "orders", "*", "f", "v") or errors
        assert again.call("SET", "fresh", "v") == b"OK"
    print(outcomes)
    assert outcomes["refused"] > 0
    assert outcomes["answered"] > 20


def test_judge_agrees_with_the_parts(node: SimNode) -> None:
    assert judge(node.fs.kill(), PATH, print_nothing).sound
