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
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.images.batch import NO_LABEL, ImageBatch, OutputSpec, Pixels
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

__all__ = ["IdxWriter", "NpyWriter", "OneFileWriter", "one_file"]


class OneFileWriter(ABC):
    """Writes a header and pixels of one shape. Labels stay in memory until the end; names and fields do not.

    open_sidecar : opens a sidecar file for writing
    """

    def __init__(self, file: BinaryIO, out: Path, spec: OutputSpec, open_sidecar: Callable[[Path], BinaryIO]) -> None:
        self._file = file
        self._open_sidecar = open_sidecar
        self._rows: BinaryIO | None = None
        self._out = out
        self._spec = spec
        self._written = 0
        self._labels: list[NDArray[np.int64]] = []
        with writing(out):
            self._begin()

    def write(self, batch: ImageBatch) -> None:
        """Append the images of a batch."""
        if batch.pixels.shape[1:] != self._spec.image_shape or batch.pixels.dtype != self._spec.dtype:
            found = f"{batch.pixels.dtype} {batch.pixels.shape[1:]}"
            raise ValueError(f"images of {found} for an output of {self._spec.dtype} {self._spec.image_shape}")
        has_rows = batch.names is not None or bool(batch.fields) or self._rows is not None
        with writing(self._out):
            self._append(batch.pixels)
        if batch.labels is not None and not self._labels and self._written:
            self._labels.append(np.full(self._written, NO_LABEL, np.int64))
        if batch.labels is not None or self._labels:
            unknown = np.full(len(batch), NO_LABEL, np.int64)
            self._labels.append(unknown if batch.labels is None else np.array(batch.labels))
        if has_rows:
            self._write_rows(batch)
        self._written += len(batch)

    def finish(self) -> list[Path]:
        """Write the rest; return the sidecar files of these images."""
        with writing(self._out):
            self._end()
        sidecars = [] if self._rows is None else [self._out.with_name(metadata_name(self._out.name))]
        labels = np.concatenate(self._labels) if self._labels else None
        if labels is not None:
            path = self.label_paths(self._out)[0]
            sidecars.append(self._write_sidecar(path, self._label_bytes(labels, path)))
        if self._spec.class_names is not None:
            path = self._out.with_name(class_names_name(self._out.name))
            sidecars.append(self._write_sidecar(path, class_names_bytes(self._spec.class_names)))
        return sidecars

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

    def _write_sidecar(self, path: Path, data: bytes) -> Path:
        file = self._open_sidecar(path)
        with writing(path):
            file.write(data)
        return path

    @staticmethod
    @abstractmethod
    def label_paths(out: Path) -> list[Path]:
        """Return the paths where readers look for labels; the first is the path to write."""

    @abstractmethod
    def _begin(self) -> None:
        """Write the header."""

    @abstractmethod
    def _append(self, pixels: Pixels) -> None:
        """Write pixels."""

    @abstractmethod
    def _end(self) -> None:
        """Write the rest, and correct the number of images in the header if it differs from the announced one."""

    @abstractmethod
    def _label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        """Return the bytes of the file of labels at `path`."""


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
    """Writes uint8 or uint16 [N, H, W] for one channel, else [N, H, W, C]; 16 bits are little-endian."""

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """Return `a.labels.npy` for `a.npy`."""
        return [out.with_suffix(".labels.npy")]

    def _begin(self) -> None:
        self._file.write(self._header(self._spec.images))

    def _append(self, pixels: Pixels) -> None:
        self._file.write(np.ascontiguousarray(pixels, self._stored_dtype).data)

    def _end(self) -> None:
        if self._written == self._spec.images:
            return
        header = self._header(self._written)
        if len(header) != len(self._header(self._spec.images)):
            raise SmaltiError(f"{self._out}: {self._written} images came, {self._spec.images} were announced")
        self._file.seek(0)
        self._file.write(header)

    def _label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, labels, allow_pickle=False)
        return buffer.getvalue()

    @property
    def _stored_dtype(self) -> "np.dtype[np.unsignedinteger]":
        return self._spec.dtype.newbyteorder("<")

    def _header(self, images: int) -> bytes:
        image_shape = self._spec.image_shape
        assert image_shape is not None
        shape = image_shape[:2] if image_shape[2] == 1 else image_shape
        buffer = io.BytesIO()
        facts = {"descr": self._stored_dtype.str, "fortran_order": False, "shape": (images, *shape)}
        np.lib.format.write_array_header_1_0(buffer, facts)
        return buffer.getvalue()


class IdxWriter(OneFileWriter):
    """Writes uint8 [N, H, W], compressed by gzip without a time stamp if the name ends with .gz."""

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """Return the paths that readers of IDX try."""
        return label_paths_of(out)

    def _begin(self) -> None:
        compressed = self._out.name.endswith(".gz")
        self._stream = cast(BinaryIO, gzip.GzipFile("", "wb", 6, self._file, mtime=0)) if compressed else self._file
        self._stream.write(self._header(self._spec.images))

    def _append(self, pixels: Pixels) -> None:
        self._stream.write(np.ascontiguousarray(pixels).data)

    def _end(self) -> None:
        if self._stream is not self._file:
            self._stream.close()
        if self._written == self._spec.images:
            return
        if self._stream is not self._file:
            raise SmaltiError(
                f"{self._out}: {self._written} images came, {self._spec.images} were announced, which .gz cannot "
                "take back; write without .gz"
            )
        self._file.seek(0)
        self._file.write(self._header(self._written))

    def _label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        if len(labels) and not 0 <= labels.min() <= labels.max() <= 255:
            raise SmaltiError(f"{path}: IDX labels lie in 0..255, these in {labels.min()}..{labels.max()}; write .npy")
        data = idx_header(labels.shape) + labels.astype(np.uint8).tobytes()
        return gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data

    def _header(self, images: int) -> bytes:
        image_shape = self._spec.image_shape
        assert image_shape is not None
        return idx_header((images, *image_shape[:2]))
