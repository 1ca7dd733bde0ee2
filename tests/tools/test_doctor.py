"""`respq doctor`: what may be wrong is found and told with what helps; the rest is not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.respclient import Client
from tests.tools.commandline import fill, read, respq, start
from tools.living.checks import CHECKS, Gathered, Machine
from tools.living.checks import findings as looked_at
from tools.living.facts import ConsumerFacts, GroupFacts, StreamFacts

NOW_MS = 1_795_445_541_453
DAY_MS = 86_400_000


def group(**changed: Any) -> GroupFacts:
    sound: dict[str, Any] = {
        "stream": b"s",
        "name": b"g",
        "lag": 0,
        "pending": 0,
        "oldest_ms": None,
        "consumers": 1,
        "quiet_ms": 10,
        "last_delivered_id": "5-0",
        "entries_read": 5,
        "entries_added": 5,
    }
    return GroupFacts(**sound | changed)


def stream(**changed: Any) -> StreamFacts:
    sound: dict[str, Any] = {
        "name": b"s",
        "length": 5,
        "first_id": "1-0",
        "last_id": f"{NOW_MS - 5}-0",
        "entries_added": 5,
        "max_deleted_id": "0-0",
        "groups": 1,
        "oldest_ms": None,
        "newest_ms": None,
        "expires_ms": None,
    }
    return StreamFacts(**sound | changed)


def gathered(
    config: dict[str, str] | None = None, info: dict[str, str] | None = None, **changed: Any
) -> Gathered:
    """A sound server, but for what is changed."""
    sound_config = {
        "maxclients": "10000",
        "bind": "127.0.0.1 -::1",
        "protected-mode": "yes",
        "requirepass": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
    }
    sound_info = {
        "respq_version": "0.1.0",
        "memory_budget": "100",
        "used_memory_rss": "90",
        "compaction_failures": "0",
        "log_syncs": "100",
        "log_sync_us": "15000",  # of all of them together
    }
    parts: dict[str, Any] = {
        "streams": [stream()],
        "groups": [group()],
        "earlier": [group()],
        "machine": Machine(20_000, 0.5, 1 << 30, 150, 3),
        "now_ms": NOW_MS,
    }
    return Gathered(sound_info | (info or {}), sound_config | (config or {}), **parts | changed)


WRONG = {
    "limits": gathered(machine=Machine(descriptors=1024)),
    "disk": gathered(machine=Machine(disk_free=0.1, disk_free_bytes=1 << 20)),
    "fsync": gathered(info={"log_sync_us": "1000000"}),
    "fsync ": gathered(info={"log_syncs": "99"}, machine=Machine(sync_us=10_000)),
    "clock": gathered(machine=Machine(clock_off_ms=-60_000)),
    "clock ": gathered(streams=[stream(last_id=f"{NOW_MS + 60_000}-0")]),
    "door": gathered({"bind": "0.0.0.0", "protected-mode": "no"}),
    "durability": gathered({"appendonly": "no"}),
    "durability ": gathered({"appendfsync": "no"}),
    "durability  ": gathered({"maxmemory": "1000", "maxmemory-policy": "allkeys-lru"}),
    "merges": gathered(info={"compaction_failures": "2", "compaction_last_error": "killed"}),
    "memory": gathered(info={"used_memory_rss": "151"}),
    "retention": gathered(streams=[stream(length=100_000, entries_added=100_000)]),
    "readers": gathered(groups=[group(lag=3, consumers=0, quiet_ms=None)]),
    "readers ": gathered(groups=[group(lag=None, quiet_ms=2 * 3_600_000)]),
    "consumers": gathered(
        consumers={(b"s", b"g"): [ConsumerFacts(b"c%d" % n, 0, DAY_MS, None) for n in range(20)]}
    ),
    "pending": gathered(groups=[group(pending=9, entries_read=14)]),
    "pending ": gathered(
        groups=[group(pending=9, oldest_ms=3_600_000)], earlier=[group(pending=9)]
    ),
    "poison": gathered(
        most_delivered={(b"s", b"g"): ("1-0", 10)},
        groups=[group(pending=1)],
        earlier=[group(pending=1)],
    ),
}


def test_a_sound_server() -> None:
    assert looked_at(gathered()) == []
    assert looked_at(Gathered({}, {}, [], [])) == []  # nothing is known


@pytest.mark.parametrize("check", WRONG)
def test_what_is_wrong_is_found_alone(check: str) -> None:
    (found,) = looked_at(WRONG[check])
    assert found.check == check.strip()
    assert found.fix
    assert found.level in {"warn", "bad"}


@pytest.mark.parametrize(
    "seen",
    [
        gathered({"bind": "0.0.0.0", "protected-mode": "no", "requirepass": "x"}),
        gathered({"bind": "0.0.0.0"}),
        gathered(streams=[stream(length=100_000, entries_added=100_001)]),
        gathered(streams=[stream(length=100_000, entries_added=100_000, expires_ms=5)]),
        gathered(groups=[group(consumers=0, quiet_ms=None)]),
        gathered(groups=[group(lag=3, quiet_ms=10)]),
        gathered(info={"log_syncs": "1", "log_sync_us": "20000"}),  # one slow one
        gathered(groups=[group(pending=9, entries_read=30)]),  # of 25 that were read 9 are pending
        gathered(streams=[stream(last_id="99999999999999999-0")]),  # no time
    ],
)
def test_what_is_not_wrong(seen: Gathered) -> None:
    assert looked_at(seen) == []


def test_every_check_has_something_wrong_to_find() -> None:
    found = {check.__name__ for check in CHECKS for seen in WRONG.values() if list(check(seen))}
    assert found == {check.__name__ for check in CHECKS}


def test_the_bad_comes_first() -> None:
    seen = gathered({"appendonly": "no"}, machine=Machine(descriptors=100))
    assert [found.level for found in looked_at(seen)] == ["bad", "warn"]


def test_a_real_server(server: servers.Server, client: Client) -> None:
    fill(client, "orders", 3, "billing")
    done = respq(server, "doctor", "--observe", "1ms", "--json")
    rows = {row["check"]: row for row in done.rows()}
    assert done.status == 3
    assert list(rows["readers"]) == ["check", "level", "text", "fix"]
    assert rows["readers"]["text"] == "nobody has read orders billing ever: lag 3, 0 pending"
    assert ("durability" in rows) == (server.name != "respq")  # these write no log
    client.call("XGROUP", "DESTROY", "orders", "billing")
    done = respq(server, "doctor", "--observe", "1ms")
    assert "looked at 1 streams and 0 groups in 9 ways\n" in done.err
    assert "readers" not in done.out


def test_pending_that_grows_is_seen_while_it_is_watched(
    server: servers.Server, client: Client
) -> None:
    client.call("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    with start(server, "doctor", "--observe", "500ms", "--json") as process:
        while process.poll() is None:
            client.call("XADD", "s", "*", "n", 1)
            read(client, "s", "g", "ann", 1)
        out, _ = process.communicate(timeout=60)
    checks = [json.loads(line) for line in out.splitlines()]
    assert any("only grows" in each["text"] for each in checks), checks


def test_a_bundle_has_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "report.zip"
    with servers.respq(
        tmp_path / "data", "--slowlog-log-slower-than", "0", password="pw-1234"
    ) as s:
        with s.connect() as client:
            client.call("XADD", "orders", "*", "card", "4111-1111")
        done = respq(s, "doctor", "--observe", "1ms", "--bundle", str(path))
    assert done.err.startswith(f"wrote {path}: ")
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert list(texts) == [
        *("findings.json", "info.json", "config.json", "streams.json", "groups.json"),
        *("machine.json", "slowlog.json"),
    ]
    whole = "".join(texts.values())
    assert "pw-1234" not in whole
    assert "4111" not in whole
    assert json.loads(texts["config.json"])["requirepass"] == "(set)"
    assert "XADD" in {each["command"] for each in json.loads(texts["slowlog.json"])}
    assert json.loads(texts["streams.json"])[0]["stream"] == "orders"
    assert json.loads(texts["machine.json"])["sync_us"] > 0
