"""A hand-over under load: producers, consumers who acknowledge, and a ledger that balances.

Every job that was accepted is done at least once on one side or the other, and what was
acknowledged is never delivered again after the hand-over.
"""

from __future__ import annotations

import pathlib
import threading

import pytest

from tests import servers
from tests.migrate.support import delay_none, migrate, url
from tests.respclient import Client, Closed, Reply
from tests.servers import Server


class Ledger:
    """What producers and consumers saw."""

    def __init__(self) -> None:
        self.accepted: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.again: set[bytes] = set()
        self.refused = 0
        self.stop = threading.Event()


def produce(server: Server, ledger: Ledger, first: int) -> None:
    with server.connect() as client:
        n = first
        while not ledger.stop.is_set():
            reply = client.call("XADD", "jobs", "*", "n", n)
            if isinstance(reply, Reply):
                ledger.refused += 1
                return
            ledger.accepted.add(b"%d" % n)
            n += 1


def consume(server: Server, ledger: Ledger, name: str, *, until_empty: bool = False) -> None:
    with server.connect() as client:
        if until_empty:
            retry(client, ledger, name)
        while not ledger.stop.is_set() or until_empty:
            block = () if until_empty else ("BLOCK", 100)
            words = ("XREADGROUP", "GROUP", "g", name, "COUNT", 10, *block, "STREAMS", "jobs", ">")
            try:
                reply = client.call(*words)
            except Closed:
                return
            if isinstance(reply, Reply) or (reply is None and until_empty):
                return
            for _, entries in reply or ():
                acknowledge(client, ledger, entries)


def acknowledge(client: Client, ledger: Ledger, entries: list[list[object]]) -> None:
    for id, fields in entries:
        job = fields[1]  # type: ignore[index]
        if job in ledger.acknowledged:
            ledger.again.add(job)
        if client.call("XACK", "jobs", "g", id) == 1:  # type: ignore[arg-type]
            ledger.acknowledged.add(job)


def retry(client: Client, ledger: Ledger, name: str) -> None:
    """Take over what others had not finished."""
    while True:
        reply = client.call("XAUTOCLAIM", "jobs", "g", name, 0, "0", "COUNT", 100)
        if not reply[1]:
            return
        acknowledge(client, ledger, reply[1])


@pytest.mark.parametrize("version", [8, 7])
@pytest.mark.parametrize("mode", ["takeover", "follow", "scan"])
def test_the_ledger_balances(mode: str, version: int, tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", version, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        theirs.call("XGROUP", "CREATE", "jobs", "g", 0, "MKSTREAM")
        ledger = Ledger()
        threads = [
            threading.Thread(target=produce, args=(source, ledger, 10_000_000 * (1 + i)))
            for i in range(2)
        ] + [threading.Thread(target=consume, args=(source, ledger, f"c{i}")) for i in range(2)]
        for thread in threads:
            thread.start()
        try:
            words = [url(source), "-u", url(target), "--mode", mode]
            run = migrate("run", *words)
            assert run.code == 0, run
            done = migrate("cutover", *words, "--json")
            assert done.code == 0, done
        finally:
            for thread in threads[:2]:
                thread.join(30)
            ledger.stop.set()
            for thread in threads:
                thread.join(30)
        assert ledger.refused == 2
        assert done.json["gap_s"] < 1
        assert len(ledger.accepted) > 100
        # the target has what the source has
        assert ours.raw("XRANGE", "jobs", "-", "+") == theirs.raw("XRANGE", "jobs", "-", "+")
        assert ours.call("XLEN", "jobs") == len(ledger.accepted)
        assert ours.call("XPENDING", "jobs", "g") == theirs.call("XPENDING", "jobs", "g")
        ledger.again.clear()
        consume(target, ledger, "after", until_empty=True)
        assert ledger.acknowledged == ledger.accepted
        assert ledger.again == set()
        assert ours.call("XPENDING", "jobs", "g")[0] == 0
