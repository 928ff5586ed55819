"""IDX files, the format of MNIST: plain or gzip, always read as a stream.

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
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.columns import Columns
from smalti.storage.location import Location, beside, kind_of, name_of, open_binary, redacted, size_bytes

__all__ = ["IdxSource", "idx_header", "is_idx_file", "is_idx_name", "label_paths_of", "open_idx"]

_DEFLATE_MAX_RATIO = 1032  # no DEFLATE stream expands more (zlib's technical details)
_SKIP_BYTES = 1 << 20
_ANY_NAME = re.compile(r"[-.]idx\d(-ubyte)?(\.gz)?$")
_IMAGES_NAME = re.compile(r"(?:images)?(?P<joint>[-.])idx(?P<axes>[34])-ubyte$")


class IdxSource:
    """The images of an IDX file, uint8 [N, H, W] or [N, H, W, C], C from 1 to 4, with labels from another, uint8 [N].

    labels : the file of labels; None looks for the usual names (see `label_paths_of`)
    names, class_names : columns from the caller. If these and `labels` are all None, sidecar files are read (see
        `sidecar_columns`)

    Raises SourceError if the file is no IDX file of images, or is shorter or longer than its header says; of a
    compressed file, this is found only at its end.
    """

    def __init__(
        self,
        location: Location,
        labels: Location | None = None,
        description: str | None = None,
        *,
        names: tuple[str, ...] | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.description = redacted(location) if description is None else description
        self._location = location
        axes = _read_axes(location, "images", (3, 4))
        self._head_bytes = 4 + 4 * len(axes)
        self._images, height, width, channels = axes if len(axes) == 4 else (*axes, 1)
        if self._images == 0 or height == 0 or width == 0:
            raise SourceError(
                f"{redacted(location)}: holds {self._images} images of {height}x{width} pixels; nothing to read"
            )
        if not 1 <= channels <= 4:
            raise SourceError(f"{redacted(location)}: {channels} channels; images have 1 to 4")
        self.image_shape = (height, width, channels)
        self.dtype = np.dtype(np.uint8)
        self.skipped: tuple[SkippedFile, ...] = ()
        found = labels
        if found is None:
            usual = (beside(location, name) for name in _labels_names(name_of(location)))
            found = next((file for file in usual if kind_of(file) == "file"), None)
        read = None if found is None else _read_labels(found, self._images)
        if labels is None and names is None and class_names is None:
            from smalti.sources.folder.metadata import sidecar_columns  # noqa: PLC0415 (imports Pillow, which file names do not need)

            self._columns = sidecar_columns(location, self._images, read)
        else:
            self._columns = Columns(read, names, class_names=class_names)
        self.class_names = self._columns.class_names

    def __len__(self) -> int:
        return self._images

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield images [start, stop) once, in order; bytes before them are skipped, or for gzip decompressed.

        SourceError if the file is cut short. A pass that reads the last image also checks that nothing follows it.
        """
        first, end, _ = slice(start, stop).indices(self._images)
        image_bytes = math.prod(self.image_shape)
        with open_idx(self._location) as file:
            _skip(file, self._head_bytes + first * image_bytes, self._location)
            for batch_start in range(first, end, batch_images):
                count = min(batch_images, end - batch_start)
                data = _read_exactly(file, count * image_bytes, self._location)
                pixels = np.frombuffer(data, np.uint8).reshape(count, *self.image_shape)
                yield self._columns.batch(pixels, batch_start)
            if end == self._images:
                _expect_end(file, self._location)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Return the header of an IDX file of uint8 values of this shape (1 to 255 axes, each below 2^32)."""
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def is_idx_name(name: str) -> bool:
    """Whether a file name is that of IDX files of grey images: -idx3-ubyte or .idx3-ubyte at its end, also with .gz."""
    match = _IMAGES_NAME.search(name.removesuffix(".gz"))
    return match is not None and match["axes"] == "3"


def is_idx_file(location: Location) -> bool:
    """Whether a file is IDX, by its name or by its first two bytes after decompression."""
    if _ANY_NAME.search(name_of(location)):
        return True
    with open_idx(location) as file:
        try:
            return file.read(2) == b"\0\0"
        except (OSError, EOFError, zlib.error):  # it begins like gzip, and is not, or is damaged
            return False


def label_paths_of(path: Path) -> list[Path]:
    """Return the paths where the labels of an IDX file of images may be, the best first.

    `train-images-idx3-ubyte` has `train-labels-idx1-ubyte`, `digits-idx3-ubyte` has `digits-labels-idx1-ubyte`. The
    same holds for names with `.idx3-ubyte` (a dot) and with idx4; each plain or `.gz`.
    """
    return [path.with_name(name) for name in _labels_names(path.name)]


def open_idx(location: Location) -> BinaryIO:
    """Open an IDX file as a stream, decompressed if the file begins like gzip."""
    file = open_binary(location)
    try:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
    except OSError as error:  # such as for a folder
        file.close()
        raise SourceError(f"{redacted(location)}: cannot be read: {error.strerror or error}") from error
    return cast(BinaryIO, _Unpacked(file)) if packed else file


class _Unpacked(gzip.GzipFile):
    """Decompresses a file, and closes it when it is closed itself."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


def _labels_names(images_name: str) -> list[str]:
    plain, packed = (images_name[:-3], True) if images_name.endswith(".gz") else (images_name, False)
    match = _IMAGES_NAME.search(plain)
    if match is None:
        return []
    stem, joint = plain[: match.start()], match["joint"]
    if not match.group().startswith("images") and stem:
        stem += "-"  # digits-idx3-ubyte: "labels" is a word of its own
    name = f"{stem}labels{joint}idx1-ubyte"
    return [name + ".gz", name] if packed else [name, name + ".gz"]


def _read_axes(location: Location, what: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an IDX file, after a check of the header, and of the file's length against it."""
    where = redacted(location)
    with open_idx(location) as file:
        head = _read_exactly(file, 4, location)
        if head[:2] != b"\0\0":
            raise SourceError(f"{where}: is no IDX file (begins with {head.hex(' ')}); give IDX, .npy or a folder")
        if head[2] != 8:
            raise SourceError(f"{where}: IDX values of type 0x{head[2]:02x}; only uint8 (0x08) can be read")
        if head[3] not in axes:
            hint = " (is this the file of labels?)" if head[3] == 1 else ""
            expected_axes = " or ".join(map(str, axes))
            raise SourceError(f"{where}: an IDX file of {head[3]} axes; {what} have {expected_axes}{hint}")
        shape = struct.unpack(f">{head[3]}I", _read_exactly(file, 4 * head[3], location))
        packed = isinstance(file, gzip.GzipFile)
    expected = 4 + 4 * len(shape) + int(np.prod(shape, dtype=object))
    found = size_bytes(location)
    if expected > (found * _DEFLATE_MAX_RATIO if packed else found):
        raise _truncated(location)
    if not packed and found > expected:
        raise SourceError(f"{where}: {found - expected} bytes follow the {shape[0]} {what} its header announces")
    return shape


def _read_labels(location: Location, images: int) -> NDArray[np.int64]:
    (count,) = _read_axes(location, "labels", (1,))
    if count != images:
        raise SourceError(
            f"{redacted(location)}: {count} labels beside {images} images; give one for each, or move it away"
        )
    with open_idx(location) as file:
        _read_exactly(file, 8, location)
        labels = np.frombuffer(_read_exactly(file, count, location), np.uint8)
        _expect_end(file, location)
    return labels.astype(np.int64)


def _read_exactly(file: BinaryIO, count: int, location: Location) -> bytes:
    try:
        data = file.read(count)
    except EOFError as error:
        raise _truncated(location) from error
    except (OSError, zlib.error) as error:
        raise SourceError(f"{redacted(location)}: cannot be unpacked: {error}; copy or download it again") from error
    if len(data) != count:
        raise _truncated(location)
    return data


def _skip(file: BinaryIO, count: int, location: Location) -> None:
    """Skip `count` bytes from the beginning; in a compressed file, by reading them."""
    if not isinstance(file, gzip.GzipFile):
        file.seek(count)  # all streams are at their beginning here
        return
    while count > 0:
        count -= len(_read_exactly(file, min(count, _SKIP_BYTES), location))


def _expect_end(file: BinaryIO, location: Location) -> None:
    try:
        rest = file.read(1)
    except EOFError as error:
        raise _truncated(location) from error
    except (OSError, zlib.error) as error:
        raise SourceError(f"{redacted(location)}: damaged at its end: {error}; copy or download it again") from error
    if rest:
        raise SourceError(f"{redacted(location)}: bytes follow the images its header announces; write or copy it again")


def _truncated(location: Location) -> SourceError:
    return SourceError(f"{redacted(location)}: is truncated: shorter than its header says; copy or download it again")
