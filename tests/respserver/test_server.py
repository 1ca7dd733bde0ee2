"""INFO, CONFIG and the commands that concern the server as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from respserver import settings
from respserver.commands.info import human
from respserver.settings import SETTINGS, config_names
from respserver.version import DEFAULT_VERSION, level_of
from tests.respserver.fakes import NOW_MS, Node, Waiting
from tests.servers import Server

OK = b"+OK\r\n"
SAME_ANSWER = (
    "CONFIG GET stream-node-max-entries",
    "CONFIG GET STREAM-node-max-entries",
    "CONFIG GET stream-node-max-entries stream-node-max-entries nope",
    "CONFIG GET stream-node-max-[e]ntries",
    "CONFIG GET STREAM-NODE-MAX-ENTR?ES",
    "CONFIG GET nope",
    "CONFIG GET save",
    "CONFIG SET nope 1",
    "CONFIG SET no\\pe 1 maxclients",
    "CONFIG SET nope 1 maxclients",
    "CONFIG SET maxclients 1 nope 1",
    "CONFIG SET maxclients 1 MAXCLIENTS 2",
    "CONFIG SET stream-node-max-bytes x",
    "CONFIG SET STREAM-node-max-bytes x",
    "CONFIG SET DATABASES 4",
    "CONFIG SET stream-node-max-entries 1 stream-node-max-bytes x",
    "CONFIG SET stream-node-max-entries -1",
    "CONFIG SET databases 4",
    "CONFIG SET databases x stream-node-max-bytes x",
    "CONFIG SET stream-node-max-bytes x databases 4",
    "CONFIG SET stream-node-max-entries x nope 1",
    "CONFIG SET appendfsync sometimes",
    "CONFIG RESETSTAT",
    "CONFIG REWRITE",
    "CONFIG HELP",
    "CONFIG GET lua-time-limit",
    "CONFIG GET slowlog-max-len",
    "CONFIG SET slowlog-log-slower-than -2",
    "CONFIG SET slowlog-max-len -1",
    "CONFIG SET latency-monitor-threshold -1",
    "CONFIG SET latency-tracking-info-percentiles 101",
    "CONFIG SET latency-tracking-info-percentiles x",
    "CONFIG GET latency-tracking-info-percentiles",
    "CONFIG GET unixsocketperm",
    "CONFIG SET unixsocket x",
    "CONFIG SET enable-debug-command yes",
    "CONFIG GET enable-debug-command",
    "DEBUG SLEEP 0",
    "DEBUG",
    "BGSAVE FOO",
    "BGSAVE SCHEDULE x",
    "SHUTDOWN FOO",
    "SHUTDOWN SAVE NOSAVE",
    "SHUTDOWN ABORT NOW",
    "SHUTDOWN ABORT",
    "SHUTDOWN ABORT ABORT",
    "INFO nope",
    "INFO cluster",
    "INFO CLUSTER cluster nope",
)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("line", SAME_ANSWER)
def test_the_same_answer_as_redis(line: str, proto: int, oracle: Server) -> None:
    node = Node()
    node.client.proto = proto
    with oracle.connect(proto) as client:
        assert node.run(*line.split(" ")) == client.raw(*line.split(" "))


def test_config_get_of_several_patterns() -> None:
    node = Node()
    node.client.proto = 3
    every = config_names(level_of(DEFAULT_VERSION))
    names = [name for name in every if name.startswith("stream-")]
    reply = node.run("CONFIG", "GET", "stream-*", "stream-node-max-bytes")
    assert reply.startswith(b"%%%d\r\n" % len(names))
    assert node.run("CONFIG", "GET", "*").startswith(b"%%%d\r\n" % len(every))
    assert node.run("CONFIG", "GET", b"\xff") == b"%0\r\n"


def test_config_set_is_all_or_nothing() -> None:
    node = Node()
    before = node.run("CONFIG", "GET", "*")
    for words in (
        "maxclients 77 stream-node-max-bytes x",
        "maxclients 77 nope 1",
        "maxclients 77 port 7",
        "maxclients 77 maxclients 78",
    ):
        assert node.run("CONFIG", "SET", *words.split())[:1] == b"-"
    assert node.run("CONFIG", "GET", "*") == before
    assert node.server.done == []
    assert node.run("CONFIG", "SET", "maxclients", "77", "MAXMEMORY", "0") == OK
    assert node.server.config.maxclients == 77
    assert node.server.done == [frozenset({"maxclients", "maxmemory"})]


def test_a_password_set_while_running_holds_for_new_clients() -> None:
    node = Node()
    assert node.run("CONFIG", "SET", "requirepass", "secret") == OK
    assert node.run("GET", "k") == b"$-1\r\n"
    late = node.connect()
    assert node.run("GET", "k", session=late) == b"-NOAUTH Authentication required.\r\n"
    assert node.run("AUTH", "secret", session=late) == OK


def test_time_is_that_of_the_tick() -> None:
    seconds, micros = b"%d" % (NOW_MS // 1000), b"%d" % (NOW_MS % 1000 * 1000)
    assert Node().run("TIME") == b"*2\r\n$10\r\n%b\r\n$6\r\n%b\r\n" % (seconds, micros)


def test_config_does_not_know_what_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = replace(SETTINGS["stream-node-max-entries"], since="8.6.0")
    monkeypatch.setattr(settings, "SETTINGS", {**SETTINGS, later.name: later})
    old, new = Node(redis_version="8.4.9"), Node(redis_version="8.6.0")
    assert new.run("CONFIG", "GET", later.name) == b"*2\r\n$23\r\n%b\r\n$3\r\n100\r\n" % (
        later.name.encode()
    )
    assert new.run("CONFIG", "SET", later.name, "7") == OK
    assert old.run("CONFIG", "GET", later.name) == b"*0\r\n"
    assert old.run("CONFIG", "GET", "stream-node-*").count(b"stream-node-") == 1
    unknown = b"-ERR Unknown option or number of arguments for CONFIG SET - '%b'\r\n"
    assert old.run("CONFIG", "SET", later.name, "7") == unknown % later.name.encode()


def test_saving_is_a_flush() -> None:
    node = Node()
    assert node.run("SAVE") == OK
    assert node.run("BGSAVE") == b"+Background saving started\r\n"
    assert node.run("BGSAVE", "schedule") == b"+Background saving started\r\n"
    assert node.server.done == ["flush"] * 3
    assert node.run("LASTSAVE") == b":%d\r\n" % (node.server.last_save_ms // 1000)


def test_shutdown_asks_once_and_says_nothing() -> None:
    for words in ("", "SAVE", "NOSAVE NOW FORCE", "now"):
        node = Node()
        assert node.run("SHUTDOWN", *words.split()) == b""
        assert node.server.done == ["shutdown"]


def info(node: Node, *sections: str) -> dict[str, dict[str, str]]:
    """INFO as section -> name -> value."""
    text = node.run("INFO", *sections).split(b"\r\n", 1)[1].decode().removesuffix("\r\n")
    found: dict[str, dict[str, str]] = {}
    lines: dict[str, str] = {}
    for line in text.split("\r\n"):
        if line.startswith("# "):
            lines = found[line[2:]] = {}
        elif line:
            name, _, value = line.partition(":")
            lines[name] = value
    return found


DEFAULT = [
    *("Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules"),
    *("Errorstats", "Cluster", "Keyspace", "Streams"),
]


def test_info_sections() -> None:
    node = Node()
    assert list(info(node)) == DEFAULT
    assert list(info(node, "default")) == DEFAULT
    everything = [*DEFAULT[:8], "Commandstats", "Errorstats", "Latencystats", *DEFAULT[9:]]
    assert list(info(node, "all")) == everything
    assert info(node, "everything").keys() == info(node, "ALL").keys()
    assert list(info(node, "keyspace", "SERVER", "nope")) == ["Server", "Keyspace"]
    chosen = info(node, "default", "commandstats", "latencystats")
    assert list(chosen) == everything


def test_info_lines_are_redis_own_and_in_its_order(oracle: Server) -> None:
    """Each section: Redis' names in Redis' order; what is ours is named."""
    ours = {"respq_version", "memory_budget", "memory_budget_human"}
    with oracle.connect() as client:
        text = client.call("INFO", "everything").decode()
    theirs = [line.partition(":")[0] for line in text.split("\r\n")]
    found = info(Node())
    for section in (*DEFAULT[:6], "CPU", "Cluster"):
        names = [name for name in found[section] if name not in ours]
        assert names == [name for name in theirs if name in names], section


def test_info_figures() -> None:
    node = Node()
    other = node.connect()
    other.blocked = Waiting((b"a", b"b"))
    other.output_bytes = 99
    node.connect().blocked = Waiting((b"c",), cold=True)
    node.run("SET", "k", "v")
    node.stream(b"s", db=3)
    node.server.stats.total_connections_received = 5
    node.server.stats.count_error(b"WRONGTYPE Operation")
    node.server.stats.count_error(b"ERR x")
    node.server.stats.count_error(b"ERR y")
    seen = node.server.kernel.table[b"client"].subcommands[b"setname"]
    seen.calls, seen.rejected, seen.failed = 3, 2, 1
    found = info(node, "everything")
    assert found["Server"]["redis_version"] == DEFAULT_VERSION
    assert found["Server"]["uptime_in_days"] == "1"
    assert found["Server"]["listener0"] == "name=tcp,bind=127.0.0.1,bind=-::1,port=6379"
    assert found["Clients"]["connected_clients"] == "3"
    assert found["Clients"]["blocked_clients"] == "1"
    assert found["Clients"]["total_blocking_keys"] == "2"
    assert found["Clients"]["client_recent_max_output_buffer"] == "99"
    assert int(found["Memory"]["used_memory_rss"]) > 1 << 20
    assert int(found["Memory"]["used_memory_peak"]) >= int(found["Memory"]["used_memory_rss"])
    assert found["Persistence"]["loading"] == "0"
    assert found["Stats"]["total_connections_received"] == "5"
    assert found["Stats"]["total_error_replies"] == "3"
    assert found["Replication"]["role"] == "master"
    assert found["Replication"]["master_repl_offset"] == "42"
    assert found["Errorstats"] == {"errorstat_WRONGTYPE": "count=1", "errorstat_ERR": "count=2"}
    assert found["Commandstats"] == {
        "cmdstat_client|setname": (
            "calls=3,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=1"
        ),
        "cmdstat_info": "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
        "cmdstat_set": "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
    }
    assert found["Keyspace"] == {
        "db0": "keys=1,expires=0,avg_ttl=0,subexpiry=0",
        "db3": "keys=1,expires=0,avg_ttl=0,subexpiry=0",
    }
    assert found["Streams"]["pending_bytes_per_entry"] == "22.40"
    assert node.run("CONFIG", "RESETSTAT") == OK
    found = info(node, "everything")
    assert (found["Errorstats"], list(found["Commandstats"])) == ({}, ["cmdstat_info"])
    assert found["Stats"]["total_connections_received"] == "0"


def test_the_rate_of_commands() -> None:
    stats = Node().server.stats
    assert stats.commands_per_s(10_000) == 0
    stats.total_commands_processed = 500
    assert stats.commands_per_s(10_500) == 0
    assert stats.commands_per_s(12_000) == 250
    assert stats.commands_per_s(12_999) == 250
    assert stats.commands_per_s(13_000) == 0


def test_kinds_of_errors_are_bounded() -> None:
    stats = Node().server.stats
    for number in range(1000):
        stats.count_error(b"E%d x" % number)
    stats.count_error(b"E0 x")
    assert len(stats.errors) == 128
    assert stats.errors[b"E0"] == 2
    assert stats.total_error_replies == 1001


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1234567, "1.18M"), (1 << 40, "1.00T")],
)
def test_sizes_for_people(size: int, shown: str) -> None:
    assert human(size) == shown
