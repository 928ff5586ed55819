"""OME-XML in the description of a TIFF file: which plane each page is (OME-TIFF specification, 6.0, 2016-06).

`Pixels` has the sizes of the axes and their order; `TiffData` says which pages hold which planes. Planes that lie in
other files, or nowhere, are counted.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

from smalti.imagefiles.tiff.tiff_texts import Coordinates

__all__ = ["OmePlanes", "ome_planes"]

_MAX_TEXT = 1 << 26
_MAX_PLANES = 1 << 24
_HEAD = 4096
_ROOT = re.compile(r"<(?:\w+:)?OME[\s>]")
_ORDER = re.compile(r"XY[ZCT]{3}")


@dataclass
class OmePlanes:
    """The planes that an OME-XML states.

    places : the coordinates of the pages, by their numbers in the main chain
    stated : the planes that are stated for this file
    elsewhere : the planes that lie in other files
    """

    places: dict[int, Coordinates] = field(default_factory=dict)
    stated: int = 0
    elsewhere: int = 0


def ome_planes(text: str, pages: int) -> OmePlanes | None:
    """Return the planes of a text with OME-XML; None for another text, or one that cannot be understood.

    pages : the number of pages of the file; places of others are not listed
    """
    start = _ROOT.search(text[:_HEAD])
    if start is None or len(text) > _MAX_TEXT or "<!" in text[: start.start()].replace("<!--", ""):
        return None  # a document type could define entities without end
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return None
    found = OmePlanes()
    try:
        for pixels in root.iterfind("{*}Image/{*}Pixels"):
            _see(found, pixels, root.get("UUID"), pages)
    except (ValueError, TypeError):  # sizes that are no numbers
        return None
    return found if found.stated or found.elsewhere else None


@dataclass(frozen=True, slots=True)
class _Sizes:
    order: str  # of Z, C and T, the fastest first
    sizes: dict[str, int]
    channels: tuple[str | None, ...]  # the names of the channels; empty if there are none
    has_known_channels: bool

    @property
    def planes(self) -> int:
        return math.prod(self.sizes.values())

    def index(self, first: dict[str, int]) -> int:
        """Return the number of a plane in the order of the file."""
        index = 0
        for letter in reversed(self.order):
            index = index * self.sizes[letter] + first[letter]
        return index

    def place(self, index: int) -> Coordinates:
        found: dict[str, int] = {}
        rest = index
        for letter in self.order:
            rest, found[letter] = divmod(rest, self.sizes[letter])
        place: Coordinates = {letter.lower(): found[letter] for letter in "ZT" if self.sizes[letter] > 1}
        if self.sizes["C"] > 1:
            place |= {"c": found["C"]} if self.has_known_channels else {"plane": index}
        name = self.channels[found["C"]] if found["C"] < len(self.channels) else None
        return place if not name else place | {"channel": name}


def _sizes_of(pixels: ElementTree.Element) -> _Sizes:
    """Return the sizes of the axes. ValueError or TypeError if they are no numbers above 0."""
    sizes = {letter: int(pixels.get(f"Size{letter}", "1")) for letter in "ZCT"}
    channels = list(pixels.iterfind("{*}Channel"))
    samples = sum(int(channel.get("SamplesPerPixel", "1")) for channel in channels)
    if channels and samples == sizes["C"]:  # a channel of colours has several samples, and is one plane
        sizes["C"] = len(channels)
    order = pixels.get("DimensionOrder", "XYZCT")
    if not _ORDER.fullmatch(order) or len(set(order)) != 5 or not 0 < math.prod(sizes.values()) <= _MAX_PLANES:
        raise ValueError(order)
    names = tuple(channel.get("Name") for channel in channels)
    known = len(names) == sizes["C"] and all(names)
    # A lone axis of channels without names is not known: some programs call any third axis so.
    return _Sizes(order[2:], sizes, names, known or sizes["Z"] > 1 or sizes["T"] > 1)


def _see(found: OmePlanes, pixels: ElementTree.Element, own_uuid: str | None, pages: int) -> None:
    """Add the planes of one image."""
    sizes = _sizes_of(pixels)
    blocks = list(_blocks(pixels, sizes, pages))
    if not blocks:
        found.stated += sizes.planes
    files = {uuid for *_, uuid in blocks if uuid is not None}
    if own_uuid is None and len(files) > 1:
        raise ValueError("which of these files this one is, is not known")
    if sum(max(0, min(count, pages - page)) for page, _, count, _ in blocks) > 4 * pages:
        raise ValueError("pages are named again and again")
    for page, index, count, uuid in blocks:
        if own_uuid is not None and uuid not in (None, own_uuid):
            found.elsewhere += count
            continue
        found.stated += count
        for step in range(min(count, pages - page)):
            found.places[page + step] = sizes.place(index + step)


def _blocks(pixels: ElementTree.Element, sizes: _Sizes, pages: int) -> Iterator[tuple[int, int, int, str | None]]:
    """Yield the first page, the first plane and the number of planes of each `TiffData`, and the UUID of its file."""
    for block in pixels.iterfind("{*}TiffData"):
        page = int(block.get("IFD", "0"))
        index = sizes.index({letter: int(block.get(f"First{letter}", "0")) for letter in "ZCT"})
        rest = max(0, sizes.planes - index)
        count = int(block.get("PlaneCount", "1" if "IFD" in block.attrib else str(min(rest, pages))))
        named = block.find("{*}UUID")
        uuid = None if named is None or named.text is None else named.text.strip()
        if page < 0 or index < 0 or not 0 <= count <= _MAX_PLANES:
            raise ValueError(page)
        yield page, index, min(count, rest), uuid
