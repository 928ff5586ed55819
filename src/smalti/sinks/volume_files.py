"""Outputs of one file that holds a stack of planes: TIFF, NIfTI and FITS.

A volume that was read from such a file comes out with its axes, and with what its format says of space, if all images
come from one file in its order; else planes follow each other. Samples are as stored. Labels, names and fields are in
sidecar files, as beside `.npy`.
"""

import io
import json
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError
from smalti.imagefiles.png import png_bytes
from smalti.images.batch import INT16, OutputSpec, Pixels, Scalar
from smalti.sinks.array_files import ArrayFile, NpyFile, OneFileWriter

__all__ = ["FitsWriter", "NiftiWriter", "TiffWriter", "image_file"]

_BIG = 0xFFFF_0000  # bytes from which a TIFF file needs offsets of 64 bits
_SHORT, _LONG, _ASCII, _LONG8 = 3, 4, 2, 16  # types of TIFF values
_UNASSOCIATED = 2
_FITS_BLOCK = 2880
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


class VolumeFile(ArrayFile):
    """A file of planes. spec : of the output"""

    def __init__(self, file: BinaryIO, path: Path, spec: OutputSpec) -> None:
        assert spec.image_shape is not None
        self._spec = spec
        super().__init__(file, path, (spec.images, *spec.image_shape), spec.dtype)

    def _axes(self, rows: int) -> tuple[tuple[str, int], ...]:
        """Return the axes of the planes; one axis if planes are missing, or of no volume."""
        axes = self._spec.axes
        return axes if axes and math.prod(size for _, size in axes) == rows else (("z", rows),)


class _TiffFile(VolumeFile):
    """Pages without compression, little-endian; BigTIFF from 4 GB on. All directories follow the pixels."""

    @property
    def _is_big(self) -> bool:
        return self._announced * self._page_bytes > _BIG - 512 * self._announced

    @property
    def _page_bytes(self) -> int:
        return self._dtype.itemsize * math.prod(self._row_shape)

    def _header(self, rows: int) -> bytes:
        length = 16 if self._is_big else 8
        first = length + rows * self._page_bytes
        first += first % 2
        if self._is_big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first)
        return struct.pack("<2sHI", b"II", 42, first)

    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values, self._dtype.newbyteorder("<"))

    def _tail(self) -> bytes:
        """Return the directories of all pages, from where the header says."""
        start = len(self._header(self._rows)) + self._rows * self._page_bytes
        tail = bytearray(start % 2)
        for page in range(self._rows):
            tail += self._directory(page, start + len(tail))
        return bytes(tail)

    def _directory(self, page: int, offset: int) -> bytes:
        """Return the directory of a page, which begins at `offset`, and the values that follow it."""
        count, entry, word = ("<Q", "<HHQ", "<Q") if self._is_big else ("<H", "<HHI", "<I")
        room = struct.calcsize(word)
        height, width, channels = self._row_shape
        tags = self._tags(page, height, width, channels)
        after = offset + struct.calcsize(count) + len(tags) * (struct.calcsize(entry) + room) + room
        entries, values = b"", b""
        for tag, kind, data, number in tags:
            stored = data
            if len(data) > room:
                stored = struct.pack(word, after + len(values))
                values += data + bytes(len(data) % 2)
            entries += struct.pack(entry, tag, kind, number) + stored.ljust(room, b"\0")
        following = after + len(values) if page + 1 < self._rows else 0
        return struct.pack(count, len(tags)) + entries + struct.pack(word, following) + values

    def _tags(self, page: int, height: int, width: int, channels: int) -> list[tuple[int, int, bytes, int]]:
        """Return tag, type, bytes and number of the values of a page, ascending."""

        def short(*numbers: int) -> tuple[int, bytes, int]:
            return _SHORT, struct.pack(f"<{len(numbers)}H", *numbers), len(numbers)

        def whole(number: int) -> tuple[int, bytes, int]:
            return (_LONG8, struct.pack("<Q", number), 1) if self._is_big else (_LONG, struct.pack("<I", number), 1)

        text = b"" if page else self._description()
        start = len(self._header(self._rows)) + page * self._page_bytes
        found = {
            256: whole(width),
            257: whole(height),
            258: short(*[8 * self._dtype.itemsize] * channels),
            259: short(1),
            262: short(1 if channels < 3 else 2),
            270: (_ASCII, text, len(text)),
            273: whole(start),
            277: short(channels),
            278: whole(height),
            279: whole(self._page_bytes),
            338: short(_UNASSOCIATED),
            339: short(*[2 if self._dtype == np.int16 else 1] * channels),
        }
        if not text:
            del found[270]
        if channels in (1, 3):
            del found[338]
        return [(tag, *value) for tag, value in found.items()]

    def _description(self) -> bytes:
        """Return the shape and its axes, in the words of tifffile; nothing for a lone image, which has no place."""
        if self._rows == 1 and not self._spec.axes:
            return b""
        axes = self._axes(self._rows)
        colour = (self._row_shape[2],) if self._row_shape[2] > 1 else ()
        shape = [*(size for _, size in axes), *self._row_shape[:2], *colour]
        letters = "".join(_letter(name) for name, _ in axes) + ("YXS" if colour else "YX")
        return json.dumps({"shape": shape, "axes": letters}).encode() + b"\0"


def image_file(pixels: Pixels) -> bytes:
    """Return the file of one image [H, W, C]: PNG, or for int16 TIFF, as PNG has no signed samples."""
    if pixels.dtype != INT16:
        return png_bytes(pixels)
    buffer = io.BytesIO()
    height, width, channels = pixels.shape
    file = _TiffFile(buffer, Path("image.tif"), OutputSpec(1, (height, width, channels), INT16))
    file.append(pixels[np.newaxis])
    file.finish()
    return buffer.getvalue()


def _letter(axis: str) -> str:
    return {"z": "Z", "t": "T", "c": "C"}.get(axis, "I")


class _NiftiFile(VolumeFile):
    """NIfTI-1 of up to five axes: columns, rows, and those of the planes. `.nii.gz` is packed."""

    def _header(self, rows: int) -> bytes:
        try:
            from nibabel.nifti1 import Nifti1Header  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise MissingDependencyError.of(f"{self._path}", "nibabel", "science") from error
        height, width, channels = self._row_shape
        sizes = dict(reversed(self._axes(rows)))
        shape = [width, height, sizes.pop("z", 1), *(sizes.pop(name) for name in ("t", "c") if name in sizes)]
        made: Any = Nifti1Header
        header = made(endianness="<")
        header.set_data_dtype(_RGB if channels == 3 else self._dtype)
        header.set_data_shape([*shape, *sizes.values()])
        header["vox_offset"] = 352
        header["magic"] = b"n+1"
        shared = self._spec.shared
        affine = shared.get("affine")
        if isinstance(affine, str):
            header.set_sform(np.array(json.loads(affine)), code="scanner")
            header.set_qform(np.array(json.loads(affine)), code="scanner", strip_shears=True)
        zooms = shared.get("voxel_size")
        if isinstance(zooms, str):
            header["pixdim"][1:4] = json.loads(zooms)
        if "scl_slope" in shared:
            header["scl_slope"], header["scl_inter"] = shared["scl_slope"], shared["scl_inter"]
        return bytes(header.binaryblock) + bytes(4)

    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values, self._dtype.newbyteorder("<"))


class _FitsFile(VolumeFile):
    """A cube in the primary array, big-endian. Unsigned samples of 16 bits have a BZERO of 32,768."""

    def _header(self, rows: int) -> bytes:
        try:
            from astropy.io.fits import Header  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise MissingDependencyError.of(f"{self._path}", "astropy", "science") from error
        height, width, _ = self._row_shape
        sizes = [width, height, *(size for _, size in reversed(self._axes(rows)))]
        made: Any = Header
        header = made([("SIMPLE", True), ("BITPIX", 8 * self._dtype.itemsize), ("NAXIS", len(sizes))])
        for number, size in enumerate(sizes, 1):
            header[f"NAXIS{number}"] = size
        shared = self._spec.shared
        scales: dict[str, Scalar] = {"BZERO": 32768, "BSCALE": 1} if self._dtype == np.uint16 else {}
        scales |= {name: shared[name.lower()] for name in ("BSCALE", "BZERO", "BLANK") if name.lower() in shared}
        for name, value in scales.items():
            header[name] = value
        for number in range(3, len(sizes) + 1):
            if f"ctype{number}" in shared:
                header[f"CTYPE{number}"] = shared[f"ctype{number}"]
        return cast(bytes, header.tostring().encode("ascii"))

    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        if self._dtype == np.uint16:
            values = (values ^ np.uint16(0x8000)).view(np.int16)
        return np.ascontiguousarray(values, values.dtype.newbyteorder(">"))

    def _tail(self) -> bytes:
        return bytes(-(self._rows * self._dtype.itemsize * math.prod(self._row_shape)) % _FITS_BLOCK)


class VolumeWriter(OneFileWriter):
    """Writes planes of one shape to a file, and labels to an `.npy` file beside it."""

    form: type[VolumeFile]
    label_form = NpyFile

    def pixels_file(self, file: BinaryIO, out: Path, spec: OutputSpec) -> ArrayFile:
        """Return the file of pixels, begun."""
        return self.form(file, out, spec)

    @staticmethod
    def label_paths(out: Path) -> list[Path]:
        """Return `a.labels.npy` for `a.tif`."""
        return [out.with_name(f"{out.name.removesuffix('.gz').rpartition('.')[0]}.labels.npy")]

    @staticmethod
    def stored_shape(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return H, W and C."""
        return image_shape


class TiffWriter(VolumeWriter):
    """Writes images of any channels and dtype as pages."""

    form = _TiffFile


class NiftiWriter(VolumeWriter):
    """Writes grey images of any dtype, or RGB of 8 bits."""

    form = _NiftiFile


class FitsWriter(VolumeWriter):
    """Writes grey images of any dtype."""

    form = _FitsFile
