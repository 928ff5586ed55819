import numpy as np
import pytest
import torch

from helpers.tiny_transforms import flat, random_coefficients, random_transform
from smalti.decoders.transform.transform_prior import TransformPrior, unsigned
from smalti.training.transform.export import TableCounts, export_prior
from smalti.training.transform.token_choice import LARGEST, choose_tokens

GRID = (8, 11)
GRIDS = np.array([GRID] * 3)


@pytest.fixture(name="prior", scope="module")
def _prior():
    learned = random_transform()
    coefficients = random_coefficients(learned, [GRID] * 3)
    network = export_prior(learned.prior, torch.cat(coefficients))
    counts = TableCounts(33, 1.2)
    counts.add(network, flat(coefficients), GRIDS)
    return TransformPrior(network, counts.tables())


@pytest.fixture(name="values", scope="module")
def _values():
    values = flat(random_coefficients(random_transform(), [GRID] * 3, 5)).astype(np.float32)
    return values + np.random.default_rng(1).uniform(-0.5, 0.5, values.shape).astype(np.float32)


def cost(chosen, values, weights, price):
    return float((weights * (chosen.coefficients - values) ** 2).sum()) + price * chosen.bits


def test_bits_are_those_of_the_file(prior, values):
    chosen = choose_tokens(prior, values, GRIDS, np.ones(14, np.float32), 0.3)
    data = prior.encode(unsigned(chosen.coefficients), GRIDS)
    assert 8 * len(data) == pytest.approx(chosen.bits, rel=0.01, abs=80)
    np.testing.assert_array_equal(prior.decode(data, GRIDS), unsigned(chosen.coefficients))


def test_without_a_price_values_are_rounded(prior, values):
    chosen = choose_tokens(prior, values, GRIDS, np.ones(14, np.float32), 0.0)
    off = np.abs(chosen.coefficients - values) > 0.5001
    assert off.mean() < 0.2, "only certain coefficients may be off"


@pytest.mark.parametrize("price", [0.01, 0.1, 0.4])
def test_a_choice_is_never_worse_than_rounding(price, prior, values):
    weights = np.geomspace(2, 0.5, 14).astype(np.float32)
    plain = choose_tokens(prior, values, GRIDS, weights, 0.0)
    chosen = choose_tokens(prior, values, GRIDS, weights, price)
    assert cost(chosen, values, weights, price) <= cost(plain, values, weights, price)
    assert chosen.bits < plain.bits


def test_a_higher_price_takes_fewer_bits(prior, values):
    bits = [choose_tokens(prior, values, GRIDS, np.ones(14, np.float32), price).bits for price in (0, 0.05, 0.2, 1)]
    assert bits == sorted(bits, reverse=True)


def test_weights_of_cells(prior, values):
    alike = choose_tokens(prior, values, GRIDS, np.ones(14, np.float32), 0.2)
    weights = np.ones(values.shape, np.float32)
    np.testing.assert_array_equal(choose_tokens(prior, values, GRIDS, weights, 0.2).coefficients, alike.coefficients)
    weights[GRID[0] * GRID[1] :] = 0  # nothing of the other pictures is seen
    free = choose_tokens(prior, values, GRIDS, weights, 0.2)
    np.testing.assert_array_equal(free.coefficients[: 8 * 11], alike.coefficients[: 8 * 11])
    assert free.bits < alike.bits


@pytest.mark.parametrize("price", [0.0, 0.2])
def test_far_values_stay_within_int16(price, prior, values):
    far = values.copy()
    far[::3] *= 1e5
    chosen = choose_tokens(prior, far, GRIDS, np.ones(14, np.float32), price)
    assert np.abs(chosen.coefficients).max() <= LARGEST
    data = prior.encode(unsigned(chosen.coefficients), GRIDS)
    np.testing.assert_array_equal(prior.decode(data, GRIDS), unsigned(chosen.coefficients))


def test_counts_are_of_the_chosen_codes(prior, values):
    counts, again = TableCounts(33, 1.2), TableCounts(33, 1.2)
    chosen = choose_tokens(prior, values, GRIDS, np.ones(14, np.float32), 0.2, counts)
    again.add(prior.network, chosen.coefficients, GRIDS)
    np.testing.assert_array_equal(counts.counts, again.counts)
    own = TransformPrior(prior.network, counts.tables())
    assert len(own.encode(unsigned(chosen.coefficients), GRIDS)) <= 1.02 * chosen.bits / 8 + 20
