"""``respq completion``: the script by which a shell completes commands, options and names.

The scripts are click's own. Names of streams, groups and consumers come from the server while one
types (names.py).
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RESPQ_COMPLETE"


def script(shell: str, root: click.Command) -> str:
    """The script for a shell."""
    made = get_completion_class(shell)
    assert made is not None
    if shell == "bash":  # the class would ask bash for its version
        source = made.source_template % made(root, {}, "respq", VARIABLE).source_vars()
    else:
        source = made(root, {}, "respq", VARIABLE).source()
    return source.strip() + "\n"


@click.command(short_help="Print what makes a shell complete.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options, and the names of streams,
    groups and consumers.

    \b
    eval "$(respq completion bash)"          in ~/.bashrc
    eval "$(respq completion zsh)"           in ~/.zshrc
    respq completion fish | source          in ~/.config/fish/config.fish
    """
    click.echo(script(shell, context.find_root().command), nl=False)
