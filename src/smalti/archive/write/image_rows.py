"""Labels, names and fields of the images of an archive being written."""

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.column import TextBuilder
from smalti.archive.write.fields import FieldsBuilder, pack_columns
from smalti.errors import UsageError
from smalti.images.batch import Fields

__all__ = ["ImageRows"]


class ImageRows:
    """Collects the columns of images in order. Memory: 8 bytes a label, and the names."""

    def __init__(self) -> None:
        self._labels = array("q")  # 8 bytes an image, without an object for each batch
        self._names = TextBuilder("names")
        self._fields = FieldsBuilder()
        self._has: dict[str, bool] = {}  # whether there are labels and names: the first images decide

    def add(self, count: int, labels: NDArray[np.integer] | None, names: Sequence[str] | None) -> None:
        """Add the labels and names of `count` images, 1 or more.

        Raises UsageError unless there is one for each, for all images of the archive or for none.
        """
        for what, given in (("labels", labels), ("names", names)):
            if given is not None and len(given) != count:
                raise UsageError(f"{len(given)} {what} for {count} images")
            if self._has.setdefault(what, given is not None) != (given is not None):
                raise UsageError(f"{what} must be given for all images or for none")
        if labels is not None:
            if labels.ndim != 1 or labels.dtype.kind not in "iu":
                raise UsageError(f"labels are {labels.dtype} {list(labels.shape)}, not integers [{count}]")
            self._labels.frombytes(labels.astype(np.int64).tobytes())
        if names is not None:
            self._names.extend(names)

    def add_fields(self, count: int, fields: Fields | None) -> None:
        """Add the fields of `count` images. UsageError as from `FieldsBuilder.extend`."""
        self._fields.extend(fields or {}, count)

    def columns(self, class_names: Sequence[str] | None) -> Iterator[tuple[str, bytes]]:
        """Yield names and payloads of the columns, in the order of the file."""
        labels = np.frombuffer(self._labels, np.int64) if self._has.get("labels") else None
        yield from pack_columns(labels, class_names, self._names if self._has.get("names") else None, self._fields)
