"""The pending list against a dict, its stored form, and what a row costs."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.pending import PendingList

U64 = (1 << 64) - 1
U32 = (1 << 32) - 1
MIN, MAX = (0, 0), (U64, U64)
ID = tuple[int, int]

near = st.integers(0, 700)
far = st.sampled_from([0, 1, U32 - 1, U32, U32 + 1, 1 << 40, U64 - 1, U64])
ids = st.one_of(
    st.tuples(st.just(1000), near),
    st.tuples(st.just(1000), near),
    st.tuples(near, st.just(0)),
    st.tuples(far, far),
)
cidxs = st.sampled_from([1, 2, 3, 64, 65, 129, U32])
times = st.integers(0, (1 << 48) - 1)
counts = st.one_of(st.integers(0, 9), st.sampled_from([U32 - 1, U32, U32 + 1, (1 << 63) - 1, U64]))


class PendingMachine(RuleBasedStateMachine):
    """Random changes, checked against a dict after each."""

    @initialize(run=st.booleans(), n=st.integers(0, 600))
    def begin(self, run: bool, n: int) -> None:
        self.list = PendingList()
        self.model: dict[ID, tuple[int, int, int]] = {}
        self.stored: dict[int, bytes] = {}
        self.released: dict[ID, int] = {}  # in which order
        self.releases = 0
        if run:
            self.append_run(1000, n, 1, 5)

    def append_run(self, ms: int, n: int, cidx: int, now: int) -> None:
        new = [(ms, i) for i in range(n)]
        if new and self.list.is_above(*new[0]):
            self.list.append(new, cidx, now)
            self.model.update(dict.fromkeys(new, (cidx, now, 1)))

    @rule(id=ids, cidx=cidxs, now=times, count=counts)
    def put(self, id: ID, cidx: int, now: int, count: int) -> None:
        former = self.model.get(id)
        assert self.list.put(*id, cidx, now, count) == (0 if former is None else former[0] + 1)
        self.model[id] = (cidx, now, count)

    @rule(id=ids, count=counts)
    def release(self, id: ID, count: int) -> None:
        former = self.model.get(id)
        assert self.list.release(*id, count) == (0 if former is None else former[0] + 1)
        self.model[id] = (0, 0, count)
        self.releases += 1
        self.released[id] = self.releases

    @rule(latest=times)
    def pull_back(self, latest: int) -> None:
        self.list.pull_back_to(latest)
        for id, (cidx, now, count) in self.model.items():
            self.model[id] = (cidx, min(now, latest), count)

    @rule(
        limit=st.integers(0, 300),
        latest=st.one_of(times, st.sampled_from([0, 5, 77, 78, 79, (1 << 48) - 1])),
        floor=st.one_of(st.just(MIN), ids),
    )
    def oldest(self, limit: int, latest: int, floor: ID) -> None:
        def age(id: ID) -> tuple[int, int, ID]:
            cidx, now, _ = self.model[id]
            return (0, self.released[id], id) if cidx == 0 else (1, now, id)

        due = [id for id, row in self.model.items() if id >= floor and row[1] <= latest]
        assert self.list.oldest_ids(limit, latest, floor) == sorted(due, key=age)[:limit]

    @rule(first=ids, n=st.integers(1, 300), step=st.sampled_from([1, 1, 1, U32]), cidx=cidxs)
    def append(self, first: ID, n: int, step: int, cidx: int) -> None:
        top = max(self.model, default=(0, 0))
        ms, seq = max(first, (top[0], min(top[1] + 1, U64)))
        run = [(ms, seq + i * step) for i in range(n) if seq + i * step <= U64]
        run = [one for one in run if not self.model or one > top]
        self.list.append(run, cidx, 77)
        self.model.update(dict.fromkeys(run, (cidx, 77, 1)))

    @rule(gaps=st.lists(st.sampled_from([1, 2, U32, U32 + 1]), min_size=1, max_size=20))
    def append_wide(self, gaps: list[int]) -> None:
        ms = max(self.model, default=(0, 0))[0]
        run = []
        for gap in gaps:
            ms += gap
            if ms <= U64:
                run.append((ms, ms % 3 * (1 << 32)))
        self.list.append(run, 2, 78)
        self.model.update(dict.fromkeys(run, (2, 78, 1)))

    @rule(id=ids)
    def remove(self, id: ID) -> None:
        former = self.model.pop(id, None)
        assert self.list.remove(*id) == (-1 if former is None else former[0])

    @precondition(lambda self: len(self.model) > 1)
    @rule(data=st.data(), end=st.sampled_from(["front", "back", "any"]))
    def remove_many(self, data: st.DataObject, end: str) -> None:
        order = sorted(self.model)
        n = data.draw(st.integers(1, len(order)))
        if end == "any":
            seed = data.draw(st.integers(0, 1 << 16))
            order = random.Random(seed).sample(order, n)
        for id in order[:n] if end != "back" else order[: -n - 1 : -1]:
            assert self.list.remove(*id) == self.model.pop(id)[0]

    @rule(cidx=cidxs)
    def remove_consumer(self, cidx: int) -> None:
        gone = [id for id, row in self.model.items() if row[0] == cidx]
        assert self.list.remove_consumer(cidx) == len(gone)
        for id in gone:
            del self.model[id]

    @rule(
        start=st.one_of(st.just(MIN), ids),
        end=st.one_of(st.just(MAX), ids),
        limit=st.one_of(st.just(-1), st.integers(0, 300)),
        cidx=st.one_of(st.just(-1), cidxs),
        latest=st.one_of(st.just(-1), times, st.just(77)),
    )
    def scan(self, start: ID, end: ID, limit: int, cidx: int, latest: int) -> None:
        expected = [
            (*id, *row)
            for id, row in sorted(self.model.items())
            if start <= id <= end and cidx in (-1, row[0]) and (latest < 0 or row[1] <= latest)
        ]
        if limit >= 0:
            expected = expected[:limit]
        assert self.list.rows(start, end, limit, cidx, latest) == expected

    @rule()
    def flush(self) -> None:
        """Store what changed; what is stored must load to the same rows."""
        for number, blob in self.list.dirty_chunks():
            if blob is None:
                del self.stored[number]
            else:
                self.stored[number] = blob
        self.list.clear_dirty()
        assert self.list.dirty_chunks() == []
        assert self.list.stored_numbers() == sorted(self.stored)

    @rule(seed=st.integers(0, 1 << 16))
    def reload(self, seed: int) -> None:
        self.flush()
        loaded = PendingList()
        numbers = sorted(self.stored)
        random.Random(seed).shuffle(numbers)
        for number in numbers:
            loaded.load_chunk(number, self.stored[number])
        assert loaded.dirty_chunks() == []
        self.list = loaded

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "list"):
            return
        self.list.check()
        assert self.list.length == len(self.model)
        assert self.list.rows(MIN, MAX) == [(*id, *row) for id, row in sorted(self.model.items())]
        assert self.list.min_id == min(self.model, default=None)
        assert self.list.max_id == max(self.model, default=None)
        owners: dict[int, int] = {}
        for row in self.model.values():
            owners[row[0]] = owners.get(row[0], 0) + 1
        assert self.list.owners() == owners
        assert self.list.count_released() == owners.get(0, 0)
        for id in list(self.model)[:5]:
            assert self.list.get(*id) == self.model[id]


TestPendingMachine = PendingMachine.TestCase
TestPendingMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)


@pytest.mark.parametrize("batch", [1, 100])
def test_a_row_costs_at_most_24_bytes(batch: int) -> None:
    pending = PendingList()
    total = 100_000
    for first in range(0, total, batch):
        # 1 to 3 entries a millisecond, as busy producers make them
        run = [(1_700_000_000_000 + i // 2, i % 2) for i in range(first, first + batch)]
        if batch == 1:
            pending.put(*run[0], 1, 1_700_000_100_000, 1)
        else:
            pending.append(run, first % 5, 1_700_000_100_000)
    each = pending.bytes_used / pending.length
    print(f"COUNT {batch}: {each:.2f} bytes a pending entry in {pending.chunk_count} chunks")
    assert pending.length == total
    assert each <= 24


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("kept_pct", [50, 90])
def test_rows_that_remain_after_acks_in_any_order_stay_small(batch: int, kept_pct: int) -> None:
    pending = PendingList()
    ids = [(5_000_000 + i, 0) for i in range(50_000)]
    for first in range(0, len(ids), batch):
        pending.append(ids[first : first + batch], 1, 9)
    seed = batch * 100 + kept_pct
    random.Random(seed).shuffle(ids)
    for id in ids[len(ids) * kept_pct // 100 :]:
        pending.remove(*id)
    pending.check()
    assert pending.bytes_used / pending.length <= 28, f"seed {seed}"


def test_a_list_that_runs_empty_again_and_again_keeps_its_first_number() -> None:
    pending = PendingList()
    for turn in range(1000):
        pending.append([(turn, 0)], 1, turn)
        if turn == 500:
            pending.clear_dirty()
        assert pending.remove(turn, 0) == 1
    assert pending.dirty_chunks() == [(0, None)]
    pending.append([(2000, 0)], 1, 2000)
    assert [number for number, _ in pending.dirty_chunks()] == [0]
    assert pending.stored_numbers() == [0]


def test_chunk_numbers_start_over_when_they_are_used_up() -> None:
    template = PendingList()
    template.append([(10, i) for i in range(256)], 1, 1)
    blob = template.dirty_chunks()[0][1]
    assert blob is not None
    pending = PendingList()
    pending.load_chunk((1 << 32) - 2, blob)
    pending.append([(20, i) for i in range(256)], 1, 1)
    pending.check()
    changes = pending.dirty_chunks()
    assert [(number, b is None) for number, b in changes] == [
        ((1 << 32) - 2, True),
        (0, False),
        (1, False),
    ]
    again = PendingList()
    for number, changed in changes:
        if changed is not None:
            again.load_chunk(number, changed)
    assert again.rows(MIN, MAX) == pending.rows(MIN, MAX)


def damaged(blob: bytes, at: int, value: int) -> bytes:
    return blob[:at] + bytes([value]) + blob[at + 1 :]


def test_a_damaged_blob_is_refused() -> None:
    template = PendingList()
    for i in range(4):
        template.put(10 + i, i, 1, 1, U32 if i == 2 else 1)
    blob = template.dirty_chunks()[0][1]
    assert blob is not None
    PendingList().load_chunk(0, blob)
    broken = [
        b"",
        blob[:15],
        blob[:-1],
        blob + b"\0",
        damaged(blob, 0, 0),
        damaged(blob, 1, 2),
        damaged(blob, 2, 0),
        damaged(blob, 16, 9),  # the first ms above the second
        damaged(blob, len(blob) - 10, 1),  # a large count for another row
    ]
    for bad in broken:
        with pytest.raises(ValueError, match="pending chunk 3"):
            PendingList().load_chunk(3, bad)
    with pytest.raises(ValueError, match="pending chunk"):
        PendingList().load_chunk(U32, blob)


def test_chunks_that_overlap_are_refused() -> None:
    template = PendingList()
    template.append([(10, i) for i in range(4)], 1, 1)
    blob = template.dirty_chunks()[0][1]
    assert blob is not None
    pending = PendingList()
    pending.load_chunk(0, blob)
    with pytest.raises(ValueError, match="is not below"):
        pending.load_chunk(1, blob)
