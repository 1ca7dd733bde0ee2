"""``respq ping``: is there a server, which, and how quickly does it answer?"""

from __future__ import annotations

import time

import click

from tools.connection import Refused, Server, Unreachable, talks_to_server
from tools.living.names import stream_names
from tools.living.output import print_json
from tools.living.units import count

STREAMS_COUNTED_MAX = 1000


class NobodyThere(Unreachable):
    """The answer that ``ping`` was asked for."""

    exit_code = 2


@click.command(short_help="Ask whether the server is there.")
@talks_to_server
def ping(server: Server, in_json: bool) -> None:
    """Ask whether the server is there: which it is, and how long it takes to answer. The exit code
    is 2 if it cannot be talked to.

    \b
    respq ping
    respq ping -u redis://:password@example.org:6380
    """
    try:
        server.ask("PING")  # connects
    except Unreachable as error:
        raise NobodyThere(error.message, error.try_next) from None
    began = time.perf_counter()
    server.ask("PING")
    took_ms = (time.perf_counter() - began) * 1000
    loading = server.about.get("loading") == "1"
    try:
        streams = len(stream_names(server, at_most=STREAMS_COUNTED_MAX))
    except Refused:  # a Redis older than SCAN's TYPE
        streams = 0
    if in_json:
        told = {
            "server": "respq" if server.is_respq else "redis",
            "version": server.about.get("respq_version") or server.about.get("redis_version"),
            "redis_version": server.about.get("redis_version"),
            "address": server.place,
            "milliseconds": round(took_ms, 3),
            "streams": streams,
            "ready": not loading,
        }
        print_json(told)
        return
    more = " or more" if streams >= STREAMS_COUNTED_MAX else ""
    state = "loading" if loading else "ready"
    click.echo(f"PONG {took_ms:.2f} ms · {server.title} · {count(streams)}{more} streams · {state}")
