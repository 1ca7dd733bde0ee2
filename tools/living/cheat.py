"""``respq cheat``: the commands that one needs, by what one wants. docs/cheatsheet.md is made of
the same lines (``make docs``), and a test runs them.
"""

from __future__ import annotations

import click

from tools.connection import Trouble

TOPICS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "start": (
        "A server, and whether it is there",
        (
            ("respq serve", "start on 127.0.0.1:6379, data in ./respq-data"),
            ("respq serve --port 6380 --dir /srv/respq", "elsewhere"),
            ("respq ping", "which server is it, and how quick?"),
            ("respq demo", "a worker dies, and what it held comes back"),
            ("export RESPQ_URL=redis://:password@host:6379/0", "the server for all commands"),
        ),
    ),
    "produce": (
        "Entries into a stream",
        (
            ("respq add orders sku=A-17 qty=2", "one; prints its ID"),
            ("respq add orders --maxlen 100000 sku=A-17", "and keep about so many"),
            ('echo \'{"sku": "A-17"}\' | respq add orders -', "a line of JSON each"),
            ("respq tail orders -n 3", "the newest"),
            ("respq tail orders -f --json", "and those that come"),
        ),
    ),
    "work": (
        "Any program as a worker",
        (
            ("respq work orders -g billing -- ./handle.sh", "exit 0 acknowledges, else again"),
            ("respq work orders -g billing -j 4 --lease 10s -- ./handle.sh", "four at once"),
            (
                "respq work orders -g billing --max-deliveries 3 -- ./handle.sh",
                "then to orders:dead",
            ),
            ("respq work orders -g billing --drain -- ./handle.sh", "until nothing is left"),
        ),
    ),
    "watch": (
        "Who is behind",
        (
            ("respq lag", "all groups; ? is what the server does not know"),
            ("respq lag --watch", "with rates, and when they will be done"),
            ("respq top", "the same on the whole screen"),
            ("respq doctor", "what is wrong, and what helps"),
        ),
    ),
    "pending": (
        "What was delivered and not acknowledged",
        (
            ("respq pending orders billing --older 1m", "who holds what, since when"),
            ("respq pending orders billing --older 10m --claim worker-2", "give it to another"),
            ("respq pending orders billing --older 1d --ack --yes", "give it up"),
            ("respq group set orders billing --idle-timeout 30s", "let respq give it back itself"),
        ),
    ),
    "groups": (
        "Groups",
        (
            ("respq group show orders", "the groups of a stream"),
            ("respq group show orders billing", "one, and its consumers"),
            ("respq group seek orders billing --to -1h --dry-run", "what would come again?"),
            ("respq group seek orders billing --to 0 --yes", "all of it again"),
        ),
    ),
    "streams": (
        "Streams",
        (
            ("respq stream ls", "which there are"),
            ("respq stream show orders", "one, with its groups"),
            ("respq stream trim orders --older-than 7d --dry-run", "who would lose what?"),
            ("respq stream trim orders --maxlen 100000 --yes", "keep the newest"),
        ),
    ),
    "move": (
        "Out and in",
        (
            ("respq export orders -o orders.jsonl.zst", "entries, groups, what they hold"),
            ("respq import --resume orders.jsonl.zst", "what is not there yet"),
            ("respq export orders | jq .fields", "for other programs"),
        ),
    ),
}


def lines(topic: str) -> list[str]:
    """A topic as text."""
    title, rows = TOPICS[topic]
    width = max(len(command) for command, _ in rows)
    return [f"{title}  ({topic})", *(f"  {line:<{width}}  {what}" for line, what in rows), ""]


@click.command(short_help="Show the commands one needs.")
@click.argument("topic", required=False)
def cheat(topic: str | None) -> None:
    """Show the commands one needs, of one TOPIC or of all.

    \b
    respq cheat
    respq cheat pending
    """
    if topic is not None and topic not in TOPICS:
        raise Trouble(f"no topic {topic}; there are {', '.join(TOPICS)}", "respq cheat")
    for name in TOPICS if topic is None else [topic]:
        click.echo("\n".join(lines(name)))


def page() -> str:
    """docs/cheatsheet.md."""
    parts = ["# Cheat sheet", "", "`respq cheat` prints this, `respq cheat TOPIC` a part of it."]
    for topic, (title, rows) in TOPICS.items():
        parts += ["", f"## {title}", "", f"`respq cheat {topic}`", ""]
        parts += ["| command | what for |", "|---|---|"]
        for command, what in rows:
            shown = command.replace("|", "\\|")
            parts.append(f"| `{shown}` | {what} |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    click.echo(page(), nl=False)
