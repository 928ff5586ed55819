"""The numbers of a pixel prior, with every check (docs/format.md, "The pixel prior").

A causal network over samples, after PixelCNN (van den Oord et al. 2016) and its small forms for lossless coding (Gümüş
and Kamışlı 2022). The context of a pixel is seen once for all its channels; each channel then adds what is known of the
channels before it. Levels of neighbours are candidates with scores of their own, so that the network can say "as
there". All numbers are integers, so that every machine finds the same distributions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.exact_sums import check_sums
from smalti.decoders.pixels.wavefront import context_size
from smalti.errors import ModelError

__all__ = [
    "MAX_DEPTH",
    "MAX_RADIUS",
    "MAX_SHIFT",
    "MAX_WIDTH",
    "MOST_HIDDEN",
    "MOST_LEVELS",
    "MOST_PLACES",
    "OWN_FEATURES",
    "REACH",
    "SCORES_OF_CANDIDATE",
    "UNLIKE",
    "ChannelNetwork",
    "PixelNetwork",
    "candidates_of",
]

OWN_FEATURES = 4
"""What a channel sees of a sample before: it, how far it is above its guess, how far below, and whether at all."""

UNLIKE = 64
"""The last of these, if the sample is not its guess."""

REACH = 2
"""A candidate for a level has scores of its own, and so have the levels up to this far from it."""

SCORES_OF_CANDIDATE = 2 * REACH + 1

_LARGEST_SCORE = 1 << 21
"""A level may get five scores, one of its own and one for each candidate. Their sum stays below 2**24."""

MOST_HIDDEN = 255
MOST_LEVELS = 1 << 12
MAX_RADIUS = 8
MAX_WIDTH = 256
MAX_DEPTH = 4
MAX_SHIFT = 24
MOST_PLACES = 1 << 12

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ChannelNetwork:
    """The network of one channel, which is the c-th that is coded. H hidden values, K levels.

    own : [4 * c, H], for the samples of the channels coded before it    bias : [H]
    middle : [D, H, H]    middle_bias : [D, H]
    scores : [H, K + 5 * candidates]    scores_bias : the same, in units of 1/16 bit. First those of the levels, then of
        each candidate those of two levels below it to two levels above it, which are added
    shifts : of the first sums, of each middle layer, and of the scores
    """

    own: Ints
    bias: Ints
    middle: Ints
    middle_bias: Ints
    scores: Ints
    scores_bias: Ints
    shifts: tuple[int, ...]

    @property
    def levels(self) -> int:
        """K."""
        return len(self.scores_bias) - SCORES_OF_CANDIDATE * candidates_of(len(self.own) // OWN_FEATURES)


@dataclass(frozen=True, eq=False)
class PixelNetwork:
    """The network of all channels, in coding order.

    radius : R of the context
    context : [2 * R * (R + 1) * C, H]; the samples of each pixel together, in coding order
    tops, lefts, rights : [n, H], added for pixels so far from the upper, left and right edge; the last one for all that
        are further away

    Raises ModelError if shapes do not fit each other or if sums would not be exact.
    """

    radius: int
    context: Ints
    tops: Ints
    lefts: Ints
    rights: Ints
    networks: tuple[ChannelNetwork, ...]

    def __post_init__(self) -> None:
        if len(self.context) != context_size(self.radius) * self.channels:
            raise ModelError(f"a context of {len(self.context)} samples for {self.channels} channels")
        if not min(map(len, (self.tops, self.lefts, self.rights))):
            raise ModelError("a pixel prior without numbers for edges")
        edges = sum(np.abs(table).max(axis=0) for table in (self.tops, self.lefts, self.rights))
        what = "a pixel prior"
        for number, network in enumerate(self.networks):
            if len(network.own) != OWN_FEATURES * number or not 1 <= network.levels <= MOST_LEVELS:
                raise ModelError(
                    f"channel {number} has {network.levels} levels and sees {len(network.own)} numbers of its pixel"
                )
            check_sums(np.concatenate([self.context, network.own]), np.abs(network.bias) + edges, 255, what)
            for weight, bias in zip(network.middle, network.middle_bias, strict=True):
                check_sums(weight, bias, MOST_HIDDEN, what)
            check_sums(network.scores, network.scores_bias, MOST_HIDDEN, what)
            largest = MOST_HIDDEN * np.abs(network.scores).sum(axis=0) + np.abs(network.scores_bias)
            if int(largest.max()) > _LARGEST_SCORE << network.shifts[-1]:
                raise ModelError("a score of a pixel prior may exceed 2**21, and sums of scores would not be exact")

    @property
    def channels(self) -> int:
        """C."""
        return len(self.networks)

    @property
    def width(self) -> int:
        """H."""
        return int(self.context.shape[1])

    @property
    def depth(self) -> int:
        """D."""
        return len(self.networks[0].middle)

    @property
    def levels(self) -> list[int]:
        """K of each channel."""
        return [network.levels for network in self.networks]

    @property
    def operations(self) -> int:
        """Products, sums and look-ups that it takes for one pixel."""
        own = sum(network.own.size + network.middle.size + network.scores.size for network in self.networks)
        return self.context.size + own + 16 * sum(self.levels)

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that coding takes for one pixel."""
        return 16 * self.channels + 96


def candidates_of(number: int) -> int:
    """How many candidates a channel has, by its number in coding order.

    They are the level to the left, the one above, the guess from them, and the guess moved as the channel before was.
    """
    return 3 if number == 0 else 4
