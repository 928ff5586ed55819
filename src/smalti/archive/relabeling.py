"""An archive with other labels, names or fields: its columns are written anew, and everything else is copied."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.columns import ColumnValues, TextBuilder, pack_integers
from smalti.archive.fields import FieldsBuilder
from smalti.archive.reader import Archive
from smalti.archive.rewriting import rewrite_archive
from smalti.errors import UsageError
from smalti.images.batch import Scalar

__all__ = ["Beside", "write_relabelled"]


@dataclass(frozen=True)
class Beside:
    """All that is said of N images besides their pixels.

    labels : int64 [N], or None    class_names : the name of each label 0, 1, ..., or None
    names : N relative paths, or None    fields : further columns of N values
    """

    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None
    names: Sequence[str] | None = None
    fields: Mapping[str, ColumnValues | Sequence[Scalar | None]] | None = None

    def check(self, images: int, where: str) -> None:
        """Raise UsageError unless every column has a value for each image."""
        columns = {"labels": self.labels, "names": self.names, **(self.fields or {})}
        for name, values in columns.items():
            if values is not None and len(values) != images:
                raise UsageError(f"{where}: {len(values):,} values of {name} for {images:,} images")

    def part(self, start: int, stop: int) -> "Beside":
        """What is said of images `start` to `stop` (exclusive)."""
        return Beside(
            None if self.labels is None else self.labels[start:stop],
            self.class_names,
            None if self.names is None else self.names[start:stop],
            {name: values[start:stop] for name, values in (self.fields or {}).items()},
        )

    def over(self, other: "Beside", dropped: Collection[str] = ()) -> "Beside":
        """What this says, and what `other` says where this says nothing, but for fields that are dropped."""
        kept = {name: values for name, values in (other.fields or {}).items() if name not in dropped}
        return Beside(
            other.labels if self.labels is None else self.labels,
            other.class_names if self.class_names is None else self.class_names,
            other.names if self.names is None else self.names,
            {**kept, **(self.fields or {})},
        )

    def columns(self) -> Iterator[tuple[str, bytes]]:
        """Names and payloads of the columns, in the order of a file."""
        if self.labels is not None:
            yield "labels", pack_integers("labels", self.labels)
        for name, texts in (("class_names", self.class_names), ("names", self.names)):
            if texts is not None:
                builder = TextBuilder(name)
                builder.extend(texts)
                yield name, builder.to_bytes()
        fields = FieldsBuilder()
        for name, values in (self.fields or {}).items():
            plain = values.tolist() if isinstance(values, np.ndarray) else values
            fields.extend_field(name, plain)
        yield from fields.columns()


def write_relabelled(archive: Archive, beside: Beside, out: BinaryIO, folder: Path) -> None:
    """Write an archive like the one that is open, of which `beside` says all there is to say.

    folder : where a temporary file for recovery sections may be

    Raises UsageError if a column does not fit the images, DamagedArchiveError if the archive is not intact.
    """
    beside.check(len(archive), str(archive.path))
    columns = dict(beside.columns())
    header = replace(archive.sections.header, columns=tuple(columns))
    rewrite_archive(archive.sections, out, folder, header=header, columns=list(columns.values()))
