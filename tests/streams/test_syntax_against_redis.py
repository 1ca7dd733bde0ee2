"""Words thrown together: what is refused, in which order and in which words, is as in Redis 8.2.3.

The commands hold few right words, so nearly every reply is a refusal; a command that is valid by
luck must answer alike, too. What Redis 8 added (KEEPREF and its kin) is left out.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import servers
from tests.respclient import Client
from tests.streams.node import Node
from tests.streams.test_against_redis import compare

STARTS = [
    ["XDEL"],
    ["XTRIM"],
    ["XSETID"],
    ["XPENDING"],
    ["XCLAIM"],
    ["XAUTOCLAIM"],
    ["XINFO"],
    ["XGROUP"],
    # Not "STREAM" and a NUL: Redis takes that for STREAM or not by the seed of its hash table.
    *(["XINFO", word] for word in ("STREAM", "GROUPS", "CONSUMERS", "HELP", "bogus", "bogus\0")),
    *(
        ["XGROUP", word]
        for word in ("CREATE", "SETID", "DESTROY", "CREATECONSUMER", "DELCONSUMER", "help", "x\ny")
    ),
]
HEADS = [[], ["s"], ["s", "g"], ["s", "g", "c", "0"], ["s", "g", "c", "0", "0"], ["text", "g"]]
KEYWORDS = [
    *["maxlen", "MINID", "limit", "=", "~", "ENTRIESADDED", "maxdeletedid", "entriesread"],
    *["MKSTREAM", "IDLE", "time", "RETRYCOUNT", "FORCE", "justid", "LASTID", "COUNT", "FULL"],
]
words = st.one_of(
    st.sampled_from(["s", "none", "text", "g", "nog", "c", "g\r\n%s", "g\0tail", ""]),
    st.sampled_from(KEYWORDS),
    st.sampled_from(KEYWORDS).map(lambda word: word + "\0x"),
    st.sampled_from(["0", "1", "-1", "3", "100000", "+1", "01", "1.5", "9223372036854775808"]),
    st.sampled_from(["9223372036854775807", "-9223372036854775808", "-0", " 1", "x", "$", "$\0"]),
    st.sampled_from(["-", "+", "(", "(1-0", "1-0", "2-0", "5", "9-9", "0-0", "1-", "1-*", "*"]),
    st.sampled_from(["18446744073709551615-18446744073709551615", "(0-0", "(0", "99999999999-0"]),
)
programs = st.lists(
    st.tuples(st.sampled_from(STARTS), st.sampled_from(HEADS), st.lists(words, max_size=7)).map(
        lambda parts: [word for part in parts for word in part]
    ),
    min_size=1,
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
def test_refusals(oracle: Client, program: list[list[str]]) -> None:
    node = Node(presents=servers.REDIS_8_VERSION)
    oracle.call("FLUSHALL")
    for command in (
        ["SET", "text", "x"],
        ["XADD", "s", "1-0", "f", "v"],
        ["XADD", "s", "2-0", "f", "v"],
        ["XADD", "s", "3-0", "f", "v"],
        ["XGROUP", "CREATE", "s", "g", "0"],
        ["XREADGROUP", "GROUP", "g", "c", "COUNT", "2", "STREAMS", "s", ">"],
        *program,
    ):
        compare(node, oracle, command)
    node.check()
