"""MRC and CCP4 files, of electron microscopes and maps of density, read by the header that mrcfile defines.

Samples are kept as stored. Their rows go from the bottom of the picture upwards, by convention. A file is one image, a
stack of images, or one or several volumes, as its space group says (MRC2014, Cheng et al. 2015).
"""

import json
from typing import Any, BinaryIO, Literal

import numpy as np

from smalti.errors import MissingDependencyError
from smalti.imagefiles.format import ImageFile, ImageFormat, UnreadableImageError
from smalti.imagefiles.scientific.volumes import (
    ROWS_FROM_BOTTOM,
    STORED_DTYPE,
    Volumes,
    first_bytes,
    raw_volume,
    stream_of,
)
from smalti.images.batch import Scalar

__all__ = ["MRC"]

_HEADER_BYTES, _MAP = 1024, slice(208, 211)
_IMOD = 1146047817  # the stamp of IMOD, which then uses flags of its own: 1 means signed bytes
_MODES = {
    2: "32-bit float samples",
    3: "complex samples of 16-bit integers",
    4: "complex samples of 32-bit floats",
    12: "16-bit float samples",
    16: "RGB of mode 16, which is no standard",
    101: "4-bit samples",
}
_KEPT = {0: "i1", 1: "i2", 6: "u2"}
_IMAGES, _VOLUME_STACKS = 0, 401  # space groups; others are volumes, and volume stacks from 401 on


def _open(file: BinaryIO) -> ImageFile:
    stream = stream_of(file)
    header = _header(stream.file.read(_HEADER_BYTES))
    mode = int(header["mode"])
    if mode not in _KEPT:
        kind = _MODES.get(mode, f"samples of mode {mode}, which is not known")
        raise UnreadableImageError(f"{kind}; images have integers of 8 or 16 bits, scale and convert")
    stored = np.dtype(_KEPT[mode]).newbyteorder(header.dtype["mode"].byteorder)
    width, height, depth = (int(header[name]) for name in ("nx", "ny", "nz"))
    if min(width, height, depth, int(header["nsymbt"]) + 1) < 1:
        raise UnreadableImageError("damaged: a size below 1")
    start = _HEADER_BYTES + int(header["nsymbt"])
    volume, unread = raw_volume(stream, start, stored, (height, width), _axes(header, depth), _fields(header))
    return Volumes([volume], unread)


def _header(head: bytes) -> Any:
    try:
        from mrcfile import dtypes, utils  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of("MRC", "mrcfile", "science") from error
    if len(head) < _HEADER_BYTES:
        raise UnreadableImageError("damaged: cut off within its header")
    stamp = np.frombuffer(head, dtypes.HEADER_DTYPE)[0]["machst"]
    order = utils.byte_order_from_machine_stamp(stamp)
    return np.frombuffer(head, dtypes.HEADER_DTYPE.newbyteorder(order))[0]


def _axes(header: Any, depth: int) -> list[tuple[str, int]]:
    """Return the axes of planes: images of a stack, planes of a volume, or those of several volumes."""
    if int(header["ispg"]) == _IMAGES:
        return [("frame", depth)]
    across = "z" if _order(header) in ([1, 2, 3], [0, 0, 0]) else "plane"
    each = int(header["mz"])
    if int(header["ispg"]) >= _VOLUME_STACKS and 0 < each < depth and depth % each == 0:
        return [("frame", depth // each), (across, each)]
    return [(across, depth)]


def _order(header: Any) -> list[int]:
    """Return which axis of space columns, rows and planes are: 1 is x."""
    return [int(header[name]) for name in ("mapc", "mapr", "maps")]


def _fields(header: Any) -> dict[str, Scalar]:
    fields: dict[str, Scalar] = {ROWS_FROM_BOTTOM: True}
    lengths, counts = header["cella"], [int(header[name]) for name in ("mx", "my", "mz")]
    sizes = [float(lengths[axis]) / count if count > 0 else 0.0 for axis, count in zip("xyz", counts, strict=True)]
    if all(0 < size < np.inf for size in sizes):
        fields["voxel_size"] = json.dumps([float(np.float32(size)) for size in sizes])
        fields["voxel_unit"] = "angstrom"
    if _order(header) not in ([1, 2, 3], [0, 0, 0]):
        fields["map_axes"] = json.dumps(_order(header))
    extra = bytes(header["extra2"])  # bytes 112 to 195 of the file
    order: Literal["big", "little"] = "big" if header["mode"].dtype.byteorder == ">" else "little"
    if int(header["mode"]) == 0 and int.from_bytes(extra[40:44], order) == _IMOD:
        fields["imod_flags"] = int.from_bytes(extra[44:48], order)
    return fields


def _matches(head: bytes) -> bool:
    return first_bytes(head)[_MAP] == b"MAP"


MRC = ImageFormat(
    "MRC",
    (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".ccp4", ".mrc.gz", ".map.gz"),
    _matches,
    _open,
    (
        "frame",
        "z",
        "plane",
        ROWS_FROM_BOTTOM,
        "voxel_size",
        "voxel_unit",
        "map_axes",
        "imod_flags",
        STORED_DTYPE,
    ),
)
