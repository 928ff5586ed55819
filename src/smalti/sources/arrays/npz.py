"""`.npz` files as sources: NumPy's ZIP of `.npy` members, such as MedMNIST's and Keras', read as streams.

A stored member (`np.savez`) is read from any position; a deflated one (`np.savez_compressed`) is decompressed from its
beginning up to the requested rows. Pickled members are refused.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.source import ImageSource
from smalti.sources.arrays.containers import container_sources
from smalti.sources.arrays.layout import ArrayFacts
from smalti.sources.arrays.npy import NpyRows
from smalti.storage.location import Location, open_binary, redacted

__all__ = ["NpzFile", "npz_sources"]

_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of name and extra field, in front of a member's data
_SKIP_BYTES = 1 << 20
_MAX_MEMBERS = 1000  # the header of each is read
_UNREADABLE = (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, struct.error, NotImplementedError)


def npz_sources(location: Location, key: str | None = None) -> list[ImageSource]:
    """Return one source for each shape and dtype in an `.npz` file; see `container_sources`."""
    return container_sources(NpzFile(location), key)


class NpzFile:
    """The arrays of an `.npz` file. SourceError for other files, damaged ones, and Python objects."""

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location
        with self._reading(), open_binary(location) as file, zipfile.ZipFile(file) as packed:
            members = packed.infolist()
        self._members = {info.filename.removesuffix(".npy"): info for info in members if not info.is_dir()}
        if len(self._members) > _MAX_MEMBERS:
            advice = "save the images as one array [N, H, W] or [N, H, W, C]"
            raise SourceError(f"{self.description}: holds {len(self._members)} arrays; {advice}")
        self._rows: dict[str, NpyRows] = {}

    def arrays(self) -> Mapping[str, ArrayFacts]:
        """Return all arrays, in the order of the file."""
        return {key: ArrayFacts(self.rows(key).shape, self.rows(key).dtype) for key in self._members}

    def rows(self, key: str) -> NpyRows:
        """Return a member that is read some rows at a time."""
        if key not in self._rows:
            info, where = self._members[key], f"{self.description}::{key}"
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise SourceError(f"{where}: is encrypted or packed by another method than DEFLATE; write it anew")
            self._rows[key] = NpyRows(lambda: self._opened(info), info.file_size, where)
        return self._rows[key]

    def whole(self, key: str) -> NDArray[np.generic]:
        """Return a member in memory."""
        return self.rows(key).whole()

    def class_names(self, key: str) -> Mapping[int, str]:
        """Return an empty mapping: NumPy has no enumerations."""
        return {}

    def _opened(self, info: zipfile.ZipInfo) -> BinaryIO:
        with self._reading():
            return cast(BinaryIO, _Member(self._location, info))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except SourceError:
            raise
        except _UNREADABLE as error:
            what = f"is no .npz file, or a damaged one ({error})"
            raise SourceError(f"{self.description}: {what}; write or copy it again") from error


class _Member(io.RawIOBase):
    """A member of a ZIP file, with a file handle of its own, which can seek forwards.

    The checksum is verified if the member is read from beginning to end. After a seek in a stored member it is not,
    because the bytes before are not read.
    """

    def __init__(self, location: Location, info: zipfile.ZipInfo) -> None:
        super().__init__()
        self._info = info
        self._file = open_binary(location)
        self._zip: zipfile.ZipFile | None = None
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._stream = self._zip.open(info)
        except BaseException:
            self.close()
            raise
        self._position = 0
        self._data_start: int | None = None  # of a stored member, after a seek

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if self._data_start is None:
            data = self._stream.read(-1 if size is None else size)
        else:
            left = self._info.file_size - self._position
            data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise io.UnsupportedOperation("a member of a ZIP file is read forwards")
        if self._info.compress_type == zipfile.ZIP_STORED:
            self._file.seek(self._info.header_offset)
            lengths = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
            self._data_start = self._info.header_offset + _LOCAL_HEADER.size + sum(lengths)
            self._file.seek(self._data_start + offset)
            self._position = offset
        while self._position < offset and self.read(min(_SKIP_BYTES, offset - self._position)):
            pass
        return self._position

    def close(self) -> None:
        if not self.closed:
            if self._zip is not None:
                self._zip.close()
            self._file.close()
        super().close()
