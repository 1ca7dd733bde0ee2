"""How commands print: rows as a table or as lines of JSON, talk on standard error, questions.

Rules: data goes to standard output, talk to standard error. A table has no frame, so that other
programs can cut it; on a terminal it has colours, unless ``NO_COLOR`` says otherwise.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tools.connection import Trouble

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_MAX = 10_000


def say(line: str) -> None:
    """Talk."""
    click.echo(line, err=True)


def print_json(told: Any, *, err: bool = False) -> None:
    """A line of JSON."""
    click.echo(json.dumps(told, ensure_ascii=False), err=err)


def columns(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Table:
    """A table without a frame. The first ``left`` columns, and one without a heading, are text;
    the others are numbers. Cells may carry rich's markup: what users named must be escaped.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        is_text = number < left or heading == "" or heading.endswith(" ")
        table.add_column(heading.rstrip(), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def print_table(table: Table) -> None:
    """Print a table; into a file or a pipe without colours and without cutting anything."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
    else:
        click.echo(plain_table(table), nl=False)


def plain_table(table: Table) -> str:
    """A table as text."""
    from rich.console import Console

    written = io.StringIO()
    Console(file=written, width=WIDTH_MAX, no_color=True).print(table)
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())


def agree(what: str, *, yes: bool) -> None:
    """Ask before something is destroyed. Raises Trouble if nobody says yes."""
    if yes:
        return
    say(what)
    if not sys.stdin.isatty():
        raise Trouble("not done: nobody is there to ask", "the same with --yes, or with --dry-run")
    if not click.confirm("Do it?", err=True):
        raise Trouble("not done", "the same with --dry-run")


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)
