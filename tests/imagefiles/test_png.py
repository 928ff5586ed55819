import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from smalti.imagefiles.png import png_bytes


@given(st.data(), st.integers(1, 4), st.sampled_from([np.uint8, np.uint16]))
def test_other_programs_read_the_same_samples(data: st.DataObject, channels: int, dtype: type) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    pixels = data.draw(arrays.arrays(dtype, (height, width, channels)))
    read = imagecodecs.png_decode(png_bytes(pixels))
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.reshape(pixels.shape), pixels)


@pytest.mark.parametrize(("channels", "mode"), [(1, "I;16"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pillow_finds_every_chunk_sound(channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, channels), dtype=np.uint16)
    with Image.open(io.BytesIO(png_bytes(pixels))) as image:
        image.verify()
    with Image.open(io.BytesIO(png_bytes(pixels))) as image:
        assert (image.size, image.convert(mode).mode) == ((7, 5), mode)


def test_views_are_written_as_what_they_show() -> None:
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, 3), dtype=np.uint16)
    np.testing.assert_array_equal(imagecodecs.png_decode(png_bytes(pixels[::-1, ::2])), pixels[::-1, ::2])


def test_smooth_images_are_not_much_larger_than_libpng_makes_them() -> None:
    y, x = np.mgrid[:64, :64]
    pixels = np.stack([100 * x + 50 * y, 30 * x + 700 * y, 20000 + x * y], -1).astype(np.uint16)
    assert len(png_bytes(pixels)) < 1.5 * len(imagecodecs.png_encode(pixels)) < pixels.nbytes
