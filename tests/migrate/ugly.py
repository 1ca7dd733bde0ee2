"""Streams that nobody would make by hand, on a redis-server, from a seed; and all that is known of
a key, in a form that two servers can be compared by.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.respclient import Client, Reply

KEYS = ("a", "b", "{t}c", "binary \\xff\n")
GROUPS = ("g", "h", "")
CONSUMERS = ("x", "y", "z")
LIVES_MS = (4_000_000_000_000, 4_100_000_000_000)


class Ugly:
    """Sends commands to a server. ``extra``: the server has what came with 8.2."""

    def __init__(self, client: Client, rng: random.Random, *, extra: bool, dbs: int = 2) -> None:
        self.client = client
        self.rng = rng
        self.ids: dict[str, list[str]] = {key: [] for key in KEYS}
        self.last = 10
        self._dbs = dbs
        self.kinds: list[tuple[int, Callable[[str], list[Any]]]] = [
            (40, self.xadd),
            (8, self.xdel),
            (3, self.xtrim),
            (8, self.xgroup),
            (20, self.xreadgroup),
            (8, self.xack),
            (5, self.xclaim),
            (3, self.xautoclaim),
            (3, self.xsetid),
            (3, self.string),
            (2, self.other),
            (2, self.life),
            (2, self.move),
        ]
        if extra:
            self.kinds += [(3, self.xdelex)]

    def run(self, steps: int) -> None:
        """Send so many commands, some within transactions."""
        left = 0
        for _ in range(steps):
            if self.rng.random() < 0.03 and self._dbs > 1 and not left:
                self.client.call("SELECT", self.rng.randrange(self._dbs))
            if not left and self.rng.random() < 0.05:
                self.client.call("MULTI")
                left = 3
            self.step()
            if left:
                left -= 1
                if not left:
                    self.client.call("EXEC")
        if left:
            self.client.call("EXEC")
        self.client.call("SELECT", 0)

    def step(self) -> None:
        """One command."""
        weights = [weight for weight, _ in self.kinds]
        kind = self.rng.choices(self.kinds, weights)[0][1]
        key = self.rng.choice(KEYS)
        words = kind(key)
        reply = self.client.call(*words)
        if words[0] == "XADD" and not isinstance(reply, Reply):
            self.ids[words[1]].append(words[2])

    def some_ids(self, key: str) -> list[str]:
        known = self.ids[key][-40:] or ["1-1"]
        return [self.rng.choice(known) for _ in range(self.rng.choice((1, 1, 3)))]

    def xadd(self, key: str) -> list[Any]:
        self.last += self.rng.choice((0, 1, 1, 5))
        value = self.rng.choice(("v", "12", "-7", "x" * 70, "", "y" * 5000, "\x00\xff"))
        fields = ["f", value] if self.rng.random() < 0.8 else ["n", "1", "f", value]
        return ["XADD", key, f"{self.last}-{self.rng.randrange(1, 50)}", *fields]

    def xdel(self, key: str) -> list[Any]:
        return ["XDEL", key, *self.some_ids(key)]

    def xdelex(self, key: str) -> list[Any]:
        ids = self.some_ids(key)
        return ["XDELEX", key, self.rng.choice(("DELREF", "ACKED")), "IDS", len(ids), *ids]

    def xtrim(self, key: str) -> list[Any]:
        return ["XTRIM", key, "MAXLEN", self.rng.choice(("=", "~")), self.rng.choice((0, 3, 30))]

    def xgroup(self, key: str) -> list[Any]:
        group, consumer = self.rng.choice(GROUPS), self.rng.choice(CONSUMERS)
        where = self.rng.choice(("0", "$", *self.some_ids(key)))
        return self.rng.choice(
            [
                ["XGROUP", "CREATE", key, group, where, "MKSTREAM"],
                ["XGROUP", "CREATE", key, group, "0", "MKSTREAM"],
                ["XGROUP", "CREATE", key, group, where, "ENTRIESREAD", 3],
                ["XGROUP", "SETID", key, group, where],
                ["XGROUP", "DELCONSUMER", key, group, consumer],
                ["XGROUP", "CREATECONSUMER", key, group, consumer],
                ["XGROUP", "DESTROY", key, group] if self.rng.random() < 0.3 else ["PING"],
            ]
        )

    def xreadgroup(self, key: str) -> list[Any]:
        words = ["XREADGROUP", "GROUP", self.rng.choice(GROUPS), self.rng.choice(CONSUMERS)]
        noack = ["NOACK"] if self.rng.random() < 0.15 else []
        return [*words, "COUNT", self.rng.choice((1, 3, 20)), *noack, "STREAMS", key, ">"]

    def xack(self, key: str) -> list[Any]:
        return ["XACK", key, self.rng.choice(GROUPS), *self.some_ids(key)]

    def xclaim(self, key: str) -> list[Any]:
        words = ["XCLAIM", key, self.rng.choice(GROUPS), self.rng.choice(CONSUMERS), 0]
        options = self.rng.choice(([], ["FORCE"], ["RETRYCOUNT", 7], ["JUSTID"], ["IDLE", 5000]))
        return [*words, *self.some_ids(key), *options]

    def xautoclaim(self, key: str) -> list[Any]:
        words = ["XAUTOCLAIM", key, self.rng.choice(GROUPS), self.rng.choice(CONSUMERS)]
        return [*words, 0, "0", "COUNT", 3]

    def xsetid(self, key: str) -> list[Any]:
        """Forwards, and back behind what was deleted."""
        if self.rng.random() < 0.5 and self.ids[key]:
            ms, _, seq = self.rng.choice(self.ids[key][-3:]).partition("-")
            return ["XSETID", key, f"{ms}-{int(seq) + 1}"]
        return ["XSETID", key, f"{self.last}-60", "ENTRIESADDED", 5000, "MAXDELETEDID", "3-3"]

    def string(self, _: str) -> list[Any]:
        name = self.rng.choice(("s1", "s2", *KEYS[:1]))
        return (
            self.rng.choice(
                (
                    ["SET", "s1", "x" * 50],
                    ["SET", "s2", "5"],
                    ["INCR", "s2"],
                    ["APPEND", "s1", "more"],
                )
            )
            if name != KEYS[0]
            else ["SET", "s3", "v", "PXAT", LIVES_MS[0]]
        )

    def other(self, _: str) -> list[Any]:
        return self.rng.choice(
            (
                ["HSET", "hash", "f", "v"],
                ["LPUSH", "list", "a"],
                ["ZADD", "zset", 1, "a"],
                ["RENAME", "hash", "s2"],
                ["DEL", "s2"],
                ["SUNIONSTORE", "s1", "none"],
            )
        )

    def life(self, key: str) -> list[Any]:
        name = self.rng.choice((key, "s1"))
        return self.rng.choice((["PERSIST", name], ["PEXPIREAT", name, self.rng.choice(LIVES_MS)]))

    def move(self, key: str) -> list[Any]:
        return self.rng.choice(
            (
                ["COPY", key, "copy", "REPLACE"],
                ["RENAME", "copy", "moved"],
                ["DEL", "moved"],
                ["UNLINK", key] if self.rng.random() < 0.3 else ["PING"],
            )
        )


INNER = (b"radix-tree-keys", b"radix-tree-nodes", b"lag")
AFTER_82 = (
    b"idmp-duration idmp-maxsize pids-tracked iids-tracked iids-added iids-duplicates nacked-count"
).split()
TOLERANCE_MS = 3


class About(int):
    """A time that was reckoned from an idle time."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and abs(self - other) <= TOLERANCE_MS

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


def known(client: Client, version: int, *less: bytes) -> dict[str, Any]:
    """Every stream and string of a server, and when it expires.

    Lag follows from the rest, and 7 counts it in another way; nor does it know when a consumer was
    active. Without the fields ``less``.
    """
    found: dict[str, Any] = {}
    left_out = (*less, *INNER, *AFTER_82, b"entries", *((b"active-time",) if version == 7 else ()))
    for db in range(2):
        client.call("SELECT", db)
        for key in sorted(client.call("KEYS", "*")):
            kind = client.call("TYPE", key)
            if key.startswith(b"respq:") or kind not in (b"stream", b"string"):
                continue
            about = f"{db} {key!r}"
            found[f"{about} expires"] = client.call("PEXPIRETIME", key)
            if kind == b"string":
                found[about] = client.call("GET", key)
                continue
            found[f"{about} entries"] = client.raw("XRANGE", key, "-", "+")
            full = client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)
            found[f"{about} full"] = plain(full, left_out)
    client.call("SELECT", 0)
    return found


def plain(value: Any, left_out: tuple[bytes, ...]) -> Any:
    """A reply of XINFO as plain data, without what depends on the server's insides."""
    if isinstance(value, int) and value > 1_000_000_000_000:
        return About(value)
    if not isinstance(value, list):
        return value
    if value and len(value) % 2 == 0 and all(isinstance(name, bytes) for name in value[::2]):
        pairs = dict(zip(value[::2], value[1::2], strict=True))
        return {
            name: plain(member, left_out) for name, member in pairs.items() if name not in left_out
        }
    return [plain(member, left_out) for member in value]


def first_difference(a: Any, b: Any, where: str = "") -> str:
    """Where two servers differ first."""
    if a == b:
        return ""
    if isinstance(a, dict) and isinstance(b, dict):
        for about in [*a, *[name for name in b if name not in a]]:
            if a.get(about) != b.get(about):
                return first_difference(a.get(about), b.get(about), f"{where} {about!r}")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if x != y:
                return first_difference(x, y, f"{where}[{i}]")
    return f"{where}: {a!r} != {b!r}"
