"""What starts the server elsewhere starts it with settings that there are."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

from respserver.settings import SETTINGS, load

PACKAGING = Path(__file__).resolve().parent.parent / "packaging"


def flags_of(words: list[str]) -> dict[str, str]:
    """The settings of `respq serve --name value ...`."""
    assert words[0] == "serve"
    return {
        name.removeprefix("--"): value for name, value in zip(words[1::2], words[2::2], strict=True)
    }


def test_the_unit_of_systemd() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PACKAGING / "respq.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 10
    program, *words = service["ExecStart"].split()
    assert program.endswith("/bin/respq")
    config = load(flags=flags_of(words))
    assert config.dir == f"/var/lib/{service['StateDirectory']}"
    assert int(service["LimitNOFILE"]) > config.maxclients


def test_the_container() -> None:
    text = (PACKAGING / "Containerfile").read_text()
    lines = dict(
        re.findall(r"^(CMD|ENTRYPOINT|EXPOSE|VOLUME|USER|HEALTHCHECK) (.*)$", text, re.MULTILINE)
    )
    assert json.loads(lines["ENTRYPOINT"]) == ["respq"]
    config = load(flags=flags_of(json.loads(lines["CMD"])))
    assert config.dir == lines["VOLUME"] == "/data"
    assert config.port == int(lines["EXPOSE"]) == SETTINGS["port"].default
    assert lines["USER"] == "respq"
    assert json.loads(lines["HEALTHCHECK"].removeprefix("CMD ")) == ["respq", "ping"]
