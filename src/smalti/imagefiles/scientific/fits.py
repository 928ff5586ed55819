"""FITS files of telescopes, with headers and tile compression read by astropy; also as a whole in gzip.

Every extension with an image is read, plane by plane. Samples are as stored, except that integers stored with an offset
of 32768, which is how the format has unsigned ones, become uint16. Other scales are fields. Rows go from the bottom of
the picture upwards, by convention.
"""

import math
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError
from smalti.imagefiles.format import ImageFile, ImageFormat, UnreadableImageError, check_size
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.scientific.volumes import (
    ROWS_FROM_BOTTOM,
    Stream,
    Volume,
    Volumes,
    first_bytes,
    pixel_dtype,
    raw_volume,
    stream_of,
)
from smalti.images.batch import UINT16, Pixels, Scalar

__all__ = ["FITS"]

_STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_PLANES = ("plane", "plane2", "plane3", "plane4", "plane5")
_KINDS_OF_AXES = tuple(f"ctype{axis}" for axis in range(3, 3 + len(_PLANES)))
_OFFSET = 1 << 15  # of unsigned samples of 16 bits
_SLAB_SAMPLES = 1 << 22


def _open(file: BinaryIO) -> ImageFile:
    stream = stream_of(file)
    volumes: list[Volume] = []
    refused: list[str] = []
    with quiet_decoders():
        images = [(number, hdu) for number, hdu in enumerate(_hdus(stream)) if _is_image(hdu)]
        for number, hdu in images:
            fields: dict[str, Scalar] = {"hdu": number} if len(images) > 1 else {}
            try:
                volumes.append(_volume(stream, hdu, {**fields, **_fields(hdu)}))
            except UnreadableImageError as error:
                refused.append(f"HDU {number}: {error}" if len(images) > 1 else str(error))
    if not volumes:
        raise UnreadableImageError("; ".join(refused) or "no image in it; tables are not read")
    return Volumes(volumes, "; ".join(refused) or None)


def _hdus(stream: Stream) -> Any:
    try:
        from astropy.io import fits  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of("FITS", "astropy", "science") from error
    stream.file.seek(0)
    return fits.open(stream.file, memmap=False, do_not_scale_image_data=True)


def _is_image(hdu: Any) -> bool:
    """Whether it has pixels: some extensions are a header alone, some are tables."""
    return bool(hdu.is_image) and math.prod(hdu.shape or (0,)) > 0


def _volume(stream: Stream, hdu: Any, fields: Mapping[str, Scalar]) -> Volume:
    """Return the planes of an image extension. UnreadableImageError for samples and shapes that images cannot have."""
    header, shape = hdu.header, tuple(int(size) for size in hdu.shape)
    stored = np.dtype(_STORED[int(header["BITPIX"])])
    pixel_dtype(stored)  # refuses floats, which tell more than the number of axes
    if not 2 <= len(shape) <= 2 + len(_PLANES):
        words = "axis" if len(shape) == 1 else "axes"
        raise UnreadableImageError(f"{len(shape)} {words}; an image has two, and a cube three or more")
    names = _PLANES[: len(shape) - 2][::-1]
    axes = list(zip(names, shape[:-2], strict=True))
    compressed = hasattr(hdu, "compression_type")
    if compressed:
        volume = _compressed_volume(stream, hdu, stored, shape, axes, fields)
    else:
        volume, _ = raw_volume(stream, hdu.fileinfo()["datLoc"], stored, shape[-2:], axes, fields)
    if stored == np.dtype(">i2") and (header.get("BZERO", 0), header.get("BSCALE", 1)) == (_OFFSET, 1):
        return Volume(volume.shape, UINT16, volume.axes, lambda number: _unsigned(volume.read(number)), fields)
    scales = {name.lower(): float(header[name]) for name in ("BSCALE", "BZERO") if name in header}
    plain = {"bscale": 1.0, "bzero": 0.0}
    scaled = {} if {**plain, **scales} == plain else {**plain, **scales}
    return Volume(volume.shape, volume.dtype, volume.axes, volume.read, {**fields, **scaled})


def _unsigned(pixels: Pixels) -> Pixels:
    """Return samples stored with an offset of 32768, int16, as the uint16 that they stand for."""
    return cast(Pixels, pixels.view(np.uint16) ^ np.uint16(_OFFSET))


def _compressed_volume(
    stream: Stream,
    hdu: Any,
    stored: np.dtype[Any],
    shape: tuple[int, ...],
    axes: list[tuple[str, int]],
    fields: Mapping[str, Scalar],
) -> Volume:
    """Return the planes of an image that is compressed tile by tile, in a table of bytes."""
    height, width = shape[-2:]
    check_size(width, height)
    tile = [int(size) for size in hdu.tile_shape]
    if min(tile) < 1 or max([1, *tile[:-3]]) > 1:
        raise UnreadableImageError("compressed in tiles across more than three axes; write it anew")
    tiles = math.prod(-(-size // part) for size, part in zip(shape, tile, strict=True))
    rows, row_bytes = int(hdu._bintable.header["NAXIS2"]), int(hdu._bintable.header["NAXIS1"])
    if rows != tiles or rows * row_bytes > hdu.fileinfo()["datSpan"]:
        raise UnreadableImageError(f"damaged: {rows:,} compressed tiles, where {tiles:,} are needed")
    depth = min(tile[-3], shape[-3]) if len(tile) > 2 else 1
    check_size(width * depth, height)
    # astropy copies the whole index of tiles for each section: some planes are read at once.
    slab = depth * max(1, _SLAB_SAMPLES // (depth * height * width))
    last: tuple[int, NDArray[Any]] | None = None

    def read(number: int) -> Pixels:
        nonlocal last
        *outer, inner = np.unravel_index(number, shape[:-2]) if len(shape) > 2 else (0,)
        start = number - int(inner) % slab
        if last is None or last[0] != start:
            stream.check(hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"])
            place = int(inner) - int(inner) % slab
            planes = slice(place, min(place + slab, shape[-3])) if len(shape) > 2 else None
            with quiet_decoders():
                index = (*(int(part) for part in outer), planes) if planes else ...
                last = start, np.asarray(hdu.section[index]).reshape(-1, height, width)
        samples = last[1][number - start]
        return cast(Pixels, samples.astype(pixel_dtype(stored))[:, :, None])

    return Volume((height, width, 1), pixel_dtype(stored), tuple(axes), read, fields)


def _fields(hdu: Any) -> dict[str, Scalar]:
    """Return the fields of an extension that do not depend on its samples."""
    fields: dict[str, Scalar] = {ROWS_FROM_BOTTOM: True}
    if hdu.header.get("EXTNAME"):
        fields["extname"] = str(hdu.header["EXTNAME"])
    if isinstance(hdu.header.get("BLANK"), int):
        fields["blank"] = int(hdu.header["BLANK"])
    for axis, size in enumerate(hdu.shape[::-1][2:], 3):
        if size > 1 and hdu.header.get(f"CTYPE{axis}"):
            fields[f"ctype{axis}"] = str(hdu.header[f"CTYPE{axis}"])
    return fields


FITS = ImageFormat(
    "FITS",
    (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".fz"),
    lambda head: first_bytes(head).startswith(b"SIMPLE  ="),
    _open,
    ("hdu", "extname", *_PLANES, *_KINDS_OF_AXES, ROWS_FROM_BOTTOM, "bscale", "bzero", "blank"),
)
