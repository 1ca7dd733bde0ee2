"""XREADGROUP CLAIM, a trap at a time, on a node whose clock is the test's.

No redis-server with it is at hand: the cases follow the facts of Redis 8.4 to 8.10 (its
documentation, its error strings). Second opinions: tests/sim/test_idle_timeout_machine.py (a naive
model) and tests/sim/test_against_fakeredis.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from respserver.clock import ManualClock
from tests.sim.node import START_MS, Answer, SimClient, SimNode

COUNT_MAX = (1 << 63) - 1
Row = tuple[str, int, int]


def node_with(n: int, *keys: str) -> SimNode:
    """Streams of the entries 1-0 to n-0, which a group has yet to read."""
    node = SimNode()
    for key in keys or ("s",):
        for i in range(1, n + 1):
            node.call("XADD", key, f"{i}-0", "f", "v")
        node.call("XGROUP", "CREATE", key, "g", 0)
    return node


def read(node: SimNode, consumer: str, *options: str | int, keys: str = "s") -> Any:
    """XREADGROUP of what is new."""
    return node.call(*command(consumer, *options, keys=keys))


def command(consumer: str, *options: str | int, keys: str = "s") -> list[str | int]:
    return ["XREADGROUP", "GROUP", "g", consumer, *options, "STREAMS", *keys, *">" * len(keys)]


def rows(reply: Any) -> list[Row]:
    """ID, idle time and deliveries before of each entry of the one stream in the reply."""
    assert reply is not None and len(reply) == 1, reply
    return rows_of(reply[0])


def rows_of(stream: Any) -> list[Row]:
    for row in stream[1]:
        assert len(row) == 4 and type(row[2]) is int and type(row[3]) is int, row
    return [(row[0].decode(), row[2], row[3]) for row in stream[1]]


def pending(node: SimNode, key: str = "s") -> list[tuple[str, str, int, int]]:
    """ID, consumer, idle time and deliveries."""
    found = node.call("XPENDING", key, "g", "-", "+", 100)
    return [(id.decode(), consumer.decode(), idle, count) for id, consumer, idle, count in found]


def wait(node: SimNode, consumer: str, *options: str | int) -> SimClient:
    client = node.connect()
    client.send(*command(consumer, *options, "BLOCK", 0))
    node.run()
    assert client.session.blocked is not None
    return client


def got(client: SimClient) -> list[Row] | None:
    """What a client that waited was given; None if it still waits."""
    reply = client.take()
    return None if reply is None else rows(Answer(reply).value())


# ── what is claimed ──────────────────────────────────────────────────────────────────────────────


def test_an_entry_is_claimed_once_it_was_idle_for_exactly_the_time() -> None:
    node = node_with(1)
    read(node, "c")
    node.advance(99)
    assert read(node, "d", "CLAIM", 100) is None
    node.advance(1)
    assert rows(read(node, "d", "CLAIM", 100)) == [("1-0", 100, 1)]
    assert pending(node) == [("1-0", "d", 0, 2)]


def test_a_consumer_claims_what_is_its_own_too() -> None:
    node = node_with(1)
    read(node, "c")
    node.advance(5)
    assert rows(read(node, "c", "CLAIM", 5)) == [("1-0", 5, 1)]
    assert rows(read(node, "c", "CLAIM", 0)) == [("1-0", 0, 2)]


def test_released_entries_come_first_then_the_longest_idle_and_ids_break_ties() -> None:
    node = node_with(8)
    read(node, "c", "COUNT", 7)
    for id, idle_ms in ((1, 100), (2, 300), (3, 300), (4, 500), (5, 900), (6, 0), (7, 99)):
        node.call("XCLAIM", "s", "g", "c", 0, f"{id}-0", "IDLE", idle_ms, "JUSTID")
    node.call("XNACK", "s", "g", "FAIL", "IDS", 2, "6-0", "1-0")
    node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "4-0")
    assert rows(read(node, "d", "CLAIM", 100, "COUNT", 2)) == [
        ("6-0", START_MS, 1),
        ("1-0", START_MS, 1),
    ]
    assert rows(read(node, "d", "CLAIM", 100)) == [
        ("4-0", START_MS, 1),
        ("5-0", 900, 1),
        ("2-0", 300, 1),
        ("3-0", 300, 1),
        ("8-0", 0, 0),
    ]


def test_an_entry_released_again_goes_to_the_end() -> None:
    node = node_with(3)
    read(node, "c")
    node.call("XNACK", "s", "g", "FAIL", "IDS", 3, "1-0", "2-0", "3-0")
    node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "1-0")
    assert [row[0] for row in rows(read(node, "d", "CLAIM", 0))] == ["2-0", "3-0", "1-0"]


def test_released_entries_are_claimed_whatever_idle_time_is_asked_for() -> None:
    node = node_with(2)
    read(node, "c")
    node.call("XNACK", "s", "g", "SILENT", "IDS", 1, "2-0")
    assert rows(read(node, "d", "CLAIM", COUNT_MAX)) == [("2-0", START_MS, 0)]


def test_an_entry_without_tries_left_is_claimed_and_its_count_stays() -> None:
    """Nothing in the server acts on FATAL; it is the reader who sees the count."""
    node = node_with(1)
    read(node, "c")
    node.call("XNACK", "s", "g", "FATAL", "IDS", 1, "1-0")
    assert rows(read(node, "d", "CLAIM", 0)) == [("1-0", START_MS, COUNT_MAX)]
    assert pending(node) == [("1-0", "d", 0, COUNT_MAX)]


def test_deleted_entries_are_passed_over_and_remain_pending() -> None:
    node = node_with(4)
    read(node, "c")
    node.advance(10)
    node.call("XDEL", "s", "2-0")
    node.call("XTRIM", "s", "MINID", "2-0")
    assert rows(read(node, "d", "CLAIM", 10)) == [("3-0", 10, 1), ("4-0", 10, 1)]
    assert pending(node) == [
        ("1-0", "c", 10, 1),
        ("2-0", "c", 10, 1),
        ("3-0", "d", 0, 2),
        ("4-0", "d", 0, 2),
    ]


def test_deleted_entries_take_nothing_of_the_count() -> None:
    node = node_with(4)
    read(node, "c")
    node.advance(10)
    node.call("XDEL", "s", "1-0", "2-0")
    assert rows(read(node, "d", "CLAIM", 10, "COUNT", 1)) == [("3-0", 10, 1)]


def delete_the_oldest(node: SimNode, n: int) -> None:
    """Let a first read pass over the ``n`` oldest pending entries: they are gone."""
    node.call("XDEL", "s", *[f"{i}-0" for i in range(1, n + 1)])
    assert rows(read(node, "b", "CLAIM", 100, "COUNT", 1)) == [(f"{n + 1}-0", 100, 1)]


def test_what_is_put_among_those_passed_over_is_seen() -> None:
    node = node_with(6)
    read(node, "a")
    node.advance(100)
    delete_the_oldest(node, 3)
    node.call("XCLAIM", "s", "g", "c", 0, "6-0", "IDLE", 1000)
    assert rows(read(node, "b", "CLAIM", 100, "COUNT", 1)) == [("6-0", 1000, 2)]
    node.call("XNACK", "s", "g", "SILENT", "IDS", 1, "5-0")
    assert rows(read(node, "b", "CLAIM", 100, "COUNT", 1)) == [("5-0", START_MS + 100, 0)]


def test_who_waits_passes_over_what_is_gone_too() -> None:
    node = node_with(70)
    read(node, "a")
    node.call("XDEL", "s", *[f"{i}-0" for i in range(1, 70)])
    client = wait(node, "b", "CLAIM", 100)
    node.advance(99)
    assert got(client) is None
    node.advance(1)
    assert got(client) == [("70-0", 100, 1)]


def test_what_was_passed_over_is_dropped_once_there_is_an_idle_timeout() -> None:
    node = node_with(5)
    read(node, "a")
    node.advance(100)
    delete_the_oldest(node, 3)
    node.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 100)
    node.advance(100)
    read(node, "b")
    assert [row[0] for row in pending(node)] == ["4-0", "5-0"]


def test_deliveries_by_a_clock_set_back_are_not_passed_over() -> None:
    node = node_with(4)
    read(node, "a", "COUNT", 3)
    node.advance(100)
    node.call("XDEL", "s", "1-0", "2-0", "3-0")
    assert read(node, "b", "CLAIM", 100, "MAXCOUNT", 1) is not None
    node.call("XCLAIM", "s", "g", "c", 0, "4-0", "TIME", START_MS - 5)
    assert rows(read(node, "b", "CLAIM", 100)) == [("4-0", 105, 2)]


def test_new_entries_follow_up_to_the_count() -> None:
    node = node_with(5)
    read(node, "c", "COUNT", 2)
    node.advance(10)
    assert rows(read(node, "d", "CLAIM", 10, "COUNT", 3)) == [
        ("1-0", 10, 1),
        ("2-0", 10, 1),
        ("3-0", 0, 0),
    ]
    assert rows(read(node, "d", "CLAIM", 10)) == [("4-0", 0, 0), ("5-0", 0, 0)]


def test_the_same_id_comes_twice_after_setid_back() -> None:
    node = node_with(2)
    read(node, "c")
    node.advance(10)
    node.call("XGROUP", "SETID", "s", "g", 0)
    assert rows(read(node, "d", "CLAIM", 10, "COUNT", 3)) == [
        ("1-0", 10, 1),
        ("2-0", 10, 1),
        ("1-0", 0, 0),
    ]
    assert pending(node) == [("1-0", "d", 0, 1), ("2-0", "d", 0, 2)]


def test_noack_keeps_what_is_claimed_and_not_what_is_new() -> None:
    node = node_with(2)
    read(node, "c", "COUNT", 1)
    assert rows(read(node, "d", "CLAIM", 0, "NOACK")) == [("1-0", 0, 1), ("2-0", 0, 0)]
    assert pending(node) == [("1-0", "d", 0, 2)]


@pytest.mark.parametrize("proto", [2, 3])
def test_claim_is_ignored_where_the_history_is_asked_for(proto: int) -> None:
    node = node_with(2, "s", "t")
    read(node, "c", "COUNT", 1)
    read(node, "d", "COUNT", 1)
    node.call("HELLO", proto)
    node.advance(10)
    group = ("XREADGROUP", "GROUP", "g", "d", "CLAIM", 0, "STREAMS")
    entry = b"*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
    body = b"$1\r\ns\r\n*1\r\n" + entry
    head = b"*1\r\n*2\r\n" if proto == 2 else b"%1\r\n"
    assert node.raw(*group, "s", 0) == head + body
    assert pending(node) == [("1-0", "c", 10, 1), ("2-0", "d", 0, 2)]
    # of one stream the history, of the other what is new: each row in its own form
    reply = node.call(*group, "s", "t", 0, ">")
    history, new = list(reply.items()) if isinstance(reply, dict) else reply
    assert [len(row) for row in history[1]] == [2]
    assert rows_of(new) == [("1-0", 0, 0), ("2-0", 0, 0)]


@pytest.mark.parametrize("proto", [2, 3])
def test_every_row_has_two_integers_more(proto: int) -> None:
    node = node_with(2)
    read(node, "c", "COUNT", 1)
    node.advance(1234)
    node.call("HELLO", proto)
    fields = b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
    head = (b"*1\r\n*2\r\n" if proto == 2 else b"%1\r\n") + b"$1\r\ns\r\n"
    assert node.raw(*command("d", "CLAIM", 1000)) == (
        head
        + b"*2\r\n"
        + (b"*4\r\n$3\r\n1-0\r\n" + fields + b":1234\r\n:1\r\n")
        + (b"*4\r\n$3\r\n2-0\r\n" + fields + b":0\r\n:0\r\n")
    )
    assert node.raw(*command("d", "CLAIM", 1000)) == (b"*-1\r\n" if proto == 2 else b"_\r\n")


def test_claiming_moves_neither_the_last_id_nor_the_entries_read() -> None:
    node = node_with(3)
    read(node, "c", "COUNT", 2)
    before = node.call("XINFO", "GROUPS", "s")[0]
    read(node, "c", "CLAIM", 0, "COUNT", 2)
    assert node.call("XINFO", "GROUPS", "s")[0] == before


def test_each_stream_gives_what_is_due_in_its_own_group() -> None:
    node = node_with(2, "s", "t", "u")
    read(node, "c", "COUNT", 1, keys="st")
    node.advance(10)
    node.call("XACK", "t", "g", "1-0")
    reply = read(node, "d", "CLAIM", 10, "COUNT", 2, keys="stu")
    assert [(key, rows_of([key, found])) for key, found in reply] == [
        (b"s", [("1-0", 10, 1), ("2-0", 0, 0)]),
        (b"t", [("2-0", 0, 0)]),
        (b"u", [("1-0", 0, 0), ("2-0", 0, 0)]),
    ]


def test_a_consumer_is_made_and_seen_even_if_nothing_is_due() -> None:
    node = node_with(1)
    read(node, "c")
    node.advance(10)
    assert read(node, "d", "CLAIM", 11) is None
    found = [
        dict(zip(one[::2], one[1::2], strict=True))
        for one in node.call("XINFO", "CONSUMERS", "s", "g")
    ]
    assert [(one[b"name"], one[b"idle"], one[b"inactive"]) for one in found] == [
        (b"c", 10, 10),
        (b"d", 0, -1),
    ]


class RunningClock(ManualClock):
    """Each look finds it a millisecond later."""

    def wall_ms(self) -> int:
        self.set_wall_ms(super().wall_ms() + 1)
        return super().wall_ms()


def test_a_command_has_one_clock() -> None:
    node = SimNode(clock=RunningClock(START_MS))
    node.call("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    for _ in range(3):
        node.call("XADD", "s", "*", "f", "v")
    read(node, "c")
    full = node.call("XINFO", "STREAM", "s", "FULL")
    (group,) = dict(zip(full[::2], full[1::2], strict=True))[b"groups"]
    (consumer,) = dict(zip(group[::2], group[1::2], strict=True))[b"consumers"]
    shown = dict(zip(consumer[::2], consumer[1::2], strict=True))
    times = {row[1] for row in shown[b"pending"]}
    assert times == {shown[b"seen-time"]} == {shown[b"active-time"]}
    again = rows(read(node, "d", "CLAIM", 0))
    assert len({idle for _, idle, _ in again}) == 1


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────


def test_who_waits_is_woken_when_the_first_entry_falls_due() -> None:
    node = node_with(2)
    read(node, "c", "COUNT", 1)
    node.advance(30)
    read(node, "c", "COUNT", 1)
    reader = wait(node, "d", "CLAIM", 100)
    node.advance(69)
    assert got(reader) is None
    node.advance(1)
    assert got(reader) == [("1-0", 100, 1)]
    assert pending(node) == [("1-0", "d", 0, 2), ("2-0", "c", 70, 1)]


def test_who_waits_is_woken_by_what_becomes_pending_later() -> None:
    node = node_with(0)
    node.call("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    reader = wait(node, "d", "CLAIM", 100)
    first = node.connect()
    first.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    node.call("XADD", "s", "1-0", "f", "v")
    assert got(reader) == [("1-0", 0, 0)]  # first come, first served
    node.call("XADD", "s", "2-0", "f", "v")
    assert first.take() is not None
    reader.send(*command("d", "CLAIM", 300, "BLOCK", 0))
    node.run()
    node.advance(299)
    assert got(reader) is None
    node.advance(1)
    assert got(reader) == [("1-0", 300, 1), ("2-0", 300, 1)]


def test_who_waits_is_woken_by_a_release() -> None:
    node = node_with(2)
    read(node, "c", "COUNT", 1)
    node.call("XGROUP", "SETID", "s", "g", "2-0")
    reader = wait(node, "d", "CLAIM", 1_000_000)
    node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "1-0")
    assert got(reader) == [("1-0", START_MS, 1)]
    reader = wait(node, "d", "CLAIM", 1_000_000)
    node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "2-0", "FORCE")
    assert got(reader) == [("2-0", START_MS, 0)]


def test_who_waits_is_woken_by_a_claim_that_makes_an_entry_due() -> None:
    node = node_with(1)
    read(node, "c")
    reader = wait(node, "d", "CLAIM", 100)
    node.call("XCLAIM", "s", "g", "c", 0, "1-0", "IDLE", 99, "JUSTID")
    assert got(reader) is None
    node.advance(1)
    assert got(reader) == [("1-0", 100, 1)]


@pytest.mark.parametrize(
    "end", [("XDEL", "s", "1-0"), ("XTRIM", "s", "MAXLEN", 0), ("XACK", "s", "g", "1-0")]
)
@pytest.mark.parametrize("when", ["before", "while it waits"])
def test_what_is_gone_wakes_nobody(end: tuple[str, ...], when: str) -> None:
    node = node_with(1)
    read(node, "c")
    if when == "before":
        node.call(*end)
    reader = wait(node, "d", "CLAIM", 100)
    if when != "before":
        node.call(*end)
    node.advance(100_000)
    assert got(reader) is None
    assert node.skin.deadline_ms is None
    node.call("XADD", "s", "5-0", "f", "v")
    assert got(reader) == [("5-0", 0, 0)]


def test_a_release_of_what_is_gone_wakes_nobody() -> None:
    node = node_with(1)
    read(node, "c")
    node.call("XDEL", "s", "1-0")
    reader = wait(node, "d", "CLAIM", 100)
    assert node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "1-0") == 1
    node.advance(100_000)
    assert got(reader) is None
    assert node.skin.deadline_ms is None


def test_a_wait_ends_by_its_time_before_the_entry_falls_due() -> None:
    node = node_with(1)
    read(node, "c")
    client = node.connect()
    client.send(*command("d", "CLAIM", 100, "BLOCK", 99))
    node.advance(99)
    assert client.take() == b"*-1\r\n"
    node.advance(1)
    assert client.take() is None
    assert pending(node) == [("1-0", "c", 100, 1)]


def test_due_entries_are_given_one_reader_after_the_other() -> None:
    node = node_with(2)
    read(node, "c")
    readers = [wait(node, name, "CLAIM", 100, "COUNT", 1) for name in "def"]
    node.advance(100)
    assert [got(reader) for reader in readers] == [[("1-0", 100, 1)], [("2-0", 100, 1)], None]


# ── limits of the whole reply ────────────────────────────────────────────────────────────────────


def test_maxcount_counts_what_is_claimed_and_what_is_new() -> None:
    node = node_with(4)
    read(node, "c", "COUNT", 2)
    node.advance(10)
    assert rows(read(node, "d", "CLAIM", 10, "MAXCOUNT", 1)) == [("1-0", 10, 1)]
    assert pending(node) == [("1-0", "d", 0, 2), ("2-0", "c", 10, 1)]
    assert rows(read(node, "d", "CLAIM", 10, "MAXCOUNT", 2)) == [("2-0", 10, 1), ("3-0", 0, 0)]
    assert [row[0] for row in pending(node)] == ["1-0", "2-0", "3-0"]


def test_maxcount_goes_on_from_stream_to_stream() -> None:
    node = node_with(3, "s", "t")
    read(node, "c", "COUNT", 2, keys="st")
    node.advance(10)
    reply = read(node, "d", "CLAIM", 10, "COUNT", 2, "MAXCOUNT", 3, keys="st")
    assert [(key, rows_of([key, found])) for key, found in reply] == [
        (b"s", [("1-0", 10, 1), ("2-0", 10, 1)]),
        (b"t", [("1-0", 10, 1)]),
    ]
    assert pending(node, "t") == [("1-0", "d", 0, 2), ("2-0", "c", 10, 1)]


@pytest.mark.parametrize(
    ("proto", "maxsize", "given"),
    [
        # The head of the stream takes 11 bytes, or 7; a claimed row 31 + 5 + 4, a new one 31 + 8.
        (2, 1, 1),
        (2, 51, 1),
        (2, 52, 2),
        (2, 91, 2),
        (2, 92, 3),
        (2, 130, 3),
        (2, 131, 4),
        (3, 47, 1),
        (3, 48, 2),
        (3, 87, 2),
        (3, 88, 3),
        (3, 126, 3),
        (3, 127, 4),
    ],
)
def test_maxsize_counts_the_two_integers(proto: int, maxsize: int, given: int) -> None:
    node = node_with(4)
    read(node, "c", "COUNT", 2)
    node.advance(10)
    node.call("HELLO", proto)
    reply = read(node, "d", "CLAIM", 10, "MAXSIZE", maxsize)
    found = rows(list(reply.items()) if isinstance(reply, dict) else reply)
    everything = [("1-0", 10, 1), ("2-0", 10, 1), ("3-0", 0, 0), ("4-0", 0, 0)]
    assert found == everything[:given]
    claimed = [row for row in pending(node) if row[1] == "d"]
    assert [row[0] for row in claimed] == [row[0] for row in found]


def test_who_waits_and_claims_is_bounded_too() -> None:
    node = node_with(3)
    read(node, "c")
    reader = wait(node, "d", "CLAIM", 100, "MAXCOUNT", 2)
    node.advance(100)
    assert got(reader) == [("1-0", 100, 1), ("2-0", 100, 1)]
    assert pending(node)[2] == ("3-0", "c", 100, 1)


def test_maxsize_of_a_reader_that_waits_counts_its_own_reply_only() -> None:
    """What was sent to the client before it waited is no part of the reply."""
    node = node_with(3)
    read(node, "c")
    client = node.connect()
    client.send("XRANGE", "s", "-", "+")
    client.send(*command("d", "CLAIM", 100, "MAXSIZE", 53, "BLOCK", 0))
    node.run()
    assert client.take() is not None
    node.advance(100)
    assert got(client) == [("1-0", 100, 1), ("2-0", 100, 1)]


def test_no_idle_time_leaves_released_entries_out_of_xpending() -> None:
    node = node_with(2)
    read(node, "a")
    node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "2-0")
    for idle_ms in (1, START_MS, START_MS + 1, COUNT_MAX):
        found = node.call("XPENDING", "s", "g", "IDLE", idle_ms, "-", "+", 10)
        assert [row[0] for row in found] == [b"2-0"], idle_ms
