"""Merges in a real child process: they happen, they survive being killed, a restart finds all."""

from __future__ import annotations

import os
import pathlib
import signal
import threading

import pytest

from lsmstore.compaction import Kind
from lsmstore.compactor import MergeFailed
from lsmstore.errors import Corruption, DiskFull
from lsmstore.merge import MergeRequest, MergeResult
from lsmstore.options import StoreOptions
from lsmstore.runner import ChildRunner, decode_request, decode_result, encode_request
from lsmstore.version import LargeRun, RowFileMeta, SegmentMeta
from tests.respclient import Client
from tests.wire.conftest import Starter

ROUNDS = 9
POLLS_MAX = 200_000


def figures(client: Client) -> dict[str, int]:
    lines = client.call("INFO", "all").decode().splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return {name: int(value) for name, value in pairs if value.isdecimal()}


def until(client: Client, name: str, at_least: int) -> None:
    for _ in range(POLLS_MAX):
        if figures(client)[name] >= at_least:
            return
    raise AssertionError(f"{name} stays below {at_least}: {figures(client)}")


@pytest.mark.timeout(120)
def test_small_files_become_fewer_and_what_is_deleted_leaves_the_disk(start: Starter) -> None:
    server = start("--appendfsync", "no")
    with server.connect() as client:
        for round_ in range(ROUNDS):
            for i in range(20):
                client.call("XADD", f"s{i}", f"{round_ + 1}-1", "f", f"value {round_} {i}")
            client.call("SAVE")
            until(client, "flushes", round_ + 1)
        until(client, "compactions_rows", 1)
        until(client, "compactions_join", 1)
        before = [client.raw("XRANGE", f"s{i}", "-", "+") for i in range(20)]
        found = figures(client)
        assert found["segments"] <= 2
        assert found["compaction_failures"] == 0
        assert 0 < found["compaction_memory_bytes"] < 200 << 20
    server.kill()
    server.start()
    with server.connect() as client:
        assert [client.raw("XRANGE", f"s{i}", "-", "+") for i in range(20)] == before
        client.call("FLUSHALL")
        client.call("SAVE")
        until(client, "flushes", 1)
        assert figures(client)["segments"] == 0


REQUEST = MergeRequest(
    "/nowhere",
    Kind.JOIN,
    (1, 2),
    (7, 8),
    0,
    (0, 9),
    (5,),
    {1: (4,), 2: ()},
    {4: (7, 9)},
    {3: b"\x00\xff"},
    True,
    StoreOptions(),
)


def test_a_request_reads_back_as_it_was_written() -> None:
    back = decode_request(encode_request(REQUEST))
    assert back.options == REQUEST.options
    assert {number: tuple(sids) for number, sids in back.dead.items()} == REQUEST.dead
    assert {sid: tuple(ends) for sid, ends in back.cuts.items()} == REQUEST.cuts
    assert back._replace(dead=REQUEST.dead, cuts=REQUEST.cuts) == REQUEST


def test_an_answer_is_believed_as_far_as_it_makes_sense() -> None:
    whole = (
        b'{"segments": [[7, 100, 0, 9, 2, 5, 0, [[4, 60, 1]]]], '
        b'"rows": [8, 0, 50, 0, 9, 3], "memory_bytes": 12}'
    )
    assert decode_result(whole, "d") == MergeResult(
        (SegmentMeta(7, 100, 0, 9, 2, 5, 0, (LargeRun(4, 60, 1),)),),
        RowFileMeta(8, 0, 50, 0, 9, 3),
        12,
    )
    with pytest.raises(DiskFull):
        decode_result(b'{"error": "full"}', "d")
    with pytest.raises(Corruption, match="x is damaged at offset 3: y"):
        decode_result(b'{"error": "damaged", "path": "x", "offset": 3, "why": "y"}', "d")
    for garbage in (b"", b"\xff", b"[]", b"{}", b'{"error": "no memory"}', whole[:-3], b"17"):
        with pytest.raises(MergeFailed):
            decode_result(garbage, "d")


def test_a_child_that_fails_is_killed_or_cannot_begin_is_a_merge_that_failed(
    tmp_path: pathlib.Path,
) -> None:
    request = REQUEST._replace(directory=str(tmp_path))
    large = request._replace(dictionaries={1: bytes(8 << 20)})
    with pytest.raises(Corruption, match="missing"):
        ChildRunner("streams.mergeworker").run(request)
    with pytest.raises(MergeFailed, match="ended with 1"):
        ChildRunner("streams.no_such_module").run(request)
    with pytest.raises(MergeFailed, match="ended with"):
        ChildRunner("streams.mergeworker", memory_limit_bytes=1 << 20).run(large)
    pipe = tmp_path / f"{5:08d}.row"
    os.mkfifo(pipe)  # who opens it waits for ever
    runner = ChildRunner("streams.mergeworker")
    failures: list[str] = []

    def run() -> None:
        try:
            runner.run(request)
        except MergeFailed as error:
            failures.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while runner._child is None:
        thread.join(0.01)
    runner.cancel()
    thread.join()
    assert f"ended with -{signal.SIGKILL.value}" in failures[0]
    with pytest.raises(MergeFailed, match="stops"):
        runner.run(request)
