"""What the machine of differences (test_machine.py) draws its commands from.

``near`` are the last IDs that were added: IDs in arguments are drawn so that they meet them.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

IDLE_MS = 1_000_000  # far from the milliseconds that pass between two steps

Words = list[bytes]

keys = st.sampled_from([b"s", b"s", b"s", b"s", b"t", b"u"])
groups = st.sampled_from([b"g", b"g", b"g", b"h"])
consumers = st.sampled_from([b"c1", b"c2", b"c3"])
counts = st.sampled_from([b"1", b"2", b"3", b"5", b"100", b"0", b"-1"])


def numbers(low: int, high: int) -> st.SearchStrategy[bytes]:
    return st.integers(low, high).map(lambda n: b"%d" % n)


@st.composite
def ids(draw: st.DrawFn, near: Words) -> bytes:
    """An ID that is likely in a stream, given the last IDs that were added."""
    form = draw(st.sampled_from(["old"] * 7 + ["seq", "seq", "ms", "big"]))
    if form == "old":
        return draw(st.sampled_from(near))
    ms = max(0, int(near[-1].split(b"-")[0]) - draw(st.integers(-1, 12)))
    if form == "ms":
        return b"%d" % ms
    if form == "big":
        return draw(st.sampled_from([b"0-0", b"0-1", b"99999-0", b"18446744073709551615-1"]))
    return b"%d-%d" % (ms, draw(st.sampled_from([0, 1, 2, 5])))


def starts(near: Words) -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(b"-"), st.just(b"-"), ids(near), ids(near).map(lambda x: b"(" + x))


def ends(near: Words) -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(b"+"), st.just(b"+"), ids(near), ids(near).map(lambda x: b"(" + x))


def id_lists(near: Words) -> st.SearchStrategy[Words]:
    return st.lists(ids(near), min_size=1, max_size=6)


wrong_words = st.sampled_from(
    [b"", b"x", b"-1", b"+", b"-", b"$", b">", b"*", b"1-1-1", b"COUNT", b"STREAMS", b"9" * 20]
)


references: st.SearchStrategy[Words] = st.sampled_from(
    [[], [], [b"KEEPREF"], [b"DELREF"], [b"DELREF"], [b"ACKED"], [b"ACKED"], [b"ACKED"]]
)


@st.composite
def deletions(draw: st.DrawFn, near: Words) -> Words:
    """XDELEX and XACKDEL: what becomes of references before or behind the IDs."""
    words = [b"XDELEX", draw(keys)]
    if draw(st.booleans()):
        words = [b"XACKDEL", draw(keys), draw(groups)]
    some = draw(id_lists(near))
    counted = [b"IDS", b"%d" % len(some), *some]
    condition = draw(references)
    return [*words, *condition, *counted] if draw(st.booleans()) else [*words, *counted, *condition]


@st.composite
def trims(draw: st.DrawFn, near: Words) -> Words:
    """The trimming options of XADD and XTRIM."""
    how = draw(st.sampled_from([b"MAXLEN", b"MINID"]))
    operator = draw(st.sampled_from([b"~", b"~", b"=", b""]))
    words = [how] if operator == b"" else [how, operator]
    words.append(draw(numbers(0, 30) if how == b"MAXLEN" else ids(near)))
    if operator == b"~" and draw(st.booleans()):
        words += [b"LIMIT", draw(st.sampled_from([b"0", b"1", b"3", b"5", b"10", b"50"]))]
    if operator != b"~":  # there 8.2.3 deletes nothing
        words += draw(references)
    return words


@st.composite
def claims(draw: st.DrawFn, near: Words) -> Words:
    """XCLAIM with its options in any order."""
    words = [b"XCLAIM", draw(keys), draw(groups), draw(consumers)]
    words.append(draw(st.sampled_from([b"0", b"0", b"%d" % IDLE_MS, b"%d" % (2 * IDLE_MS)])))
    words += draw(id_lists(near))
    options: list[Words] = [
        [b"IDLE", draw(st.sampled_from([b"0", b"%d" % IDLE_MS, b"%d" % (3 * IDLE_MS)]))],
        [b"TIME", draw(st.sampled_from([b"1000", b"0", b"-1", b"99999999999999"]))],
        [b"RETRYCOUNT", draw(numbers(0, 9))],
        [b"FORCE"],
        [b"JUSTID"],
        [b"LASTID", draw(ids(near))],
    ]
    for option in draw(st.lists(st.sampled_from(options), max_size=4)):
        words += option
    return words


@st.composite
def pendings(draw: st.DrawFn, near: Words) -> Words:
    words = [b"XPENDING", draw(keys), draw(groups)]
    if draw(st.booleans()):
        if draw(st.booleans()):
            words += [b"IDLE", draw(st.sampled_from([b"0", b"%d" % IDLE_MS]))]
        words += [draw(starts(near)), draw(ends(near)), draw(counts)]
        if draw(st.booleans()):
            words.append(draw(consumers))
    return words


@st.composite
def infos(draw: st.DrawFn) -> Words:
    form = draw(st.sampled_from(["stream", "full", "groups", "consumers"]))
    key = draw(keys)
    if form == "stream":
        return [b"XINFO", b"STREAM", key]
    if form == "full":
        words = [b"XINFO", b"STREAM", key, b"FULL"]
        return words + draw(st.sampled_from([[], [b"COUNT", b"0"], [b"COUNT", b"2"]]))
    if form == "groups":
        return [b"XINFO", b"GROUPS", key]
    return [b"XINFO", b"CONSUMERS", key, draw(groups)]


@st.composite
def reads(draw: st.DrawFn, near: Words, *, blocking: bool) -> Words:
    """XREAD or XREADGROUP of one to three streams."""
    by_group = draw(st.sampled_from([True, True, False]))
    words = [b"XREADGROUP", b"GROUP", draw(groups), draw(consumers)] if by_group else [b"XREAD"]
    if draw(st.booleans()):
        words += [b"COUNT", draw(counts)]
    if blocking:
        words += [b"BLOCK", b"0"]
    if by_group and draw(st.sampled_from([True, False, False])):
        words.append(b"NOACK")
    names = draw(st.lists(keys, min_size=1, max_size=2))
    if blocking:
        asked = st.just(b">") if by_group else st.sampled_from([b"$", b"$", b"+"])
    elif by_group:
        asked = st.one_of(st.just(b">"), st.just(b">"), st.just(b"0"), ids(near))
    else:
        asked = st.one_of(st.just(b"0"), ids(near), st.just(b"+"))
    return [*words, b"STREAMS", *names, *(draw(asked) for _ in names)]


@st.composite
def simple_commands(draw: st.DrawFn, near: Words) -> Words:
    """Any command that does not wait and whose IDs are explicit."""
    key, group, consumer = draw(keys), draw(groups), draw(consumers)
    forms: list[Callable[[], Words]] = [
        lambda: [b"XLEN", key],
        lambda: [b"XRANGE", key, draw(starts(near)), draw(ends(near)), *draw(count_options)],
        lambda: [b"XREVRANGE", key, draw(ends(near)), draw(starts(near)), *draw(count_options)],
        lambda: draw(reads(near, blocking=False)),
        lambda: [b"XACK", key, group, *draw(id_lists(near))],
        lambda: draw(claims(near)),
        lambda: [
            *(b"XAUTOCLAIM", key, group, consumer),
            draw(st.sampled_from([b"0", b"%d" % IDLE_MS])),
            draw(starts(near)),
            *draw(st.sampled_from([[], [b"COUNT", b"1"], [b"COUNT", b"3"], [b"JUSTID"]])),
        ],
        lambda: draw(pendings(near)),
        lambda: [b"XDEL", key, *draw(id_lists(near))],
        lambda: [b"XTRIM", key, *draw(trims(near))],
        lambda: draw(deletions(near)),
        lambda: draw(deletions(near)),
        lambda: [b"XSETID", key, draw(ids(near)), *draw(setid_options)],
        lambda: [b"XGROUP", b"CREATE", key, group, draw(st.sampled_from([b"0", b"$", b"5"]))],
        lambda: [
            *(b"XGROUP", b"SETID", key, group, draw(st.sampled_from([b"0", b"$", b"-", b"3-0"]))),
            *draw(st.sampled_from([[], [b"ENTRIESREAD", b"3"], [b"ENTRIESREAD", b"-1"]])),
        ],
        lambda: [b"XGROUP", b"CREATECONSUMER", key, group, consumer],
        lambda: [b"XGROUP", b"DELCONSUMER", key, group, consumer],
        lambda: draw(infos()),
        lambda: [b"EXISTS", key],
        lambda: [b"TYPE", key],
    ]
    return draw(st.sampled_from(forms))()


losses = st.sampled_from(
    ["nothing"] * 8
    + ["group", "group", "delete", "string", "flush", "other database", "future"]
    + ["rename", "copy", "copy", "expire", "swap"]
)
count_options: st.SearchStrategy[Words] = st.one_of(
    st.just([]), counts.map(lambda n: [b"COUNT", n])
)
setid_options: st.SearchStrategy[Words] = st.sampled_from(
    [[], [b"ENTRIESADDED", b"50"], [b"MAXDELETEDID", b"4-0"], [b"ENTRIESADDED", b"1"]]
)
