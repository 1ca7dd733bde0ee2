"""Commands of several clients on several streams, drawn from a seed.

Rules of this file:

* The mix follows what changes state: appends with and without trims and producers, deletions,
  groups, their consumers and policies, deliveries (NOACK, history, CLAIM, blocking),
  acknowledgements, releases, claims, strings, DEL, FLUSHDB, keys that expire, are renamed, copied,
  moved to another database and swapped with it, dumped and restored.
* IDs in arguments are drawn from the IDs that were once given out, so most of them mean something.
* Several commands that come at once are sometimes a transaction.
* Values are sometimes thousands of bytes long: streams have several blocks after a few appends.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.respclient import encode
from tests.sim.node import SimClient, SimNode, Unfinished

Command = list[str]
KEYS = ("a", "b", "c")
GROUPS = ("g", "h")
CONSUMERS = ("x", "y", "z")
PRODUCERS = ("p", "q", "r" * 300)
STRINGS = ("k1", "k2", "c")
CHECKPOINTS = 0.03


class Workload:
    """Draws commands, and notes the IDs that replies tell."""

    def __init__(self, rng: random.Random, *, blocking: bool = True) -> None:
        self.rng = rng
        self.ids: dict[str, list[str]] = {key: [] for key in KEYS}
        self.blocking = blocking
        self.kinds: list[tuple[int, Callable[[str], Command]]] = [
            (34, self.xadd),
            (5, self.xdel),
            (4, self.xtrim),
            (4, self.xdelex),
            (4, self.xackdel),
            (7, self.xgroup),
            (18, self.xreadgroup),
            (10, self.xack),
            (5, self.xclaim),
            (3, self.xautoclaim),
            (4, self.xnack),
            (1, self.policy),
            (5, self.xrange),
            (2, self.xread),
            (1, self.xsetid),
            (6, self.string),
            (2, self.delete),
            (2, self.producers),
            (5, self.expire),
            (3, self.move),
            (4, self.restore),
            (4, self.load),
        ]
        self.heads: list[str] = []
        self.payloads: list[str] = []

    def draw(self) -> Command:
        """The next command."""
        weights = [weight for weight, _ in self.kinds]
        kind = self.rng.choices(self.kinds, weights)[0][1]
        return kind(self.rng.choice(KEYS[:2] if self.rng.random() < 0.8 else KEYS))

    def note(self, command: Command, reply: bytes) -> None:
        """An XADD was answered: its ID may be used."""
        if command[0] == "XADD" and reply[:1] == b"$" and reply[:2] != b"$-":
            self.ids[command[1]].append(reply.split(b"\r\n")[1].decode())
        elif command[0] == "DUMP" and reply[:1] == b"$" and reply[:2] != b"$-":
            payload = reply[reply.index(b"\n") + 1 : -2]
            self.payloads = [*self.payloads[-7:], payload.decode("latin-1")]
        elif command[0] == "XQ.HEAD" and reply[:1] == b"$" and reply[:2] != b"$-":
            payload = reply[reply.index(b"\n") + 1 : -2]
            self.heads = [*self.heads[-3:], payload.decode("latin-1")]

    def some_id(self, key: str) -> str:
        known = self.ids[key]
        if not known or self.rng.random() < 0.1:
            return f"{self.rng.randrange(3)}-{self.rng.randrange(3)}"
        return self.rng.choice(known[-30:])

    def some_ids(self, key: str) -> list[str]:
        return [self.some_id(key) for _ in range(self.rng.choice((1, 1, 2, 5)))]

    def value(self) -> str:
        size = self.rng.choice((1, 5, 20, 20, 100, 700, 6000))
        return "".join(self.rng.choices("abcdefgh", k=8)) * (size // 8 + 1)

    def trim(self, key: str) -> Command:
        equals = self.rng.choice(([], ["="], ["~"], ["~"]))
        limit = (
            ["LIMIT", str(self.rng.randrange(8))]
            if "~" in equals and self.rng.random() < 0.3
            else []
        )
        references = self.references() if self.rng.random() < 0.5 else []
        if self.rng.random() < 0.7:
            length = str(self.rng.choice((0, 2, 5, 10, 20)))
            return ["MAXLEN", *equals, length, *limit, *references]
        return ["MINID", *equals, self.some_id(key), *limit, *references]

    def references(self) -> Command:
        return self.rng.choice(([], ["KEEPREF"], ["DELREF"], ["DELREF"], ["ACKED"], ["ACKED"]))

    def xadd(self, key: str) -> Command:
        options: Command = []
        if self.rng.random() < 0.1:
            options = ["NOMKSTREAM"]
        if self.rng.random() < 0.2:
            options += self.trim(key)
        if self.rng.random() < 0.3:
            options += self.idmp()
        fields = ["f", self.value()]
        if self.rng.random() < 0.2:
            fields += ["other", self.value()]
        return ["XADD", key, *options, "*", *fields]

    def idmp(self) -> Command:
        if self.rng.random() < 0.2:
            return ["IDMPAUTO", self.rng.choice(PRODUCERS)]
        return ["IDMP", self.rng.choice(PRODUCERS), f"iid-{self.rng.randrange(12)}"]

    def producers(self, key: str) -> Command:
        if self.rng.random() < 0.4:
            words = ["IDMP-DURATION", self.rng.choice(("1", "2"))]
            return ["XCFGSET", key, *words, "IDMP-MAXSIZE", self.rng.choice(("1", "3", "5"))]
        iid = f"iid-{self.rng.randrange(12)}"
        return ["XIDMPRECORD", key, self.rng.choice(PRODUCERS), iid, self.some_id(key)]

    def xdel(self, key: str) -> Command:
        return ["XDEL", key, *self.some_ids(key)]

    def xdelex(self, key: str) -> Command:
        some = self.some_ids(key)
        return ["XDELEX", key, *self.references(), "IDS", str(len(some)), *some]

    def xackdel(self, key: str) -> Command:
        some = self.some_ids(key)
        group = self.rng.choice(GROUPS)
        return ["XACKDEL", key, group, "IDS", str(len(some)), *some, *self.references()]

    def xtrim(self, key: str) -> Command:
        return ["XTRIM", key, *self.trim(key)]

    def xgroup(self, key: str) -> Command:
        group = self.rng.choice(GROUPS)
        consumer = self.rng.choice(CONSUMERS)
        start = self.rng.choice(("0", "$", self.some_id(key)))
        return self.rng.choice(
            (
                ["XGROUP", "CREATE", key, group, start, "MKSTREAM"],
                ["XGROUP", "CREATE", key, group, start, "MKSTREAM"],
                ["XGROUP", "CREATE", key, group, start, "MKSTREAM"],
                ["XGROUP", "SETID", key, group, start],
                ["XGROUP", "DESTROY", key, group],
                ["XGROUP", "CREATECONSUMER", key, group, consumer],
                ["XGROUP", "DELCONSUMER", key, group, consumer],
            )
        )

    def xreadgroup(self, key: str) -> Command:
        command = ["XREADGROUP", "GROUP", self.rng.choice(GROUPS), self.rng.choice(CONSUMERS)]
        command += ["COUNT", str(self.rng.choice((1, 1, 2, 5, 100)))]
        if self.blocking and self.rng.random() < 0.2:
            command += ["BLOCK", "0"]
        if self.rng.random() < 0.15:
            command.append("NOACK")
        if self.rng.random() < 0.2:
            command += ["CLAIM", str(self.rng.choice((0, 3, 300)))]
        if self.rng.random() < 0.1:
            command += ["MAXSIZE", str(self.rng.choice((1, 200, 8000)))]
        start = ">" if self.rng.random() < 0.8 else self.rng.choice(("0", self.some_id(key)))
        if self.rng.random() < 0.1:
            return [*command, "STREAMS", *KEYS[:2], start, ">"]
        return [*command, "STREAMS", key, start]

    def xack(self, key: str) -> Command:
        return ["XACK", key, self.rng.choice(GROUPS), *self.some_ids(key)]

    def xclaim(self, key: str) -> Command:
        command = ["XCLAIM", key, self.rng.choice(GROUPS), self.rng.choice(CONSUMERS), "0"]
        command += self.some_ids(key)
        if self.rng.random() < 0.3:
            command += ["RETRYCOUNT", str(self.rng.choice((0, 7, 5_000_000_000)))]
        for option in ("FORCE", "JUSTID"):
            if self.rng.random() < 0.3:
                command.append(option)
        return command

    def xautoclaim(self, key: str) -> Command:
        command = ["XAUTOCLAIM", key, self.rng.choice(GROUPS), self.rng.choice(CONSUMERS), "0"]
        return [*command, self.rng.choice(("0", self.some_id(key))), "COUNT", "3"]

    def xnack(self, key: str) -> Command:
        ids = self.some_ids(key)
        mode = self.rng.choice(("SILENT", "FAIL", "FATAL"))
        command = ["XNACK", key, self.rng.choice(GROUPS), mode, "IDS", str(len(ids)), *ids]
        return [*command, "FORCE"] if self.rng.random() < 0.3 else command

    def policy(self, key: str) -> Command:
        timeout = self.rng.choice(("4", "300", "OFF"))
        return ["XQ.GROUP", "SET", key, self.rng.choice(GROUPS), "IDLE-TIMEOUT", timeout]

    def xrange(self, key: str) -> Command:
        if self.rng.random() < 0.5:
            return ["XREVRANGE", key, "+", self.rng.choice(("-", self.some_id(key)))]
        return ["XRANGE", key, self.rng.choice(("-", self.some_id(key))), "+", "COUNT", "7"]

    def xread(self, key: str) -> Command:
        if self.blocking and self.rng.random() < 0.3:
            return ["XREAD", "BLOCK", "0", "STREAMS", key, "$"]
        return ["XREAD", "COUNT", "5", "STREAMS", key, self.rng.choice(("0", self.some_id(key)))]

    def xsetid(self, key: str) -> Command:
        return [
            "XSETID",
            key,
            f"{1_800_000_000_000 + self.rng.randrange(9)}-{self.rng.randrange(3)}",
        ]

    def string(self, _key: str) -> Command:
        name = self.rng.choice(STRINGS)
        return self.rng.choice(
            (
                ["SET", name, self.value()],
                ["SET", name, self.value(), "PX", self.rng.choice(("20", "700", "100000"))],
                ["SET", name, str(self.rng.randrange(1000)), "KEEPTTL"],
                ["INCRBY", name, "7"],
                ["APPEND", name, self.value()],
                ["SETRANGE", name, str(self.rng.randrange(3000)), "patch"],
                ["GETEX", name, *self.rng.choice((["PERSIST"], ["PX", "300"], []))],
                ["GETDEL", name],
                ["MSET", "k1", self.value(), "k2", "2"],
            )
        )

    def expire(self, key: str) -> Command:
        name = self.rng.choice((*STRINGS, key, key))
        if self.rng.random() < 0.2:
            return self.rng.choice((["PERSIST", name], ["EXISTS", name], ["TTL", name]))
        command = ["PEXPIRE", name, self.rng.choice(("0", "3", "30", "500", "100000"))]
        return command + self.rng.choice(([], [], ["GT"], ["NX"]))

    def move(self, key: str) -> Command:
        name = self.rng.choice((*STRINGS, *KEYS, key))
        other = self.rng.choice((*STRINGS, *KEYS))
        return self.rng.choice(
            (
                ["RENAME", name, other],
                ["RENAME", other, name],
                ["RENAMENX", name, other],
                ["MOVE", name, "1"],
                ["COPY", name, other, "REPLACE"],
                ["COPY", other, name, "REPLACE"],
                ["COPY", name, name, "DB", "1"],
                ["SWAPDB", "0", "1"],
            )
        )

    def restore(self, key: str) -> Command:
        name = self.rng.choice((*STRINGS, key, key))
        if not self.payloads or self.rng.random() < 0.4:
            return ["DUMP", name]
        options = self.rng.choice(([], ["REPLACE"], ["REPLACE"]))
        ttl = self.rng.choice(("0", "0", "30", "100000"))
        return ["RESTORE", name, ttl, self.rng.choice(self.payloads), *options]

    def load(self, key: str) -> Command:
        """A head is often one of before; entries follow whatever the stream ends with."""
        if self.heads and self.rng.random() < 0.4:
            return ["XQ.LOADHEAD", key, self.rng.choice(self.heads)]
        if self.rng.random() < 0.4:
            return ["XQ.HEAD", key]
        after = self.ids[key][-1] if self.ids[key] else "0-0"
        ms = int(after.partition("-")[0])
        ids = [f"{ms + step}-{self.rng.randrange(9)}" for step in (1, 2, 4)]
        value = self.value()
        entries = "".join(
            f"*2\r\n${len(id)}\r\n{id}\r\n*2\r\n$1\r\nf\r\n${len(value)}\r\n{value}\r\n"
            for id in ids
        )
        return [
            "XQ.LOAD",
            key,
            after,
            entries,
            *self.rng.choice(([], ["NODE"], ["NODE", "0", "2"])),
        ]

    def delete(self, key: str) -> Command:
        name = self.rng.choice(("k1", "k2", "c", "c", key))
        return ["FLUSHDB"] if self.rng.random() < 0.15 else ["DEL", name]


class Driver:
    """Sends a workload to a node from several clients, in an order drawn from the same seed."""

    def __init__(
        self,
        node: SimNode,
        rng: random.Random,
        clients: int = 4,
        saves: float = 0.02,
        checkpoints: int = 0,
    ) -> None:
        """So many ``checkpoints`` are made at most, into directories named ``c0``, ``c1`` ..."""
        self.node = node
        self.saves = saves
        self.checkpoints_left = checkpoints
        self.checkpoints: dict[str, int] = {}
        """Those that were answered, and up to which record they go."""
        self.rng = rng
        self.work = Workload(rng)
        self.clients: list[SimClient] = [node.connect() for _ in range(clients)]
        self.asked: dict[int, list[Command]] = {client.session.id: [] for client in self.clients}
        self.answered = 0

    def step(self) -> None:
        """A command or a few at once from some client; then some of what is due."""
        client = self.rng.choice(self.clients)
        pipeline = [self.work.draw() for _ in range(self.rng.choice((1, 1, 1, 3)))]
        if len(pipeline) > 1 and self.rng.random() < 0.5:
            pipeline = [["MULTI"], *pipeline, ["EXEC"]]
        if self.rng.random() < self.saves:
            pipeline = [["SAVE"]]
        elif self.checkpoints_left and self.rng.random() < CHECKPOINTS:
            self.checkpoints_left -= 1
            pipeline = [["XQ.CHECKPOINT", f"c{self.checkpoints_left}"]]
        self.asked[client.session.id] += pipeline
        client.feed(
            b"".join([encode([word.encode("latin-1") for word in words]) for words in pipeline])
        )
        if self.rng.random() < 0.2:
            self.node.advance(self.rng.choice((1, 5, 400)))
        for _ in range(self.rng.choice((1, 2, 4, 50))):
            self.node.skin.step()
        self.collect()

    def collect(self) -> None:
        """Take the replies that have arrived."""
        for client in self.clients:
            for reply in client.replies():
                command = self.asked[client.session.id].pop(0)
                self.work.note(command, reply)
                if command[0] == "XQ.CHECKPOINT" and reply[:1] == b"*":
                    self.checkpoints[command[1]] = int(reply.split(b"\r\n:")[1].split(b"\r")[0])
                self.answered += 1

    def finish(self) -> None:
        """Let everything come to rest; only clients that block may be without an answer."""
        self.node.run()
        self.collect()
        for client in self.clients:
            if self.asked[client.session.id] and client.session.blocked is None:
                raise Unfinished(self.asked[client.session.id][0])
