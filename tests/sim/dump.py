"""All that a client can learn of a node, as bytes that may be compared.

Rules of this file:

* Two nodes in the same state give the same dump, whatever they did to get there: flushes, restarts,
  cold blocks and evictions must not show. Stream headers are part of it (less the log position),
  so what will decide later commands is compared, too.
* Nothing is swept meanwhile: what a dump sees is what the log has made of the node.
* Times are absolute, so a dump depends on no clock; it is taken at the beginning of time, when no
  key has expired. seen-time is left out: it makes no record, so a restart may forget it.
* The index of what expires is compared with the keys.
"""

from __future__ import annotations

import re

from streams import rowkeys
from streams.keyrow import KeyRow
from streams.keyspace import Keyspace, Tally
from streams.stream import HEADER, Stream
from tests.sim.node import SimNode

SEEN = re.compile(rb"(\$9\r\nseen-time\r\n:)-?\d+")
DUMP_WALL_MS = 1_000


def dump(node: SimNode) -> dict[str, bytes]:
    """What the node holds, by what it is about."""
    found: dict[str, bytes] = {}
    keyspace = node.engine.keyspace
    client = node.connect()
    wall_ms = node.clock.wall_ms()
    sweep = node.engine.sweeper.step
    node.engine.sweeper.step = _no_sweep  # type: ignore[method-assign]
    node.clock.set_wall_ms(DUMP_WALL_MS)
    try:
        for db, ns in enumerate(keyspace.namespaces):
            if keyspace.size(ns) == 0 and next(keyspace.keys(ns), None) is None:
                continue
            client.call("SELECT", db)
            names = sorted(client.call("KEYS", "*"))
            found[f"{db} keys"] = b"%d %r" % (client.call("DBSIZE"), names)
            for name in names:
                about = f"{db} {name.decode()}"
                found[f"{about} expires"] = client.raw("PEXPIRETIME", name)
                if client.call("TYPE", name) == b"string":
                    found[about] = client.raw("GET", name)
                    continue
                stream = keyspace.stream(ns, name)
                assert stream is not None
                _dump_stream(client.raw, about, name, stream, found)
        found["directory"] = _directory(node)
        check_expiry(keyspace)
    finally:
        node.clock.set_wall_ms(wall_ms)
        client.leave()
        node.engine.sweeper.step = sweep  # type: ignore[method-assign]
    return found


def _no_sweep() -> bool:
    return False


def _dump_stream(raw, about: str, name: bytes, stream: Stream, found: dict[str, bytes]) -> None:  # type: ignore[no-untyped-def]
    stream.check()
    for group in stream.groups.values():
        group.check()
    found[f"{about} entries"] = raw("XRANGE", name, "-", "+")
    found[f"{about} backwards"] = raw("XREVRANGE", name, "+", "-")
    full = SEEN.sub(rb"\g<1>", raw("XINFO", "STREAM", name, "FULL", "COUNT", 0))
    found[f"{about} full"] = full
    found[f"{about} groups"] = raw("XINFO", "GROUPS", name)
    values = list(HEADER.unpack_from(stream.dump_header()))
    values[1:4] = (0, 0, 0)  # applied_lsn, and which segments are shared
    found[f"{about} header"] = repr((stream.sid, values)).encode() + stream.dump_nodes()
    if stream.producers is not None:
        found[f"{about} producers"] = repr(sorted(stream.producers.all_rows())).encode()
    for group in sorted(stream.groups):
        where = f"{about} group {group.decode()}"
        found[f"{where} summary"] = raw("XPENDING", name, group)
        found[f"{where} pending"] = raw("XPENDING", name, group, "-", "+", 100_000)
        state = stream.groups[group]
        found[f"{where} by age"] = repr(
            state.pending.oldest_ids(state.pending.length, DUMP_WALL_MS, (0, 0))
        ).encode()
        found[f"{where} policy"] = raw("XQ.GROUP", "GET", name, group)
        found[f"{where} ids"] = repr(
            (state.gid, state.free_cidx, sorted((c.cidx, c.name) for c in state.consumers.values()))
        ).encode()


def _directory(node: SimNode) -> bytes:
    """Which ids are taken: what is given out next must not depend on flushes."""
    return node.engine.keyspace.dump_directory(0)


def check_expiry(keyspace: Keyspace) -> None:
    """The index of what expires, the tallies and what streams in memory know agree with the
    keys.
    """
    for ns in keyspace.namespaces:
        tally = Tally()
        start, end = rowkeys.namespace_bounds(ns)
        for row_key, value in keyspace.merged(start, end):
            key, row = rowkeys.name_of(row_key), KeyRow(value)
            tally.keys += 1
            stream = keyspace.live[ns].get(key)
            assert stream is None or stream.expires_ms == row.expires_ms
            if row.expires_ms:
                tally.expiring += 1
                tally.expires_ms_sum += row.expires_ms
                index = rowkeys.expiry_row(row.expires_ms, ns, key)
                assert next(keyspace.merged(index, index + b"\0"), None) is not None
        assert keyspace.tallies[ns] == tally
    indexed = sum(
        rowkeys.expiring_key(row_key)[0] in keyspace.live
        for row_key, _ in keyspace.merged(rowkeys.EXPIRY_FIRST, rowkeys.EXPIRY_LAST)
    )
    assert indexed == sum(tally.expiring for tally in keyspace.tallies.values())


def difference(left: dict[str, bytes], right: dict[str, bytes]) -> str:
    """Where two dumps differ first, shortly."""
    for about in sorted(left.keys() | right.keys()):
        a, b = left.get(about), right.get(about)
        if a == b:
            continue
        if a is None or b is None:
            return f"{about}: only {'right' if a is None else 'left'}"
        at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
        return (
            f"{about} at {at}: {a[max(0, at - 60) : at + 60]!r} != {b[max(0, at - 60) : at + 60]!r}"
        )
    return ""
