"""The columns of a collection, joined from those of its members."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.members import Members, MemberSummary
from smalti.archive.format.column import ColumnValues
from smalti.archive.read.selection import ArchiveBatch
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.images.batch import NO_LABEL
from smalti.lazy import cached_property

__all__ = ["JoinedColumns"]


class JoinedColumns(Mapping[str, ColumnValues]):
    """Labels, names and fields of all members. As a mapping, the fields by name.

    If all members with labels have class names, labels are renumbered by the union of these names, in order of
    appearance. A column that a member lacks has gaps: -1 in labels, None in names and fields.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    def __getitem__(self, name: str) -> ColumnValues:
        if name not in self._field_names:
            raise KeyError(name)
        parts: list[ColumnValues] = []
        for number, (facts, summary) in enumerate(zip(self._members.facts, self._summaries, strict=True)):
            has = name in summary.fields
            parts.append(self._members[number].fields[name] if has else (None,) * facts.images)
        return _joined(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._field_names)

    def __len__(self) -> int:
        return len(self._field_names)

    @cached_property
    def has_labels(self) -> bool:
        """Whether any member has labels."""
        return any(summary.has_labels for summary in self._summaries)

    @cached_property
    def has_names(self) -> bool:
        """Whether any member has names."""
        return any(summary.has_names for summary in self._summaries)

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only; -1 for images of members without labels. None if no member has labels."""
        if not self.has_labels:
            return None
        parts = []
        for number, (facts, summary) in enumerate(zip(self._members.facts, self._summaries, strict=True)):
            if not summary.has_labels:
                parts.append(np.full(facts.images, NO_LABEL, np.int64))
                continue
            own = self._members[number].labels if summary.labels is None else summary.labels
            assert own is not None  # reading raised if it is damaged
            parts.append(self._renumbered(number, own.astype(np.int64)))
        labels = np.concatenate(parts)
        labels.setflags(write=False)
        return labels

    @cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """The union of the members' class names. None if no member has any, or one has labels without class names."""
        union: dict[str, None] = {}
        any_names = False
        for number, summary in enumerate(self._summaries):
            own = summary.class_names
            if own is None and "class_names" in summary.unreadable:
                own = self._members[number].class_names  # raises
            if own is None and summary.has_labels:
                return None
            any_names |= own is not None
            union |= dict.fromkeys(own or ())
        return tuple(union) if any_names else None

    @cached_property
    def names(self) -> tuple[str | None, ...] | None:
        """The N names, None for images of members without names. None if no member has names."""
        if not self.has_names:
            return None
        names: list[str | None] = []
        for number, (facts, summary) in enumerate(zip(self._members.facts, self._summaries, strict=True)):
            own = self._members[number].names if summary.has_names else None
            names += (None,) * facts.images if own is None else own
        return tuple(names)

    def lack(self, numbers: NDArray[np.int64]) -> list[tuple[bool, bool]]:
        """For each image number: whether the image lacks a label, and whether it lacks a name."""
        owners = np.searchsorted(self._members.starts, numbers, side="right") - 1
        return [(not self._summaries[own].has_labels, not self._summaries[own].has_names) for own in owners.tolist()]

    def gaps(self) -> tuple[str, ...]:
        """Names, as in a header, of the columns that some members have and others lack."""
        of_members = [
            {
                *(["labels"] if summary.has_labels else []),
                *(["names"] if summary.has_names else []),
                *(FIELD_PREFIX + name for name in summary.fields),
            }
            for summary in self._summaries
        ]
        every = set[str]().union(*of_members)
        return tuple(sorted(name for name in every if not all(name in own for own in of_members)))

    def batch(self, number: int, batch: ArchiveBatch, lost: Collection[str] = ()) -> ArchiveBatch:
        """Convert a batch of a member to one of the collection, with its image numbers, labels and fields.

        number : the position of the member
        lost : names of columns to omit, because a member has lost them

        Images of a member without labels or names have none here, even if other members have them.
        """
        labels = None if "labels" in lost else batch.labels
        if labels is not None and "class_names" not in lost:
            labels = self._renumbered(number, labels)
        gaps = [None] * len(batch)
        readable = [name for name in self._field_names if FIELD_PREFIX + name not in lost]
        fields = {name: batch.fields.get(name, gaps) for name in readable}
        names = None if "names" in lost else batch.names
        return ArchiveBatch(batch.pixels, labels, names, fields, numbers=batch.numbers + self._members.starts[number])

    def _renumbered(self, number: int, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        own = self._summaries[number].class_names
        if self.class_names is None or own is None or own == self.class_names[: len(own)]:
            return labels
        new_labels = {name: label for label, name in enumerate(self.class_names)}
        new = np.array([new_labels[name] for name in own], np.int64)
        known = (labels >= 0) & (labels < len(own))
        # a label without a name keeps its number, even if a class has this number now
        return np.where(known, new[np.where(known, labels, 0)], labels)

    @cached_property
    def _summaries(self) -> tuple[MemberSummary, ...]:
        return self._members.summaries()

    @cached_property
    def _field_names(self) -> tuple[str, ...]:
        for number, summary in enumerate(self._summaries):
            if "fields" in summary.unreadable:
                tuple(self._members[number].fields)  # raises
        return tuple(dict.fromkeys(name for summary in self._summaries for name in summary.fields))


def _joined(parts: Sequence[ColumnValues]) -> ColumnValues:
    """Concatenate columns: an array if all have one dtype, else a tuple."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({part.dtype for part in arrays}) == 1:
        joined: NDArray[Any] = np.concatenate(arrays)
        joined.setflags(write=False)
        return joined
    return tuple(value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part))
