"""The picture of the README, docs/lag.svg: ``respq lag --watch`` as a terminal shows it.

It is drawn from the facts below by the code that draws a real one (``make docs``), without the
fonts that rich would have a browser fetch from elsewhere.
"""

from __future__ import annotations

import io
import re

import click

from tools.living.facts import GroupFacts
from tools.living.lag import watch_table
from tools.living.rates import Rates

WIDTH = 104
FACTS = (
    # stream, group, lag, pending, oldest, consumers, quiet, in/s, out/s, empty
    ("orders", "billing", 312, 40, 2_140, 3, 12, 410.0, 520.0, "3.2 s"),
    ("orders", "mail", 0, 7, 540_000, 1, 545_000, 410.0, 0.0, "∞"),
    ("clicks", "counts", 1_204_331, 2_000, 97_000, 8, 3, 18_250.0, 41_900.0, "50 s"),
    ("sensors", "archive", None, 100, 1_100, 1, 40, 96.0, None, "?"),
)


def picture() -> str:
    """The SVG."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    watched = []
    for stream, group, lag, pending, oldest_ms, consumers, quiet_ms, came, went, empty in FACTS:
        facts = GroupFacts(
            stream=stream.encode(),
            name=group.encode(),
            lag=lag,
            pending=pending,
            oldest_ms=oldest_ms,
            consumers=consumers,
            quiet_ms=quiet_ms,
            last_delivered_id="0-0",
            entries_read=None,
            entries_added=None,
        )
        watched.append((facts, Rates(came, went, empty)))
    screen = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    screen.print("$ respq lag --watch", highlight=False)
    screen.print(watch_table(watched))
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return screen.export_svg(title="respq lag --watch", code_format=form, unique_id="respq")


if __name__ == "__main__":
    click.echo(picture(), nl=False)
