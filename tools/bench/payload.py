"""The commands of the benchmarks, as wire bytes.

Two payloads, both drawn from a seeded generator so that every run and both servers get the same:

- *sensor*: what most streams carry, four short fields: ``sensor s-0421 temp 21.37 hum 45.2 volt
  3.712``, 37 bytes of text; values walk at random for each of 32 sensors.
- *order*: one field ``data`` of exactly 1024 bytes of JSON, words and numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

POOL = 4096
ORDER_POOL = 512
ORDER_BYTES = 1024

WORDS = (
    *("red", "blue", "green", "steel", "cotton", "wireless", "usb", "cable", "charger", "case"),
    *("large", "small", "medium", "pro", "mini", "max", "ultra", "garden", "kitchen", "table"),
    *("lamp", "chair", "desk", "shelf", "bottle", "mug", "plate", "knife", "phone", "laptop"),
)


def command(*arguments: bytes) -> bytes:
    """One command as a RESP array."""
    head = b"*%d\r\n" % len(arguments)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in arguments)


def sensor_fields(count: int, seed: int = 1) -> list[tuple[bytes, ...]]:
    """Field and value bytes of ``count`` sensor readings."""
    chance = random.Random(seed)
    state = {
        b"s-%04d" % chance.randrange(10_000): [
            chance.uniform(15, 30),
            chance.uniform(30, 70),
            chance.uniform(3.0, 4.2),
        ]
        for _ in range(32)
    }
    names = list(state)
    readings: list[tuple[bytes, ...]] = []
    for _ in range(count):
        name = chance.choice(names)
        values = state[name]
        values[0] += chance.gauss(0, 0.05)
        values[1] += chance.gauss(0, 0.2)
        values[2] = max(2.8, values[2] + chance.gauss(0, 0.002))
        temp, hum, volt = (b"%.2f" % values[0], b"%.1f" % values[1], b"%.3f" % values[2])
        readings.append((b"sensor", name, b"temp", temp, b"hum", hum, b"volt", volt))
    return readings


def order_fields(count: int, seed: int = 2) -> list[tuple[bytes, ...]]:
    """Field and value bytes of ``count`` orders."""
    chance = random.Random(seed)
    orders: list[tuple[bytes, ...]] = []
    for number in range(count):
        items: list[dict[str, object]] = []
        order = {"order": f"ORD-{4_000_000 + number:010d}", "items": items}
        while len(text := json.dumps(order)) < ORDER_BYTES:
            items.append(
                {
                    "sku": f"SKU-{chance.randrange(10**7):07d}",
                    "name": " ".join(chance.choices(WORDS, k=4)),
                    "quantity": chance.choice([1, 1, 1, 2, 3]),
                    "price": round(chance.uniform(2, 300), 2),
                }
            )
        orders.append((b"data", text[:ORDER_BYTES].encode()))
    return orders


def adds(
    key: bytes, fields: Sequence[tuple[bytes, ...]], options: Sequence[bytes] = ()
) -> list[bytes]:
    """XADD commands with ids of the server's choice."""
    return [command(b"XADD", key, *options, b"*", *one) for one in fields]


def adds_once(key: bytes, fields: Sequence[tuple[bytes, ...]], producer: bytes) -> list[bytes]:
    """XADD commands with an iid each."""
    return [
        command(b"XADD", key, b"IDMP", producer, b"%016d" % number, b"*", *one)
        for number, one in enumerate(fields)
    ]


def group_read(
    key: bytes, group: bytes, consumer: bytes, count: int, options: Sequence[bytes] = ()
) -> bytes:
    """XREADGROUP of new entries."""
    return command(
        *(b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"%d" % count),
        *(*options, b"STREAMS", key, b">"),
    )


def ack_head(key: bytes, group: bytes) -> bytes:
    """XACK of one id, but for that id."""
    return command(b"XACK", key, group, b"").removesuffix(b"$0\r\n\r\n")
