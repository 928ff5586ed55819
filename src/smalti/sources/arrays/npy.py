"""`.npy`, NumPy's format of one array, read some rows at a time: from a file, a URL, or a member of an `.npz`.

The format is described in NumPy's documentation (numpy.lib.format): a magic, a header that is a Python literal, the
values. Arrays of Python objects are pickles, and are refused.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.columns import check_labels
from smalti.sources.arrays.array_source import RowsSource
from smalti.sources.folder.metadata import sidecar_columns
from smalti.storage.location import Location, beside, is_url, kind_of, name_of, open_binary, redacted, size_bytes

__all__ = ["NpyRows", "NpySource"]

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, struct.error)


class NpySource(RowsSource):
    """The images of a `.npy` file, with labels from `NAME.labels.npy` if it exists, and other sidecar columns.

    Raises SourceError if the file is no `.npy`, is truncated, or holds no images.
    """

    def __init__(self, location: Location) -> None:
        rows = _rows_of(location)
        neighbour = beside(location, name_of(location)[: -len(".npy")] + ".labels.npy")
        images = rows.shape[0] if rows.shape else 0
        labels = None
        if kind_of(neighbour) == "file":
            stored = _rows_of(neighbour).whole()
            labels = check_labels(stored[:, 0] if stored.shape == (images, 1) else stored, images, redacted(neighbour))
        super().__init__(redacted(location), rows, sidecar_columns(location, images, labels))


class NpyRows:
    """The rows of an array in the `.npy` format, read as a stream.

    opened : opens the bytes as a file that can seek forwards
    size_bytes : the number of bytes
    where : what messages call the array
    path : the local file, which can be mapped; without it, Fortran order cannot be read
    """

    def __init__(self, opened: Callable[[], BinaryIO], size_bytes: int, where: str, path: Path | None = None) -> None:
        self._opened = opened
        self._size_bytes = size_bytes
        self._where = where
        self._path = path
        with opened() as file:
            self._header = self._read_header(file)
        self.shape, self._fortran, self.dtype, self._data_offset = self._header
        end = self._data_offset + self._row_bytes * (self.shape[0] if self.shape else 1)
        if end > size_bytes:
            raise self._truncated()
        if end < size_bytes:
            more = f"{size_bytes - end:,} bytes follow the array that its header announces"
            raise SourceError(f"{where}: {more}; save each array in a file of its own")

    def blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        """Yield rows [start, stop) in blocks of `rows`. SourceError if the file has changed or is damaged."""
        if self._fortran:
            yield from self._mapped_blocks(rows, start, stop)
            return
        with self._opened() as file:
            if self._read_header(file) != self._header:
                raise self._changed()
            state = _state(file)
            if start:
                self._seek(file, self._data_offset + start * self._row_bytes)
            for first in range(start, stop, rows):
                shape = (min(rows, stop - first), *self.shape[1:])
                data = self._read(file, shape[0] * self._row_bytes)
                if _state(file) != state:
                    raise self._changed()
                yield np.ndarray(shape, self.dtype, data)

    def whole(self) -> NDArray[np.generic]:
        """Return the array in memory; for small arrays."""
        with self._opened() as file:
            self._read_header(file)
            data = self._read(file, self._row_bytes * (self.shape[0] if self.shape else 1))
        return np.ndarray(self.shape, self.dtype, data, order="F" if self._fortran else "C")

    @property
    def _row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))

    def _mapped_blocks(self, rows: int, start: int, stop: int) -> Iterator[NDArray[np.generic]]:
        """Yield blocks of an array in Fortran order, where each row is scattered over the whole file.

        The file is mapped anew for each block, and the block copied, so that pages read before no longer count as
        memory of this process.
        """
        if self._path is None:
            raise SourceError(f"{self._where}: is stored in Fortran order; save np.ascontiguousarray of it")
        for first in range(start, stop, rows):
            with self._opened() as file:
                if self._read_header(file) != self._header:
                    raise self._changed()
            try:
                mapped = np.memmap(self._path, self.dtype, "r", self._data_offset, self.shape, "F")
            except (ValueError, OSError) as error:  # the file is shorter than it was
                raise self._changed() from error
            yield np.array(mapped[first : min(first + rows, stop)], order="C")

    def _read_header(self, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
        """Return shape, whether the order is Fortran's, dtype, and the offset of the values; `file` is then there."""
        magic = self._read(file, min(len(_MAGIC), self._size_bytes))
        if magic != _MAGIC:
            raise SourceError(f"{self._where}: {_not_npy(magic)}")
        head = _Counted(file, len(_MAGIC))
        try:
            version = tuple(head.read(2))
            if len(version) == 2 and version not in _HEADERS:
                raise SourceError(f"{self._where}: is .npy of version {version}; save it with a plain dtype")
            shape, fortran, dtype = _HEADERS[version if len(version) == 2 else (1, 0)](head)
        except SourceError:
            raise
        except (ValueError, *_UNREADABLE) as error:
            raise self._broken_header(str(error)) from error
        if dtype.hasobject:
            advice = "save arrays of numbers or strings"
            raise SourceError(f"{self._where}: holds Python objects, which could run code when read; {advice}")
        return tuple(shape), bool(fortran), dtype, head.offset

    def _broken_header(self, message: str) -> SourceError:
        if "EOF" in message or "header" in message:
            return self._truncated()
        return SourceError(f"{self._where}: cannot be read as .npy: {(message.splitlines() or [''])[0]}")

    def _read(self, file: BinaryIO, count: int) -> bytes:
        try:
            data = file.read(count)
        except EOFError as error:
            raise self._truncated() from error
        except _UNREADABLE as error:
            raise SourceError(f"{self._where}: cannot be read: {error}; copy or download it again") from error
        if len(data) != count:
            raise self._truncated()
        return data

    def _seek(self, file: BinaryIO, offset: int) -> None:
        try:
            file.seek(offset)
        except _UNREADABLE as error:  # a compressed stream reads all that lies before
            raise SourceError(f"{self._where}: cannot be read: {error}; copy or download it again") from error

    def _truncated(self) -> SourceError:
        return SourceError(f"{self._where}: is truncated; write or copy it again")

    def _changed(self) -> SourceError:
        return SourceError(f"{self._where}: changed while it was read; start again")


class _Counted:
    """A file that counts the bytes read."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self.offset = offset

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.offset += len(data)
        return data


def _rows_of(location: Location) -> NpyRows:
    path = None if is_url(location) else Path(location)
    return NpyRows(lambda: open_binary(location), size_bytes(location), redacted(location), path)


def _state(file: BinaryIO) -> tuple[int, int] | None:
    """Return facts that change when a local file is written to; None for other streams."""
    try:
        facts = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return None
    return facts.st_size, facts.st_mtime_ns


def _not_npy(magic: bytes) -> str:
    if magic.startswith(b"PK"):
        return "is no .npy file but an archive of arrays; call it .npz"
    return "is no .npy file (does not begin with its magic); write it with np.save" if magic else "is empty"
