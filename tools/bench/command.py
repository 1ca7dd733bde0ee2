"""``respq bench``: respq beside redis-server with the same durability, as ratios.

Standard output carries the result alone, a table or JSON; progress goes to standard error.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tools.bench.outcome import Outcome

MISSED = 3
REPORT_COLUMNS = 150


def chosen(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> frozenset[str]:
    """The rows asked for; all, if none is."""
    from tools.bench.table import NAMES

    wanted = frozenset(name for given in names for name in given.split(","))
    unknown = wanted - set(NAMES)
    if unknown:
        raise click.BadParameter(
            f"no row {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    return wanted or frozenset(NAMES)


class WithStore(click.Group):
    """The benchmark beside redis-server, and ``store``, which is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The one subcommand."""
        return ["store"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name != "store":
            return None
        from tools.bench.store.command import store

        return store

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommand's line without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl([("store", "Measure the store beside other stores.")])


@click.group(
    cls=WithStore, invoke_without_command=True, short_help="Measure respq beside redis-server."
)
@click.option("--rows", multiple=True, callback=chosen, help="Names of rows, with commas; all.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Least seconds of a round. Rows of writes go on for three memtable flushes.",
)
@click.option(
    "--entries",
    default=2_000_000,
    show_default=True,
    type=click.IntRange(1),
    help="Length of the streams that rounds start from.",
)
@click.option("--recovery-entries", default=5_000_000, show_default=True, type=click.IntRange(1))
@click.option("--redis", default="redis-server", show_default=True, help="The redis-server.")
@click.option("--respq", default=None, help="The respq command; the one of this installation.")
@click.option(
    "--server",
    "given",
    default="",
    metavar="URL",
    help="redis://host:port: a running server in the place of redis. It gets streams of the"
    " benchmark, which are deleted in the end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--calibrate", is_flag=True, help="redis-server on both sides: how level is it?")
@click.option("--strict", is_flag=True, help=f"Exit with {MISSED} if a goal is missed.")
@click.pass_context
def bench(
    context: click.Context,
    rows: frozenset[str],
    rounds: int,
    seconds: float,
    entries: int,
    recovery_entries: int,
    redis: str,
    respq: str | None,
    given: str,
    as_json: bool,
    calibrate: bool,
    strict: bool,
) -> None:
    """Measure respq beside redis-server.

    ``store`` measures its store alone, beside other stores.

    Each row starts both servers afresh, with the same appendfsync, and loads them in turn: respq,
    redis, respq, redis and so on. Rows on what an option costs run a second respq that does without
    it, in the column of redis. The ratio is the median of the rounds' ratios; its spread is
    their least and greatest. A row whose load generator needed 90 % of a core beside a server is
    marked client-bound: that server could have done more. Where other processes were busy, the
    ratio by processor time is the one to trust.
    """
    if context.invoked_subcommand is not None:
        return
    # The generator brings compiled modules; help does without them.
    from rich.console import Console

    from tools.bench.contender import ContenderError, installed_respq
    from tools.bench.contest import Programs, run
    from tools.bench.generator import LoadFailed
    from tools.bench.given import Given
    from tools.bench.report import as_table, machine
    from tools.bench.rows import Row, Scale
    from tools.bench.table import WORK

    scale = Scale(rounds, seconds, entries, recovery_entries=recovery_entries)
    programs = Programs(redis if calibrate else respq or installed_respq(), redis, calibrate, given)
    if given:
        try:
            Given(given).look()
        except ContenderError as error:
            raise click.ClickException(str(error)) from None
    progress = Console(stderr=True, highlight=False)
    outcomes: list[Outcome] = []
    failed = 0
    with progress.status("starting") as status:

        def say(text: str) -> None:
            status.update(text)
            progress.print(text, markup=False)

        for work in WORK:
            if work.name not in rows:
                continue
            if given and not isinstance(work, Row):
                say(f"{work.name}: not with a given server, which is not killed")
                continue
            try:
                outcomes.append(run(work, programs, scale, say))
            except (ContenderError, LoadFailed) as error:
                say(f"{work.name}: {error}")
                failed += 1
    if as_json:
        told = [outcome.to_json() for outcome in outcomes]
        result = {"machine": machine(redis, given), "rows": told}
        click.echo(json.dumps(result, indent=2))
    else:
        wide = None if sys.stdout.isatty() else REPORT_COLUMNS
        Console(width=wide).print(as_table(outcomes, calibrate=calibrate))
    if failed > 0:
        raise click.ClickException(f"{failed} of {len(rows)} rows could not be measured")
    if strict and not all(outcome.hit for outcome in outcomes):
        raise SystemExit(MISSED)
