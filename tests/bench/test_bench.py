"""``respq bench`` end to end, redis-server on both sides, and what becomes of its measurements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools.bench import payload
from tools.bench.command import MISSED, bench
from tools.bench.contender import Contender
from tools.bench.figures import Measured, PendingBytes
from tools.bench.generator import LoadFailed, run_load
from tools.bench.loadgen import PartJob, batches
from tools.bench.outcome import FigureOutcome, RowOutcome
from tools.bench.rows import Ping, Round, Row, Scale
from tools.bench.table import NAMES, ROWS

TINY = ("--calibrate", "--rounds", "1", "--seconds", "0.2", "--entries", "2000")


@pytest.fixture(scope="module")
def redis() -> Iterator[Contender]:
    server = Contender("redis", "redis-server", "everysec", is_respq=False)
    server.start()
    yield server
    server.close()


def a_round(rate: float, generator_cpu: float = 0.5, others_cpu: float = 0.0) -> Round:
    return Round(int(rate), 1.0, generator_cpu, 0.5, others_cpu, 100.0, 200.0)


@pytest.mark.serial
def test_every_row_runs_and_its_work_is_checked() -> None:
    done = CliRunner().invoke(
        bench, [*TINY, "--recovery-entries", "20000", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["name"] for row in rows] == list(NAMES)
    for row in rows:
        assert row["hit"] in (True, False)
        assert len(row["respq"] if "value" in row else row["respq"]["rounds"]) == 1
    assert "xadd-16: round 1/1 redis" in done.stderr


def test_the_table_says_what_missed_and_strict_tells_by_its_exit_code() -> None:
    done = CliRunner().invoke(bench, [*TINY, "--rows", "pending-100", "--strict"])
    assert done.exit_code == MISSED
    assert "RAM a pending entry, COUNT 100" in done.stdout
    assert "miss" in done.stdout  # redis-server needs more than 24 bytes


def test_an_unknown_row_is_refused_by_name() -> None:
    done = CliRunner().invoke(bench, ["--rows", "ping,pong"])
    assert done.exit_code == 2
    assert "no row pong" in done.stderr


def test_a_server_that_cannot_start_is_one_clear_line(tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing")
    done = CliRunner().invoke(bench, ["--rows", "ping", "--respq", nothing])
    assert done.exit_code == 1
    assert "respq cannot be started" in done.stderr
    assert "1 of 1 rows could not be measured" in done.stderr


def test_error_replies_fail_the_load(redis: Contender) -> None:
    redis.control.set("text", "x")
    wrong = PartJob("repeat", 2, [[payload.command(b"XADD", b"text", b"*", b"f", b"v")]])
    with pytest.raises(LoadFailed, match="WRONGTYPE"):
        run_load(redis, [wrong], 0.1)


def test_a_server_that_goes_away_fails_the_load(redis: Contender) -> None:
    quits = PartJob("repeat", 1, [[payload.command(b"QUIT")]])
    with pytest.raises(LoadFailed, match="broke off"):
        run_load(redis, [quits], 5)


def test_a_part_fills_exactly_what_it_was_told(redis: Contender) -> None:
    adds = payload.adds(b"filled", payload.sensor_fields(40))
    load = run_load(redis, [PartJob("fill", 3, [adds], 8, batches_each=7)], 60)
    assert load.parts[0]["replies"] == redis.control.xlen("filled") == 3 * 7 * 8


def test_output_that_does_not_fit_the_socket_is_sent_in_the_end(redis: Contender) -> None:
    value = b"v" * 1_000_000
    adds = [payload.command(b"XADD", b"large", b"*", b"f", value)] * 20
    load = run_load(redis, [PartJob("fill", 2, [adds], 20, batches_each=1)], 60)
    assert load.parts[0]["replies"] == redis.control.xlen("large") == 40
    first = redis.ask("XRANGE", "large", "-", "+", "COUNT", 1)
    assert first[0][1] == {b"f": value}
    redis.control.delete("large")


def test_deliveries_are_counted_and_a_drain_ends_by_itself(redis: Contender) -> None:
    redis.control.xgroup_create("drained", "g", mkstream=True)
    adds = payload.adds(b"drained", payload.sensor_fields(40))
    run_load(redis, [PartJob("fill", 1, [adds], 10, batches_each=25)], 60)
    reads = [[payload.group_read(b"drained", b"g", b"c", 100)] * 2]
    load = run_load(redis, [PartJob("drain", 2, reads, 2, entries_depth=2)], 60)
    assert load.parts[0]["entries"] == 250
    assert redis.control.xpending("drained", "g")["pending"] == 250


def test_taken_entries_are_acknowledged(redis: Contender) -> None:
    redis.control.xgroup_create("jobs", "g", mkstream=True)
    adds = payload.adds(b"jobs", payload.sensor_fields(40))
    run_load(redis, [PartJob("fill", 1, [adds], 10, batches_each=4)], 60)
    reads = [[payload.group_read(b"jobs", b"g", b"c", 1)]]
    head = payload.ack_head(b"jobs", b"g")
    load = run_load(redis, [PartJob("take_ack", 3, reads, entries_depth=2, ack_head=head)], 60)
    assert load.parts[0]["total"] == 40
    assert redis.control.xpending("jobs", "g")["pending"] == 0


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    outcome = RowOutcome(
        ROWS[0],
        [a_round(300), a_round(100), a_round(90)],
        [a_round(100), a_round(200), a_round(100)],
    )
    assert outcome.ratios == [3.0, 0.5, 0.9]
    assert outcome.ratio == 0.9
    assert not outcome.hit
    assert outcome.client_bound == []


def test_a_busy_generator_marks_its_server() -> None:
    outcome = RowOutcome(ROWS[0], [a_round(2, 0.95)], [a_round(1, 0.2)])
    assert outcome.hit
    assert outcome.client_bound == ["respq"]


def test_a_figure_must_stay_within_its_limit() -> None:
    figure = PendingBytes("pending", "RAM", 24, "B")
    within, beyond = [Measured(24.0)], [Measured(24.5)]
    assert FigureOutcome(figure, within, beyond).hit
    assert not FigureOutcome(figure, beyond, within).hit


def test_batches_are_whole() -> None:
    assert batches([b"a", b"b", b"c", b"d", b"e"], 2) == [b"ab", b"cd"]
    with pytest.raises(ValueError, match="shorter than a batch"):
        batches([b"a"], 2)


def test_payloads_are_the_size_they_say_and_the_same_each_time() -> None:
    orders = payload.order_fields(20)
    assert all(len(value) == payload.ORDER_BYTES for _, value in orders)
    assert payload.order_fields(20) == orders
    assert payload.sensor_fields(9) == payload.sensor_fields(9)
    mean = sum(map(len, b"".join(b"".join(one) for one in payload.sensor_fields(1000)).split()))
    assert 35_000 < mean < 40_000


def test_the_goals_are_those_agreed() -> None:
    goals = {row.name: (row.goal, row.appendfsync) for row in ROWS}
    assert goals == {
        "xadd": (1.0, "everysec"),
        "xadd-always": (1.0, "always"),
        "xadd-16": (1.5, "everysec"),
        "xadd-100": (2.0, "everysec"),
        "xadd-16-always": (1.5, "always"),
        "xadd-maxlen": (1.3, "everysec"),
        "xadd-1k": (1.2, "everysec"),
        "blocked": (0.9, "everysec"),
        "read-100": (3.0, "everysec"),
        "read-100-8": (6.0, "everysec"),
        "xrange-100": (2.0, "everysec"),
        "job": (0.9, "everysec"),
        "ping": (0.9, "everysec"),
        "idmp": (0.77, "everysec"),
        "idmp-16": (0.77, "everysec"),
        "claim": (0.95, "everysec"),
        "backlog": (0.8, "everysec"),
    }
    assert isinstance(next(row for row in ROWS if row.name == "ping"), Ping)
    assert all(isinstance(row, Row) for row in ROWS)
    assert Scale().flushes == 3


def test_other_busy_processes_mark_a_row_and_cpu_time_is_compared() -> None:
    quiet = RowOutcome(ROWS[0], [a_round(300)], [a_round(100, others_cpu=0.2)])
    assert not quiet.disturbed
    assert quiet.cpu_ratio == pytest.approx(3.0)
    assert RowOutcome(ROWS[0], [a_round(300)], [a_round(100, others_cpu=0.3)]).disturbed
