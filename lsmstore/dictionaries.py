"""Which level and dictionary frames are compressed with, and whether their entries are put into
columns before: tried on samples, the smallest wins.

Rules of this file:

1. What is tried is a large run, or all smaller ones of a segment together. A choice is remembered
   and tried again now and then.
2. Where no known dictionary saves a twentieth, one is trained from the frames at hand and kept if
   it does. There are at most ``dictionaries_max``, and they stay: any segment may need them.
3. A new dictionary goes into the manifest in the edit that names the first segment that needs it.
4. All this is zstd's work, which leaves the interpreter to others. Columns do not: they are tried
   by merges alone, which run in a process of their own, and kept where they save a fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import zstandard

from lsmstore import columns
from lsmstore.container import Compressors, How, make_compressors
from lsmstore.fs import Bytes
from lsmstore.options import StoreOptions

SAMPLE_FRAMES: Final = 4
TRAINED_BYTES_MAX: Final = 1 << 20
TRAINED_FRAMES_MIN: Final = 12
PIECE_BYTES: Final = 1024
GAIN: Final = 20  # one part of so many must be saved by a dictionary that is to be kept
SLIGHT_GAIN: Final = 64  # the same, by what is dearer than the first level without a dictionary
COLUMNS_GAIN: Final = 5  # the same, by columns, which take longer to read
CHOICES: Final = 16  # a choice holds for so many segments
OWNERS_MAX: Final = 1 << 12


class DictionaryChooser:
    """Chooses among some levels, quickest first; used by one thread at a time."""

    def __init__(
        self,
        known: Mapping[int, bytes],
        options: StoreOptions,
        levels: Sequence[int],
        *,
        by_column: bool = False,
    ) -> None:
        """``known`` is looked at anew for each choice. ``by_column``: try columns, too."""
        self._known = known
        self._options = options
        self._levels = levels
        self._columns = by_column
        self._compressors: dict[How, Compressors] = {}
        self._held: dict[int, tuple[How, int]] = {}  # by owner: choice, how often it still holds
        self.fresh: dict[int, bytes] = {}
        """Trained since the last ``begin``: to be made known with what uses them."""

    def begin(self) -> None:
        """A new segment; what was trained for another that was not installed is forgotten."""
        for how in [how for how in self._compressors if how.dictionary in self.fresh]:
            if how.dictionary not in self._known:
                del self._compressors[how]
        self.fresh = {}

    def compressors(self, how: How) -> Compressors:
        """The compressors of a choice."""
        how = how._replace(by_column=False)
        found = self._compressors.get(how)
        if found is None:
            number = how.dictionary
            content = self.fresh.get(number) or self._known.get(number, b"")
            found = make_compressors(how.level, content)
            self._compressors[how] = found
        return found

    def choose(self, owner: int, count: int, frame: Callable[[int], bytes]) -> How:
        """How to compress ``count`` frames of an owner: a sid, or 0 for all smaller streams."""
        plain = How(self._levels[0], 0)
        if count == 0 or (self._options.dictionary_bytes == 0 and not self._columns):
            return plain
        chosen, left = self._held.get(owner, (plain, 0))
        usable = {0, *self._known, *self.fresh}
        if left == 0 or chosen.dictionary not in usable:
            step = max(1, count // SAMPLE_FRAMES)
            samples = [frame(i) for i in range(0, count, step)]
            chosen = plain
            if self._options.dictionary_bytes:
                chosen = self._try(count, samples, frame, usable)
            if self._columns:
                chosen = self._by_column(samples, chosen)
            left = CHOICES
        if len(self._held) > OWNERS_MAX:
            self._held.clear()
        self._held[owner] = chosen, left - 1
        return chosen

    # -- inner parts ----------------------------------------------------------------------------

    def _try(
        self,
        count: int,
        samples: Sequence[bytes],
        frame: Callable[[int], bytes],
        usable: set[int],
    ) -> How:
        sizes = {
            how: _size(samples, self.compressors(how))
            for how in [How(level, number) for level in self._levels for number in sorted(usable)]
        }
        plain = sizes[How(self._levels[0], 0)]
        best = min(sizes, key=lambda how: (sizes[how], how))
        known = best if plain - sizes[best] > plain // SLIGHT_GAIN else How(self._levels[0], 0)
        if plain - sizes[best] > plain // GAIN:
            return best
        if len(usable) > self._options.dictionaries_max or count < TRAINED_FRAMES_MIN:
            return known
        content = self._train(max(usable) + 1, count, frame)
        if content is None:
            return known
        fresh = How(self._levels[0], max(usable) + 1)
        compressors = make_compressors(fresh.level, content)
        if plain - _size(samples, compressors) <= plain // GAIN:
            return known
        self._compressors[fresh] = compressors
        self.fresh[fresh.dictionary] = content
        return fresh

    def _by_column(self, samples: Sequence[bytes], chosen: How) -> How:
        """The choice, or columns in its place where they save enough."""
        packed = [column for sample in samples if (column := columns.pack(sample)) is not None]
        if len(packed) < len(samples):
            return chosen
        size = _size(samples, self.compressors(chosen))
        sizes = {
            how: _size(packed, self.compressors(how))
            for how in [How(level, 0, True) for level in self._levels]
        }
        best = min(sizes, key=lambda how: (sizes[how], how))
        return best if size - sizes[best] > size // COLUMNS_GAIN else chosen

    def _train(self, number: int, count: int, frame: Callable[[int], bytes]) -> bytes | None:
        """A dictionary made from frames that are not among the samples."""
        step = max(1, count // SAMPLE_FRAMES)
        pieces: list[Bytes] = []
        size = 0
        for i in range(count):
            if i % step == 0:
                continue
            data = frame(i)
            pieces += [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
            size += len(data)
            if size >= TRAINED_BYTES_MAX:
                break
        try:
            found = zstandard.train_dictionary(
                self._options.dictionary_bytes, pieces, k=200, d=8, dict_id=number
            )
        except zstandard.ZstdError:  # too little, or all alike
            return None
        return found.as_bytes()


def _size(samples: Sequence[bytes], compressors: Compressors) -> int:
    return sum([len(compressors[0].compress(sample)) for sample in samples])
