"""The levels of samples."""

import numpy as np
import pytest

from helpers.tiny_pixel_fits import drawings
from smalti.images.sized import as_sized
from smalti.sources.arrays.array_source import ArraySource
from smalti.training.cells.samples import load_samples
from smalti.training.pixels.levels import MOST_LEVELS, LevelTable, find_levels, levels_for, sample_counts


def samples_of(pixels):
    return load_samples(as_sized(ArraySource(pixels)), 1, 64)


def noise(shape=(3, 20, 20, 1), dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, int(np.iinfo(dtype).max) + 1, shape).astype(dtype)


def error_of(tables, pixels):
    """The mean squared error of the nearest levels, of pixels in [0, 1]."""
    parts = [np.abs(pixels[..., c, None] - table.values).min(axis=-1) for c, table in enumerate(tables)]
    return float(np.square(np.stack(parts)).mean()) / int(np.iinfo(pixels.dtype).max) ** 2


def test_a_table_knows_the_nearest_level():
    values = np.array([3, 4, 10, 255])
    table = LevelTable(values, 255)
    distances = np.abs(np.arange(256)[:, None] - values)
    assert (distances[np.arange(256), table.nearest] == distances.min(axis=1)).all()
    assert LevelTable(np.array([7]), 255).nearest.tolist() == [0] * 256


@pytest.mark.parametrize("mse", [1e-5, 1e-4, 1e-3, 1e-2])
def test_there_are_as_few_levels_as_the_goal_allows(mse):
    pixels = noise()
    counts = sample_counts(samples_of(pixels))
    levels = find_levels(counts, mse, 255)
    count = len(levels.tables[0].values)
    assert error_of(levels.tables, pixels) <= mse
    fewer = LevelTable(np.floor(np.linspace(pixels.min(), pixels.max(), count - 1) + 0.5).astype(np.int64), 255)
    assert error_of([fewer], pixels) > mse
    assert levels.squared_step == pytest.approx((255 / (count - 1) / 255) ** 2, rel=0.05)


def test_both_ends_are_levels_and_all_channels_have_about_one_step():
    pixels = noise((3, 20, 20, 3))
    pixels[..., 1] = 100 + pixels[..., 1] // 4
    pixels[..., 2] = 9
    levels = find_levels(sample_counts(samples_of(pixels)), 1e-3, 255)
    for channel, table in enumerate(levels.tables):
        assert (table.values[0], table.values[-1]) == (pixels[..., channel].min(), pixels[..., channel].max())
        assert (np.diff(table.values) > 0).all()
    wide, narrow, one = (table.values for table in levels.tables)
    assert np.diff(wide).mean() == pytest.approx(np.diff(narrow).mean(), rel=0.25) and one.tolist() == [9]


def test_nearest_levels_of_pixels():
    pixels = noise((2, 9, 7, 3))
    levels = find_levels(sample_counts(samples_of(pixels)), 1e-3, 255)
    found = levels.nearest(pixels)
    assert found.dtype == np.uint16 and found.shape == pixels.shape
    values = np.stack([table.values[found[..., c]] for c, table in enumerate(levels.tables)], -1)
    assert np.abs(values - pixels.astype(int)).max() <= max(np.diff(table.values).max() for table in levels.tables) / 2


def test_colours_that_nobody_sees_count_nothing():
    pixels = noise((3, 20, 20, 2))
    pixels[..., 0] = np.where(pixels[..., 1] % 2, 200, 10)
    pixels[..., 1] = np.where(pixels[..., 1] % 2, 0, 128)
    counts = sample_counts(samples_of(pixels))
    assert counts[0, 200] == 0 and counts[0].sum() == pytest.approx((128 / 255) ** 2 / 2)
    shares = [picture.size / np.count_nonzero(picture) for picture in pixels[..., 1]]
    assert counts[1].sum() == pytest.approx(np.mean(shares) / 2)
    assert levels_for(samples_of(pixels), 1e-4).tables[0].values.tolist() == [10]


def test_sixteen_bits_have_no_more_levels_than_eight():
    pixels = noise(dtype=np.uint16)
    levels = find_levels(sample_counts(samples_of(pixels)), 1e-12, 65_535)
    assert len(levels.tables[0].values) == MOST_LEVELS
    assert len(levels_for(samples_of(pixels), 1e-3).tables[0].values) < 20


def test_more_quality_takes_more_levels():
    samples = load_samples(drawings(3), 1, 64)
    counts = [len(levels_for(samples, mse).tables[0].values) for mse in (1e-2, 1e-3, 1e-4, 1e-5)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_images_weigh_alike_whatever_their_sizes_are():
    """As they do in the error that a target is of."""
    source = drawings(1, sizes=((2, 2), (64, 64)), count=1)
    samples = load_samples(source, 1, 64)
    counts = sample_counts(samples)
    assert counts.sum() == pytest.approx(1)
    parts = [np.bincount(picture.pixels.ravel(), minlength=256) / picture.pixels.size for picture in samples.pictures]
    np.testing.assert_allclose(counts[0], np.mean(parts, axis=0))
