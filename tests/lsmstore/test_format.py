"""A reader written from docs/FORMAT.md alone: it uses nothing of the store and agrees with it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import xxhash
import zstandard

from lsmstore.fs import OsFS
from lsmstore.store import Store
from tests.lsmstore.support import SID, SMALL, compact, fill, flush, record, rows_at

MASK = (1 << 64) - 1


def chain(header: bytes, payload: bytes, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(header, xxhash.xxh3_64_intdigest(payload, seed & MASK))


def u64s(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 8}Q", data))


def u32s(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def frame_at(data: bytes, at: int, magic: int, number: int, epoch: int) -> Any:
    if at + 48 > len(data):
        return None
    found = struct.unpack_from("<HIBBIIIIQQQ", data, at)
    payload = data[at + 48 : at + 48 + found[5]]
    if found[0] != magic or found[1] != number or found[2] != 1 or found[4] != epoch:
        return None
    if found[10] != chain(data[at : at + 40], payload, epoch << 40 ^ number):
        return None
    assert not found[3] & 3, "this reader's store does not compress its log"
    return found[8], found[7], found[9], payload, at + 48 + found[5]


def read_log(directory: Path, floor: int) -> list[bytes]:
    """The payloads of all frames with records above the floor."""
    heads = {}
    for path in directory.glob("*.wal"):
        number = int(path.stem)
        head = frame_at(path.read_bytes(), 0, 0x51A7, number, 0)
        heads[number] = u64s(head[3])
    number = max(n for n, head in heads.items() if head[3] <= floor)
    expected = heads[number][3] + 1
    payloads = []
    while True:
        data = (directory / f"{number:08d}.wal").read_bytes()
        epoch, at = heads[number][0], 88
        following = max((n for n, head in heads.items() if head[2] == number), default=None)
        while following is None or at < heads[following][4]:
            found = frame_at(data, at, 0x51A7, number, epoch)
            if found is None or found[0] != expected:
                break
            expected += found[1]
            at = found[4]
            if found[1] and expected - 1 > floor:
                payloads.append(found[3])
        if following is None:
            return payloads
        assert (at, expected - 1) == (heads[following][4], heads[following][3])
        number = following


def read_manifest(root: Path) -> dict[str, Any]:
    name = (root / "CURRENT").read_text().removesuffix("\n")
    data = (root / name).read_bytes()
    state: dict[str, Any] = {"floor": 0, "segments": {}, "rows": {}, "dead": {}}
    at = 0
    while (found := frame_at(data, at, 0x51A8, int(name.removeprefix("MANIFEST-")), 0)) is not None:
        at = found[4]
        edit = found[3]
        while edit:
            kind, length = struct.unpack_from("<BI", edit)
            body, edit = edit[5 : 5 + length], edit[5 + length :]
            if kind == 2:
                before, state["floor"] = u64s(body)
                assert before in {state["floor"], 0} or before <= state["floor"]
            elif kind in {4, 6}:
                fields = u64s(body)
                state["segments" if kind == 4 else "rows"][fields[0]] = fields
            elif kind in {5, 7}:
                del state["segments" if kind == 5 else "rows"][u64s(body)[0]]
            elif kind == 9:
                segment, _, *sids = u64s(body)
                state["dead"].setdefault(segment, set()).update(sids)
    return state


class Container:
    def __init__(self, path: Path, magic: bytes) -> None:
        self.data = path.read_bytes()
        self.number = int(path.stem)
        header, footer = self.data[:40], self.data[-120:]
        assert header[:8] == footer[-8:] == magic
        assert u64s(header[32:]) == [xxhash.xxh3_64_intdigest(header[:32], self.number)]
        assert u64s(footer[104:112]) == [xxhash.xxh3_64_intdigest(footer[:104], self.number)]
        offset, length, *rest = u64s(footer[:104])
        self.counts = rest[:6]
        assert rest[6] == self.number
        self.index = self.frame(offset, length)
        self.origin = self.frame(*rest[9:])
        assert self.origin.startswith(b"ORIGIN1\n")

    def frame(self, offset: int, length: int) -> bytes:
        data = self.data[offset : offset + length]
        raw_len, stored_len, dictionary, codec = struct.unpack_from("<IIIB", data)
        payload = data[16 : 16 + stored_len]
        assert len(data) == 16 + stored_len + 8
        assert u64s(data[-8:]) == [chain(data[:16], payload, self.number << 40 ^ offset)]
        raw = payload if codec == 0 else zstandard.ZstdDecompressor().decompress(payload)
        assert (len(raw), dictionary) == (raw_len, 0)
        return raw


def read_segment(path: Path) -> dict[int, list[tuple[int, bytes]]]:
    """(first position, bytes) of each block, by sid."""
    file = Container(path, b"RSPQSEG1")
    n = u32s(file.index[:4])[0]
    assert n == file.counts[0]
    offsets = u64s(file.index[8 + 8 * n : 8 + 16 * n])
    lengths = u32s(file.index[8 + 16 * n : 8 + 20 * n])
    bits = file.index[8 + 20 * n :]
    found: dict[int, list[tuple[int, bytes]]] = {}
    for offset, length in zip(offsets, lengths, strict=True):
        page = file.frame(offset, length)
        m = u32s(page[:4])[0]
        base = 8 + 12 * m
        ends = [0, *u32s(page[8 + 8 * m : base])]
        for i, sid in enumerate(u64s(page[8 : 8 + 8 * m])):
            directory = page[base + ends[i] : base + ends[i + 1]]
            found.setdefault(sid, []).extend(read_run(file, directory))
            assert filter_knows(bits, sid)
    return found


def filter_knows(bits: bytes, sid: int) -> bool:
    x = sid
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    x ^= x >> 31
    low, high = x & 0xFFFFFFFF, x >> 32 | 1
    places = [((low + j * high) % (1 << 32) * (8 * len(bits))) >> 32 for j in range(4)]
    return all(bits[place // 8] >> place % 8 & 1 for place in places)


def read_run(file: Container, directory: bytes) -> list[tuple[int, bytes]]:
    n, nodes = u32s(directory[:8])
    first_pos = u64s(directory[8:16])[0]
    wide, narrow = 8 * n, 4 * n
    at = 32 + 2 * wide
    ordinals = u32s(directory[at : at + narrow + 4])
    at += narrow + 4
    offsets = u64s(directory[at : at + wide])
    lengths, raw_offsets, raw_lens = (
        u32s(directory[at + wide + i * narrow : at + wide + (i + 1) * narrow]) for i in range(3)
    )
    assert len(directory) == at + wide + 3 * narrow + 4 * nodes
    return [
        (
            first_pos + ordinals[i],
            file.frame(offsets[i], lengths[i])[raw_offsets[i] : raw_offsets[i] + raw_lens[i]],
        )
        for i in range(n)
    ]


def read_rows(path: Path) -> dict[bytes, bytes | None]:
    file = Container(path, b"RSPQROW1")
    n = u32s(file.index[:4])[0]
    offsets = u64s(file.index[4 : 4 + 8 * n])
    lengths = u32s(file.index[4 + 8 * n : 4 + 12 * n])
    bits = file.frame(file.counts[3], file.counts[4])
    rows: dict[bytes, bytes | None] = {}
    for offset, length in zip(offsets, lengths, strict=True):
        block = file.frame(offset, length)
        m = u32s(block[:4])[0]
        key_ends = [0, *u32s(block[4 : 4 + 4 * m])]
        value_ends = [0, *u32s(block[4 + 4 * m : 4 + 8 * m])]
        keys = block[4 + 8 * m :]
        values = keys[key_ends[-1] :]
        for i in range(m):
            key = keys[key_ends[i] : key_ends[i + 1]]
            end = value_ends[i + 1]
            start = value_ends[i] & 0x7FFFFFFF
            rows[key] = None if end & 0x80000000 else values[start:end]
            digest = xxhash.xxh3_64_intdigest(key)
            for j in range(3):
                bit = ((digest & 0xFFFFFFFF) + j * (digest >> 32 | 1)) % file.counts[5]
                assert bits[bit // 8] >> bit % 8 & 1
    assert list(rows) == sorted(rows)
    assert len(rows) == file.counts[1]
    return rows


def test_a_reader_written_from_the_description_agrees(tmp_path: Path) -> None:
    for floor in (30, 55, 80, 130, 131):
        store = Store.open(OsFS(), str(tmp_path), SMALL)
        for _ in store.replay():
            pass
        fill(store, floor - store.written_lsn + 12, each=1)
        flush(store, floor, low_water=floor // 2)
        if floor == 130:
            assert compact(store) > 0
        expected_blocks = [
            (run.place(i)[4], store.read_block(run, i).data)
            for run in store.runs(SID)
            for i in range(run.n_blocks)
        ]
        store.close()

        manifest = read_manifest(tmp_path)
        assert manifest["floor"] == floor
        log = read_log(tmp_path / "wal", floor)
        assert log == [record(position) for position in range(floor + 1, floor + 13)]
        rows: dict[bytes, bytes | None] = {}
        for number, *_ in sorted(manifest["rows"].values(), key=lambda fields: fields[1]):
            rows |= read_rows(tmp_path / "seg" / f"{number:08d}.row")
        assert {key: value for key, value in rows.items() if value is not None} == rows_at(floor)
        blocks = []
        for number, size, *_ in sorted(manifest["segments"].values()):
            path = tmp_path / "seg" / f"{number:08d}.seg"
            assert path.stat().st_size == size
            if SID not in manifest["dead"].get(number, ()):
                blocks += read_segment(path)[SID]
        assert sorted(blocks) == expected_blocks
