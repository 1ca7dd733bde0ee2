"""Times, histograms, the slow log's cuts and the graph of LATENCY GRAPH."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respserver.redaction import redacted
from respserver.sparkline import sparkline
from respserver.stopwatch import Times
from respserver.watchdog import Sample, SlowLog, Spikes, cut
from tests.sim.node import SimNode


def test_a_graph_as_redis_draws_it() -> None:
    """What redis-server 8.2.3 drew of 20, 30 and 40 ms."""
    assert sparkline([20, 30, 40], ["3s", "2s", "1s"]) == "  #\n _|\n ||\n_||\n   \n321\nsss\n"
    assert sparkline([5], ["12m"]) == " \n \n \n_\n \n1\n2\nm\n"
    wide = sparkline([1] * 81, ["1s"] * 81).split("\n")
    assert [len(line) for line in wide[:3]] == [80] * 3
    assert wide[-8:] == [" ", " ", " ", "_", " ", "1", "s", ""]


def test_spikes_are_one_a_second_the_worst_of_it() -> None:
    spikes = Spikes()
    for time_s, took_ms in [(1, 20), (1, 30), (1, 10), (2, 15)]:
        spikes.add(time_s, took_ms)
    assert list(spikes.samples) == [Sample(1, 30), Sample(2, 15)]
    assert spikes.most_ms == 30
    for time_s in range(3, 400):
        spikes.add(time_s, 1)
    assert len(spikes.samples) == 160
    assert spikes.most_ms == 30


def test_arguments_are_cut_once() -> None:
    assert cut([b"x" * 128]) == [b"x" * 128]
    assert cut([b"x" * 129]) == [b"x" * 128 + b"... (1 more bytes)"]
    words = [b"%d" % i for i in range(32)]
    assert cut(words) == words
    assert cut([*words, b"y"]) == [*words[:31], b"... (2 more arguments)"]


def test_numbers_of_slow_commands_go_on() -> None:
    log = SlowLog()
    for i in range(5):
        log.add(i, i, [b"PING"], b"", b"")
        log.trim(2)
    assert [entry.number for entry in log.entries] == [4, 3]
    log.entries.clear()
    log.add(9, 9, [b"PING"], b"", b"")
    assert log.entries[0].number == 5


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("AUTH a b", "AUTH (redacted) (redacted)"),
        ("hello 3 auth a b setname c", "hello 3 auth (redacted) (redacted) setname c"),
        ("HELLO 3 AUTH", "HELLO 3 AUTH"),
        ("config set port 1 RequirePass x", "config set port 1 RequirePass (redacted)"),
        ("CONFIG GET requirepass x", "CONFIG GET requirepass x"),
        ("ACL SETUSER a >b", "ACL SETUSER (redacted) (redacted)"),
        ("GET auth", "GET auth"),
    ],
)
def test_secrets_are_not_shown(words: str, shown: str) -> None:
    assert redacted(words.encode().split()) == shown.encode().split()


def verb_times(node: SimNode, name: bytes) -> tuple[int, int, int]:
    """Calls, calls in the histogram, nanoseconds."""
    verb = node.engine.kernel.table[name]
    return verb.calls, verb.times.recorded, verb.times.total_ns


def test_every_call_is_timed_whoever_it_stands_beside() -> None:
    node = SimNode()
    add = b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n"
    ping = b"*1\r\n$4\r\nPING\r\n"
    length = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    node.client.feed(add * 100 + ping * 10 + add * 5 + length + add + length * 2 + ping)
    node.run()
    assert len(node.client.replies()) == 120
    for name, calls in ((b"xadd", 106), (b"ping", 11), (b"get", 3)):
        called, recorded, ns = verb_times(node, name)
        assert (called, recorded) == (calls, calls)
        assert ns > 0
    node.call("MULTI")
    node.call("PING")
    node.call("XLEN", "s")
    node.call("EXEC")
    assert verb_times(node, b"ping")[:2] == (12, 12)
    assert verb_times(node, b"xlen")[:2] == (1, 1)
    node.call("CONFIG", "RESETSTAT")
    assert verb_times(node, b"xadd") == (0, 0, 0)


def test_a_command_that_waits_is_counted_once() -> None:
    node = SimNode()
    waiting = node.connect()
    waiting.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    node.run()
    node.call("XADD", "s", "1-1", "f", "v")
    node.run()
    assert waiting.take() is not None
    assert verb_times(node, b"xread")[:2] == (1, 1)


def test_commands_of_others_within_one() -> None:
    """CLIENT UNBLOCK lets what has come behind the wait be executed, and goes on."""
    node = SimNode(settings={"slowlog-log-slower-than": "0"})
    waiting = node.connect()
    waiting.send("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    waiting.send("XLEN", "s")
    waiting.send("GET", "k")
    assert node.call("CLIENT", "UNBLOCK", waiting.session.id) == 1
    assert waiting.replies() == [b"*-1\r\n", b":0\r\n", b"$-1\r\n"]
    for name in (b"xlen", b"get", b"xread"):
        assert verb_times(node, name)[:2] == (1, 1)
    unblock = node.engine.kernel.table[b"client"].subcommands[b"unblock"].times
    assert unblock.recorded == 1
    within_ns = verb_times(node, b"xlen")[2] + verb_times(node, b"get")[2]
    assert unblock.total_ns > within_ns
    told = [entry[3][0] for entry in node.call("SLOWLOG", "GET")]
    assert told == [b"CLIENT", b"GET", b"XLEN", b"XREAD"]


def test_every_command_is_slow_where_nothing_is_quick_enough() -> None:
    node = SimNode(settings={"slowlog-log-slower-than": "0", "slowlog-max-len": "1000"})
    adds = [("XADD", "s", f"{n}-1", "f", "v") for n in range(1, 51)]
    for words in adds:
        node.client.send(*words)
    node.run()
    assert len(node.client.replies()) == 50
    found = node.call("SLOWLOG", "GET", -1)
    assert [entry[3] for entry in found[::-1]] == [[w.encode() for w in words] for words in adds]
    assert [entry[0] for entry in found] == list(range(49, -1, -1))
    node.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    node.call("SLOWLOG", "RESET")
    node.call("PING")
    assert node.call("SLOWLOG", "LEN") == 0


def times_of(*took_us: int) -> Times:
    times = Times()
    for us in took_us:
        times.add(1, us * 1000)
    return times


def shown(times: Times, *percents: float) -> list[str]:
    return [f"{times.percentile_ns(percent) / 1000:.3f}" for percent in percents]


def test_percentiles_as_redis_has_them() -> None:
    """What redis-server 8.2.3 showed of commands whose times were in its slow log."""
    eval_ = times_of(300562, 300563, 310922, 200670)
    assert shown(eval_, 12.5, 50, 99, 100) == ["201326.591", "301989.887", *["312475.647"] * 2]
    assert shown(times_of(20146, 30125, 40111), 0.1, 50, 99.9) == [
        *("20185.087", "30146.559", "40370.175"),
    ]
    assert shown(times_of(1, 4), 50, 99) == ["1.003", "4.015"]
    assert shown(times_of(0), 0, 50) == ["0.001", "0.001"]
    assert shown(times_of(5_000_000), 50) == shown(times_of(1_000_000), 50)


def test_levels_as_redis_has_them() -> None:
    assert times_of(1, 4).levels() == [(1, 1), (4, 2)]
    assert times_of(2, 0, 3, 7).levels() == [(1, 1), (2, 2), (4, 3), (8, 4)]
    assert times_of(20, 60, 120).levels() == [(33, 1), (66, 2), (132, 3)]
    assert times_of(900_000).levels() == [(1_073_741, 1)]
    assert times_of().levels() == []


@given(st.lists(st.integers(0, 2_000_000_000), min_size=1), st.floats(0.1, 100))
def test_a_histogram_errs_by_less_than_a_hundredth(took_ns: list[int], percent: float) -> None:
    times = Times()
    for ns in took_ns:
        times.add(1, ns)
    assert times.total_ns == sum(took_ns)
    exact = sorted(min(max(ns, 1), 1_000_000_000) for ns in took_ns)
    rank = max(1, int(percent / 100 * len(exact) + 0.5))
    found = times.percentile_ns(percent)
    assert exact[rank - 1] <= found <= exact[rank - 1] * 1.01
    levels = times.levels()
    assert [count for _, count in levels] == sorted({count for _, count in levels})
    assert levels[-1][1] == len(took_ns)


def test_calls_that_are_timed_together_count_as_their_mean() -> None:
    times = Times()
    times.add(10, 50_000)
    assert (times.recorded, times.total_ns) == (10, 50_000)
    assert shown(times, 1, 100) == ["5.023", "5.023"]
    times.add(0, 1_000_000)
    assert (times.recorded, times.total_ns) == (10, 1_050_000)


def test_without_latency_tracking_times_are_only_summed() -> None:
    node = SimNode()
    node.call("PING")
    node.call("CONFIG", "SET", "latency-tracking", "no")
    node.call("PING")
    called, recorded, ns = verb_times(node, b"ping")
    assert (called, recorded) == (2, 1)
    assert ns > 0


def test_a_slow_sync_is_a_spike() -> None:
    node = SimNode(settings={"latency-monitor-threshold": "10"})
    node.engine.watchdog.log_synced(0.0301)
    node.engine.watchdog.log_synced(0.0099)
    now_s = node.clock.wall_ms() // 1000
    assert node.call("LATENCY", "LATEST") == [[b"aof-fsync-always", now_s, 30, 30]]
    node.advance(61_000)
    graph = node.call("LATENCY", "GRAPH", "aof-fsync-always").decode()
    assert graph.startswith("aof-fsync-always - high 30 ms, low 30 ms (all time high 30 ms)\n---")
    assert graph.endswith("\n1\nm\n")
    report = node.call("LATENCY", "DOCTOR").decode()
    assert "1. aof-fsync-always: 1 latency spikes (average 30ms, mean deviation 0ms" in report
    assert node.call("LATENCY", "RESET", "nosuch", "aof-fsync-always") == 1
    assert node.call("LATENCY", "LATEST") == []
