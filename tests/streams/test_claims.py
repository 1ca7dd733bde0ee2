"""XCLAIM, XAUTOCLAIM and XPENDING at their boundaries, with a clock that stands still."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.respclient import Reply
from tests.streams.node import START_MS, Node

MAX_COUNT = (1 << 63) - 1
HOUR_MS = 3_600_000


@pytest.fixture
def node() -> Node:
    """Entries 1-0 to 9-0; group g has delivered 1-0 to 6-0 to a."""
    node = Node()
    for ms in range(1, 10):
        node.call("XADD", "s", f"{ms}-0", "f", ms)
    node.call("XGROUP", "CREATE", "s", "g", "0")
    node.call("XREADGROUP", "GROUP", "g", "a", "COUNT", 6, "STREAMS", "s", ">")
    return node


def pending(node: Node) -> dict[bytes, tuple[bytes, int, int]]:
    """(consumer, idle, count) by ID."""
    rows = node.call("XPENDING", "s", "g", "-", "+", 1000)
    return {id: (consumer, idle_ms, count) for id, consumer, idle_ms, count in rows}


def entry(ms: int) -> list[Any]:
    return [b"%d-0" % ms, [b"f", b"%d" % ms]]


@pytest.mark.parametrize(
    ("idle_ms", "min_idle_ms", "claimed"),
    [(0, 0, True), (0, 1, False), (999, 1000, False), (1000, 1000, True), (1000, -5, True)],
)
def test_an_entry_idle_for_exactly_the_time_is_claimed(
    node: Node, idle_ms: int, min_idle_ms: int, claimed: bool
) -> None:
    node.now_ms += idle_ms
    expected = [entry(1)] if claimed else []
    assert node.call("XPENDING", "s", "g", "IDLE", min_idle_ms, "-", "+", 1) == (
        [[b"1-0", b"a", idle_ms, 1]] if claimed else []
    )
    assert node.call("XCLAIM", "s", "g", "b", min_idle_ms, "1-0") == expected
    assert node.call("XAUTOCLAIM", "s", "g", "c", min_idle_ms, "2-0", "COUNT", 1)[1] == (
        [entry(2)] if claimed else []
    )


@pytest.mark.parametrize(
    ("time", "idle", "retry_count", "force", "just_id", "min_idle_ms"),
    list(
        product(
            [None, 1000, START_MS + 2 * HOUR_MS],
            [None, 250, -7, START_MS * 2],
            [None, -1, 5],
            [False, True],
            [False, True],
            [0, HOUR_MS, HOUR_MS + 1],
        )
    ),
)
def test_xclaim_options(
    node: Node,
    time: int | None,
    idle: int | None,
    retry_count: int | None,
    force: bool,
    just_id: bool,
    min_idle_ms: int,
) -> None:
    """1-0 is pending and there, 2-0 pending and gone, 7-0 there and not pending, 99-0 neither."""
    node.call("XDEL", "s", "2-0")
    node.now_ms += HOUR_MS
    options: list[str | int] = []
    delivered_ms = node.now_ms
    if time is not None:
        options += ["TIME", time]
        delivered_ms = time
    if idle is not None:
        options += ["IDLE", idle]
        delivered_ms = node.now_ms - idle
    if not 0 <= delivered_ms <= node.now_ms:
        delivered_ms = node.now_ms
    if retry_count is not None:
        options += ["RETRYCOUNT", retry_count]
    options += ["FORCE"] * force + ["JUSTID"] * just_id
    reply = node.call("XCLAIM", "s", "g", "b", min_idle_ms, "1-0", "2-0", "7-0", "99-0", *options)

    claimed = ([1] if min_idle_ms <= HOUR_MS else []) + ([7] if force else [])
    assert reply == [b"%d-0" % ms if just_id else entry(ms) for ms in claimed]
    count = 1 if just_id else 2
    if retry_count is not None and retry_count >= 0:
        count = retry_count
    after = pending(node)
    state = (b"b", node.now_ms - delivered_ms, count)
    assert after[b"1-0"] == (state if 1 in claimed else (b"a", HOUR_MS, 1))
    assert after.get(b"7-0") == (state if force else None)
    assert b"2-0" not in after
    assert b"99-0" not in after
    seen = {name: (idle, inactive) for _, name, _, _, _, idle, _, inactive in consumers(node)}
    assert seen[b"b"] == (0, 0 if claimed else -1)
    node.check()


def consumers(node: Node) -> list[Any]:
    found: list[Any] = node.call("XINFO", "CONSUMERS", "s", "g")
    return found


def test_the_first_word_that_is_no_id_begins_the_options(node: Node) -> None:
    assert node.call("XCLAIM", "s", "g", "b", 0, "1-0", "JUSTID", "FORCE") == [b"1-0"]
    assert node.call("XCLAIM", "s", "g", "b", 0, "JUSTID") == []
    assert node.call("XCLAIM", "s", "g", "b", 0, "1-0", "JUSTID", "2-0") == Reply(
        "-", b"ERR Unrecognized XCLAIM option '2-0'"
    )
    assert node.call("XCLAIM", "s", "g", "b", 0, "1-0", "IDLE") == Reply(
        "-", b"ERR Unrecognized XCLAIM option 'IDLE'"
    )


def test_nothing_changes_where_an_option_is_refused(node: Node) -> None:
    before = node.raw("XINFO", "STREAM", "s", "FULL")
    for options in (["LASTID", "x"], ["IDLE", "x"], ["LASTID", "9-0", "BOGUS"]):
        assert node.call("XCLAIM", "s", "g", "new", 0, "1-0", *options)[0] == "-"
    assert node.raw("XINFO", "STREAM", "s", "FULL") == before


def test_lastid_only_moves_forward(node: Node) -> None:
    for last_id, expected in [("8-3", b"8-3"), ("2-0", b"8-3")]:
        node.call("XCLAIM", "s", "g", "b", 0, "1-0", "LASTID", last_id)
        assert node.call("XINFO", "GROUPS", "s")[0][7] == expected


def test_an_id_named_twice_is_claimed_twice(node: Node) -> None:
    assert node.call("XCLAIM", "s", "g", "b", 0, "1-0", "1-0") == [entry(1), entry(1)]
    assert pending(node)[b"1-0"] == (b"b", 0, 3)
    assert node.call("XCLAIM", "s", "g", "b", 0, "7-0", "7-0", "FORCE", "JUSTID") == [b"7-0"] * 2
    node.check()


def test_a_count_that_runs_over_is_printed_as_redis_does(node: Node) -> None:
    node.call("XCLAIM", "s", "g", "b", 0, "1-0", "RETRYCOUNT", MAX_COUNT)
    node.call("XCLAIM", "s", "g", "b", 0, "1-0")
    assert pending(node)[b"1-0"][2] == -MAX_COUNT - 1


class TestAutoclaimScan:
    """XAUTOCLAIM looks at ten rows for each it may return, and goes on where it stopped."""

    @pytest.fixture
    def node(self) -> Node:
        """100 pending entries of a; every 25th has been idle for an hour, the others not at all."""
        node = Node()
        for ms in range(1, 101):
            node.call("XADD", "s", f"{ms}-0", "f", ms)
        node.call("XGROUP", "CREATE", "s", "g", "0")
        node.call("XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", ">")
        old = [f"{ms}-0" for ms in range(25, 101, 25)]
        node.call("XCLAIM", "s", "g", "a", 0, *old, "IDLE", HOUR_MS, "JUSTID")
        return node

    @pytest.mark.parametrize(
        ("count", "start", "cursor", "claimed"),
        [
            (1, "-", b"11-0", []),
            (1, "15-0", b"25-0", []),
            (1, "16-0", b"26-0", [25]),
            (2, "-", b"21-0", []),
            (3, "-", b"31-0", [25]),
            (4, "61-0", b"0-0", [75, 100]),
            (1, "100-0", b"0-0", [100]),
            (1, "(100-0", b"0-0", []),
            (4, "-", b"41-0", [25]),
            (100, "-", b"0-0", [25, 50, 75, 100]),
            (10, "1", b"0-0", [25, 50, 75, 100]),
        ],
    )
    def test_limits(
        self, node: Node, count: int, start: str, cursor: bytes, claimed: list[int]
    ) -> None:
        reply = node.call("XAUTOCLAIM", "s", "g", "b", HOUR_MS, start, "COUNT", count, "JUSTID")
        assert reply == [cursor, [b"%d-0" % ms for ms in claimed], []]
        owners = {id for id, (consumer, _, _) in pending(node).items() if consumer == b"b"}
        assert owners == {b"%d-0" % ms for ms in claimed}

    def test_entries_that_are_gone_count_as_returned_whatever_their_idle_time(
        self, node: Node
    ) -> None:
        node.call("XDEL", "s", "2-0", "4-0", "26-0")
        reply = node.call("XAUTOCLAIM", "s", "g", "b", HOUR_MS, "-", "COUNT", 2)
        assert reply == [b"5-0", [], [b"2-0", b"4-0"]]
        reply = node.call("XAUTOCLAIM", "s", "g", "b", HOUR_MS, "20-0", "COUNT", 2)
        assert reply == [b"27-0", [entry(25)], [b"26-0"]]
        assert len(pending(node)) == 97
        node.check()

    def test_trimmed_entries_are_gone(self, node: Node) -> None:
        node.call("XTRIM", "s", "MAXLEN", 1)
        reply = node.call("XAUTOCLAIM", "s", "g", "b", 0, "-", "COUNT", 100, "JUSTID")
        assert reply == [b"0-0", [b"100-0"], [b"%d-0" % ms for ms in range(1, 100)]]
        assert list(pending(node)) == [b"100-0"]
        node.check()

    def test_a_scan_of_many_pages_sees_every_row_once(self) -> None:
        node = Node()
        node.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        for ms in range(1, 1001):
            node.call("XADD", "s", f"{ms}-0", "f", ms)
        node.call("XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", ">")
        found: list[bytes] = []
        cursor = b"0-0"
        while True:
            cursor, rows, gone = node.call(
                "XAUTOCLAIM", "s", "g", "b", 0, cursor, "COUNT", 300, "JUSTID"
            )
            assert gone == []
            found += rows
            if cursor == b"0-0":
                break
        assert found == [b"%d-0" % ms for ms in range(1, 1001)]
