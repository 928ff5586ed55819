"""NIfTI-1 and NIfTI-2 files of magnetic resonance and other scans, plain or gzip, with headers read by nibabel.

Each slice along the third axis, for each time, is an image: rows along the second axis, columns along the first.
Samples are as stored: slope and intercept are fields, and so is the affine map to space. Nothing is turned.
"""

import json
from typing import Any, BinaryIO

import numpy as np

from smalti.errors import MissingDependencyError
from smalti.imagefiles.format import ImageFile, ImageFormat, UnreadableImageError
from smalti.imagefiles.scientific.volumes import (
    STORED_DTYPE,
    Stream,
    Volumes,
    first_bytes,
    raw_volume,
    stream_of,
)
from smalti.images.batch import Scalar

__all__ = ["NIFTI"]

_SIZE_1, _SIZE_2 = 348, 540  # bytes of the headers, which are also their first number
_MAGIC_1, _MAGIC_2 = slice(344, 348), slice(4, 12)
_AXES = ("z", "t", "c", "plane", "plane2")  # the third to the seventh
_UNITS = {1: "m", 2: "mm", 3: "micron"}


def _open(file: BinaryIO) -> ImageFile:
    stream = stream_of(file)
    header = _header(stream)
    shape = [int(size) for size in header.get_data_shape()]
    if len(shape) < 2:
        raise UnreadableImageError(f"{len(shape)} axis; an image has two")
    stored, channels = _samples(header.get_data_dtype())
    start = float(header["vox_offset"])
    if not _SIZE_1 + 4 <= start < 1 << 62:
        raise UnreadableImageError(f"damaged: samples from byte {start:g} on, which is within its header")
    axes = list(zip(_AXES, shape[2:], strict=False))[::-1]
    plane = (shape[1], shape[0], *channels)
    volume, unread = raw_volume(stream, int(start), stored, plane, axes, _fields(header))
    return Volumes([volume], unread)


def _header(stream: Stream) -> Any:
    try:
        from nibabel.nifti1 import Nifti1Header  # noqa: PLC0415 (optional: few files need it)
        from nibabel.nifti2 import Nifti2Header  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError.of("NIfTI", "nibabel", "science") from error
    head = stream.file.read(_SIZE_2)
    first = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    if head[_MAGIC_1 if _SIZE_1 in first else _MAGIC_2].startswith(b"ni"):
        raise UnreadableImageError("its samples are in another file (.img); write both as one file, .nii")
    kind, size = (Nifti2Header, _SIZE_2) if _SIZE_2 in first else (Nifti1Header, _SIZE_1)
    if len(head) < size:
        raise UnreadableImageError("damaged: cut off within its header")
    # nibabel's own checks print to stderr, and mend what they can in memory; what matters is checked by the caller.
    made: Any = kind
    return made(head[:size], check=False)


def _samples(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype of samples, and their number in a pixel if they are colours."""
    if dtype.names is None:
        return dtype, ()
    return dtype[0], (len(dtype.names),)


def _fields(header: Any) -> dict[str, Scalar]:
    fields: dict[str, Scalar] = {}
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isfinite(slope) and slope != 0 and (slope, intercept) != (1, 0):  # 0 means that there is none
        fields["scl_slope"], fields["scl_inter"] = slope, intercept
    fields["affine"] = json.dumps(np.asarray(header.get_best_affine()).tolist())
    fields["voxel_size"] = json.dumps([float(size) for size in header.get_zooms()[:3]])
    unit = _UNITS.get(int(header["xyzt_units"]) & 7)
    if unit is not None:
        fields["voxel_unit"] = unit
    return fields


def _matches(head: bytes) -> bool:
    first = first_bytes(head)
    if int.from_bytes(first[:4], "little") == _SIZE_1 or int.from_bytes(first[:4], "big") == _SIZE_1:
        return first[_MAGIC_1] in (b"n+1\0", b"ni1\0")
    return first[_MAGIC_2] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")


NIFTI = ImageFormat(
    "NIfTI",
    (".nii", ".nii.gz"),
    _matches,
    _open,
    ("t", "z", "c", "plane", "plane2", "scl_slope", "scl_inter", "affine", "voxel_size", "voxel_unit", STORED_DTYPE),
)
