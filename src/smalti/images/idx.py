"""IDX files, the format of MNIST: plain or gzip, read as a stream and never as a whole.

An IDX file is a big-endian header (two zero bytes, a byte for the type: 8 is uint8, a byte for the number of axes,
then one uint32 for each axis) and the values in C order. Described on the page of the MNIST database (LeCun,
Cortes, Burges).
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile

__all__ = ["IdxSource", "idx_header", "is_idx_name", "labels_beside", "open_idx"]

_DEFLATE_MAX_RATIO = 1032  # no DEFLATE stream expands more (zlib's technical details)
_IMAGES_NAME = re.compile(r"(?:images)?(?P<joint>[-.])idx(?P<axes>[34])-ubyte$")


class IdxSource:
    """Images of an IDX file uint8 [N, H, W] or [N, H, W, C], C from 1 to 4, and their labels in one of uint8 [N].

    labels : the file of labels; None looks for the usual name beside `path` (see `labels_beside`)
    names, class_names : what is known of the images besides

    Raises SourceError if the file is no IDX file of images, or is shorter or longer than its header says; of a
    compressed file this shows only when the end is reached.
    """

    def __init__(
        self,
        path: Path,
        labels: Path | None = None,
        description: str | None = None,
        *,
        names: tuple[str, ...] | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.description = str(path) if description is None else description
        self._path = path
        axes = _read_axes(path, "images", (3, 4))
        self._head_bytes = 4 + 4 * len(axes)
        self._images, height, width, channels = axes if len(axes) == 4 else (*axes, 1)
        if self._images == 0 or height == 0 or width == 0:
            raise SourceError(f"{path}: holds {self._images} images of {height}x{width} pixels; nothing to read")
        if not 1 <= channels <= 4:
            raise SourceError(f"{path}: {channels} channels; images have 1 to 4")
        self.image_shape = (height, width, channels)
        self.class_names = class_names
        self._names = names
        self.skipped: tuple[SkippedFile, ...] = ()
        found = labels or next((file for file in labels_beside(path) if file.is_file()), None)
        self._labels = None if found is None else _read_labels(found, self._images)

    def __len__(self) -> int:
        return self._images

    def batches(self, batch_images: int) -> Iterator[ImageBatch]:
        """Yield every image once, in order; SourceError at the end of a file that is cut short."""
        with open_idx(self._path) as file:
            _read_exactly(file, self._head_bytes, self._path)
            for start in range(0, self._images, batch_images):
                stop = min(start + batch_images, self._images)
                data = _read_exactly(file, (stop - start) * math.prod(self.image_shape), self._path)
                pixels = np.frombuffer(data, np.uint8).reshape(stop - start, *self.image_shape)
                labels = None if self._labels is None else self._labels[start:stop]
                yield ImageBatch(pixels, labels, None if self._names is None else self._names[start:stop])
            _expect_end(file, self._path)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The header of an IDX file of uint8 values of this shape (1 to 255 axes, each below 2^32)."""
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def is_idx_name(name: str) -> bool:
    """Whether a file name ends as those of IDX files of grey images do: -idx3-ubyte or .idx3-ubyte, also with .gz."""
    match = _IMAGES_NAME.search(name.removesuffix(".gz"))
    return match is not None and match["axes"] == "3"


def labels_beside(path: Path) -> list[Path]:
    """Where the labels of an IDX file of images may be, the best first.

    `train-images-idx3-ubyte` has `train-labels-idx1-ubyte`, `digits-idx3-ubyte` has `digits-labels-idx1-ubyte`;
    with `.idx3-ubyte` the same with a dot; with idx4 the same; plain or `.gz`.
    """
    plain, packed = (path.name[:-3], True) if path.name.endswith(".gz") else (path.name, False)
    match = _IMAGES_NAME.search(plain)
    if match is None:
        return []
    stem, joint = plain[: match.start()], match["joint"]
    if not match.group().startswith("images") and stem:
        stem += "-"  # digits-idx3-ubyte: "labels" is a word of its own
    name = f"{stem}labels{joint}idx1-ubyte"
    both = [path.with_name(name), path.with_name(name + ".gz")]
    return both[::-1] if packed else both


def open_idx(path: Path) -> BinaryIO:
    """The bytes of an IDX file as a stream, unpacked if the file begins as gzip does."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_axes(path: Path, what: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of an IDX file's axes, after a check of the header and of the file's length against it."""
    with open_idx(path) as file:
        head = _read_exactly(file, 4, path)
        if head[:2] != b"\0\0":
            raise SourceError(f"{path}: is no IDX file (begins with {head.hex(' ')}); give IDX, .npy or a folder")
        if head[2] != 8:
            raise SourceError(f"{path}: IDX values of type 0x{head[2]:02x}; only uint8 (0x08) can be read")
        if head[3] not in axes:
            hint = " (is this the file of labels?)" if head[3] == 1 else ""
            raise SourceError(f"{path}: an IDX file of {head[3]} axes; {what} have {' or '.join(map(str, axes))}{hint}")
        shape = struct.unpack(f">{head[3]}I", _read_exactly(file, 4 * head[3], path))
        packed = isinstance(file, gzip.GzipFile)
    wanted = 4 + 4 * len(shape) + int(np.prod(shape, dtype=object))
    found = path.stat().st_size
    if wanted > (found * _DEFLATE_MAX_RATIO if packed else found):
        raise _truncated(path)
    if not packed and found > wanted:
        raise SourceError(f"{path}: {found - wanted} bytes follow the {shape[0]} {what} its header announces")
    return shape


def _read_labels(path: Path, images: int) -> NDArray[np.int64]:
    (count,) = _read_axes(path, "labels", (1,))
    if count != images:
        raise SourceError(f"{path}: {count} labels beside {images} images; give one for each, or move it away")
    with open_idx(path) as file:
        _read_exactly(file, 8, path)
        labels = np.frombuffer(_read_exactly(file, count, path), np.uint8)
        _expect_end(file, path)
    return labels.astype(np.int64)


def _read_exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    try:
        data = file.read(count)
    except EOFError as error:
        raise _truncated(path) from error
    except (OSError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be unpacked: {error}; copy or download it again") from error
    if len(data) != count:
        raise _truncated(path)
    return data


def _expect_end(file: BinaryIO, path: Path) -> None:
    try:
        rest = file.read(1)
    except EOFError as error:
        raise _truncated(path) from error
    except (OSError, zlib.error) as error:
        raise SourceError(f"{path}: damaged at its end: {error}; copy or download it again") from error
    if rest:
        raise SourceError(f"{path}: bytes follow the images its header announces; write or copy it again")


def _truncated(path: Path) -> SourceError:
    return SourceError(f"{path}: is truncated: shorter than its header says; copy or download it again")
