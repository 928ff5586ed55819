"""Made-up pixel priors of small random networks, tokens for them, and archives of both."""

from types import SimpleNamespace

import numpy as np

from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import (
    OWN_FEATURES,
    SCORES_OF_CANDIDATE,
    ChannelNetwork,
    PixelNetwork,
    candidates_of,
)
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.decoders.pixels.wavefront import context_size
from smalti.images.signs import to_signed


def numbers(rng, shape, magnitude):
    """Integers from -magnitude to magnitude."""
    return rng.integers(-magnitude, magnitude + 1, shape)


def random_levels(rng, counts, dtype="uint8", least=0):
    """Ascending samples of each channel, the first one `least`."""
    largest = np.iinfo(dtype).max
    made = [np.sort(rng.choice(np.arange(least + 1, largest + 1), count - 1, replace=False)) for count in counts]
    return tuple(np.append(least, values).astype(np.int64) for values in made)


def random_prior(rng, counts=(5, 4, 6), radius=2, width=6, depth=1, edges=(2, 3, 1), dtype="uint8", hides=False):
    """A prior for channels of so many levels, whose distributions depend on all that it sees."""
    model = PixelModel(random_levels(rng, counts, dtype), dtype, hides)
    H, C, D = width, len(counts), depth
    networks = []
    for number, channel in enumerate(model.order):
        outputs = counts[channel] + SCORES_OF_CANDIDATE * candidates_of(number)
        networks.append(
            ChannelNetwork(
                own=numbers(rng, (OWN_FEATURES * number, H), 60),
                bias=numbers(rng, H, 3000),
                middle=numbers(rng, (D, H, H), 40),
                middle_bias=numbers(rng, (D, H), 900),
                scores=numbers(rng, (H, outputs), 60),
                scores_bias=numbers(rng, outputs, 900),
                shifts=(6, *rng.integers(4, 7, D).tolist(), 7),
            )
        )
    tops, lefts, rights = (numbers(rng, (length, H), 3000) for length in edges)
    context = numbers(rng, (context_size(radius) * C, H), 40)
    return PixelPrior(PixelNetwork(radius, context, tops, lefts, rights, tuple(networks)), model)


def random_grids(rng, pictures, most=9):
    """Grids of pictures, some of one pixel in a row or column."""
    return rng.integers(1, most + 1, (pictures, 2)) ** rng.integers(0, 2, (pictures, 2))


def random_tokens(rng, model, pixels):
    """Tokens [pixels, C]; hidden ones are 0, and a third of all alpha is 0."""
    tokens = np.stack([rng.integers(0, len(values), pixels) for values in model.levels], 1).astype(np.uint16)
    if model.hides:
        tokens[rng.random(pixels) < 1 / 3, -1] = 0
        tokens[model.levels[-1][tokens[:, -1]] == 0, :-1] = 0
    return tokens


def write_pixels(path, sizes, labels=None, names=None, seed=0, prior=None, make=random_prior, order=None, **spec):
    """Write an archive of images of these sizes [n, 2], from made-up tokens.

    make : the prior, from `prior`    order : which of them each image is; None for each once
    """
    rng = np.random.default_rng(seed)
    found = make(rng, **(prior or {}))
    model, sizes = found.model, np.array(sizes, np.int64)
    tokens = random_tokens(rng, model, int(sizes.prod(axis=1).sum()))
    spec = SizedSpec(**{"profile": "photo", "block_cells": 900, "region": 20} | spec)
    with SizedArchiveWriter(path, spec, model, found) as writer:
        made = np.split(tokens, np.cumsum(sizes.prod(axis=1))[:-1])
        order = range(len(sizes)) if order is None else order
        for number, image in enumerate(order):
            part = slice(number, number + 1)
            writer.append(made[image], sizes[[image]], None if labels is None else labels[part], names and names[part])
        writer.commit()
    decoded = model.decode(tokens, sizes, 1)
    pixels = [to_signed(decoded[image]) if spec.signed else decoded[image] for image in order]
    return SimpleNamespace(path=path, model=model, prior=found, tokens=tokens, grids=sizes, pixels=pixels)
