"""Levels by distortion and bits."""

import numpy as np
import pytest

from helpers.tiny_pixels import random_prior
from smalti.training.pixels.level_choice import choose_levels

GRIDS = np.array([(9, 14), (1, 5), (20, 3)])
PIXELS = int(GRIDS.prod(axis=1).sum())


@pytest.fixture(name="prior", scope="module")
def _prior():
    prior = random_prior(np.random.default_rng(1), (9, 7, 12, 4), hides=True)
    prior.model.levels[-1][:] = [0, 60, 128, 255]
    for own in prior.network.networks:  # so that few scores are more than 16 bits below the best one
        own.scores[:] //= 4
        own.scores_bias[:] //= 2
    return prior


@pytest.fixture(name="samples", scope="module")
def _samples():
    samples = np.random.default_rng(2).integers(0, 256, (PIXELS, 4)).astype(np.uint8)
    samples[::4, -1] = 255
    return samples


def error(prior, samples, levels):
    values = np.stack([own[levels[:, channel]] for channel, own in enumerate(prior.model.levels)], 1)
    return np.square((values - samples) * (values[:, -1:] > 0)).sum()


def test_without_a_price_levels_are_the_nearest(prior, samples):
    levels, _ = choose_levels(prior, samples, None, GRIDS, 0.0)
    for channel, values in enumerate(prior.model.levels):
        distances = np.abs(values - samples[:, channel, None].astype(int))
        seen = np.ones(PIXELS, bool) if channel == 3 else levels[:, -1] > 0
        assert (distances[np.arange(PIXELS), levels[:, channel]] == distances.min(axis=1))[seen].all()
        assert channel == 3 or not levels[~seen, channel].any()


def test_bits_are_about_those_of_the_coder(prior, samples):
    """The coder takes a score for 16 bits below the best one at most, and the choice does not."""
    levels, bits = choose_levels(prior, samples, None, GRIDS, 50.0)
    data = prior.encode(levels, GRIDS)
    assert len(data) * 8 == pytest.approx(bits, rel=0.04)
    assert (prior.decode(data, GRIDS) == levels).all()


def test_a_higher_price_saves_bits_and_costs_quality(prior, samples):
    found = [choose_levels(prior, samples, None, GRIDS, price) for price in (0.0, 30.0, 300.0)]
    bits, errors = [own[1] for own in found], [error(prior, samples, own[0]) for own in found]
    assert bits[0] > bits[1] > bits[2] and errors[0] < errors[1] < errors[2]


def test_samples_without_weight_take_the_cheapest_level(prior, samples):
    alike = choose_levels(prior, samples, np.ones(samples.shape, np.float32), GRIDS, 30.0)
    plain = choose_levels(prior, samples, None, GRIDS, 30.0)
    assert (alike[0] == plain[0]).all() and alike[1] == plain[1]
    weights = np.ones(samples.shape, np.float32)
    weights[GRIDS[0].prod() :] = 0  # of the other pictures nothing counts
    free = choose_levels(prior, samples, weights, GRIDS, 30.0)
    first = slice(0, GRIDS[0].prod())
    assert (free[0][first] == plain[0][first]).all() and free[1] < plain[1]
