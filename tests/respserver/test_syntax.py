from __future__ import annotations

from random import Random

import pytest

from respserver.syntax import Argument, arity, example, parse


def token(name: str, text: str, *, optional: bool = False) -> Argument:
    return Argument(name, "pure-token", display=name, token=text, optional=optional)


def test_words_are_values_and_key_is_a_key() -> None:
    assert parse("key group id...") == (
        Argument("key", "key", display="key"),
        Argument("group", "string", display="group"),
        Argument("id", "string", display="id", multiple=True),
    )


def test_types_versions_and_display_texts() -> None:
    assert parse("entriesread(entries-read):integer@7.0.0 old(ip:port)!2.8.12 at:unix-time") == (
        Argument("entriesread", "integer", display="entries-read", since="7.0.0"),
        Argument("old", "string", display="ip:port", deprecated_since="2.8.12"),
        Argument("at", "unix-time", display="at"),
    )


def test_a_token_takes_along_what_stands_behind_it() -> None:
    assert parse("COUNT count:integer [JUSTID] [LIMIT count:integer@6.2.0]") == (
        Argument("count", "integer", display="count", token="COUNT"),
        token("justid", "JUSTID", optional=True),
        Argument("count", "integer", display="count", token="LIMIT", since="6.2.0", optional=True),
    )


def test_a_token_leaves_alone_what_may_be_left_out() -> None:
    assert parse("full-block=[FULL [COUNT count:integer]]") == (
        Argument(
            "full-block",
            "block",
            optional=True,
            arguments=(
                token("full", "FULL"),
                Argument("count", "integer", display="count", token="COUNT", optional=True),
            ),
        ),
    )


def test_choices_and_blocks() -> None:
    assert parse('trim=[strategy=<MAXLEN | MINID> operator=["=" | almost="~"] threshold]') == (
        Argument(
            "trim",
            "block",
            optional=True,
            arguments=(
                Argument(
                    "strategy",
                    "oneof",
                    arguments=(token("maxlen", "MAXLEN"), token("minid", "MINID")),
                ),
                Argument(
                    "operator",
                    "oneof",
                    optional=True,
                    arguments=(token("=", "="), token("almost", "~")),
                ),
                Argument("threshold", "string", display="threshold"),
            ),
        ),
    )
    assert parse("STREAMS streams={key... id...}") == (
        Argument(
            "streams",
            "block",
            token="STREAMS",
            arguments=(
                Argument("key", "key", display="key", multiple=True),
                Argument("id", "string", display="id", multiple=True),
            ),
        ),
    )


def test_a_token_may_be_repeated_with_its_value() -> None:
    (found,) = parse("[PREFIX prefix...+]")
    assert found == Argument(
        "prefix",
        "string",
        display="prefix",
        token="PREFIX",
        optional=True,
        multiple=True,
        multiple_token=True,
    )


@pytest.mark.parametrize(
    "line", ["[key", "key]", "<a | >", "a | b", "[]", "key ; id", "COUNT count:", "a@x", "{a"]
)
def test_what_is_no_syntax_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="in "):
        parse(line)


@pytest.mark.parametrize(
    ("line", "least", "fixed"),
    [
        ("", 0, True),
        ("key", 1, True),
        ("key id...", 2, False),
        ("key [COUNT count]", 1, False),
        ("GROUP g={group consumer} STREAMS s={key... id...}", 6, False),
        ("<ON | OFF>", 1, True),
        ("<LIB-NAME name | LIB-VER version>", 2, True),
        ("<a | pair={b c}>", 1, False),
        ("TO {host port}", 3, True),
    ],
)
def test_arity_of_a_line(line: str, least: int, fixed: bool) -> None:
    assert arity(parse(line)) == (least, fixed)


def test_examples_obey_the_line() -> None:
    arguments = parse("GROUP g={group consumer} [COUNT count:integer] STREAMS s={key... id...}")
    seen = set()
    for seed in range(200):
        words = example(arguments, Random(seed))
        assert words[0] == b"GROUP"
        rest = words[3:]
        if rest[0] == b"COUNT":
            assert rest[1].isdigit()
            rest = rest[2:]
        assert rest[0] == b"STREAMS"
        keys, ids = rest[1 : 1 + len(rest) // 2], rest[1 + len(rest) // 2 :]
        assert len(keys) == len(ids) > 0
        seen.add((len(keys), words[3] == b"COUNT"))
    assert seen == {(n, counted) for n in (1, 2, 3) for counted in (True, False)}


def test_repeated_tokens_in_examples() -> None:
    arguments = parse("[PREFIX prefix...+] [ID id...]")
    seen = {tuple(example(arguments, Random(seed), lambda *_: b"v")) for seed in range(200)}
    assert (b"PREFIX", b"v", b"PREFIX", b"v", b"ID", b"v", b"v") in seen
    assert () in seen
