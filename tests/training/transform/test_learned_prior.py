"""The prior in floats and the prior in integers give the same means and scales: masks, phases, groups, places."""

import math

import numpy as np
import pytest
import torch

from helpers.tiny_transforms import flat, random_coefficients, random_transform
from smalti.decoders.transform.prior_network import FRACTIONS
from smalti.decoders.transform.transform_prior import Walk
from smalti.training.transform.export import export_prior
from smalti.training.transform.learned_transform import FINEST_SCALE

GRIDS = [(9, 13), (1, 1), (3, 20), (9, 13), (17, 2), (1, 6)]
FEW_GRIDS = [(4, 5)] * 6


def walked(network, scales, coefficients, grids):
    """Return the centres with their quarters, and the numbers of scales, of all coefficients; -1 for certain ones."""
    walk = Walk(network, scales, np.array(grids, np.int64))
    means, numbers = np.zeros((2, *coefficients.shape))
    for step in walk.steps():
        part = (step.cells, slice(step.start, step.stop))
        coding = walk.coding(step)
        quarters = np.where(coding.tables < 0, 0, coding.tables % FRACTIONS) / 4
        means[part] = coding.centres + np.where(coding.flips, -quarters, quarters)
        numbers[part] = np.where(coding.tables < 0, 0, coding.tables // FRACTIONS + 1)
        walk.set(step, coefficients[part])
    return means, numbers


def both(learned, grids, seed=0):
    shape = learned.shape
    coefficients = random_coefficients(learned, grids, seed)
    same = len(set(grids)) == 1
    sample = torch.cat(coefficients) if same else max(coefficients, key=torch.numel)
    with torch.no_grad():
        found = [learned.prior(one) for one in coefficients]
    means = np.concatenate([one.permute(0, 2, 3, 1).reshape(-1, shape.components).numpy() for one, _ in found])
    scales = np.concatenate([one.permute(0, 2, 3, 1).reshape(-1, shape.components).numpy() for _, one in found])
    numbers = (scales - math.log(FINEST_SCALE)) / math.log(shape.ratio) + 1
    whole = walked(export_prior(learned.prior, sample), shape.scales, flat(coefficients), grids)
    return (means, np.clip(numbers, 0, shape.scales - 1)), whole


def assert_close(floats, whole, certain=True):
    (means, numbers), (found_means, found_numbers) = floats, whole
    known = found_numbers > 0
    assert known.mean() > 0.5
    off = np.abs(means - found_means)[known]
    assert np.quantile(off, 0.5) < 0.14 and np.quantile(off, 0.99) < 1
    steps = np.abs(numbers - found_numbers)
    assert np.quantile(steps, 0.5) < 0.6 and np.quantile(steps, 0.99) < 2
    assert np.std(means[known]) > 1 and np.std(numbers) > 2, "there is nothing to compare"


@pytest.mark.parametrize("seed", range(3))
def test_pictures_of_many_sizes(seed):
    assert_close(*both(random_transform(seed=seed), GRIDS, seed))


@pytest.mark.parametrize("seed", range(2))
def test_places_are_for_one_grid(seed):
    assert_close(*both(random_transform(grid=(4, 5), seed=seed), FEW_GRIDS, seed))
    assert_close(*both(random_transform(grid=(4, 5), seed=seed), GRIDS, seed))


def test_more_signed_components_than_a_group_has():
    assert_close(*both(random_transform(limits=(255, 63, 63, 31, 31, 15, 15, 7, 7)), GRIDS))
    assert_close(*both(random_transform(limits=(127,)), GRIDS))


def test_a_change_is_seen_only_by_later_coefficients():
    """A coefficient may change what is coded after it, and nothing before or beside it."""
    learned = random_transform()
    grid = (6, 7)
    (coefficients,) = random_coefficients(learned, [grid])
    network = export_prior(learned.prior, coefficients)
    order = np.zeros((grid[0] * grid[1], learned.shape.components), int)
    for number, step in enumerate(Walk(network, 33, np.array([grid])).steps()):
        order[step.cells, step.start : step.stop] = number
    order = order.reshape(*grid, -1).transpose(2, 0, 1)
    before = torch.cat(learned.prior(coefficients)).detach()
    generator = np.random.default_rng(0)
    for _ in range(40):
        place = tuple(int(generator.integers(side)) for side in coefficients.shape[1:])
        changed = coefficients.clone()
        changed[(0, *place)] += 50
        after = torch.cat(learned.prior(changed)).detach()
        moved = (before != after).any(0).numpy()
        assert (order[moved] > order[place]).all()
