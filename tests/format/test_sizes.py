"""The page-only reader of sizes, and the layout it computes, against those of smalti."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.readers.basics import BadArchiveError
from conformance.readers.sizes import read_copies, read_sizes
from smalti.archive.format.block_layout import SizedLayout
from smalti.archive.format.copies import Copies
from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import Sizes

EXAMPLES = {
    "0208400000400000020000003100000"
    "01de60e00000000000000000000000000000000000000002f00eb0000000200000000206286784e04000c2042042042042000000000d708000000",
    "0308400000400000000000002e000000"
    "1de60e00000000000000000000000000000000000000008d008d0000000200000000005d9418040000f9696969690000204c1a03000000",
}
PAIRS = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=60)


def sizes_of(pairs, cell=8, region=3, block_cells=50):
    heights, widths = (np.array(sides, np.int32) for sides in zip(*pairs, strict=True))
    return Sizes(heights, widths, cell, region, block_cells)


def assert_agree(sizes):
    found, layout = read_sizes(sizes.to_bytes(), len(sizes)), SizedLayout(sizes, Limits())
    assert found.sides == list(zip(sizes.heights.tolist(), sizes.widths.tolist(), strict=True))
    assert found.units() == layout.rectangles(range(layout.units))
    assert found.blocks() == [layout.rectangles(layout.block_units(number)) for number in range(layout.blocks)]


@given(pairs=PAIRS, cell=st.integers(1, 20), region=st.integers(1, 7))
def test_the_readers_agree(pairs, cell, region):
    assert_agree(sizes_of(pairs, cell, region))


@pytest.mark.parametrize("pairs", [[(480, 640)] * 50, [(30, 40)] * 30 + [(40, 30)] * 20, [(1, 1 << 24), (1 << 24, 1)]])
def test_the_readers_agree_on_each_coding(pairs):
    assert_agree(sizes_of(pairs, block_cells=1 << 20, region=1000))


def test_the_example_of_the_page():
    for text in EXAMPLES:
        assert read_sizes(bytes.fromhex(text), 3).sides == [(7, 9), (300, 5), (7, 9)]
        found = Sizes.from_bytes(bytes.fromhex(text), 3, Limits())
        assert found.heights.tolist() == [7, 300, 7] and (found.cell, found.region, found.block_cells) == (8, 64, 16384)


def test_the_reader_refuses_other_bytes():
    data = sizes_of([(7, 9), (300, 5), (7, 9)]).to_bytes()
    for content in (b"", data[:-4], data + bytes(4), b"\x04" + data[1:], data[:1] + b"\x41" + data[2:]):
        with pytest.raises(BadArchiveError):
            read_sizes(content, 3)


COPIES = (
    "030000002b0000000800000003ab020000000000000000000000000000000000000000ab0aaa0200000100000000d053"
    "227cba2e8ba2e88000205d5201000000"
)


def test_the_example_of_copies():
    assert read_copies(bytes.fromhex(COPIES) + b"rest", 7) == ([0, 0, 1, 2, 0, 2, 3], b"rest")
    copies = Copies(7, np.array([1, 4, 5]), np.array([0, 0, 2]))
    assert copies.to_bytes().hex() == COPIES
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
    assert COPIES in page.replace("\n", "")


@given(data=st.data(), images=st.integers(2, 60))
def test_the_readers_agree_on_copies(data, images):
    numbers = sorted(data.draw(st.sets(st.integers(1, images - 1), min_size=1)))
    stored = [data.draw(st.integers(0, number - before - 1)) for before, number in enumerate(numbers)]
    copies = Copies(images, np.array(numbers, np.int64), np.array(stored, np.int64))
    assert read_copies(copies.to_bytes(), images) == (copies.numbers_of_images.tolist(), b"")
