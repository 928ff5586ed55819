"""The columns of an archive: labels, names, class names and fields of its images. Each is read when it is asked for."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.column import ColumnValues
from smalti.archive.format.header import Header
from smalti.archive.read.selection import ArchiveBatch
from smalti.archive.read.store import SectionStore
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.errors import DamagedArchiveError
from smalti.images.batch import Pixels, Scalar

__all__ = ["ImageColumns"]


class ImageColumns(Mapping[str, ColumnValues]):
    """The columns of an archive. As a mapping, its fields by name.

    Reading a column raises DamagedArchiveError if it is damaged or does not fit the images.
    """

    def __init__(self, header: Header, store: SectionStore, path: str) -> None:
        self._header, self._store, self._path = header, store, path
        self._checked: dict[str, tuple[str, ...]] = {}  # columns found to hold strings alone

    def __getitem__(self, name: str) -> ColumnValues:
        values = self._values(FIELD_PREFIX + name, self._header.images)
        if values is None:
            raise KeyError(name)
        return values

    def __iter__(self) -> Iterator[str]:
        for name in self._header.columns:
            if name.startswith(FIELD_PREFIX) and not self._is_unknown(name):
                yield name.removeprefix(FIELD_PREFIX)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<fields {', '.join(self)}>"

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """int64 [N], read-only; None if there are no labels."""
        values = self._values("labels", self._header.images)
        if values is None:
            return None
        if not isinstance(values, np.ndarray) or values.dtype != np.int64:
            raise self._misfit("labels")
        return values.view(np.int64)

    def texts(self, name: str, rows: int | None) -> tuple[str, ...] | None:
        """A column of strings; None if the archive was written without it.

        rows : how many there must be; None for any number
        """
        values = self._values(name, rows)
        if values is None:
            return None
        if self._checked.get(name) is not values:  # once, not for each batch
            if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
                raise self._misfit(name)
            self._checked[name] = values
        return self._checked[name]

    def batch(self, pixels: Pixels, numbers: NDArray[np.int64], lost: Collection[str] = ()) -> ArchiveBatch:
        """Make a batch of images with their columns.

        pixels : [n, H, W, C]
        numbers : int64 [n], the images' numbers in the archive
        lost : names of columns to omit
        """
        labels = None if "labels" in lost else self.labels
        names = None if "names" in lost else self.texts("names", self._header.images)
        rows = numbers.tolist()
        return ArchiveBatch(
            pixels,
            None if labels is None else labels[numbers],
            None if names is None else tuple(names[row] for row in rows),
            {name: _rows(self[name], rows) for name in self if FIELD_PREFIX + name not in lost},
            numbers=numbers,
        )

    def check(self, name: str) -> None:
        """Read a column that the header lists; DamagedArchiveError if it is damaged or does not fit the images.

        Columns of unknown names and of unknown kinds fit any images.
        """
        if name == "labels":
            _ = self.labels
        elif name in ("names", "class_names"):
            self.texts(name, self._header.images if name == "names" else None)
        else:
            self._values(name, self._header.images if name.startswith(FIELD_PREFIX) else None)

    def lost(self) -> tuple[str, ...]:
        """Names of the columns that the header lists and that cannot be read."""
        return tuple(name for name in self._header.columns if self._is_lost(name))

    def _values(self, name: str, rows: int | None) -> ColumnValues | None:
        if name not in self._header.columns:
            return None
        column = self._store.column(self._header.columns.index(name))
        if column is None:
            return None
        if rows not in (None, len(column.values)):
            raise self._misfit(name)
        return column.values

    def _misfit(self, name: str) -> DamagedArchiveError:
        return DamagedArchiveError(f"{self._path}: column {name} does not fit the {self._header.images} images")

    def _is_unknown(self, name: str) -> bool:
        """Whether this release does not know the kind of a column. A damaged column counts as known."""
        try:
            return self._store.column(self._header.columns.index(name)) is None
        except DamagedArchiveError:
            return False

    def _is_lost(self, name: str) -> bool:
        try:
            self.check(name)
        except DamagedArchiveError:
            return True
        return False


def _rows(values: ColumnValues, rows: list[int]) -> Sequence[Scalar | None]:
    """The values of some rows as Python objects."""
    if isinstance(values, np.ndarray):
        plain: list[Scalar] = values[rows].tolist()
        return plain
    return [values[row] for row in rows]
