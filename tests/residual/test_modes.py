import numpy as np
import pytest

from smalti.errors import DamagedArchiveError, UsageError
from smalti.residual.modes import (
    CONTEXTS,
    EXACT,
    MODES,
    STEPS,
    STORED,
    contexts_of,
    predict,
    rebuild,
    to_levels,
    to_symbols,
)
from smalti.residual.residuals import Residuals


@pytest.mark.parametrize("mode", STORED)
@pytest.mark.parametrize("shape", [(3, 7, 5, 2), (1, 1, 1, 1), (2, 1, 9, 4), (2, 9, 1, 1)])
def test_predictions_are_undone(mode, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    symbols = predict(mode, images)
    modes = np.full(len(images), mode, np.uint8)
    np.testing.assert_array_equal(rebuild(modes, symbols, np.zeros_like(images)), images)


def test_predictions_of_smooth_images_are_small():
    ramp = np.add.outer(np.arange(20), 2 * np.arange(20)).astype(np.uint8)[None, ..., None]
    assert (predict(2, ramp)[:, :, 1:] == 2).all()
    assert (predict(3, ramp)[:, 1:] == 1).all()
    assert not predict(4, ramp)[:, 1:, 1:].any()


def test_levels_and_symbols_are_inverse():
    levels = np.arange(-127, 128)
    assert sorted(to_symbols(levels).tolist()) == list(range(255))
    np.testing.assert_array_equal(to_levels(to_symbols(levels)), levels)
    assert to_symbols(np.array([0, 1, -1, 2, -2])).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DamagedArchiveError, match="no level"):
        to_levels(np.array([3, 255], np.uint8))


@pytest.mark.parametrize("mode", STEPS)
def test_levels_are_added_and_clipped(mode):
    base = np.array([0, 100, 100, 255], np.uint8).reshape(1, 2, 2, 1)
    symbols = to_symbols(np.array([-127, 1, -1, 127])).reshape(base.shape)
    step = STEPS[mode]
    expected = [0, min(100 + step, 255), max(100 - step, 0), 255]
    assert rebuild(np.array([mode], np.uint8), symbols, base).ravel().tolist() == expected


def test_contexts_of_flat_and_busy_images():
    flat = contexts_of(np.array([0, 128, 255], np.uint8).reshape(3, 1, 1, 1))
    assert flat.ravel().tolist() == [0, 8 * 10, 8 * 15]
    image = np.zeros((1, 5, 5, 2), np.uint8)
    image[0, 2, 2, 1] = 200
    contexts = contexts_of(image)
    assert not contexts[..., 0].any()
    assert contexts[0, 2, 2, 1] == 8 * 12 + 6
    assert (contexts[0, 1:4, 1:4, 1] != 0).all()
    assert not contexts[0, 0, :, 1].any()
    assert CONTEXTS == 128


def test_residuals_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="do not fit"):
        Residuals(np.array([0, EXACT], np.uint8), np.zeros((2, 3, 3, 1), np.uint8))
    with pytest.raises(UsageError, match="below"):
        Residuals(np.array([MODES], np.uint8), np.zeros((1, 3, 3, 1), np.uint8))


def test_parts_of_residuals_are_those_of_their_images():
    modes = np.array([0, 5, 0, 1, 7, 0], np.uint8)
    symbols = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    whole = Residuals(modes, symbols)
    assert whole.stored.tolist() == [False, False, False, True, False, False]
    assert whole.corrected.tolist() == [False, True, False, False, True, False]
    for start in range(7):
        for stop in range(8):
            part = whole.part(slice(start, stop))
            assert part.symbols.ravel().tolist() == (np.cumsum(modes != 0) - 1)[start:stop][part.modes != 0].tolist()
    joined = Residuals.join([whole.part(slice(0, 2)), whole.part(slice(2, 6))])
    np.testing.assert_array_equal(joined.symbols, symbols)
