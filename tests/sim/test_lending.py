"""Merges of what streams share: a copy loses nothing, and what nobody needs leaves the disk."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from lsmstore.compaction import Kind
from lsmstore.simfs import LOSE_ALL
from respserver import compacting
from tests.lsmstore.support import check_files
from tests.seeds import seeds
from tests.sim.dump import difference, dump
from tests.sim.node import SMALL, SimNode, SimRunner

OPTIONS = (
    SMALL,
    replace(SMALL, merge_width=2, graduate_bytes=300, own_segment_bytes_max=700),
    replace(SMALL, merge_width=2, graduate_bytes=1 << 30, row_files_max=2),
)


def fill(node: SimNode, key: str, first: int, last: int, size: int = 60) -> None:
    rng = random.Random(first)
    for n in range(first, last):
        node.call("XADD", key, f"{n}-1", "secret", rng.randbytes(size))


def numbers(node: SimNode, key: str) -> list[int]:
    return [int(entry[0].partition(b"-")[0]) for entry in node.call("XRANGE", key, "-", "+")]


def merge_now(node: SimNode) -> None:
    """Of a node that merged nothing so far."""
    compacting = node.engine.upkeep.compacting
    compacting._runner = SimRunner(node.fs)
    compacting.look()
    node.call("PING")
    node.run()


def segment_bytes(node: SimNode) -> int:
    return node.store.stats()["segment_bytes"]


def test_what_one_deletes_another_that_shares_it_keeps_until_it_goes() -> None:
    node = SimNode(merges=False)
    for n in range(9):
        fill(node, "s", 5 * n, 5 * n + 5)
        node.flush()
    node.call("COPY", "s", "t")
    expected = node.raw("XRANGE", "t", "-", "+")
    node.call("XDEL", "s", *[f"{n}-1" for n in range(2, 44)])
    node.flush()
    merge_now(node)
    assert node.store.compactions[Kind.JOIN] > 0
    assert node.raw("XRANGE", "t", "-", "+") == expected
    node = node.reopen()
    assert node.raw("XRANGE", "t", "-", "+") == expected
    before = segment_bytes(node)
    node.call("DEL", "t")
    node.flush()
    assert segment_bytes(node) < before // 2, "the values that only the copy had are gone"
    assert numbers(node, "s") == [0, 1, 44]


@pytest.mark.parametrize("evicted", [False, True])
def test_what_was_deleted_is_blanked_when_the_last_copy_goes_though_nobody_writes(
    evicted: bool,
) -> None:
    node = SimNode()
    fill(node, "s", 0, 200)
    node.call("COPY", "s", "u")  # of nothing that is in segments
    node.flush()
    node.call("COPY", "s", "t")
    node.call("XDEL", "s", *[f"{n}-1" for n in range(2, 199)])
    node.call("DEL", "u")
    node.flush()
    before = segment_bytes(node)
    if evicted:
        node = node.reopen()
    node.call("DEL", "t")
    node.flush()
    assert segment_bytes(node) < before // 2
    assert numbers(node, "s") == [0, 1, 199]


def test_of_a_base_that_is_gone_stays_what_its_copy_needs() -> None:
    node = SimNode()
    fill(node, "s", 0, 300)
    node.flush()
    node.call("COPY", "s", "t")
    fill(node, "s", 300, 600)
    node.flush()
    both = segment_bytes(node)
    node.call("DEL", "s")
    node.flush()
    assert segment_bytes(node) < both * 2 // 3, "what only the base had is given back"
    assert numbers(node, "t") == list(range(300))
    node.call("XTRIM", "t", "MAXLEN", "20")
    node.flush()
    assert segment_bytes(node) < both // 5, "what the copy has trimmed is given back, too"
    assert numbers(node, "t") == list(range(280, 300))
    check_files(node.store)
    node = node.reopen()
    assert numbers(node, "t") == list(range(280, 300))
    node.call("DEL", "t")
    node.flush()
    assert segment_bytes(node) == 0


def test_a_base_gives_back_what_it_trims_beyond_what_a_copy_shares() -> None:
    node = SimNode()
    fill(node, "s", 0, 100)
    node.flush()
    node.call("COPY", "s", "t")
    for n in range(100, 600, 50):
        fill(node, "s", n, n + 50)
        node.flush()
    before = segment_bytes(node)
    node.call("XTRIM", "s", "MAXLEN", "20")
    node.flush()
    assert segment_bytes(node) < before // 2
    assert numbers(node, "s") == list(range(580, 600))
    assert numbers(node, "t") == list(range(100))


def test_runs_are_not_joined_over_the_end_of_a_copy_that_no_row_tells_of_yet() -> None:
    """The copy is made while a flush is under way that has seen the base and not the copy."""
    node = SimNode(options=replace(SMALL, merge_width=3, graduate_bytes=1 << 30, row_files_max=99))
    fill(node, "s", 0, 5)
    node.flush()
    fill(node, "s", 5, 10)
    node.flush()
    fill(node, "s", 10, 15)
    client = node.connect()
    client.send("SAVE")
    upkeep = node.engine.upkeep
    while upkeep._job is None or not upkeep._planned:
        assert node.skin.step()
    client.send("COPY", "s", "t")
    client.send("XADD", "t", "100-1", "f", "v")
    node.run()
    assert node.store.compactions[Kind.JOIN] == 1, "it took all three before the copy was written"
    expected = [*range(15), 100]
    assert numbers(node, "t") == expected
    node.check()
    node.flush()
    node.check()
    assert numbers(node, "t") == expected
    node = node.reopen()
    assert numbers(node, "t") == expected
    assert numbers(node, "s") == list(range(15))
    node.check()


def test_copies_read_the_new_files_when_what_they_share_was_merged() -> None:
    node = SimNode(merges=False)
    for n in range(3):
        fill(node, "s", 5 * n, 5 * n + 5)
        node.flush()
    node.call("COPY", "s", "t")
    node.flush()
    merge_now(node)
    named = set(node.store._version.segments)
    streams = node.engine.keyspace.by_sid.values()
    assert node.store.compactions[Kind.JOIN] == 1
    assert len(streams) == 2
    for stream in streams:
        assert {run.segment.number for run in stream.runs} <= named
        stream.check()
    assert numbers(node, "t") == list(range(15))


def test_what_dies_behind_what_a_copy_needs_while_it_is_merged_takes_nothing_along() -> None:
    node = SimNode(merges=False)
    fill(node, "s", 0, 5)
    node.flush()
    node.call("COPY", "s", "t")
    fill(node, "s", 5, 10)
    node.flush()
    fill(node, "s", 10, 15)
    node.flush()
    merge = node.store.begin_compaction(node.engine.keyspace.fresh_lends())
    assert merge is not None
    assert merge.choice.kind is Kind.JOIN
    merge.run(SimRunner(node.fs))
    node.call("DEL", "s")
    node.flush()
    merge.install()
    node = node.reopen(merges=False)
    assert numbers(node, "t") == list(range(5))
    node.check()


def test_holes_of_a_trim_that_deleted_nothing_by_id_lose_their_values() -> None:
    node = SimNode()
    node.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    fill(node, "s", 0, 200)
    node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 199, "STREAMS", "s", ">")
    node.call("XACK", "s", "g", *[f"{n}-1" for n in range(199) if n % 40])
    node.flush()
    before = segment_bytes(node)
    node.call("XTRIM", "s", "MINID", "199", "ACKED")
    expected = numbers(node, "s")
    assert expected == [0, 40, 80, 120, 160, 199]
    node.flush()
    assert segment_bytes(node) < before // 2
    assert numbers(node, "s") == expected
    assert difference(dump(node), dump(node.reopen())) == ""


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", seeds(4))
def test_merges_of_copies_show_nowhere(seed: int, options: object) -> None:
    """Beside a node that has all in memory; at last nothing is left on the disk."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    plain = SimNode(merges=False)
    how = {"memtable_bytes": 6_000, "resident_bytes": rng.choice((1, 1 << 30))}
    node = SimNode(seed=seed, slow_slices=True, options=options, **how)  # type: ignore[arg-type]
    writer = node.connect()
    keys = ["a", "b", "c", "d"]
    n = merges = 0
    for round_ in range(200):
        key, other = rng.sample(keys, 2)
        kind = rng.random()
        commands: list[list[str]] = []
        if kind < 0.5:
            for _ in range(rng.randrange(15)):
                n += 1
                commands.append(
                    ["XADD", key, f"{n}-1", "f", rng.choice("xyz") * rng.randrange(300)]
                )
        elif kind < 0.62:
            commands.append(["COPY", key, other, "REPLACE"])
        elif kind < 0.72:
            commands.append(["XTRIM", key, "MAXLEN", rng.choice("~="), str(rng.randrange(50))])
        elif kind < 0.9:
            low = rng.randrange(n + 1)
            commands.append(["XDEL", key, *[f"{low + i}-1" for i in range(rng.randrange(1, 40))]])
        elif kind < 0.95:
            commands.append([rng.choice(("DEL", "DEL", "RENAME")), key])
            commands[-1] += [other] if commands[-1][0] == "RENAME" else []
        for command in commands:
            plain.raw(*command)
            writer.send(*command)
        if kind > 0.9:
            writer.send("SAVE")
        for _ in range(rng.randrange(12)):
            node.skin.step()
        if round_ % 50 == 49:
            node.run()
            node.check()
            node.store.sync()
            expected = dump(plain)
            assert difference(expected, dump(node)) == ""
            merges += sum(node.store.compactions.values())
            if rng.random() < 0.5:
                node = node.reopen(node.fs.crash(rng, LOSE_ALL), options=options, **how)
                writer = node.connect()
                assert difference(expected, dump(node)) == ""
                node.check()
    assert merges > 0
    for key in keys:
        node.call("DEL", key)
    node.flush()
    node.flush()
    assert segment_bytes(node) == 0
    check_files(node.store)


def test_a_copy_made_while_streams_change_over_to_merged_segments_changes_over_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compacting, "SLICE_S", -1.0)
    node = SimNode(merges=False)
    for n in range(9):
        fill(node, "a", 5 * n, 5 * n + 5)
        fill(node, "b", 5 * n, 5 * n + 5)
        node.flush()
    expected = node.raw("XRANGE", "b", "-", "+")
    merging = node.engine.upkeep.compacting
    merging._runner = SimRunner(node.fs)
    merging.look()
    node.client.send("PING")
    merge = None
    while merging._exchange is None:
        merge = merging._merge or merge
        assert node.skin.step(), "nothing was merged"
    assert merge is not None
    node.client.send("COPY", "b", "c")
    assert merging._exchange is not None, "it is too late for the test"
    node.run()
    node.client.replies()
    assert node.raw("XRANGE", "c", "-", "+") == expected
    for stream in node.engine.keyspace.by_sid.values():
        assert not stream.reads_any(merge.replaced)
