"""``python -m tools.bench.decode``: how fast streams in RDB are read, written and loaded.

One process, no server: a stream of sensor readings in memory, its DUMP payload, and that payload
read again. Each figure is the best of the rounds, in entries a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from lsmstore.simfs import SimFS
from lsmstore.store import Store
from streams.blockcache import BlockCache
from streams.journal import Journal
from streams.keyspace import Keyspace
from streams.rdb.heads import StreamHead
from streams.rdb.payload import dump_stream, open_payload
from streams.rdb.rows import Node
from streams.rdb.streamreader import StreamReader
from streams.restore import StreamLoader
from streams.stream import Stream
from tools.bench.payload import command, sensor_fields

ENTRIES_A_NODE = 100
RDB_TYPE = 21
FIRST_MS = 1_700_000_000_000
GIB = 1 << 30


def made(entries: int) -> list[Node]:
    """Nodes of sensor readings, a millisecond apart."""
    readings = sensor_fields(min(entries, 10_000))
    nodes = []
    for start in range(0, entries, ENTRIES_A_NODE):
        wire = b"".join(
            b"*2\r\n$15\r\n%d-0\r\n" % (FIRST_MS + at) + command(*readings[at % len(readings)])
            for at in range(start, min(start + ENTRIES_A_NODE, entries))
        )
        nodes.append(Node(wire, min(ENTRIES_A_NODE, entries - start), []))
    return nodes


def loaded(nodes: list[Node], head: StreamHead) -> Stream:
    """A stream in memory, with records that go nowhere."""
    store = Store.open(SimFS(), "/data")
    keys = Keyspace(store, 1, lambda _: 0, BlockCache(GIB), GIB)
    journal = Journal(keys)
    stream = journal.create_stream(keys.namespaces[0], b"stream")
    loader = StreamLoader(journal, stream)
    for node in nodes:
        loader.add(node)
    loader.end(head, FIRST_MS)
    return stream


def decoded(payload: bytes) -> tuple[list[Node], StreamHead]:
    """What a payload holds."""
    rdb_type, source = open_payload(payload, 12, GIB)
    reader = StreamReader(source, rdb_type)
    nodes = []
    while (node := reader.next_node()) is not None:
        nodes.append(node)
    return nodes, reader.head()


def best_s(work: Callable[[], object], rounds: int) -> float:
    """The least seconds that ``work`` took."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


@click.command()
@click.option("--entries", default=300_000, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
def main(entries: int, rounds: int) -> None:
    """Measure reading, writing and loading of a stream in RDB form."""
    nodes = made(entries)
    head = StreamHead(entries, (FIRST_MS + entries, 0), (0, 0), entries)
    stream = loaded(nodes, head)
    payload = dump_stream(stream, RDB_TYPE)
    assert decoded(payload)[0][-1].wire == nodes[-1].wire
    click.echo(f"{entries} sensor readings, payload of {len(payload)} bytes")
    for name, work in (
        ("decode", lambda: decoded(payload)),
        ("encode", lambda: dump_stream(stream, RDB_TYPE)),
        ("load", lambda: loaded(nodes, head)),
    ):
        click.echo(f"{name:8} {entries / best_s(work, rounds):12,.0f} entries/s")


if __name__ == "__main__":
    main()
