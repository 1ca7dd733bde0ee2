"""``respq serve``: settings from file, environment and flags, then the server until it stops.

The flags are made from the table in ``respserver.settings``, one for every setting. Whatever keeps
the server from starting is one line on standard error.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from respserver.settings import SETTINGS, Setting, SettingsError, load

EXIT_FAILED = 1
EXIT_ASKED_WRONGLY = 2


def _flag(known: Setting) -> click.Option:
    """The flag of one setting. Its value is checked by the setting's own kind, not by click."""
    default = known.kind.example(known.default) or "empty"
    return click.Option(
        [f"--{known.name}", known.attribute],
        metavar="VALUE",
        help=f"{known.doc}  [{known.kind.describe()}; default {default}]",
    )


def _announce(line: str) -> None:
    """Say on standard output that the server is up, at once."""
    click.echo(line)


def _serve(config: Path | None, **flags: str | None) -> None:
    """Load the settings and run."""
    given = {
        known.name: text
        for known in SETTINGS.values()
        if (text := flags[known.attribute]) is not None
    }
    try:
        settings = load(file=config, environment=os.environ, flags=given)
    except SettingsError as error:
        click.echo(f"respq serve: {error}", err=True)
        raise SystemExit(EXIT_ASKED_WRONGLY) from None
    # The server brings the event loop and the compiled modules; help does without them.
    from respserver.server import StartupError, run

    try:
        status = run(settings, _announce)
    except StartupError as error:
        click.echo(f"respq serve: {error}", err=True)
        status = EXIT_FAILED
    raise SystemExit(status)


serve = click.Command(
    "serve",
    callback=_serve,
    params=[
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE.toml",
            help="Settings file; every flag below may stand in it, without the dashes.",
        ),
        *(_flag(known) for known in SETTINGS.values()),
    ],
    short_help="Run the server.",
    help="""Run the server until SIGTERM or SIGINT.

Every setting may stand in a TOML file (port = 6380), in the environment (RESPQ_PORT=6380) or here
(--port 6380); each is stronger than the one before. CONFIG GET shows what is in force.""",
)
