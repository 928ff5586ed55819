"""Images of any sizes on sheets: large pictures in which they lie row by row, as on shelves.

A codec is at its best with all images in one picture. `mosaics` makes it of images of one size; here they may differ.
The highest images come first, so that little room is left above the images of a row. What room is left repeats the last
row and the last column of an image, which costs a codec next to nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smalti.images.batch import Pixels

__all__ = ["MOST_SIDE", "Place", "Sheet", "cut_sheet", "draw_sheet", "lay_out"]

MOST_SIDE = 4096
"""No sheet is wider or higher, unless an image is."""


@dataclass(frozen=True)
class Place:
    """An image on a sheet. image : its number; height, width : of the room that it has, its own size or more"""

    image: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Sheet:
    """A picture of height x width pixels, without gaps between the places."""

    height: int
    width: int
    places: tuple[Place, ...]


def lay_out(sizes: Sequence[tuple[int, int]], most_side: int = MOST_SIDE) -> list[Sheet]:
    """Return sheets that hold images of these sizes (height, width), nearly square if there is one.

    Images of one size lie in a grid, in their order.
    """
    order = sorted(range(len(sizes)), key=lambda image: (-sizes[image][0], -sizes[image][1]))
    area = sum(height * width for height, width in sizes)
    wanted = max(min(most_side, math.ceil(math.sqrt(area))), *(width for _, width in sizes))
    sheets: list[Sheet] = []
    rows: list[list[int]] = []
    height = 0
    for row in _rows(order, sizes, wanted):
        if rows and height + sizes[row[0]][0] > most_side:
            sheets.append(_sheet(rows, sizes))
            rows, height = [], 0
        rows.append(row)
        height += sizes[row[0]][0]
    return [*sheets, _sheet(rows, sizes)]


def _rows(order: Sequence[int], sizes: Sequence[tuple[int, int]], most_width: int) -> Iterator[list[int]]:
    """Fill row after row with images in this order; the first of a row is its highest."""
    row: list[int] = []
    width = 0
    for image in order:
        if row and width + sizes[image][1] > most_width:
            yield row
            row, width = [], 0
        row.append(image)
        width += sizes[image][1]
    yield row


def _sheet(rows: Sequence[Sequence[int]], sizes: Sequence[tuple[int, int]]) -> Sheet:
    width = max(sum(sizes[image][1] for image in row) for row in rows)
    places: list[Place] = []
    top = 0
    for row in rows:
        height, left = sizes[row[0]][0], 0
        for image in row:
            room = width - left if image == row[-1] else sizes[image][1]
            places.append(Place(image, top, left, height, room))
            left += room
        top += height
    return Sheet(top, width, tuple(places))


def draw_sheet(sheet: Sheet, images: Sequence[Pixels]) -> Pixels:
    """Return the picture [H, W, C] of a sheet. images : [h, w, C] of one dtype, numbered as in `lay_out`"""
    first = images[sheet.places[0].image]
    picture: Pixels = np.empty((sheet.height, sheet.width, first.shape[2]), first.dtype)
    for place in sheet.places:
        image = images[place.image]
        below, beside = place.height - image.shape[0], place.width - image.shape[1]
        room = np.pad(image, ((0, below), (0, beside), (0, 0)), mode="edge")
        picture[place.top : place.top + place.height, place.left : place.left + place.width] = room
    return picture


def cut_sheet(sheet: Sheet, picture: Pixels, sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Pixels]]:
    """Yield the number and the pixels [h, w, C] of each image on a picture of `draw_sheet`."""
    for place in sheet.places:
        height, width = sizes[place.image]
        yield place.image, picture[place.top : place.top + height, place.left : place.left + width]
