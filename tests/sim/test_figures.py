"""INFO streams: what was written, by whom, and what it cost."""

from __future__ import annotations

from lsmstore.synctimes import SyncTimes
from tests.sim.node import SimNode


def figures(node: SimNode) -> dict[str, str]:
    text = node.call("INFO", "streams").decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def test_bytes_are_counted_by_what_wrote_them() -> None:
    node = SimNode()
    for round_ in range(6):
        for n in range(1, 60):
            node.call("XADD", "s", f"{round_}-{n}", "f", "v" * 30)
        node.flush()
    node.call("XQ.CHECKPOINT", "one")
    for _ in range(4):
        node.call("GET", "s0")  # asks the rows
        node.engine.keyspace.let_go()
        node.call("XLEN", "s")
    found = figures(node)
    causes = ("log", "flush", "compaction", "manifest", "checkpoint")
    parts = [int(found[f"{cause}_bytes_written"]) for cause in causes]
    assert all(part > 0 for part in parts), dict(zip(causes, parts, strict=True))
    assert int(found["bytes_written"]) == sum(parts)
    assert found["write_amplification"] == f"{sum(parts) / parts[0]:.2f}"
    assert found["space_amplification"] == "1.00"
    assert int(found["checkpoints"]) == 1
    assert int(found["checkpoint_failures"]) == 0
    assert int(found["checkpoint_loop_us"]) < 100_000
    assert 0 < float(found["cache_hit_rate"]) <= 1
    syncs = [part.split("=") for part in found["log_sync_us_histogram"].split(",")]
    assert sum(int(count) for _, count in syncs) >= 6 * 59
    assert int(found["log_sync_p50_us"]) <= int(found["log_sync_p99_us"])
    assert int(found["log_sync_p99_us"]) <= int(found["log_sync_max_us"])


def test_garbage_is_space_amplification() -> None:
    node = SimNode(merges=False)
    for n in range(1, 200):
        node.call("XADD", "s", f"{n}-1", "f", "v" * 900)
        node.call("XADD", "t", f"{n}-1", "f", "v" * 30)
    node.flush()
    node.call("XTRIM", "s", "MAXLEN", 5)
    node.flush()
    assert float(figures(node)["space_amplification"]) > 1.2


def test_stalls_are_counted() -> None:
    node = SimNode(memtable_bytes=100)
    n = 0
    while node.engine.upkeep.stalls == 0:
        n += 1
        node.client.send("XADD", "s", f"{n}-1", "f", "v" * 2000)
        assert node.skin.step()
    node.clock.advance(7)
    assert node.engine.upkeep.stalled_ms == 7
    node.run()
    node.client.replies()
    found = figures(node)
    assert int(found["write_stalls"]) == 1
    assert int(found["write_stalls_ms"]) == 7


def test_a_histogram_of_times() -> None:
    times = SyncTimes()
    assert times.percentile_us(50) == 0
    for took_us in (0, 1, 2, 3, 100, 127, 128, 5_000_000):
        times.add(took_us * 1000)
    assert list(times.counts()) == [(0, 1), (1, 1), (3, 2), (127, 2), (255, 1), (8388607, 1)]
    assert times.percentile_us(50) == 3
    assert times.percentile_us(75) == 127
    assert times.percentile_us(100) == times.most_us == 5_000_000
    assert times.total_ns == 5_000_361_000
