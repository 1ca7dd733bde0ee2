"""Who carries merges out: a child process, spoken to in one line of JSON each way.

    request    on its standard input; the end of it starts the work
    answer     on its standard output: {"segments": [...], "rows": ..., "memory_bytes": n}, or
               {"error": "full"}, or {"error": "damaged", "path": ..., "offset": ..., "why": ...}

Rules of this file:

1. The child runs at low priority, within ``memory_limit_bytes``, and dies with its parent.
2. An answer is believed as far as it makes sense; anything else is ``MergeFailed``.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from lsmstore.compaction import Kind
from lsmstore.compactor import MergeFailed
from lsmstore.errors import Corruption, DiskFull, StorageError
from lsmstore.fs import OsFS
from lsmstore.merge import MakeSurvivors, MergeRequest, MergeResult, merge
from lsmstore.options import MIB, StoreOptions
from lsmstore.version import LargeRun, RowFileMeta, SegmentMeta

NICENESS: Final = 10  # a tenth of a core is left to it where all are busy; at 19 it starves
PR_SET_PDEATHSIG: Final = 1
MEMORY_LIMIT_BYTES: Final = 256 * MIB
WHY_BYTES_MAX: Final = 400


def encode_request(request: MergeRequest) -> bytes:
    """A request as the child reads it."""
    fields = request._asdict()
    fields["kind"] = request.kind.value
    fields["options"] = asdict(request.options)
    fields["dictionaries"] = {
        number: base64.b64encode(content).decode()
        for number, content in request.dictionaries.items()
    }
    return json.dumps(fields).encode()


def decode_request(data: bytes) -> MergeRequest:
    """The request that ``encode_request`` wrote."""
    fields: dict[str, Any] = json.loads(data)
    fields["kind"] = Kind(fields["kind"])
    options = fields["options"]
    options["own_compression_levels"] = tuple(options["own_compression_levels"])
    fields["options"] = StoreOptions(**options)
    fields["dictionaries"] = {
        int(number): base64.b64decode(content) for number, content in fields["dictionaries"].items()
    }
    for name in ("dead", "cuts"):
        fields[name] = {int(number): values for number, values in fields[name].items()}
    for name in ("inputs", "outputs", "interval", "rows"):
        fields[name] = tuple(fields[name])
    return MergeRequest(**fields)


def decode_result(data: bytes, directory: str) -> MergeResult:
    """What the child says it did; raises what it says went wrong."""
    try:
        answer: dict[str, Any] = json.loads(data)
        error = answer.get("error")
        if error == "full":
            raise DiskFull(directory)
        if error == "damaged":
            raise Corruption(answer["path"], answer["offset"], answer["why"])
        if error is not None:
            raise MergeFailed(str(error))
        segments = [
            SegmentMeta._make([*map(int, fields), tuple(map(LargeRun._make, large))])
            for *fields, large in answer["segments"]
        ]
        rows = None if answer["rows"] is None else RowFileMeta(*map(int, answer["rows"]))
        return MergeResult(tuple(segments), rows, int(answer["memory_bytes"]))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as garbage:
        raise MergeFailed(f"the answer makes no sense: {data[:WHY_BYTES_MAX]!r}") from garbage


class ChildRunner:
    """Runs each merge in a process of its own."""

    def __init__(self, module: str, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        """``module`` is run with ``python -P -m``; it calls ``serve``.

        Without -P Python would look for modules in the working directory first.
        """
        about = (str(memory_limit_bytes), str(os.getpid()))
        self._command = [sys.executable, "-P", "-m", module, *about]
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def run(self, request: MergeRequest) -> MergeResult:
        """Do it, blocking. Raises Corruption, DiskFull or MergeFailed."""
        data = encode_request(request)
        with self._lock:
            if self._cancelled:
                raise MergeFailed("the server stops")
            try:
                child = self._child = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                raise MergeFailed(f"no process to merge in: {error}") from error
        try:
            answer, complaint = child.communicate(data)
        finally:
            with self._lock:
                self._child = None
        if child.returncode != 0:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise MergeFailed(f"the process that merges ended with {child.returncode}: {last}")
        return decode_result(answer, request.directory)

    def cancel(self) -> None:
        """End what is running, and begin nothing more. From any thread."""
        with self._lock:
            self._cancelled = True
            if self._child is not None:
                self._child.kill()


def peak_bytes() -> int:
    """The most memory this process has had. ru_maxrss would count what the parent had."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def serve(arguments: Sequence[str], make_survivors: MakeSurvivors) -> None:
    """The child: read a request, do it, answer."""
    memory_limit_bytes, parent = map(int, arguments)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_limit_bytes, memory_limit_bytes))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # it was gone before we could ask to be told
    request = decode_request(sys.stdin.buffer.read())

    def pace() -> None:
        if os.getppid() != parent:
            sys.exit(1)

    answer: dict[str, Any]
    try:
        result = merge(OsFS(), request, make_survivors, pace)
    except DiskFull:
        answer = {"error": "full"}
    except Corruption as error:
        why = {"path": error.path, "offset": error.offset, "why": error.why}
        answer = {"error": "damaged", **why}
    except (StorageError, OSError, MemoryError) as error:
        answer = {"error": repr(error)}
    else:
        answer = {"segments": result.segments, "rows": result.rows}
        answer["memory_bytes"] = peak_bytes()
    sys.stdout.write(json.dumps(answer))
