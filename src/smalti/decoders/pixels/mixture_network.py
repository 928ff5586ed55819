"""The numbers of a mixture prior, with every check (docs/format.md, "The mixture prior").

The network sees how far the samples before are from what is next to the pixel, and says for each sample where its level
is likely: a mixture of bell curves around what neighbours foretell. All numbers are integers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.exact_sums import check_sums
from smalti.decoders.pixels.mixture import MOST_COMPONENTS, outputs_of
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN
from smalti.decoders.pixels.wavefront import context_size
from smalti.errors import ModelError

__all__ = [
    "MOST_MIXED_LEVELS",
    "SQUASHED",
    "MixtureChannel",
    "MixtureNetwork",
    "mixture_inputs",
    "own_inputs",
    "squash",
]

MOST_MIXED_LEVELS = 1 << 16

Ints = NDArray[np.int64]


def _squashed() -> NDArray[np.float32]:
    numbers = np.arange(1, MOST_MIXED_LEVELS + 1)
    octaves = np.frexp(numbers)[1].astype(np.int64) - 1
    return np.asarray(np.minimum(16 * octaves + (16 * (numbers - (1 << octaves)) >> octaves), 255), np.float32)


SQUASHED: NDArray[np.float32] = _squashed()
"""What is seen of a difference by its magnitude: 16 for each octave of it and 1, straight between; at most 255."""


def squash(differences: Ints) -> NDArray[np.float32]:
    """What is seen of differences of levels: whole numbers from -255 to 255."""
    return np.asarray(np.copysign(SQUASHED[np.abs(differences)], differences.astype(np.float32)))


def missed_places(radius: int) -> tuple[tuple[int, int], ...]:
    """Where a pixel sees how far levels were from what was foretold of them: rows up, and columns to the right."""
    near = ((0, -1), (1, 0), (1, -1), (1, 1))
    return near if radius == 1 else (*near, (0, -2), (2, 0))


def mixture_inputs(radius: int, channels: int) -> int:
    """How many numbers are seen of what is around a pixel: every difference, the base of each channel, and what the
    forecast missed near it."""
    return (context_size(radius) + 1 + len(missed_places(radius))) * channels


def own_inputs(number: int) -> int:
    """How many numbers a channel sees of its own pixel, by its number in coding order."""
    return 3 * number + 1


@dataclass(frozen=True, eq=False)
class MixtureChannel:
    """The network of one channel, which is the c-th that is coded. H hidden values, M components, P places around.

    weights : [P * C + c], of the differences that foretell a level, in 2**-places    places : 0 to 16
    own : [3 * c + 1, H]    bias : [H]    middle : [D, H, H]    middle_bias : [D, H]
    outputs : [H, 3 * M + 1]    outputs_bias : [3 * M + 1]: scores, shifts and widths of the components
    shifts : of the first sums, of each middle layer, and of the outputs
    """

    weights: Ints
    places: int
    own: Ints
    bias: Ints
    middle: Ints
    middle_bias: Ints
    outputs: Ints
    outputs_bias: Ints
    shifts: tuple[int, ...]

    @property
    def components(self) -> int:
        """M."""
        return int(self.outputs.shape[1]) // 3


@dataclass(frozen=True, eq=False)
class MixtureNetwork:
    """The network of all channels, in coding order.

    radius : R of the context    levels : K of each channel
    context : [inputs, H], `mixture_inputs`; the differences of each place together, then the bases, then what was
        missed at each of `missed_places`
    tops, lefts, rights : [n, H], as those of PixelNetwork

    Raises ModelError if shapes do not fit each other or if sums would not be exact.
    """

    radius: int
    levels: list[int]
    context: Ints
    tops: Ints
    lefts: Ints
    rights: Ints
    networks: tuple[MixtureChannel, ...]

    def __post_init__(self) -> None:
        around = context_size(self.radius) * self.channels
        if len(self.context) != mixture_inputs(self.radius, self.channels) or len(self.levels) != self.channels:
            raise ModelError(f"a context of {len(self.context)} numbers for {self.channels} channels")
        if not min(map(len, (self.tops, self.lefts, self.rights))):
            raise ModelError("a mixture prior without numbers for edges")
        edges = sum(np.abs(table).max(axis=0) for table in (self.tops, self.lefts, self.rights))
        what = "a mixture prior"
        for number, network in enumerate(self.networks):
            if len(network.own) != own_inputs(number) or len(network.weights) != around + number:
                raise ModelError(f"channel {number} sees {len(network.own)} numbers of its pixel")
            outputs = outputs_of(network.components)
            if not 1 <= network.components <= MOST_COMPONENTS or len(network.outputs_bias) != outputs:
                raise ModelError(f"{len(network.outputs_bias)} outputs are no mixture")
            check_sums(np.concatenate([self.context, network.own]), np.abs(network.bias) + edges, 255, what)
            for weight, bias in zip(network.middle, network.middle_bias, strict=True):
                check_sums(weight, bias, MOST_HIDDEN, what)
            check_sums(network.outputs, network.outputs_bias, MOST_HIDDEN, what)

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
    def components(self) -> int:
        """M."""
        return self.networks[0].components

    @property
    def operations(self) -> int:
        """Products, sums and look-ups that it takes for one pixel."""
        own = sum(each.weights.size + each.own.size + each.middle.size + each.outputs.size for each in self.networks)
        return self.context.size + own + 128 * self.components * self.channels

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that coding takes for one pixel."""
        return 16 * self.channels + 96
