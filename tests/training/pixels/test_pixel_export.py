"""From floats to integers."""

import math

import numpy as np
import pytest
import torch

from helpers.tiny_pixel_fits import random_levels, random_pixels
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_packing import pack_prior, unpack_prior
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.training.pixels.pixel_export import export_pixels


def prior_of(learned, network):
    """A prior with samples for levels that are seen as the network sees them."""
    order = learned.shape.channels in (2, 4)
    seen = [table.numpy().astype(np.int64) for table in learned._seen]
    return PixelPrior(network, PixelModel(tuple(seen[1:] + seen[:1] if order else seen), "uint8", False))


def scores_of(prior, levels):
    """Scores in nats of the integer network: for each channel [n, K, H, W]."""
    images, channels, height, width = levels.shape
    flat = levels.numpy().transpose(0, 2, 3, 1).reshape(-1, channels)
    walk = prior.walk(np.array([(height, width)] * images))
    found = [np.zeros((len(flat), count), np.float32) for count in prior.network.levels]
    for step in walk.steps():
        found[step.number][step.pixels] = walk.scores(step)
        walk.set(step, flat[step.pixels, step.number])
    return [
        torch.from_numpy(own * (math.log(2) / 16)).reshape(images, height, width, -1).permute(0, 3, 1, 2)
        for own in found
    ]


@pytest.mark.parametrize(
    "shape",
    [
        {"counts": (5,)},
        {"counts": (3, 7), "depth": 2},
        {"counts": (4, 5, 6), "radius": 3, "width": 9},
        {"counts": (2, 9, 5, 4), "radius": 1, "depth": 0, "edges": (1, 1, 1)},
        {"counts": (4, 1, 3), "edges": (20, 5, 9)},
    ],
    ids=str,
)
def test_integers_are_close_to_floats(shape):
    learned = random_pixels(**shape)
    levels = random_levels(learned)
    network = export_pixels(learned, levels)
    again = unpack_prior(pack_prior(network), list(learned.shape.levels), 1 << 24)
    with torch.no_grad():
        wanted = learned(levels)
    for ours, theirs in zip(scores_of(prior_of(learned, again), levels), wanted, strict=True):
        off = (torch.log_softmax(ours, 1) - torch.log_softmax(theirs, 1)).abs()
        assert off.quantile(0.99) < 0.4 and off.mean() < 0.06  # a score is a sum of five, each rounded to 1/16 bit


def test_levels_that_nobody_measured_are_still_exact():
    """Activations beyond what was measured are cut, and no sum leaves the range in which float32 is exact."""
    learned = random_pixels((6, 5), width=8, depth=2)
    levels = random_levels(learned)
    network = export_pixels(learned, torch.zeros_like(levels))
    found = scores_of(prior_of(learned, network), levels)
    assert all(torch.isfinite(own).all() for own in found)


def test_large_weights_are_brought_into_range():
    learned = random_pixels((6, 5))
    with torch.no_grad():
        for values in (learned.context, learned.tops, learned.middle, *learned.scores):
            values.mul_(300)
    network = export_pixels(learned, random_levels(learned))
    assert max(int(np.abs(own.scores).max()) for own in network.networks) < 1 << learned.shape.bits
