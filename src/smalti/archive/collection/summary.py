"""What a member of a collection says of itself, kept after one look at it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.reader import Archive
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError

__all__ = ["MemberSummary", "summary_of"]

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
