"""The command ``respq demo``; its story is told by demo.py."""

from __future__ import annotations

from dataclasses import asdict

import click

from tools.connection import URL_VARIABLE, Trouble, json_option
from tools.living.output import print_json
from tools.living.units import Duration, age, count


@click.command("demo", short_help="See a worker die and its work come back.")
@click.option(
    "-u",
    "--url",
    envvar=URL_VARIABLE,
    show_envvar=True,
    metavar="URL",
    help="A server that is there.  [default: one of its own, for as long as it takes]",
)
@json_option
@click.option("--orders", default=20, show_default=True, type=click.IntRange(4))
@click.option("--lease", type=Duration(), default="2s", show_default=True, metavar="DURATION")
@click.option(
    "--work", default="sleep 0.1", show_default=True, metavar="SHELL", help="What an order takes."
)
def demo(url: str | None, in_json: bool, orders: int, lease: int, work: str) -> None:
    """See what respq is for: a producer, two workers, one of them killed while it works. What it
    held comes back to the other one when the lease is over. Nothing is lost.

    \b
    respq demo
    respq demo -u redis://127.0.0.1:6379
    """
    from tools.living.demo import run

    account = run(url, orders, lease, work)
    if in_json:
        print_json(asdict(account) | {"balances": account.balances})
    else:
        back = "" if account.back_after_ms is None else f" after {age(account.back_after_ms)}"
        click.echo(
            f"\n{count(account.produced)} produced, {count(account.done)} done"
            f" ({count(account.done_again)} of them again), {count(account.lost)} lost;"
            f" {count(account.came_back)} of {count(account.held_by_the_killed)} came back{back}\n"
            "next: respq serve, then respq cheat"
        )
    if not account.balances:
        raise Trouble("the account does not balance", "respq demo --json")
