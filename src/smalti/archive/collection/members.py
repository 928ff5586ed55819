"""The members of a collection, opened when they are needed, and not all at once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from smalti.archive.collection.directory import MemberFacts
from smalti.archive.reader import Archive
from smalti.errors import DamagedArchiveError

__all__ = ["Members"]

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
