"""The load generator as a process: ``python -m tools.bench.loadgen``, a job in, a result out.

It has its own process so that it has its own core, and so that its use of that core is known.

A job is one line of JSON on standard input; the end of input ends the load early::

    {"host", "port", "seconds_max",
     "parts": [{"role", "connections", "depth", "scripts": [[command in base64, ...], ...],
                "entries_depth", "ack_head" in base64, "batches_each"}, ...]}

Connection number i of a part runs script i modulo their number. A script's commands are sent in
batches of ``depth``; what is left over at its end is not sent. The result is one line::

    {"elapsed_s", "cpu_share",
     "parts": [{"role", "rounds", "replies", "errors", "nulls", "entries", "total", "first_error",
                "p50_us", "p99_us", "p999_us"}, ...]}
"""

from __future__ import annotations

import json
import os
import resource
import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.bench.drive import Drive, LoadError, Part


@dataclass(frozen=True)
class PartJob:
    """Connections of one role: what each sends, and where entries are counted in replies."""

    role: str
    connections: int
    scripts: Sequence[Sequence[bytes]]
    depth: int = 1
    entries_depth: int = -1
    ack_head: bytes = b""
    batches_each: int = 0

    def to_json(self) -> dict[str, Any]:
        """The form of the job line."""
        return {
            "role": self.role,
            "connections": self.connections,
            "depth": self.depth,
            "entries_depth": self.entries_depth,
            "ack_head": b64encode(self.ack_head).decode(),
            "batches_each": self.batches_each,
            "scripts": [[b64encode(command).decode() for command in s] for s in self.scripts],
        }


def batches(script: Sequence[bytes], depth: int) -> list[bytes]:
    """The commands of a script, ``depth`` at a time."""
    if len(script) < depth:
        raise ValueError(f"a script of {len(script)} commands is shorter than a batch of {depth}")
    return [
        b"".join(script[start : start + depth])
        for start in range(0, len(script) - depth + 1, depth)
    ]


def connect(host: str, port: int, job: dict[str, Any]) -> Part:
    """A part of the job, its connections open."""
    part = Part(job["role"], b64decode(job["ack_head"]), job["batches_each"])
    scripts = [
        batches([b64decode(command) for command in script], job["depth"])
        for script in job["scripts"]
    ]
    for number in range(job["connections"]):
        script = scripts[number % len(scripts)]
        part.connect(host, port, script, job["depth"], job["entries_depth"])
    return part


def result(part: Part, role: str) -> dict[str, Any]:
    """What a part counted."""
    latency = part.latency
    return {
        "role": role,
        "rounds": part.rounds,
        **part.counts(),
        "first_error": part.first_error().decode("utf-8", "replace"),
        "p50_us": latency.quantile_ns(0.5) / 1000,
        "p99_us": latency.quantile_ns(0.99) / 1000,
        "p999_us": latency.quantile_ns(0.999) / 1000,
    }


def cpu_seconds() -> float:
    """Processor time this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Read the job, run it, write the result."""
    job = json.loads(read_line(sys.stdin.fileno()))
    parts = [connect(job["host"], job["port"], part) for part in job["parts"]]
    drive = Drive(parts)
    cpu_before = cpu_seconds()
    try:
        drive.run(job["seconds_max"], sys.stdin.fileno())
    except LoadError as error:
        print(f"load generator: {error}", file=sys.stderr)
        return 1
    elapsed_s = drive.elapsed_ns / 1e9
    cpu_share = (cpu_seconds() - cpu_before) / elapsed_s
    answers = [result(part, j["role"]) for part, j in zip(parts, job["parts"], strict=True)]
    drive.close()
    print(json.dumps({"elapsed_s": elapsed_s, "cpu_share": cpu_share, "parts": answers}))
    return 0


def read_line(fd: int) -> bytes:
    """The job line, unbuffered: the end of input is for epoll to see."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(fd, 65536)
        if not piece:
            break
        line += piece
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
