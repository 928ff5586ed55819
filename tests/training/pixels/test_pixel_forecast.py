"""A forecast of what pixels take."""

import numpy as np
import pytest

from helpers.tiny_pixel_fits import drawings
from smalti.images.sized import as_sized
from smalti.sources.arrays.array_source import ArraySource
from smalti.training.cells.samples import load_samples
from smalti.training.common.goal import mse_of_psnr
from smalti.training.pixels.levels import levels_for
from smalti.training.pixels.pixel_forecast import fitted_share, forecast_pixels, level_entropy


def source_of(pixels):
    return as_sized(ArraySource(pixels))


def entropy(pixels, psnr):
    samples = load_samples(source_of(pixels), 1, 96)
    levels = levels_for(samples, mse_of_psnr(psnr))
    return level_entropy(samples, levels)[0], [len(table.values) for table in levels.tables]


def test_noise_costs_what_its_levels_say():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 1), dtype=np.uint8)
    found, (count,) = entropy(pixels, 26)
    assert np.log2(count) < found < np.log2(count) + 0.8  # less than the remainders of a guess would take


def test_one_colour_costs_next_to_nothing():
    assert entropy(np.full((3, 30, 30, 3), 9, np.uint8), 36)[0] < 0.1


def test_flat_surroundings_and_other_channels_help():
    noise = np.random.default_rng(0).integers(0, 256, (10, 48, 48, 1), dtype=np.uint8)
    flat = noise.copy()
    flat[:, :, :24] = 40
    assert entropy(flat, 30)[0] < 0.6 * entropy(noise, 30)[0]
    grey = entropy(np.repeat(noise, 3, axis=3), 30)[0]
    assert grey < 0.8 * 3 * entropy(noise, 30)[0]


def test_colours_that_alpha_hides_cost_nothing():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10, 48, 48, 4), dtype=np.uint8)
    pixels[..., -1] = 255
    hidden = pixels.copy()
    hidden[:, 12:, :, -1] = 0  # a quarter is seen
    assert entropy(hidden, 30)[0] < 0.4 * entropy(pixels, 30)[0]


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (2, np.uint8), (3, np.uint8), (4, np.uint16)])
def test_all_kinds_of_pixels_have_a_forecast(channels, dtype):
    found = forecast_pixels(drawings(channels, dtype=dtype), mse_of_psnr(36), 3)
    assert 0 < found.tokens_bits < found.entropy_bits and found.archive_bytes > found.other_bytes > 0


def test_more_quality_and_more_images_cost_more():
    rng = np.random.default_rng(0)
    pixels = rng.normal(128, 20, (30, 32, 32, 1)).round().clip(0, 255).astype(np.uint8)
    found = [forecast_pixels(source_of(pixels), mse_of_psnr(psnr), 3).entropy_bits for psnr in (26, 32, 38)]
    assert found[0] + pixels.size / 2 < found[1] < found[2] - pixels.size / 2  # 6 dB are a bit of noise
    half = forecast_pixels(source_of(pixels[:15]), mse_of_psnr(32), 3).entropy_bits
    assert 1.7 * half < found[1] < 2.3 * half


def test_more_effort_costs_less_and_then_no_more():
    found = [forecast_pixels(drawings(), mse_of_psnr(36), effort) for effort in (0, 1, 3, 9)]
    shares = [own.tokens_bits / own.entropy_bits for own in found]
    assert shares[0] > shares[1] > shares[2] == shares[3]


def test_edges_can_be_learned_and_noise_cannot():
    assert fitted_share(0.0) == 1 > fitted_share(0.5) > fitted_share(0.75) > fitted_share(1.0) > 0.5
    samples = load_samples(drawings(), 1, 96)
    assert level_entropy(samples, levels_for(samples, mse_of_psnr(36)))[1] > 0.8
    noise = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1)).astype(np.uint8)
    samples = load_samples(source_of(noise), 1, 96)
    assert level_entropy(samples, levels_for(samples, mse_of_psnr(36)))[1] < 0.2


def test_a_single_pixel_has_a_forecast():
    assert forecast_pixels(source_of(np.full((1, 1, 1, 3), 7, np.uint8)), 1e-4, 3).archive_bytes < 10_000
