"""The log: what is torn and what is damaged, rotation and recycling, room and reserve."""

from __future__ import annotations

import errno
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from lsmstore import frame
from lsmstore.errors import Corruption, DiskFull, Poisoned
from lsmstore.fs import OsFS
from lsmstore.simfs import LOSE_ALL, MIXED, Rule, SimFS
from lsmstore.store import Store
from tests.lsmstore.support import (
    PATH,
    SMALL,
    Progress,
    check_recovered,
    fill,
    flush,
    open_store,
    payload,
    record,
    seeded,
)

WAL = f"{PATH}/wal"


def read(fs: SimFS, path: str) -> bytes:
    return bytes(fs._inode(path).live)


def put(fs: SimFS, path: str, data: bytes) -> None:
    inode = fs._inode(path)
    inode.live = bytearray(data)
    inode.synced = bytearray(data)


def log_names(fs: SimFS) -> list[str]:
    return [name for name in fs.listdir(WAL) if name.endswith(".wal")]


def records(frames: list[tuple[int, bytes]]) -> int:
    """How many records were replayed; each is compared with what was written."""
    expected = 1
    for first, data in frames:
        assert first == expected
        while data:
            assert data.startswith(record(expected))
            data = data[len(record(expected)) :]
            expected += 1
    return expected - 1


def frame_ends(frames: int) -> list[int]:
    """Where each frame of ``frames`` single records ends in the first log file."""
    end = 48 + 40
    ends = []
    for position in range(1, frames + 1):
        end += 48 + len(record(position))
        ends.append(end)
    return ends


def test_a_log_cut_at_any_byte_gives_the_whole_frames_before_the_cut() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 6)
    path = f"{WAL}/{log_names(fs)[0]}"
    data = read(fs, path)
    ends = frame_ends(6)
    for cut in range(ends[-1] + 20):
        for zeroed in (False, True):
            after = fs.kill()
            left = data[:cut] + bytes(len(data) - cut) if zeroed else data[:cut]
            put(after, path, left)
            whole = sum([end <= cut for end in ends])
            if left[:88] != data[:88]:
                with pytest.raises(Corruption, match=r"00000001\.wal.*head is damaged|is missing"):
                    open_store(after)
                continue
            again, frames = open_store(after)
            assert records(frames) == whole == again.written_lsn
            fill(again, 1)
            again.close()
            assert records(open_store(after)[1]) == whole + 1


def test_frames_are_compressed_where_they_shrink_and_read_by_whoever_opens_the_log() -> None:
    options = replace(SMALL, log_compressed_bytes_min=200)
    written = {}
    for how in (SMALL, options):
        fs = SimFS()
        store, _ = open_store(fs, how)
        for _ in range(5):
            fill(store, 1, each=30)
            fill(store, 1)  # below the least
            store.sync()
        written[how] = store.stats()["log_bytes_written"]
    assert written[options] < written[SMALL] // 2
    path = f"{WAL}/{log_names(fs)[0]}"
    for offset in range(88, 300):
        damaged = fs.kill()
        damaged.flip_bit(path, offset, offset % 8)
        with pytest.raises(Corruption) as caught:
            open_store(damaged, options)
        assert caught.value.path == path
    for how in (options, SMALL):
        again, frames = open_store(fs.kill(), how)
        assert records(frames) == 5 * 31 == again.written_lsn
    before = again.stats()["log_bytes_written"]
    store.commit(random.Random(1).randbytes(1000), 1)
    assert store.stats()["log_bytes_written"] - before > 1000, "it does not shrink"


@pytest.mark.parametrize("synced", [0, 3, 6])
def test_a_flip_is_a_tear_or_refused_and_never_loses_what_a_later_frame_claims(synced: int) -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    for position in range(1, 7):
        fill(store, 1)
        if position == synced:
            store.sync()
    path = f"{WAL}/{log_names(fs)[0]}"
    ends = frame_ends(6)
    claimed = synced if synced < 6 else 0
    refused = 0
    for offset in range(88, ends[-1]):
        after = fs.kill()
        after.flip_bit(path, offset, offset % 8)
        damaged = sum([end <= offset for end in ends])  # whole frames before the flip
        if damaged < claimed:
            with pytest.raises(Corruption) as caught:
                open_store(after)
            assert caught.value.path == path
            assert caught.value.offset == [88, *ends][damaged]
            refused += 1
        else:
            assert records(open_store(after)[1]) == damaged
    assert (refused > 0) == (claimed > 0)


def test_after_a_clean_close_no_flip_in_the_log_goes_unnoticed() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 12, each=7)
    store.sync()
    fill(store, 5)
    used = {}
    log = store._log
    for file in [*log._older, log._current]:
        used[file.path] = file.capacity
    used[log._current.path] = log._end  # what follows is the marker, which holds nothing
    for file, after_file in zip(log._older, [*log._older[1:], log._current], strict=True):
        head = read(fs, after_file.path)[48:88]
        used[file.path] = int.from_bytes(head[32:40], "little")
    assert len(used) > 1
    store.close()
    for path, size in used.items():
        for offset in range(size):
            fs.flip_bit(path, offset, offset % 8)
            with pytest.raises(Corruption):
                open_store(fs.kill())
            fs.flip_bit(path, offset, offset % 8)
    assert records(open_store(fs)[1]) == 12 * 7 + 5


def test_frames_left_in_a_recycled_file_are_not_replayed() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    recycled = 0
    for _ in range(60):
        fill(store, 4, each=5)
        store.sync()
        flush(store, store.written_lsn)
        names = fs.listdir(WAL)
        recycled += any(name.endswith(".spare") for name in names)
        after = fs.crash(random.Random(0), LOSE_ALL)
        again, frames = open_store(after)
        assert frames == []
        assert again.written_lsn == store.written_lsn
    assert recycled > 20
    data = b"".join([read(fs, f"{WAL}/{name}") for name in log_names(fs)])
    assert data.count(b"\xa7\x51") > 10, "there was nothing left over to be misled by"


def test_a_missing_or_exchanged_file_of_the_log_is_refused() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    while len(log_names(fs)) < 4:
        fill(store, 1, each=5)
        store.sync()
    store.close()
    names = log_names(fs)
    for name in names:
        after = fs.kill()
        after.unlink(f"{WAL}/{name}")
        if name == names[-1]:
            continue  # below
        with pytest.raises(Corruption):
            open_store(after)
    for one in range(len(names)):
        for other in range(one):
            after = fs.kill()
            first, second = f"{WAL}/{names[one]}", f"{WAL}/{names[other]}"
            data = read(after, first)
            put(after, first, read(after, second))
            put(after, second, data)
            with pytest.raises(Corruption):
                open_store(after)


def test_the_first_file_of_the_last_epoch_is_missed_even_if_it_is_the_last() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 3)
    store.close()
    again, _ = open_store(fs)
    fill(again, 3)
    again.close()
    last = log_names(fs)[-1]
    fs.unlink(f"{WAL}/{last}")
    with pytest.raises(Corruption, match=last):
        open_store(fs)


def test_a_tear_in_an_older_file_is_a_tear_only_if_nothing_claims_to_have_synced_past_it() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    while len(log_names(fs)) < 3:
        fill(store, 1)
    fill(store, 2)
    first = f"{WAL}/{log_names(fs)[0]}"
    torn = fs.kill()
    data = read(torn, first)
    put(torn, first, data[:500] + bytes(len(data) - 500))
    again, frames = open_store(torn)
    kept = records(frames)
    assert 0 < kept < 10
    assert again.written_lsn == kept
    fill(again, 5)
    again.close()
    assert records(open_store(torn)[1]) == kept + 5
    store.sync()
    fill(store, 1)
    damaged = fs.kill()
    put(damaged, first, data[:500] + bytes(len(data) - 500))
    with pytest.raises(Corruption) as caught:
        open_store(damaged)
    assert caught.value.path == first


def test_nothing_is_written_or_removed_when_opening_is_refused() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 20)
    store.sync()
    fill(store, 1)
    path = f"{WAL}/{log_names(fs)[0]}"
    damaged = fs.kill()
    damaged.flip_bit(path, 300, 1)
    before = damaged.operations
    for _ in range(2):
        with pytest.raises(Corruption):
            open_store(damaged)
    assert damaged.operations == before


def test_a_frame_larger_than_a_file_gets_its_own() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 2)
    big = payload(3, 2000)
    assert len(big) > SMALL.log_file_bytes_max
    assert store.log_room < len(big)
    store.make_room(len(big))
    assert store.log_room >= len(big)
    store.commit(memoryview(big), 2000)
    fill(store, 2)
    store.sync()
    again, frames = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert records(frames) == 2004
    assert again.written_lsn == 2004


def test_room_promised_is_room_given() -> None:
    rng = seeded(5)
    fs = SimFS()
    store, _ = open_store(fs)
    for _ in range(300):
        before = fs.operations
        room = store.log_room
        files = len(fs.listdir(WAL))
        if room < 1:
            store.make_room(rng.randint(1, 9000))
            continue
        size = rng.choice((room, rng.randint(1, room)))
        store.commit(bytes(size), 1)
        assert len(fs.listdir(WAL)) == files, "a commit within the room made a file"
        assert fs.operations - before <= 3
        if rng.random() < 0.3:
            store.sync()
            flush_nothing(store)


def fill_reserving(store: Store) -> None:
    """Commit until there is no room but the reserve."""
    while True:
        size = len(payload(store.next_lsn, 3))
        if store.log_room < size:
            store.make_room(size)
        fill(store, 1, each=3)


def fill_to_the_last(store: Store) -> None:
    """Commit records that free space until the reserve is used up too."""
    while True:
        store.make_room(100, frees_space=True)
        store.commit(bytes(100), 1)


def fill_and_sync(store: Store) -> None:
    fill(store, 1)
    store.sync()


def flush_nothing(store: Store) -> None:
    work = store.begin_flush(store.written_lsn)
    work.write()
    work.install()


def test_a_full_disk_is_refused_before_anything_changed_and_recoverable() -> None:
    fs = SimFS(capacity_bytes=40_000)
    store, _ = open_store(fs)
    with pytest.raises(DiskFull):
        fill_reserving(store)
    store.sync()
    written = store.written_lsn
    files = fs.listdir(WAL)
    with pytest.raises(DiskFull):
        store.make_room(store.log_room + 1)
    assert fs.listdir(WAL) == files
    assert store.written_lsn == written
    size = len(payload(store.next_lsn, 2))
    store.make_room(size, frees_space=True)
    fill(store, 1, each=2)
    store.sync()
    assert store.written_lsn == written + 2, "a record that frees space was refused"
    fs.capacity_bytes = None
    store.make_room(2000)
    fill(store, 1, each=20)
    store.sync()
    _, frames = open_store(fs.crash(random.Random(0), LOSE_ALL))
    assert records(frames) == written + 22


def test_the_reserve_ends_too() -> None:
    fs = SimFS(capacity_bytes=30_000)
    store, _ = open_store(fs)
    with pytest.raises(DiskFull):
        fill_to_the_last(store)
    files = fs.listdir(WAL)
    with pytest.raises(DiskFull):
        store.commit(bytes(5000), 1)
    assert fs.listdir(WAL) == files
    store.sync()
    store.close()


@pytest.mark.parametrize("op", ["pwrite", "fdatasync", "fsync_dir"])
def test_the_first_failure_is_the_last_attempt(op: str) -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 3)
    store.sync()
    while True:  # until the next commit begins a file, which is when fsync_dir has work
        rule = Rule(op=op, path=f"{WAL}*", error=errno.EIO)
        fill(store, 1)
        if op != "fsync_dir" or store._log._directory_dirty:
            break
    durable = store.synced_lsn
    fs.inject(rule)
    with pytest.raises(Poisoned, match="Input/output error"):
        fill_and_sync(store)
    seen = rule.seen
    for _ in range(3):
        with pytest.raises(Poisoned):
            store.sync()
        with pytest.raises(Poisoned):
            store.commit(b"x", 1)
        with pytest.raises(Poisoned):
            store.make_room(10)
        with pytest.raises(Poisoned):
            store.begin_flush(durable)
    store.close()
    assert rule.seen == seen, "a failed call was tried again"
    assert store.synced_lsn == durable
    fs.clear_rules()
    again, frames = open_store(fs.crash(random.Random(1), MIXED))
    assert durable <= records(frames) <= durable + 2
    assert again.written_lsn == records(frames)


def test_a_failed_sync_loses_nothing_that_was_acknowledged_even_if_a_later_one_would_succeed() -> (
    None
):
    fs = SimFS()
    store, _ = open_store(fs)
    fill(store, 4)
    store.sync()
    fill(store, 4)
    fs.inject(Rule(op="fdatasync", path=f"{WAL}/*", error=errno.EIO))
    with pytest.raises(Poisoned):
        store.sync()
    assert store.synced_lsn == 4
    _, frames = open_store(fs.crash(random.Random(1), LOSE_ALL))
    assert records(frames) == 4


def test_short_writes_are_continued() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    fs.inject(Rule(op="pwrite", path=f"{WAL}/*", times=50, short_bytes=13))
    fill(store, 3, each=4)
    store.sync()
    assert records(open_store(fs.crash(random.Random(1), LOSE_ALL))[1]) == 12


def test_a_spare_found_after_a_crash_is_whole() -> None:
    for seed in range(30):
        rng = seeded(seed)
        fs = SimFS()
        store, _ = open_store(fs)
        crashed: list[SimFS] = []
        fs.hook = lambda _n, _op, _path, fs=fs, rng=rng, crashed=crashed: crashed.append(
            fs.crash(rng, MIXED)
        )
        store.prepare_spare()
        fs.hook = None
        crashed.append(fs)
        sizes = {len(fs._inode(f"{WAL}/{n}").live) for n in fs.listdir(WAL) if "spare" in n}
        assert sizes == {8192}
        for after in crashed:
            for name in after.listdir(WAL):
                if name.endswith(".spare"):
                    assert len(after._inode(f"{WAL}/{name}").live) == 8192


def test_compressed_frames_and_frames_with_a_dictionary_are_understood() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    dictionary = zstandard.train_dictionary(
        1024, [b"record %d of a kind %d" % (i, i % 7) for i in range(2000)]
    )
    log = store._log
    raw = payload(1, 40)
    for flags, compressor in (
        (frame.ZSTD, zstandard.ZstdCompressor()),
        (frame.ZSTD | frame.DICTIONARY, zstandard.ZstdCompressor(dict_data=dictionary)),
    ):
        stored = compressor.compress(raw)
        header = frame.encode(
            frame.LOG_MAGIC,
            log.epoch,
            log._current.number,
            flags,
            stored,
            raw_len=len(raw),
            count=40,
            first_lsn=store.next_lsn,
            synced_upto=0,
        )
        log._pwritev((header, stored), log._end)
        log._end += len(header) + len(stored)
        log.written_lsn += 40
        raw = payload(41, 40)
    after = fs.kill()
    with pytest.raises(Corruption, match="dictionary .* is unknown"):
        open_store(after)
    known = Store.open(after, PATH, SMALL)
    known._version.dictionaries[dictionary.dict_id()] = dictionary.as_bytes()
    assert records(list(known.replay())) == 80
    known.close()
    again = Store.open(after, PATH, SMALL)
    assert again._version.dictionaries == {dictionary.dict_id(): dictionary.as_bytes()}


def test_a_zstd_frame_that_states_another_length_is_refused_before_it_is_expanded() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    with pytest.raises(ValueError, match="50000000 bytes in zstd, header says 10"):
        frame.decompress(bomb, 10, {}, with_dictionary=False)


def test_commits_go_on_while_a_thread_syncs(tmp_path: Path) -> None:
    options = replace(SMALL, log_file_bytes_max=65536)
    store = Store.open(OsFS(), str(tmp_path), options)
    assert list(store.replay()) == []
    stop = threading.Event()
    claims: list[int] = []

    def sync_all_the_time() -> None:
        while not stop.is_set():
            written = store.written_lsn
            store.sync()
            assert store.synced_lsn >= written
            claims.append(store.synced_lsn)
            store.prepare_spare()

    thread = threading.Thread(target=sync_all_the_time)
    thread.start()
    try:
        for _ in range(4000):
            fill(store, 1)
    finally:
        stop.set()
        thread.join()
    assert claims == sorted(claims)
    store.sync()
    assert store.synced_lsn == store.written_lsn == 4000
    store.close()
    again = Store.open(OsFS(), str(tmp_path), options)
    assert records(list(again.replay())) == 4000
    again.close()


def test_files_double_and_are_recycled() -> None:
    fs = SimFS()
    store, _ = open_store(fs)
    sizes: list[int] = []
    for _ in range(400):
        store.prepare_spare()
        fill(store, 1, each=10)
        store.sync()
        size = store._log._current.capacity
        if not sizes or sizes[-1] != size:
            sizes.append(size)
        if store.written_lsn % 300 == 0:
            flush(store, store.written_lsn)
    assert sizes[:3] == [4096, 8192, 16384]
    assert set(sizes[2:]) == {16384}
    stats = store.stats()
    assert stats["log_files"] <= 8
    creations = [name for name in fs.listdir(WAL) if int(name.split(".")[0]) > 0]
    assert len(creations) <= 8
    progress = Progress(store.written_lsn, store.written_lsn)
    again, frames = open_store(fs.crash(random.Random(0), LOSE_ALL))
    check_recovered(again, frames, progress)
