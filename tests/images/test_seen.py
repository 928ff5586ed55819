import math

import numpy as np
import pytest

from helpers.image_files import noise
from smalti.images.quality import QualityMeter, image_errors
from smalti.images.seen import mse_at_db, psnr_db, seen_errors


def with_alpha(channels, dtype=np.uint8, seed=0):
    """Images of which a quarter is transparent, a quarter opaque, and the rest between."""
    images = noise(5, 12, 16, channels, seed=seed).astype(dtype)
    if dtype == np.uint16:
        images = images * np.uint16(257)
    images[:, :6, :8, -1] = 0
    images[:, 6:, 8:, -1] = np.iinfo(dtype).max
    return images


def plain_error(original, decoded):
    """The definition, in floating point, for one image."""
    largest = np.iinfo(original.dtype).max
    a, b = original / largest, decoded / largest
    seen = np.concatenate([a[..., :-1] * a[..., -1:] - b[..., :-1] * b[..., -1:], a[..., -1:] - b[..., -1:]], axis=-1)
    return (seen**2).sum() / (a.shape[-1] * (np.count_nonzero(original[..., -1]) or seen[..., 0].size))


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_error_is_that_of_the_definition(channels, dtype):
    original, decoded = with_alpha(channels, dtype), with_alpha(channels, dtype, seed=1)
    expected = [plain_error(a, b) for a, b in zip(original, decoded, strict=True)]
    np.testing.assert_allclose(seen_errors(original, decoded), expected, rtol=1e-12)


def test_the_largest_errors_of_16_bits_do_not_overflow():
    white = np.full((1, 300, 300, 4), 65535, np.uint16)
    assert seen_errors(white, 0 * white).tolist() == [1.0]
    assert seen_errors(0 * white, white).tolist() == [1.0]


def test_a_colour_under_alpha_0_costs_nothing_and_alpha_where_there_was_none_does():
    original = with_alpha(4)
    decoded = original.copy()
    decoded[:, :6, :8, :3] = 77
    assert not seen_errors(original, decoded).any()
    decoded[:, 0, 0, 3] = 255
    expected = (3 * (77 / 255) ** 2 + 1) / (4 * np.count_nonzero(original[..., 3], axis=(1, 2)))
    np.testing.assert_allclose(seen_errors(original, decoded), expected, rtol=1e-12)


def test_an_empty_margin_brings_nothing():
    original, decoded = with_alpha(4)[:, 6:], with_alpha(4, seed=1)[:, 6:]
    original[..., 3] |= 1
    margin = ((0, 0), (4, 9), (7, 3), (0, 0))
    wider = seen_errors(np.pad(original, margin), np.pad(decoded, margin))
    np.testing.assert_array_equal(wider, seen_errors(original, decoded))


def test_images_without_alpha_have_no_such_error():
    with pytest.raises(ValueError, match="2 or 4 channels"):
        seen_errors(noise(2, 8, 8, 3), noise(2, 8, 8, 3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_meter_measures_both(channels):
    original, decoded = with_alpha(channels), with_alpha(channels, seed=1)
    meter = QualityMeter()
    for part in (slice(0, 2), slice(2, 5)):
        meter.add(original[part], decoded[part])
    quality = meter.result()
    plain = ((original / 255 - decoded / 255) ** 2).reshape(5, -1).mean(axis=1)
    assert quality.mse_mean == pytest.approx(plain.mean()) and quality.range_psnr_db is None
    errors = image_errors(original, decoded)
    if channels in (1, 3):
        assert quality.seen is None
        np.testing.assert_allclose(errors, plain)
        return
    np.testing.assert_array_equal(errors, seen_errors(original, decoded))
    assert quality.seen.mse_mean == pytest.approx(errors.mean()) and quality.seen.mse_max == errors.max()
    assert quality.seen.psnr_db == pytest.approx(-10 * math.log10(errors.mean()))


def test_images_with_and_without_alpha_count_alike():
    meter, errors = QualityMeter(), []
    for channels in (3, 4):
        original, decoded = with_alpha(channels), with_alpha(channels, seed=1)
        meter.add(original, decoded)
        errors.extend(image_errors(original, decoded))
    seen = meter.result().seen
    assert seen.mse_mean == pytest.approx(np.mean(errors)) and seen.mse_max == pytest.approx(max(errors))


def test_decibels_of_the_range_that_16_bits_fill():
    original = np.full((3, 8, 8, 1), 1000, np.uint16)
    original[1, 2, 3], original[2, 0, 0] = 900, 1400
    decoded = original + np.uint16(5)
    meter = QualityMeter()
    for image in range(3):
        meter.add(original[image : image + 1], decoded[image : image + 1])
    quality = meter.result()
    assert quality.psnr_db == pytest.approx(20 * math.log10(65535 / 5))
    assert quality.range_psnr_db == pytest.approx(40.0)
    meter.add(noise(1, 8, 8, 1), noise(1, 8, 8, 1))
    assert meter.result().range_psnr_db is None


def test_decibels_and_errors_are_inverse():
    assert psnr_db(0.0) is None
    assert mse_at_db(36) == pytest.approx(2.511886e-4)
    for span in (1.0, 0.4):
        assert psnr_db(mse_at_db(55, span), span) == pytest.approx(55)
