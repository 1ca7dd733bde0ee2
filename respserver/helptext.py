"""The reply of the HELP subcommand of a container command."""

from __future__ import annotations

from collections.abc import Sequence

from respserver.replies import Simple


def help_reply(container: str, lines: Sequence[str]) -> list[Simple]:
    """Status lines as Redis sends them: an opening, what there is, and HELP itself."""
    opening = f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    return [Simple(line.encode()) for line in (opening, *lines, "HELP", "    Print this help.")]
