"""The command line: help, version, flags to settings, and what keeps the server from starting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from respserver.settings import SETTINGS, Config
from tools.cli import COMMANDS, main


class StartupError(Exception):
    """Stands in for the server's own."""


class FakeServer(ModuleType):
    """respserver.server without a server: keeps the settings it was given."""

    StartupError = StartupError

    def __init__(self) -> None:
        super().__init__("respserver.server")
        self.given: list[Config] = []
        self.status = 0
        self.failure: str | None = None

    def run(self, config: Config, announce: Callable[[str], None]) -> int:
        """What ``respq serve`` calls."""
        self.given.append(config)
        if self.failure is not None:
            raise StartupError(self.failure)
        announce("ready")
        return self.status


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setitem(sys.modules, "respserver.server", fake)
    for known in SETTINGS.values():
        monkeypatch.delenv(known.variable, raising=False)
    return fake


def respq(*arguments: str) -> tuple[int, str, str]:
    """Run ``respq``; exit status, standard output and standard error."""
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def test_help_names_every_command() -> None:
    status, out, err = respq("--help")
    assert (status, err) == (0, "")
    words = " ".join(out.split())  # a long line is wrapped
    for name, command in COMMANDS.items():
        assert f"  {name}" in out
        assert f"{name} {command.help}" in words
    assert respq("-h")[1] == out


def test_help_line_is_the_commands_own() -> None:
    assert isinstance(main, click.Group)
    context = click.Context(main)
    for name, lazy in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(limit=200) == lazy.help


def test_help_imports_nothing_heavy() -> None:
    """A second of help is mostly imports: redis alone costs 130 ms."""
    script = (
        "import sys; from tools.cli import main; main(['--help'], standalone_mode=False); "
        "heavy = {'asyncio', 'uvloop', 'redis', 'hiredis', 'rich', 'zstandard', 'lsmstore', "
        "'streams', 'respserver.server'}; sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


def test_version() -> None:
    assert respq("--version") == (0, f"respq {version('respq')}\n", "")


def test_unknown_command_and_flag_are_refused() -> None:
    status, out, err = respq("sevre")
    assert (status, out) == (2, "")
    assert "No such command 'sevre'" in err
    status, out, err = respq("serve", "--prot", "1")
    assert (status, out) == (2, "")
    assert "--prot" in err
    assert "--port" in err


def test_serve_help_tells_every_setting() -> None:
    out = respq("serve", "--help")[1]
    for known in SETTINGS.values():
        assert f"--{known.name} " in out


def test_flags_become_settings(server: FakeServer) -> None:
    flags = ["--port", "0", "--appendfsync", "no", "--bind", "::1", "--protected-mode", "no"]
    assert respq("serve", *flags) == (0, "ready\n", "")
    assert server.given == [Config(port=0, appendfsync="no", bind=("::1",), protected_mode=False)]


def test_file_and_environment_become_settings(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "respq.toml"
    file.write_text("port = 1\nmaxclients = 2\ndatabases = 3\n")
    monkeypatch.setenv("RESPQ_MAXCLIENTS", "20")
    monkeypatch.setenv("RESPQ_DATABASES", "30")
    assert respq("serve", "--config", str(file), "--databases", "300")[0] == 0
    assert server.given == [Config(port=1, maxclients=20, databases=300)]


def test_a_bad_setting_is_one_line_and_starts_nothing(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "respq serve: setting 'port' in flag --port: argument must be between 0 and 65535"
    assert respq("serve", "--port", "65536") == (2, "", f"{words} inclusive\n")
    monkeypatch.setenv("RESPQ_PROT", "1")
    words = "respq serve: unknown setting 'RESPQ_PROT' in the environment; did you mean"
    assert respq("serve") == (2, "", f"{words} 'RESPQ_PORT'?\n")
    assert server.given == []


def test_a_server_that_cannot_start_says_why(server: FakeServer) -> None:
    server.failure = "cannot listen on 127.0.0.1:6379: address in use"
    assert respq("serve") == (
        1,
        "",
        "respq serve: cannot listen on 127.0.0.1:6379: address in use\n",
    )


def test_the_servers_exit_status_is_ours(server: FakeServer) -> None:
    server.status = 3
    assert respq("serve") == (3, "ready\n", "")
