"""The members of a collection, opened when they are needed, and not all at once.

The shared sections of an open collection, found by the SHA-256 that members name them by.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from smalti.archive.collection.directory import MemberFacts
from smalti.archive.read.reader import Archive
from smalti.errors import DamagedArchiveError
from smalti.storage.positioned import Positioned

__all__ = ["Members", "SharedSections"]


_OPEN_MEMBERS = 64
"""Decoders and files that are kept: a system has a limit of open files, and memory one of decoders."""


class Members:
    """Archives in a row, as a sequence that opens them; safe to use from several threads.

    facts : of each, before it is opened
    starts : int64 [M + 1], the number of the first image of each, and of all images
    """

    def __init__(self, facts: Sequence[MemberFacts], open_member: Callable[[int], Archive]) -> None:
        self.facts = tuple(facts)
        counts = [one.images for one in self.facts]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._open_member = open_member
        self._lock = threading.RLock()
        self._opened: OrderedDict[int, Archive] = OrderedDict()

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, number: int) -> Archive:
        """The member of this number; DamagedArchiveError if it is not the one that is listed."""
        number = range(len(self))[number]
        with self._lock:
            if number not in self._opened:
                archive = self._open_member(number)
                if MemberFacts.of(archive.sections.header) != self.facts[number]:
                    raise DamagedArchiveError(f"{archive.path}: it is not the archive that the collection lists here")
                self._opened[number] = archive
            self._opened.move_to_end(number)
            while len(self._opened) > _OPEN_MEMBERS:
                self._opened.popitem(last=False)  # another thread may be reading it: it closes with its last user
            return self._opened[number]

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            while self._opened:
                self._opened.popitem()[1].close()


class SharedSections:
    """Payloads by their SHA-256, read when one is first asked for; safe from several threads, and pickled by its file.

    places : offset and length in bytes of each payload
    """

    def __init__(self, file: Positioned, places: tuple[tuple[int, int], ...]) -> None:
        self._file, self._places = file, places
        self._lock = threading.Lock()
        self._payloads: dict[bytes, bytes] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return SharedSections, (self._file, self._places)

    def __call__(self, digest: bytes) -> bytes:
        """The payload of this SHA-256; DamagedArchiveError if no shared section has it."""
        with self._lock:
            if self._payloads is None:
                payloads = self._file.read_many(self._places)
                self._payloads = {hashlib.sha256(payload).digest(): payload for payload in payloads}
        if digest not in self._payloads:
            raise DamagedArchiveError("the model that it shares with others is damaged or missing")
        return self._payloads[digest]
