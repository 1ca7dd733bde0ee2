"""``respq migrate``: plan, run, verify, cutover, back.

Rules: standard output carries results alone, progress and advice go to standard error. Exit codes:
0 done, 1 it differs, 2 a side cannot be reached, 3 refused (2 also for what click does not accept).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, NoReturn, TypeVar

import click

from tools.migrate.errors import DIFFERS, DONE, MigrateError

URL: Final = "redis://127.0.0.1:6379"
SHOWN_MAX: Final = 10
F = TypeVar("F", bound=Callable[..., Any])


def shared(*, mode: bool = True) -> Callable[[F], F]:
    """The arguments of all subcommands."""

    def add(command: F) -> F:
        options = [
            click.argument("source", metavar="SOURCE"),
            click.option(
                *("-u", "--url"),
                default=URL,
                envvar="RESPQ_URL",
                show_default=True,
                metavar="URL",
                help="The respq: redis://[user:password@]host:port, rediss:// or unix:///path.",
            ),
            click.option("--json", "in_json", is_flag=True, help="Print lines of JSON."),
        ]
        if mode:
            options.append(
                click.option(
                    "--mode",
                    type=click.Choice(["takeover", "follow", "scan"]),
                    help="How to read a running source; the best is chosen if not given.",
                )
            )
        for option in reversed(options):
            command = option(command)
        return command

    return add


class Report:
    """What is told at the end."""

    def __init__(self, in_json: bool) -> None:
        self._in_json = in_json

    def result(self, value: dict[str, Any], lines: list[str]) -> None:
        """The result: JSON for programs, lines for people."""
        if self._in_json:
            click.echo(json.dumps(value, default=str))
        else:
            for line in lines:
                click.echo(line)

    def fail(self, error: MigrateError) -> NoReturn:
        """One line, the next command, and out."""
        if self._in_json:
            click.echo(json.dumps({"error": str(error), "try": error.hint}), err=True)
        else:
            click.echo(f"respq migrate: {error}", err=True)
            if error.hint:
                click.echo(f"try: {error.hint}", err=True)
        raise SystemExit(error.code)


@click.group(
    "migrate", short_help="Move streams from Redis, Valkey, another respq or a file, and back."
)
def migrate() -> None:
    """Move streams into a respq, with groups, pending entries and counters, and back.

    \b
    respq migrate plan redis://old:6379      what is there, how it would go
    respq migrate run redis://old:6379       bring it over; again after any interruption
    respq migrate verify redis://old:6379    compare every entry, group and pending entry
    respq migrate cutover redis://old:6379   stop the old one's writers, bring over the last of it
    respq migrate back redis://new:6379      from respq to a Redis or Valkey

    SOURCE is a URL or a file: RDB, the directory of an AOF, or lines of JSON.
    """


@migrate.command()
@shared()
def plan(source: str, url: str, in_json: bool, mode: str | None) -> None:
    """Say what SOURCE holds and how it would be moved. Changes nothing."""
    from tools.migrate.link import close_all, parse_address, shown
    from tools.migrate.plan import make_plan, plan_lines
    from tools.migrate.source import open_source

    report = Report(in_json)
    try:
        found = make_plan(open_source(source, mode), parse_address(url))
    except MigrateError as error:
        report.fail(error)
    finally:
        close_all()
    report.result(found, plan_lines(found, shown(source), shown(url)))


@migrate.command()
@shared()
@click.option("--max-rate", default=0, type=click.IntRange(0), help="Entries a second, at most.")
@click.option("--replace", is_flag=True, help="Overwrite keys of the target that differ.")
@click.option("--follow", "goes_on", is_flag=True, help="Go on following until interrupted.")
def run(
    source: str,
    url: str,
    in_json: bool,
    mode: str | None,
    max_rate: int,
    replace: bool,
    goes_on: bool,
) -> None:
    """Bring SOURCE into the respq. Run it again after any interruption."""
    from tools.migrate.link import close_all, parse_address, shown
    from tools.migrate.move import Move
    from tools.migrate.progress import Progress
    from tools.migrate.source import open_source

    report = Report(in_json)
    progress = Progress(in_json=in_json, max_rate=max_rate)
    stopped = Stopped() if goes_on else None
    try:
        address = parse_address(url)
        found = open_source(source, mode)
        progress.say(f"mode {found.mode}: {found.why}")
        move = Move(found, address, progress, replace=replace)
        move.run(follow=stopped)
        move.close()
    except MigrateError as error:
        report.fail(error)
    except KeyboardInterrupt:
        click.echo("interrupted: run the same command again, it goes on where it was", err=True)
        raise SystemExit(DIFFERS) from None
    finally:
        progress.end()
        close_all()
    counts = asdict(move.counts)
    seconds = progress.seconds
    lines = [
        (
            f"moved {counts['streams']} streams, {counts['entries']:,} entries"
            f" ({counts['proven']:,} were there already), {counts['strings']} strings,"
            f" {counts['commands']:,} commands in {seconds:.1f} s"
            f" ({counts['entries'] / max(seconds, 0.001):,.0f} entries/s)"
        ),
        *left_out(counts),
    ]
    report.result({"done": True, "mode": found.mode, "seconds": round(seconds, 3), **counts}, lines)
    if not in_json:
        click.echo(f"next: respq migrate verify {shown(source)} -u {shown(url)}", err=True)
    raise SystemExit(DIFFERS if counts["refused"] else DONE)


def left_out(counts: dict[str, Any]) -> list[str]:
    """What was not carried, by name."""
    lines = list(counts["notes"])
    if counts["others"]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(counts["others"].items()))
        names = ", ".join(counts["named"][:SHOWN_MAX])
        lines.append(f"stayed behind, of other types: {kinds}: {names}")
    if counts["skipped"]:
        lines.append(
            "commands on other types passed over: "
            + ", ".join(f"{n} {name}" for name, n in sorted(counts["skipped"].items()))
        )
    refused = [f"the target refused {n} times: {what}" for what, n in counts["refused"].items()]
    return lines + refused[:SHOWN_MAX]


def interrupt(*_: object) -> NoReturn:
    """SIGTERM, once: what was begun is undone as after SIGINT."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


class Stopped:
    """Whether SIGINT or SIGTERM came."""

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self._came = True

    def __call__(self) -> bool:
        return self._came


@migrate.command()
@shared(mode=False)
def verify(source: str, url: str, in_json: bool) -> None:
    """Compare SOURCE and the respq: counters, entries, groups, pending entries, times to live."""
    from tools.migrate.link import close_all, parse_address
    from tools.migrate.progress import Progress
    from tools.migrate.source import open_source
    from tools.migrate.verify import verify as compare

    report = Report(in_json)
    progress = Progress(in_json=in_json)
    progress.phase = "verify"
    try:
        address = parse_address(url)
        verdict = compare(open_source(source, None), address, progress)
    except MigrateError as error:
        report.fail(error)
    finally:
        progress.end()
        close_all()
    excused = verdict.excuses.found
    lines = [
        (
            f"{'differs' if verdict.differences else 'identical'}: {verdict.streams} streams,"
            f" {verdict.entries:,} entries, {verdict.groups} groups, {verdict.pending:,} pending,"
            f" {verdict.strings} strings"
        ),
        *verdict.differences[:SHOWN_MAX],
        *[f"excused {n} times: {what}" for what, n in excused.items()],
        *[f"not compared: {n} keys of type {kind}" for kind, n in verdict.others.items()],
    ]
    if len(verdict.differences) > SHOWN_MAX:
        lines.append(f"and {len(verdict.differences) - SHOWN_MAX} more")
    report.result(asdict(verdict), lines)
    if verdict.differences and not in_json:
        click.echo(f"try: {verdict.advice}", err=True)
    raise SystemExit(DIFFERS if verdict.differences else DONE)


@migrate.command()
@shared()
def cutover(source: str, url: str, in_json: bool, mode: str | None) -> None:
    """Stop the writers of SOURCE for good, once the respq has everything."""
    from tools.migrate.link import close_all, parse_address
    from tools.migrate.move import Move, need_primary
    from tools.migrate.progress import Progress
    from tools.migrate.source import open_source

    report = Report(in_json)
    progress = Progress(in_json=in_json)
    before = signal.signal(signal.SIGTERM, interrupt)
    move: Move | None = None
    try:
        address = parse_address(url)
        found = need_primary(open_source(source, mode))
        progress.say(f"mode {found.mode}: {found.why}")
        move = Move(found, address, progress)
        move.run()
        done = move.cut_over()
        move.close()
    except MigrateError as error:
        report.fail(error)
    except KeyboardInterrupt:
        if move is not None and move.done is not None:
            line = f"interrupted at the end: {move.done.how}; to undo that: {move.done.undo}"
        else:
            line = "interrupted before the cut-over: writers of the source go on"
        click.echo(line, err=True)
        raise SystemExit(DIFFERS) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        progress.end()
        close_all()
    report.result(
        {"done": True, "mode": found.mode, **asdict(done), **asdict(move.counts)},
        [
            f"cut over: nobody could write for {done.gap_s:.3f} s; {done.how}",
            *left_out(asdict(move.counts)),
            f"now point clients to {address}; groups go on where they were",
            f"to undo, before anything is written there: {done.undo}",
        ],
    )


@migrate.command()
@shared(mode=False)
@click.option("--replace", is_flag=True, help="Overwrite keys of the other server that differ.")
def back(source: str, url: str, in_json: bool, replace: bool) -> None:
    """Bring all streams and strings of the respq into another server, SOURCE, a Redis or Valkey."""
    from tools.migrate.back import move_back
    from tools.migrate.link import close_all, parse_address, shown
    from tools.migrate.progress import Progress

    report = Report(in_json)
    progress = Progress(in_json=in_json)
    try:
        counts = move_back(parse_address(url), parse_address(source), progress, replace=replace)
    except MigrateError as error:
        report.fail(error)
    finally:
        progress.end()
        close_all()
    told = asdict(counts)
    report.result(
        {"done": True, **told},
        [
            (
                f"moved back {counts.streams} streams, {counts.entries:,} entries,"
                f" {counts.strings} strings in {progress.seconds:.1f} s"
            ),
            *left_out(told),
        ],
    )
    if not in_json:
        click.echo(f"next: respq migrate verify {shown(url)} -u {shown(source)}", err=True)
