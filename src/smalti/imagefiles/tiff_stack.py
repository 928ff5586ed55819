"""Finds out whether a TIFF file holds more images than its first page, by its tags and its size.

Programs for microscopes write a whole stack after one page, and state it in a text: ImageJ ("images=12"), tifffile
("shape": [12, 480, 640]) and OME-XML. Others use an axis of depth, or directories below the page.
"""

import json
import math
import re
from typing import BinaryIO

from PIL import TiffImagePlugin

from smalti.imagefiles.format import UnreadableImageError

__all__ = ["refuse_stack", "unread_bytes"]

_KIND, _WIDTH, _HEIGHT, _COMPRESSION, _DESCRIPTION = 254, 256, 257, 259, 270
_SAMPLES, _STRIP_BYTES, _TILE_BYTES, _CHILDREN, _DEPTH = 277, 279, 325, 330, 32997
_EXIF, _GPS = 34665, 34853
_REDUCED = 1  # the bit in the kind of a page for a smaller copy of another page
_MAX_CHILDREN = 64
_ONLY_ONE = "only single images are read"


def refuse_stack(tags: TiffImagePlugin.ImageFileDirectory_v2, file: BinaryIO) -> None:
    """Raise UnreadableImageError, with the number of images, if the first page states that it holds several.

    Pages after the first one are not counted here.
    """
    children = sum(not _is_reduced(child) for child in _children(tags, file))
    if children:
        images = "a further image" if children == 1 else f"{children} further images"
        raise UnreadableImageError(f"{images} in directories below its page; {_ONLY_ONE}")
    planes, kind = _planes(tags)
    if planes > 1 and not tags.next:
        raise UnreadableImageError(f"{planes} planes in one page ({kind}); {_ONLY_ONE}")


def unread_bytes(tags: TiffImagePlugin.ImageFileDirectory_v2, file: BinaryIO) -> str | None:
    """Describe bytes of an uncompressed file that no tag explains, if they would fill a further image; else None."""
    sizes = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    own = sum(int(size) for size in sizes)
    unknown = any(tag in tags for tag in (_EXIF, _GPS, _CHILDREN))  # directories whose bytes are not counted here
    if int(tags.get(_COMPRESSION, 1)) != 1 or not own or tags.next or unknown:
        return None
    file.seek(0, 2)
    spare = file.tell() - own
    if spare < own:
        return None
    spare -= 32 + sum(20 + _stored_bytes(value) for value in tags.values())
    if spare < own:
        return None
    return f"{spare:,} bytes beside the {own:,} of its pixels, which may be further images"


def _planes(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[int, str]:
    """Return the number of planes that the page states, and the convention by which it does."""
    depth = tags.get(_DEPTH, 1)
    if isinstance(depth, int) and depth > 1:
        return depth, "a volume"
    text = tags.get(_DESCRIPTION)
    if not isinstance(text, str):
        return 1, ""
    if text.startswith("ImageJ="):
        found = re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE)
        return (int(found[1]) if found else 1), "a stack of ImageJ"
    if "<OME" in text and "FileName=" not in text:  # with it, the other planes are in other files
        sizes = [int(size) for size in re.findall(r"\bSize[ZCT]=\"(\d{1,9})\"", text)]
        return math.prod(sizes) // max(1, int(tags.get(_SAMPLES, 1))), "a stack of OME"
    shape = _stated_shape(text)
    page = int(tags[_HEIGHT]) * int(tags[_WIDTH]) * int(tags.get(_SAMPLES, 1))
    return (math.prod(shape) // page if page else 1), "a stack of tifffile"


def _stated_shape(text: str) -> tuple[int, ...]:
    """Return the shape in a description by tifffile; (0,) for other descriptions."""
    found = re.match(r"shape=\(([0-9, ]{1,200})\)", text)
    if found:
        return tuple(int(size) for size in found[1].replace(" ", "").split(",") if size)
    if not text.startswith('{"shape":'):
        return (0,)
    try:
        shape = json.loads(text).get("shape")
    except (ValueError, RecursionError):
        return (0,)
    is_shape = isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape)
    return tuple(shape) if is_shape else (0,)


def _stored_bytes(value: object) -> int:
    """Return the most bytes that a value can take in the file."""
    return len(value) * (1 if isinstance(value, str | bytes) else 16) if isinstance(value, str | bytes | tuple) else 16


def _is_reduced(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    kind = tags.get(_KIND, 0)
    return isinstance(kind, int) and bool(kind & _REDUCED)


def _children(
    tags: TiffImagePlugin.ImageFileDirectory_v2, file: BinaryIO
) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """Return the directories below a page that hold images."""
    offsets = tags.get(_CHILDREN, ())
    children = []
    for offset in (offsets if isinstance(offsets, tuple) else (offsets,))[:_MAX_CHILDREN]:
        file.seek(0)
        head = file.read(16)
        child = TiffImagePlugin.ImageFileDirectory_v2(head if head[2] == ord("+") else head[:8])
        file.seek(int(offset))
        child.load(file)
        if _WIDTH in child:
            children.append(child)
    return children
