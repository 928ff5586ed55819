"""What programs for microscopes say of the axes of a TIFF stack, in the text of a page: ImageJ and tifffile.

Axes are taken as the text has them, and nothing is guessed. OME-XML is read by `tiff_ome`.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Axes", "Coordinates", "axes_of_imagej", "axes_of_shape"]

_KNOWN = {"Z": "z", "T": "t", "C": "c"}
_MAX_TEXT = 1 << 20

Coordinates = dict[str, int | str]
"""The place of an image on the axes of its file, by the name of the axis."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes that a text states.

    kind : the convention, in words
    planes : how many planes there are
    sizes : letter and size of each axis, the slowest first; empty if they are not stated, or do not give `planes`
    """

    kind: str
    planes: int
    sizes: tuple[tuple[str, int], ...] = ()

    def place(self, plane: int) -> Coordinates:
        """Return the coordinates of a plane: `plane`, if some axis is not known."""
        found: Coordinates = {}
        rest = plane
        for letter, size in reversed(self.sizes):
            rest, at = divmod(rest, size)
            if size > 1 and letter in _KNOWN:
                found[_KNOWN[letter]] = at
        if not self.sizes or any(size > 1 and letter not in _KNOWN for letter, size in self.sizes):
            found["plane"] = plane
        return dict(sorted(found.items(), key=lambda one: "ztc".find(one[0])))


def axes_of_imagej(text: str) -> Axes | None:
    """Return the axes in a description by ImageJ; None for another text.

    Channels come first in the file, then slices, then frames. A lone axis of channels that are shown in grey is not
    known: some programs call any third axis so.
    """
    if not text.startswith("ImageJ="):
        return None
    found = dict(re.findall(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", text[:_MAX_TEXT], re.MULTILINE))
    sizes = [int(found.get(name, "1")) for name in ("frames", "slices", "channels")]
    images = int(found.get("images", math.prod(sizes)))
    grey = re.search(r"^mode=(composite|color)\s*$", text[:_MAX_TEXT], re.MULTILINE) is None
    alone = sizes[:2] == [1, 1] and grey
    stated = math.prod(sizes) == images and not alone
    return Axes("ImageJ", images, tuple(zip("TZC", sizes, strict=True)) if stated else ())


def axes_of_shape(text: str, pixels: int) -> Axes | None:
    """Return the axes in a description by tifffile; None for another text.

    pixels : the samples of the page that the description belongs to
    """
    shape, axes = _stated_shape(text)
    if not shape or not pixels or 0 in shape or math.prod(shape) % pixels:
        return None
    planes = math.prod(shape) // pixels
    outer = next((place for place in range(len(shape)) if math.prod(shape[:place]) == planes), None)
    if axes is None or len(axes) != len(shape) or outer is None:
        return Axes("tifffile", planes)
    return Axes("tifffile", planes, tuple(zip(axes[:outer], shape[:outer], strict=True)))


def _stated_shape(text: str) -> tuple[Sequence[int], str | None]:
    """Return the shape, and the letters of its axes if they are stated; an empty shape for other texts."""
    found = re.match(r"shape=\(([0-9, ]{1,200})\)", text)
    if found:
        return tuple(int(size) for size in found[1].replace(" ", "").split(",") if size), None
    if not text.startswith('{"shape":') or len(text) > _MAX_TEXT:
        return (), None
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError):
        return (), None
    shape, axes = stated.get("shape"), stated.get("axes")
    if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 1 << 40 for size in shape):
        return (), None
    return shape, axes if isinstance(axes, str) else None
