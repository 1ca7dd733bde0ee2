"""Back from respq to a redis-server: as payloads it takes, or, where they are long, as commands."""

from __future__ import annotations

import pathlib
import random

import pytest

from tests import servers
from tests.migrate.support import delay_none, migrate, url
from tests.migrate.ugly import Ugly, first_difference, known
from tests.respclient import Reply
from tools.migrate import back

TIMES = (b"seen-time", b"active-time")


@pytest.mark.parametrize("version", [8, 7])
@pytest.mark.parametrize("by_commands", [False, True])
def test_there_and_back(
    version: int, by_commands: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_commands:
        monkeypatch.setattr(back, "PAYLOAD_BYTES", 0)
        monkeypatch.setattr(back, "PAGE", 64)
    with (
        servers.redis(tmp_path / "source", version, *delay_none()) as source,
        servers.respq(tmp_path / "middle", presents=servers.REDIS_8_VERSION) as middle,
        servers.redis(tmp_path / "end", version) as end,
        source.connect() as theirs,
        end.connect() as back_there,
    ):
        ugly = Ugly(theirs, random.Random(f"{version} back"), extra=version == 8)
        ugly.run(600)
        theirs.call("PEXPIREAT", "a", 4_000_000_000_000)
        assert migrate("run", url(source), "-u", url(middle)).code == 0
        done = migrate("back", url(end), "-u", url(middle))
        assert done.code == 0, done
        less = TIMES if by_commands else ()
        difference = first_difference(
            known(theirs, version, *less), known(back_there, version, *less)
        )
        assert not difference, difference
        verdict = migrate("verify", url(middle), "-u", url(end))
        if not by_commands:
            assert verdict.code == 0, verdict
        refused = migrate("back", url(end), "-u", url(middle))
        assert refused.code == 3
        assert "already" in refused.err
        again = migrate("back", url(end), "-u", url(middle), "--replace")
        assert again.code == 0, again
        difference = first_difference(
            known(theirs, version, *less), known(back_there, version, *less)
        )
        assert not difference, difference


def test_what_a_server_has_no_place_for_is_said_or_brought(tmp_path: pathlib.Path) -> None:
    with (
        servers.respq(tmp_path / "one") as one,
        servers.respq(tmp_path / "two") as two,
        servers.respq(tmp_path / "three") as three,
        servers.redis(tmp_path / "end", 8) as end,
        one.connect() as client,
        two.connect() as other,
        three.connect() as third,
    ):
        for i in range(1, 6):
            client.call("XADD", "s", "IDMP", "p", f"i{i}", "*", "f", "v")
        client.call("XGROUP", "CREATE", "s", "g", 0)
        client.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        ids = [entry[0] for entry in client.call("XRANGE", "s", "-", "+")]
        client.call("XNACK", "s", "g", "FAIL", "IDS", 2, ids[2], ids[0])
        client.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 5000)
        done = migrate("back", url(end), "-u", url(one))
        assert done.code == 0
        assert "have no place there" in done.out
        assert "without a name" in done.out
        # to another respq everything arrives, by the way back and by scanning
        assert migrate("back", url(two), "-u", url(one)).code == 0
        assert migrate("run", url(one), "-u", url(three)).code == 0
        assert third.call("XQ.HEAD", "s") == client.call("XQ.HEAD", "s")
        assert third.call("XQ.GROUP", "GET", "s", "g") == [b"idle-timeout", 5000]
        for there in (other, third):
            assert there.call("XPENDING", "s", "g", "-", "+", 9)[0][1] == b""
            assert there.call("XADD", "s", "IDMP", "p", "i3", "*", "f", "v") == ids[2]
        assert migrate("verify", url(one), "-u", url(three)).code == 0
        client.call("XACK", "s", "g", ids[1])
        done = migrate("cutover", url(one), "-u", url(three))
        assert done.code == 0, done
        assert "its writers wait" in done.out
        assert third.call("XQ.HEAD", "s") == client.call("XQ.HEAD", "s")
        client.call("CLIENT", "UNPAUSE")
        third.call("XACK", "s", "g", ids[4])
        verdict = migrate("verify", url(one), "-u", url(three))
        assert verdict.code == 1
        assert f"entry {ids[4].decode()} is pending at the source only" in verdict.out


def test_back_needs_a_respq(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "one", 7) as one,
        servers.redis(tmp_path / "two", 8) as two,
        two.connect() as client,
    ):
        done = migrate("back", url(two), "-u", url(one))
        assert done.code == 3
        assert "is no respq" in done.err
        assert not isinstance(client.call("PING"), Reply)
