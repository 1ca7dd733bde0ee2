"""A plan says what is there, and changes nothing."""

from __future__ import annotations

import pathlib

from tests import servers
from tests.migrate.support import migrate, url


def test_a_plan_of_a_server_and_of_its_file(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        for i in range(1, 31):
            theirs.call("XADD", "orders", f"{i}-0", "f", "v")
        theirs.call("XGROUP", "CREATE", "orders", "g", 0)
        theirs.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 7, "STREAMS", "orders", ">")
        theirs.call("XDEL", "orders", "1-0", "2-0")
        theirs.call("HSET", "hash", "f", "v")
        theirs.call("SET", "text", "v", "EX", 1000)
        theirs.call("SELECT", 3)
        theirs.call("XGROUP", "CREATE", "empty", "g", 0, "MKSTREAM")
        theirs.call("SAVE")
        before = theirs.call("INFO", "replication")
        file = str(source.directory / "dump.rdb")
        for where, mode in ((url(source), "takeover"), (file, "file")):
            done = migrate("plan", where, "-u", url(target), "--json")
            assert (done.code, done.err) == (0, "")
            plan = done.json
            assert plan["mode"] == mode
            assert plan["target_is"] == "empty"
            assert (plan["entries"], plan["strings"], plan["expiring"]) == (28, 1, 1)
            assert plan["others"] == {"hash": 1}
            rows = {row["key"]: row for row in plan["streams"]}
            orders = rows["orders"]
            assert orders["bytes"] > 0
            assert (orders["groups"], orders["pending"], orders["deleted"]) == (1, 7, 2)
            assert rows["empty"]["db"] == 3
            lines = migrate("plan", where, "-u", url(target)).out.split("\n")
            assert lines[0].split()[:2] == ["stream", "entries"]
            assert lines[1].split()[:2] == ["orders", "28"]
            assert lines[-2] == f"next: respq migrate run {where} -u {url(target)}"
        assert "8.2.3" in migrate("plan", file, "-u", url(target)).out
        assert ours.call("DBSIZE") == 0
        assert theirs.call("INFO", "replication") == before
        unready = migrate("plan", file, "-u", "redis://127.0.0.1:1")
        assert unready.code == 0
        assert "not ready: redis://127.0.0.1:1 does not answer" in unready.out
