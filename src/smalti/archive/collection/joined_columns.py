"""What members say of their images, as columns of the collection."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.members import Members
from smalti.archive.format.column import ColumnValues
from smalti.archive.read.selection import ArchiveBatch
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.lazy import cached_property

__all__ = ["JoinedColumns"]


class JoinedColumns(Mapping[str, ColumnValues]):
    """Labels, names and fields of all members; as a mapping, the fields by their names.

    Labels are numbered anew by the union of the members' class names, in the order in which these come, if all members
    name their classes. Labels and names are absent unless every member has them; a field is None where it is absent.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    def __getitem__(self, name: str) -> ColumnValues:
        if name not in self._field_names:
            raise KeyError(name)
        parts: list[ColumnValues] = []
        for number, facts in enumerate(self._members.facts):
            fields = self._members[number].fields
            parts.append(fields[name] if name in fields else (None,) * facts.images)
        return _joined(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._field_names)

    def __len__(self) -> int:
        return len(self._field_names)

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only, or None."""
        parts = []
        for number in range(len(self._members)):
            own = self._members[number].labels
            if own is None:
                return None
            parts.append(self._renumbered(number, own))
        labels = np.concatenate(parts)
        labels.setflags(write=False)
        return labels

    @cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """The union of the members' class names, None unless all have some."""
        union: dict[str, None] = {}
        for number in range(len(self._members)):
            own = self._members[number].class_names
            if own is None:
                return None
            union |= dict.fromkeys(own)
        return tuple(union)

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """All names, or None."""
        names: list[str] = []
        for number in range(len(self._members)):
            own = self._members[number].names
            if own is None:
                return None
            names += own
        return tuple(names)

    def batch(self, number: int, batch: ArchiveBatch, lost: Collection[str] = ()) -> ArchiveBatch:
        """A batch of a member as one of the collection: with its numbers, labels and fields.

        lost : names of columns to leave out, because a member has lost them
        """
        labels = None
        if "labels" not in lost and batch.labels is not None and self.labels is not None:
            labels = batch.labels if "class_names" in lost else self._renumbered(number, batch.labels)
        gaps = [None] * len(batch)
        kept = [name for name in self._field_names if FIELD_PREFIX + name not in lost]
        fields = {name: batch.fields.get(name, gaps) for name in kept}
        names = None if "names" in lost or self.names is None else batch.names
        return ArchiveBatch(batch.pixels, labels, names, fields, numbers=batch.numbers + self._members.starts[number])

    def _renumbered(self, number: int, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        own = self._members[number].class_names
        if self.class_names is None or own is None or own == self.class_names[: len(own)]:
            return labels
        places = {name: place for place, name in enumerate(self.class_names)}
        new = np.array([places[name] for name in own], np.int64)
        known = (labels >= 0) & (labels < len(own))
        # a label without a name keeps its number, unless that is the number of a class now
        return np.where(known, new[np.where(known, labels, 0)], labels)

    @cached_property
    def _field_names(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(name for number in range(len(self._members)) for name in self._members[number].fields)
        )


def _joined(parts: Sequence[ColumnValues]) -> ColumnValues:
    """Columns one after the other: an array if all are of one dtype, else a tuple."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({part.dtype for part in arrays}) == 1:
        joined: NDArray[Any] = np.concatenate(arrays)
        joined.setflags(write=False)
        return joined
    return tuple(value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part))
