"""What the writers of one file of pixels share: a header, then the pixels, and small files beside it for the rest."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.files import atomic_file, refuse_existing, writing
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.coming import Coming
from smalti.images.sidecar import (
    FILE_NAME,
    check_field_names,
    class_names_bytes,
    class_names_name,
    field_rows,
    json_line,
    metadata_name,
)

__all__ = ["OneFileWriter", "one_file"]


class OneFileWriter(ABC):
    """A header, then pixels of one shape; labels are kept until the end, names and fields written as they come."""

    def __init__(self, file: BinaryIO, out: Path, coming: Coming, open_beside: Callable[[Path], BinaryIO]) -> None:
        self._file = file
        self._open_beside = open_beside
        self._rows: BinaryIO | None = None
        self._out = out
        self._coming = coming
        self._written = 0
        self._labels: list[NDArray[np.int64]] = []
        with writing(out):
            self._begin()

    def write(self, batch: ImageBatch) -> None:
        """Append the images of a batch."""
        if batch.pixels.shape[1:] != self._coming.image_shape or batch.pixels.dtype != self._coming.dtype:
            found = f"{batch.pixels.dtype} {batch.pixels.shape[1:]}"
            raise ValueError(f"images of {found} for an output of {self._coming.dtype} {self._coming.image_shape}")
        has_rows = batch.names is not None or bool(batch.fields)
        before = (bool(self._labels), self._rows is not None)
        if self._written and (batch.labels is not None, has_rows) != before:
            raise ValueError("labels, names and fields must come with every batch or with none")
        with writing(self._out):
            self._append(batch.pixels)
        if batch.labels is not None:
            self._labels.append(np.array(batch.labels))
        if has_rows:
            self._write_rows(batch)
        self._written += len(batch)

    def finish(self) -> list[Path]:
        """Write what is left; return the files beside that belong to the images."""
        with writing(self._out):
            self._end()
        beside = [] if self._rows is None else [self._out.with_name(metadata_name(self._out.name))]
        labels = np.concatenate(self._labels) if self._labels else None
        if labels is not None:
            path = self.label_paths(self._out)[0]
            beside.append(self._write_beside(path, self._label_bytes(labels, path)))
        if self._coming.class_names is not None:
            path = self._out.with_name(class_names_name(self._out.name))
            beside.append(self._write_beside(path, class_names_bytes(self._coming.class_names)))
        return beside

    def _write_rows(self, batch: ImageBatch) -> None:
        path = self._out.with_name(metadata_name(self._out.name))
        if batch.names is not None:
            check_field_names(batch.fields, FILE_NAME)
        if self._rows is None:
            self._rows = self._open_beside(path)
        with writing(path):
            for position, row in enumerate(field_rows(batch.fields, len(batch))):
                named = {} if batch.names is None else {FILE_NAME: batch.names[position]}
                self._rows.write(json_line(named | row))

    def _write_beside(self, path: Path, data: bytes) -> Path:
        file = self._open_beside(path)
        with writing(path):
            file.write(data)
        return path

    @staticmethod
    @abstractmethod
    def label_paths(out: Path) -> list[Path]:
        """Where the labels may be, first where they are written."""

    @abstractmethod
    def _begin(self) -> None:
        """Write the header."""

    @abstractmethod
    def _append(self, pixels: Pixels) -> None:
        """Write pixels."""

    @abstractmethod
    def _end(self) -> None:
        """Write what is left, and the true number of images if others came than were announced."""

    @abstractmethod
    def _label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        """The file of labels, to be written at `path`."""


@contextmanager
def one_file(kind: type[OneFileWriter], out: Path, coming: Coming, overwrite: bool) -> Iterator[OneFileWriter]:
    """A writer of `kind`, whose file and the files beside it are in place at the end, the file of pixels last.

    Files beside `out` are refused as `out` is, and old ones that are not replaced are removed: images without labels
    must not find those of others beside them.
    """
    beside = [
        *kind.label_paths(out),
        *(out.with_name(called(out.name)) for called in (metadata_name, class_names_name)),
    ]
    for path in beside:
        refuse_existing(path, overwrite)
    old = [path for path in beside if os.path.lexists(path)]
    placed: list[Path] = []
    try:
        with atomic_file(out, overwrite=overwrite) as file:
            with ExitStack() as files:
                writer = kind(
                    file, out, coming, lambda path: files.enter_context(atomic_file(path, overwrite=overwrite))
                )
                yield writer
                written = writer.finish()
            placed += [path for path in written if path not in old]
            with writing(out):
                for stale in set(old) - set(written):
                    stale.unlink(missing_ok=True)
    except BaseException:
        for path in placed:
            with suppress(OSError):  # which must not hide the first error
                path.unlink(missing_ok=True)
        raise
