"""A forecast of the bytes of `photo`."""

import numpy as np
import pytest

from smalti.images.sized import as_sized
from smalti.sources.arrays.array_source import ArraySource
from smalti.training.common.goal import Goal
from smalti.training.transform.forecast import forecast
from smalti.training.transform.transform_settings import TransformSettings


def told(pixels, psnr, effort=3):
    return forecast(as_sized(ArraySource(pixels)), TransformSettings("photo", Goal.of_psnr(psnr), effort))


def smooth(count, side, channels=1, seed=0, dtype=np.uint8):
    rough = np.random.default_rng(seed).normal(size=(count, side, side, channels)).cumsum(1).cumsum(2)
    low, high = rough.min((1, 2), keepdims=True), rough.max((1, 2), keepdims=True)
    return (np.iinfo(dtype).max * (rough - low) / (high - low)).astype(dtype)


def test_noise_costs_what_its_rate_says():
    values = np.random.default_rng(0).normal(128, 20, (40, 64, 64, 1)).round().clip(0, 255).astype(np.uint8)
    mse = 10**-3.6 * 255**2
    found = told(values, 36)
    bound = 0.5 * np.log2(
        400 / mse
    )  # of a Gaussian pixel; a plain quantiser with a dead zone takes a third of a bit more
    assert bound < found.entropy_bits / values.size < bound + 0.4


def test_more_quality_and_more_images_cost_more():
    pixels = smooth(60, 64)
    assert told(pixels, 30).archive_bytes < told(pixels, 36).archive_bytes < told(pixels, 42).archive_bytes
    half, whole = told(pixels[:30], 36), told(pixels, 36)
    assert 1.6 * half.tokens_bits < whole.tokens_bits < 2.4 * half.tokens_bits


def test_more_effort_costs_less_and_then_no_more():
    pixels = smooth(20, 40)
    shares = [found.tokens_bits / found.entropy_bits for found in (told(pixels, 36, effort) for effort in (0, 1, 3, 9))]
    assert shares[0] > shares[1] > shares[2] == shares[3]


@pytest.mark.parametrize(("channels", "dtype"), [(2, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16)])
def test_all_kinds_of_pixels_have_a_forecast(channels, dtype):
    found = told(smooth(5, 40, channels, dtype=dtype), 36)
    assert found.tokens_bits > 0 and found.archive_bytes > found.other_bytes > 0


def test_what_is_not_seen_costs_next_to_nothing():
    pixels = smooth(20, 64, 4)
    pixels[..., -1] = 255
    hidden = pixels.copy()
    hidden[:, 16:, :, -1] = 0  # a quarter is seen
    assert told(hidden, 36).tokens_bits < 0.5 * told(pixels, 36).tokens_bits


def test_a_flat_collection_and_a_single_pixel_have_a_forecast():
    assert told(np.full((3, 20, 20, 1), 7, np.uint8), 36).archive_bytes < 10_000
    assert told(np.full((1, 1, 1, 3), 7, np.uint8), 36).archive_bytes < 10_000


def test_what_fills_whole_cells_is_counted():
    pixels = smooth(40, 40)
    cut, whole = told(np.ascontiguousarray(pixels[:, :33, :33]), 36), told(pixels, 36)
    assert cut.tokens_bits > 0.75 * whole.tokens_bits  # as many cells, and the last ones are not empty
