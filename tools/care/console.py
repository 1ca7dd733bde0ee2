"""How the tools of care speak: data on standard output, talk and progress on standard error.

Every refusal ends with the command to try next. Exit codes: 0 done, or sound; 1 damaged, or it
could not be done; 2 asked wrongly, or there is nothing that could be opened.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable

DONE = 0
FAILED = 1
ASKED_WRONGLY = 2


def say(command: str, line: str) -> None:
    """A line for people."""
    click.echo(f"respq {command}: {line}", err=True)


def refuse(command: str, why: str, next_command: str, status: int = ASKED_WRONGLY) -> NoReturn:
    """End with a reason and what to try next."""
    say(command, f"{why}; try: {next_command}")
    raise SystemExit(status)


def print_json(data: Any) -> None:
    """Data for programs."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


def absolute(path: str) -> str:
    """A directory as it is named in findings."""
    return os.path.abspath(path)


@contextmanager
def progress_bar(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where people look at it."""
    if not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total_bytes)
        yield lambda done: bar.advance(task, done)


def human(size: int) -> str:
    """A size for people."""
    if size < 1024:
        return f"{size} bytes"
    shown = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        shown /= 1024
        if shown < 1024:
            break
    return f"{shown:.1f} {unit}"
