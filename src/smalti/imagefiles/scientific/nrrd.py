"""NRRD files, read by the header that pynrrd reads: raw or gzip samples behind their header.

The first axis of a file runs fastest. It holds channels if the file says so; the next two are columns and rows, and all
further ones number the planes. Samples are as stored, and the geometry of the file is in fields.
"""

import io
import json
from typing import Any, BinaryIO, cast

import numpy as np

from smalti.errors import MissingDependencyError
from smalti.imagefiles.format import ImageFile, ImageFormat, UnreadableImageError, check_size
from smalti.imagefiles.scientific.volumes import STORED_DTYPE, Volume, Volumes, gzip_stream, plain_stream, raw_volume
from smalti.images.batch import Pixels, Scalar

__all__ = ["NRRD"]

_MAX_HEADER_BYTES = 1 << 20
_TYPES = {
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i1": ("signed char", "int8", "int8_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
}
_COLOURS = {"RGB-color": 3, "RGBA-color": 4}
_PLACES = ("domain", "space", "time", "???", "none")  # kinds of axes that are none of channels
_MAX_CHANNELS = 4096


def _open(file: BinaryIO) -> ImageFile:
    header, start = _header(file)
    sizes = [int(size) for size in header["sizes"]]
    kinds = [str(kind) for kind in header.get("kinds", ["???"] * len(sizes))]
    if len(sizes) != int(header["dimension"]) or len(kinds) != len(sizes) or min(sizes) < 1:
        raise UnreadableImageError("damaged: its header states other numbers of axes")
    has_channels = kinds[0] not in _PLACES
    if len(sizes) < 2 + has_channels:
        raise UnreadableImageError(f"{len(sizes)} axes; an image has two, besides channels")
    width, height = sizes[has_channels : 2 + has_channels]
    check_size(width, height)
    packed = str(header["encoding"]) in ("gzip", "gz")
    stream = gzip_stream(file, start) if packed else plain_stream(file)
    channels = [sizes[0]] if has_channels else []
    axes = _axes(header, sizes, kinds, 2 + has_channels)
    if channels and channels[0] > _MAX_CHANNELS:
        raise UnreadableImageError(f"{channels[0]:,} channels")
    plane = (height, width, *channels)
    volume, unread = raw_volume(stream, 0 if packed else start, _dtype(header), plane, axes, _fields(header))
    if channels and _COLOURS.get(kinds[0]) != channels[0]:
        volume = _apart(volume)
    return Volumes([volume], unread)


def _header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header, and the first byte of the samples."""
    try:
        import nrrd  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of("NRRD", "pynrrd", "science") from error
    file.seek(0)
    head = file.read(_MAX_HEADER_BYTES)
    ends = [(place, len(end)) for end in (b"\n\n", b"\r\n\r\n") if (place := head.find(end)) >= 0]
    if not ends:
        raise UnreadableImageError("damaged: its header has no end")
    start = sum(min(ends))
    header = cast(dict[str, Any], nrrd.read_header(io.BytesIO(head[:start])))
    lacking = [name for name in ("dimension", "sizes", "type", "encoding") if name not in header]
    if lacking:
        raise UnreadableImageError(f"damaged: its header lacks {', '.join(lacking)}")
    if "data file" in header or "datafile" in header:
        raise UnreadableImageError("its samples are in other files; write all as one file, .nrrd")
    if any(int(header.get(name, 0)) for name in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise UnreadableImageError("its samples do not follow its header (line skip, byte skip); write it anew")
    if str(header["encoding"]) not in ("raw", "gzip", "gz"):
        raise UnreadableImageError(f"encoding {header['encoding']}; write it as raw or gzip")
    return header, start


def _dtype(header: dict[str, Any]) -> np.dtype[Any]:
    name = str(header["type"])
    code = next((code for code, names in _TYPES.items() if name in names), None)
    if code is None:
        raise UnreadableImageError(f"samples of type {name}; images have integers of 8 or 16 bits, scale and convert")
    order = str(header.get("endian", "little"))
    if code[1] == "2" and ("endian" not in header or order not in ("little", "big")):
        raise UnreadableImageError("16-bit samples without their byte order")
    return np.dtype(code).newbyteorder(cast(Any, order))


def _axes(header: dict[str, Any], sizes: list[int], kinds: list[str], first: int) -> list[tuple[str, int]]:
    """Return the axes of planes, the slowest first. The third axis of space is z, if the file speaks of space."""
    in_space = "space" in header or "space dimension" in header or "space directions" in header
    names: list[str] = []
    for place, kind in enumerate(kinds[first:]):
        if kind == "time":
            name = "t"
        elif kind in ("list", "vector", *_COLOURS) or kind.endswith(("-color", "-vector")):
            name = "c"
        elif place == 0 and in_space and kind in _PLACES:
            name = "z"
        else:
            name = "plane"
        number = sum(known.startswith(name) for known in names) + 1
        names.append(name if number == 1 else f"{name}{number}")
    unknown = set(names) - set(_AXES)
    if unknown:
        raise UnreadableImageError(f"{len(sizes)} axes, of which too many are of one kind")
    return list(zip(names, sizes[first:], strict=True))[::-1]


def _apart(volume: Volume) -> Volume:
    """Return planes that are one channel each, of planes whose channels are no colours and lie pixel by pixel."""
    height, width, channels = volume.shape
    last: tuple[int, Pixels] | None = None

    def read(number: int) -> Pixels:
        nonlocal last
        place, channel = divmod(number, channels)
        if last is None or last[0] != place:
            last = place, volume.read(place)
        return last[1][:, :, channel : channel + 1].copy()

    return Volume((height, width, 1), volume.dtype, (*volume.axes, ("c", channels)), read, volume.fields)


def _fields(header: dict[str, Any]) -> dict[str, Scalar]:
    fields: dict[str, Scalar] = {"space": str(header["space"])} if "space" in header else {}
    for name in ("space directions", "space origin", "spacings"):
        if name in header:
            fields[name.replace(" ", "_")] = json.dumps(_plain(header[name]))
    return fields


def _plain(value: Any) -> Any:
    """Return numbers in lists; a row of NaN, which stands for an axis that is none of space, as null."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, np.ndarray | list | tuple):
        parts = [_plain(part) for part in value]
        return None if parts and all(part is None for part in parts) else parts
    return float(value)


_AXES = ("t", "z", "c", "plane", "plane2", "plane3")

NRRD = ImageFormat(
    "NRRD",
    (".nrrd",),
    lambda head: head.startswith(b"NRRD000"),
    _open,
    (*_AXES, "space", "space_directions", "space_origin", "spacings", STORED_DTYPE),
)
