"""The transcript language: commands on named connections, and the replies of redis-server 8.2.3.

    file      := (comment | version | case)*            comment := '#' text
    version   := 'version ' NUMBER '.' NUMBER '.' NUMBER NL
    case      := 'case ' name NL (comment | step)*
    step      := NAME ('[' option (' ' option)* ']')? mode (' ' command)? NL expected*
    mode      := '>'   send the command and read its reply, or find the client `(blocked)`
               | '<'   read the reply of a client that was blocked
               | '?'   is the client (still) blocked?  `(blocked)` or `(not blocked)`
               | '~'   read a message that the client did not ask for
    command   := redis-cli quoting; `{1..9} ` before a command repeats it with `{i}` in its words;
                 `{x*128}` in a word is 128 times x; `{b.id}` and `{b.addr}` are the client id and
                 address of connection b
    expected  := two spaces and a line of the reply as `respclient.render` writes it; where RESP2
                 and RESP3 differ, the lines `  resp2` and `  resp3` head the two versions

A case starts on an empty keyspace with default settings and its own connections.

A line `version` says, for the cases behind it in its file, which version of Redis respq presents,
and thereby who else is asked (`Case.voices`):

    none at all     8.2.3. Both voices are asked; voices.py says where they differ, and why.
    version 8.2.3   8.2.3. It is about what came after 7.0.15: the first voice alone is asked.
    version X.Y.Z   any other: what 8.2.3 does not know yet, or an older version no more. No voice
                    is asked, the stored replies decide: write them from the reference, not from
                    what respq says.

So a feature of 8.2 is a file that begins with `version 8.2.3`, one of 8.10 a file that begins with
`version 8.10.0`; that it is hidden below is a case behind `version 7.4.7` or `version 8.8.0`.
`python -m tests.differential.rewrite NAME` fills in the replies of the voice, and where there is
none, those of respq for steps that have no reply yet: read these before they are believed.

    wait        a BLOCK that is expected to time out: wait for the reply, do not say `(blocked)`
    raw         the one argument is sent as it is, not as a multibulk command
    auto        IDs made from the clock (13 digits of ms) and times of day become <auto>
    sorted      the order of the reply's elements is the server's affair: sort them
    more:N      the command has N replies (one for each channel of SUBSCRIBE)
    shape       only types and sizes of the reply are compared, not what strings and integers say
    client      CLIENT LIST / INFO: the fields' names and order, and those values that do not
                depend on the process
    hello       HELLO: without the values of version, id and modules
    info:A,B    of INFO's text, the named fields only
    scan        run the cursor of SCAN to its end (the command without a cursor); names, sorted
    monitor     a line of MONITOR: without the time and the address of the client
    slowlog     SLOWLOG GET: without number, time, duration and address
    later       the reply is not waited for: `<` reads it
    quit        the connection closes behind the reply: `(closed)` is shown too

What is masked always: tests/differential/masks.py.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
import time
from typing import Any

from tests.differential.masks import mask
from tests.respclient import Closed, Reply, TimedOut, encode, quote, render, split_args
from tests.servers import REDIS_8_VERSION, Server

FOLDER = pathlib.Path(__file__).parent / "transcripts"
BLOCK_DEADLINE_S = 20.0
DEFAULTS = (
    (b"stream-node-max-entries", b"100"),
    (b"stream-node-max-bytes", b"4096"),
    (b"notify-keyspace-events", b""),
    (b"busy-reply-threshold", b"5000"),
    (b"slowlog-log-slower-than", b"10000"),
    (b"latency-monitor-threshold", b"0"),
)
DEBUG = ("--enable-debug-command", "local")  # of all servers
_VERSION = re.compile(r"version (\d+\.\d+\.\d+)")
_STEP = re.compile(r"([a-z]\w*)(?:\[([^\]]*)\])?([><?~])(?: (.*))?")
_REPEAT = re.compile(r"\{(-?\d+)\.\.(-?\d+)\} (.*)")
_TIMES = re.compile(rb"\{(.)\*(\d+)\}")


@dataclasses.dataclass
class Step:
    line: int
    head: str  # the step as written
    connection: str
    options: list[str]
    mode: str
    command: str
    expected: list[str] = dataclasses.field(default_factory=list)

    def expectation(self, proto: int) -> str:
        """The stored reply."""
        if "resp2" not in self.expected:
            return "\n".join(self.expected)
        split = self.expected.index("resp3")
        return "\n".join(self.expected[1:split] if proto == 2 else self.expected[split + 1 :])

    def lines(self) -> list[str]:
        return [self.head, *(f"  {line}" for line in self.expected)]


@dataclasses.dataclass
class Case:
    file: str
    name: str
    line: int
    steps: list[Step]
    version: str | None = None  # of its line `version`

    @property
    def presents(self) -> str:
        """The version that respq presents in this case."""
        return self.version or REDIS_8_VERSION

    @property
    def voices(self) -> int:
        """How many voices are asked: both, the first alone, or none."""
        return 2 if self.version is None else int(self.version == REDIS_8_VERSION)

    @property
    def path(self) -> str:
        return f"{self.file}/{self.name}"


@dataclasses.dataclass
class Outcome:
    """What a step gave: masked replies, or a word such as `(blocked)`."""

    replies: list[Reply | str]

    @property
    def text(self) -> str:
        shown = [reply if isinstance(reply, str) else render(reply) for reply in self.replies]
        if len(shown) > 3:
            shown = [shown[0], f"... {len(shown)} replies", shown[-1]]
        return "\n".join(shown)


# -- reading and writing the files


def load(path: pathlib.Path) -> list[Case]:
    cases: list[Case] = []
    names: set[str] = set()
    version: str | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line == "" or line.startswith("#"):
            continue
        if (stated := _VERSION.fullmatch(line)) is not None:
            version = stated[1]
        elif line.startswith("case "):
            cases.append(Case(path.stem, line[5:], number, [], version))
            if line in names:
                raise ValueError(f"{path.name}:{number}: the name is taken: {line}")
            names.add(line)
        elif line.startswith("  "):
            cases[-1].steps[-1].expected.append(line[2:])
        else:
            found = _STEP.fullmatch(line)
            if found is None or not cases:
                raise ValueError(f"{path.name}:{number}: not a step: {line}")
            name, options, mode, command = found.groups()
            cases[-1].steps.append(
                Step(number, line, name, (options or "").split(), mode, command or "")
            )
    return cases


def load_all() -> list[Case]:
    return [case for path in sorted(FOLDER.glob("*.txt")) for case in load(path)]


def rewrite(path: pathlib.Path, fresh: dict[int, tuple[str, str]]) -> bool:
    """Write the replies of `fresh` (line of the step -> text in RESP2, RESP3) into the file. Did
    it change?
    """
    out: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("  "):
            continue
        out.append(line)
        if number in fresh:
            two, three = fresh[number]
            body = (
                two.splitlines()
                if two == three
                else ["resp2", *two.splitlines(), "resp3", *three.splitlines()]
            )
            out += [f"  {row}" for row in body]
    text = "\n".join(out) + "\n"
    changed = text != path.read_text()
    path.write_text(text)
    return changed


# -- running


class Session:
    """A named connection of a case."""

    def __init__(self, server: Server, proto: int) -> None:
        self.client = server.connect(proto)
        self.id = int(self.client.call("CLIENT", "ID"))
        self.waiting_for: Step | None = None


class Runner:
    """Runs cases against one server in one protocol version."""

    def __init__(self, server: Server, proto: int) -> None:
        self.server = server
        self.proto = proto
        self.control = server.connect()
        self.sessions: dict[str, Session] = {}

    def close(self) -> None:
        self.close_sessions()
        self.control.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(self, case: Case) -> list[Outcome]:
        assert self.control.call("FLUSHALL") == b"OK"
        for name, value in DEFAULTS:
            assert self.control.call("CONFIG", "SET", name, value) == b"OK"
        try:
            outcomes = [self._step(step) for step in case.steps]
            self._no_stray_bytes()
            return outcomes
        finally:
            self.close_sessions()

    def _no_stray_bytes(self) -> None:
        for name, session in self.sessions.items():
            if session.waiting_for is None:
                try:
                    tail = session.client.raw("ECHO", f"end of {name}")
                except (Closed, OSError):
                    continue
                expected = b"$%d\r\nend of %b\r\n" % (7 + len(name), name.encode())
                told = (b"-NOAUTH", b"-ERR Can't execute 'echo': only (P|S)SUBSCRIBE")
                if tail != expected and not tail.startswith(told):
                    raise AssertionError(f"connection {name} had bytes left over: {tail!r}")

    def close_sessions(self) -> None:
        for session in self.sessions.values():
            session.client.close()
        left = any(session.waiting_for is not None for session in self.sessions.values())
        self.sessions.clear()
        deadline = time.monotonic() + BLOCK_DEADLINE_S
        while left and time.monotonic() < deadline:
            left = any("b" in flags for flags in self.flags().values())

    def flags(self) -> dict[int, str]:
        """Flags by client id."""
        text: bytes = self.control.call("CLIENT", "LIST")
        rows = (
            dict(field.partition("=")[::2] for field in line.split(" "))
            for line in text.decode().splitlines()
        )
        return {int(row["id"]): row["flags"] for row in rows}

    def session(self, name: str) -> Session:
        if name not in self.sessions:
            self.sessions[name] = Session(self.server, self.proto)
        return self.sessions[name]

    def _substitute(self, word: bytes, i: int | None) -> bytes:
        if b"{" not in word:
            return word
        if i is not None:
            word = word.replace(b"{i}", b"%d" % i)
        word = _TIMES.sub(lambda found: found[1] * int(found[2]), word)
        found = re.fullmatch(rb"\{(\w+)\.(id|addr)\}", word)
        if found is not None:
            session = self.session(found[1].decode())
            return (
                b"%d" % session.id if found[2] == b"id" else session.client.local_address.encode()
            )
        return word

    def commands(self, step: Step) -> list[list[bytes]]:
        found = _REPEAT.fullmatch(step.command)
        if found is None:
            return [[self._substitute(word, None) for word in split_args(step.command)]]
        words = split_args(found[3])
        return [
            [self._substitute(word, i) for word in words]
            for i in range(int(found[1]), int(found[2]) + 1)
        ]

    def _step(self, step: Step) -> Outcome:
        session = self.session(step.connection)
        if step.mode == "?":
            return Outcome(["(blocked)" if self.blocked(session) else "(not blocked)"])
        if step.mode == "~":
            return Outcome([self._read(session, b"", step.options)])
        asked = session.waiting_for
        if step.mode == "<":
            if asked is None:
                return Outcome(["(was not blocked)"])
            if "later" not in asked.options and self.blocked(session):
                return Outcome(["(still blocked)"])
            session.waiting_for = None
            verb = self.commands(asked)[0][0]
            return Outcome([self._read(session, verb, asked.options + step.options)])
        if asked is not None:
            return Outcome(["(still blocked)"])
        if "scan" in step.options:
            return Outcome([self._scan(session, self.commands(step)[0])])
        commands = self.commands(step)
        raw = "raw" in step.options
        verb = b"" if raw else commands[0][0]
        try:
            session.client.send_raw(
                commands[0][0] if raw else b"".join(encode(command) for command in commands)
            )
        except OSError:
            return Outcome(["(closed)"])
        if "later" in step.options:
            session.waiting_for = step
            return Outcome(["(running)"])
        may_block = (
            any(word.upper() == b"BLOCK" for word in commands[0]) and "wait" not in step.options
        )
        if may_block and self.blocked(session):
            session.waiting_for = step
            return Outcome(["(blocked)"])
        count = next((int(o[5:]) for o in step.options if o.startswith("more:")), len(commands))
        replies: list[Reply | str] = [self._read(session, verb, step.options) for _ in range(count)]
        if "quit" in step.options:
            replies.append(self._read(session, verb, step.options))
        return Outcome(replies)

    def _read(self, session: Session, verb: bytes, options: list[str]) -> Reply | str:
        try:
            return mask(session.client.read()[1], verb, options)
        except Closed:
            return "(closed)"
        except TimedOut:
            session.client.close()  # what comes later must not be taken for another reply
            return "(no reply)"

    def blocked(self, session: Session) -> bool:
        """Whether the client is blocked: it has nothing to read and the server lists it so.
        Waits until one is so.
        """
        deadline = time.monotonic() + BLOCK_DEADLINE_S
        while not session.client.readable():
            if "b" in self.flags().get(session.id, ""):
                return not session.client.readable()
            if time.monotonic() > deadline:
                raise AssertionError("neither a reply nor a blocked client")
        return False

    @staticmethod
    def _scan(session: Session, words: list[bytes]) -> Reply:
        """All that a SCAN with these options finds; a name may come twice, never not at all."""
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            session.client.send(words[0], cursor, *words[1:])
            reply = session.client.read()[1]
            if reply.kind != "*" or len(reply.value) != 2:
                return reply
            cursor_reply, names = reply.value
            assert cursor_reply.kind == "$" and int(cursor_reply.value) < 2**64
            found |= {name.value for name in names.value}
            cursor = cursor_reply.value
            if cursor == b"0":
                return Reply("*", [Reply("$", name) for name in sorted(found)])


def differences(case: Case, left: list[Outcome], right: list[Outcome]) -> list[int]:
    """The steps whose outcomes differ."""
    assert len(left) == len(right) == len(case.steps)
    return [
        i
        for i, (one, other) in enumerate(zip(left, right, strict=True))
        if one.replies != other.replies
    ]


def side_by_side(expected: str, found: str) -> str:
    """Two replies for a message: whole if they are short, else where they differ."""
    left, right = expected.splitlines(), found.splitlines()
    if len(left) + len(right) < 12:
        return f"--- expected\n{expected}\n+++ found\n{found}"
    return "\n".join(difflib.unified_diff(left, right, "expected", "found", lineterm="", n=4))


def show(command: Any) -> str:
    """A command for a message."""
    return " ".join(
        word.decode() if re.fullmatch(rb"[\w.*:$>+~=-]+", word) else quote(word) for word in command
    )
