"""The integers of a mixture prior expect what the learned floats do."""

import math

import numpy as np
import pytest
import torch

from helpers.tiny_lossless import random_learned
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.entropy.priors import UNITS
from smalti.training.pixels.linear_forecast import differences_of, fit_foretelling, left_over


def levels_for(learned, images=3, height=9, width=11, seed=1):
    """Levels that move in small steps, int64 [n, C, H, W], in coding order."""
    rng = np.random.default_rng(seed)
    made = []
    for count in learned.shape.levels:
        walk = rng.normal(0, count / 20, (images, height, width)).cumsum(1).cumsum(2) / 3 + count / 2
        made.append(walk.astype(np.int64).clip(0, count - 1))
    return torch.from_numpy(np.stack(made, 1))


def bits_of(prior, levels, grids):
    """The bits of all samples by the units of the exact prior."""
    walk, bits = prior.walk(grids), 0.0
    for samples in walk.samples():
        own = levels[samples.pixels, samples.channel]
        mixture = samples.mixture
        rows = np.arange(len(own))
        if mixture.count > 256:
            first = mixture.first_units()[rows, own // 256] + 1
            rest = mixture.rest_units(own // 256)[rows, own % 256] + 1
            bits -= np.log2(first / UNITS).sum() + np.log2(rest / UNITS).sum()
        else:
            bits -= np.log2((mixture.first_units()[rows, own] + 1) / UNITS).sum()
        walk.set(samples, own)
    return bits


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"counts": (256, 256, 256), "radius": 1, "depth": 0},
        {"counts": (5000,), "components": 2},
        {"counts": (90,), "components": 1, "edges": (1, 1, 1), "depth": 2},
    ],
    ids=str,
)
def test_integers_take_the_bits_of_floats(shape):
    learned = random_learned(**shape)
    levels = levels_for(learned)
    with torch.no_grad():
        floats = float(learned.bits(levels, None))
    counts = learned.shape.levels
    order = [len(counts) - 1, *range(len(counts) - 1)] if len(counts) in (2, 4) else list(range(len(counts)))
    values = [None] * len(counts)
    for number, channel in enumerate(order):
        values[channel] = np.arange(counts[number])
    model = PixelModel(tuple(values), "uint16", False)
    prior = learned.prior(levels, model)
    flat = levels.permute(0, 2, 3, 1).reshape(-1, len(counts)).numpy()
    tokens = np.empty(flat.shape, np.uint16)
    tokens[:, order] = flat
    grids = np.array([levels.shape[2:]] * len(levels))
    assert bits_of(prior, tokens, grids) == pytest.approx(floats, rel=0.02)
    assert 8 * len(prior.encode(tokens, grids)) == pytest.approx(floats, rel=0.02, abs=128)


def test_a_forecast_of_a_plane_leaves_nothing():
    rows, columns = np.mgrid[:30, :40]
    plane = (3 * rows + 2 * columns + 5).astype(np.uint16)[None, ..., None]
    foretelling = fit_foretelling([plane], 1)
    around, own = differences_of(plane, 1)
    left = left_over(foretelling, 0, around, own).reshape(30, 40)[1:, 1:-1]
    assert np.abs(left).max() <= 1


def test_a_channel_is_foretold_from_the_one_before():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (2, 30, 30, 1))
    stack = np.concatenate([first, first], 3).astype(np.uint16)
    foretelling = fit_foretelling([stack], 2)
    around, own = differences_of(stack, 2)
    assert (
        np.abs(left_over(foretelling, 1, around, own)).max() <= 1 < np.abs(left_over(foretelling, 0, around, own)).max()
    )


def test_bits_are_those_of_the_mixture():
    """A single level takes none; a level far from every curve takes no more than the coder's least unit."""
    learned = random_learned((1, 200))
    levels = levels_for(learned)
    with torch.no_grad():
        found = float(learned.bits(levels, None))
        hidden = float(learned.bits(levels, torch.zeros(levels[:, 0].shape, dtype=torch.bool)))
    assert hidden == 0 < found <= levels[:, 1].numel() * math.log2(UNITS)
