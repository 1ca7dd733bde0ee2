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
from lsmstore.fs import File, FileSystem
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
        self._bytes_before = 0  # in the files read to their ends
        self._bytes_all = 0

    @property
    def percent(self) -> int:
        """How much of the log has been read. The last file counts whole, zeros at its end, too."""
        if self._bytes_all == 0:
            return 0
        return min(100, (self._bytes_before + self.end_offset) * 100 // self._bytes_all)

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
        self._bytes_all = self._bytes_from(head)
        while True:
            self.chain.append(head)
            path = live_path(self._directory, head.number)
            after = self._successor(head.number)
            self.end_offset = HEAD_FRAME_BYTES
            for found in self._frames_of(path, head, after):
                if found.first_lsn != expected:
                    break
                expected = found.last_lsn + 1
                if found.records > 0 and found.last_lsn > self._floor_lsn:
                    payload = self._unpack(found, path) if found.flags else found.payload
                    yield found.first_lsn, payload
                self.end_offset = found.end
            self.last_lsn = expected - 1
            if (
                after is None
                or after.predecessor_bytes != self.end_offset
                or after.predecessor_last_lsn != self.last_lsn
            ):
                self._require_tear(path, expected, head.number)
                return
            self._bytes_before += self.end_offset
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

    def _bytes_from(self, head: Head) -> int:
        """The bytes that are to be read, from a file on."""
        total = 0
        while (after := self._successor(head.number)) is not None:
            total += after.predecessor_bytes
            head = after
        file = self._fs.open(live_path(self._directory, head.number))
        try:
            return total + file.size()
        finally:
            file.close()

    def _frames_of(self, path: str, head: Head, after: Head | None) -> Iterator[Frame]:
        """The frames of one file in turn, up to its end or the first that is not whole."""
        file = self._fs.open(path)
        try:
            bound = file.size() if after is None else after.predecessor_bytes
            base = offset = HEAD_FRAME_BYTES
            data = b""
            while offset < bound:
                at = offset - base
                found = frame.parse(data, at, LOG_MAGIC, head.epoch, head.number, base)
                if found is None:
                    base = offset
                    data = self._window(file, base, bound)
                    found = frame.parse(data, 0, LOG_MAGIC, head.epoch, head.number, base)
                    if found is None:
                        return
                yield found
                offset = found.end
        finally:
            file.close()

    def _window(self, file: File, base: int, bound: int) -> bytes:
        """Bytes from ``base`` on, more than usual if the frame there is larger."""
        data = file.pread(min(frame.WINDOW_BYTES, bound - base), base)
        if len(data) >= frame.HEADER_BYTES:
            needed = frame.HEADER_BYTES + frame.HEADER.unpack_from(data)[5]
            if len(data) < needed <= bound - base:
                data = file.pread(needed, base)
        return data

    def _claim(self, path: str, start: int, owner: int | None, expected: int) -> Frame | None:
        """A frame from ``start`` on that says that record ``expected`` had been durable."""
        file = self._fs.open(path)
        try:
            for found in frame.frames_anywhere(file, start, LOG_MAGIC, owner):
                if found.synced_upto >= expected:
                    return found
        finally:
            file.close()
        return None

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

    def _require_tear(self, path: str, expected: int, number: int) -> None:
        """Refuse if a frame after this place says that what should be here had been durable."""
        offset = self.end_offset
        found = self._claim(path, offset, number, expected)
        if found is not None:
            raise Corruption(path, offset, self._why(expected, path, found))
        for later in self.numbers_seen:
            if later <= number:
                continue
            later_path = live_path(self._directory, later)
            owner = None if later in self._headless else later
            found = self._claim(later_path, 0, owner, expected)
            if found is not None and later in self._headless:
                raise Corruption(later_path, 0, "its head is damaged")
            if found is not None:
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
