"""A `.npy` file as an output, with labels, names, fields and class names in files beside it."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.images.batch import Pixels
from smalti.images.onefile import OneFileWriter

__all__ = ["NpyWriter"]


class NpyWriter(OneFileWriter):
    """uint8 or uint16 [N, H, W] for one channel, else [N, H, W, C]; 16 bits are little-endian."""

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """`a.labels.npy` for `a.npy`."""
        return [out.with_suffix(".labels.npy")]

    def _begin(self) -> None:
        self._file.write(self._header(self._coming.images))

    def _append(self, pixels: Pixels) -> None:
        self._file.write(np.ascontiguousarray(pixels, self._stored_dtype).data)

    def _end(self) -> None:
        if self._written == self._coming.images:
            return
        header = self._header(self._written)
        if len(header) != len(self._header(self._coming.images)):
            raise SmaltiError(f"{self._out}: {self._written} images came, {self._coming.images} were announced")
        self._file.seek(0)
        self._file.write(header)

    def _label_bytes(self, labels: NDArray[np.int64], path: Path) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, labels, allow_pickle=False)
        return buffer.getvalue()

    @property
    def _stored_dtype(self) -> "np.dtype[np.unsignedinteger]":
        return self._coming.dtype.newbyteorder("<")

    def _header(self, images: int) -> bytes:
        image_shape = self._coming.image_shape
        assert image_shape is not None
        shape = image_shape[:2] if image_shape[2] == 1 else image_shape
        buffer = io.BytesIO()
        facts = {"descr": self._stored_dtype.str, "fortran_order": False, "shape": (images, *shape)}
        np.lib.format.write_array_header_1_0(buffer, facts)
        return buffer.getvalue()
