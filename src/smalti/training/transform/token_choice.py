"""Choosing tokens for coefficients: by distortion and by the bits of the exact prior, step by step as a decoder goes.

Each coefficient takes the whole number that is best for it, of the nearest ones and its centre, given the tokens before
it; what it does to the contexts of later ones is left out. Certain coefficients take their centres.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.transform.transform_prior import Coding, TransformPrior, far_bits
from smalti.training.transform.export import TableCounts

__all__ = ["LARGEST", "Chosen", "choose_tokens"]

LARGEST = (1 << 15) - 1
"""The largest magnitude of a coefficient."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """The chosen coefficients, int32 [cells, M], and about how many bits they take."""

    coefficients: NDArray[np.int32]
    bits: float


def choose_tokens(
    prior: TransformPrior,
    values: NDArray[np.float32],
    grids: NDArray[np.int64],
    weights: NDArray[np.float32],
    price: float,
    counts: TableCounts | None = None,
) -> Chosen:
    """Choose tokens for coefficients [cells, M], in steps and not yet whole, of pictures.

    weights : the squared error of a coefficient that is off by 1: [M], or [cells, M] where cells differ
    price : the squared error that a bit is worth; 0 rounds to the nearest
    counts : gets the codes that were chosen, if it is given
    """
    walk, bits = prior.walk(grids), 0.0
    clipped = np.clip(values, -LARGEST, LARGEST)
    for step in walk.steps():
        part = slice(step.start, step.stop)
        coding = walk.coding(step)
        own = weights[part] if weights.ndim == 1 else weights[step.cells, part]
        chosen, cost = _best(prior, coding, clipped[step.cells, part], own, price)
        bits += cost
        if counts is not None:
            counts.add_step(coding, chosen)
        walk.set(step, chosen)
    return Chosen(walk.coefficients, bits)


def _best(
    prior: TransformPrior, coding: Coding, values: NDArray[np.float32], weights: NDArray[np.float32], price: float
) -> tuple[NDArray[np.int32], float]:
    """The best whole numbers for values [cells, components], and their bits."""
    centres = coding.centres
    nearest = np.rint(values).astype(np.int32)
    nearest = np.where(coding.tables < 0, centres, nearest)
    best, best_bits = nearest, _bits(prior, coding, nearest)
    best_cost = weights * (nearest - values) ** 2 + price * best_bits
    if price > 0:
        towards = np.sign(centres - nearest)
        for other in (nearest + towards, nearest - towards, centres):
            wanted = (other != nearest) & (coding.tables >= 0) & (np.abs(other) <= LARGEST)
            if not wanted.any():
                continue
            bits = _bits(prior, coding, other)
            cost = weights * (other - values) ** 2 + price * bits
            better = wanted & (cost < best_cost)
            best, best_bits = np.where(better, other, best), np.where(better, bits, best_bits)
            best_cost = np.where(better, cost, best_cost)
    return best.astype(np.int32), float(best_bits.sum())


def _bits(prior: TransformPrior, coding: Coding, values: NDArray[np.int32]) -> NDArray[np.float32]:
    """The bits of whole numbers [cells, components]."""
    differences = values - coding.centres
    differences = np.where(coding.flips, -differences, differences)
    codes = prior.codes(coding.tables, differences)
    bits = np.where(coding.tables < 0, 0, prior.cost_bits[coding.tables, codes])
    far = (codes == 2 * prior.radius + 1) & (coding.tables >= 0)
    if far.any():
        bits = np.where(far, bits + far_bits(differences), bits)
    return bits.astype(np.float32)
