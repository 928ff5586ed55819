"""Choosing levels for samples: by distortion and by the bits of the exact prior, step by step as a decoder goes.

Each sample takes the level that is best for it, given those before; what it does to the contexts of later ones is left
out.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pixels.pixel_prior import PixelPrior

__all__ = ["choose_levels"]


def choose_levels(
    prior: PixelPrior,
    samples: NDArray[np.integer],
    weights: NDArray[np.float32] | None,
    grids: NDArray[np.int64],
    price: float,
) -> tuple[NDArray[np.uint16], float]:
    """Levels, uint16 [pixels, C], for samples [pixels, C] of pictures, and about how many bits they take.

    weights : how much the squared error of each sample counts, [pixels, C]; None if all count alike
    price : the squared error, of samples as they are, that a bit is worth; 0 takes the nearest levels
    """
    walk, bits = prior.walk(grids), 0.0
    values = [own.astype(np.float32) for own in prior.model.levels]
    for step in walk.steps():
        own = samples[step.pixels, step.channel].astype(np.float32)
        cost = np.square(values[step.channel] - own[:, None])
        if weights is not None:
            cost *= weights[step.pixels, step.channel][:, None]
        taken = _bits(walk.scores(step))
        levels = (cost + np.float32(price) * taken if price > 0 else cost).argmin(axis=1)
        bits += float(taken[np.arange(len(levels)), levels].sum())
        walk.set(step, levels)
    return walk.levels, bits


def _bits(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The bits of each level, [n, K], from scores in units of 1/16 bit."""
    distances = (scores.max(axis=1, keepdims=True) - scores) * np.float32(1 / 16)
    total = np.log2(np.exp2(-distances).sum(axis=1, keepdims=True))
    found: NDArray[np.float32] = distances + total
    return found
