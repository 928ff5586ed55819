"""AVIF files (AV1 Image File Format), also animations.

The boxes are read here, and imagecodecs decodes the pixels: all bits of them, also of grey. It does not turn them, so
that is done here, by the properties `irot` and `imir`, and never by EXIF, which says the same again. Colours multiplied
by alpha are divided by it, as all decoders at hand do. Frames of an animation are decoded all at once.
"""

import json
import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from smalti.imagefiles.animations.decoded_frames import Frames
from smalti.imagefiles.encoded.boxes import boxes_in, content
from smalti.imagefiles.encoded.heif_items import Items, brands, read_items, top_boxes
from smalti.imagefiles.format import (
    FRAME,
    SIGNIFICANT_BITS,
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    bits_field,
    check_size,
    imagecodecs_for,
    one_image,
    unsigned_of,
    upright,
    upright_header,
    whole_file,
)
from smalti.images.batch import Pixels

__all__ = ["AVIF"]

_ANIMATION = b"avis"
_APERTURE = "clean_aperture"
_PLAIN_MATRIX = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_ENTRY_BYTES = 78  # of a sample entry of video, before its boxes


@dataclass(frozen=True, slots=True)
class _Stored:
    """The pixels as decoded, before they are turned."""

    shape: tuple[int, int, int]
    bits: int
    orientation: int = 1
    associated: bool = False
    aperture: str | None = None
    unread: str | None = None
    frames: int = 1

    @property
    def header(self) -> ImageHeader:
        height, width, _ = self.shape
        check_size(width, height)
        dtype = unsigned_of(self.bits)
        mode = "RGBa" if self.associated else None
        header = upright_header(self.shape, dtype, mode, self.orientation, self.unread)
        fields = {**header.fields, **bits_field(self.bits, dtype)}
        if self.aperture is not None:
            fields[_APERTURE] = self.aperture
        return replace(header, fields=fields)


def read_header(file: BinaryIO) -> ImageHeader:
    """Read the header of an AVIF file of one image."""
    return _look_at(file).header


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Read the header and the pixels of an AVIF file of one image."""
    stored = _look_at(file)
    header = stored.header
    pixels = as_stated(_decode(file), stored.shape, header.dtype)
    return header, upright(pixels, stored.orientation)


def _open(file: BinaryIO) -> ImageFile:
    stored = _look_at(file)
    if stored.frames == 1:
        return one_image(read_header, read_image)(file)
    return Frames(stored.frames, stored.header, lambda: _decode(file))


def _decode(file: BinaryIO) -> Pixels:
    pixels: Pixels = np.asarray(imagecodecs_for("AVIF").avif_decode(whole_file(file)))
    return pixels


def _look_at(file: BinaryIO) -> _Stored:
    """Read what the boxes say. libavif, in imagecodecs, reads the animation if its brand is the major one."""
    file.seek(0)
    kinds, parts = brands(file.read(256)), top_boxes(file)
    tracks = _tracks(content(file, parts[b"moov"])) if b"moov" in parts else []
    if tracks and kinds[0] == _ANIMATION:
        return _of_tracks(tracks)
    if b"meta" not in parts:
        raise UnreadableImageError("damaged: an AVIF file without a description of its image")
    stored = _of_item(read_items(file, parts[b"meta"]))
    return replace(stored, unread="an animation behind its image") if tracks else stored


def _of_item(items: Items) -> _Stored:
    item = items.of(items.primary)
    description = item.value(b"av1C")
    if description is None:  # an image of tiles, which are described one by one
        tiles = item.references.get(b"dimg", ())
        description = items.of(tiles[0]).value(b"av1C") if tiles else None
    channels, bits = _colours(description)
    alphas, unread = items.alphas(items.primary), items.unread([items.primary])
    more = len(items.images) - 1
    if more > 0:
        unread.append(f"{more} further image{'s' if more > 1 else ''}")
    aperture = item.value(b"clap")
    return _Stored(
        (*item.size, channels + bool(alphas)),
        bits,
        item.orientation,
        associated=any(alpha in item.references.get(b"prem", ()) for alpha in alphas),
        aperture=None if aperture is None else json.dumps(struct.unpack(">8i", aperture[:32])),
        unread=" and ".join(unread) or None,
    )


def _colours(description: bytes | None) -> tuple[int, int]:
    """Return the number of colours and the bits that a box `av1C` says."""
    if description is None or len(description) < 3:
        raise UnreadableImageError("damaged: an AVIF file whose image is not described")
    flags = description[2]
    bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    return (1 if flags & 0x10 else 3), bits


@dataclass(frozen=True, slots=True)
class _Track:
    """A track of pictures."""

    is_auxiliary: bool
    frames: int
    shape: tuple[int, int, int]
    bits: int


def _tracks(movie: bytes) -> list[_Track]:
    return [track for kind, data in boxes_in(movie) if kind == b"trak" if (track := _track(data)) is not None]


def _track(data: bytes) -> _Track | None:
    """Read a track; None for one that is no AV1."""
    parts = dict(boxes_in(data))
    inner = parts
    for kind in (b"mdia", b"minf", b"stbl"):
        inner = dict(boxes_in(inner.get(kind, b"")))
    entries = dict(boxes_in(inner.get(b"stsd", b"")[8:]))
    entry, head = entries.get(b"av01"), parts.get(b"tkhd", b"")
    if entry is None or len(entry) < _ENTRY_BYTES:
        return None
    channels, bits = _colours(dict(boxes_in(entry[_ENTRY_BYTES:])).get(b"av1C"))
    width, height = struct.unpack(">HH", entry[24:28])
    frames = int.from_bytes(inner.get(b"stsz", b"")[8:12])
    if head[-44:-8] != _PLAIN_MATRIX:
        raise UnreadableImageError("an animation that its track turns or scales; write it anew")
    references = dict(boxes_in(parts.get(b"tref", b"")))
    return _Track(b"auxl" in references, frames, (height, width, channels), bits)


def _of_tracks(tracks: list[_Track]) -> _Stored:
    colours = [track for track in tracks if not track.is_auxiliary]
    alphas = len(tracks) - len(colours)
    if len(colours) != 1 or alphas > 1:
        raise UnreadableImageError(f"{len(colours)} animations in one file; only one is read")
    (track,) = colours
    height, width, channels = track.shape
    return _Stored((height, width, channels + alphas), track.bits, frames=track.frames)


def _matches(head: bytes) -> bool:
    return not {b"avif", _ANIMATION}.isdisjoint(brands(head))


AVIF = ImageFormat(
    "AVIF",
    (".avif", ".avifs"),
    _matches,
    _open,
    (SOURCE_MODE, SOURCE_ORIENTATION, SIGNIFICANT_BITS, FRAME, _APERTURE),
)
