"""What respq's own commands and those after 8.2 refuse: the exact line, and nothing changed.

The node holds something of each kind that a command could touch. Its dump and its place in the log
are the same before and after.
"""

from __future__ import annotations

import shlex

import pytest

from tests.respclient import Reply
from tests.sim.dump import difference, dump
from tests.sim.node import SimNode

SYNTAX = "ERR syntax error"
NOT_INT = "ERR value is not an integer or out of range"
BAD_ID = "ERR Invalid stream ID specified as stream command argument"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_KEY = "ERR no such key"
NUMIDS = "ERR The `numids` parameter must match the number of arguments"
N_IDS = "ERR Number of IDs must be a positive integer"
BAD_TIMEOUT = "ERR IDLE-TIMEOUT must be between 1 and 3162240000000 milliseconds, or OFF"
BAD_CLAIM = "ERR min-idle-time is not an integer or out of range"
BAD_RETRY = "ERR Invalid RETRYCOUNT option argument for XNACK"
BAD_DURATION = "ERR IDMP-DURATION must be between 1 and 86400 seconds"
BAD_MAXSIZE = "ERR IDMP-MAXSIZE must be between 1 and 10000 entries"


def arity(name: str) -> str:
    return f"ERR wrong number of arguments for '{name}' command"


def no_group(key: str, group: str, where: str = "") -> str:
    return f"NOGROUP No such key '{key}' or consumer group '{group}'{where}"


READ_WHERE = " in XREADGROUP with GROUP option"
REFUSED = {
    # respq's own
    "XQ.GROUP": arity("xq.group"),
    "XQ.GROUP FOO s g": "ERR unknown subcommand 'FOO'. Try XQ.GROUP HELP.",
    "XQ.GROUP SET": arity("xq.group|set"),
    "XQ.GROUP SET s g": arity("xq.group|set"),
    "XQ.GROUP SET s g IDLE-TIMEOUT": arity("xq.group|set"),
    "XQ.GROUP SET s g IDLE-TIMEOUT 5 IDLE-TIMEOUT": SYNTAX,
    "XQ.GROUP SET s g IDLE-TIMEOUT 5 IDLE-TIMEOUT 5": "ERR IDLE-TIMEOUT specified multiple times",
    "XQ.GROUP SET s g IDLE-TIMEOUT 5 LOUD 6": SYNTAX,
    "XQ.GROUP SET s g LOUD 6": SYNTAX,
    "XQ.GROUP SET s g OFF IDLE-TIMEOUT": SYNTAX,
    "XQ.GROUP SET s g IDLE-TIMEOUT 0": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT -1": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT 1.5": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT ''": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT ON": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT 3162240000001": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT 9223372036854775807": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT 9223372036854775808": BAD_TIMEOUT,
    "XQ.GROUP SET s g IDLE-TIMEOUT 18446744073709551617": BAD_TIMEOUT,
    "XQ.GROUP SET none g IDLE-TIMEOUT 0": BAD_TIMEOUT,
    "XQ.GROUP SET none g IDLE-TIMEOUT 5": NO_KEY,
    "XQ.GROUP SET s none IDLE-TIMEOUT 5": "NOGROUP No such consumer group 'none' for key name 's'",
    "XQ.GROUP SET text g IDLE-TIMEOUT 5": WRONG_TYPE,
    "XQ.GROUP GET s": arity("xq.group|get"),
    "XQ.GROUP GET s g more": arity("xq.group|get"),
    "XQ.GROUP GET none g": NO_KEY,
    "XQ.GROUP GET s none": "NOGROUP No such consumer group 'none' for key name 's'",
    "XQ.GROUP GET text g": WRONG_TYPE,
    "XQ.GROUP HELP more": arity("xq.group|help"),
    # CLAIM
    "XREADGROUP GROUP g new CLAIM": arity("xreadgroup"),
    "XREADGROUP GROUP g new NOACK NOACK CLAIM": SYNTAX,
    "XREADGROUP GROUP g new CLAIM STREAMS s >": BAD_CLAIM,
    "XREADGROUP GROUP g new CLAIM x STREAMS s >": BAD_CLAIM,
    "XREADGROUP GROUP g new CLAIM 1.5 STREAMS s >": BAD_CLAIM,
    "XREADGROUP GROUP g new CLAIM '' STREAMS s >": BAD_CLAIM,
    "XREADGROUP GROUP g new CLAIM 9223372036854775808 STREAMS s >": BAD_CLAIM,
    "XREADGROUP GROUP g new CLAIM -1 STREAMS s >": "ERR min-idle-time must be a positive integer",
    "XREADGROUP GROUP g new CLAIM 5 CLAIM -1 STREAMS s >": (
        "ERR min-idle-time must be a positive integer"
    ),
    "XREADGROUP GROUP g new CLAIM 0 STREAMS s x": BAD_ID,
    "XREADGROUP GROUP g new CLAIM 0 STREAMS s s > x": BAD_ID,
    "XREADGROUP GROUP g new CLAIM 0 STREAMS none >": no_group("none", "g", READ_WHERE),
    "XREADGROUP GROUP g new CLAIM 0 STREAMS s none > >": no_group("none", "g", READ_WHERE),
    "XREADGROUP GROUP none new CLAIM 0 STREAMS s >": no_group("s", "none", READ_WHERE),
    "XREADGROUP GROUP g new CLAIM 0 STREAMS s text > >": WRONG_TYPE,
    "XREADGROUP CLAIM 0 COUNT 5 STREAMS s >": "ERR Missing GROUP option for XREADGROUP",
    "XREADGROUP GROUP g new CLAIM 0 STREAMS s": (
        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be "
        "specified."
    ),
    "XREAD CLAIM 5 STREAMS s 0": (
        "ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead."
    ),
    # MAXCOUNT and MAXSIZE
    "XREADGROUP GROUP g new MAXCOUNT 0 STREAMS s >": "ERR MAXCOUNT must be a positive integer",
    "XREADGROUP GROUP g new MAXCOUNT -5 STREAMS s >": "ERR MAXCOUNT must be a positive integer",
    "XREADGROUP GROUP g new MAXCOUNT x STREAMS s >": NOT_INT,
    "XREADGROUP GROUP g new MAXCOUNT 18446744073709551617 STREAMS s >": NOT_INT,
    "XREADGROUP GROUP g new MAXSIZE 0 STREAMS s >": "ERR MAXSIZE must be a positive integer",
    "XREADGROUP GROUP g new MAXSIZE -1 STREAMS s >": "ERR MAXSIZE must be a positive integer",
    "XREADGROUP GROUP g new MAXSIZE 9223372036854775808 STREAMS s >": NOT_INT,
    "XREADGROUP GROUP g new CLAIM 0 COUNT 2 MAXCOUNT 1 STREAMS s >": (
        "ERR MAXCOUNT must be greater than or equal to COUNT"
    ),
    "XREADGROUP GROUP g new NOACK NOACK MAXCOUNT": SYNTAX,
    "XREADGROUP GROUP g new NOACK NOACK MAXSIZE": SYNTAX,
    # XNACK
    "XNACK s g FAIL IDS 1": arity("xnack"),
    "XNACK s g LOUD IDS 1 1-0": "ERR mode must be SILENT, FAIL, or FATAL",
    "XNACK s g FAIL 1 1-0 2-0": "ERR syntax error, expected IDS keyword",
    "XNACK s g FAIL IDS x 1-0": NOT_INT,
    "XNACK s g FAIL IDS 9223372036854775808 1-0": NOT_INT,
    "XNACK s g FAIL IDS 0 1-0": N_IDS,
    "XNACK s g FAIL IDS -1 1-0": N_IDS,
    "XNACK s g FAIL IDS 9223372036854775807 1-0": "ERR number of IDs doesn't match numids",
    "XNACK s g FAIL IDS 2 1-0 x": BAD_ID,
    "XNACK s g FAIL IDS 2 1-0 FORCE": BAD_ID,
    "XNACK s g FAIL IDS 1 1-0 2-0": "ERR Unrecognized XNACK option '2-0'",
    "XNACK s g FAIL IDS 1 1-0 FORCE LOUD": "ERR Unrecognized XNACK option 'LOUD'",
    "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT": "ERR Unrecognized XNACK option 'RETRYCOUNT'",
    "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT x": BAD_RETRY,
    "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT -1": BAD_RETRY,
    "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT 9223372036854775808": BAD_RETRY,
    "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT 1 RETRYCOUNT x": BAD_RETRY,
    "XNACK none g FAIL IDS 1 1-0 FORCE": no_group("none", "g"),
    "XNACK s none FAIL IDS 1 1-0 FORCE": no_group("s", "none"),
    "XNACK text g FAIL IDS 1 1-0": WRONG_TYPE,
    # References
    "XDELEX s IDS 1": arity("xdelex"),
    "XDELEX s ACKED IDS 1": NUMIDS,
    "XDELEX s IDS 2 1-0": NUMIDS,
    "XDELEX s IDS 0 1-0": N_IDS,
    "XDELEX s IDS x 1-0": N_IDS,
    "XDELEX s DELREF IDS 2 1-0 x": BAD_ID,
    "XDELEX s DELREF ACKED IDS 1 1-0": SYNTAX,
    "XDELEX s DELREF IDS 1 1-0 2-0": SYNTAX,
    "XDELEX s DELREF KEEPREF 1-0": SYNTAX,
    "XDELEX text DELREF IDS 1 1-0": WRONG_TYPE,
    "XACKDEL s g IDS 1": arity("xackdel"),
    "XACKDEL s g ACKED IDS 1": NUMIDS,
    "XACKDEL s g DELREF IDS 2 1-0 x": BAD_ID,
    "XACKDEL s g DELREF IDS -1 1-0": N_IDS,
    "XACKDEL s g DELREF DELREF IDS 1 1-0": SYNTAX,
    "XACKDEL text g DELREF IDS 1 1-0": WRONG_TYPE,
    "XTRIM s MAXLEN 0 DELREF DELREF": SYNTAX,
    "XTRIM s MAXLEN 0 LOUD": SYNTAX,
    "XADD s DELREF ACKED MAXLEN 0 9-0 f v": BAD_ID,
    "XADD s DELREF MAXLEN 0 1-0 f v": (
        "ERR The ID specified in XADD is equal or smaller than the target stream top item"
    ),
    # Idempotent production
    "XADD s IDMP p new 9-0 f v": "ERR syntax error, IDMP/IDMPAUTO can be used only with "
    "auto-generated IDs",
    "XADD s IDMP p new IDMP p new * f v": "ERR syntax error, IDMP/IDMPAUTO specified multiple "
    "times",
    "XADD s IDMP '' new * f v": "ERR syntax error, IDMP requires a non-empty producer ID",
    "XADD s IDMP p '' * f v": "ERR syntax error, IDMP requires a non-empty idempotent ID",
    "XADD s IDMPAUTO '' * f v": "ERR syntax error, IDMPAUTO requires a non-empty producer ID",
    "XADD text IDMP p new * f v": WRONG_TYPE,
    "XCFGSET s": "ERR At least one parameter must be specified",
    "XCFGSET s IDMP-DURATION 0": BAD_DURATION,
    "XCFGSET s IDMP-DURATION 86401": BAD_DURATION,
    "XCFGSET s IDMP-DURATION 5 IDMP-MAXSIZE 10001": BAD_MAXSIZE,
    "XCFGSET s IDMP-MAXSIZE 0": BAD_MAXSIZE,
    "XCFGSET none IDMP-MAXSIZE 5": NO_KEY,
    "XCFGSET text IDMP-MAXSIZE 5": WRONG_TYPE,
    "XIDMPRECORD s p new": arity("xidmprecord"),
    "XIDMPRECORD s p new x": BAD_ID,
    "XIDMPRECORD text p new 1-0": WRONG_TYPE,
}


@pytest.fixture
def node() -> SimNode:
    """A stream with owned, released and unread entries, a policy and iids; and a string."""
    node = SimNode()
    for i in range(1, 6):
        node.call("XADD", "s", f"{i}-0", "f", "v")
    node.call("XGROUP", "CREATE", "s", "g", 0)
    node.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 3, "STREAMS", "s", ">")
    node.call("XNACK", "s", "g", "FAIL", "IDS", 1, "3-0")
    node.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 5000)
    node.call("XADD", "s", "IDMP", "p", "i", "*", "f", "v")
    node.call("SET", "text", "word")
    node.advance(7000)
    return node


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused_changes_nothing(node: SimNode, words: str) -> None:
    before, lsn = dump(node), node.engine.journal.next_lsn
    reply = node.call(*shlex.split(words))
    assert isinstance(reply, Reply) and reply.kind == "-", reply
    assert reply.value.decode() == REFUSED[words]
    assert node.engine.journal.next_lsn == lsn
    assert difference(before, dump(node)) == ""


@pytest.mark.parametrize(
    ("words", "shown"),
    [("1", 1), ("3162240000000", 3162240000000), ("OFF", None), ("off", None), ("0005", None)],
)
def test_the_ends_of_an_idle_timeout(node: SimNode, words: str, shown: int | None) -> None:
    reply = node.call("XQ.GROUP", "SET", "s", "g", "idle-timeout", words)
    if words == "0005":  # no integer, as everywhere
        assert isinstance(reply, Reply) and reply.value.decode() == BAD_TIMEOUT
        shown = 5000
    else:
        assert reply == b"OK"
    assert node.call("XQ.GROUP", "GET", "s", "g") == [b"idle-timeout", shown]


def test_the_same_idle_timeout_again_is_no_record(node: SimNode) -> None:
    lsn = node.engine.journal.next_lsn
    assert node.call("XQ.GROUP", "SET", "s", "g", "IDLE-TIMEOUT", 5000) == b"OK"
    assert node.engine.journal.next_lsn == lsn
