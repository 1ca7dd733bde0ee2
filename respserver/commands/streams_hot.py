"""Declarations of the verbs whose work is compiled: options, IDs and replies are the kernel's.

They stand in the same table as every other command; ``hot`` is the name under which the kernel
knows them.
"""

from __future__ import annotations

from respserver.keyspec import keys_after_streams, one_key
from respserver.spec import BLOCKING, DENYOOM, FAST, MOVABLEKEYS, READONLY, WRITE, declare

declare(
    "XADD",
    (
        "key [NOMKSTREAM@6.2.0] condition=[KEEPREF | DELREF | ACKED]@(8.2.0) "
        "idmp=[IDMPAUTO producer-id | IDMP "
        "idmp-block={producer-id idempotent-id}]@8.6.0 trim=[strategy=<MAXLEN"
        ' | MINID@6.2.0> operator=[equal="=" | approximately="~"] threshold [LIMIT '
        'count:integer@6.2.0]] id-selector=<auto-id="*" | id> data={field value}...'
    ),
    "Appends a new message to a stream. Creates the key if it doesn't exist.",
    arity=-5,
    flags=WRITE | DENYOOM | FAST,
    acl="stream",
    keys=one_key(
        "RW update", notes="UPDATE instead of INSERT because of the optional trimming feature"
    ),
    since="5.0.0",
    complexity=(
        "O(1) when adding a new entry, O(N) when trimming where N being the number of "
        "entries evicted."
    ),
    history=(
        (
            "6.2.0",
            ("Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
        ),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
        ("8.6.0", "Added the `IDMP` and `IDMPAUTO` options."),
    ),
    tips=("nondeterministic_output",),
    hot="XADD",
)

declare(
    "XREADGROUP",
    (
        "GROUP group-block={group consumer} [COUNT count:integer] "
        "[MAXCOUNT maxcount:integer@8.10.0] [MAXSIZE maxsize:integer@8.10.0] "
        "[BLOCK milliseconds:integer] [CLAIM min-idle-time:integer@8.4.0] [NOACK] "
        "STREAMS streams={key... id...}"
    ),
    (
        "Returns new or historical messages from a stream for a consumer in a group. Blocks"
        " until a message is available otherwise."
    ),
    arity=-7,
    flags=WRITE | BLOCKING | MOVABLEKEYS,
    acl="stream",
    keys=keys_after_streams("RO access", start=4),
    since="5.0.0",
    complexity=(
        "For each stream mentioned: O(M) with M being the number of elements returned. If M"
        " is constant (e.g. always asking for the first 10 elements with COUNT), you can "
        "consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N)"
        " time in order to serve the N clients blocked on the stream getting new data."
    ),
    history=(
        ("8.4.0", "Added the `CLAIM` option."),
        ("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),
    ),
    hot="XREADGROUP",
)

declare(
    "XREAD",
    (
        "[COUNT count:integer] [MAXCOUNT maxcount:integer@8.10.0] "
        "[MAXSIZE maxsize:integer@8.10.0] [BLOCK milliseconds:integer] "
        "STREAMS streams={key... id...}"
    ),
    (
        "Returns messages from multiple streams with IDs greater than the ones requested. "
        "Blocks until a message is available otherwise."
    ),
    arity=-4,
    flags=READONLY | BLOCKING | MOVABLEKEYS,
    acl="stream",
    keys=keys_after_streams("RO access", start=1),
    since="5.0.0",
    history=(("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),),
    hot="XREAD",
)

declare(
    "XACK",
    "key group id...",
    (
        "Returns the number of messages that were successfully acknowledged by the consumer"
        " group member of a stream."
    ),
    arity=-4,
    flags=WRITE | FAST,
    acl="stream",
    keys=one_key("RW update"),
    since="5.0.0",
    complexity="O(1) for each message ID processed.",
    hot="XACK",
)

declare(
    "XRANGE",
    "key start end [COUNT count:integer]",
    "Returns the messages from a stream within a range of IDs.",
    arity=-4,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access"),
    since="5.0.0",
    complexity=(
        "O(N) with N being the number of elements being returned. If N is constant (e.g. "
        "always asking for the first 10 elements with COUNT), you can consider it O(1)."
    ),
    history=(("6.2.0", "Added exclusive ranges."),),
    hot="XRANGE",
)

declare(
    "XREVRANGE",
    "key end start [COUNT count:integer]",
    "Returns the messages from a stream within a range of IDs in reverse order.",
    arity=-4,
    flags=READONLY,
    acl="stream",
    keys=one_key("RO access"),
    since="5.0.0",
    complexity=(
        "O(N) with N being the number of elements returned. If N is constant (e.g. always "
        "asking for the first 10 elements with COUNT), you can consider it O(1)."
    ),
    history=(("6.2.0", "Added exclusive ranges."),),
    hot="XREVRANGE",
)

declare(
    "XLEN",
    "key",
    "Return the number of messages in a stream.",
    arity=2,
    flags=READONLY | FAST,
    acl="stream",
    keys=one_key("RO"),
    since="5.0.0",
    complexity="O(1)",
    hot="XLEN",
)

declare(
    "PING",
    "[message]",
    "Returns the server's liveliness response.",
    arity=-1,
    flags=FAST,
    acl="connection",
    since="1.0.0",
    group="connection",
    complexity="O(1)",
    tips=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
    hot="PING",
)
