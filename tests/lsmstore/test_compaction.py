"""What is merged next is a pure function: it comes to rest, keeps bounds, and does what it says."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmstore.compaction import Choice, Kind, choose, tier
from lsmstore.options import StoreOptions
from lsmstore.version import LargeRun, RowFileMeta, SegmentMeta, Version

OPTIONS = StoreOptions(
    large_run_bytes=10,
    graduate_bytes=300,
    own_segment_bytes_max=500,
    shared_segment_bytes_max=20_000,
    merge_width=3,
    tier_bytes=50,
    row_files_max=3,
)


@st.composite
def versions(draw: st.DrawFn) -> Version:
    """Any state a manifest may describe, as far as the choice looks at it."""
    version = Version()
    for number in range(1, draw(st.integers(0, 25)) + 1):
        size = draw(st.integers(1, 4000))
        sids = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6, unique=True))
        own = draw(st.sampled_from([0, 0, 0, sids[0]]))
        sids = [own] if own else sids
        large = tuple([LargeRun(sid, size // len(sids), 0) for sid in sids])
        version.segments[number] = SegmentMeta(number, size, 0, 1, len(sids), 9, own, large)
        dead = set(draw(st.lists(st.sampled_from(sids), max_size=len(sids))))
        if dead:
            version.dead[number] = dead
            version.dead_bytes[number] = size * len(dead) // len(sids)
        elif draw(st.booleans()):
            version.waste[number] = {sids[0]: draw(st.integers(0, size // len(sids)))}
    for number in range(100, 100 + draw(st.integers(0, 9))):
        size = draw(st.integers(1, 1000))
        version.row_files[number] = RowFileMeta(number, number, size, 0, 1, 5)
    version.next_file = 1000
    return version


def drop(version: Version, number: int) -> SegmentMeta:
    for table in (version.dead, version.dead_bytes, version.waste):
        table.pop(number, None)
    return version.segments.pop(number)


def do(version: Version, choice: Choice) -> None:
    """What installing the choice leads to, reckoned from sizes alone."""
    number = version.next_file = version.next_file + 1
    if choice.kind is Kind.ROWS:
        metas = [version.row_files.pop(each) for each in choice.files]
        size = sum([meta.bytes for meta in metas])
        version.row_files[number] = RowFileMeta(number, metas[0].age, size, 0, 1, 5)
        return
    if choice.kind is Kind.GRADUATE:
        size = 0
        for each in choice.files:
            run = next(run for run in version.segments[each].large if run.sid == choice.sid)
            version.dead.setdefault(each, set()).add(choice.sid)
            version.dead_bytes[each] = version.dead_bytes.get(each, 0) + run.bytes
            version.waste.get(each, {}).pop(choice.sid, None)
            size += run.bytes
        moved = LargeRun(choice.sid, size, 0)
        version.segments[number] = SegmentMeta(number, size, 0, 1, 1, 9, choice.sid, (moved,))
        return
    sizes: dict[int, int] = {}
    for each in choice.files:
        dead = version.dead.get(each, set())
        wasted = version.waste.get(each, {})
        for run in drop(version, each).large:
            if run.sid not in dead:
                left = run.bytes - wasted.get(run.sid, 0)
                sizes[run.sid] = sizes.get(run.sid, 0) + left
    if choice.kind is not Kind.DROP and sizes:
        large = tuple([LargeRun(sid, size, 0) for sid, size in sizes.items()])
        total = max(1, sum(sizes.values()))
        version.segments[number] = SegmentMeta(
            number, total, 0, 1, len(large), 9, choice.sid, large
        )


def choices(version: Version) -> Iterator[Choice]:
    for _ in range(500):
        choice = choose(version, OPTIONS)
        if choice is None:
            return
        yield choice
        do(version, choice)
    raise AssertionError("it never comes to rest")


@settings(max_examples=300, deadline=None)
@given(versions())
def test_a_store_that_nobody_writes_to_comes_to_rest_within_its_bounds(version: Version) -> None:
    for choice in choices(version):
        known = version.row_files if choice.kind is Kind.ROWS else version.segments
        assert choice.files
        assert len(set(choice.files)) == len(choice.files)
        assert all(number in known for number in choice.files)
    assert len(version.row_files) <= OPTIONS.row_files_max
    classes: dict[int, int] = {}
    held: dict[int, int] = {}
    for number, meta in version.segments.items():
        assert 2 * version.garbage_bytes(number) <= meta.bytes
        assert len(version.dead.get(number, ())) < meta.streams
        if meta.sid == 0:
            if meta.bytes <= OPTIONS.shared_segment_bytes_max:
                at = tier(meta.bytes, OPTIONS)
                classes[at] = classes.get(at, 0) + 1
            for run in meta.large:
                if run.sid not in version.dead.get(number, ()):
                    held[run.sid] = held.get(run.sid, 0) + run.bytes
    assert all(n < OPTIONS.merge_width for n in classes.values())
    assert all(size < OPTIONS.graduate_bytes for size in held.values())


@settings(max_examples=200, deadline=None)
@given(versions())
def test_what_costs_nothing_comes_first_and_the_choice_depends_on_nothing_else(
    version: Version,
) -> None:
    choice = choose(version, OPTIONS)
    assert choice == choose(version, OPTIONS)
    dead = [
        number
        for number, meta in version.segments.items()
        if len(version.dead.get(number, ())) == meta.streams
    ]
    if dead:
        assert choice == Choice(Kind.DROP, tuple(sorted(dead)))
    elif len(version.row_files) > OPTIONS.row_files_max:
        assert choice is not None
        assert choice.kind is Kind.ROWS
        newest = sorted(version.row_files, reverse=True)
        assert list(choice.files) == newest[: len(choice.files)]
    elif choice is not None and choice.kind is Kind.REWRITE:
        (number,) = choice.files
        assert 2 * version.garbage_bytes(number) > version.segments[number].bytes
    elif choice is not None and choice.kind is Kind.GRADUATE:
        assert all(version.segments[number].sid == 0 for number in choice.files)
    elif choice is not None:
        assert len(choice.files) == OPTIONS.merge_width
        assert len({tier(version.segments[n].bytes, OPTIONS) for n in choice.files}) == 1
