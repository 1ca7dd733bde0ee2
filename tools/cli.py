"""The ``respq`` command: one group of subcommands, each imported when it is called.

Rules: help must come at once, so this module imports click alone. A subcommand is an entry of
``COMMANDS``: its one-line help stands here, its code elsewhere.

Exit codes: 0 done; 1 it could not be done (port in use, directory locked, storage failed);
2 it was asked wrongly (unknown flag, bad setting).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple, cast

import click


class Lazy(NamedTuple):
    """Where a subcommand is and what it does in one line."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "add": Lazy("tools.living.add", "add", "Add entries to a stream."),
    "backup": Lazy("tools.care.backup", "backup", "Keep a copy of a running server's data."),
    "bench": Lazy("tools.bench.command", "bench", "Measure respq beside redis-server."),
    "cheat": Lazy("tools.living.cheat", "cheat", "Show the commands one needs."),
    "check": Lazy("tools.care.check", "check", "Verify every byte of a data directory."),
    "cli": Lazy("tools.client", "cli", "Send commands to a server."),
    "completion": Lazy(
        "tools.living.completion", "completion", "Print what makes a shell complete."
    ),
    "demo": Lazy("tools.living.demonstrate", "demo", "See a worker die and its work come back."),
    "doctor": Lazy("tools.living.doctor", "doctor", "Find out what is wrong, and what helps."),
    "export": Lazy("tools.living.export", "export", "Write streams as lines of JSON."),
    "group": Lazy("tools.living.group", "group", "Show groups, move them, set their policy."),
    "import": Lazy("tools.living.importing", "import_", "Read streams from lines of JSON."),
    "inspect": Lazy("tools.care.inspect", "inspect", "Tell what a stream is made of."),
    "lag": Lazy("tools.living.lag", "lag", "Show how far behind each group is."),
    "migrate": Lazy(
        "tools.migrate.command",
        "migrate",
        "Move streams from Redis, Valkey, another respq or a file, and back.",
    ),
    "pending": Lazy("tools.living.pending", "pending", "Show, claim, end pending entries."),
    "ping": Lazy("tools.living.ping", "ping", "Ask whether the server is there."),
    "repair": Lazy("tools.care.repair", "repair", "Make a damaged data directory sound."),
    "restore": Lazy("tools.care.backup", "restore", "Bring a backup back."),
    "serve": Lazy("tools.serve", "serve", "Run the server."),
    "stream": Lazy("tools.living.stream", "stream", "List, show and trim streams."),
    "tail": Lazy("tools.living.tail", "tail", "Print the newest entries of streams."),
    "top": Lazy("tools.living.top", "top", "Watch the server and its groups live."),
    "work": Lazy("tools.living.work", "work", "Let a program work on entries, one each."),
}


class LazyGroup(click.Group):
    """A group that knows its subcommands' help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order of the alphabet."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one subcommand."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        return cast(click.Command, getattr(import_module(found.module), found.attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand; suggest those that are spelt alike."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand:
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of subcommands from the lines above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


def _version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print the version and leave."""
    if asked and not context.resilient_parsing:
        click.echo(f"respq {version('respq')}")
        context.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def main() -> None:
    """Redis Streams that live on disk and survive a power cut.

    \b
    respq serve                      start on 127.0.0.1:6379, data in ./respq-data
    respq cli XADD hello '*' msg hi  talk to it; any Redis client can
    """
