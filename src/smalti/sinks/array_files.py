"""Outputs of one file of pixels: `.npy`, and IDX, the format of MNIST.

Both are a header, then the pixels. Labels, names, fields and class names are in sidecar files; labels of an IDX file
are in a second IDX file, named as for MNIST.
"""

import gzip
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.images.batch import NO_LABEL, ImageBatch, OutputSpec
from smalti.images.vocabulary import FILE_NAME
from smalti.sources.arrays.idx import idx_header, label_paths_of
from smalti.sources.folder.sidecar import (
    check_field_names,
    class_names_bytes,
    class_names_name,
    field_rows,
    json_line,
    metadata_name,
)
from smalti.storage.atomic import atomic_file, refuse_existing, writing

__all__ = ["ArrayFile", "IdxWriter", "NpyFile", "NpyWriter", "OneFileWriter", "one_file"]


class ArrayFile(ABC):
    """Writes one array, a few rows at a time: a header, then values.

    file : open for writing    path : its name, for errors
    shape : the announced number of rows, and the shape of a row    dtype : of what `append` is given
    """

    def __init__(self, file: BinaryIO, path: Path, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        self._path, self._dtype = path, dtype
        self._announced, self._row_shape = shape[0], shape[1:]
        self._rows = 0
        self._file = file
        with writing(path):
            self._stream = self._opened(file)
            self._stream.write(self._header(self._announced))

    def append(self, values: NDArray[Any]) -> None:
        """Write values [n, *shape of a row]."""
        with writing(self._path):
            self._stream.write(self._stored(values).data)
        self._rows += len(values)

    def finish(self) -> None:
        """Write the rest, and correct the number of rows in the header if it differs from the announced one."""
        with writing(self._path):
            self._stream.write(self._tail())
            if self._stream is not self._file:
                self._stream.close()
            if self._rows != self._announced:
                self._correct(self._header(self._rows))

    def _opened(self, file: BinaryIO) -> BinaryIO:
        """Return the stream that all is written to: gzip without a time stamp, if the name ends with .gz."""
        return cast(BinaryIO, gzip.GzipFile("", "wb", 6, file, mtime=0)) if self._path.name.endswith(".gz") else file

    def _correct(self, header: bytes) -> None:
        if self._stream is not self._file or len(header) != len(self._header(self._announced)):
            advice = ", which .gz cannot take back; write without .gz" if self._stream is not self._file else ""
            raise SmaltiError(f"{self._path}: {self._rows} images came, {self._announced} were announced{advice}")
        self._file.seek(0)
        self._file.write(header)

    def _tail(self) -> bytes:
        """Return what follows the values."""
        return b""

    @abstractmethod
    def _header(self, rows: int) -> bytes:
        """Return the header of so many rows."""

    @abstractmethod
    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values as they are stored, contiguous."""


class NpyFile(ArrayFile):
    """An .npy file, little-endian."""

    def _header(self, rows: int) -> bytes:
        buffer = io.BytesIO()
        facts = {"descr": self._dtype.newbyteorder("<").str, "fortran_order": False, "shape": (rows, *self._row_shape)}
        np.lib.format.write_array_header_1_0(buffer, facts)
        return buffer.getvalue()

    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values, self._dtype.newbyteorder("<"))


class _IdxFile(ArrayFile):
    """An IDX file of uint8."""

    def _header(self, rows: int) -> bytes:
        return idx_header((rows, *self._row_shape))

    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype != np.uint8 and len(values) and not 0 <= values.min() <= values.max() <= 255:
            found = f"{values.min()}..{values.max()}"
            raise SmaltiError(f"{self._path}: IDX labels lie in 0..255, these in {found}; write .npy")
        return np.ascontiguousarray(values, np.uint8)


class OneFileWriter(ABC):
    """Writes pixels of one shape to a file, and labels to another of the same form. Nothing stays in memory.

    open_sidecar : opens a sidecar file for writing
    """

    form: type[ArrayFile]
    label_form: type[ArrayFile]

    def __init__(self, file: BinaryIO, out: Path, spec: OutputSpec, open_sidecar: Callable[[Path], BinaryIO]) -> None:
        self._open_sidecar = open_sidecar
        self._rows: BinaryIO | None = None
        self._out = out
        self._spec = spec
        self._written = 0
        self._pixels = self.pixels_file(file, out, spec)
        self._labels: ArrayFile | None = None

    def write(self, batch: ImageBatch) -> None:
        """Append the images of a batch."""
        if batch.pixels.shape[1:] != self._spec.image_shape or batch.pixels.dtype != self._spec.dtype:
            found = f"{batch.pixels.dtype} {batch.pixels.shape[1:]}"
            raise ValueError(f"images of {found} for an output of {self._spec.dtype} {self._spec.image_shape}")
        self._pixels.append(batch.pixels)
        if batch.labels is not None or self._labels is not None:
            self._write_labels(batch)
        if batch.names is not None or batch.fields or self._rows is not None:
            self._write_rows(batch)
        self._written += len(batch)

    def finish(self) -> list[Path]:
        """Write the rest; return the sidecar files of these images."""
        self._pixels.finish()
        sidecars = [] if self._rows is None else [self._out.with_name(metadata_name(self._out.name))]
        if self._labels is not None:
            self._labels.finish()
            sidecars.append(self.label_paths(self._out)[0])
        if self._spec.class_names is not None:
            path = self._out.with_name(class_names_name(self._out.name))
            file = self._open_sidecar(path)
            with writing(path):
                file.write(class_names_bytes(self._spec.class_names))
            sidecars.append(path)
        return sidecars

    def pixels_file(self, file: BinaryIO, out: Path, spec: OutputSpec) -> ArrayFile:
        """Return the file of pixels, begun."""
        assert spec.image_shape is not None
        return self.form(file, out, (spec.images, *self.stored_shape(spec.image_shape)), spec.dtype)

    def _write_labels(self, batch: ImageBatch) -> None:
        if self._labels is None:
            path = self.label_paths(self._out)[0]
            self._labels = self.label_form(self._open_sidecar(path), path, (self._spec.images,), np.dtype(np.int64))
            self._labels.append(np.full(self._written, NO_LABEL, np.int64))  # images before, which had none
        unknown = np.full(len(batch), NO_LABEL, np.int64)
        self._labels.append(unknown if batch.labels is None else np.asarray(batch.labels, np.int64))

    def _write_rows(self, batch: ImageBatch) -> None:
        path = self._out.with_name(metadata_name(self._out.name))
        if batch.names is not None:
            check_field_names(batch.fields, FILE_NAME)
        if self._rows is None:
            self._rows = self._open_sidecar(path)
            with writing(path):
                self._rows.write(json_line({}) * self._written)  # for images before, which had no names and fields
        with writing(path):
            for position, row in enumerate(field_rows(batch.fields, len(batch))):
                named = {} if batch.names is None else {FILE_NAME: batch.names[position]}
                self._rows.write(json_line(named | row))

    @staticmethod
    @abstractmethod
    def label_paths(out: Path) -> list[Path]:
        """Return the paths where readers look for labels; the first is the path to write."""

    @staticmethod
    @abstractmethod
    def stored_shape(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the shape that an image H, W, C has in the file."""


@contextmanager
def one_file(kind: type[OneFileWriter], out: Path, spec: OutputSpec, overwrite: bool) -> Iterator[OneFileWriter]:
    """Open a writer of `kind`. At the end its sidecar files appear, and then the file of pixels.

    Existing sidecar files are refused as `out` is. Old ones that are not replaced are removed, because they belong to
    other images.
    """
    sidecars = [
        *kind.label_paths(out),
        *(out.with_name(called(out.name)) for called in (metadata_name, class_names_name)),
    ]
    for path in sidecars:
        refuse_existing(path, overwrite)
    old = [path for path in sidecars if os.path.lexists(path)]
    new: list[Path] = []
    try:
        with atomic_file(out, overwrite=overwrite) as file:
            with ExitStack() as files:
                writer = kind(file, out, spec, lambda path: files.enter_context(atomic_file(path, overwrite=overwrite)))
                yield writer
                written = writer.finish()
            new += [path for path in written if path not in old]
            with writing(out):
                for stale in set(old) - set(written):
                    stale.unlink(missing_ok=True)
    except BaseException:
        for path in new:
            with suppress(OSError):  # a second error must not hide the first
                path.unlink(missing_ok=True)
        raise


class NpyWriter(OneFileWriter):
    """Writes uint8, uint16 or int16 [N, H, W] for one channel, else [N, H, W, C]; labels as int64."""

    form = label_form = NpyFile

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """Return `a.labels.npy` for `a.npy`."""
        return [out.with_suffix(".labels.npy")]

    @staticmethod
    def stored_shape(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return H and W, and C if there is more than one channel."""
        return image_shape[:2] if image_shape[2] == 1 else image_shape


class IdxWriter(OneFileWriter):
    """Writes uint8 [N, H, W], and labels as uint8."""

    form = label_form = _IdxFile

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """Return the paths that readers of IDX try."""
        return label_paths_of(out)

    @staticmethod
    def stored_shape(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return H and W."""
        return image_shape[:2]
