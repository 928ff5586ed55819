"""An IDX file as an output, the format of MNIST, with labels in the IDX file beside it that MNIST has."""

import gzip
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.images.batch import Pixels
from smalti.images.idx import idx_header, labels_beside
from smalti.images.onefile import OneFileWriter

__all__ = ["IdxWriter"]


class IdxWriter(OneFileWriter):
    """uint8 [N, H, W], packed by gzip without a time stamp if the name ends with .gz."""

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """As `labels_beside`."""
        return labels_beside(out)

    def _begin(self) -> None:
        packed = self._out.name.endswith(".gz")
        self._stream = cast(BinaryIO, gzip.GzipFile("", "wb", 6, self._file, mtime=0)) if packed else self._file
        self._stream.write(self._header(self._coming.images))

    def _append(self, pixels: Pixels) -> None:
        self._stream.write(np.ascontiguousarray(pixels).data)

    def _end(self) -> None:
        if self._stream is not self._file:
            self._stream.close()
        if self._written == self._coming.images:
            return
        if self._stream is not self._file:
            raise SmaltiError(
                f"{self._out}: {self._written} images came, {self._coming.images} were announced, which .gz cannot "
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
        image_shape = self._coming.image_shape
        assert image_shape is not None
        return idx_header((images, *image_shape[:2]))
