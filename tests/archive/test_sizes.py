"""The sizes section and the layout that follows from it: coding, limits, units, blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalti.archive.format.block_layout import FixedLayout, Rectangle, SizedLayout
from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import MAX_SIDE, Sizes
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UsageError

SIDES = st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=40)


def sizes_of(pairs, cell=8, region=3, block_cells=20):
    heights, widths = np.array(pairs, np.int32).reshape(-1, 2).T
    return Sizes(np.ascontiguousarray(heights), np.ascontiguousarray(widths), cell, region, block_cells)


def assert_same(sizes, read):
    assert (read.heights == sizes.heights).all() and (read.widths == sizes.widths).all()
    assert (read.cell, read.region, read.block_cells) == (sizes.cell, sizes.region, sizes.block_cells)


@settings(max_examples=40, deadline=None)
@given(pairs=SIDES)
def test_sizes_are_read_as_they_were_written(pairs):
    sizes = sizes_of(pairs)
    assert_same(sizes, Sizes.from_bytes(sizes.to_bytes(), len(pairs), Limits()))


def test_each_coding_is_used_where_it_is_the_shortest():
    rng = np.random.default_rng(1)
    one = sizes_of([(480, 640)] * 5000)
    few = sizes_of(rng.choice([(3000, 4000), (4000, 3000), (2448, 3264)], 5000))
    many = sizes_of(rng.integers(50, 300, (5000, 2)))
    large = sizes_of([(1, MAX_SIDE), (MAX_SIDE, 1), (3, 5)])
    codings = {}
    for name, sizes in {"one": one, "few": few, "many": many, "large": large}.items():
        data = sizes.to_bytes()
        assert_same(sizes, Sizes.from_bytes(data, len(sizes), Limits()))
        codings[name] = data[0], len(data)
    assert codings["one"] == (1, 16) and codings["few"][0] == 2 and codings["many"][0] == 3
    assert codings["few"][1] < 1200 and codings["many"][1] < 2.1 * 5000


def test_impossible_sizes_are_refused():
    for changes in (
        {"cell": 0}, {"cell": 65}, {"region": 0}, {"region": 5}, {"block_cells": 0}, {"block_cells": 1 << 25},
        {"pairs": [(0, 3)]}, {"pairs": [(3, MAX_SIDE + 1)]}, {"pairs": np.empty((0, 2))},
        {"pairs": [(MAX_SIDE, MAX_SIDE)] * 5000},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            sizes_of(**{"pairs": [(3, 4)]} | changes)


def test_every_change_of_the_bytes_is_read_or_refused():
    """A section has a checksum of its own, so here it matters that nothing but the two errors comes."""

    def read(content, images):
        try:
            Sizes.from_bytes(content, images, Limits())
        except SmaltiError as error:
            assert isinstance(error, DamagedArchiveError | LimitExceededError)

    for pairs in ([(7, 9)] * 4, [(7, 9), (300, 5), (7, 9)], [(side, 90 - side) for side in range(1, 60)]):
        data = sizes_of(pairs).to_bytes()
        for place in range(len(data)):
            for change in (1, 128, 255):
                read(data[:place] + bytes([data[place] ^ change]) + data[place + 1 :], len(pairs))
        for length in range(len(data)):
            read(data[:length], len(pairs))


def test_nothing_is_allocated_beyond_the_limits():
    one = sizes_of([(7, 9)]).to_bytes()
    with pytest.raises(LimitExceededError, match="column_bytes"):
        Sizes.from_bytes(one, 1 << 47, Limits())
    with pytest.raises(LimitExceededError, match="index_bytes"):
        SizedLayout(sizes_of([(1 << 20, 1 << 20)]), Limits())
    with pytest.raises(LimitExceededError, match="column_bytes"):
        SizedLayout(sizes_of([(1 << 20, 1 << 20)], region=1, block_cells=1 << 18), Limits(column_bytes=1 << 20))


def units_one_by_one(sizes):
    """The rectangles of all units, and the units of each block, as the format page states them."""
    units = []
    for image, (height, width) in enumerate(zip(sizes.heights.tolist(), sizes.widths.tolist(), strict=True)):
        rows, columns = -(-height // sizes.cell), -(-width // sizes.cell)
        side = max(rows, columns) if rows * columns <= sizes.block_cells else sizes.region
        units += [
            Rectangle(image, top, left, min(side, rows - top), min(side, columns - left))
            for top in range(0, rows, side)
            for left in range(0, columns, side)
        ]
    blocks, held = [], 0
    for number, unit in enumerate(units):
        if not blocks or held + unit.cells > sizes.block_cells:
            blocks.append([])
            held = 0
        blocks[-1].append(number)
        held += unit.cells
    return units, blocks


@settings(max_examples=60, deadline=None)
@given(pairs=SIDES, region=st.integers(1, 4))
def test_the_layout_is_that_of_the_format(pairs, region):
    sizes = sizes_of(pairs, region=region)
    layout, (units, blocks) = SizedLayout(sizes, Limits()), units_one_by_one(sizes)
    assert (layout.units, layout.blocks, layout.images) == (len(units), len(blocks), len(pairs))
    assert layout.rectangles(range(layout.units)) == units
    assert layout.largest_block == max(sum(units[number].cells for number in block) for block in blocks)
    for number, block in enumerate(blocks):
        assert list(layout.block_units(number)) == block
        assert layout.grids(number).tolist() == [[units[unit].rows, units[unit].columns] for unit in block]
        assert layout.image_range(number) == range(units[block[0]].image, units[block[-1]].image + 1)
        before = 0
        for unit in block:
            assert layout.place(unit) == (number, before)
            before += units[unit].cells
    first, last = layout.blocks_of(np.arange(len(pairs)))
    for image in range(len(pairs)):
        own = [number for number, block in enumerate(blocks) if any(units[unit].image == image for unit in block)]
        assert (first[image], last[image]) == (own[0], own[-1])
        assert [units[unit] for unit in layout.units_of(image)] == [unit for unit in units if unit.image == image]
    assert layout.pixels == sum(height * width for height, width in pairs)
    bounds = layout.block_bounds.tolist()
    assert bounds == sorted(set(bounds)) and bounds[0] == 0 and bounds[-1] == len(pairs)


def test_a_rectangle_names_the_units_that_it_needs():
    layout = SizedLayout(sizes_of([(8, 8), (80, 56)]), Limits())
    assert layout.is_cut(1) and not layout.is_cut(0) and layout.grid(1) == (10, 7)
    found = layout.units_in(Rectangle(1, 2, 5, 2, 2))
    units = layout.rectangles(range(layout.units))
    assert [unit for unit, _ in found] == [2, 3, 5, 6]
    assert all(units[number] == held for number, held in found)
    assert layout.around(Rectangle(1, 0, 5, 3, 2), 2) == Rectangle(1, 0, 3, 5, 4)


def test_a_layout_of_one_shape_answers_the_same():
    layout = FixedLayout(10, 4, (3, 5))
    assert (layout.blocks, layout.pixels, layout.block_bounds.tolist()) == (3, 150, [0, 4, 8, 10])
    assert layout.image_range(2) == range(8, 10)
    assert [found.tolist() for found in layout.blocks_of(np.array([0, 3, 4, 9]))] == [[0, 0, 1, 2]] * 2


def test_a_million_images_are_laid_out_fast():
    rng = np.random.default_rng(3)
    sizes = sizes_of(rng.integers(20, 40, (1_000_000, 2)), region=64, block_cells=1 << 14)
    layout = SizedLayout(sizes, Limits())
    assert layout.blocks > 900 and layout.block_bounds[-1] == 1_000_000
