import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from helpers.residuals import block_means, choose_all, pack
from smalti.errors import UsageError
from smalti.residual.modes import EXACT, STORED
from smalti.residual.residuals import apply_residuals, max_squared_error, squared_errors

BASES = {"means of blocks": block_means, "black": np.zeros_like, "white": lambda images: np.full_like(images, 255)}


@pytest.mark.parametrize("max_mse", [0, 1e-4, 1e-3, 0.005, 0.01, 0.05])
@pytest.mark.parametrize("base", BASES)
def test_every_image_is_within_its_bound(digits, base, max_mse):
    images = digits.images[..., None]
    base = BASES[base](images)
    packed = pack(images, base, max_mse)
    decoded = packed.decode_all()
    bound = int(max_mse * 255**2 * 28**2)
    errors = np.sum((decoded.astype(int) - images) ** 2, axis=(1, 2, 3))
    assert (errors <= bound).all()
    np.testing.assert_array_equal(decoded, apply_residuals(base, packed.residuals))


def test_only_images_beyond_the_bound_are_touched(digits):
    images = digits.images[..., None]
    base = block_means(images)
    bound = int(np.median(squared_errors(images, base)))
    residuals, _ = choose_all(images, base, bound)
    np.testing.assert_array_equal(residuals.modes != 0, squared_errors(images, base) > bound)
    assert not (residuals.corrected & residuals.stored).any()


def test_a_looser_bound_takes_fewer_bytes(digits):
    images = digits.images[..., None]
    sizes = [pack(images, block_means(images), max_mse).stored_bytes for max_mse in (0.02, 0.01, 0.005, 0.001, 0)]
    assert sizes == sorted(sizes)
    assert 4 * sizes[0] < sizes[-1]  # just beyond the bound, few pixels have residuals


def test_a_good_base_is_used_and_a_bad_one_is_not(digits):
    images = digits.images[..., None]
    near = np.clip(images.astype(int) + (np.indices(images.shape).sum(axis=0) % 3 - 1), 0, 255).astype(np.uint8)
    assert not pack(images, near, 0).residuals.stored.any()
    noise = np.random.default_rng(1).integers(0, 256, images.shape, np.uint8)
    modes = pack(images, noise, 0).residuals.modes
    assert (modes <= EXACT).all()  # steps from noise never pay; exact pixels may, because their contexts say nothing
    assert np.isin(modes, list(STORED)).mean() > 0.5


CASES = {
    "noise": lambda random: random.integers(0, 256, (40, 12, 20, 3), np.uint8),
    "constant": lambda random: np.full((5, 9, 9, 1), 77, np.uint8),
    "checkerboard": lambda random: (np.indices((6, 16, 16, 1)).sum(axis=0) % 2 * 255).astype(np.uint8),
    "1 x 1": lambda random: random.integers(0, 256, (300, 1, 1, 1), np.uint8),
    "one row": lambda random: random.integers(0, 256, (3, 1, 50, 4), np.uint8),
    "one column": lambda random: random.integers(0, 4, (3, 50, 1, 2), np.uint8),
    "a ramp": lambda random: np.tile(np.arange(256, dtype=np.uint8)[None, :, None, None], (2, 1, 8, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bound_of_zero_is_lossless_for_anything(case):
    random = np.random.default_rng(0)
    images = CASES[case](random)
    for base in (np.zeros_like(images), random.integers(0, 256, images.shape, np.uint8), ~images):
        np.testing.assert_array_equal(pack(images, base, 0, block_images=32).decode_all(), images)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_bound_holds_for_any_images(data):
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)))
    images, base = (data.draw(nps.arrays(np.uint8, shape)) for _ in range(2))
    max_mse = data.draw(st.sampled_from([0, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]))
    packed = pack(images, base, max_mse, block_images=data.draw(st.integers(1, 7)))
    decoded = base if packed is None else packed.decode_all()
    assert (squared_errors(images, decoded) <= max_squared_error(max_mse, shape[1:])).all()


def test_a_bound_is_the_exact_product_rounded_down():
    assert max_squared_error(0, (28, 28, 1)) == 0
    assert max_squared_error(1, (2, 3, 4)) == 65_025 * 24
    assert max_squared_error(0.01, (28, 28, 1)) == 509_796
    assert max_squared_error(1e-6, (1, 1, 1)) == 0
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="is no error bound"):
            max_squared_error(wrong, (28, 28, 1))
