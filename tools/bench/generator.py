"""Runs the load generator's process against a contender and checks that no reply was an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tools.bench.contender import Contender
from tools.bench.loadgen import PartJob

ASK_S = 0.2


class LoadFailed(Exception):
    """The load did not run, or the server answered with errors."""


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw."""

    elapsed_s: float
    generator_cpu: float
    """Share of one core, as are the next two."""
    server_cpu: float
    others_cpu: float
    parts: list[dict[str, Any]]


def run_load(
    server: Contender,
    parts: Sequence[PartJob],
    seconds_max: float,
    enough: Callable[[float], bool] | None = None,
) -> Load:
    """Load ``server``; ``enough`` (seconds so far) is asked now and then and may end it early."""
    began = time.monotonic()
    machine_before = machine_cpu_seconds()
    cpu_before = server.cpu_seconds()
    with generator(server, parts, seconds_max) as (process, job, result, complaints):
        loaded = time.monotonic()
        while enough is not None and process.poll() is None:
            if enough(time.monotonic() - loaded):
                job.close()
                break
            time.sleep(ASK_S)
        line = result.read()
        complaint = complaints.read().decode("utf-8", "replace").strip()
        server_s = server.cpu_seconds() - cpu_before
        machine_s = machine_cpu_seconds() - machine_before
        whole_s = time.monotonic() - began
    if process.returncode != 0:
        raise LoadFailed(f"the load on {server.name} broke off: {complaint}; {server.log_tail()}")
    answer = json.loads(line)
    for part in answer["parts"]:
        if part["errors"] > 0:
            raise LoadFailed(
                f"{server.name} answered {part['errors']} errors: {part['first_error']}"
            )
    elapsed_s, generator_cpu = answer["elapsed_s"], answer["cpu_share"]
    others_s = machine_s - server_s - generator_cpu * elapsed_s
    return Load(
        elapsed_s,
        generator_cpu,
        server_s / elapsed_s,
        max(0.0, others_s / whole_s),
        answer["parts"],
    )


def machine_cpu_seconds() -> float:
    """Processor time that all processes of the machine have used."""
    user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def generator(
    server: Contender, parts: Sequence[PartJob], seconds_max: float
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes], IO[bytes]]]:
    """The generator at work: its process, and its pipes for the job, the result and complaints.

    Closing the first of them ends the load.
    """
    job = {
        "host": server.host,
        "port": server.port,
        "seconds_max": seconds_max,
        "parts": [part.to_json() for part in parts],
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tools.bench.loadgen"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            yield process, process.stdin, process.stdout, process.stderr
        finally:
            process.stdin.close()
            process.stdout.close()
            process.stderr.close()
