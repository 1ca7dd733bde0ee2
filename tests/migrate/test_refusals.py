"""What cannot be done is one line, what to try next, and the right exit code."""

from __future__ import annotations

import pathlib
import random
import subprocess

import pytest

from tests import servers
from tests.migrate.support import Done, delay_none, migrate, url
from tests.servers import free_port
from tests.wire.test_refusals import mounted


def one_line(done: Done, code: int, *words: str) -> None:
    """Exactly one line says what is wrong, and the next says what to try."""
    assert done.code == code, done
    lines = [line for line in done.err.strip().split("\n") if not line.startswith("mode ")]
    assert lines[0].startswith("respq migrate: ")
    assert len(lines) <= 2
    assert all(line.startswith("try: ") for line in lines[1:])
    assert done.out == ""
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("redis://127.0.0.1:1", 2, "Connection refused"),
        ("redis://nowhere.invalid", 2, "does not answer"),
        ("rediss://127.0.0.1:1", 2, "does not answer"),
        ("unix:///nowhere/redis.sock", 2, "No such file"),
        ("redis://127.0.0.1:port", 3, "is no URL"),
        ("redis://127.0.0.1:99999", 3, "is no URL"),
        ("redis://127.0.0.1:6379/x", 3, "'x' is no database"),
        ("redis://127.0.0.1:6379?db=1", 3, "behind the database"),
        ("redis://", 3, "names no host"),
        ("http://127.0.0.1:6379", 3, "neither a URL that I know nor a file"),
        ("redi://127.0.0.1:6379", 3, "neither a URL that I know nor a file"),
        ("redis:/127.0.0.1:6379", 2, "there is no file"),
        ("nowhere.rdb", 2, "there is no file"),
        ("redis://user:secret@127.0.0.1:port", 3, "is no URL"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run", "verify", "cutover"])
def test_sources_that_are_none(command: str, source: str, code: int, words: str) -> None:
    done = migrate(command, source, "-u", f"redis://127.0.0.1:{free_port()}")
    one_line(done, code, words)
    assert "secret" not in done.err


def test_files_that_are_none(tmp_path: pathlib.Path) -> None:
    for name, content, code in (
        ("empty.rdb", b"", 3),
        ("text.txt", b"hello", 3),
        ("short.rdb", b"REDIS0011", 3),
        ("new.rdb", b"REDIS9999\xff" + bytes(8), 2),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        done = migrate("run", str(file), "-u", "redis://127.0.0.1:1")
        one_line(done, code if code == 3 and name != "short.rdb" else 2)
    (tmp_path / "folder").mkdir()
    one_line(migrate("run", str(tmp_path / "folder")), 2, "without the manifest")
    one_line(migrate("run", str(file), "--mode", "scan"), 3, "is for a running server")


def test_sides_that_are_not_what_they_should_be(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none(), password="secret") as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        there = f"redis://127.0.0.1:{source.port}"
        let_in = f"redis://:secret@127.0.0.1:{source.port}"
        theirs.call("XADD", "s", "1-0", "f", "v")
        one_line(migrate("run", there, "-u", url(target)), 2, "asks for a password")
        wrong = f"redis://:wrong@127.0.0.1:{source.port}"
        one_line(migrate("run", wrong, "-u", url(target)), 2, "refuses to let us in")
        # the target
        one_line(migrate("run", let_in, "-u", "redis://127.0.0.1:1"), 2, "Connection refused")
        one_line(migrate("run", let_in, "-u", let_in), 3, "is no respq")
        # a source that has no PSYNC for us is scanned; nobody may follow it
        theirs.call("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-psync", "-replconf")
        weak = f"redis://weak:pw@127.0.0.1:{source.port}"
        one_line(migrate("run", weak, "-u", url(target), "--mode", "follow"), 3, "--mode scan")
        plan = migrate("plan", weak, "-u", url(target))
        assert plan.code == 0
        assert "mode: scan: it refuses replicas" in plan.out
        # a target that has something else, or is being filled from elsewhere
        ours.call("XADD", "s", "1-0", "f", "other")
        for mode in ("follow", "scan"):
            done = migrate("run", let_in, "-u", url(target), "--mode", mode)
            one_line(done, 3, "the target has another 's'", "--replace")
            again = migrate("run", let_in, "-u", url(target), "--mode", mode)
            one_line(again, 3, "the target has another 's'", "--replace")
            assert ours.call("XRANGE", "s", "-", "+") == [[b"1-0", [b"f", b"other"]]]
            ours.call("DEL", "respq:migrate")
        ours.call("DEL", "s")
        ours.call("SET", "s", "text")
        one_line(migrate("run", let_in, "-u", url(target)), 3, "it is a string")
        ours.call("DEL", "respq:migrate")
        done = migrate("run", let_in, "-u", url(target), "--replace")
        assert done.code == 0
        assert ours.call("XLEN", "s") == 1
        ours.call("SET", "respq:migrate", '{"source":"redis://a:1","by":"x","kind":"empty"}')
        one_line(migrate("run", let_in, "-u", url(target)), 3, "is being filled from redis://a:1")


@pytest.mark.parametrize("mode", ["follow", "scan"])
def test_a_beginning_that_is_there_is_gone_on_with(mode: str, tmp_path: pathlib.Path) -> None:
    """A target that has the same, or the beginning of it, is no conflict."""
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        for i in range(1, 3000):
            theirs.call("XADD", "s", f"{i}-0", "f", "v")
            if i < 2000:
                ours.call("XADD", "s", f"{i}-0", "f", "v")
        ours.call("SET", "mine", "stays")
        theirs.call("SET", "k", "v")
        words = ["run", url(source), "-u", url(target), "--mode", mode, "--json"]
        done = migrate(*words)
        assert done.code == 0
        assert (done.json["proven"], done.json["entries"]) == (1999, 1000)
        theirs.call("DEL", "k")
        ours.call("DEL", "respq:migrate:offset")
        assert migrate(*words).code == 0
        assert ours.call("GET", "mine") == b"stays"
        verdict = migrate("verify", url(source), "-u", url(target))
        assert verdict.code == 1
        assert "mine: the source does not have it" in verdict.out


@pytest.mark.parametrize("mode", ["follow", "scan"])
def test_a_target_whose_disk_is_full(mode: str, tmp_path: pathlib.Path) -> None:
    """It says so, and goes on once there is room."""
    with (
        mounted(tmp_path / "disk", "size=24m") as disk,
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(disk / "target", log_folder=tmp_path) as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        chance = random.Random(1)
        for i in range(400):
            theirs.call("XADD", "s", f"{i + 1}-0", "f", chance.randbytes(100_000))
        words = ["run", url(source), "-u", url(target), "--mode", mode]
        done = migrate(*words)
        one_line(done, 3, "takes no more", "give it room")
        assert 0 < ours.call("XLEN", "s") < 400
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        done = migrate(*words)
        assert done.code == 0, done
        assert migrate("verify", url(source), "-u", url(target)).code == 0
        target.stop()


@pytest.mark.parametrize("mode", ["follow", "scan"])
def test_groups_of_a_target_are_not_taken_back(mode: str, tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        for client in (theirs, ours):
            client.call("XADD", "s", "1-0", "f", "v")
            client.call("XGROUP", "CREATE", "s", "g", 0)
        ours.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        words = ["run", url(source), "-u", url(target), "--mode", mode]
        for _ in range(2):
            one_line(migrate(*words), 3, "the target has another 's'", "group g")
            assert ours.call("XPENDING", "s", "g")[0] == 1
        ours.call("XGROUP", "SETID", "s", "g", 0, "ENTRIESREAD", 0)
        ours.call("XGROUP", "DELCONSUMER", "s", "g", "c")
        theirs.call("XGROUP", "SETID", "s", "g", 0, "ENTRIESREAD", 0)
        assert migrate(*words).code == 0
        # what is the same is the source's from now on: groups move on with it
        theirs.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        ours.call("DEL", "respq:migrate:offset")
        assert migrate(*words).code == 0
        assert ours.call("XPENDING", "s", "g")[0] == 1


def test_commands_do_not_touch_what_is_not_the_sources(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        theirs.call("SET", "a", "theirs")
        ours.call("SET", "mine", "stays")
        words = ["run", url(source), "-u", url(target)]
        assert migrate(*words).code == 0
        theirs.call("SET", "a", "mine")
        assert migrate(*words).code == 0
        for command in (["SET", "mine", "x"], ["RENAME", "a", "mine"], ["FLUSHALL"]):
            theirs.call("SET", "a", "v")
            theirs.call(*command)
            one_line(migrate(*words), 3, "--replace")
            assert ours.call("GET", "mine") == b"stays"
            theirs.call("DEL", "mine")
            ours.call("DEL", "respq:migrate:offset")  # a snapshot, which has it no more
            assert migrate(*words).code == 0
        theirs.call("SET", "mine", "x")
        assert migrate(*words, "--replace").code == 0
        assert ours.call("GET", "mine") == b"x"


def test_what_was_damaged_at_the_target_is_repaired(tmp_path: pathlib.Path) -> None:
    with (
        servers.redis(tmp_path / "source", 8, *delay_none()) as source,
        servers.respq(tmp_path / "target") as target,
        source.connect() as theirs,
        target.connect() as ours,
    ):
        for i in range(1, 10):
            theirs.call("XADD", "s", f"{i}-0", "f", "v")
        words = [url(source), "-u", url(target)]
        assert migrate("run", *words).code == 0
        ours.call("XDEL", "s", "5-0")
        verdict = migrate("verify", *words)
        assert verdict.code == 1
        assert f"try: respq migrate run {' '.join(words)} --replace" in verdict.err
        assert migrate("run", *words, "--replace").code == 0
        assert migrate("verify", *words).code == 0
