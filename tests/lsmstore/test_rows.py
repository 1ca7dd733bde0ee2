"""State rows against a dict: any sequence of flushes, merges, reopenings; and the pieces alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmstore import bloom, rows
from lsmstore.cache import BlockCache
from lsmstore.compaction import choose_rows
from lsmstore.errors import Corruption
from lsmstore.health import Health
from lsmstore.options import StoreOptions
from lsmstore.rowfile import RowBlock, RowFile, write_row_file
from lsmstore.simfs import SimFS
from lsmstore.store import Store
from tests.lsmstore.support import SMALL, compact, open_store, seeded

KEYS = st.binary(max_size=3) | st.sampled_from([b"key%d" % i for i in range(40)])
VALUES = st.none() | st.binary(max_size=40) | st.binary(min_size=200, max_size=300)
BATCHES = st.lists(st.dictionaries(KEYS, VALUES, max_size=25), min_size=1, max_size=12)


@settings(max_examples=120, deadline=None)
@given(batches=BATCHES, bounds=st.tuples(KEYS, KEYS), reopen=st.integers(0, 12))
def test_rows_are_a_dict_however_they_are_flushed_and_merged(
    batches: list[dict[bytes, bytes | None]], bounds: tuple[bytes, bytes], reopen: int
) -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    model: dict[bytes, bytes] = {}
    for i, batch in enumerate(batches):
        work = store.begin_flush(store.written_lsn)
        for key, value in batch.items():
            work.add_row(key, value)
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        work.write()
        work.install()
        if i % 2:
            compact(store)
            assert store.stats()["row_files"] <= SMALL.row_files_max
        if i == reopen:
            store.close()
            store, _ = open_store(fs)
    compare(store, model, batches, bounds)
    store.close()
    again, _ = open_store(fs)
    compare(again, model, batches, bounds)


def compare(
    store: Store,
    model: dict[bytes, bytes],
    batches: list[dict[bytes, bytes | None]],
    bounds: tuple[bytes, bytes],
) -> None:
    assert list(store.scan_rows(b"", None)) == sorted(model.items())
    low, high = min(bounds), max(bounds)
    within = [(key, value) for key, value in sorted(model.items()) if low <= key < high]
    assert list(store.scan_rows(low, high)) == within
    for batch in batches:
        for key in batch:
            assert store.get_row(key) == model.get(key)
            assert store.get_row(key + b"\0") == model.get(key + b"\0")


@given(st.lists(st.integers(1, 10**6), max_size=30))
def test_a_merge_leaves_at_most_so_many_files_and_takes_the_newest(newest_first: list[int]) -> None:
    for files_max in (2, 3, 8):
        first, end = choose_rows(newest_first, files_max)
        assert first == 0
        assert end <= len(newest_first)
        if len(newest_first) > files_max:
            assert end >= 2
            assert len(newest_first) - end + 1 <= files_max
        else:
            assert end == 0


def test_rows_are_rewritten_a_logarithmic_number_of_times() -> None:
    files: list[int] = []
    written = 0
    flushes = 2000
    for _ in range(flushes):
        files.insert(0, 1)
        written += 1
        _, end = choose_rows(files, 8)
        if end:
            files[:end] = [sum(files[:end])]
            written += files[0]
    assert sum(files) == flushes
    assert written <= 7 * flushes


def test_tombstones_go_with_the_oldest_file_and_not_before() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    tombstones = []
    for i in range(12):
        work = store.begin_flush(0)
        work.add_row(b"key", None if i % 2 else b"v" * (200 if i == 0 else 1))
        work.write()
        work.install()
        compact(store)
        tombstones.append(sum([file.tombstones for file in store._files.row_files]))
        assert store.get_row(b"key") == (None if i % 2 else b"v" * (200 if i == 0 else 1))
    assert max(tombstones) >= 1
    assert min(tombstones[3:]) == 0


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=20), min_size=1, max_size=5))
def test_merge_takes_the_newest_of_each_key(sources: list[dict[bytes, bytes | None]]) -> None:
    expected: dict[bytes, bytes | None] = {}
    for source in reversed(sources):
        expected.update(source)
    merged = list(rows.merge([sorted(s.items()) for s in sources], keep_tombstones=True))
    assert merged == sorted(expected.items(), key=lambda row: row[0])
    live = list(rows.merge([sorted(s.items()) for s in sources], keep_tombstones=False))
    assert live == [row for row in merged if row[1] is not None]


def test_the_filter_never_denies_a_key_and_rarely_invents_one() -> None:
    keys = [b"key-%d" % i for i in range(5000)]
    bits, size = bloom.build([bloom.key_hash(key) for key in keys])
    assert all(bloom.may_contain(bits, size, bloom.key_hash(key)) for key in keys)
    invented = sum(
        [bloom.may_contain(bits, size, bloom.key_hash(b"no-%d" % i)) for i in range(20_000)]
    )
    assert invented < 400
    assert len(bits) == (12 * 5000 + 7) // 8


def test_a_lookup_of_an_absent_key_rarely_reads_a_block() -> None:
    fs = SimFS()
    fs.mkdir("/r")
    meta = write_row_file(
        fs,
        "/r/1.row",
        1,
        1,
        (0, 5),
        [(b"k%05d" % (2 * i), b"v%d" % i) for i in range(3000)],
        SMALL,
        Health(),
    )
    assert meta is not None
    assert (meta.rows, meta.after_lsn, meta.upto_lsn) == (3000, 0, 5)
    cache = BlockCache(1 << 20)
    file = RowFile(fs, "/r/1.row", 1, {}, cache)
    for i in range(3000):
        key = b"k%05d" % (2 * i + 1)
        assert file.find(key, bloom.key_hash(key)) == (False, None)
    assert cache.hits + cache.misses < 80
    for i in range(0, 3000, 17):
        key = b"k%05d" % (2 * i)
        assert file.find(key, bloom.key_hash(key)) == (True, b"v%d" % i)


def test_no_rows_make_no_file() -> None:
    fs = SimFS()
    fs.mkdir("/r")
    assert write_row_file(fs, "/r/1.row", 1, 1, (0, 0), [], SMALL, Health()) is None
    assert fs.listdir("/r") == []


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\1\0\0\0", b"\1\0\0\0" + bytes(8) + b"x"])
def test_a_block_whose_lengths_do_not_add_up_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="row block"):
        RowBlock(data)


def test_the_cache_is_bounded_and_forgets_the_least_recently_used() -> None:
    cache = BlockCache(10 * 1200)
    for i in range(10):
        cache.put((1, i), bytes(1000))
    assert cache.bytes_used == 10 * 1200
    assert cache.get((1, 0)) is not None
    cache.put((1, 10), bytes(1000))
    assert cache.get((1, 1)) is None
    assert cache.get((1, 0)) is not None
    cache.put((1, 99), bytes(9000))
    assert cache.get((1, 99)) is None, "one item must not push out all others"
    cache.put((1, 0), b"other")
    assert cache.get((1, 0)) == bytes(1000)
    assert cache.bytes_used <= cache.capacity_bytes


def test_damage_to_a_row_block_is_no_missing_key() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    work = store.begin_flush(0)
    for i in range(50):
        work.add_row(b"key%03d" % i, b"value%03d" % i)
    work.write()
    work.install()
    path = store._files.row_files[0].path
    fs.flip_bit(path, 40 + 30, 2)
    with pytest.raises(Corruption):
        store.get_row(b"key000")
    with pytest.raises(Corruption):
        list(store.scan_rows(b"", None))
    assert store.get_row(b"key049") == b"value049"


def test_a_scan_is_of_the_moment_it_began() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    for round_number in range(2):
        work = store.begin_flush(0)
        for i in range(60):
            work.add_row(b"key%03d" % i, b"%d" % round_number)
        work.write()
        if round_number == 1:
            scan = store.scan_rows(b"", None)
            head = [next(scan) for _ in range(5)]
            work.install()
            assert {value for _, value in [*head, *scan]} == {b"0"}
        else:
            work.install()
    assert {value for _, value in store.scan_rows(b"", None)} == {b"1"}


def test_merge_reads_lazily() -> None:
    endless = ((b"%09d" % i, b"v") for i in range(10**9))
    merged = rows.merge([endless], keep_tombstones=True)
    assert [next(merged)[0] for _ in range(3)] == [b"000000000", b"000000001", b"000000002"]


def test_many_rows_added_in_any_order_are_written_in_theirs() -> None:
    rng = seeded(3)
    fs = SimFS()
    store, _ = open_store(fs, StoreOptions())
    model: dict[bytes, bytes] = {}
    for _ in range(2):
        work = store.begin_flush(0)
        keys = [b"key%07d" % rng.randrange(10**6) for _ in range(5000)]
        for key in keys:
            model[key] = b"%d" % rng.randrange(1000)
            work.add_row(key, model[key])
        work.write()
        work.install()
    assert list(store.scan_rows(b"", None)) == sorted(model.items())
    assert [store.get_row(key) for key in keys] == [model[key] for key in keys]
