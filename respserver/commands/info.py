"""INFO: the state of the server in sections of ``name:value`` lines.

Names and order are Redis'; a line is there only if its figure is real here. The section
``streams`` is our own: what the store under the streams does, as the server's ``stream_figures``
gives it.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from respserver.replies import Verbatim
from respserver.spec import LOADING, STALE, command

if TYPE_CHECKING:
    from respserver.call import Call
    from respserver.kernel import Verb

Line = tuple[str, object]

DAY_S: Final = 86400
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def human(size: int) -> str:
    """A size as Redis prints it for people."""
    if size < 1024:
        return f"{size}B"
    shown = float(size)
    for unit in "KMGT":
        shown /= 1024
        if shown < 1024:
            return f"{shown:.2f}{unit}"
    return f"{shown / 1024:.2f}P"


def resident_bytes() -> int:
    """Memory of the process as the kernel counts it."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE_BYTES


def peak_bytes() -> int:
    """The most memory that the process had."""
    return max(resident_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def server_section(call: Call) -> Iterable[Line]:
    server = call.server
    uptime_s = (call.now_ms - server.started_ms) // 1000
    listener = ",".join(f"bind={address}" for address in server.config.bind)
    yield "redis_version", server.config.redis_version
    yield "redis_git_sha1", "00000000"
    yield "redis_git_dirty", 0
    yield "redis_build_id", 0
    yield "redis_mode", "standalone"
    yield "respq_version", version("respq")
    yield "os", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "arch_bits", 64 if sys.maxsize > 1 << 32 else 32
    yield "monotonic_clock", "POSIX clock_gettime"
    yield "multiplexing_api", "epoll"
    yield "process_id", os.getpid()
    yield "process_supervised", "systemd" if os.environ.get("NOTIFY_SOCKET") else "no"
    yield "run_id", server.run_id
    yield "tcp_port", server.port
    yield "server_time_usec", call.now_ms * 1000
    yield "uptime_in_seconds", uptime_s
    yield "uptime_in_days", uptime_s // DAY_S
    yield "executable", sys.executable
    file = server.config.file
    yield "config_file", "" if file is None else os.path.abspath(file)
    yield "io_threads_active", 0
    yield "listener0", f"name=tcp,{listener},port={server.port}"
    if server.config.unixsocket:
        yield "listener1", f"name=unix,bind={server.config.unixsocket}"


def clients_section(call: Call) -> Iterable[Line]:
    sessions = call.server.sessions.values()
    blocked = [
        session.blocked
        for session in sessions
        if session.blocked is not None and not session.blocked.cold
    ]
    keys = {key for waiting in blocked for key in waiting.keys}
    yield "connected_clients", len(sessions)
    yield "cluster_connections", 0
    yield "maxclients", call.server.config.maxclients
    yield (
        "client_recent_max_input_buffer",
        max((session.query_buffer_bytes for session in sessions), default=0),
    )
    yield (
        "client_recent_max_output_buffer",
        max((session.output_bytes for session in sessions), default=0),
    )
    yield "blocked_clients", len(blocked)
    yield "tracking_clients", sum(session.tracking is not None for session in sessions)
    yield "pubsub_clients", sum(session.subscriptions is not None for session in sessions)
    yield (
        "watching_clients",
        sum(bool(session.watching and session.watching.keys) for session in sessions),
    )
    yield "clients_in_timeout_table", 0
    yield "total_watched_keys", len(call.server.observers.watches)
    yield "total_blocking_keys", len(keys)
    yield (
        "total_blocking_keys_on_nokey",  # a reader of a group is woken when the key goes away
        len({key for waiting in blocked if waiting.group is not None for key in waiting.keys}),
    )


def memory_section(call: Call) -> Iterable[Line]:
    used, peak = resident_bytes(), peak_bytes()
    total = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES
    yield "used_memory", used
    yield "used_memory_human", human(used)
    yield "used_memory_rss", used
    yield "used_memory_rss_human", human(used)
    yield "used_memory_peak", peak
    yield "used_memory_peak_human", human(peak)
    yield "used_memory_peak_perc", f"{used * 100 / peak:.2f}%"
    yield "total_system_memory", total
    yield "total_system_memory_human", human(total)
    scripts = call.server.scripts
    yield "used_memory_lua", scripts.memory_bytes
    yield "used_memory_lua_human", human(scripts.memory_bytes)
    yield "number_of_cached_scripts", len(scripts.bodies)
    yield "number_of_functions", 0
    yield "number_of_libraries", 0
    yield "maxmemory", 0
    yield "maxmemory_human", "0B"
    yield "maxmemory_policy", "noeviction"
    yield "mem_fragmentation_ratio", "1.00"
    yield "mem_allocator", "libc"
    yield "memory_budget", call.server.config.memory_budget
    yield "memory_budget_human", human(call.server.config.memory_budget)


def persistence_section(call: Call) -> Iterable[Line]:
    yield "loading", 0
    yield "async_loading", 0
    yield "rdb_changes_since_last_save", 0
    yield "rdb_bgsave_in_progress", 0
    yield "rdb_last_save_time", call.server.last_save_ms // 1000
    yield "rdb_last_bgsave_status", "ok"
    yield "aof_enabled", 1
    yield "aof_rewrite_in_progress", 0
    yield "aof_rewrite_scheduled", 0
    yield "aof_last_bgrewrite_status", "ok"
    yield "aof_last_write_status", "ok"


def stats_section(call: Call) -> Iterable[Line]:
    stats = call.server.stats
    yield "total_connections_received", stats.total_connections_received
    yield "total_commands_processed", stats.total_commands_processed
    yield "instantaneous_ops_per_sec", stats.commands_per_s(call.now_ms)
    yield "total_net_input_bytes", stats.total_net_input_bytes
    yield "total_net_output_bytes", stats.total_net_output_bytes
    yield "rejected_connections", stats.rejected_connections
    yield "sync_full", 0
    yield "sync_partial_ok", 0
    yield "sync_partial_err", 0
    yield "expired_keys", stats.expired_keys
    yield "evicted_keys", 0
    yield "evicted_clients", 0
    yield "keyspace_hits", stats.keyspace_hits
    yield "keyspace_misses", stats.keyspace_misses
    pubsub = call.server.observers.pubsub
    yield "pubsub_channels", len(pubsub.channels.by_name)
    yield "pubsub_patterns", len(pubsub.patterns.by_name)
    yield "pubsubshard_channels", len(pubsub.shard_channels.by_name)
    yield "latest_fork_usec", 0
    yield "total_forks", 0
    trackers = call.server.observers.trackers
    yield "tracking_total_keys", len(trackers.readers)
    yield "tracking_total_items", trackers.items
    yield "tracking_total_prefixes", len(trackers.prefixes)
    yield "unexpected_error_replies", stats.unexpected_error_replies
    yield "total_error_replies", stats.total_error_replies
    yield "total_reads_processed", stats.total_reads_processed
    yield "total_writes_processed", stats.total_writes_processed
    yield (
        "client_query_buffer_limit_disconnections",
        stats.client_query_buffer_limit_disconnections,
    )
    yield (
        "client_output_buffer_limit_disconnections",
        stats.client_output_buffer_limit_disconnections,
    )
    yield "eventloop_cycles", stats.eventloop_cycles
    yield "acl_access_denied_auth", stats.acl_access_denied_auth
    yield "acl_access_denied_cmd", 0
    yield "acl_access_denied_key", 0
    yield "acl_access_denied_channel", 0


def replication_section(call: Call) -> Iterable[Line]:
    yield "role", "master"
    yield "connected_slaves", 0
    yield "master_failover_state", "no-failover"
    yield "master_replid", call.server.run_id
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", call.server.store.written_lsn
    yield "second_repl_offset", -1
    yield "repl_backlog_active", 0
    yield "repl_backlog_size", 0
    yield "repl_backlog_first_byte_offset", 0
    yield "repl_backlog_histlen", 0


def cpu_section(call: Call) -> Iterable[Line]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield "used_cpu_sys", f"{own.ru_stime:.6f}"
    yield "used_cpu_user", f"{own.ru_utime:.6f}"
    yield "used_cpu_sys_children", f"{children.ru_stime:.6f}"
    yield "used_cpu_user_children", f"{children.ru_utime:.6f}"


def modules_section(call: Call) -> Iterable[Line]:
    return ()


def every_verb(verbs: dict[bytes, Verb]) -> Iterator[Verb]:
    """Commands as the kernel counts them, each followed by its subcommands."""
    for verb in verbs.values():
        yield verb
        yield from every_verb(verb.subcommands)


def commandstats_section(call: Call) -> Iterable[Line]:
    for verb in every_verb(call.server.kernel.table):
        if verb.calls or verb.rejected or verb.failed:
            took_us = verb.times.total_ns // 1000
            yield (
                f"cmdstat_{verb.name.decode()}",
                (
                    f"calls={verb.calls},usec={took_us},"
                    f"usec_per_call={took_us / verb.calls if verb.calls else 0:.2f},"
                    f"rejected_calls={verb.rejected},failed_calls={verb.failed}"
                ),
            )


def errorstats_section(call: Call) -> Iterable[Line]:
    for code, count in call.server.stats.errors.items():
        yield f"errorstat_{code.decode(errors='replace')}", f"count={count}"


def latencystats_section(call: Call) -> Iterable[Line]:
    config = call.server.config
    if not config.latency_tracking:
        return
    for verb in every_verb(call.server.kernel.table):
        if verb.times.recorded:
            shown = ",".join(
                f"p{percent:g}={verb.times.percentile_ns(percent) / 1000:.3f}"
                for percent in config.latency_tracking_info_percentiles
            )
            yield f"latency_percentiles_usec_{verb.name.decode()}", shown


def cluster_section(call: Call) -> Iterable[Line]:
    yield "cluster_enabled", 0


def keyspace_section(call: Call) -> Iterable[Line]:
    for db, ns in enumerate(call.keyspace.namespaces):
        tally = call.keyspace.tallies[ns]
        if tally.keys:
            yield (
                f"db{db}",
                (
                    f"keys={tally.keys},expires={tally.expiring},"
                    f"avg_ttl={tally.mean_ttl_ms(call.now_ms)},subexpiry=0"
                ),
            )


def streams_section(call: Call) -> Iterable[Line]:
    figures = call.server.stream_figures()
    entries = figures["pending_entries"]
    per_entry = figures["pending_bytes"] / entries if entries else 0.0
    for name, figure in figures.items():
        yield name, figure
        if name == "pending_bytes":
            yield "pending_bytes_per_entry", f"{per_entry:.2f}"
        elif name == "log_sync_max_us":
            syncs = call.server.store.sync_histogram()
            shown = ",".join([f"le_{bound_us}={count}" for bound_us, count in syncs])
            yield "log_sync_us_histogram", shown
        elif name == "bytes_written":
            write, space = call.server.store.amplification()
            yield "write_amplification", f"{write:.2f}"
            yield "space_amplification", f"{space:.2f}"
        elif name == "cache_misses":
            asked = figures["cache_hits"] + figure
            yield "cache_hit_rate", f"{figures['cache_hits'] / asked if asked else 0.0:.4f}"
        elif name == "compaction_failures":
            yield "compaction_last_error", " ".join(call.server.compaction_error.split())


SECTIONS: Final[dict[str, Callable[[Call], Iterable[Line]]]] = {
    "Server": server_section,
    "Clients": clients_section,
    "Memory": memory_section,
    "Persistence": persistence_section,
    "Stats": stats_section,
    "Replication": replication_section,
    "CPU": cpu_section,
    "Modules": modules_section,
    "Commandstats": commandstats_section,
    "Errorstats": errorstats_section,
    "Latencystats": latencystats_section,
    "Cluster": cluster_section,
    "Keyspace": keyspace_section,
    "Streams": streams_section,
}
NOT_BY_DEFAULT: Final = frozenset({"commandstats", "latencystats"})


def chosen_sections(words: list[bytes]) -> list[str]:
    """Titles of the sections asked for, in the order in which they are printed."""
    wanted = {word.decode(errors="replace").lower() for word in words} or {"default"}
    everything = not wanted.isdisjoint({"all", "everything"})
    by_default = "default" in wanted
    return [
        title
        for title in SECTIONS
        if title.lower() in wanted
        or everything
        or (by_default and title.lower() not in NOT_BY_DEFAULT)
    ]


@command(
    "INFO",
    "[section...]",
    "Returns information and statistics about the server.",
    arity=-1,
    flags=LOADING | STALE,
    acl="dangerous",
    since="1.0.0",
    group="server",
    complexity="O(1)",
    history=(("7.0.0", "Added support for taking multiple section arguments."),),
    tips=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
)
def info(call: Call) -> Verbatim:
    parts = []
    for title in chosen_sections(call.argv[1:]):
        lines = [f"{name}:{value}\r\n" for name, value in SECTIONS[title](call)]
        parts.append(f"# {title}\r\n" + "".join(lines))
    return Verbatim("\r\n".join(parts).encode())
