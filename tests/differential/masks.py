"""What of a reply is hidden before it is compared.

Masks that always hold, because what they hide is the moment of the run: idle, inactive, seen and
delivery times (XINFO, XPENDING) are shown in steps of 100 s (`<idle 0s>`), so a claimed idle time
of 1000 s remains visible, and -1 remains -1. `radix-tree-nodes` is hidden: it counts the inner
nodes of Redis' radix tree, which depend on how the bytes of node keys happen to share prefixes.
`radix-tree-keys` is what trims are made of and is compared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from tests.respclient import Reply, render

STEP_S = 100
_AUTO_ID = re.compile(rb"[12]\d{12}-\d+")


def _about(seconds: float) -> int:
    """Down to a step, with a second of grace for a clock that was read a moment earlier."""
    return int((seconds + 1) // STEP_S * STEP_S)


def _idle(value: int) -> Reply:
    return Reply(":", value) if value < 0 else Reply("masked", f"idle {_about(value / 1000)}s")


def _moment(value: int) -> Reply:
    """A time of day in ms; small numbers are no such time and remain."""
    if value < 10**11:
        return Reply(":", value)
    return Reply("masked", f"now-{_about(time.time() - value / 1000)}s")


def _pairs(reply: Reply) -> Iterator[tuple[Reply, Reply]]:
    items = reply.value
    if reply.kind == "%":
        yield from items
    elif len(items) % 2 == 0:
        yield from zip(items[::2], items[1::2], strict=True)


def _rebuild(reply: Reply, pairs: list[tuple[Reply, Reply]]) -> Reply:
    return (
        Reply("%", pairs)
        if reply.kind == "%"
        else Reply("*", [item for pair in pairs for item in pair])
    )


def mask_xinfo(reply: Reply) -> Reply:
    """Of XINFO: idle, inactive, seen-time, active-time, delivery times, radix-tree-nodes."""
    if reply.kind not in "*%" or not reply.value:
        return reply
    keyed = reply.kind == "%" or (
        len(reply.value) % 2 == 0
        and reply.value[0].kind == "$"
        and reply.value[0].value in (b"name", b"length")
    )
    if not keyed:
        return Reply(reply.kind, [mask_xinfo(item) for item in reply.value])
    pairs: list[tuple[Reply, Reply]] = []
    for key, value in _pairs(reply):
        field: bytes = key.value
        if field in (b"idle", b"inactive") and value.kind == ":":
            value = _idle(value.value)
        elif field in (b"seen-time", b"active-time") and value.kind == ":":
            value = _moment(value.value)
        elif field == b"radix-tree-nodes":
            value = Reply("masked", "nodes")
        elif field in (b"pending", b"pel") and value.kind == "*" and value.value:
            value = Reply("*", [_mask_delivery(row) for row in value.value])
        elif field in (b"groups", b"consumers") and value.kind == "*":
            value = mask_xinfo(value)
        pairs.append((key, value))
    return _rebuild(reply, pairs)


def _mask_delivery(row: Reply) -> Reply:
    return Reply("*", [_moment(item.value) if item.kind == ":" else item for item in row.value])


def mask_xpending(reply: Reply) -> Reply:
    """Of XPENDING's range form: the idle time."""
    if reply.kind != "*" or not reply.value or reply.value[0].kind != "*":
        return reply
    rows = [
        Reply("*", [*row.value[:2], _idle(row.value[2].value), *row.value[3:]])
        for row in reply.value
    ]
    return Reply("*", rows)


def mask_auto(reply: Reply) -> Reply:
    if reply.kind == "$" and reply.value is not None and _AUTO_ID.fullmatch(reply.value):
        return Reply("masked", "auto")
    if reply.kind == ":" and reply.value >= 10**11:
        return _moment(reply.value)
    if reply.kind in "*~>" and reply.value:
        return Reply(reply.kind, [mask_auto(item) for item in reply.value])
    if reply.kind == "%":
        return Reply("%", [(mask_auto(key), mask_auto(item)) for key, item in reply.value])
    return reply


def mask_sorted(reply: Reply) -> Reply:
    if reply.kind in "*~" and reply.value:
        return Reply(reply.kind, sorted(reply.value, key=render))
    if reply.kind == "%":
        return Reply("%", sorted(reply.value, key=lambda pair: render(pair[0])))
    return reply


def mask_shape(reply: Reply) -> Reply:
    if reply.kind in "*~>" and reply.value is not None:
        return Reply(reply.kind, [mask_shape(item) for item in reply.value])
    if reply.kind == "%":
        return Reply("%", [(mask_shape(key), mask_shape(item)) for key, item in reply.value])
    return reply if reply.value is None else Reply("masked", reply.kind)


# Fields of CLIENT LIST whose values name the process, its sockets and buffers, or the moment.
_CLIENT_OF_THE_PROCESS = {
    "id", "addr", "laddr", "fd", "age", "idle", "qbuf", "qbuf-free", "argv-mem", "multi-mem",
    "rbs", "rbp", "obl", "oll", "omem", "tot-mem", "events", "tot-net-in", "tot-net-out",
}  # fmt: skip


def mask_client(reply: Reply) -> Reply:
    """Of CLIENT LIST or INFO: the lines sorted, values of the process hidden."""
    if reply.kind not in "$=":
        return reply
    text = reply.value.decode()
    head = "txt:" if text.startswith("txt:") else ""
    lines = []
    for line in text.removeprefix(head).splitlines():
        fields = [field.partition("=")[::2] for field in line.split(" ")]
        shown = [
            f"{key}=*"
            if key in _CLIENT_OF_THE_PROCESS or (key == "redir" and int(value) > 0)
            else f"{key}={value}"
            for key, value in fields
        ]
        lines.append(Reply(reply.kind, (head + " ".join(shown)).encode()))
    lines.sort()
    end = b"" if text.endswith("\n") or not lines else b"(no newline at the end)"
    return Reply("*", [*lines, *([Reply("masked", end.decode())] if end else [])])


def mask_slowlog(reply: Reply) -> Reply:
    """Of SLOWLOG GET: number, time, duration and address of each entry; an empty address stays."""
    if reply.kind != "*":
        return reply
    hidden = [Reply("masked", name) for name in ("number", "now", "us")]
    rows = []
    for row in reply.value:
        argv, addr, name = row.value[3:]
        shown = Reply("masked", "addr") if addr.value else addr
        rows.append(Reply("*", [*hidden, argv, shown, name]))
    return Reply("*", rows)


def mask_monitor(reply: Reply) -> Reply:
    """Of a line of MONITOR: the time and the client's address."""
    if reply.kind != "+":
        return reply
    line = re.sub(rb"^\d+\.\d{6} \[(\d+) (lua|[\d.]+:\d+)\]", _monitored, reply.value)
    return Reply("+", line)


def _monitored(found: re.Match[bytes]) -> bytes:
    return b"<now> [%b %b]" % (found[1], found[2] if found[2] == b"lua" else b"<addr>")


def mask_hello(reply: Reply) -> Reply:
    """Of HELLO: version, id and modules are the process'."""
    if reply.kind not in "*%":
        return reply
    hidden = {b"version": "version", b"id": "id", b"modules": "modules"}
    pairs = [
        (key, Reply("masked", hidden[key.value]) if key.value in hidden else item)
        for key, item in _pairs(reply)
    ]
    return _rebuild(reply, pairs)


def mask_info(reply: Reply, fields: list[str]) -> Reply:
    """Of INFO's text: the named fields, in the order asked for."""
    if reply.kind not in "$=":
        return reply
    text: str = reply.value.decode()
    if not text.removeprefix("txt:").startswith("# ") or not text.endswith("\r\n"):
        return reply
    found = dict(
        line.partition(":")[::2]
        for line in text.split("\r\n")
        if ":" in line and not line.startswith("#")
    )
    return Reply(
        reply.kind,
        "\n".join(f"{field}:{found.get(field, '(missing)')}" for field in fields).encode(),
    )


_BY_COMMAND: dict[bytes, Callable[[Reply], Reply]] = {
    b"XINFO": mask_xinfo,
    b"XPENDING": mask_xpending,
}
_BY_OPTION: dict[str, Callable[[Reply], Reply]] = {
    "auto": mask_auto,
    "sorted": mask_sorted,
    "shape": mask_shape,
    "client": mask_client,
    "hello": mask_hello,
    "monitor": mask_monitor,
    "slowlog": mask_slowlog,
}


def mask(reply: Reply, verb: bytes, options: list[str]) -> Reply:
    if reply.kind == "-":
        return reply
    by_command = _BY_COMMAND.get(verb.upper())
    if by_command is not None:
        reply = by_command(reply)
    for option in options:
        if option in _BY_OPTION:
            reply = _BY_OPTION[option](reply)
        elif option.startswith("info:"):
            reply = mask_info(reply, option[5:].split(","))
    return reply
