"""What a stream is made of, for XQ.INSPECT and ``respq inspect``: plain data, one form for both."""

from __future__ import annotations

from collections.abc import Sequence

from lsmstore.anatomy import Part
from streams.stream import Stream

Plain = dict[str, object]


def _id(ident: tuple[int, int]) -> str:
    return f"{ident[0]}-{ident[1]}"


def describe(stream: Stream, parts: Sequence[Part]) -> Plain:
    """A stream whose runs have the anatomy ``parts``. Reads nothing."""
    entries = sum([part.end_pos - part.first_pos for part in parts])
    raw = sum([part.raw_bytes for part in parts])
    stored = sum([part.stored_bytes for part in parts])
    codecs: dict[str, object] = {}
    for part in parts:
        for name, frames in part.codecs.items():
            codecs[name] = frames + int(str(codecs.get(name, 0)))
    groups = stream.groups.values()
    return {
        "sid": stream.sid,
        "length": stream.length,
        "first-position": stream.mark_pos,
        "end-position": stream.end_pos,
        "deleted-between": stream.end_pos - stream.mark_pos - stream.length,
        "last-generated-id": _id(stream.last_id),
        "bases": [sid for sid, _ in stream.bases],
        "segments": len({part.segment for part in parts}),
        "blocks": sum([part.blocks for part in parts]),
        "entries-in-segments": entries,
        "raw-bytes": raw,
        "stored-bytes": stored,
        "ratio": f"{raw / stored:.2f}" if stored else "0",
        "stored-bytes-per-entry": f"{stored / entries:.1f}" if entries else "0",
        "codecs": codecs,
        "memtable-entries": sum([block.count for block in stream.mem]),
        "memtable-bytes": sum([block.wire_bytes for block in stream.mem]),
        "groups": len(groups),
        "pending": sum([group.pending.length for group in groups]),
        "memory-bytes": stream.memory_bytes + sum([group.memory_bytes for group in groups]),
        "runs": [_describe_part(part) for part in parts],
    }


def _describe_part(part: Part) -> Plain:
    return {
        "segment": part.segment,
        "first-position": part.first_pos,
        "end-position": part.end_pos,
        "first-id": _id(part.first_id),
        "last-id": _id(part.last_id),
        "blocks": part.blocks,
        "raw-bytes": part.raw_bytes,
        "stored-bytes": part.stored_bytes,
        "frames": part.frames,
        "shared-frames": part.shared_frames,
        "codecs": dict(part.codecs),
    }
