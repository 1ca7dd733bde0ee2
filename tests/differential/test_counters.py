"""What a server counts of a client is what redis-server 8.2.3 counts, to the byte."""

from __future__ import annotations

from tests.respclient import Client, encode
from tests.servers import Server

COUNTERS = ("flags", "tot-net-in", "tot-net-out", "tot-cmds")
# What one client sends, piece by piece, and the replies to it. The last but one blocks.
PIECES = (
    (b"PING\r\n", 1),
    (encode([b"PING", b"a", b"b"]), 1),
    (encode([b"NOSUCHCOMMAND"]), 1),
    (encode([b"CLIENT"]), 1),
    (encode([b"CLIENT", b"NOSUCHSUBCOMMAND"]), 1),
    (encode([b"XADD", b"s", b"0-0", b"f", b"v"]), 1),
    (encode([b"XADD", b"s", b"1-0", b"f", b"v" * 5000]), 1),
    (encode([b"XRANGE", b"s", b"-", b"+"]) * 30, 30),
    (encode([b"XREAD", b"BLOCK", b"1", b"STREAMS", b"s", b"$"]), 1),
    (encode([b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"]), 0),
    (encode([b"ECHO", b"behind"]), 0),
)


def row(control: Client, of: Client) -> dict[str, str]:
    """The line of CLIENT LIST of another client."""
    for line in control.call("CLIENT", "LIST").decode().splitlines():
        fields = dict(field.partition("=")[::2] for field in line.split(" "))
        if fields["addr"] == of.local_address:
            return fields
    raise AssertionError("the client is not listed")


def counted(server: Server) -> list[list[str]]:
    """The counters behind every piece, and behind the reply to the blocked one."""
    seen = []
    with server.connect() as control, server.connect() as client:
        control.call("FLUSHALL")
        sent_bytes = int(row(control, client)["tot-net-in"])
        for piece, replies in PIECES:
            client.send_raw(piece)
            sent_bytes += len(piece)
            for _ in range(replies):
                client.read()
            while int((fields := row(control, client))["tot-net-in"]) < sent_bytes:
                pass
            seen.append([fields[name] for name in COUNTERS])
        control.call("XADD", "s", "2-0", "f", "v")
        assert client.read()[0].startswith(b"*1\r\n")
        assert client.read()[0] == b"$6\r\nbehind\r\n"
        seen.append([row(control, client)[name] for name in COUNTERS])
    return seen


def test_counters_of_a_client(first_voice: Server, subject: Server) -> None:
    expected = counted(first_voice)
    assert counted(subject) == expected
    assert [flags for flags, *_ in expected] == ["N"] * 9 + ["b", "b", "N"]


def test_input_is_counted(subject: Server, first_voice: Server) -> None:
    """Two INFOs, one behind the other: the second arrived in between."""
    for server in (first_voice, subject):
        with server.connect() as client:
            totals = []
            for _ in range(2):
                text = client.call("INFO", "stats").decode()
                totals.append(int(text.split("total_net_input_bytes:")[1].split("\r\n")[0]))
        assert totals[1] - totals[0] == len(encode([b"INFO", b"stats"]))
