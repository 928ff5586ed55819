"""The members of an open collection, a cached summary of each, and the sections that members share.

Members are opened when they are needed, and a limited number stays open. `open_collection` knows how to open one.
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
    """The facts about a member with which a collection joins its columns to those of others.

    block_bounds : int64 [blocks + 1], as `Archive.block_bounds`
    labels : integers [n] of the smallest type that holds them; None if it has no labels
    class_names : None if it has none    has_names : whether its images have names
    fields : the names of its fields    lost_columns : as `Archive.lost_columns`
    unreadable : those of labels, class_names, names, fields and lost_columns that the member raises an error for
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
    """Summarise an open member. Damage to a column is noted, not raised."""
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
    """Convert integers to the smallest type that holds them."""
    kind = np.result_type(np.min_scalar_type(int(labels.min())), np.min_scalar_type(int(labels.max())))
    return labels.astype(kind if kind.kind in "iu" else np.int64)


_OPEN_MEMBERS = 64
"""Members that stay open: a system limits the number of open files, and each holds a decoder in memory."""


class Members:
    """A sequence of archives, opened when they are needed. Safe to use from several threads.

    facts : of each member, known before it is opened
    starts : int64 [M + 1], the number of the first image of each member, and the number of all images

    Raises DamagedArchiveError if the members together hold more images than can be numbered.
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
        self._shapes: dict[int, tuple[tuple[int, int, int], ...]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, number: int) -> Archive:
        """The member at this position. DamagedArchiveError if it does not have the listed facts.

        Opening a member does not block threads that ask for others.
        """
        number = range(len(self))[number]
        archive = self._cached(number)
        if archive is not None:
            return archive
        with self._lock:  # by process: a forked process must not wait for a thread that it does not have
            opening = self._opening.setdefault((os.getpid(), number), threading.Lock())
        with opening:
            archive = self._cached(number)  # another thread may have opened it
            return self._add(number, self._open(number)) if archive is None else archive

    def summaries(self) -> tuple[MemberSummary, ...]:
        """The summaries of all members. Each member is opened once for this; summaries are cached."""
        for number in range(len(self)):
            self.summary(number)
        return tuple(self._summaries[number] for number in range(len(self)))

    def summary(self, number: int) -> MemberSummary:
        """The summary of a member."""
        if number not in self._summaries:
            with self._borrowed(number):
                pass
        return self._summaries[number]

    def info(self, number: int) -> ArchiveInfo:
        """The `info` of a member."""
        if number not in self._infos:
            with self._borrowed(number) as archive:
                self._infos[number] = archive.info()
        return self._infos[number]

    def levels(self, number: int) -> int:
        """The number of token levels of a member."""
        if number not in self._levels:
            with self._borrowed(number) as archive:
                self._levels[number] = archive.levels
        return self._levels[number]

    def shapes(self, number: int) -> tuple[tuple[int, int, int], ...]:
        """The distinct shapes of a member's images. It is opened for this if they have any sizes."""
        if not self.facts[number].any_size:
            return (self.facts[number].image_shape,)
        if number not in self._shapes:
            with self._borrowed(number) as archive:
                self._shapes[number] = archive.image_shapes
        return self._shapes[number]

    def adopt(self, other: Sequence[MemberSummary]) -> None:
        """Take over the summaries of another process, so that members need not be opened for them."""
        self._summaries = dict(enumerate(other))

    def close(self) -> None:
        """Close all open members. Asking for a member afterwards raises SmaltiError."""
        with self._lock:
            self._closed = True
            while self._opened:
                self._opened.popitem()[1].close()

    @contextmanager
    def _borrowed(self, number: int) -> Iterator[Archive]:
        """Open a member for a short time. It stays open only if there is room, so that a pass over all evicts none."""
        archive, stays_open = self._cached(number), True
        if archive is None and len(self._opened) < _OPEN_MEMBERS:
            archive = self[number]
        elif archive is None:
            archive, stays_open = self._open(number), False
        try:
            if number not in self._summaries:
                self._note(number, archive)
            yield archive
        finally:
            if not stays_open:
                archive.close()

    def _note(self, number: int, archive: Archive) -> None:
        """Cache the summary of a member, and also its info and levels if these need no model."""
        if not archive.sections.header.has_levels:
            self._infos[number], self._levels[number] = archive.info(), archive.levels
        self._summaries[number] = summary_of(archive)

    def _cached(self, number: int) -> Archive | None:
        with self._lock:
            if self._closed:
                raise SmaltiError(f"{self._path}: the archive is closed; open it again")
            archive = self._opened.get(number)
            if archive is not None:
                self._opened.move_to_end(number)
            return archive

    def _add(self, number: int, archive: Archive) -> Archive:
        with self._lock:
            self._opening.pop((os.getpid(), number), None)
            if self._closed:
                archive.close()
                raise SmaltiError(f"{self._path}: the archive is closed; open it again")
            self._opened[number] = archive
            while len(self._opened) > _OPEN_MEMBERS:
                # not closed here: another thread may be reading it. It closes when its last user is done
                self._opened.popitem(last=False)
        return archive

    def _open(self, number: int) -> Archive:
        archive = self._open_member(number)
        if MemberFacts.of(archive.sections.header) != self.facts[number]:
            path = archive.path
            archive.close()
            raise DamagedArchiveError(f"{path}: it is not the archive that the collection lists here")
        return archive


class SharedSections:
    """Payloads of the shared sections by SHA-256. All are read when one is first asked for. Safe to use from threads.

    byte_ranges : offset and length of each payload
    """

    def __init__(self, file: Positioned, byte_ranges: tuple[tuple[int, int], ...]) -> None:
        self._file, self._byte_ranges = file, byte_ranges
        self._lock = threading.Lock()
        self._payloads: dict[bytes, bytes] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return SharedSections, (self._file, self._byte_ranges)

    def __call__(self, digest: bytes) -> bytes:
        """The payload of this SHA-256. DamagedArchiveError if no shared section has it."""
        with self._lock:
            if self._payloads is None:
                payloads = self._file.read_many(self._byte_ranges)
                self._payloads = {hashlib.sha256(payload).digest(): payload for payload in payloads}
        if digest not in self._payloads:
            raise DamagedArchiveError("the model that it shares with others is damaged or missing")
        return self._payloads[digest]
