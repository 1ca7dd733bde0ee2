"""What comes in on a socket: cut anywhere, malformed, or not RESP at all.

Errors are compared with redis-server 8.2.3 while both run: the same bytes in, the same bytes out,
and both close or both stay.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.respclient import Client, encode
from tests.servers import Server

SESSION = b"".join(
    encode(words)
    for words in [
        [b"PING"],
        [b"XADD", b"s", b"1-1", b"field", b"a\r\nb\x00c"],
        [b"ECHO", b""],
        [b"XADD", b"s", b"MAXLEN", b"~", b"100", b"1-*", b"f", b"v" * 200],
        [b"XRANGE", b"s", b"-", b"+"],
        [b"NOSUCHCOMMAND", b"x"],
        [b"XGROUP", b"CREATE", b"s", b"g", b"0"],
        [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1", b"STREAMS", b"s", b">"],
        [b"XACK", b"s", b"g", b"1-1"],
        [b"DEL", b"s"],
    ]
) + (b'PING "inline"\r\nECHO two\n' + encode([b"ECHO", b"end"]))
ANSWERS = 13


def answers(client: Client) -> bytes:
    return b"".join(client.read()[0] for _ in range(ANSWERS))


def test_a_session_cut_in_two_at_every_byte(subject: Server) -> None:
    """The other connection's PING makes sure that the first part was read on its own."""
    with subject.connect() as client, subject.connect() as other:
        client.send_raw(SESSION)
        expected = answers(client)
        assert expected.endswith(b"$3\r\nend\r\n")
        for cut in range(1, len(SESSION)):
            client.send_raw(SESSION[:cut])
            assert other.raw("PING") == b"+PONG\r\n"
            client.send_raw(SESSION[cut:])
            assert answers(client) == expected, f"cut at {cut}"


def test_a_session_sent_byte_by_byte(subject: Server) -> None:
    with subject.connect() as client, subject.connect() as other:
        client.send_raw(SESSION)
        expected = answers(client)
        for at in range(len(SESSION)):
            client.send_raw(SESSION[at : at + 1])
            assert other.raw("PING") == b"+PONG\r\n"
        assert answers(client) == expected


def test_a_session_matches_redis(subject: Server, voice: Server) -> None:
    found = []
    for server in (voice, subject):
        with server.connect() as client:
            client.call("FLUSHALL")
            client.send_raw(SESSION)
            found.append(answers(client))
    assert found[0] == found[1]


def talk(server: Server, data: bytes) -> bytes:
    """All that the server says to these bytes; the connection is over, one way or the other."""
    with server.connect() as client:
        try:
            client.send_raw(data)
            client.socket.shutdown(1)
        except OSError:
            pass  # it closed while we were still sending
        return client.read_to_end()


CLOSING = {
    "multibulk count not a number": b"*abc\r\n",
    "multibulk count beyond the limit": b"*2147483648\r\n",
    "multibulk count far beyond": b"*99999999999999999999\r\n",
    "multibulk count with a plus": b"*+3\r\n",
    "multibulk count with a leading zero": b"*01\r\n$4\r\nPING\r\n",
    "multibulk count with a space": b"* 1\r\n$4\r\nPING\r\n",
    "multibulk count empty": b"*\r\n",
    "multibulk count too long": b"*" + b"1" * 70000,
    "bulk marker wrong": b"*1\r\n+4\r\nPING\r\n",
    "bulk marker of the second": b"*2\r\n$4\r\nPING\r\nxx\r\n",
    "bulk length not a number": b"*1\r\n$abc\r\nPING\r\n",
    "bulk length negative": b"*1\r\n$-1\r\n",
    "bulk length below all": b"*1\r\n$-2\r\n",
    "bulk length beyond the limit": b"*1\r\n$536870913\r\n",
    "bulk length far beyond": b"*1\r\n$99999999999999999999\r\n",
    "bulk length with a leading zero": b"*1\r\n$04\r\nPING\r\n",
    "bulk length with a plus": b"*1\r\n$+4\r\nPING\r\n",
    "bulk length empty": b"*1\r\n$\r\nPING\r\n",
    "bulk length too long": b"*1\r\n$" + b"1" * 70000,
    "inline too big": b"x" * 70000,
    "quotes unbalanced": b'ECHO "hello\r\n',
    "single quotes unbalanced": b"ECHO 'hello\r\n",
    "quotes glued": b"ECHO 'a''b'\r\n",
    "quote followed by a letter": b'ECHO "hello"x\r\n',
    "a request of a browser": b"POST / HTTP/1.1\r\n",
    "a header of a browser": b"Host: localhost\r\n",
    "a header in small letters": b"host: localhost\r\n",
    "a good command before a bad one": encode([b"PING"]) + b"*x\r\n" + encode([b"PING"]),
}
STAYING = {
    "nothing": b"",
    "empty lines": b"\r\n\n\r\n",
    "no arguments": b"*0\r\n",
    "less than no arguments": b"*-1\r\n",
    "much less than no arguments": b"*-1000000\r\n",
    "an empty command": b"*1\r\n$0\r\n\r\n",
    "an unknown inline command": b"GET / HTTP/1.1\r\n",
    "inline with escapes": b'ECHO "\\x41\\r\\n\\"" \r\n',
    "inline with an empty word": b'ECHO ""\r\n',
    "inline with tabs": b"ECHO\t x \t\r\n",
    "inline of spaces": b"   \r\n",
}


@pytest.mark.parametrize("name", CLOSING)
def test_protocol_errors_are_those_of_redis(subject: Server, voice: Server, name: str) -> None:
    expected = talk(voice, CLOSING[name])
    assert talk(subject, CLOSING[name]) == expected


@pytest.mark.parametrize("name", CLOSING)
def test_protocol_errors_close(subject: Server, name: str) -> None:
    """What follows is not answered, and the end comes though we do not hang up."""
    with subject.connect() as client, subject.connect() as other:
        try:
            client.send_raw(CLOSING[name])
            assert other.raw("PING") == b"+PONG\r\n"
            client.send_raw(b"\r\n" + encode([b"ECHO", b"still there"]))
        except OSError:
            pass  # it closed while we were still sending
        assert b"still there" not in client.read_to_end()


def test_a_browser_is_sent_away_whatever_came_before(subject: Server) -> None:
    """Redis drops the answers that were not sent yet; respq sends them. Nothing comes after."""
    said = talk(subject, b"PING\r\nPOST / HTTP/1.1\r\nECHO behind\r\n")
    assert said == b"+PONG\r\n"


@pytest.mark.parametrize("name", STAYING)
def test_odd_input_is_taken_as_redis_takes_it(subject: Server, voice: Server, name: str) -> None:
    data = STAYING[name] + encode([b"ECHO", b"still there"])
    expected = talk(voice, data)
    assert expected.endswith(b"$11\r\nstill there\r\n")
    assert talk(subject, data) == expected


def test_a_bulk_without_its_line_end_never_reaches_the_store(subject: Server) -> None:
    """Redis skips two bytes there; respq keeps arguments as they came, so it must refuse."""
    words = b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$3\r\n1-1\r\n$1\r\nf\r\n$1\r\nvXX"
    said = talk(subject, words + encode([b"PING"]))
    assert said.startswith(b"-ERR Protocol error")
    assert b"PONG" not in said
    with subject.connect() as client:
        assert client.call("EXISTS", "s") == 0


FRAGMENTS = st.sampled_from(
    [
        *(b"*", b"$", b"\r\n", b"\n", b"\r", b" ", b'"', b"'", b"\\", b"\xff", b"+", b"-"),
        *(
            b"0",
            b"1",
            b"2",
            b"3",
            b"4",
            b"10",
            b"-1",
            b"PING",
            b"ECHO",
            b"x",
            b"*1\r\n$4\r\nPING\r\n",
        ),
        *(b"*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n", b"*1\r\n$", b"*3\r\n", b"$4\r\n", b"PING\r\n"),
    ]
)


def skips_unread(data: bytes) -> bool:
    """Does Redis skip two bytes here that are no CRLF? It does not look; respq refuses."""
    at = 0
    while at < len(data):
        if data[at : at + 1] != b"*":
            end = data.find(b"\n", at)
            if end < 0:
                return False
            at = end + 1
            continue
        end = data.find(b"\r", at)
        count = number(data[at + 1 : end])
        if end < 0 or end + 1 == len(data):
            return False
        if data[end + 1 : end + 2] != b"\n":
            return True
        if count is None:
            return False
        at = end + 2
        for _ in range(count):
            end = data.find(b"\r", at)
            if end < 0 or end + 1 == len(data) or data[at : at + 1] != b"$":
                return False
            if data[end + 1 : end + 2] != b"\n":
                return True
            size = number(data[at + 1 : end])
            if size is None or size < 0 or len(data) < end + 2 + size + 2:
                return False
            at = end + 2 + size + 2
            if data[at - 2 : at] != b"\r\n":
                return True
    return False


def number(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"0|-?[1-9][0-9]{0,8}", text) else None


@seed(20261123)
@settings(max_examples=600, deadline=None, database=None, print_blob=True)
@given(data=st.lists(FRAGMENTS, min_size=1, max_size=12).map(b"".join))
def test_garbage(shared: Server, voice: Server, data: bytes) -> None:
    """Whatever comes: the same answers, or a protocol error where Redis skips bytes unread."""
    expected, found = talk(voice, data), talk(shared, data)
    if skips_unread(data) and shared.name == "respq":
        good, refusal, rest = found.partition(b"-ERR Protocol error: ")
        assert refusal != b""
        assert expected.startswith(good)
        assert rest.count(b"\r\n") == 1
    else:
        assert found == expected
