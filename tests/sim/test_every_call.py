"""Every call that the declaration of a session's commands allows is read: no syntax errors."""

from __future__ import annotations

from random import Random

import pytest

from respserver import syntax
from respserver.spec import TABLE, CommandSpec
from tests.sim.node import SimNode

GROUPS = {"transactions", "pubsub", "scripting"}
OTHERS = {b"dump", b"monitor", b"wait", b"waitaof"}
OTHERS |= {b"client|pause", b"client|reply", b"client|unpause"}
SPECS = [
    spec
    for top in TABLE.values()
    for spec in (top, *top.subcommands.values())
    if (spec.group in GROUPS or spec.name in OTHERS) and spec.handler is not None
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name.decode())
def test_valid_calls_are_never_syntax_errors(spec: CommandSpec) -> None:
    for seed in range(12):
        node = SimNode()
        argv = [*spec.name.split(b"|"), *syntax.example(spec.arguments, Random(seed))]
        if not spec.takes(len(argv)):
            continue
        node.client.send(*argv)
        node.run()
        for reply in node.client.replies():
            assert not reply.startswith((b"-ERR syntax error", b"-ERR wrong number")), argv
