"""``respq top``: the server and its groups, live, until q or ^C."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from tools.connection import Server, Trouble, info_fields, talks_to_server
from tools.living.lag import Watched, samples, watch_table, watched_json
from tools.living.output import plain_table, print_json
from tools.living.units import Duration, age, count, rate, size

if TYPE_CHECKING:
    from rich.console import RenderableType

ORDERS: dict[str, Callable[[Watched], Any]] = {
    "lag": lambda each: -(sys.maxsize if each[0].lag is None else each[0].lag),
    "pending": lambda each: -each[0].pending,
    "oldest": lambda each: -(each[0].oldest_ms or 0),
    "in": lambda each: -(each[1].in_per_s or 0),
    "out": lambda each: -(each[1].out_per_s or 0),
    "name": lambda each: (each[0].stream, each[0].name),
}


def server_line(server: Server) -> str:
    """The server in a line."""
    info = info_fields(server.ask("INFO"))
    parts = [
        server.title,
        server.place,
        f"up {age(int(info.get('uptime_in_seconds', 0)) * 1000)}",
        f"{rate(float(info.get('instantaneous_ops_per_sec', 0)))} commands/s",
        f"{info.get('connected_clients', '?')} clients, {info.get('blocked_clients', '?')} waiting",
        f"memory {size(int(info.get('used_memory_rss', 0)))}",
    ]
    if "segment_bytes" in info:
        disk = int(info["segment_bytes"]) + int(info["row_bytes"])
        parts.append(f"disk {size(disk + int(info['log_bytes_on_disk']))}")
    return " · ".join(parts)


def counted(watched: list[Watched], shown: list[Watched]) -> str:
    """How many groups there are, in a line."""
    streams = len({group.stream for group, _ in watched})
    more = len(watched) - len(shown)
    said = f"{count(len(watched))} groups of {count(streams)} streams"
    return f"{said} ({count(more)} not shown)" if more else said


def picture(line: str, watched: list[Watched], shown: list[Watched]) -> RenderableType:
    """All of it for a terminal."""
    from rich.console import Group
    from rich.markup import escape

    return Group(escape(line), counted(watched, shown), "", watch_table(shown))


@contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """Read single keys from the terminal: wait so long for one; empty if none came."""
    import select
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)

    def read(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") if ready else ""

    try:
        yield read
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@click.command(short_help="Watch the server and its groups live.")
@talks_to_server
@click.option("--interval", type=Duration(), default="1s", show_default=True, help="How often.")
@click.option("--count", "number", type=click.IntRange(1), help="So many times, one below another.")
@click.option(
    "-n", "at_most", default=40, show_default=True, type=click.IntRange(1), help="Groups."
)
@click.option("--sort", "order", type=click.Choice(list(ORDERS)), default="lag", show_default=True)
def top(
    server: Server, in_json: bool, interval: int, number: int | None, at_most: int, order: str
) -> None:
    """Watch the server and its groups: rates, lag, pending, the oldest entry, when all is done.
    q or ^C ends it; l, p, o, i, u and n sort by lag, pending, oldest, in, out and name.

    \b
    respq top
    respq top --sort oldest --interval 5s
    """
    if not in_json and number is None:
        with suppress(KeyboardInterrupt):
            _live(server, order, at_most, interval)
        return
    for watched in samples(server, [], "*", interval, number):
        shown = sorted(watched, key=ORDERS[order])[:at_most]
        if in_json:
            for group, rates in shown:
                print_json(watched_json(group, rates))
        else:
            click.echo(f"{server_line(server)}\n{counted(watched, shown)}\n")
            click.echo(plain_table(watch_table(shown)))


LETTERS = {"l": "lag", "p": "pending", "o": "oldest", "i": "in", "u": "out", "n": "name"}


def _live(server: Server, order: str, at_most: int, interval_ms: int) -> None:
    """The whole screen, until q."""
    from rich.console import Console
    from rich.live import Live

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Trouble("top needs a terminal", "respq top --count 2, or respq lag --watch")
    server.ask("PING")  # trouble is said before the screen is taken
    screen = Console(highlight=False)
    with keys() as read, Live(console=screen, screen=True, auto_refresh=False) as live:
        for watched in samples(server, [], "*", 0, None):
            line = server_line(server)
            until_s = time.monotonic() + interval_ms / 1000
            while (left_s := until_s - time.monotonic()) > 0:
                shown = sorted(watched, key=ORDERS[order])[:at_most]
                live.update(picture(line, watched, shown), refresh=True)
                key = read(left_s)
                if key == "q":
                    return
                order = LETTERS.get(key, order)
