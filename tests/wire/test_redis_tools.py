"""redis-cli and redis-benchmark, unchanged."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

import pytest

from tests.respclient import encode
from tests.servers import REDIS_8_VERSION, Server
from tests.wire.conftest import Starter

SCRIPT = """\
XADD s 1-1 field value
XADD s 2-1 field "two words"
XRANGE s - +
XGROUP CREATE s g 0
XREADGROUP GROUP g c COUNT 1 STREAMS s >
XACK s g 1-1
XPENDING s g
XINFO STREAM s
XADD s 1-1 f v
NOSUCHCOMMAND
GET missing
TYPE s
"""


def cli(server: Server, *options: str, script: str | bytes = "", status: int = 0) -> str:
    data = script.encode() if isinstance(script, str) else script
    done = subprocess.run(
        ["redis-cli", "-p", str(server.port), *options],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("options", [[], ["-3"], ["--no-raw"], ["--json"]])
def test_a_script_prints_what_it_prints_with_redis(
    start: Starter, voice: Server, options: list[str]
) -> None:
    subject = start(presents=REDIS_8_VERSION)
    cli(voice, script="FLUSHALL")
    printed = [cli(server, *options, script=SCRIPT) for server in (voice, subject)]
    hidden = [re.sub(r"(radix-tree-nodes\W+)\d+", r"\1", text) for text in printed]
    assert hidden[0] == hidden[1]
    assert "two words" in printed[1]


def test_mass_insertion_by_pipe(subject: Server) -> None:
    data = b"".join(encode([b"XADD", b"s", b"%d-1" % n, b"n", b"%d" % n]) for n in range(1, 5001))
    refused = encode([b"XADD", b"s", b"1-1", b"f", b"v"])
    said = cli(subject, "--pipe", script=data + refused, status=1)
    assert "errors: 1, replies: 5001" in said
    with subject.connect() as client:
        assert client.call("XLEN", "s") == 5000


def test_cli_looks_around(subject: Server) -> None:
    """--scan, --bigkeys and --memkeys use DBSIZE, SCAN, TYPE, XLEN, STRLEN and MEMORY USAGE."""
    with subject.connect() as client:
        for n in range(50):
            client.call("XADD", f"stream:{n}", "1-1", "f", "v")
        client.call("XADD", "stream:7", "2-1", "f", "v" * 5000)
        client.call("SET", "word", "hello")
    streams = [f"stream:{n}" for n in range(50)]
    assert sorted(cli(subject, "--scan").split()) == sorted([*streams, "word"])
    said = cli(subject, "--bigkeys")
    assert "50 streams with 51 entries" in said
    assert """Biggest stream found '"stream:7"' has 2 entries""" in said
    assert """Biggest string found '"word"' has 5 bytes""" in said
    said = cli(subject, "--memkeys")
    assert "Sampled 51 keys in the keyspace!" in said
    found = re.search(r"""Biggest stream found '"stream:7"' has (\d+) bytes""", said)
    assert found is not None, said
    assert int(found[1]) > 5000


def test_cli_watches(subject: Server) -> None:
    """--stat prints a line of INFO's numbers each time, for ever."""
    with subject.connect() as client:
        for n in range(50):
            client.call("XADD", f"stream:{n}", "1-1", "f", "v")
    process = subprocess.Popen(
        ["redis-cli", "-p", str(subject.port), "-i", "0.01", "--stat"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(6)]
    finally:
        process.kill()
        process.communicate()
    assert lines[1] == ["keys", "mem", "clients", "blocked", "requests", "connections"]
    for keys, memory, clients, blocked, *_ in lines[2:]:
        assert (keys, int(clients) >= 1, blocked) == ("50", True, "0")
        assert re.fullmatch(r"\d+\.\d+[MK]", memory)


def test_an_interactive_start(subject: Server) -> None:
    """An interactive redis-cli asks COMMAND DOCS for its hints, then shows the prompt."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(mine, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "HOME": "/nonexistent"}
    process = subprocess.Popen(
        ["redis-cli", "-p", str(subject.port)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen = ""

    def until(wanted: str) -> None:
        nonlocal seen
        while wanted not in seen:
            assert select.select([mine], [], [], 30)[0], f"no {wanted!r} in {seen!r}"
            seen += re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", os.read(mine, 65536).decode())
        seen = seen[seen.index(wanted) + len(wanted) :]

    prompt = f"127.0.0.1:{subject.port}> "
    try:
        until(prompt)
        os.write(mine, b"XADD s 1-1 f v\r")
        until('"1-1"')
        until(prompt)
        os.write(mine, b"HELP XADD\r")
        until("since: 5.0.0")
        until(prompt)
        os.write(mine, b"XADD ")
        until("NOMKSTREAM")  # the hint that COMMAND DOCS gave
        os.write(mine, b"\x15QUIT\r")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(mine)
    with subject.connect() as client:
        assert client.call("XLEN", "s") == 1


@pytest.mark.parametrize("options", [[], ["-P", "16"], ["-P", "100", "-d", "1000"], ["-3"]])
def test_benchmark(subject: Server, options: list[str]) -> None:
    runs = {
        ("PING_INLINE", "PING_MBULK", "SET", "GET"): ["-t", "ping,set,get"],
        ("XADD mystream * field __data__",): ["XADD", "mystream", "*", "field", "__data__"],
    }
    for titles, words in runs.items():
        done = subprocess.run(
            ["redis-benchmark", "-p", str(subject.port), "-q", "-n", "4000", *options, *words],
            capture_output=True,
            timeout=60,
            check=False,
        )
        said = done.stdout.decode().replace("\r", "\n")
        assert done.returncode == 0, said
        for title in titles:
            assert re.search(rf"{re.escape(title)}.*: [\d.]+ requests per second", said), said
        assert "rror" not in said
    with subject.connect() as client:
        assert client.call("XLEN", "mystream") == 4000
