"""Every setting of the server, once.

The fields of ``Config`` are the table. File keys, ``RESPQ_*`` variables, flags of ``respq serve``,
CONFIG GET and SET and docs/settings.md are all made from it: to add a setting, add a field.
Names follow Redis where Redis has the setting; a field ``tcp_backlog`` is the setting
``tcp-backlog`` and the variable ``RESPQ_TCP_BACKLOG``.

Rules: a setting comes from the file, or stronger from the environment, or strongest from a flag.
An unknown name or a bad value refuses to start, naming the setting and where it was found.
Outside of ``apply_live`` a ``Config`` never changes; whoever needs a live setting reads it here
when it is needed and keeps no copy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from respserver.kinds import (
    INT64_MAX,
    Addresses,
    Choice,
    Directory,
    EventClasses,
    Integer,
    Kind,
    Limit,
    Limits,
    Memory,
    Octal,
    OutputLimits,
    Percentiles,
    RedisVersion,
    Secret,
    Switch,
    Text,
)
from respserver.version import DEFAULT_VERSION, NEWEST, level_of

ENVIRONMENT_PREFIX: Final = "RESPQ_"
OF_CLIENTS: Final = "RESPQ_URL"  # where the other commands find the server: no setting of it
KB: Final = 1 << 10
MB: Final = 1 << 20
GB: Final = 1 << 30
INT32_MAX: Final = (1 << 31) - 1
UINT32_MAX: Final = (1 << 32) - 1

T = TypeVar("T")


class SettingsError(Exception):
    """The settings do not let the server start. The message is one line that names the setting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting."""

    name: str
    attribute: str
    kind: Kind[Any]
    default: Any
    live: bool
    group: str
    doc: str
    since: str
    """The version of Redis that it came with, if that is later than the oldest."""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.attribute.upper()


def setting(
    kind: Kind[T], default: T, group: str, doc: str, *, live: bool = False, since: str = ""
) -> T:
    """A field of ``Config``. ``live``: CONFIG SET may change it while the server runs; ``since``:
    CONFIG of a server that presents an older version does not know it.
    """
    about = {
        "kind": kind,
        "default": default,
        "group": group,
        "doc": doc,
        "live": live,
        "since": since,
    }
    made: T = field(default_factory=lambda: default, metadata=about, repr=not kind.secret)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings in force."""

    file: Path | None = field(default=None, compare=False)
    """The file they came from, if there was one; no setting itself."""
    bind: tuple[str, ...] = setting(
        Addresses(), ("127.0.0.1", "-::1"), "network", "Addresses to listen on."
    )
    port: int = setting(
        Integer(0, 65535),
        6379,
        "network",
        "TCP port to listen on; 0 takes a free one, which the start-up line names.",
    )
    tcp_backlog: int = setting(
        Integer(1, INT32_MAX), 511, "network", "Connections the kernel may hold before accept."
    )
    tcp_keepalive: int = setting(
        Integer(0, INT32_MAX),
        300,
        "network",
        "Seconds of silence before a client's connection is probed; 0 is never.",
        live=True,
    )
    unixsocket: str = setting(
        Text(),
        "",
        "network",
        "Path of a Unix socket to listen on, too; empty is none.",
    )
    unixsocketperm: int = setting(
        Octal(),
        0,
        "network",
        "Permissions of that socket's file; 0 leaves them to the process' umask.",
    )
    timeout: int = setting(
        Integer(0, INT32_MAX),
        0,
        "network",
        "Seconds after which an idle client is closed; 0 is never. Blocked clients are not idle.",
        live=True,
    )
    maxclients: int = setting(
        Integer(1, UINT32_MAX),
        10000,
        "network",
        "Clients that may be connected at once.",
        live=True,
    )
    protected_mode: bool = setting(
        Switch(),
        True,
        "network",
        "Without a password, serve no clients from other machines.",
        live=True,
    )
    requirepass: str = setting(
        Secret(),
        "",
        "network",
        "Password that clients give with AUTH or HELLO; empty asks for none. Set it in the file or "
        "the environment: other users of the machine can read flags.",
        live=True,
    )
    dir: str = setting(
        Directory(empty=False),
        "./respq-data",
        "data",
        "Directory of all data; made if it is missing.",
    )
    appendfsync: str = setting(
        Choice("everysec", "always", "no"),
        "always",
        "data",
        "When the log reaches the disk. `always`: no reply leaves before what it tells is on "
        "disk. `everysec`: a crash of the machine may take the last second. `no`: when the "
        "operating system pleases. A crash of the server alone loses nothing in any of them.",
        live=True,
    )
    log_compression: bool = setting(
        Switch(),
        False,
        "data",
        "Compress what is written to the log together, where it is a kilobyte or more: less is "
        "written, at a third of a microsecond or more for each entry.",
    )
    databases: int = setting(
        Integer(1, INT32_MAX), 16, "data", "Number of databases that SELECT can choose."
    )
    memory_budget: int = setting(
        Memory(32 * MB),
        192 * MB,
        "data",
        "Memory for open streams, entries not flushed yet and cached blocks together.",
    )
    redis_version: str = setting(
        RedisVersion(),
        DEFAULT_VERSION,
        "streams",
        "The version of Redis that is presented; commands, options and fields that it lacked are "
        "hidden.",
    )
    stream_node_max_bytes: int = setting(
        Memory(),
        4 * KB,
        "streams",
        "Bytes after which the node of a stream is closed, as XTRIM with `~` sees it; 0 is never.",
        live=True,
    )
    stream_node_max_entries: int = setting(
        Integer(0, INT64_MAX),
        100,
        "streams",
        "Entries after which the node of a stream is closed, as XTRIM with `~` sees it; 0 is "
        "never.",
        live=True,
    )
    stream_idmp_duration: int = setting(
        Integer(1, 86400),
        100,
        "streams",
        "Seconds for which a new stream remembers the idempotent IDs of XADD with IDMP; XCFGSET "
        "changes it for one stream.",
        live=True,
        since="8.6.0",
    )
    stream_idmp_maxsize: int = setting(
        Integer(1, 10000),
        100,
        "streams",
        "How many idempotent IDs of one producer a new stream remembers; XCFGSET changes it for "
        "one stream.",
        live=True,
        since="8.6.0",
    )
    rdb_stream_type: str = setting(
        Choice("21", "19", "15"),
        "21",
        "streams",
        "How DUMP writes streams: `21` for Redis 7.2 and newer and for Valkey, `19` for Redis 7.0, "
        "`15` for Redis 5 and 6.",
        live=True,
    )
    notify_keyspace_events: str = setting(
        EventClasses(),
        "",
        "streams",
        "Which events of keys are published: `K` on channels of keys, `E` on channels of events, "
        "and the classes of events; `t` are those of streams, `g` those of any key, `A` nearly "
        "all. Empty publishes none.",
        live=True,
    )
    busy_reply_threshold: int = setting(
        Integer(0, INT64_MAX),
        5000,
        "limits",
        "Milliseconds after which a script lets other clients be answered, with BUSY, so that "
        "SCRIPT KILL may end it; 0 is never.",
        live=True,
    )
    tracking_table_max_keys: int = setting(
        Integer(0, INT64_MAX),
        1_000_000,
        "limits",
        "Keys remembered for CLIENT TRACKING; beyond them clients are told as if the oldest had "
        "changed. 0 is any number.",
        live=True,
    )
    proto_max_bulk_len: int = setting(
        Memory(MB), 512 * MB, "limits", "The longest argument that a client may send.", live=True
    )
    client_query_buffer_limit: int = setting(
        Memory(MB),
        GB,
        "limits",
        "Bytes of input not executed yet that a client may have; beyond them it is closed.",
        live=True,
    )
    client_output_buffer_limit: Limits = setting(
        OutputLimits(),
        {
            "normal": Limit(0, 0, 0),
            "slave": Limit(256 * MB, 64 * MB, 60),
            "pubsub": Limit(32 * MB, 8 * MB, 60),
        },
        "limits",
        "When a client that does not read its replies is closed: at `hard` bytes, or after "
        "`seconds` above `soft` bytes; 0 is never.",
        live=True,
    )

    slowlog_log_slower_than: int = setting(
        Integer(-1, INT64_MAX),
        10000,
        "watching",
        "Microseconds after which a command comes into the slow log; 0 is every command, -1 none.",
        live=True,
    )
    slowlog_max_len: int = setting(
        Integer(0, INT64_MAX), 128, "watching", "Commands that the slow log keeps.", live=True
    )
    latency_monitor_threshold: int = setting(
        Integer(0, INT64_MAX),
        0,
        "watching",
        "Milliseconds from which on LATENCY keeps what held the server up; 0 keeps nothing.",
        live=True,
    )
    latency_tracking: bool = setting(
        Switch(),
        True,
        "watching",
        "Whether INFO shows percentiles of how long each command takes.",
        live=True,
    )
    latency_tracking_info_percentiles: tuple[float, ...] = setting(
        Percentiles(), (50.0, 99.0, 99.9), "watching", "Which percentiles.", live=True
    )
    enable_debug_command: str = setting(
        Choice("no", "yes", "local"),
        "no",
        "watching",
        "Who may call DEBUG: nobody, everybody, or clients of this machine.",
    )

    def shown(self, name: str) -> str:
        """The value of a setting as CONFIG GET prints it. Raises KeyError for an unknown name."""
        if name in CONSTANTS:
            return CONSTANTS[name]
        known = SETTINGS[ALIASES.get(name, name)]
        return known.kind.show(getattr(self, known.attribute))

    def check_live(self, name: str, text: str) -> Any:
        """The value that CONFIG SET would set.

        Raises KeyError for an unknown name, and ValueError with Redis' words where the setting
        cannot change or cannot take that value.
        """
        if name in CONSTANTS:
            if text.lower() != CONSTANTS[name]:
                raise ValueError("can't set immutable config")
            return text.lower()
        known = SETTINGS[ALIASES.get(name, name)]
        if not known.live:
            raise ValueError("can't set immutable config")
        return known.kind.parse(text, getattr(self, known.attribute))

    def apply_live(self, name: str, text: str) -> None:
        """Change one setting while the server runs. Raises as ``check_live``, changing nothing."""
        value = self.check_live(name, text)
        if name not in CONSTANTS:
            object.__setattr__(self, SETTINGS[ALIASES.get(name, name)].attribute, value)


def _table() -> dict[str, Setting]:
    """The fields of ``Config`` by the names of their settings."""
    named = {}
    for made in fields(Config):
        if not made.metadata:
            continue
        name = made.name.replace("_", "-")
        about = made.metadata
        named[name] = Setting(
            name,
            made.name,
            about["kind"],
            about["default"],
            about["live"],
            about["group"],
            about["doc"],
            about["since"],
        )
    return named


SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType(_table())

# Redis' settings that clients and tools read and that have one value here. CONFIG GET answers them;
# CONFIG SET accepts the value they have; nothing else knows them.
CONSTANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "appendonly": "yes",
        "cluster-enabled": "no",
        "loglevel": "notice",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
)


# Older names by which CONFIG knows a setting, too.
ALIASES: Final[Mapping[str, str]] = MappingProxyType({"lua-time-limit": "busy-reply-threshold"})


def config_names(level: int = NEWEST) -> list[str]:
    """Every name that CONFIG of the version of that level knows, in order of the alphabet."""
    known = (name for name, one in SETTINGS.items() if level_of(one.since or "0.0") <= level)
    return sorted([*known, *CONSTANTS, *ALIASES])


def _unknown(name: str, known: Sequence[str], where: str) -> SettingsError:
    """An unknown name, and the one that was perhaps meant."""
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return SettingsError(f"unknown setting '{name}' in {where}{hint}")


def toml_text(value: object) -> str:
    """A TOML value as the text that every other source would carry. Raises ValueError."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    raise ValueError("argument must be a string, an integer, a boolean or a list of strings")


def read_file(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, names checked, values as TOML has them. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"cannot read settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"settings file {path} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {path}: {error}") from error
    for name in found:
        if name not in SETTINGS:
            raise _unknown(name, list(SETTINGS), f"file {path}")
    return found


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of the ``RESPQ_*`` variables. Raises SettingsError."""
    variables = {known.variable: known.name for known in SETTINGS.values()}
    found = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == OF_CLIENTS:
            continue
        if variable not in variables:
            raise _unknown(variable, list(variables), "the environment")
        found[variables[variable]] = text
    return found


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Config:
    """The settings to start with. Raises SettingsError.

    ``flags`` are by name of setting. Every source is checked whole, so that a bad value does not
    hide behind a stronger source.
    """
    values: dict[str, Any] = {"file": file}

    def take(name: str, raw: object, where: str) -> None:
        known = SETTINGS[name]
        try:
            values[known.attribute] = known.kind.parse(toml_text(raw), known.default)
        except ValueError as error:
            raise SettingsError(f"setting '{name}' in {where}: {error}") from None

    if file is not None:
        for name, raw in read_file(file).items():
            take(name, raw, f"file {file}")
    for name, text in read_environment(environment or {}).items():
        take(name, text, f"the environment ({SETTINGS[name].variable})")
    for name, text in (flags or {}).items():
        if name not in SETTINGS:
            raise _unknown(name, list(SETTINGS), "the flags")
        take(name, text, f"flag --{name}")
    return Config(**values)
