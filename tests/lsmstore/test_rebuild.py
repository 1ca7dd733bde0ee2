"""A manifest made from files knows which of them a merge has put into others."""

from __future__ import annotations

from lsmstore.compaction import Kind
from lsmstore.rebuild import rebuild
from lsmstore.simfs import SimFS
from tests.lsmstore.support import PATH, compact, fill, flush, open_store, simulated


def contents(fs: SimFS) -> dict[str, bytes]:
    return {name: bytes(fs._inode(f"{PATH}/seg/{name}").live) for name in fs.listdir(f"{PATH}/seg")}


def put(fs: SimFS, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        if not fs.exists(f"{PATH}/seg/{name}"):
            fs.create(f"{PATH}/seg/{name}").pwrite(data, 0)


def test_files_that_a_merge_has_replaced_are_left_out() -> None:
    store, _ = open_store(SimFS())
    fs = simulated(store)
    for floor in range(20, 160, 20):
        fill(store, floor - store.written_lsn)
        flush(store, floor)
    merges = 0
    while True:
        before = contents(fs)
        if compact(store, 1) == 0:
            break
        merges += 1
        while store.is_untidy:
            store.prepare_spare()
        replaced = {name: before[name] for name in set(before) - set(contents(fs))}
        put(fs, replaced)  # as if a crash had come before they were removed
        found, version = rebuild(fs, PATH).version, store.version
        assert found.row_files == version.row_files
        assert found.segments == version.segments
        assert found.floor_lsn == version.floor_lsn
        for name in replaced:
            fs.unlink(f"{PATH}/seg/{name}")
    assert merges > 2
    assert store.compactions[Kind.ROWS] > 0
    assert store.compactions[Kind.JOIN] > 0
    store.close()


def test_a_merge_that_is_not_whole_is_left_out() -> None:
    """Of several outputs the last is missing: the inputs stand for themselves."""
    store, _ = open_store(SimFS())
    fs = simulated(store)
    for floor in range(1000, 5000, 1000):
        fill(store, floor - store.written_lsn)
        flush(store, floor)
    before, version = contents(fs), rebuild(fs, PATH).version
    compact(store)
    outputs = [number for number, meta in store.version.segments.items() if meta.sid]
    after = contents(fs)
    store.close()
    assert len(outputs) > 1
    crashed, _ = open_store(SimFS())
    crashed.close()
    empty = simulated(crashed)
    put(empty, before)
    put(empty, {name: after[name] for name in [f"{number:08d}.seg" for number in outputs[:-1]]})
    found = rebuild(empty, PATH).version
    assert found.segments == version.segments
    put(empty, {f"{outputs[-1]:08d}.seg": after[f"{outputs[-1]:08d}.seg"]})
    assert set(outputs) <= set(rebuild(empty, PATH).version.segments)
