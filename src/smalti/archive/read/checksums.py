"""The checksums of the decoded pixels of an open archive, block after block."""

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import Rectangle
from smalti.archive.format.layout import crc32c
from smalti.archive.read.block_decoder import plain_bytes
from smalti.archive.read.cell_pixels import UnitChecksums
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import CellStore, ImageStore
from smalti.errors import DamagedArchiveError
from smalti.lazy import cached_property

__all__ = ["NeighbourLostError", "PixelChecksums", "open_checksums"]


class NeighbourLostError(DamagedArchiveError):
    """Pixels of a block depend on tokens of another block, which is damaged."""


class PixelChecksums(Protocol):
    """Decodes blocks in order."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the pixels of all blocks so far, image after image."""

    def of_block(self, number: int) -> int:
        """The crc32c of the pixels of a block. DamagedArchiveError, NeighbourLostError."""


def open_checksums(file: SectionFile, store: ImageStore | CellStore, threads: int) -> PixelChecksums:
    """The checksums of an archive of either form."""
    if isinstance(store, ImageStore):
        return _ImageChecksums(file, store, threads)
    return _CellChecksums(file, store, threads)


class _ImageChecksums:
    """Of images of one shape."""

    def __init__(self, file: SectionFile, store: ImageStore, threads: int) -> None:
        self._signed = file.header.is_signed
        self._store, self._threads = store, threads
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def of_block(self, number: int) -> int:
        block, found = self._store.block(number), 0
        for _, pixels in self._store.decoder.rows(block, np.arange(len(block.indices)), self._threads):
            plain = plain_bytes(pixels, self._signed)
            found = crc32c(plain, found)
            self._digest.update(plain)
        return found


class _CellChecksums:
    """Of images of any sizes."""

    def __init__(self, file: SectionFile, store: CellStore, threads: int) -> None:
        self._file, self._store, self._threads = file, store, threads

    @property
    def digest(self) -> str:
        return self._units.digest.hexdigest()

    def of_block(self, number: int) -> int:
        return self._units.checksum(number, self._threads)

    @cached_property
    def _units(self) -> UnitChecksums:
        tokens = _Neighbours(self._store)
        signed, limits = self._file.header.is_signed, self._file.limits
        return UnitChecksums(self._store.model, self._store.layout, tokens, signed, limits)


class _Neighbours:
    """Tokens of a store, its damage as that of neighbours: the block itself was read before."""

    def __init__(self, store: CellStore) -> None:
        self._store = store

    def window(self, wanted: Rectangle) -> NDArray[np.uint16]:
        try:
            return self._store.window(wanted)
        except DamagedArchiveError as error:
            raise NeighbourLostError(str(error)) from error

    def whole(self, images: NDArray[np.int64]) -> NDArray[np.uint16]:
        return self._store.whole(images)
