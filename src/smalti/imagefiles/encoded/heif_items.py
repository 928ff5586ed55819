"""Items and tracks of HEIF files (ISO/IEC 23008-12), which HEIC and AVIF are: sizes, turns, and what belongs to what.

Pixels are not decoded here. An item is an image, a tile of one, its alpha, a thumbnail, or something else; a track is
an animation.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from smalti.imagefiles.encoded.boxes import Box, boxes, boxes_in, content
from smalti.imagefiles.format import UnreadableImageError

__all__ = ["Item", "Items", "brands", "read_items", "top_boxes"]

_IMAGES = frozenset({b"av01", b"hvc1", b"grid", b"iovl", b"iden", b"avc1", b"jpeg", b"j2k1", b"vvc1", b"unci"})
_ALPHAS = frozenset({"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", "urn:mpeg:hevc:2015:auxid:1"})
_TURNED = {  # the EXIF orientation, by turns against the clock, then a mirror: None, 0 up-down, 1 left-right
    (0, None): 1,
    (0, 0): 4,
    (0, 1): 2,
    (1, None): 8,
    (1, 0): 5,
    (1, 1): 7,
    (2, None): 3,
    (2, 0): 2,
    (2, 1): 4,
    (3, None): 6,
    (3, 0): 7,
    (3, 1): 5,
}


@dataclass
class Item:
    """An item.

    properties : kind and content of its properties, in order
    references : by kind, the items that it refers to
    """

    kind: bytes = b""
    hidden: bool = False
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)

    def value(self, kind: bytes) -> bytes | None:
        """Return the content of the first property of a kind."""
        return next((data for own, data in self.properties if own == kind), None)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored, before it is cropped and turned."""
        extent = self.value(b"ispe")
        if extent is None or len(extent) < 12:
            raise UnreadableImageError("damaged: an image without a size")
        width, height = struct.unpack(">II", extent[4:12])
        return height, width

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8, that says the same as its turns and mirrors."""
        turns, mirror = 0, None
        for kind, data in self.properties:
            if kind == b"irot" and data:
                turn = data[0] & 3
                turns = (turns + turn) % 4 if mirror is None else (turns - turn) % 4
            elif kind == b"imir" and data:
                axis = data[0] & 1
                if mirror is None:
                    mirror = axis
                else:  # two mirrors are half a turn, or nothing
                    turns, mirror = (turns + (2 if axis != mirror else 0)) % 4, None
        return _TURNED[turns, mirror]


@dataclass(frozen=True)
class Items:
    """The items of a file. primary : the number of the image that stands for the file"""

    primary: int
    by_number: dict[int, Item]

    def of(self, number: int) -> Item:
        """Return an item. UnreadableImageError if there is none."""
        if number not in self.by_number:
            raise UnreadableImageError("damaged: an image that is not there")
        return self.by_number[number]

    @property
    def images(self) -> Sequence[int]:
        """The numbers of the images to see: no tiles, alphas, depths or thumbnails."""
        parts = {part for item in self.by_number.values() for part in item.references.get(b"dimg", ())}
        return [
            number
            for number, item in sorted(self.by_number.items())
            if item.kind in _IMAGES
            and not item.hidden
            and number not in parts
            and not item.references.keys() & {b"auxl", b"thmb"}
        ]

    def alphas(self, number: int) -> list[int]:
        """Return the items that are the alpha of an image."""
        return [other for other, belongs_to, name in self._auxiliaries() if belongs_to == number and name in _ALPHAS]

    def unread(self, numbers: Sequence[int]) -> list[str]:
        """Return words for what is in the file beside these images and their alphas, for each kind of it."""
        names = {name for _, belongs_to, name in self._auxiliaries() if belongs_to in numbers} - _ALPHAS
        found = [f"an image of another kind ({name.rpartition(':')[2]})" for name in sorted(names)]
        if any(item.kind == b"tmap" for item in self.by_number.values()):
            found.append("a gain map")
        return found

    def _auxiliaries(self) -> Iterator[tuple[int, int, str]]:
        """Yield items that belong to an image beside its colours: the item, the image, and what it is."""
        for other, item in self.by_number.items():
            name = (item.value(b"auxC") or b"")[4:].partition(b"\0")[0].decode("utf-8", "replace")
            for belongs_to in item.references.get(b"auxl", ()):
                yield other, belongs_to, name


def brands(head: bytes) -> tuple[bytes, ...]:
    """Return the brands of a file that begins with these bytes, the major one first; none if it has no boxes."""
    if head[4:8] != b"ftyp" or len(head) < 16:
        return ()
    end = min(int.from_bytes(head[:4]), len(head))
    return (head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4)))


def top_boxes(file: BinaryIO) -> dict[bytes, Box]:
    """Return the first box of each kind. UnreadableImageError if one is cut off before all images are described."""
    found: dict[bytes, Box] = {}
    for box in boxes(file, (b"meta",)):
        found.setdefault(box.kind, box)
    return found


def read_items(file: BinaryIO, meta: Box) -> Items:
    """Read the items that a box `meta` describes."""
    parts = dict(reversed(boxes_in(content(file, meta)[4:])))
    items: dict[int, Item] = {}
    for kind, data in boxes_in(_inner(parts.get(b"iinf", b""))):
        if kind == b"infe" and len(data) >= 12 and data[0] in (2, 3):
            at = 6 if data[0] == 2 else 8
            number = int.from_bytes(data[4:at])
            items[number] = Item(data[at + 2 : at + 6], bool(data[3] & 1))
    _read_references(parts.get(b"iref", b""), items)
    _read_properties(parts.get(b"iprp", b""), items)
    primary = parts.get(b"pitm", b"")
    return Items(int.from_bytes(primary[4:]), items)


def _inner(data: bytes) -> bytes:
    """Return the boxes in `iinf`, which follow its version and their number."""
    return data[6:] if data[:1] == b"\0" else data[8:]


def _read_references(data: bytes, items: dict[int, Item]) -> None:
    width = 2 if data[:1] == b"\0" else 4
    for kind, one in boxes_in(data[4:]):
        source, start = int.from_bytes(one[:width]), width + 2
        count = int.from_bytes(one[width:start])
        targets = [int.from_bytes(one[at : at + width]) for at in range(start, len(one) - width + 1, width)]
        if source in items:
            items[source].references.setdefault(kind, []).extend(targets[:count])


def _read_properties(data: bytes, items: dict[int, Item]) -> None:
    parts = boxes_in(data)
    known = [found for kind, inner in parts if kind == b"ipco" for found in boxes_in(inner)]
    for kind, inner in parts:
        if kind != b"ipma":
            continue
        width, wide = (2 if inner[0] == 0 else 4), bool(inner[3] & 1)
        at = 8
        for _ in range(int.from_bytes(inner[4:8])):
            if at + width >= len(inner):
                raise UnreadableImageError("damaged: cut off within its header")
            number, count = int.from_bytes(inner[at : at + width]), inner[at + width]
            at += width + 1
            for _ in range(count):
                size = 2 if wide else 1
                place = int.from_bytes(inner[at : at + size]) & (0x7FFF if wide else 0x7F)
                at += size
                if number in items and 1 <= place <= len(known):
                    items[number].properties.append(known[place - 1])
