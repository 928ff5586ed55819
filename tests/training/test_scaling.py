import numpy as np
import pytest
import torch

from smalti.errors import ModelError
from smalti.training.common.scaling import EIGHT_BITS, MOST_LEVELS, PixelScale
from smalti.training.common.training_images import to_unit_range


def wide(*values):
    return np.array(values, np.uint16).reshape(-1, 1, 1, 1)


def test_8_bits_are_taken_whole():
    assert PixelScale.of(np.full((2, 3, 3, 1), 9, np.uint8)) is EIGHT_BITS
    assert (EIGHT_BITS.levels, EIGHT_BITS.step, EIGHT_BITS.true_mse(0.25)) == (255, 1, 0.25)


@pytest.mark.parametrize(
    ("pixels", "low", "high"),
    [
        (wide(0, 65_535), 0, 65_535),  # 17 * 3,855
        (wide(1_000, 5_095), 1_000, 5_095),
        (wide(1_000, 5_096), 1_000, 5_096),
        (wide(1_000, 5_097), 1_000, 5_098),
        (wide(7, 7), 7, 8),
        (wide(65_535), 65_534, 65_535),
        (wide(40_000, 52_346), 40_000, 52_348),  # 4 * 3,087
    ],
)
def test_16_bits_are_the_range_they_fill(pixels, low, high):
    scale = PixelScale.of(pixels)
    assert (scale.low, scale.high) == (low, high)
    assert scale.levels * scale.step == scale.high - scale.low and scale.levels <= MOST_LEVELS
    assert PixelScale.from_json(scale.to_json()) == scale
    units = to_unit_range(pixels, scale)
    assert 0 <= units.min() <= units.max() <= 1
    assert (scale.to_pixels(units) == pixels).all()


@pytest.mark.parametrize("scale", [EIGHT_BITS, PixelScale("uint16", 3, 4_098), PixelScale.of(wide(0, 65_535))])
def test_pixels_come_back_and_tables_end_within_the_type(scale):
    pixels = np.arange(scale.low, scale.largest + 1, dtype=scale.dtype).reshape(-1, 1, 1, 1)
    assert (scale.to_pixels(to_unit_range(pixels, scale)) == pixels).all()
    table = scale.table(scale.step * np.arange(scale.levels + 1))
    assert table.dtype == scale.dtype and table[0] == scale.low
    assert table[-1] == min(scale.high, scale.largest) and (np.diff(table[:-1].astype(int)) == scale.step).all()


def test_pixels_beyond_the_range_are_not_clipped():
    scale = PixelScale("uint16", 1_000, 2_000)
    assert to_unit_range(wide(0, 3_000), scale).ravel().tolist() == [-1, 2]
    beyond = torch.tensor([-5.0, -1, 2, 99]).reshape(4, 1, 1, 1)
    assert scale.to_pixels(beyond).ravel().tolist() == [0, 0, 3_000, 65_535]


def test_errors_are_of_the_whole_type():
    scale = PixelScale("uint16", 0, 4_095)
    assert scale.true_mse(1) == (4_095 / 65_535) ** 2
    assert scale.unit_mse(scale.true_mse(0.01)) == pytest.approx(0.01)


@pytest.mark.parametrize("wrong", [("uint8", 0, 254), ("uint16", 5, 5), ("uint16", 0, 4_097), ("float32", 0, 1)])
def test_what_no_scale_is_is_refused(wrong):
    with pytest.raises(ValueError, match="pixels of"):
        PixelScale(*wrong)


def test_another_type_is_refused_in_one_line():
    with pytest.raises(ModelError, match="takes images of uint8, but photos has uint16; fit a model"):
        EIGHT_BITS.check(np.uint16, "photos")
