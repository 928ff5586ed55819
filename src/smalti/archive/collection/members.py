"""The members of a collection, opened when they are needed, and not all at once.

The shared sections of an open collection, found by the SHA-256 that members name them by.

What a member of a collection says of itself, kept after one look at it.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.directory import MemberFacts, check_sum
from smalti.archive.read.reader import Archive
from smalti.archive.report import ArchiveInfo
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UnsupportedArchiveError
from smalti.storage.positioned import Positioned

__all__ = ["MemberSummary", "Members", "SharedSections", "summary_of"]


T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class MemberSummary:
    """What a collection needs to know of a member to put its columns together with those of others.

    block_bounds : int64 [blocks + 1], as `Archive.block_bounds`
    labels : integers [n] in as few bytes as hold them, None if it has none
    class_names : None if it has none    has_names : whether its images have names
    fields : the names of its further columns    lost_columns : as `Archive.lost_columns`
    unreadable : which of labels, class_names, names, fields and lost_columns cannot be told; the member says why
    """

    block_bounds: NDArray[np.int64]
    labels: NDArray[np.integer] | None
    class_names: tuple[str, ...] | None
    has_names: bool
    fields: tuple[str, ...]
    lost_columns: tuple[str, ...]
    unreadable: frozenset[str]

    @property
    def has_labels(self) -> bool:
        """Whether its images have labels, readable or not."""
        return self.labels is not None or "labels" in self.unreadable


def summary_of(archive: Archive) -> MemberSummary:
    """Look at an open member. Damage to a column is noted, not raised."""
    unreadable: set[str] = set()

    def read(name: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except (DamagedArchiveError, LimitExceededError, UnsupportedArchiveError):
            unreadable.add(name)
            return None

    labels = read("labels", lambda: archive.labels)
    class_names = read("class_names", lambda: archive.class_names)
    names = read("names", lambda: archive.names)
    return MemberSummary(
        archive.block_bounds,
        None if labels is None else _narrow(labels),
        class_names,
        names is not None or "names" in unreadable,
        read("fields", lambda: tuple(archive.fields)) or (),
        read("lost_columns", lambda: archive.lost_columns) or (),
        frozenset(unreadable),
    )


def _narrow(labels: NDArray[np.int64]) -> NDArray[np.integer]:
    """The same integers in the smallest type that holds them."""
    kind = np.result_type(np.min_scalar_type(int(labels.min())), np.min_scalar_type(int(labels.max())))
    return labels.astype(kind if kind.kind in "iu" else np.int64)


# was sibling import


_OPEN_MEMBERS = 64
"""Decoders and files that are kept: a system has a limit of open files, and memory one of decoders."""


class Members:
    """Archives in a row, as a sequence that opens them; safe to use from several threads.

    facts : of each, before it is opened
    starts : int64 [M + 1], the number of the first image of each, and of all images

    Raises DamagedArchiveError if they hold more images together than can be numbered.
    """

    def __init__(self, facts: Sequence[MemberFacts], open_member: Callable[[int], Archive], path: Path | str) -> None:
        check_sum(facts)
        self.facts = tuple(facts)
        counts = [one.images for one in self.facts]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._open_member, self._path = open_member, path
        self._lock = threading.Lock()
        self._opening: dict[tuple[int, int], threading.Lock] = {}
        self._opened: OrderedDict[int, Archive] = OrderedDict()
        self._summaries: dict[int, MemberSummary] = {}
        self._infos: dict[int, ArchiveInfo] = {}
        self._levels: dict[int, int] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, number: int) -> Archive:
        """The member of this number; DamagedArchiveError if it is not the one that is listed.

        Opening one does not hold up threads that ask for others.
        """
        number = range(len(self))[number]
        archive = self._kept(number)
        if archive is not None:
            return archive
        with self._lock:  # by process: one that was forked meanwhile must not wait for a thread that it does not have
            opening = self._opening.setdefault((os.getpid(), number), threading.Lock())
        with opening:
            archive = self._kept(number)  # another thread may have opened it
            return self._keep(number, self._open(number)) if archive is None else archive

    def summaries(self) -> tuple[MemberSummary, ...]:
        """What every member says of itself. Each is opened once for it, then its words are kept."""
        for number in range(len(self)):
            self.summary(number)
        return tuple(self._summaries[number] for number in range(len(self)))

    def summary(self, number: int) -> MemberSummary:
        """What a member says of itself."""
        if number not in self._summaries:
            with self._at_hand(number):
                pass
        return self._summaries[number]

    def info(self, number: int) -> ArchiveInfo:
        """What a member's `info` is."""
        if number not in self._infos:
            with self._at_hand(number) as archive:
                self._infos[number] = archive.info()
        return self._infos[number]

    def levels(self, number: int) -> int:
        """How many levels the tokens of a member have."""
        if number not in self._levels:
            with self._at_hand(number) as archive:
                self._levels[number] = archive.levels
        return self._levels[number]

    def adopt(self, other: Sequence[MemberSummary]) -> None:
        """Take over what members said to another process, so that they need not be asked again."""
        self._summaries = dict(enumerate(other))

    def close(self) -> None:
        """Close what is open; asking for a member afterwards raises SmaltiError."""
        with self._lock:
            self._closed = True
            while self._opened:
                self._opened.popitem()[1].close()

    @contextmanager
    def _at_hand(self, number: int) -> Iterator[Archive]:
        """A member to look at. It stays open only if there is room, so that a look at all of them moves none away."""
        archive, kept = self._kept(number), True
        if archive is None and len(self._opened) < _OPEN_MEMBERS:
            archive = self[number]
        elif archive is None:
            archive, kept = self._open(number), False
        try:
            if number not in self._summaries:
                self._note(number, archive)
            yield archive
        finally:
            if not kept:
                archive.close()

    def _note(self, number: int, archive: Archive) -> None:
        """Keep what a member says; what costs no look at its model is noted too, before it is asked for."""
        if not archive.sections.header.kind.has_levels:
            self._infos[number], self._levels[number] = archive.info(), archive.levels
        self._summaries[number] = summary_of(archive)

    def _kept(self, number: int) -> Archive | None:
        with self._lock:
            if self._closed:
                raise SmaltiError(f"{self._path}: the archive is closed; open it again")
            archive = self._opened.get(number)
            if archive is not None:
                self._opened.move_to_end(number)
            return archive

    def _keep(self, number: int, archive: Archive) -> Archive:
        with self._lock:
            self._opening.pop((os.getpid(), number), None)
            if self._closed:
                archive.close()
                raise SmaltiError(f"{self._path}: the archive is closed; open it again")
            self._opened[number] = archive
            while len(self._opened) > _OPEN_MEMBERS:
                self._opened.popitem(last=False)  # another thread may be reading it: it closes with its last user
        return archive

    def _open(self, number: int) -> Archive:
        archive = self._open_member(number)
        if MemberFacts.of(archive.sections.header) != self.facts[number]:
            path = archive.path
            archive.close()
            raise DamagedArchiveError(f"{path}: it is not the archive that the collection lists here")
        return archive


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
