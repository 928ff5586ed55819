import numpy as np
import pytest

from helpers.tiny_transforms import smooth
from smalti.decoders.transform.fixed_bases import cosine_basis, lapped_filter
from smalti.training.common.scaling import PixelScale
from smalti.training.transform.bases import find_basis, waterfilling


def stacks(channels=3):
    sizes = ((32, 64, 4), (16, 16, 3))
    made = [np.stack([smooth(*size[:2], channels, seed) for seed in range(size[2])]) for size in sizes]
    return [PixelScale().to_unit(stack) for stack in made]


def assert_orthonormal(matrix):
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-6)


@pytest.mark.parametrize("mse", [1e-4, 2e-3, 0.05, 0.4])
def test_waterfilling_is_the_closed_form(mse):
    """For variances in a row, the level follows from how many are above it."""
    variances = np.array([2.0, 1.0, 0.3, 0.02, 0.001])
    above = next(k for k in range(5, 0, -1) if (mse * 5 - variances[k:].sum()) / k <= variances[k - 1])
    expected = (mse * 5 - variances[above:].sum()) / above
    level, bits = waterfilling(variances, mse)
    assert level == pytest.approx(expected, rel=1e-6)
    assert bits == pytest.approx(0.5 * np.log2(variances[:above] / expected).sum(), rel=1e-5)


def test_more_error_than_variance_costs_nothing():
    assert waterfilling(np.array([0.1, 0.2]), 0.5)[1] == pytest.approx(0, abs=1e-6)
    assert waterfilling(np.zeros(4), 0.1)[1] == 0


@pytest.mark.parametrize("side", [8, 16, 32])
def test_fixed_matrices_are_orthonormal(side):
    assert_orthonormal(lapped_filter(side))
    assert_orthonormal(cosine_basis(side))


@pytest.mark.parametrize("cell", [8, 16])
@pytest.mark.parametrize("lapped", [False, True])
def test_the_basis_is_orthonormal_and_keeps_the_variance(cell, lapped):
    images = stacks()
    basis = find_basis(images, cell, lapped)
    assert_orthonormal(basis.colour)
    for channel in range(3):
        assert_orthonormal(basis.rows[channel])
        assert_orthonormal(basis.columns[channel])
    pixels = np.concatenate([stack.reshape(-1, 3) for stack in images])
    np.testing.assert_allclose(basis.mean, pixels.mean(0), atol=1e-5)
    assert basis.variances.mean() == pytest.approx(((pixels - basis.mean) ** 2).mean(), rel=0.02)
    assert basis.cell == cell and len(basis.variances) == 3 * cell * cell


def test_the_klt_packs_more_than_cosines():
    images = stacks(1)
    bits = [waterfilling(find_basis(images, 8, fixed=fixed).variances, 1e-4)[1] for fixed in (False, True)]
    assert bits[0] < bits[1]
    np.testing.assert_array_equal(find_basis(images, 8, fixed=True).rows[0], cosine_basis(8))


def test_images_of_one_colour_have_a_basis():
    basis = find_basis([np.full((2, 16, 16, 3), 0.25, np.float32)], 8)
    assert np.isfinite(basis.rows).all() and basis.variances.max() < 1e-9
    assert waterfilling(basis.variances, 1e-4)[1] == 0
