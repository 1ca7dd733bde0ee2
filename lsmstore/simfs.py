"""A filesystem in memory that knows what a crash may take back.

Rules of this file:

1. Every file keeps its live bytes and its synced bytes apart, with the writes between them in
   order; every directory does the same with its names.
2. ``crash`` and ``kill`` never change the filesystem they are asked of: they return another one, as
   it would be found afterwards. One run can be crashed at each of its operations, many times. After
   ``crash`` (the power went) all that is found is durable; after ``kill`` (the process went)
   everything is found, and what was not synced can still be lost.
3. An unsynced write survives a crash whole, torn at 512-byte sectors, or not at all, and
   independently of the writes before and after it. The same goes for unsynced names; a rename is
   one change.
4. A failed ``fdatasync`` leaves its pages marked clean: a later one succeeds and makes nothing of
   them durable. This is what Linux filesystems do, and why a failed sync must never be tried
   again.
5. Faults are data: ``Rule`` says which operation on which path fails, when, and how.

Paths are absolute and separated by ``/``. Operations are serialised, so threads may share it.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from xxhash import xxh3_128

from lsmstore.fs import Bytes, File, remainder

SECTOR_BYTES = 512

Hook = Callable[[int, str, str], None]


@dataclass(frozen=True)
class CrashPolicy:
    """How likely an unsynced change is to survive a crash."""

    keep_write: float
    tear_write: float
    keep_name: float


LOSE_ALL = CrashPolicy(0.0, 0.0, 0.0)
"""The power goes and nothing unsynced was written back."""
KEEP_ALL = CrashPolicy(1.0, 0.0, 1.0)
"""The power goes just after everything was written back."""
MIXED = CrashPolicy(0.4, 0.3, 0.5)
"""Some writes and names got out, in any order, some of them torn."""


@dataclass
class Rule:
    """One fault: the ``nth`` matching operation and the ``times - 1`` after it are affected."""

    op: str
    path: str = "*"
    nth: int = 1
    times: int = 1
    error: int | None = None
    short_bytes: int | None = None
    flip_bit: int | None = None
    seen: int = field(default=0, init=False)

    def hits(self, op: str, path: str) -> bool:
        """Count an operation; is it one of those this rule is for?"""
        if op != self.op or not fnmatchcase(path, self.path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class _Inode:
    """Bytes of one file: live, synced, and the changes from the one to the other."""

    __slots__ = ("links", "live", "locked", "pending", "sharers", "synced")

    def __init__(self) -> None:
        self.live = bytearray()
        self.synced = bytearray()
        self.pending: list[
            tuple[int, bytes | None]
        ] = []  # (offset, data) or (size, None): truncate
        self.links = 0
        self.locked = False
        self.sharers = 0

    def copy(self) -> _Inode:
        """The same bytes and the same unsynced changes, not locked."""
        other = _Inode()
        other.live = bytearray(self.live)
        other.synced = bytearray(self.synced)
        other.pending = list(self.pending)
        other.links = self.links
        return other


class _Dir:
    """Names of one directory, in the same manner. A pending change is a group applied whole."""

    __slots__ = ("live", "pending", "synced")

    def __init__(self) -> None:
        self.live: dict[str, _Node] = {}
        self.synced: dict[str, _Node] = {}
        self.pending: list[dict[str, _Node | None]] = []


_Node = _Inode | _Dir


def _put(content: bytearray, offset: int, data: Bytes) -> None:
    """Write into ``content``, filling a hole before ``offset`` with zeros."""
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _apply_names(names: dict[str, _Node], change: dict[str, _Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class SimFile:
    """An open file of a ``SimFS``."""

    __slots__ = ("_fs", "_inode", "path")

    def __init__(self, fs: SimFS, inode: _Inode, path: str) -> None:
        self._fs = fs
        self._inode = inode
        self.path = path

    def pwrite(self, data: Bytes, offset: int) -> None:
        self.pwritev((data,), offset)

    def pwritev(self, buffers: Sequence[Bytes], offset: int) -> None:
        """Write all buffers; a short write is continued, as on the real filesystem."""
        rest = list(buffers)
        while rest:
            done = self._fs._write_once(self._inode, self.path, rest, offset)
            offset += done
            rest = remainder(rest, done)

    def pread(self, length: int, offset: int) -> bytes:
        return self._fs._read(self._inode, self.path, length, offset)

    def fdatasync(self) -> None:
        self._fs._fdatasync(self._inode, self.path)

    def truncate(self, size: int) -> None:
        self._fs._truncate(self._inode, self.path, size)

    def size(self) -> int:
        return len(self._inode.live)

    def close(self) -> None:
        self._inode.locked = False


class _SharedLock(SimFile):
    """A lock that others may have, too."""

    __slots__ = ("_held",)

    def __init__(self, fs: SimFS, inode: _Inode, path: str) -> None:
        super().__init__(fs, inode, path)
        self._held = 1
        inode.sharers += 1

    def close(self) -> None:
        self._inode.sharers -= self._held
        self._held = 0


class SimFS:
    """The simulated filesystem. ``operations`` counts changes; ``hook`` is called after each."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.operations = 0
        self.hook: Hook | None = None
        self._root = _Dir()
        self._rules: list[Rule] = []
        self._used = 0
        self._lock = threading.RLock()

    # -- faults and crashes ---------------------------------------------------------------------

    def inject(self, rule: Rule) -> Rule:
        """Add a fault; returned so that a test may look at how often it was seen."""
        self._rules.append(rule)
        return rule

    def clear_rules(self) -> None:
        self._rules.clear()

    def flip_bit(self, path: str, offset: int, bit: int) -> None:
        """Damage a byte where it lies, live and synced."""
        inode = self._inode(path)
        inode.live[offset] ^= 1 << bit
        if offset < len(inode.synced):
            inode.synced[offset] ^= 1 << bit

    def crash(self, rng: random.Random, policy: CrashPolicy) -> SimFS:
        """The filesystem as it is found after a crash at this moment."""
        with self._lock:
            after = SimFS(self.capacity_bytes)
            after._root = self._crash_dir(self._root, rng, policy, {})
            after._used = after._recount(after._root, set())
            return after

    def kill(self) -> SimFS:
        """The filesystem as it is found after the process alone died."""
        with self._lock:
            after = SimFS(self.capacity_bytes)
            after._root = self._copy_dir(self._root, {})
            after._used = self._used
            return after

    def fingerprint(self, path: str = "/") -> bytes:
        """The same for directories in which the same is found: names and bytes."""
        found = xxh3_128()
        self._add_to(found, self._dir(path))
        return found.digest()

    def _add_to(self, found: xxh3_128, directory: _Dir) -> None:
        for name, node in sorted(directory.live.items()):
            found.update(name.encode())
            if isinstance(node, _Dir):
                found.update(b"/")
                self._add_to(found, node)
                found.update(b"..")
            else:
                found.update(len(node.live).to_bytes(9, "little"))
                found.update(node.live)

    def _copy_dir(self, before: _Dir, copies: dict[int, _Node]) -> _Dir:
        def copy(node: _Node) -> _Node:
            found = copies.get(id(node))
            if found is None:
                found = self._copy_dir(node, copies) if isinstance(node, _Dir) else node.copy()
                copies[id(node)] = found
            return found

        after = _Dir()
        after.live = {name: copy(node) for name, node in before.live.items()}
        after.synced = {name: copy(node) for name, node in before.synced.items()}
        after.pending = [
            {name: None if node is None else copy(node) for name, node in change.items()}
            for change in before.pending
        ]
        return after

    def _crash_dir(
        self, before: _Dir, rng: random.Random, policy: CrashPolicy, copies: dict[int, _Inode]
    ) -> _Dir:
        names = dict(before.synced)
        for change in before.pending:
            if rng.random() < policy.keep_name:
                _apply_names(names, change)
        after = _Dir()
        for name, node in names.items():
            if isinstance(node, _Dir):
                after.live[name] = self._crash_dir(node, rng, policy, copies)
                continue
            copy = copies.get(id(node))
            if copy is None:
                copy = copies[id(node)] = self._crash_file(node, rng, policy)
            copy.links += 1
            after.live[name] = copy
        after.synced = dict(after.live)
        return after

    def _crash_file(self, before: _Inode, rng: random.Random, policy: CrashPolicy) -> _Inode:
        after = _Inode()
        content = bytearray(before.synced)
        for offset, data in before.pending:
            chance = rng.random()
            if chance < policy.keep_write:
                if data is None:
                    _resize(content, offset)
                else:
                    _put(content, offset, data)
            elif chance < policy.keep_write + policy.tear_write and data is not None:
                self._tear(content, offset, data, rng)
        after.live = content
        after.synced = bytearray(content)
        return after

    def _tear(self, content: bytearray, offset: int, data: bytes, rng: random.Random) -> None:
        """Let some sectors of a write get out and others not."""
        at = 0
        while at < len(data):
            step = SECTOR_BYTES - (offset + at) % SECTOR_BYTES
            if rng.random() < 0.5:
                _put(content, offset + at, data[at : at + step])
            at += step

    def _recount(self, directory: _Dir, seen: set[int]) -> int:
        total = 0
        for node in directory.live.values():
            if isinstance(node, _Dir):
                total += self._recount(node, seen)
            elif id(node) not in seen:
                seen.add(id(node))
                total += len(node.live)
        return total

    # -- the FileSystem protocol ----------------------------------------------------------------

    def create(self, path: str) -> File:
        with self._lock:
            self._fault("create", path)
            directory, name = self._parent(path)
            if name in directory.live:
                raise FileExistsError(errno.EEXIST, "file exists", path)
            inode = _Inode()
            self._change(directory, {name: inode})
            self._done("create", path)
            return SimFile(self, inode, path)

    def open(self, path: str, *, write: bool = False) -> File:
        with self._lock:
            self._fault("open", path)
            return SimFile(self, self._inode(path), path)

    def exists(self, path: str) -> bool:
        with self._lock:
            try:
                directory, name = self._parent(path)
            except FileNotFoundError:
                return False
            return name in directory.live

    def mkdir(self, path: str) -> None:
        with self._lock:
            self._fault("mkdir", path)
            directory = self._root
            for name in path.strip("/").split("/"):
                node = directory.live.get(name)
                if node is None:
                    node = _Dir()
                    directory.live[name] = directory.synced[name] = node
                    self._done("mkdir", path)
                if not isinstance(node, _Dir):
                    raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
                directory = node

    def listdir(self, path: str) -> list[str]:
        with self._lock:
            return sorted(self._dir(path).live)

    def rename(self, old: str, new: str) -> None:
        with self._lock:
            self._fault("rename", new)
            source, old_name = self._parent(old)
            target, new_name = self._parent(new)
            inode = self._inode(old)
            if source is not target:
                raise OSError(errno.EXDEV, "renames stay within one directory", new)
            self._change(source, {old_name: None, new_name: inode})
            self._done("rename", new)

    def link(self, old: str, new: str) -> None:
        with self._lock:
            self._fault("link", new)
            inode = self._inode(old)
            target, name = self._parent(new)
            if name in target.live:
                raise FileExistsError(errno.EEXIST, "file exists", new)
            self._change(target, {name: inode})
            self._done("link", new)

    def unlink(self, path: str) -> None:
        with self._lock:
            self._fault("unlink", path)
            self._inode(path)
            directory, name = self._parent(path)
            self._change(directory, {name: None})
            self._done("unlink", path)

    def rmdir(self, path: str) -> None:
        with self._lock:
            self._fault("rmdir", path)
            if self._dir(path).live:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
            directory, name = self._parent(path)
            del directory.live[name]
            directory.synced.pop(name, None)
            self._done("rmdir", path)

    def fsync_dir(self, path: str) -> None:
        with self._lock:
            directory = self._dir(path)
            try:
                self._fault("fsync_dir", path)
            except OSError:
                directory.pending.clear()
                raise
            directory.synced = dict(directory.live)
            directory.pending.clear()
            self._done("fsync_dir", path)

    def lock(self, path: str, *, shared: bool = False) -> File:
        with self._lock:
            file = self.open(path) if shared or self.exists(path) else self.create(path)
            inode = self._inode(path)
            if inode.locked or (inode.sharers and not shared):
                raise BlockingIOError(errno.EWOULDBLOCK, "already locked", path)
            if shared:
                return _SharedLock(self, inode, path)
            inode.locked = True
            return file

    def free_bytes(self, path: str) -> int:
        if self.capacity_bytes is None:
            return 1 << 62
        return max(0, self.capacity_bytes - self._used)

    # -- inner parts ----------------------------------------------------------------------------

    def _done(self, op: str, path: str) -> None:
        self.operations += 1
        if self.hook is not None:
            self.hook(self.operations, op, path)

    def _fault(self, op: str, path: str) -> Rule | None:
        """Count the operation against every rule; raise what one says, or return the rule."""
        found: Rule | None = None
        for rule in self._rules:
            if rule.hits(op, path):
                found = rule
        if found is not None and found.error is not None:
            raise OSError(found.error, os.strerror(found.error), path)
        return found

    def _change(self, directory: _Dir, change: dict[str, _Node | None]) -> None:
        for name, node in change.items():
            old = directory.live.get(name)
            if isinstance(node, _Inode):
                node.links += 1
            if isinstance(old, _Inode):
                old.links -= 1
                if old.links == 0:
                    self._used -= len(old.live)
            if isinstance(node, _Inode) and node.links == 1:
                self._used += len(node.live)
        _apply_names(directory.live, change)
        directory.pending.append(change)

    def _walk(self, parts: list[str], path: str) -> _Dir:
        directory = self._root
        for part in parts:
            node = directory.live.get(part)
            if not isinstance(node, _Dir):
                raise FileNotFoundError(errno.ENOENT, "no such directory", path)
            directory = node
        return directory

    def _dir(self, path: str) -> _Dir:
        return self._walk([part for part in path.split("/") if part], path)

    def _parent(self, path: str) -> tuple[_Dir, str]:
        *parts, name = [part for part in path.split("/") if part]
        return self._walk(parts, path), name

    def _inode(self, path: str) -> _Inode:
        directory, name = self._parent(path)
        node = directory.live.get(name)
        if not isinstance(node, _Inode):
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return node

    def _write_once(self, inode: _Inode, path: str, buffers: Sequence[Bytes], offset: int) -> int:
        """One write call: as many bytes as rule and capacity allow, at least one."""
        with self._lock:
            rule = self._fault("pwrite", path)
            data = b"".join(buffers)
            if rule is not None and rule.short_bytes is not None:
                data = data[: rule.short_bytes]
            if self.capacity_bytes is not None and inode.links > 0:
                room = len(inode.live) + self.capacity_bytes - self._used - offset
                if room <= 0 < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                data = data[:room]
            before = len(inode.live)
            _put(inode.live, offset, data)
            if inode.links > 0:
                self._used += len(inode.live) - before
            inode.pending.append((offset, data))
            self._done("pwrite", path)
            return len(data)

    def _read(self, inode: _Inode, path: str, length: int, offset: int) -> bytes:
        with self._lock:
            rule = self._fault("pread", path)
            data = bytes(inode.live[offset : offset + length])
            if rule is not None and rule.flip_bit is not None and data:
                at = rule.flip_bit // 8 % len(data)
                data = data[:at] + bytes([data[at] ^ 1 << rule.flip_bit % 8]) + data[at + 1 :]
            return data

    def _fdatasync(self, inode: _Inode, path: str) -> None:
        with self._lock:
            try:
                self._fault("fdatasync", path)
            except OSError:
                inode.pending.clear()
                raise
            for offset, data in inode.pending:
                if data is None:
                    _resize(inode.synced, offset)
                else:
                    _put(inode.synced, offset, data)
            inode.pending.clear()
            self._done("fdatasync", path)

    def _truncate(self, inode: _Inode, path: str, size: int) -> None:
        with self._lock:
            self._fault("truncate", path)
            if inode.links > 0:
                self._used += size - len(inode.live)
            _resize(inode.live, size)
            inode.pending.append((size, None))
            self._done("truncate", path)
