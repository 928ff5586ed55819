"""Boxes of ISO base media files (ISO/IEC 14496-12), in which JPEG 2000, JPEG XL, HEIC and AVIF lie.

A box is 4 bytes of length, 4 of kind, and content. Length 1: 8 bytes of length follow the kind. Length 0: to the end.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from smalti.imagefiles.format import UnreadableImageError, exactly, file_size

__all__ = ["Box", "boxes", "boxes_in", "content"]

_MAX_BOXES = 1 << 16
_MAX_CONTENT_BYTES = 1 << 24  # of boxes that are read whole: those that describe, never those of pixels


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a file. start, end : the offsets of its content"""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, needed: Collection[bytes] = ()) -> Iterator[Box]:
    """Yield the boxes of a file in order. UnreadableImageError for one that is longer than the file.

    needed : once boxes of these kinds were found, what is no box ends the file: telephones add bytes of their own
    """
    size, position = file_size(file), 0
    lacking = set(needed)
    for _ in range(_MAX_BOXES):
        if position >= size:
            return
        file.seek(position)
        if needed and not lacking and size - position < 8:
            return
        head = exactly(file, 8)
        length, start = int.from_bytes(head[:4]), position + 8
        if length == 1:
            length, start = int.from_bytes(exactly(file, 8)), position + 16
        end = size if length == 0 else position + length
        if not start <= end <= size:
            if needed and not lacking:
                return
            raise UnreadableImageError("damaged: cut off, or a box that is longer than its place")
        lacking.discard(head[4:])
        yield Box(head[4:], start, end)
        position = end
    raise UnreadableImageError(f"damaged: more than {_MAX_BOXES:,} boxes")


def content(file: BinaryIO, box: Box) -> bytes:
    """Read the content of a box that describes."""
    if box.end - box.start > _MAX_CONTENT_BYTES:
        raise UnreadableImageError(f"damaged: a header of {box.end - box.start:,} bytes")
    file.seek(box.start)
    return exactly(file, box.end - box.start)


def boxes_in(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the kind and content of each box in the content of another one."""
    file = BytesIO(data)
    return [(box.kind, data[box.start : box.end]) for box in boxes(file)]
