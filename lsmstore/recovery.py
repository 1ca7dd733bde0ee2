"""The log as it is read back: which files belong to it, where it ends, and what counts as damage.

Rules of this file:

1. Reading starts in the newest file all of whose predecessors are at or below the floor, and goes
   on in the newest file that names the present one as its predecessor. The predecessor's length in
   that head bounds what is read: what lies beyond was cut by an earlier recovery.
2. Where a frame does not validate the log ends, as if torn there, only if no frame after that
   place, in this file or a later one, claims to have synced past it. Otherwise something durable
   was destroyed, and opening is refused with file and offset.
3. Nothing is removed or overwritten here. A torn tail stays where it is; the next epoch's first
   file says where the log before it ended.
4. What was read is synced before it is served: after a crash of the process alone it may have come
   out of a page cache that the next crash would lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lsmstore import frame
from lsmstore.errors import Corruption
from lsmstore.frame import LOG_MAGIC, Frame
from lsmstore.fs import FileSystem
from lsmstore.logfile import HEAD_FRAME_BYTES, LIVE_SUFFIX, Head, live_path, numbers, read_head


class LogReader:
    """Reads the log above a floor, once. After ``frames`` is exhausted the end is known."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        *,
        floor_lsn: int,
        epoch: int,
        epoch_file: int,
        dictionaries: Mapping[int, bytes],
    ) -> None:
        """``epoch_file`` is the first file of the manifest's epoch; 0 if none has begun."""
        self._fs = fs
        self._directory = directory
        self._floor_lsn = floor_lsn
        self._epoch = epoch
        self._epoch_file = epoch_file
        self._dictionaries = dictionaries
        self._heads: dict[int, Head] = {}
        self._headless: list[int] = []
        self.chain: list[Head] = []
        self.last_lsn = floor_lsn
        self.end_offset = 0
        self.bytes_read = 0

    @property
    def numbers_seen(self) -> list[int]:
        """All log files there are, whatever they hold."""
        return sorted([*self._heads, *self._headless])

    @property
    def epoch_seen(self) -> int:
        """The highest epoch that the manifest or a file knows."""
        return max([self._epoch, *(head.epoch for head in self._heads.values())])

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(first position, payload) of every frame with a record above the floor, in order."""
        self._read_heads()
        head = self._first()
        if head is None:
            return
        expected = head.predecessor_last_lsn + 1
        while True:
            self.chain.append(head)
            path = live_path(self._directory, head.number)
            data = self._read(path)
            after = self._successor(head.number)
            bound = len(data) if after is None else after.predecessor_bytes
            offset = HEAD_FRAME_BYTES
            while offset < bound:
                found = frame.parse(data, offset, LOG_MAGIC, head.epoch, head.number)
                if found is None or found.first_lsn != expected or found.end > bound:
                    break
                if found.records > 0:
                    expected = found.last_lsn + 1
                    if found.last_lsn > self._floor_lsn:
                        yield found.first_lsn, self._unpack(found, path)
                offset = found.end
            self.last_lsn = expected - 1
            self.end_offset = offset
            if after is None or offset != bound or after.predecessor_last_lsn != self.last_lsn:
                self._require_tear(path, data, offset, expected, head.number)
                return
            head = after

    def sync(self) -> None:
        """Make what was read durable; ``OSError`` if that cannot be done."""
        for head in self.chain:
            file = self._fs.open(live_path(self._directory, head.number), write=True)
            try:
                file.fdatasync()
            finally:
                file.close()
        self._fs.fsync_dir(self._directory)

    # -- inner parts ----------------------------------------------------------------------------

    def _read(self, path: str) -> bytes:
        file = self._fs.open(path)
        try:
            data = file.pread(file.size(), 0)
        finally:
            file.close()
        self.bytes_read += len(data)
        return data

    def _read_heads(self) -> None:
        for number in numbers(self._fs.listdir(self._directory), LIVE_SUFFIX):
            file = self._fs.open(live_path(self._directory, number))
            try:
                head = read_head(file.pread(HEAD_FRAME_BYTES, 0), number)
            finally:
                file.close()
            if head is None:
                self._headless.append(number)
            else:
                self._heads[number] = head

    def _first(self) -> Head | None:
        """Where to start: the newest file before which everything is at or below the floor."""
        fitting = [
            number
            for number, head in self._heads.items()
            if head.predecessor_last_lsn <= self._floor_lsn
        ]
        if fitting:
            return self._heads[max(fitting)]
        if self._epoch_file == 0 and not self._heads:
            return None  # no epoch has begun: nothing was ever committed
        missing = min(self._headless, default=self._epoch_file)
        if self._heads:
            missing = self._heads[min(self._heads)].predecessor
        why = "this log file is missing" if missing not in self._headless else "its head is damaged"
        raise Corruption(live_path(self._directory, missing), 0, why)

    def _successor(self, number: int) -> Head | None:
        """The newest file that goes on where this one ends."""
        following = [
            other for other, head in self._heads.items() if head.predecessor == number < other
        ]
        return self._heads[max(following)] if following else None

    def _require_tear(
        self, path: str, data: bytes, offset: int, expected: int, number: int
    ) -> None:
        """Refuse if a frame after this place says that what should be here had been durable."""
        for found in frame.frames_anywhere(data, offset, LOG_MAGIC, number):
            if found.synced_upto >= expected:
                raise Corruption(path, offset, self._why(expected, path, found))
        for later in self.numbers_seen:
            if later <= number:
                continue
            later_path = live_path(self._directory, later)
            owner = None if later in self._headless else later
            for found in frame.frames_anywhere(self._read(later_path), 0, LOG_MAGIC, owner):
                if found.synced_upto < expected:
                    continue
                if later in self._headless:
                    raise Corruption(later_path, 0, "its head is damaged")
                raise Corruption(path, offset, self._why(expected, later_path, found))
        if number < self._epoch_file:
            why = "this log file is missing or its head is damaged"
            raise Corruption(live_path(self._directory, self._epoch_file), 0, why)

    def _why(self, expected: int, path: str, found: Frame) -> str:
        return (
            f"no valid frame with record {expected}, but the frame at {path}:{found.offset} "
            f"says that records up to {found.synced_upto} were durable"
        )

    def _unpack(self, found: Frame, path: str) -> bytes:
        try:
            return frame.unpack(found, self._dictionaries)
        except ValueError as error:
            raise Corruption(path, found.offset, str(error)) from None
