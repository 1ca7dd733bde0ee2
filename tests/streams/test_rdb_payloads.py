"""Payloads recorded from redis-server 8.2.3 and 7.0.15 (record_payloads.py): read, loaded, written.

Written anew they are the payloads of 8.2.3 to the byte, but for how LZF was used.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from streams.rdb.lzf import compressed
from tests.servers import REDIS_8_VERSION
from tests.streams.node import Node
from tests.streams.rdb_model import stream_of
from tests.streams.record_payloads import FILE, KNOWN, STREAMS

RECORDED = json.loads(FILE.read_text())


def data(text: str) -> bytes:
    return base64.b64decode(text)


def test_everything_was_recorded() -> None:
    named = [(one["stream"], one["version"]) for one in RECORDED]
    assert named == [(name, version) for version in (8, 7) for name in STREAMS]


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=[f"{one['stream']} of {one['version']}" for one in RECORDED]
)
def test_a_recorded_payload(recorded: dict[str, Any]) -> None:
    server = Node(presents=REDIS_8_VERSION)
    server.set("rdb-stream-type", 21 if recorded["version"] == 8 else 19)
    payload = data(recorded["payload"])
    assert server.call("RESTORE", "s", 0, payload) == b"OK"
    server.check()
    known = [server.raw(*words) for words in KNOWN]
    assert known[0] == data(recorded["known"][0])
    if recorded["version"] == 8:
        assert known == [data(text) for text in recorded["known"]]
    again = server.call("DUMP", "s")
    assert stream_of(again) == stream_of(payload)
    if all(compressed(listpack) is None for _, listpack in stream_of(payload)["nodes"]):
        version = 12 if recorded["version"] == 8 else 10
        assert again[:-10] == payload[:-10]
        assert int.from_bytes(payload[-10:-8], "little") == version
    assert server.replayed().rows() == server.rows()
