"""Mixtures of logistic distributions over the levels of a sample, in whole numbers (docs/format.md, "Mixtures").

A network says where the levels of a sample are likely: some bell curves, each with a share, a middle and a width, as
PixelCNN++ has them (Salimans et al. 2017); and what share all levels have alike, for what no curve foretells. All
arithmetic is of whole numbers below 2**63, so that every machine finds
the same units. A level is found by halving, so 65,536 levels are no dearer than they must be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.priors import EXACT_EXP, FARTHEST, SIXTEENTHS, UNITS

__all__ = [
    "CDF",
    "FARTHEST_SHIFT",
    "FULL",
    "INVERSES",
    "LARGEST_SYMBOL",
    "LEAST_SHARE",
    "LOGISTIC",
    "MOST_COMPONENTS",
    "SHARES",
    "STEEPEST",
    "Mixture",
    "outputs_of",
    "parts_of",
]

Ints = NDArray[np.int64]

MOST_COMPONENTS = 4

SHARES = 1 << 14
"""The shares of a mixture's components add up to this."""

LOGISTIC = 1 << 24
"""What a logistic function rises to."""

FULL = SHARES * LOGISTIC
"""What the weighted sum of the logistic functions rises to."""

STEEPEST = 6
"""The narrowest curve has a width of 2**-6 levels."""

_WIDTHS = 24 * 16
INVERSES: Ints = np.array([SIXTEENTHS[e % 16] << 14 >> e // 16 for e in range(_WIDTHS)], np.int64)
"""2**30 * 2**(-e / 16): of the width 2**(e / 16 - 6) levels, the inverse."""

FARTHEST_SHIFT = 1 << 12
"""The most that a curve is moved, in sixteenths of its width."""

CDF_STEPS = 256
"""Steps of the table of the logistic function on each side, 16 to a width."""


def _logistic() -> Ints:
    rising = [(1 << 54) // ((1 << 30) + (SIXTEENTHS[e % 16] << 14 >> e // 16)) for e in range(CDF_STEPS + 1)]
    return np.array([LOGISTIC - value for value in rising[:0:-1]] + rising, np.int64)


CDF: Ints = _logistic()
"""2**24 / (1 + 2**-u) for u from -16 to 16 in steps of 1/16."""

LARGEST_SYMBOL = 256
"""More levels than this are coded by two symbols: level // 256, and then the rest."""

LEAST_SHARE = 1 << 6
"""Of FULL, what a second symbol has in any case: so all are alike where no curve reaches."""


def outputs_of(components: int) -> int:
    """How many outputs tell a mixture: the scores of its M components and of all levels alike, in 1/16 bit, then M
    shifts, then M widths in 1/16 octave."""
    return 3 * components + 1


def parts_of(count: int) -> tuple[int, ...]:
    """The numbers of symbols that code one of `count` levels: one number, or two."""
    return (count,) if count <= LARGEST_SYMBOL else (-(-count // LARGEST_SYMBOL), LARGEST_SYMBOL)


@dataclass(frozen=True, eq=False)
class Mixture:
    """The mixtures of n samples with M components each, and K levels.

    shares : int64 [n, M + 1], of SHARES; the last one is that of all levels alike    anchors : int64 [n, M], levels
    inverses : int64 [n, M], of INVERSES    shifts : int64 [n, M], in sixteenths of the width
    """

    count: int
    shares: Ints
    anchors: Ints
    inverses: Ints
    shifts: Ints

    @staticmethod
    def of(outputs: NDArray[np.float32], anchors: Ints, count: int) -> "Mixture":
        """The mixtures of a network's outputs [n, 3 * M + 1], `outputs_of`."""
        components = anchors.shape[1]
        scores, shifts, widths = np.split(outputs.astype(np.int64), [components + 1, 2 * components + 1], axis=1)
        return Mixture(
            count,
            _shares(scores),
            anchors,
            INVERSES[np.clip(widths, 0, _WIDTHS - 1)],
            np.clip(shifts, -FARTHEST_SHIFT, FARTHEST_SHIFT),
        )

    def part(self, part: slice) -> "Mixture":
        """Those of some of the samples."""
        return Mixture(self.count, self.shares[part], self.anchors[part], self.inverses[part], self.shifts[part])

    def up_to(self, levels: Ints) -> Ints:
        """What all levels up to these have, of FULL. levels : [n, k] or [1, k]; -1 has nothing, the last one all"""
        found = self.shares[:, -1:] * (LOGISTIC // self.count) * (levels + 1)
        for component in range(self.anchors.shape[1]):
            own = slice(component, component + 1)
            found += self.shares[:, own] * logistic(
                ((2 * (levels - self.anchors[:, own]) + 1) * self.inverses[:, own] >> 9) - (self.shifts[:, own] << 12)
            )
        found[np.broadcast_to(levels < 0, found.shape)] = 0
        found[np.broadcast_to(levels >= self.count - 1, found.shape)] = FULL
        return found

    def first_units(self) -> NDArray[np.float32]:
        """Units less one of each first symbol, float32 [n, symbols], for the coder."""
        symbols = parts_of(self.count)[0]
        if symbols == self.count:
            sums = self.up_to(np.arange(-1, self.count)[None])
        else:
            sums = self.up_to(LARGEST_SYMBOL * np.arange(symbols + 1)[None] - 1)
        return _whole_units(sums * (UNITS - symbols) >> _FULL_BITS)

    def rest_units(self, first: NDArray[np.integer]) -> NDArray[np.float32]:
        """Units less one of each second symbol, float32 [n, 256], after these first ones [n]."""
        start = LARGEST_SYMBOL * first.astype(np.int64)[:, None] - 1
        sums = self.up_to(start + np.arange(LARGEST_SYMBOL + 1)[None])
        sums += LEAST_SHARE * np.arange(LARGEST_SYMBOL + 1) - sums[:, :1]
        return _whole_units(sums * (UNITS - LARGEST_SYMBOL) // sums[:, -1:])


_FULL_BITS = 38


def logistic(places: Ints) -> Ints:
    """The logistic function of base 2, of 2**24, at places in units of 2**-16."""
    places = np.clip(places, -(1 << 20), (1 << 20) - 1)
    steps = (places + (1 << 20)) >> 12
    below = CDF[steps]
    return np.asarray(below + ((CDF[steps + 1] - below) * (places & 4095) >> 12))


def _shares(scores: Ints) -> Ints:
    """Shares of SHARES, for scores in units of 1/16 bit. The first of the best ones gets the rest."""
    distances = np.minimum(scores.max(axis=1, keepdims=True) - scores, FARTHEST)
    weights = EXACT_EXP[distances].astype(np.int64)
    shares = weights * SHARES // weights.sum(axis=1, keepdims=True)
    shares[np.arange(len(shares)), distances.argmin(axis=1)] += SHARES - shares.sum(axis=1)
    return np.asarray(shares)


def _whole_units(sums: Ints) -> NDArray[np.float32]:
    return np.diff(sums, axis=1).astype(np.float32)
