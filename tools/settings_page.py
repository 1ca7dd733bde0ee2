"""Writes docs/settings.md from the table of settings: ``make docs``."""

from __future__ import annotations

from respserver.settings import CONSTANTS, SETTINGS, Setting

HEAD = """# Settings

This page is made from `respserver/settings.py` by `make docs`.

A setting comes from a TOML file (`respq serve --config respq.toml`), or stronger from the
environment, or strongest from a flag:

```
port = 6380                  # respq.toml
RESPQ_PORT=6380              # environment: upper case, - becomes _
respq serve --port 6380      # flag
```

An unknown name or a bad value refuses to start and names the setting and where it stands. Sizes are
written `64mb` or in bytes: `k` is 1000, `kb` 1024, and so on. `CONFIG GET` shows the values in
force; those marked *live* can be changed by `CONFIG SET` while the server runs, until it stops.
`CONFIG REWRITE` writes what is in force into the file, whose comments stay.
"""

TAIL = """
## Names that only CONFIG knows

Clients and tools read these Redis settings, which have one value here. `CONFIG SET` accepts that
value and refuses others.

| name | value |
|---|---|
"""


def _row(known: Setting) -> str:
    """One setting."""
    default = known.kind.example(known.default)
    cells = (
        f"`{known.name}`",
        f"`{default}`" if default else "empty",
        "live" if known.live else "",
        known.kind.describe().replace("|", "\\|"),
        known.doc + (f" Since {known.since}." if known.since else ""),
    )
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for group in dict.fromkeys(known.group for known in SETTINGS.values()):
        lines.append(f"## {group.capitalize()}\n")
        lines.append("| setting | default | | values | what it does |")
        lines.append("|---|---|---|---|---|")
        lines.extend(_row(known) for known in SETTINGS.values() if known.group == group)
        lines.append("")
    constants = [f"| `{name}` | `{value or '(empty)'}` |" for name, value in CONSTANTS.items()]
    return "\n".join(lines).rstrip() + "\n" + TAIL + "\n".join(constants) + "\n"


if __name__ == "__main__":
    print(page(), end="")
