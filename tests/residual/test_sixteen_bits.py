"""The error bound of 16-bit pixels. The parts that both depths share are tested with 8 bits."""

import numpy as np
import pytest

from smalti.errors import DamagedArchiveError
from smalti.residual.choice import ResidualEstimator, choose_residuals
from smalti.residual.modes import (
    CONTEXTS,
    EXACT,
    STORED,
    WIDE_STEPS,
    contexts_of,
    exact,
    fold,
    predict,
    rebuild,
    to_levels,
    to_symbols,
    unfold,
)
from smalti.residual.residual_prior import ResidualPrior
from smalti.residual.residuals import (
    ResidualCounts,
    Residuals,
    apply_residuals,
    max_squared_error,
    squared_errors,
)

WIDE = np.dtype(np.uint16)
ALL = np.arange(1 << 16).astype(np.uint16)


def slopes(count=60, noise=20.0, channels=1, seed=0):
    """Waves with noise, and the waves alone, as a decoder that knows nothing of the noise gives them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    wave = 3_000 + 2_000 * np.sin(rows / 5 + rng.uniform(0, 6, (count, 1, 1))) * np.cos(columns / 7)
    clean = np.repeat(wave[..., None], channels, 3)
    noisy = clean + rng.normal(0, noise, clean.shape)
    return noisy.round().clip(0, 65_535).astype(np.uint16), clean.round().astype(np.uint16)


def packed(images, base, max_mse):
    bound = max_squared_error(max_mse, images.shape[1:], WIDE)
    estimator, counts, parts = ResidualEstimator(WIDE), ResidualCounts(WIDE), []
    for start in range(0, len(images), 16):
        batch = slice(start, start + 16)
        parts.append(choose_residuals(images[batch], base[batch], bound, estimator))
        counts.add(base[batch], parts[-1])
    residuals = Residuals.join(parts)
    prior = ResidualPrior.fit(counts, images.shape[1:])
    return residuals, prior.to_bytes(), prior.encode(base, residuals)


def unpacked(section, stream, base, rows=None):
    prior = ResidualPrior.from_bytes(section, base.shape[1:], WIDE)
    rows = np.arange(len(base)) if rows is None else np.array(rows)
    return prior.decode(stream, len(base), rows, lambda needed: base[needed])


def test_symbols_stand_for_all_levels():
    assert fold(np.array([0, 1, -1, 2, -32_767, 32_768]).astype(np.uint16)).tolist() == [0, 1, 2, 3, 65_534, 65_535]
    assert (unfold(fold(ALL)) == ALL).all() and len(np.unique(fold(ALL))) == 1 << 16
    assert (to_symbols(to_levels(ALL), WIDE) == ALL).all()
    assert (to_levels(ALL).astype(np.uint16) == unfold(ALL)).all()


@pytest.mark.parametrize("mode", STORED)
def test_predictions_are_undone(mode):
    images = np.random.default_rng(mode).integers(0, 1 << 16, (3, 7, 5, 2), np.uint16)
    modes = np.full(3, mode, np.uint8)
    assert (rebuild(modes, predict(mode, images), np.zeros_like(images)) == images).all()


def test_exact_symbols_give_any_image_on_any_base():
    images, base = np.random.default_rng(0).integers(0, 1 << 16, (2, 4, 9, 9, 1), np.uint16)
    assert (rebuild(np.full(4, EXACT, np.uint8), exact(images, base), base) == images).all()
    assert not exact(images, images).any()


@pytest.mark.parametrize("mode", WIDE_STEPS)
def test_steps_are_added_and_clipped(mode):
    base = np.array([0, 30_000, 30_000, 65_535], np.uint16).reshape(1, 2, 2, 1)
    levels, step = np.array([-32_767, 1, -1, 32_768]), WIDE_STEPS[mode]
    found = rebuild(np.array([mode], np.uint8), to_symbols(levels, WIDE).reshape(base.shape), base)
    assert found.ravel().tolist() == [0, min(30_000 + step, 65_535), max(30_000 - step, 0), 65_535]


def test_contexts_are_numbers_of_digits():
    flat = contexts_of(np.array([0, 1, 2, 255, 256, 65_535], np.uint16).reshape(6, 1, 1, 1))
    assert flat.ravel().tolist() == [0, 0, 16, 4 * 16, 4 * 16, 7 * 16]
    image = np.zeros((1, 3, 3, 1), np.uint16)
    image[0, 0, 0] = 65_535
    assert contexts_of(image)[0, ..., 0].tolist() == [[7 * 16 + 15, 15, 0], [15, 15, 0], [0, 0, 0]]
    assert contexts_of(image).max() < CONTEXTS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("max_mse", [0, 1e-8, 5e-8, 1e-3])
def test_every_image_is_within_its_bound(max_mse, channels):
    images, base = slopes(channels=channels)
    images[7], base[9] = 65_535, 0  # far from their bases
    residuals, section, stream = packed(images, base, max_mse)
    decoded = unpacked(section, stream, base)
    assert (decoded == apply_residuals(base, residuals)).all()
    assert (squared_errors(images, decoded) <= max_squared_error(max_mse, images.shape[1:], WIDE)).all()
    assert max_mse or (decoded == images).all()
    some = [0, 7, 9, 40]
    assert (unpacked(section, stream, base, some) == decoded[some]).all()


def test_lossless_costs_about_the_entropy_of_the_noise():
    images, base = slopes(count=200, noise=50)
    _, section, stream = packed(images, base, 0)
    entropy = np.log2(50 * np.sqrt(2 * np.pi * np.e))
    assert entropy < 8 * (len(section) + len(stream)) / images.size < 1.02 * entropy + 0.05


def test_noise_costs_hardly_more_than_it_is():
    images = np.random.default_rng(0).integers(0, 1 << 16, (40, 16, 16, 1), np.uint16)
    _, section, stream = packed(images, np.zeros_like(images), 0)
    assert len(section) + len(stream) < 1.02 * images.nbytes


def test_bounds_cover_the_whole_range():
    assert max_squared_error(1, (2, 3, 4), WIDE) == 65_535**2 * 24
    black, white = np.zeros((1, 300, 300, 1), np.uint16), np.full((1, 300, 300, 1), 65_535, np.uint16)
    assert squared_errors(black, white).tolist() == [65_535**2 * 90_000]


def test_tables_of_the_other_depth_are_refused():
    images, base = slopes()
    _, section, _ = packed(images, base, 0)
    with pytest.raises(DamagedArchiveError, match="kind 2, which is not for pixels of uint8"):
        ResidualPrior.from_bytes(section, images.shape[1:])
    with pytest.raises(DamagedArchiveError, match="kind 1, which is not for pixels of uint16"):
        ResidualPrior.from_bytes(b"\1" + section[1:], images.shape[1:], WIDE)
