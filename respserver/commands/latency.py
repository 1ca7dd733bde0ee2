"""LATENCY: spikes by event and the times of all calls (respserver/watchdog.py, stopwatch.py)."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from respserver.commands.info import every_verb
from respserver.errors import ReplyError, c_string
from respserver.helptext import help_reply
from respserver.replies import Simple, Verbatim
from respserver.sparkline import COLUMNS, sparkline
from respserver.spec import ADMIN, LOADING, NOSCRIPT, STALE, command, declare
from respserver.watchdog import COMMAND, FAST_COMMAND, LOG_SYNC, Spikes

if TYPE_CHECKING:
    from respserver.call import Call
    from respserver.kernel import Verb

ASKED = ADMIN | NOSCRIPT | LOADING | STALE
TOLD = ("nondeterministic_output", "request_policy:all_nodes", "response_policy:special")
UNITS_S = ((60, "s", 1), (3600, "m", 60), (86400, "h", 3600), (1 << 62, "d", 86400))
NOT_WATCHED = (
    "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You "
    'may use "CONFIG SET latency-monitor-threshold <milliseconds>." in order to enable it. If we '
    "weren't in a deep space mission I'd suggest to take a look at "
    "https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency-monitor.\n"
)
NO_SPIKES = (
    "Dave, no latency spike was observed during the lifetime of this Redis instance, not in the "
    "slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and think "
    "things over.\n"
)
SPIKES_SEEN = (
    "Dave, I have observed latency spikes in this Redis instance. You don't mind talking about "
    "it, do you Dave?\n\n"
)
ADVICE = {
    COMMAND: "Look into the slow log (SLOWLOG GET): it has the commands that took longest.",
    FAST_COMMAND: "Even quick commands were held up: look for other programs that take the "
    "processor or the memory of this machine.",
    LOG_SYNC: "The disk was slow to sync the log. If the last second may be lost with the machine, "
    "set appendfsync to everysec; else look who else writes to this disk.",
}

declare(
    "LATENCY",
    "",
    "A container for latency diagnostics commands.",
    arity=-2,
    since="2.8.13",
    group="server",
    complexity="Depends on subcommand.",
)


def report(number: int, event: bytes, spikes: Spikes) -> str:
    """One event, as the doctor tells of it."""
    times_ms = [sample.took_ms for sample in spikes.samples]
    mean_ms = int(fmean(times_ms))
    deviation_ms = int(fmean(abs(mean_ms - took_ms) for took_ms in times_ms))
    first_s, last_s = spikes.samples[0].time_s, spikes.samples[-1].time_s
    period_s = (last_s - first_s) / max(len(times_ms) - 1, 1)
    return (
        f"{number}. {event.decode()}: {len(times_ms)} latency spikes (average {mean_ms}ms, mean "
        f"deviation {deviation_ms}ms, period {period_s:.2f} sec). Worst all time event "
        f"{spikes.most_ms}ms.\n"
    )


@command(
    "LATENCY DOCTOR",
    "",
    "Returns a human-readable latency analysis report.",
    arity=2,
    flags=ASKED,
    since="2.8.13",
    group="server",
    complexity="O(1)",
    tips=TOLD,
)
def latency_doctor(call: Call) -> Verbatim:
    if call.server.config.latency_monitor_threshold == 0:
        return Verbatim(NOT_WATCHED.encode())
    spikes = call.server.watchdog.spikes
    if not spikes:
        return Verbatim(NO_SPIKES.encode())
    found = sorted(spikes.items())
    text = SPIKES_SEEN + "".join(report(n, *one) for n, one in enumerate(found, 1))
    text += "\nI have a few advices for you:\n\n"
    text += "".join(f"- {ADVICE[event]}\n" for event, _ in found)
    return Verbatim(text.encode())


@command(
    "LATENCY GRAPH",
    "event",
    "Returns a latency graph for an event.",
    arity=3,
    flags=ASKED,
    since="2.8.13",
    group="server",
    complexity="O(1)",
    tips=TOLD,
)
def latency_graph(call: Call) -> Verbatim:
    event = call.argv[2]
    spikes = call.server.watchdog.spikes.get(event)
    if spikes is None:
        raise ReplyError(b"ERR No samples available for event '%s'" % c_string(event))
    now_s = call.server.clock.wall_ms() // 1000
    values = [sample.took_ms for sample in spikes.samples]
    labels = [age(now_s - sample.time_s) for sample in spikes.samples]
    head = (
        f"{event.decode()} - high {max(values)} ms, low {min(values)} ms "
        f"(all time high {spikes.most_ms} ms)\n{'-' * COLUMNS}\n"
    )
    return Verbatim((head + sparkline(values, labels)).encode())


def age(seconds: int) -> str:
    """How long ago something was, shortly."""
    return next(f"{seconds // size}{unit}" for below, unit, size in UNITS_S if seconds < below)


@command(
    "LATENCY HELP",
    "",
    "Returns helpful text about the different subcommands.",
    arity=2,
    flags=LOADING | STALE,
    since="2.8.13",
    group="server",
    complexity="O(1)",
)
def latency_help(call: Call) -> list[Simple]:
    return help_reply("LATENCY", HELP)


@command(
    "LATENCY HISTOGRAM",
    "[command...]",
    "Returns the cumulative distribution of latencies of a subset or all commands.",
    arity=-2,
    flags=ASKED,
    since="7.0.0",
    group="server",
    complexity=("O(N) where N is the number of commands with latency information being retrieved."),
    tips=TOLD,
)
def latency_histogram(call: Call) -> dict[bytes, object]:
    table = call.server.kernel.table
    found: dict[bytes, object] = {}
    if len(call.argv) == 2:
        chosen = list(every_verb(table))
    else:
        chosen = [verb for word in call.argv[2:] for verb in named(table, word)]
    for verb in chosen:
        if verb.times.recorded:
            found[verb.name] = {
                b"calls": verb.times.recorded,
                b"histogram_usec": dict(verb.times.levels()),
            }
    return found


def named(table: dict[bytes, Verb], word: bytes) -> list[Verb]:
    """The commands that a word names: itself and its subcommands, or one of these."""
    base, bar, sub = word.lower().partition(b"|")
    verb = table.get(base)
    if verb is None:
        return []
    if not bar:
        return [verb, *verb.subcommands.values()]
    inner = verb.subcommands.get(sub)
    return [] if inner is None else [inner]


@command(
    "LATENCY HISTORY",
    "event",
    "Returns timestamp-latency samples for an event.",
    arity=3,
    flags=ASKED,
    since="2.8.13",
    group="server",
    complexity="O(1)",
    tips=TOLD,
)
def latency_history(call: Call) -> list[list[int]]:
    spikes = call.server.watchdog.spikes.get(call.argv[2])
    return [] if spikes is None else [list(sample) for sample in spikes.samples]


@command(
    "LATENCY LATEST",
    "",
    "Returns the latest latency samples for all events.",
    arity=2,
    flags=ASKED,
    since="2.8.13",
    group="server",
    complexity="O(1)",
    tips=TOLD,
)
def latency_latest(call: Call) -> list[list[object]]:
    return [
        [event, *spikes.samples[-1], spikes.most_ms]
        for event, spikes in call.server.watchdog.spikes.items()
    ]


@command(
    "LATENCY RESET",
    "[event...]",
    "Resets the latency data for one or more events.",
    arity=-2,
    flags=ASKED,
    since="2.8.13",
    group="server",
    complexity="O(1)",
    tips=("request_policy:all_nodes", "response_policy:agg_sum"),
)
def latency_reset(call: Call) -> int:
    return call.server.watchdog.forget(call.argv[2:])


HELP = (
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    (
        "    Return a cumulative distribution of latencies in the format of a histogram for the "
        "specified command names."
    ),
    "    If no commands are specified then all histograms are replied.",
)
