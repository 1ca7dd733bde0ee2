"""``respq import``: streams from lines of JSON, as ``export`` writes them or as anybody does.

Rules: entries come under their own IDs. A stream that has entries is refused, or with ``--resume``
gets those above the last ID that it had when the import began, so that an import that was
interrupted is simply run again. Then its head, its groups and what they have pending, where the
file tells them, and when everything is there its time to live. A file whose entries are out of
order is refused where they are. With ``--resume`` a group that is there is left alone, with what
it has pending: it may have gone on since. What is left out is counted and said: such groups;
pending entries whose entry is gone; what Redis does not know.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from tools.connection import Refused, Server, Trouble, Word, talks_to_server, text
from tools.living.entries import as_bytes, fields_from_json
from tools.living.jsonl import read_lines
from tools.living.output import dry_run_option, print_json, say
from tools.living.units import count, id_key

Taken = Callable[[Any], None]
BATCH = 500
NO_CONSUMER = b"released"  # who gets released entries on a server that has no XNACK


@dataclass
class Account:
    """What an import did."""

    streams: int = 0
    entries: int = 0
    skipped: int = 0  # were there already
    groups: int = 0
    groups_kept: int = 0  # were there already, and were left alone
    pending: int = 0
    pending_lost: int = 0  # their entries are gone
    policies_lost: int = 0  # idle timeouts that the server does not know

    def lines(self) -> list[str]:
        """In words."""
        entries = f"{count(self.entries)} entries of {count(self.streams)} streams"
        groups = f"{count(self.groups)} groups, {count(self.pending)} pending"
        said = [f"imported {entries}, {groups}"]
        if self.skipped:
            said.append(f"{count(self.skipped)} entries were there already")
        if self.groups_kept:
            kept = f"{count(self.groups_kept)} groups were there already"
            said.append(f"{kept}: left alone, with what they have pending")
        if self.pending_lost:
            said.append(f"{count(self.pending_lost)} were pending whose entries are gone: left out")
        if self.policies_lost:
            said.append(f"{count(self.policies_lost)} idle timeouts are nothing for this server")
        return said


@dataclass
class Import:
    """Lines on their way to a server."""

    server: Server
    resume: bool
    dry_run: bool
    account: Account = field(default_factory=Account)
    _begun: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # last IDs at the beginning
    _sent: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # last IDs of the file so far
    _kept: set[tuple[bytes, bytes]] = field(default_factory=set)  # groups that were there
    _expires_ms: dict[bytes, int] = field(default_factory=dict)
    _batch: list[tuple[Sequence[Word], Taken]] = field(default_factory=list)

    def take(self, number: int, line: dict[str, Any]) -> None:
        """One line. Raises Trouble."""
        try:
            stream = as_bytes(line["stream"])
            if "id" in line:
                self._entry(stream, str(line["id"]), fields_from_json(line["fields"]))
            elif "pending" in line:
                self._pending(stream, as_bytes(line["group"]), line["pending"])
            elif "group" in line:
                self._group(stream, line["group"])
            elif "head" in line:
                self._head(stream, line["head"])
            else:
                raise ValueError("neither an entry nor a head, a group or a pending entry")
        except (KeyError, TypeError, ValueError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise Trouble(f"line {number}: {said}", "respq export STREAM | head") from None
        except Refused as refused:
            said = f"line {number} or before: {refused.message}"
            raise Trouble(said, refused.try_next) from None

    def _meet(self, stream: bytes) -> None:
        """A line of a stream; the first looks whether it may be written. Raises Trouble."""
        if stream in self._begun:
            return
        self.flush()
        self.account.streams += 1
        reply, groups = self.server.ask_all(
            [("XINFO", "STREAM", stream), ("XINFO", "GROUPS", stream)]
        )
        self._begun[stream] = self._sent[stream] = (0, 0)
        if isinstance(reply, Refused):
            if reply.code == "WRONGTYPE":
                raise reply
            return
        told = dict(zip(reply[::2], reply[1::2], strict=True))
        self._begun[stream] = id_key(told[b"last-generated-id"].decode())
        if self.resume and not isinstance(groups, Refused):
            self._kept.update((stream, group[1]) for group in groups)
        if not self.resume and self._begun[stream] != (0, 0):
            raise Trouble(
                f"there is a stream {text(stream)} already",
                "respq import --resume ...     adds what lies above its last ID",
            )

    def _entry(self, stream: bytes, entry_id: str, pairs: list[tuple[bytes, bytes]]) -> None:
        self._meet(stream)
        key = id_key(entry_id)
        if key <= self._sent[stream]:
            raise ValueError(f"{entry_id} is out of order: IDs of a stream have to increase")
        self._sent[stream] = key
        if key <= self._begun[stream]:
            self.account.skipped += 1
            return
        flat = [part for pair in pairs for part in pair]
        self._send(("XADD", stream, entry_id, *flat), self._added)

    def _head(self, stream: bytes, head: dict[str, Any]) -> None:
        self._meet(stream)
        self.flush()
        if not self.dry_run and self.server.ask("EXISTS", stream) == 0:
            # An empty stream: a group makes it, and leaves.
            self.server.ask("XGROUP", "CREATE", stream, "respq-import", "$", "MKSTREAM")
            self.server.ask("XGROUP", "DESTROY", stream, "respq-import")
        if id_key(head["last_id"]) < max(self._begun[stream], self._sent[stream]):
            return  # it has gone on since
        if head.get("expires_ms") is not None:
            self._expires_ms[stream] = int(head["expires_ms"])
        more: tuple[Word, ...] = ()
        if head.get("entries_added") is not None:
            more = ("ENTRIESADDED", head["entries_added"], "MAXDELETEDID", head["max_deleted_id"])
        self._send(("XSETID", stream, head["last_id"], *more))

    def _group(self, stream: bytes, group: dict[str, Any]) -> None:
        self._meet(stream)
        self.flush()
        name, last_id = as_bytes(group["name"]), group["last_delivered_id"]
        if (stream, name) in self._kept:
            self.account.groups_kept += 1
            return
        read = group.get("entries_read")
        known: tuple[Word, ...] = () if read is None else ("ENTRIESREAD", read)
        if not self.dry_run:
            (made,) = self.server.ask_all(
                [("XGROUP", "CREATE", stream, name, last_id, "MKSTREAM", *known)]
            )
            if isinstance(made, Refused):
                if made.code != "BUSYGROUP":
                    raise made
                self.server.ask("XGROUP", "SETID", stream, name, last_id, *known)
            for told in group.get("consumers", []):
                consumer = as_bytes(told["name"])
                self._send(("XGROUP", "CREATECONSUMER", stream, name, consumer))
            if group.get("idle_timeout_ms") is not None:
                policy = ("IDLE-TIMEOUT", group["idle_timeout_ms"])
                (reply,) = self.server.ask_all([("XQ.GROUP", "SET", stream, name, *policy)])
                self.account.policies_lost += isinstance(reply, Refused)
        self.account.groups += 1

    def _pending(self, stream: bytes, group: bytes, row: dict[str, Any]) -> None:
        deliveries, entry_id = row["deliveries"], row["id"]
        if (stream, group) in self._kept:
            return
        if row["consumer"] is None and self._can_release:
            release = ("XNACK", stream, group, "FAIL", "IDS", 1, entry_id)
            self._send((*release, "RETRYCOUNT", deliveries, "FORCE"), self._claimed)
            return
        consumer = NO_CONSUMER if row["consumer"] is None else as_bytes(row["consumer"])
        when = () if row["delivered_ms"] is None else ("TIME", row["delivered_ms"])
        claim = ("XCLAIM", stream, group, consumer, 0, entry_id, *when, "RETRYCOUNT", deliveries)
        self._send((*claim, "FORCE", "JUSTID"), self._claimed)

    @cached_property
    def _can_release(self) -> bool:
        return self.server.has("XNACK")

    def _claimed(self, reply: Any) -> None:
        if reply:
            self.account.pending += 1
        else:
            self.account.pending_lost += 1

    def _added(self, _: Any) -> None:
        self.account.entries += 1

    def _send(self, command: Sequence[Word], taken: Taken = lambda _: None) -> None:
        """Send a command with the next batch; ``taken`` gets its reply."""
        if self.dry_run:
            taken([b""])
            return
        self._batch.append((command, taken))
        if len(self._batch) == BATCH:
            self.flush()

    def finish(self) -> None:
        """Send what waits; then streams may begin to expire. Raises Refused."""
        for stream, at_ms in self._expires_ms.items():
            self._send(("PEXPIREAT", stream, at_ms))
        self.flush()

    def flush(self) -> None:
        """Send what waits. Raises Refused."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        replies = self.server.ask_all([command for command, _ in batch])
        for (_, taken), reply in zip(batch, replies, strict=True):
            if isinstance(reply, Refused):
                raise reply
            taken(reply)


@click.command("import", short_help="Read streams from lines of JSON.")
@talks_to_server
@click.option("--resume", is_flag=True, help="Add to streams that are there what is newer.")
@dry_run_option
@click.argument("file", type=click.Path(path_type=Path), required=False)
def import_(server: Server, in_json: bool, resume: bool, dry_run: bool, file: Path | None) -> None:
    """Read streams from FILE or standard input, as `respq export` writes them: entries keep their
    IDs, groups their cursors, pending entries their consumer, time and count. Streams expire when
    they did there. With --resume, groups that are there are left alone.

    \b
    respq import streams.jsonl.zst
    respq export orders -u redis://old | respq import -u redis://new
    """
    work = Import(server, resume, dry_run)
    try:
        source = sys.stdin.buffer if file is None or str(file) == "-" else file.open("rb")
    except OSError as error:
        raise Trouble(f"cannot read {file}: {error.strerror}", "respq import --help") from None
    with source:
        for number, line in read_lines(source):
            work.take(number, line)
        work.finish()
    if in_json:
        print_json(vars(work.account) | {"dry_run": dry_run})
        return
    for said in work.account.lines():
        say(f"would have {said}" if dry_run and said.startswith("imported") else said)
