import numpy as np
import pytest

from helpers.reference_residuals import read_block
from helpers.residuals import block_means, pack
from smalti.errors import UsageError
from smalti.residual.residual_prior import ResidualPrior
from smalti.residual.residuals import ResidualCounts
from smalti.residual.table_fit import choose_group_images


@pytest.fixture(scope="module")
def mixed(digits):
    """Images of every kind of mode: good, stepped, exact and stored ones, in groups smaller than blocks."""
    random = np.random.default_rng(3)
    images = np.concatenate([digits.images[:40], random.integers(0, 256, (12, 28, 28), np.uint8)])[..., None]
    images[40:44] = np.tile(np.arange(28, dtype=np.uint8)[:, None] * 9, (4, 1, 28))[..., None]
    base = block_means(images)
    base[:10] = images[:10]
    order = random.permutation(len(images))
    packed = pack(images[order], base[order], 1e-3, block_images=len(images))
    assert packed.prior.group_images < len(images)
    assert len(np.unique(packed.residuals.modes)) >= 4
    return packed


def test_bytes_follow_the_specification(mixed, digits):
    np.testing.assert_array_equal(read_block(mixed.section, mixed.blocks[0], mixed.base), mixed.decode(0))
    colours = np.stack([digits.images[:18], digits.images[18:36], digits.images[36:54]], axis=-1)
    for max_mse in (0, 0.002, 0.01):
        packed = pack(colours, block_means(colours), max_mse, block_images=18)
        np.testing.assert_array_equal(read_block(packed.section, packed.blocks[0], packed.base), packed.decode(0))


def test_some_images_equal_those_of_the_whole_block(mixed):
    whole = mixed.decode(0)
    for row in range(len(whole)):
        np.testing.assert_array_equal(mixed.decode(0, [row])[0], whole[row])
    for rows in ([0, 1, 2], [5, 17, 50], list(range(20, 40)), []):
        np.testing.assert_array_equal(mixed.decode(0, rows), whole[rows])


def test_only_the_needed_bases_are_decoded(mixed):
    modes, group = mixed.residuals.modes, mixed.prior.group_images
    for row in range(len(modes)):
        requested = []

        def base_of(rows, requested=requested):
            requested.append(rows)
            return mixed.base[rows]

        mixed.prior.decode(mixed.blocks[0], len(modes), np.array([row]), base_of)
        expected = {other for other in range(len(modes)) if other // group == row // group and modes[other] >= 5}
        expected |= {row} if modes[row] == 0 else set()
        assert [sorted(rows.tolist()) for rows in requested] == ([sorted(expected)] if expected else [])


def test_a_prior_comes_back_from_its_bytes(mixed):
    prior = ResidualPrior.from_bytes(mixed.section, mixed.base.shape[1:])
    assert prior.to_bytes() == mixed.section
    assert prior.encode(mixed.base, mixed.residuals) == mixed.blocks[0]


def test_the_same_images_give_the_same_bytes(digits):
    images = digits.images[..., None]
    first, second = (pack(images, block_means(images), 0.004) for _ in range(2))
    assert (first.section, first.blocks) == (second.section, second.blocks)


def test_counts_do_not_depend_on_batches(mixed):
    whole, batched = ResidualCounts(), ResidualCounts()
    whole.add(mixed.base, mixed.residuals)
    for start in range(0, len(mixed.base), 7):
        batched.add(mixed.base[start : start + 7], mixed.residuals.part(slice(start, start + 7)))
    np.testing.assert_array_equal(whole.modes, batched.modes)
    np.testing.assert_array_equal(whole.symbols, batched.symbols)


@pytest.mark.parametrize(("images", "side"), [(10, 28), (64, 28), (300, 8), (2, 200)])
def test_noise_costs_what_it_is(images, side):
    noise = np.random.default_rng(2).integers(0, 256, (images, side, side, 1), np.uint8)
    assert pack(noise, np.zeros_like(noise), 0).stored_bytes <= 1.01 * noise.nbytes


def test_residuals_of_few_images_cost_little(digits):
    images = digits.images[:10, ..., None]
    base = block_means(images)
    packed = pack(images, base, 0.03)
    assert len(packed.residuals.rows) >= 5
    assert len(packed.section) < 150


def test_without_residuals_there_are_no_tables():
    with pytest.raises(UsageError, match="no image has residuals"):
        ResidualPrior.fit(ResidualCounts(), (4, 4, 1))


def test_groups_are_small_if_that_is_cheap():
    assert choose_group_images(120, 784) == 16
    assert choose_group_images(2, 784) == 64
    assert choose_group_images(1, 1) == 1024
    assert choose_group_images(10_000, 1 << 18) == 4
    assert choose_group_images(1_000_000, 1 << 22) == 1
