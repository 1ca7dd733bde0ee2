"""A RESP client that keeps the bytes.

Rules of this file:
* A reply is returned as the exact bytes that delimit it, beside its parsed form; nothing is
  decoded.
* Only canonical RESP is accepted: an integer must be written as `str(int)` writes it. So replies
  with equal parsed forms are equal bytes, and tests may mask the parsed form and remain strict.
* Waiting is for a socket, never for time: `Client.readable()` asks the kernel, `read()` has a
  deadline that only a defect reaches.

    reply   := '+' line | '-' line | ':' int | '$' bulk | '*' n reply{n} | '_' | '#' ('t'|'f')
             | ',' line | '(' line | '=' bulk | '!' bulk | '%' n (reply reply){n} | '~' n reply{n}
             | '>' n reply{n}
    line    := bytes without CR or LF, CRLF
    bulk    := int CRLF bytes{int} CRLF | '-1' CRLF
"""

from __future__ import annotations

import re
import select
import socket
import zlib
from typing import Any, NamedTuple

READ_DEADLINE_S = 10.0
_INT = re.compile(rb"0|-?[1-9][0-9]*")


class Reply(NamedTuple):
    """One parsed reply: its RESP type byte as text, and its value (None for the RESP2 nulls and
    `_`).
    """

    kind: str
    value: Any


class NotCanonical(Exception):
    """The peer sent RESP that no Redis sends."""


class Closed(Exception):
    """The peer closed the connection."""


class TimedOut(Exception):
    """No reply within the deadline."""


def encode(args: list[bytes] | tuple[bytes, ...]) -> bytes:
    """A command as a multibulk request."""
    parts = [b"*%d\r\n" % len(args)]
    parts += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"".join(parts)


def _as_bytes(arg: bytes | str | int) -> bytes:
    return arg if isinstance(arg, bytes) else str(arg).encode()


class Client:
    """One connection."""

    def __init__(self, host: str, port: int, proto: int = 2) -> None:
        self.socket = socket.create_connection((host, port), timeout=READ_DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._at = 0
        self.proto = 2
        if proto == 3:
            self.call("HELLO", 3)
            self.proto = 3

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def local_address(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return f"{host}:{port}"

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, *args: bytes | str | int) -> None:
        self.socket.sendall(encode([_as_bytes(arg) for arg in args]))

    def readable(self, timeout_s: float = 0.0) -> bool:
        """Is there anything to read (also the end of the stream)?"""
        if self._at < len(self._buffer):
            return True
        return bool(select.select([self.socket], [], [], timeout_s)[0])

    def read(self, timeout_s: float = READ_DEADLINE_S) -> tuple[bytes, Reply]:
        """The next reply: its bytes and its parsed form."""
        self.socket.settimeout(timeout_s)
        start = self._at
        reply = self._reply()
        raw = bytes(self._buffer[start : self._at])
        if self._at > 1 << 16 or self._at == len(self._buffer):
            del self._buffer[: self._at]
            self._at = 0
        return raw, reply

    def call(self, *args: bytes | str | int) -> Any:
        """Send, read, and give back plain Python values; an error reply is given back as a
        `Reply`.
        """
        self.send(*args)
        return plain(self.read()[1])

    def raw(self, *args: bytes | str | int) -> bytes:
        """Send and give back the bytes of the reply."""
        self.send(*args)
        return self.read()[0]

    def read_to_end(self, timeout_s: float = READ_DEADLINE_S) -> bytes:
        """Everything until the peer closes."""
        self.socket.settimeout(timeout_s)
        try:
            while True:
                self._fill()
        except Closed:
            rest = bytes(self._buffer[self._at :])
            self._at = len(self._buffer)
            return rest

    def _fill(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise TimedOut(bytes(self._buffer[self._at :])[:200]) from None
        except ConnectionError:
            raise Closed from None
        if data == b"":
            raise Closed
        self._buffer += data

    def _line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end >= 0:
                break
            self._fill()
        line = bytes(self._buffer[self._at : end + 1])
        self._at = end + 1
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise NotCanonical(line)
        return line[:-2]

    def _exactly(self, n: int) -> bytes:
        while len(self._buffer) - self._at < n:
            self._fill()
        data = bytes(self._buffer[self._at : self._at + n])
        self._at += n
        return data

    def _reply(self) -> Reply:
        line = self._line()
        kind, rest = line[:1].decode("latin-1"), line[1:]
        if kind in "+-,(":
            return Reply(kind, rest)
        if kind == "_":
            if rest != b"":
                raise NotCanonical(line)
            return Reply(kind, None)
        if kind == "#":
            if rest not in (b"t", b"f"):
                raise NotCanonical(line)
            return Reply(kind, rest == b"t")
        if kind == "" or kind not in ":$*=!%~>" or _INT.fullmatch(rest) is None:
            raise NotCanonical(line)
        n = int(rest)
        if kind == ":":
            return Reply(kind, n)
        if n == -1 and kind in "$*":
            return Reply(kind, None)
        if n < 0:
            raise NotCanonical(line)
        if kind in "$=!":
            data = self._exactly(n + 2)
            if data[-2:] != b"\r\n":
                raise NotCanonical(data)
            return Reply(kind, data[:-2])
        if kind == "%":
            return Reply(kind, [(self._reply(), self._reply()) for _ in range(n)])
        return Reply(kind, [self._reply() for _ in range(n)])


def plain(reply: Reply) -> Any:
    """A reply as Python values: bytes, int, list, dict, None, bool; an error stays a `Reply`."""
    kind, value = reply
    if kind in "-!":
        return reply
    if value is None:
        return None
    if kind in "*~>":
        return [plain(item) for item in value]
    if kind == "%":
        return {plain(key): plain(item) for key, item in value}
    if kind == ",":
        return float(value)
    if kind == "=":
        return value[4:]
    return value


_ESCAPES = {
    0x22: '\\"',
    0x5C: "\\\\",
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
    0x07: "\\a",
    0x08: "\\b",
}


def quote(data: bytes) -> str:
    """Bytes in redis-cli's double quotes."""
    text = "".join(_ESCAPES.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)
    return f'"{text}"'


def split_args(line: str) -> list[bytes]:
    """Split a command line as redis-cli does (single and double quotes, \\xHH and letter
    escapes).
    """
    args: list[bytes] = []
    at = 0
    letters = {"n": 10, "r": 13, "t": 9, "b": 8, "a": 7}
    while True:
        while at < len(line) and line[at].isspace():
            at += 1
        if at >= len(line):
            return args
        arg = bytearray()
        quoted = ""
        while at < len(line):
            char = line[at]
            if quoted == "":
                if char.isspace():
                    break
                if char in "\"'":
                    quoted = char
                else:
                    arg += char.encode()
            elif char == quoted:
                if at + 1 < len(line) and not line[at + 1].isspace():
                    raise ValueError(f"closing quote must be followed by a space: {line}")
                quoted = ""
            elif (
                char == "\\"
                and quoted == '"'
                and re.match(r"x[0-9a-fA-F]{2}", line[at + 1 : at + 4])
            ):
                arg.append(int(line[at + 2 : at + 4], 16))
                at += 3
            elif char == "\\" and quoted == '"' and at + 1 < len(line):
                at += 1
                arg.append(letters.get(line[at], ord(line[at])))
            elif char == "\\" and quoted == "'" and line[at + 1 : at + 2] == "'":
                at += 1
                arg += b"'"
            else:
                arg += char.encode()
            at += 1
        if quoted != "":
            raise ValueError(f"unbalanced quotes: {line}")
        args.append(bytes(arg))


LONG_BYTES = 400
LONG_ROWS = 30


def render(reply: Reply, width: int = 96, indent: str = "") -> str:
    """A reply as text: `+OK` `-ERR ..` `:1` `"bulk"` `$-1` `*-1` `_` `[array]` `{k v, k v}`
    `~[set]` `>[push]`.

    What is long is shown by its ends and a checksum of what lies between.
    """
    if reply.kind == "*" and reply.value is not None and len(reply.value) > LONG_ROWS:
        middle = "".join(_flat(item) for item in reply.value[2:-2])
        note = Reply(
            "masked", f"{len(reply.value) - 4} more, crc {zlib.crc32(middle.encode()):08x}"
        )
        reply = Reply("*", [*reply.value[:2], note, *reply.value[-2:]])
    flat = _flat(reply)
    if len(flat) + len(indent) <= width or reply.kind not in "*%~>" or not reply.value:
        return flat
    inner = indent + "  "
    if reply.kind == "%":
        rows = [f"{inner}{_flat(key)} {render(value, width, inner)}" for key, value in reply.value]
        return "{\n" + "\n".join(rows) + f"\n{indent}}}"
    opening = {"*": "[", "~": "~[", ">": ">["}[reply.kind]
    rows = [f"{inner}{render(item, width, inner)}" for item in reply.value]
    return opening + "\n" + "\n".join(rows) + f"\n{indent}]"


def _flat(reply: Reply) -> str:
    kind, value = reply
    if kind == "masked":
        return f"<{value}>"
    if kind == "_":
        return "_"
    if value is None:
        return f"{kind}-1"
    if kind == ":":
        return f":{value}"
    if kind == "#":
        return "#t" if value else "#f"
    if kind == "$" and len(value) > LONG_BYTES:
        return f"{quote(value[:20])}<{len(value) - 20} bytes more, crc {zlib.crc32(value):08x}>"
    if kind == "$":
        return quote(value)
    if kind in "=!":
        return kind + quote(value)
    if kind in "+-,(":
        return kind + quote(value)[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if kind == "%":
        return "{" + ", ".join(f"{_flat(key)} {_flat(item)}" for key, item in value) + "}"
    opening = {"*": "[", "~": "~[", ">": ">["}[kind]
    return opening + " ".join(_flat(item) for item in value) + "]"
