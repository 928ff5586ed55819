from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from smalti.errors import SourceError
from smalti.study.distortion import mse_per_image, ssim_per_image

SLICE = Path(__file__).parents[1] / "data" / "mnist_slice.npz"


def noisy_digits():
    rng = np.random.default_rng(0)
    images = np.load(SLICE)["images"][:40]
    noise = rng.normal(0, 30, images.shape)
    return images, np.clip(images + noise, 0, 255).astype(np.uint8)


def test_ssim_is_that_of_scikit_image():
    images, decoded = noisy_digits()
    expected = [structural_similarity(a / 255, b / 255, data_range=1.0) for a, b in zip(images, decoded, strict=True)]
    np.testing.assert_allclose(ssim_per_image(images, decoded), expected, atol=1e-12)


def test_mse_is_of_unit_range_images():
    images, decoded = noisy_digits()
    expected = ((images / 255 - decoded / 255) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(mse_per_image(images, decoded), expected, rtol=1e-12)
    assert mse_per_image(np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)) == 1


def test_perfect_copy():
    images, _ = noisy_digits()
    assert not mse_per_image(images, images).any()
    np.testing.assert_allclose(ssim_per_image(images, images), 1)


def test_shapes_and_dtypes_that_cannot_be_compared():
    images, decoded = noisy_digits()
    with pytest.raises(SourceError, match="cannot compare"):
        mse_per_image(images, decoded[1:])
    with pytest.raises(SourceError, match="cannot compare"):
        ssim_per_image(images, decoded / 255)
