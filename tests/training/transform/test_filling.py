"""Images in whole cells, and colours that nobody sees."""

from itertools import pairwise

import numpy as np
import pytest

from smalti.images.sized import as_sized
from smalti.sources.arrays.array_source import ArraySource
from smalti.training.cells.samples import filled, load_images, load_samples, prepared
from smalti.training.common.goal import Goal
from smalti.training.transform.survey import survey
from smalti.training.transform.transform_settings import TransformSettings


def transparent(count, height, width, channels, dtype, seed=0):
    """Images of which a tenth is seen; nothing of the first, all of the second."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, int(np.iinfo(dtype).max) + 1, (count, height, width, channels)).astype(dtype)
    images[..., -1] *= (rng.random((count, height, width)) < 0.1).astype(dtype)
    images[0, ..., -1], images[1, ..., -1] = 0, 9
    return images


def filled_one(image):
    """The same for one image [H, W, C], level by level as the module says."""
    seen = image[..., -1] > 0
    if not seen.any() or seen.all():
        return image
    levels = [(np.where(seen[..., None], image[..., :-1], 0).astype(np.float64), seen.astype(np.float64))]
    while min(levels[-1][1].shape) > 1 and not (levels[-1][1] > 0).all():
        values, weights = levels[-1]
        padding = ((0, weights.shape[0] % 2), (0, weights.shape[1] % 2))
        values, weights = np.pad(values, (*padding, (0, 0))), np.pad(weights, padding)
        shape = (values.shape[0] // 2, 2, values.shape[1] // 2, 2)
        levels.append((values.reshape(*shape, -1).sum((1, 3)), weights.reshape(shape).sum((1, 3))))
    values, weights = levels[-1]
    current = values / np.maximum(weights, 1e-9)[..., None]
    current[weights == 0] = values.sum((0, 1)) / weights.sum()
    for (_, _), (values, weights) in pairwise(levels[::-1]):
        larger = current.repeat(2, 0).repeat(2, 1)[: weights.shape[0], : weights.shape[1]]
        current = np.where(weights[..., None] > 0, values / np.maximum(weights, 1e-9)[..., None], larger)
    result = image.copy()
    result[..., :-1] = np.where(seen[..., None], image[..., :-1], np.round(current))
    return result


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(20, 33, 17, 4), (9, 64, 64, 4), (5, 7, 1, 2), (3, 1, 1, 2), (6, 100, 40, 2)])
def test_many_images_are_filled_as_one_by_one(shape, dtype):
    images = transparent(*shape, dtype)
    images[2:, : shape[1] // 2, :, -1] = 0
    before = images.copy()
    np.testing.assert_array_equal(filled(images), np.stack([filled_one(image) for image in images]))
    np.testing.assert_array_equal(images, before)


def test_opaque_images_are_left_as_they_are():
    images = np.random.default_rng(0).integers(1, 255, (3, 9, 7, 3), dtype=np.uint8)
    assert filled(images) is images
    padded = prepared(images, 8)
    assert padded.shape == (3, 16, 8, 3)
    np.testing.assert_array_equal(padded[:, 9:, :7], np.repeat(images[:, -1:], 7, 1))


def test_images_that_are_read_once_give_the_samples_of_any_cell():
    source = as_sized(ArraySource(transparent(40, 20, 12, 4, np.uint8)))
    loaded = load_images(source, 10_000)
    for cell in (8, 16):
        once, again = loaded.samples(cell, 128), load_samples(source, cell, 128, 10_000)
        assert len(once.pictures) == len(again.pictures) < 40 and once.scale == again.scale
        for one, other in zip(once.pictures, again.pictures, strict=True):
            assert one.size == other.size == (20, 12)
            np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_survey_for_a_forecast_looks_at_fewer_images():
    pixels = np.random.default_rng(0).integers(0, 256, (150, 256, 256, 1), dtype=np.uint8)
    source, settings = as_sized(ArraySource(pixels)), TransformSettings("photo", Goal.of_psnr(30))
    brief, whole = survey(source, settings, brief=True), survey(source, settings)
    assert len(brief.samples.pictures) < len(whole.samples.pictures) == 150
    assert brief.shape.cell == whole.shape.cell and brief.mse == whole.mse
