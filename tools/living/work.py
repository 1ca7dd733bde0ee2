"""``respq work``: any program becomes a worker of a group; see worker.py for the rules."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tools.connection import Refused, Server, Trouble, talks_to_server, text
from tools.living.names import CONSUMER, GROUP, NAME, STREAM
from tools.living.output import print_json, say
from tools.living.units import Duration, age, place_id

if TYPE_CHECKING:
    from tools.living.worker import Event

LEASE_MS = 30_000


def own_name() -> bytes:
    """A consumer's name that nobody else has."""
    import socket

    return f"{socket.gethostname()}-{os.getpid()}".encode()


def join(server: Server, stream: bytes, group: bytes, begin: str) -> None:
    """Make the group where there is none. Raises Refused."""
    try:
        first = place_id(begin, server.now_ms())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        server.ask("XGROUP", "CREATE", stream, group, first, "MKSTREAM")
    except Refused as refused:
        if refused.code != "BUSYGROUP":
            raise
    else:
        say(f"made the group {text(group)} of {text(stream)}, from {first} on")


def in_words(event: Event) -> str:
    """An event for people."""
    took = "" if event.milliseconds is None else f" after {age(event.milliseconds)}"
    if event.event == "done":
        return f"{event.id} done{took}"
    if event.event == "failed":
        again = "" if event.again_in_ms is None else f"; again in {age(event.again_in_ms)}"
        return f"{event.id} failed{took}: {event.why} (delivery {event.deliveries}){again}"
    if event.event == "buried":
        return f"{event.id} buried{took}: {event.why} (delivery {event.deliveries})"
    said = f"{event.id} {event.event}".strip()
    return f"{said}{took}" if event.why is None else f"{said}{took}: {event.why}"


def reporter(*, in_json: bool, quiet: bool) -> Callable[[Event], None]:
    """How events are told."""

    def report(event: Event) -> None:
        if in_json:
            print_json(asdict(event))
        elif event.event != "started" and not (quiet and event.event == "done"):
            say(in_words(event))

    return report


@click.command(
    short_help="Let a program work on entries, one each.",
    context_settings={"allow_interspersed_args": True},
)
@talks_to_server
@click.option("-g", "--group", type=GROUP, required=True, help="The group; made if need be.")
@click.option("-c", "--consumer", type=CONSUMER, help="Our name in it  [default: host and pid]")
@click.option("-j", "--jobs", default=1, show_default=True, type=click.IntRange(1), help="At once.")
@click.option(
    "--lease",
    type=Duration(),
    metavar="DURATION",
    help="Take over what others have held for so long; hold ours by prolonging it.  [default: the"
    " group's idle timeout, else 30s]",
)
@click.option(
    "--retry",
    type=Duration(),
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="When a failed entry comes again; twice as long each time, at most the lease.",
)
@click.option(
    "--max-deliveries",
    type=click.IntRange(1),
    metavar="N",
    help="After so many, move it to the stream of the dead.  [default: never]",
)
@click.option("--dead", type=NAME, help="The stream of the dead.  [default: STREAM:dead]")
@click.option("--timeout", type=Duration(), metavar="DURATION", help="End a child after so long.")
@click.option(
    "--grace",
    type=Duration(),
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="When stopped: how long children may take to finish.",
)
@click.option("--from", "begin", default="0", show_default=True, help="Where a new group begins.")
@click.option("--drain", is_flag=True, help="End when nothing is left to be delivered.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell what went well.")
@click.argument("stream", type=STREAM)
@click.argument("argv", nargs=-1, required=True, metavar="-- CMD...")
def work(
    server: Server,
    in_json: bool,
    group: bytes,
    consumer: bytes | None,
    jobs: int,
    lease: int | None,
    retry: int,
    max_deliveries: int | None,
    dead: bytes | None,
    timeout: int | None,
    grace: int,
    begin: str,
    drain: bool,
    quiet: bool,
    stream: bytes,
    argv: tuple[str, ...],
) -> None:
    """Run CMD for each entry of STREAM: the entry is a line of JSON on its standard input, and
    $ENTRY_ID its ID. Exit 0 acknowledges the entry; anything else lets it come again.

    SIGTERM or ^C: children may finish, what is not finished is given back. A second one: at once.

    \b
    respq work orders -g billing -- ./handle.sh
    respq work orders -g billing -j 4 --lease 10s --max-deliveries 3 -- python handle.py
    """
    from tools.living.group import idle_timeout_ms
    from tools.living.holding import Holding, Post
    from tools.living.worker import Job, Stop, Worker

    join(server, stream, group, begin)
    lease_ms = lease or idle_timeout_ms(server, stream, group) or LEASE_MS
    post = Post(stream, group, consumer or own_name(), lease_ms)
    job = Job(
        post=post,
        argv=argv,
        retry_ms=retry,
        grace_ms=grace,
        timeout_ms=timeout,
        max_deliveries=max_deliveries,
        dead=dead or stream + b":dead",
        drain=drain,
        talks_apart=in_json,
    )
    stop = Stop()
    before = [
        (number, signal.signal(number, lambda *_: stop.ask()))
        for number in (signal.SIGTERM, signal.SIGINT)
    ]
    report = reporter(in_json=in_json, quiet=quiet)
    try:
        Worker(server.url, job, stop, report).run(jobs)
        if consumer is None:
            with suppress(Trouble):  # a name that stays does no harm
                Holding(server, post).leave()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        stop.close()
