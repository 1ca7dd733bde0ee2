"""respq inspect: the same of a directory and of a server, and it adds up."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from lsmstore.simfs import Rule
from tests.care.stores import WORDY, fill, fill_with_words, on_disk, respq
from tests.servers import respq as server_on
from tests.sim.node import SimNode


def test_of_a_directory_it_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "data"
    node = on_disk(path, WORDY)
    fill_with_words(node)
    fill(node)
    length = node.call("XLEN", "orders")
    pending = node.call("XPENDING", "orders", "g")[0]
    node.close()
    status, out, err = respq("inspect", str(path), "orders", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["length"] == length
    assert found["entries-in-segments"] + found["memtable-entries"] == length
    assert found["groups"] == 1
    assert found["pending"] == pending > 0
    assert sum(run["raw-bytes"] for run in found["runs"]) == found["raw-bytes"]
    assert sum(run["stored-bytes"] for run in found["runs"]) == found["stored-bytes"]
    assert sum(found["codecs"].values()) == sum(run["frames"] for run in found["runs"])
    assert all(name.startswith(("zstd-", "none")) for name in found["codecs"])
    size = sum(file.stat().st_size for file in path.glob("seg/*.seg"))
    assert 0 < found["stored-bytes"] < size
    status, out, _ = respq("inspect", str(path), "s3", "--json")
    assert any("dictionary" in name for name in json.loads(out)["codecs"])
    status, out, _ = respq("inspect", str(path), "orders")
    assert status == 0
    assert out.startswith("stream orders (")
    assert f"ratio {found['ratio']}" in out


def test_a_server_says_the_same_as_its_directory(tmp_path: Path) -> None:
    with server_on(tmp_path / "data") as server:
        with server.connect() as client:
            for n in range(1, 2000):
                client.call("XADD", "s", f"{n}-1", "f", "value" * 8)
            client.call("XGROUP", "CREATE", "s", "g", "0")
            client.call("DEBUG", "RELOAD")
            client.call("SAVE")
            client.call("XQ.CHECKPOINT", "now")
            assert client.raw("XQ.INSPECT", "none") == b"-ERR no such key\r\n"
            client.call("SET", "text", "v")
            assert client.raw("XQ.INSPECT", "text").startswith(b"-WRONGTYPE")
        url = f"redis://127.0.0.1:{server.port}"
        status, out, err = respq("inspect", url, "s", "--json")
        assert (status, err) == (0, "")
        assert respq("inspect", "s", "-u", url, "--json")[1] == out
        live = json.loads(out)
        offline = json.loads(
            respq("inspect", str(tmp_path / "data/checkpoints/now"), "s", "--json")[1]
        )
        for found in (live, offline):
            del found["memory-bytes"]
        assert live == offline
        assert live["length"] == live["entries-in-segments"] == 1999
        assert float(live["ratio"]) > 2
        assert respq("inspect", url, "none")[0] == 1
        assert "a server has" in respq("inspect", str(tmp_path / "data"), "s")[2]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data"
    node = on_disk(path)
    node.call("SET", "text", "v")
    node.close()
    assert "has no stream 'none'" in respq("inspect", str(path), "none")[2]
    assert "'text' is no stream" in respq("inspect", str(path), "text")[2]
    assert respq("inspect", str(path), "text")[0] == 2
    assert respq("inspect", str(path), "text", "-n", "99")[0] == 2
    assert respq("inspect", str(tmp_path / "nowhere"), "s")[0] == 2
    assert respq("inspect", "redis://127.0.0.1:1", "s")[0] == 1


def test_a_stream_may_go_while_it_is_read() -> None:
    node = SimNode()
    for n in range(1, 200):
        node.call("XADD", "s", f"{n}-1", "f", "v" * 20)
    node.flush()
    other = node.connect()
    node.client.send("XQ.INSPECT", "s")
    other.send("DEL", "s")
    node.run()
    reply = node.client.take()
    assert reply is not None
    assert reply.startswith(b"*42\r\n$3\r\nsid\r\n")


def test_an_error_of_the_disk_is_answered() -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    node.flush()
    node.fs.inject(Rule("pread", "*.seg", error=errno.EIO))
    assert node.raw("XQ.INSPECT", "s").startswith(b"-ERR ")
    assert node.call("XQ.INSPECT", "s")[0] == b"sid"


@pytest.mark.parametrize("words", [("MULTI",), ("EVAL", "return redis.call('XQ.INSPECT', 's')", 0)])
def test_it_is_nothing_for_transactions_and_scripts(words: tuple[str | int, ...]) -> None:
    node = SimNode()
    node.call("XADD", "s", "1-1", "f", "v")
    reply = node.raw(*words)
    if words == ("MULTI",):
        reply = node.raw("XQ.INSPECT", "s")
    assert reply.startswith(b"-ERR")
