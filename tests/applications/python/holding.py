"""How a worker of these tests does a job: it says which it holds, and waits to be told to go on.

So the test knows when a job is in the middle, and kills the worker there.
"""

from __future__ import annotations

import asyncio
import sys
import threading

_answers = threading.Lock()  # several jobs may be held at once, each on a thread of its own


def say(words: str) -> None:
    """One line to the test."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def took(job: str) -> None:
    """Hold a job until the test answers; the end of its answers ends this program."""
    say(f"took {job}")
    with _answers:
        answer = sys.stdin.readline()
    if answer == "":
        raise SystemExit


async def took_async(job: str) -> None:
    """`took`, beside whatever else the loop does."""
    await asyncio.to_thread(took, job)
