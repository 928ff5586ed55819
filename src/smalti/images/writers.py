"""Images out of smalti: a folder of PNG files, a `.npy` or an IDX file, each whole or not at all.

Writers take batches as sources yield them, so memory does not grow with the number of images, but for their
labels (8 bytes each).
"""

import gzip
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError, UsageError
from smalti.files import atomic_file, refuse_existing, writing
from smalti.images.batch import ImageBatch
from smalti.images.idx import idx_header, is_idx_name, labels_beside
from smalti.images.listing import IMAGE_SUFFIXES

__all__ = ["ImageWriter", "check_output_name", "open_image_writer"]

_FOREIGN_SUFFIXES = IMAGE_SUFFIXES | {".npz", ".zip", ".tar", ".gz", ".tgz", ".parquet", ".smalti", ".h5", ".zarr"}


class ImageWriter(Protocol):
    """Takes images in order."""

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch after those before. Labels are all there or all absent."""


@contextmanager
def open_image_writer(
    out: Path,
    image_shape: tuple[int, int, int],
    images: int,
    *,
    overwrite: bool = False,
    class_names: Sequence[str] | None = None,
) -> Iterator[ImageWriter]:
    """A writer of images whose output is in place at the end of the `with` block, if nothing was raised.

    out : NAME.npy (labels go to NAME.labels.npy); NAME-idx3-ubyte or NAME.idx3-ubyte, also with .gz, for one channel
        (labels go beside it, see `labels_beside`); any other name is a folder of PNG files
    image_shape : height, width, channels
    images : how many will come
    class_names : folder names of labels, for images without names

    Raises OutputExistsError if the output exists and `overwrite` is not set (an empty folder is fine), UsageError
    for a name or a shape that cannot be meant, SmaltiError if the system refuses to write.
    """
    check_output_name(out, image_shape)
    if out.suffix == ".npy" or is_idx_name(out.name):
        with _one_file(out, image_shape, images, overwrite) as file_writer:
            yield file_writer
    else:
        from smalti.images.pngfolder import png_folder  # noqa: PLC0415 (Pillow, which the other outputs do without)

        names = None if class_names is None else tuple(class_names)
        with png_folder(out, images, overwrite=overwrite, class_names=names) as folder_writer:
            yield folder_writer


def check_output_name(out: Path, image_shape: tuple[int, int, int]) -> None:
    """Raise UsageError unless `out` is a name that images of this shape can be written to."""
    if is_idx_name(out.name) and image_shape[2] != 1:
        raise UsageError(f"{out}: IDX holds images of one channel, these have {image_shape[2]}; write .npy or PNG")
    if not is_idx_name(out.name) and out.suffix.lower() in _FOREIGN_SUFFIXES and not out.is_dir():
        raise UsageError(f"{out}: {out.suffix} cannot be written; give a folder (PNG), .npy, or -idx3-ubyte (also .gz)")


@contextmanager
def _one_file(out: Path, image_shape: tuple[int, int, int], images: int, overwrite: bool) -> "Iterator[_OneFileWriter]":
    kind = _NpyWriter if out.suffix == ".npy" else _IdxWriter
    beside = [out.with_suffix(".labels.npy")] if kind is _NpyWriter else labels_beside(out)
    for path in beside:
        refuse_existing(path, overwrite)  # images without labels must not find those of others beside them
    with atomic_file(out, overwrite=overwrite) as file:
        writer = kind(file, out, image_shape, images)
        yield writer
        writer.finish()
        labels = writer.labels
        if labels is not None:
            with atomic_file(beside[0], overwrite=overwrite) as labels_file, writing(beside[0]):
                labels_file.write(writer.label_bytes(labels, beside[0]))
        with writing(out):
            for stale in beside if labels is None else beside[1:]:
                stale.unlink(missing_ok=True)


class _OneFileWriter(ABC):
    """A header, then pixels; the labels are kept until the end."""

    def __init__(self, file: BinaryIO, out: Path, image_shape: tuple[int, int, int], images: int) -> None:
        self._file = file
        self._out = out
        self._image_shape = image_shape
        self._announced = images
        self._written = 0
        self._labels: list[NDArray[np.int64]] = []
        with writing(out):
            self._begin()

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """All labels, or None if the images had none."""
        return np.concatenate(self._labels) if self._labels else None

    def write(self, batch: ImageBatch) -> None:
        """Append the images of a batch."""
        if batch.pixels.shape[1:] != self._image_shape:
            raise ValueError(f"images of {batch.pixels.shape[1:]} for an output of {self._image_shape}")
        if self._written and (batch.labels is None) != (not self._labels):
            raise ValueError("labels must come with every batch or with none")
        with writing(self._out):
            self._append(np.ascontiguousarray(batch.pixels))
        self._written += len(batch)
        if batch.labels is not None:
            self._labels.append(np.array(batch.labels))

    @abstractmethod
    def _begin(self) -> None:
        """Write the header."""

    @abstractmethod
    def _append(self, pixels: NDArray[np.uint8]) -> None:
        """Write pixels."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left, and the true number of images if others came than were announced."""

    @abstractmethod
    def label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        """The file of labels, to be written at `path`."""


class _NpyWriter(_OneFileWriter):
    """[N, H, W] for one channel, else [N, H, W, C]."""

    def _begin(self) -> None:
        self._file.write(self._header(self._announced))

    def _append(self, pixels: NDArray[np.uint8]) -> None:
        self._file.write(pixels.data)

    def finish(self) -> None:
        if self._written != self._announced:
            header = self._header(self._written)
            if len(header) != len(self._header(self._announced)):
                raise SmaltiError(f"{self._out}: {self._written} images came, {self._announced} were announced")
            with writing(self._out):
                self._file.seek(0)
                self._file.write(header)

    def label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, labels, allow_pickle=False)
        return buffer.getvalue()

    def _header(self, images: int) -> bytes:
        shape = self._image_shape[:2] if self._image_shape[2] == 1 else self._image_shape
        buffer = io.BytesIO()
        facts = {"descr": "|u1", "fortran_order": False, "shape": (images, *shape)}
        np.lib.format.write_array_header_1_0(buffer, facts)
        return buffer.getvalue()


class _IdxWriter(_OneFileWriter):
    """uint8 [N, H, W], packed by gzip without a time stamp if the name ends with .gz."""

    def _begin(self) -> None:
        packed = self._out.name.endswith(".gz")
        self._stream = cast(BinaryIO, gzip.GzipFile("", "wb", 6, self._file, mtime=0)) if packed else self._file
        self._stream.write(idx_header((self._announced, *self._image_shape[:2])))

    def _append(self, pixels: NDArray[np.uint8]) -> None:
        self._stream.write(pixels.data)

    def finish(self) -> None:
        with writing(self._out):
            if self._stream is not self._file:
                self._stream.close()
            if self._written == self._announced:
                return
            if self._stream is not self._file:
                raise SmaltiError(
                    f"{self._out}: {self._written} images came, {self._announced} were announced, which .gz cannot "
                    "take back; write without .gz"
                )
            self._file.seek(0)
            self._file.write(idx_header((self._written, *self._image_shape[:2])))

    def label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        if len(labels) and not 0 <= labels.min() <= labels.max() <= 255:
            raise SmaltiError(f"{path}: IDX labels lie in 0..255, these in {labels.min()}..{labels.max()}; write .npy")
        data = idx_header(labels.shape) + labels.astype(np.uint8).tobytes()
        return gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data
