"""Arguments that name a stream, a group or a consumer. The shell completes them from the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from tools.connection import URL, URL_VARIABLE, Server, Trouble, text

COMPLETIONS_MAX = 200


def _server(context: click.Context) -> Server:
    """The server of the command line that is being completed."""
    url = context.params.get("url") or os.environ.get(URL_VARIABLE) or URL
    return Server(url)


def _items(names: Iterable[bytes], begun: str) -> list[CompletionItem[str]]:
    found = sorted(text(name) for name in names)
    return [CompletionItem(name) for name in found if name.startswith(begun)][:COMPLETIONS_MAX]


def _asked(
    ask: Callable[[Server, click.Context], Iterable[bytes]], context: click.Context, begun: str
) -> list[CompletionItem[str]]:
    """What ``ask`` finds; nothing where there is no server."""
    try:
        server = _server(context)
        try:
            return _items(ask(server, context), begun)
        finally:
            server.close()
    except (Trouble, click.UsageError):
        return []


def stream_names(server: Server, match: str = "*", at_most: int | None = None) -> list[bytes]:
    """The names of streams, sorted."""
    found: set[bytes] = set()
    cursor: bytes | int = 0
    while True:
        cursor, page = server.ask("SCAN", cursor, "MATCH", match, "COUNT", 1000, "TYPE", "stream")
        found.update(page)
        if int(cursor) == 0 or (at_most is not None and len(found) >= at_most):
            return sorted(found)


class Name(click.ParamType[bytes]):
    """Text that is sent to the server as it is."""

    name = "name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """The bytes as they were typed."""
        return value if isinstance(value, bytes) else os.fsencode(value)


class StreamName(Name):
    """The name of a stream."""

    name = "stream"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The streams that begin so."""
        literal = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in incomplete)

        def ask(server: Server, _: click.Context) -> list[bytes]:
            return stream_names(server, f"{literal}*", COMPLETIONS_MAX)

        return _asked(ask, ctx, incomplete)


class GroupName(Name):
    """The name of a group of the stream that stands before it."""

    name = "group"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The groups of the stream that begin so."""

        def ask(server: Server, context: click.Context) -> list[bytes]:
            groups = server.ask("XINFO", "GROUPS", context.params.get("stream") or b"")
            return [group[1] for group in groups]

        return _asked(ask, ctx, incomplete)


class ConsumerName(Name):
    """The name of a consumer of the group that stands before it."""

    name = "consumer"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The consumers of the group that begin so."""

        def ask(server: Server, context: click.Context) -> list[bytes]:
            params = context.params
            names = (params.get("stream") or b"", params.get("group") or b"")
            return [one[1] for one in server.ask("XINFO", "CONSUMERS", *names)]

        return _asked(ask, ctx, incomplete)


STREAM = StreamName()
GROUP = GroupName()
CONSUMER = ConsumerName()
NAME = Name()
