"""Whatever differs is found and named; a scan in one process finds what was deleted meanwhile."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Iterator

import pytest

from tests import servers
from tests.migrate.support import migrate, url
from tests.servers import Server
from tools.migrate.link import close_all, parse_address
from tools.migrate.move import Move
from tools.migrate.progress import Progress
from tools.migrate.source import open_source


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder: pathlib.Path = tmp_path_factory.mktemp("verify")
    with servers.redis(folder / "source", 8) as source, servers.respq(folder / "target") as target:
        yield source, target


FOUND = {
    "XADD s 99-0 f v": "s: entry 99-0 is at the target only",
    "XDEL s 5-0": "s: entry 5-0 is at the source only",
    "XTRIM s MAXLEN 10": "s: entry 1-0 is at the source only",
    "XSETID s 99-0": "s: last-generated-id: 20-0 at the source, 99-0 at the target",
    "XSETID s 20-0 ENTRIESADDED 77": "s: entries-added: 20 at the source, 77 at the target",
    "XSETID s 20-0 MAXDELETEDID 3-3": "s: max-deleted-entry-id: 0-0 at the source, 3-3",
    "XGROUP SETID s g 7-0 ENTRIESREAD 9": "s: group g: last-delivered-id 9-0 against 7-0",
    "XGROUP SETID s g 9-0 ENTRIESREAD 5": "s: group g: entries-read 9 against 5",
    "XGROUP CREATE s new 0": "s: group new: the source does not have it",
    "XGROUP DESTROY s g": "s: group g: the target does not have it",
    "XGROUP CREATECONSUMER s g new": "s: group g: consumer new is on one side only",
    "XACK s g 4-0": "s: group g: entry 4-0 is pending at the source only",
    "XCLAIM s g d 0 10-0 FORCE": "s: group g: entry 10-0 is pending at the target only",
    "XCLAIM s g d 0 4-0 TIME 1000 JUSTID": "s: group g: entry 4-0 is pending for c against d",
    "XCLAIM s g c 0 4-0 IDLE 90000 JUSTID": "s: group g: entry 4-0 was delivered at",
    "XCLAIM s g c 0 4-0 RETRYCOUNT 7 JUSTID TIME now": "was delivered 1 times against 7",
    "PERSIST s": "s: it expires at 4000000000000 at the source, at 0 at the target",
    "DEL s": "s: the target does not have it",
    "SET s text": "s: it is a string at the target",
    "SET k other": "k: the target has another value",
    "DEL k": "k: the target does not have it",
    "SET more text": "more: the source does not have it",
}


@pytest.mark.parametrize("words", FOUND)
def test_whatever_differs_is_found(pair: tuple[Server, Server], words: str) -> None:
    source, target = pair
    with source.connect() as theirs, target.connect() as ours:
        for client in (theirs, ours):
            client.call("FLUSHALL")
        for i in range(1, 21):
            theirs.call("XADD", "s", f"{i}-0", "f", "v")
        theirs.call("XGROUP", "CREATE", "s", "g", 0)
        theirs.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 9, "STREAMS", "s", ">")
        theirs.call("XGROUP", "CREATECONSUMER", "s", "g", "d")
        theirs.call("PEXPIREAT", "s", 4_000_000_000_000)
        theirs.call("SET", "k", "v")
        assert migrate("run", url(source), "-u", url(target), "--mode", "scan").code == 0
        assert migrate("verify", url(source), "-u", url(target)).code == 0
        when = ours.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        row = when[when.index(b"groups") + 1][0]
        delivered_ms = row[row.index(b"pending") + 1][3][2]
        ours.call(*[delivered_ms if word == "now" else word for word in shlex.split(words)])
        verdict = migrate("verify", url(source), "-u", url(target))
        assert verdict.code == 1
        assert FOUND[words] in verdict.out


def test_a_scan_that_goes_on_finds_what_was_deleted(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with source.connect() as theirs, target.connect() as ours:
        for client in (theirs, ours):
            client.call("FLUSHALL")
        for key in ("s", "t", "u"):
            for i in range(1, 3001):
                theirs.send("XADD", key, f"{i}-0", "f", "v")
            for _ in range(3000):
                theirs.read()
        turns = iter(range(3))

        def stop() -> bool:
            turn = next(turns)
            if turn == 0:
                theirs.call("XDEL", "s", "1500-0", "2999-0", "3000-0")
                theirs.call("XTRIM", "t", "MINID", 700)
                theirs.call("XADD", "t", "4000-0", "f", "v")
                theirs.call("DEL", "u")
            return turn == 1

        found = open_source(url(source), "scan")
        move = Move(found, parse_address(url(target)), Progress(quiet=True))
        move.run(follow=stop)
        move.close()
        close_all()
        for key in ("s", "t"):
            assert ours.raw("XRANGE", key, "-", "+") == theirs.raw("XRANGE", key, "-", "+")
        assert ours.call("EXISTS", "u") == 0
        assert migrate("verify", url(source), "-u", url(target)).code == 0
