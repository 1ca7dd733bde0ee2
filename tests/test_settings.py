"""The table of settings: kinds, sources, precedence, refusals, live changes, the page."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from respserver.kinds import (
    Addresses,
    Choice,
    Integer,
    Limit,
    Memory,
    OutputLimits,
    Secret,
    Switch,
    Text,
    memory_bytes,
    memory_text,
)
from respserver.settings import (
    ALIASES,
    CONSTANTS,
    SETTINGS,
    Config,
    Setting,
    SettingsError,
    config_names,
    load,
)
from tests import servers

ROOT = Path(__file__).resolve().parent.parent
EVERY = pytest.mark.parametrize("known", SETTINGS.values(), ids=list(SETTINGS))

# For every setting a value that is not its default, as text, and one that is refused.
OTHER = {
    "bind": "0.0.0.0 ::1",
    "port": "7000",
    "tcp-backlog": "128",
    "tcp-keepalive": "60",
    "unixsocket": "/run/respq.sock",
    "unixsocketperm": "770",
    "timeout": "30",
    "maxclients": "5",
    "protected-mode": "no",
    "requirepass": "swordfish",
    "dir": "/srv/streams",
    "appendfsync": "everysec",
    "log-compression": "yes",
    "databases": "4",
    "memory-budget": "67108864",
    "redis-version": "8.2.3",
    "stream-node-max-bytes": "8192",
    "stream-node-max-entries": "7",
    "stream-idmp-duration": "86400",
    "stream-idmp-maxsize": "10000",
    "rdb-stream-type": "19",
    "notify-keyspace-events": "g$tKE",
    "busy-reply-threshold": "100",
    "tracking-table-max-keys": "5",
    "proto-max-bulk-len": "1048576",
    "client-query-buffer-limit": "2097152",
    "client-output-buffer-limit": "normal 1 2 3 slave 4 5 6 pubsub 7 8 9",
    "slowlog-log-slower-than": "-1",
    "slowlog-max-len": "1000",
    "latency-monitor-threshold": "100",
    "latency-tracking": "no",
    "latency-tracking-info-percentiles": "0 50.5 100",
    "enable-debug-command": "local",
}
BAD = {
    "bind": "",
    "port": "65536",
    "tcp-backlog": "0",
    "tcp-keepalive": "-1",
    "unixsocket": "two\nlines",
    "unixsocketperm": "888",
    "timeout": "ten",
    "maxclients": "0",
    "protected-mode": "maybe",
    "requirepass": "two\nlines",
    "dir": "",
    "appendfsync": "sometimes",
    "log-compression": "maybe",
    "databases": "0",
    "memory-budget": "1mb",
    "redis-version": "6.2.0",
    "stream-node-max-bytes": "many",
    "stream-node-max-entries": "1.5",
    "stream-idmp-duration": "86401",
    "stream-idmp-maxsize": "0",
    "rdb-stream-type": "26",
    "notify-keyspace-events": "KEq",
    "busy-reply-threshold": "soon",
    "tracking-table-max-keys": "many",
    "proto-max-bulk-len": "1023kb",
    "client-query-buffer-limit": "-1",
    "client-output-buffer-limit": "normal 1 2",
    "slowlog-log-slower-than": "-2",
    "slowlog-max-len": "-1",
    "latency-monitor-threshold": "-1",
    "latency-tracking": "sometimes",
    "latency-tracking-info-percentiles": "50 100.5",
    "enable-debug-command": "here",
}


@EVERY
def test_default_survives_printing(known: Setting) -> None:
    assert known.kind.parse(known.kind.show(known.default), known.default) == known.default or (
        known.name == "dir"  # shown from the root
    )
    assert known.kind.parse(known.kind.example(known.default), known.default) == known.default
    assert getattr(Config(), known.attribute) == known.default


@EVERY
def test_flag_beats_environment_beats_file(known: Setting, tmp_path: Path) -> None:
    file = tmp_path / "respq.toml"
    text, default = OTHER[known.name], known.kind.example(known.default)
    other = known.kind.parse(text, known.default)
    assert other != known.default
    file.write_text(f"{known.name} = {toml(text)}\n")
    found = load(file=file)
    assert getattr(found, known.attribute) == other
    assert found.shown(known.name) == text
    found = load(file=file, environment={known.variable: default, "PATH": "/bin"})
    assert getattr(found, known.attribute) == known.default
    found = load(file=file, environment={known.variable: default}, flags={known.name: text})
    assert getattr(found, known.attribute) == other


def toml(text: str) -> str:
    """``text`` as a TOML string."""
    return '"' + text.replace("\n", "\\n") + '"'


@EVERY
def test_bad_value_is_refused_wherever_it_stands(known: Setting, tmp_path: Path) -> None:
    bad, good = BAD[known.name], OTHER[known.name]
    file = tmp_path / "respq.toml"
    file.write_text(f"{known.name} = {toml(bad)}\n")
    with pytest.raises(SettingsError) as refused:
        load(file=file, flags={known.name: good})
    assert str(refused.value).startswith(f"setting '{known.name}' in file {file}: ")
    with pytest.raises(SettingsError) as refused:
        load(environment={known.variable: bad}, flags={known.name: good})
    assert str(refused.value).startswith(
        f"setting '{known.name}' in the environment ({known.variable}): "
    )
    with pytest.raises(SettingsError) as refused:
        load(flags={known.name: bad})
    assert str(refused.value).startswith(f"setting '{known.name}' in flag --{known.name}: ")
    assert "\n" not in str(refused.value)


def test_the_samples_above_cover_the_table() -> None:
    assert list(OTHER) == list(BAD) == list(SETTINGS)
    assert not set(CONSTANTS) & set(SETTINGS)


def test_the_url_of_the_other_commands_is_no_setting() -> None:
    assert load(environment={"RESPQ_URL": "redis://localhost"}) == Config()


def test_unknown_names_are_refused_with_the_one_meant(tmp_path: Path) -> None:
    file = tmp_path / "respq.toml"
    file.write_text("apendfsync = 'always'\n")
    with pytest.raises(SettingsError) as refused:
        load(file=file)
    assert str(refused.value) == (
        f"unknown setting 'apendfsync' in file {file}; did you mean 'appendfsync'?"
    )
    with pytest.raises(SettingsError) as refused:
        load(environment={"RESPQ_POTR": "1", "RESPQ_URL": "redis://localhost"})
    assert str(refused.value) == (
        "unknown setting 'RESPQ_POTR' in the environment; did you mean 'RESPQ_PORT'?"
    )
    with pytest.raises(SettingsError) as refused:
        load(flags={"zzz": "1"})
    assert str(refused.value) == "unknown setting 'zzz' in the flags"
    file.write_text("[network]\nport = 1\n")
    with pytest.raises(SettingsError, match="unknown setting 'network'"):
        load(file=file)
    file.write_text("save = ''\n")
    with pytest.raises(SettingsError, match="unknown setting 'save'"):
        load(file=file)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    file = tmp_path / "respq.toml"
    with pytest.raises(SettingsError, match=r"respq\.toml: No such file or directory"):
        load(file=file)
    file.write_text("port = \n")
    with pytest.raises(SettingsError, match=r"respq\.toml: Invalid value \(at line 1"):
        load(file=file)
    file.write_bytes(b"dir = '\xff'\n")
    with pytest.raises(SettingsError, match=r"respq\.toml is not UTF-8"):
        load(file=file)


def test_toml_values_of_their_own_types(tmp_path: Path) -> None:
    file = tmp_path / "respq.toml"
    file.write_text("port = 0\nprotected-mode = false\nbind = ['::1', '127.0.0.1']\n")
    found = load(file=file)
    assert (found.port, found.protected_mode, found.bind) == (0, False, ("::1", "127.0.0.1"))
    for bad in ("1.5", "1979-05-27", "[1, 2]", "{ a = 1 }"):
        file.write_text(f"port = {bad}\n")
        with pytest.raises(SettingsError, match="setting 'port' in file .*: argument must be a st"):
            load(file=file)


def test_secrets_are_not_shown() -> None:
    found = load(flags={"requirepass": "swordfish"})
    assert found.shown("requirepass") == found.requirepass == "swordfish"
    assert "swordfish" not in repr(found)
    with pytest.raises(SettingsError) as refused:
        load(flags={"requirepass": "sword\nfish"})
    assert "fish" not in str(refused.value)


def test_config_does_not_change_but_by_apply_live() -> None:
    config = Config(port=1)
    with pytest.raises(FrozenInstanceError):
        config.port = 2  # type: ignore[misc]
    with pytest.raises(ValueError, match="^can't set immutable config$"):
        config.apply_live("port", "2")
    with pytest.raises(KeyError):
        config.apply_live("no-such", "2")
    assert config == Config(port=1)


@EVERY
def test_live_settings_change_whole_or_not_at_all(known: Setting) -> None:
    config = Config()
    if not known.live:
        with pytest.raises(ValueError, match="^can't set immutable config$"):
            config.apply_live(known.name, OTHER[known.name])
        assert config == Config()
        return
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        config.apply_live(known.name, BAD[known.name])
    assert config == Config()
    config.check_live(known.name, OTHER[known.name])
    assert config == Config()
    config.apply_live(known.name, OTHER[known.name])
    assert config.shown(known.name) == OTHER[known.name]
    changed = {known.attribute: getattr(config, known.attribute)}
    assert config == Config(**changed)


def test_constants_accept_the_value_they_have() -> None:
    config = Config()
    for name, value in CONSTANTS.items():
        assert config.shown(name) == value
        config.apply_live(name, value.upper())
        with pytest.raises(ValueError, match="^can't set immutable config$"):
            config.apply_live(name, "3600 1")
    assert config == Config()
    assert config_names() == sorted({*SETTINGS, *CONSTANTS, *ALIASES})


def test_output_limits_change_by_class() -> None:
    config = Config()
    config.apply_live("client-output-buffer-limit", "REPLICA 1kb 2k 3 normal 1b 0 0")
    assert config.client_output_buffer_limit == {
        "normal": Limit(1, 0, 0),
        "slave": Limit(1024, 2000, 3),
        "pubsub": Limit(33554432, 8388608, 60),
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("10", 10),
        ("10b", 10),
        ("3k", 3000),
        ("3kb", 3072),
        ("3KB", 3072),
        ("2m", 2000000),
        ("2mB", 2097152),
        ("1g", 10**9),
        ("1gb", 1 << 30),
        ("", None),
        ("kb", None),
        ("-1", None),
        ("1 kb", None),
        ("1tb", None),
        ("1.5gb", None),
        ("99999999999999999999", None),
    ],
)
def test_memory_sizes(text: str, size: int | None) -> None:
    assert memory_bytes(text) == size


def test_memory_text_is_the_shortest() -> None:
    for size, text in [(0, "0"), (1023, "1023"), (1024, "1kb"), (1536, "1536"), (1 << 31, "2gb")]:
        assert memory_text(size) == text
        assert memory_bytes(text) == size


def test_kinds_refuse_in_redis_words() -> None:
    for kind, text, words in [
        (Switch(), "1", "argument must be 'yes' or 'no'"),
        (Integer(0, 9), "10", "argument must be between 0 and 9 inclusive"),
        (Integer(0, 9), "", "argument couldn't be parsed into an integer"),
        (Integer(0, 9), "+1", "argument couldn't be parsed into an integer"),
        (Integer(0, 9), "01", "argument couldn't be parsed into an integer"),
        (Integer(0, 9), "-0", "argument couldn't be parsed into an integer"),
        (Integer(0, 9), " 1", "argument couldn't be parsed into an integer"),
        (Integer(0, 9), "\u0661", "argument couldn't be parsed into an integer"),
        (Memory(), "1x", "argument must be a memory value"),
        (Memory(4), "3b", "argument must be between 4 and 9223372036854775807 inclusive"),
        (Choice("a", "b"), "c", "argument(s) must be one of the following: a, b"),
        (Text(empty=False), "", "argument must not be empty"),
        (Secret(), "a\0b", "argument must not contain line breaks or NUL"),
        (Text(), b"\xff".decode(errors="surrogateescape"), "argument must be UTF-8"),
        (Addresses(), "127.0.0.1 -", "argument must name at least one address"),
        (Addresses(), "a " * 17, "Too many bind addresses specified."),
        (
            OutputLimits(),
            "normal 0 0",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            OutputLimits(),
            "mine 0 0 0",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            OutputLimits(),
            "normal 0 0 -1",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
    ]:
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the words are compared below
            kind.parse(text, {})  # type: ignore[attr-defined]
        assert str(refused.value) == words


def test_redis_uses_the_same_words_and_prints_alike(tmp_path: Path) -> None:
    """CONFIG GET and SET of a real redis-server for every live setting that both have."""
    config = Config()
    compared = 0
    with servers.redis(tmp_path / "redis", 8) as server, server.connect() as client:
        for known in SETTINGS.values():
            if not known.live or not client.call("CONFIG", "GET", known.name):
                continue
            reply = client.raw("CONFIG", "SET", known.name, OTHER[known.name])
            assert reply == b"+OK\r\n"
            config.apply_live(known.name, OTHER[known.name])
            printed = client.call("CONFIG", "GET", known.name)[1]
            assert printed == config.shown(known.name).encode()
            if known.kind.secret:
                client.call("CONFIG", "SET", known.name, "")
                continue
            with pytest.raises(ValueError, match=".") as refused:
                config.apply_live(known.name, BAD[known.name])
            reply = client.raw("CONFIG", "SET", known.name, BAD[known.name])
            assert reply.decode() == (
                f"-ERR CONFIG SET failed (possibly related to argument '{known.name}')"
                f" - {refused.value}\r\n"
            )
            compared += 1
    assert compared >= 9


@EVERY
def test_every_setting_is_read_by_the_server(known: Setting) -> None:
    """A setting that nobody reads would be a promise that is not kept."""
    read = re.compile(rf"(?:\b|_)config\.{known.attribute}\b")
    sources = [file for file in (ROOT / "respserver").rglob("*.py") if file.name != "settings.py"]
    assert any(read.search(file.read_text()) for file in sources)
