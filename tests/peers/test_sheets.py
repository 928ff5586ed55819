import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.image_files import noise
from smalti.bench.mosaics import make_mosaic
from smalti.peers.sheets import cut_sheet, draw_sheet, lay_out


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=30),
    channels=st.integers(1, 4),
    most=st.sampled_from([20, 64, 4096]),
)
@settings(max_examples=60)
def test_every_image_comes_back_from_the_sheets(sizes, channels, most):
    images = [noise(*size, channels, seed=number) for number, size in enumerate(sizes)]
    found = {}
    for sheet in lay_out(sizes, most):
        assert sheet.width <= max(most, *(width for _, width in sizes))
        assert sheet.height <= max(most, *(height for height, _ in sizes))
        assert sum(place.height * place.width for place in sheet.places) == sheet.height * sheet.width, "no gaps"
        picture = draw_sheet(sheet, images)
        assert picture.shape == (sheet.height, sheet.width, channels)
        for number, pixels in cut_sheet(sheet, picture, sizes):
            assert number not in found
            found[number] = pixels
    assert sorted(found) == list(range(len(sizes)))
    for number, image in enumerate(images):
        np.testing.assert_array_equal(found[number], image)


def test_images_of_one_size_are_the_mosaic_of_the_bench():
    images = noise(100, 8, 8, 3)
    (sheet,) = lay_out([(8, 8)] * 100)
    np.testing.assert_array_equal(draw_sheet(sheet, list(images)), make_mosaic(images))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_room_that_is_left_repeats_the_edge(dtype):
    images = [np.full((4, 4, 1), 9, dtype), np.full((2, 3, 1), 7, dtype)]
    (sheet,) = lay_out([(4, 4), (2, 3)], 7)
    assert (sheet.height, sheet.width) == (6, 4)
    picture = draw_sheet(sheet, images)
    assert picture.dtype == dtype and (picture[:4] == 9).all() and (picture[4:] == 7).all()
