"""Random commands, the same to redis-server 8.2.3 and to respq, with equal bytes at every step.

A small world (three keys, two groups, three consumers, IDs of a few milliseconds) makes commands
meet each other: readers wait while groups are destroyed, groups go back over deleted entries,
nodes are cut by settings that changed. Words of a command are sometimes wrong. Several connections
send, one at a time; some of them wait. At the end all that either server knows of every stream
is compared.

Deterministic: the seed is RESPQ_MACHINE_SEED (printed with a failure, with the blob that repeats
it); RESPQ_MACHINE_EXAMPLES and RESPQ_MACHINE_STEPS make it longer than the run of every change.
Idle times are claimed in steps that the masks of `transcript` keep apart; IDs are explicit, so no
clock is in them; `*` is asked for only where the last ID lies in the future.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import servers
from tests.differential.machine_commands import (
    Words,
    consumers,
    groups,
    id_lists,
    ids,
    keys,
    losses,
    pendings,
    reads,
    simple_commands,
    trims,
    wrong_words,
)
from tests.differential.masks import mask
from tests.differential.transcript import DEFAULTS, Runner, show, side_by_side
from tests.respclient import Closed, Reply, encode, render
from tests.servers import Server

SEED = int(os.environ.get("RESPQ_MACHINE_SEED", "20261123"))
EXAMPLES = int(os.environ.get("RESPQ_MACHINE_EXAMPLES", "120"))
STEPS = int(os.environ.get("RESPQ_MACHINE_STEPS", "60"))
CONNECTIONS = ("a", "b", "c", "d")

connections = st.sampled_from(CONNECTIONS)


class Machine(RuleBasedStateMachine):
    """Two servers under the same commands. Subclasses say which servers and which protocol."""

    voice: ClassVar[Server]
    subject: ClassVar[Server]
    proto: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.runners = [Runner(server, self.proto) for server in (self.voice, self.subject)]
        self.waiting: dict[str, Words] = {}  # connection -> the command that blocked
        self.differed = False
        self.settings = dict(DEFAULTS)
        self.next_ms: dict[bytes, int] = {}
        self.near = [b"1-0"]  # the last IDs that were added

    def teardown(self) -> None:
        try:
            if not self.differed:
                self.compare_everything()
        finally:
            for runner in self.runners:
                runner.close()

    # -- the one way to a server

    def send(self, name: str, *commands: Words) -> None:
        """Send commands in one packet on a connection and compare what comes."""
        if name in self.waiting:
            return
        for words in commands:
            note(f"{name}> {show(words)}")
        data = b"".join(encode(words) for words in commands)
        found = []
        for runner in self.runners:
            client = runner.session(name).client
            client.send_raw(data)
            found.append([self.read(client, words) for words in commands])
        self.compare(name, commands, found)
        for words, reply in zip(commands, found[0], strict=True):
            if (
                words[0] == b"XADD"
                and isinstance(reply, Reply)
                and reply.kind == "$"
                and len(reply.value or b"") in range(1, 12)
            ):
                self.near = [*self.near[-20:], reply.value]
        self.compare_waiting()

    @staticmethod
    def read(client: Any, words: Words) -> Reply | str:
        try:
            return mask(client.read()[1], words[0], [])
        except Closed:
            return "(closed)"

    def compare(
        self, name: str, commands: tuple[Words, ...], found: list[list[Reply | str]]
    ) -> None:
        for words, one, other in zip(commands, *found, strict=True):
            if one != other:
                self.differ(f"{name}> {show(words)}\n{side_by_side(text(one), text(other))}")

    def differ(self, why: str) -> None:
        self.differed = True
        raise AssertionError(why)

    def wait(self, name: str, words: Words) -> None:
        """Send a command that may block."""
        if name in self.waiting:
            return
        note(f"{name}> {show(words)}")
        blocked = []
        for runner in self.runners:
            session = runner.session(name)
            session.client.send_raw(encode(words))
            blocked.append(runner.blocked(session))
        if blocked[0] != blocked[1]:
            self.differ(f"{name}> {show(words)}: blocked in 8.2.3, respq: {blocked}")
        if blocked[0]:
            self.waiting[name] = words
            return
        found = [[self.read(runner.session(name).client, words)] for runner in self.runners]
        self.compare(name, (words,), found)
        self.compare_waiting()

    def compare_waiting(self) -> None:
        """Those who wait, wait in both; those who were woken got the same."""
        if not self.waiting:
            return
        flags = [runner.flags() for runner in self.runners]
        for name, words in list(self.waiting.items()):
            still = [
                "b" in flag.get(runner.session(name).id, "")
                for runner, flag in zip(self.runners, flags, strict=True)
            ]
            if still[0] != still[1]:
                self.differ(f"{name}> {show(words)}: blocked in 8.2.3, respq: {still}")
            if not still[0]:
                del self.waiting[name]
                note(f"{name} is woken")
                found = [[self.read(runner.session(name).client, words)] for runner in self.runners]
                self.compare(name, (words,), found)

    # -- rules

    @initialize(groups=st.lists(st.tuples(keys, groups), max_size=6))
    def start(self, groups: list[tuple[bytes, bytes]]) -> None:
        for runner in self.runners:
            assert runner.control.call("FLUSHALL") == b"OK"
            self.configure_anew(runner)
        for key, group in [(b"s", b"g"), *groups]:
            self.send("a", [b"XGROUP", b"CREATE", key, group, b"0", b"MKSTREAM"])

    def configure_anew(self, runner: Runner) -> None:
        for setting, value in self.settings.items():
            assert runner.control.call("CONFIG", "SET", setting, value) == b"OK"

    def new_id(self, key: bytes, step: int) -> bytes:
        self.next_ms[key] = self.next_ms.get(key, 1) + step
        return b"%d-*" % self.next_ms[key]

    @rule(
        name=connections,
        key=keys,
        steps=st.lists(st.sampled_from([0, 1, 1, 2]), min_size=1, max_size=6),
        fields=st.sampled_from(
            [
                [b"f", b"1"],
                [b"f", b"v" * 30],
                [b"f", b"12345", b"g", b"-7"],
                [b"", b""],
                [b"f", b"x" * 300],
            ]
        ),
    )
    def add(self, name: str, key: bytes, steps: list[int], fields: Words) -> None:
        self.send(name, *[[b"XADD", key, self.new_id(key, step), *fields] for step in steps])

    @rule(
        name=connections,
        key=keys,
        step=st.sampled_from([0, 1]),
        option=st.sampled_from([[], [b"NOMKSTREAM"]]),
        data=st.data(),
    )
    def add_and_trim(
        self, name: str, key: bytes, step: int, option: Words, data: st.DataObject
    ) -> None:
        trim = data.draw(trims(self.near))
        self.send(name, [b"XADD", key, *option, *trim, self.new_id(key, step), b"f", b"v"])

    @rule(name=connections, key=keys, data=st.data())
    def add_anywhere(self, name: str, key: bytes, data: st.DataObject) -> None:
        entry_id = data.draw(ids(self.near).filter(lambda x: len(x) < 12))
        self.send(name, [b"XADD", key, entry_id, b"f", b"v"])

    @rule(name=connections, data=st.data())
    def one(self, name: str, data: st.DataObject) -> None:
        self.send(name, data.draw(simple_commands(self.near)))

    @rule(name=connections, data=st.data(), size=st.integers(2, 5))
    def pipeline(self, name: str, data: st.DataObject, size: int) -> None:
        commands = st.lists(simple_commands(self.near), min_size=size, max_size=size)
        self.send(name, *data.draw(commands))

    @rule(name=connections, data=st.data(), again=st.integers(1, 2))
    def read_on(self, name: str, data: st.DataObject, again: int) -> None:
        self.send(name, *[data.draw(reads(self.near, blocking=False))] * again)

    @rule(name=connections, data=st.data())
    def read_and_wait(self, name: str, data: st.DataObject) -> None:
        self.wait(name, data.draw(reads(self.near, blocking=True)))

    @rule(name=connections, key=keys, group=groups, consumer=consumers, data=st.data())
    def deliver_and_settle(
        self, name: str, key: bytes, group: bytes, consumer: bytes, data: st.DataObject
    ) -> None:
        """A consumer's round: read, acknowledge or claim some, look."""
        read = [b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"3", b"STREAMS", key, b">"]
        settle = [
            data.draw(st.sampled_from([b"XACK", b"XDEL", b"XCLAIM"])),
            *(key, group, consumer, b"0"),
        ]
        some = data.draw(id_lists(self.near))
        settle = (
            settle[:2] if settle[0] == b"XDEL" else settle[:3] if settle[0] == b"XACK" else settle
        )
        look = data.draw(pendings(self.near))
        self.send(name, read, [*settle, *some], look)

    @rule(name=connections, data=st.data(), at=st.integers(1, 12), wrong=wrong_words)
    def wrong_word(self, name: str, data: st.DataObject, at: int, wrong: bytes) -> None:
        words = data.draw(simple_commands(self.near))
        at %= len(words)
        if at > 0:
            self.send(name, [*words[:at], wrong, *words[at + 1 :]])

    @rule(name=connections, data=st.data(), at=st.integers(1, 12), doubled=st.booleans())
    def missing_or_doubled_word(
        self, name: str, data: st.DataObject, at: int, doubled: bool
    ) -> None:
        words = data.draw(simple_commands(self.near))
        at %= len(words)
        again = [words[at], words[at]] if doubled else []
        self.send(name, [*words[:at], *again, *words[at + 1 :]])

    @rule(
        name=connections,
        setting=st.sampled_from(
            [
                [b"stream-node-max-entries", b"1"],
                [b"stream-node-max-entries", b"3"],
                [b"stream-node-max-entries", b"0"],
                [b"stream-node-max-entries", b"100"],
                [b"stream-node-max-bytes", b"64"],
                [b"stream-node-max-bytes", b"200"],
                [b"stream-node-max-bytes", b"0"],
                [b"stream-node-max-bytes", b"4096"],
            ]
        ),
    )
    def configure(self, name: str, setting: Words) -> None:
        if name not in self.waiting:
            self.send(name, [b"CONFIG", b"SET", *setting])
            self.settings[setting[0]] = setting[1]

    @rule(name=connections, key=keys, group=groups, how=losses)
    def lose(self, name: str, key: bytes, group: bytes, how: str) -> None:
        """Once in a while a group or key goes away or becomes another type; then it comes again."""
        anew = [b"XGROUP", b"CREATE", key, group, b"0", b"MKSTREAM"]
        if how == "group":
            # 8.2.3 goes on minding the lowest group that was; the highest has no such effect
            self.send(name, [b"XGROUP", b"SETID", key, group, b"+"])
            self.send(name, [b"XGROUP", b"DESTROY", key, group], anew)
        elif how == "delete":
            self.send(name, [b"DEL", key], [b"EXISTS", key])
            self.send(name, anew)
        elif how == "string":
            self.send(name, [b"SET", key, b"x"], [b"XLEN", key], [b"GET", key])
            self.send(name, [b"XGROUP", b"CREATE", key, group, b"0"], [b"DEL", key], anew)
        elif how == "flush":
            self.send(name, [b"FLUSHALL"], [b"DBSIZE"], anew)
        elif how == "other database":
            entry = [b"XADD", key, b"1-*", b"f", b"v"]
            self.send(name, [b"SELECT", b"1"], entry, [b"DBSIZE"], [b"SELECT", b"0"])
        elif how == "rename":
            for other in (b"s", b"t", b"u"):
                if other != key:
                    self.send(name, [b"RENAME", key, other], [b"EXISTS", key, other], anew)
        elif how == "copy":
            for other in (b"s", b"t", b"u"):
                self.send(name, [b"COPY", key, other, b"REPLACE"], [b"XLEN", other])
        elif how == "expire":
            self.send(name, [b"EXPIRE", key, b"10000"], [b"EXPIRE", key, b"-1", b"NX"])
            self.send(name, [b"PEXPIRE", key, b"0"], [b"EXISTS", key], anew)
        elif how == "swap":
            # there and back, over a database in which the same keys hold nothing
            entry = [b"XADD", key, b"1-*", b"f", b"v"]
            self.send(name, [b"SWAPDB", b"0", b"2"], [b"DBSIZE"], [b"SWAPDB", b"2", b"0"])
            self.send(name, [b"MOVE", key, b"2"], [b"DBSIZE"], [b"SELECT", b"2"], entry)
            self.send(name, [b"MOVE", key, b"0"], [b"FLUSHDB"], [b"SELECT", b"0"], anew)
        elif how == "future":
            # `*` follows an ID of the future; deleted at once, so that small IDs come again.
            future = b"99999999999999-18446744073709551615"
            adds = [[b"XADD", key, how, b"f", b"v"] for how in (future, b"*", b"*")]
            self.send(name, [b"DEL", key], *adds, [b"DEL", key], anew)

    @precondition(lambda self: self.waiting)
    @rule(
        name=connections,
        sleeper=connections,
        how=st.sampled_from([[], [b"TIMEOUT"], [b"ERROR"]]),
    )
    def unblock(self, name: str, sleeper: str, how: Words) -> None:
        """CLIENT UNBLOCK: the ids differ between the servers, so the command does too."""
        if name in self.waiting or sleeper not in self.waiting:
            return
        note(f"{name}> CLIENT UNBLOCK {sleeper} {how}")
        found = []
        for runner in self.runners:
            words = [b"CLIENT", b"UNBLOCK", b"%d" % runner.session(sleeper).id, *how]
            runner.session(name).client.send_raw(encode(words))
            found.append([self.read(runner.session(name).client, words)])
        self.compare(name, ([b"CLIENT", b"UNBLOCK"],), found)
        self.compare_waiting()

    # -- the end

    def compare_everything(self) -> None:
        for words in (
            *([b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"] for key in (b"s", b"t", b"u")),
            *([b"XINFO", b"GROUPS", key] for key in (b"s", b"t", b"u")),
            [b"DBSIZE"],
        ):
            found = []
            for runner in self.runners:
                runner.control.send_raw(encode(words))
                found.append([self.read(runner.control, words)])
            self.compare("end", (words,), found)


class RestartingMachine(Machine):
    """The same, and respq is stopped or killed now and then. redis-server goes on as it is.

    SAVE flushes respq's memtable, so what comes back comes from segments, rows and the log.
    """

    @rule(name=connections, how=st.sampled_from(["now", "in a pipeline"]), data=st.data())
    def save(self, name: str, how: str, data: st.DataObject) -> None:
        around = [data.draw(simple_commands(self.near)) for _ in range(3 if how != "now" else 0)]
        self.send(name, *around[:1], [b"SAVE"], *around[1:])

    @rule(how=st.sampled_from(["not", "not", "kill", "kill", "stop"]))
    def restart(self, how: str) -> None:
        if how == "not":
            return
        note(f"respq: {how}")
        for runner in self.runners:
            runner.close_sessions()  # what waits is gone on both sides
        self.waiting.clear()
        self.runners[1].close()
        assert self.subject.kill() == -9 if how == "kill" else self.subject.stop() == 0
        self.subject.start()
        self.runners[1] = Runner(self.subject, self.proto)
        self.configure_anew(self.runners[1])
        self.compare_everything()


def text(outcome: Reply | str) -> str:
    return outcome if isinstance(outcome, str) else render(outcome)


def run(machine: type[Machine], seed_: int, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        seed(seed_)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("protocol", [2, 3])
def test_machine(first_voice: Server, subject: Server, protocol: int) -> None:
    class Both(Machine):
        voice = first_voice
        proto = protocol

    Both.subject = subject
    run(Both, SEED + protocol, EXAMPLES, STEPS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_machine_with_restarts(first_voice: Server, tmp_path: pathlib.Path) -> None:
    """Whatever was answered is the same after a restart, to the byte."""
    with servers.respq(tmp_path / "data", presents=servers.REDIS_8_VERSION) as server:

        class Both(RestartingMachine):
            voice = first_voice
            subject = server
            proto = 3

        run(Both, SEED, EXAMPLES // 6, STEPS)
