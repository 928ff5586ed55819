import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.image_files import noise
from smalti.images.quality import QualityMeter, squared_errors, ssim

SLICE = Path(__file__).parent.parent / "data" / "mnist_slice.npz"


def with_noise(images: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    noisy = images + np.random.default_rng(seed).normal(0, strength, images.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def digits() -> np.ndarray:
    return np.load(SLICE)["images"][..., None]


@pytest.mark.parametrize("strength", [0.5, 20, 200])
def test_ssim_of_digits_is_that_of_scikit_image(strength: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    images = digits()[:60]
    decoded = with_noise(images, strength)
    expected = [
        metrics.structural_similarity(a[..., 0] / 255, b[..., 0] / 255, data_range=1.0)
        for a, b in zip(images, decoded, strict=True)
    ]
    np.testing.assert_allclose(ssim(images, decoded), expected, rtol=0, atol=1e-12)


@given(height=st.integers(7, 20), width=st.integers(7, 20), channels=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_ssim_of_colours_is_that_of_scikit_image(height: int, width: int, channels: int, seed: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    images = noise(3, height, width, channels, seed=seed)
    images[0] = 255  # flat and extreme, so that sums are largest
    decoded = with_noise(images, 30, seed)
    expected = [
        metrics.structural_similarity(a / 255, b / 255, data_range=1.0, channel_axis=-1)
        for a, b in zip(images, decoded, strict=True)
    ]
    np.testing.assert_allclose(ssim(images, decoded), expected, rtol=0, atol=1e-12)


def test_equal_images_are_perfect() -> None:
    meter = QualityMeter()
    meter.add(digits()[:5], digits()[:5])
    result = meter.result()
    assert (result.mse_mean, result.mse_max, result.psnr_db) == (0.0, 0.0, None)
    assert result.ssim_mean == pytest.approx(1, abs=1e-12)


def test_black_against_white_is_the_worst() -> None:
    meter = QualityMeter()
    meter.add(np.zeros((3, 8, 8, 1), np.uint8), np.full((3, 8, 8, 1), 255, np.uint8))
    result = meter.result()
    assert (result.mse_mean, result.mse_max, result.psnr_db) == (1.0, 1.0, 0.0)
    assert result.ssim_mean == pytest.approx(1e-4, rel=1e-3)


@given(sizes=st.lists(st.integers(0, 90), min_size=1, max_size=5).filter(any))
@settings(max_examples=15, deadline=None)
def test_batches_do_not_matter_and_numbers_are_those_of_the_definition(sizes: list[int]) -> None:
    images = digits()[: sum(sizes)]
    decoded = with_noise(images, 25)
    meter, start = QualityMeter(), 0
    for size in sizes:
        meter.add(images[start : start + size], decoded[start : start + size])
        start += size
    result = meter.result()
    errors = ((images / 255 - decoded / 255) ** 2).mean(axis=(1, 2, 3))
    assert result.images == len(images)
    assert result.mse_mean == pytest.approx(errors.mean(), rel=1e-12)
    assert result.mse_max == pytest.approx(errors.max(), rel=1e-12)
    assert result.psnr_db == pytest.approx(-10 * math.log10(errors.mean()))
    assert result.first_100.mse == pytest.approx(errors[:100].mean(), rel=1e-12)
    assert result.ssim_mean == pytest.approx(ssim(images, decoded).mean(), rel=1e-12)
    assert result.first_100.ssim == pytest.approx(ssim(images, decoded)[:100].mean(), rel=1e-12)


def test_squared_errors_are_exact_integers() -> None:
    original, decoded = noise(4, 5, 6, 3), noise(4, 5, 6, 3, seed=1)
    expected = [
        sum((int(a) - int(b)) ** 2 for a, b in zip(one.flat, other.flat, strict=True))
        for one, other in zip(original, decoded, strict=True)
    ]
    assert squared_errors(original, decoded).tolist() == expected


def test_large_images_and_many_chunks_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(7, 40, 40, 3)
    decoded = with_noise(images, 9)
    whole, parts = QualityMeter(), QualityMeter()
    whole.add(images, decoded)
    monkeypatch.setattr("smalti.images.quality._CHUNK_BYTES", 1)
    parts.add(images, decoded)
    assert parts.result().mse_mean == whole.result().mse_mean
    assert parts.result().ssim_mean == pytest.approx(whole.result().ssim_mean, rel=1e-14)


def test_ssim_is_absent_with_a_reason_and_never_zero() -> None:
    meter = QualityMeter()
    meter.add(noise(2, 6, 28, 1), noise(2, 6, 28, 1))
    result = meter.result()
    assert (result.ssim_mean, result.first_100.ssim) == (None, None)
    assert result.ssim_absent == "images of 6x28 are smaller than SSIM's window of 7x7"
    meter = QualityMeter(with_ssim=False)
    meter.add(digits(), digits())
    assert meter.result().ssim_absent == "not asked for"


def test_images_that_cannot_be_compared_are_refused() -> None:
    meter = QualityMeter()
    with pytest.raises(ValueError, match="no images"):
        meter.result()
    with pytest.raises(ValueError, match="uint8"):
        meter.add(np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 8, 8, 1), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\[n, H, W, C\]"):
        meter.add(noise(1, 8, 8, 1), noise(1, 8, 9, 1))
    with pytest.raises(ValueError, match="smaller"):
        ssim(noise(1, 6, 9, 1), noise(1, 6, 9, 1))


def test_images_of_other_shapes_count_alike() -> None:
    whole, alone = QualityMeter(), [QualityMeter(), QualityMeter()]
    pairs = [
        (noise(3, 8, 9, 1), np.zeros((3, 8, 9, 1), np.uint8)),
        (noise(2, 12, 10, 3), np.zeros((2, 12, 10, 3), np.uint8)),
    ]
    for meter, (original, decoded) in zip(alone, pairs, strict=True):
        whole.add(original, decoded)
        meter.add(original, decoded)
    first, second = (meter.result() for meter in alone)
    result = whole.result()
    assert result.images == 5 and result.mse_max == max(first.mse_max, second.mse_max)
    assert result.mse_mean == pytest.approx((3 * first.mse_mean + 2 * second.mse_mean) / 5)
    assert result.ssim_mean == pytest.approx((3 * first.ssim_mean + 2 * second.ssim_mean) / 5)


@pytest.mark.parametrize("strength", [3, 3_000, 60_000])
def test_16_bits_are_measured_in_units_of_their_own(strength: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    images = digits()[:40].astype(np.uint16) * 257
    images[0] = 65_535  # flat and extreme, so that sums are largest
    noisy = images + np.random.default_rng(1).normal(0, strength, images.shape)
    decoded = noisy.round().clip(0, 65_535).astype(np.uint16)
    expected = [
        metrics.structural_similarity(a[..., 0] / 65_535, b[..., 0] / 65_535, data_range=1.0)
        for a, b in zip(images, decoded, strict=True)
    ]
    np.testing.assert_allclose(ssim(images, decoded), expected, rtol=0, atol=1e-11)
    meter = QualityMeter()
    meter.add(images, decoded)
    errors = ((images / 65_535 - decoded / 65_535) ** 2).mean(axis=(1, 2, 3))
    assert meter.result().mse_mean == pytest.approx(errors.mean(), rel=1e-9)
    assert meter.result().mse_max == pytest.approx(errors.max(), rel=1e-9)


def test_16_bits_times_257_are_as_good_as_8() -> None:
    images, decoded = digits()[:20], with_noise(digits()[:20], 30)
    narrow, wide = QualityMeter(), QualityMeter()
    narrow.add(images, decoded)
    wide.add(images.astype(np.uint16) * 257, decoded.astype(np.uint16) * 257)
    assert wide.result().mse_mean == pytest.approx(narrow.result().mse_mean, rel=1e-12)
    assert wide.result().ssim_mean == pytest.approx(narrow.result().ssim_mean, rel=1e-9)


def test_squared_errors_of_16_bits_do_not_overflow() -> None:
    black, white = np.zeros((2, 200, 300, 1), np.uint16), np.full((2, 200, 300, 1), 65_535, np.uint16)
    assert squared_errors(black, white).tolist() == [65_535**2 * 60_000] * 2


def test_images_of_both_types_count_alike_and_are_never_compared() -> None:
    meter = QualityMeter()
    wide = np.zeros((1, 8, 8, 1), np.uint16)
    meter.add(noise(3, 8, 8, 1), noise(3, 8, 8, 1))
    meter.add(wide, np.full_like(wide, 65_535))
    assert (meter.result().mse_mean, meter.result().mse_max) == (0.25, 1)
    with pytest.raises(ValueError, match="must have one dtype"):
        meter.add(wide, noise(1, 8, 8, 1))
