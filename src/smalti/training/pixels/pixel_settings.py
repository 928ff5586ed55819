"""The settings of a fit of pixels, its efforts, and the choice of the network's sizes for a collection."""

from dataclasses import asdict, dataclass
from typing import Any

from smalti.decoders.pixels.mixture import outputs_of
from smalti.decoders.pixels.mixture_network import mixture_inputs, own_inputs
from smalti.decoders.pixels.pixel_network import OWN_FEATURES, SCORES_OF_CANDIDATE, candidates_of
from smalti.decoders.pixels.wavefront import context_size
from smalti.errors import ModelError, UsageError
from smalti.training.cells.sized_fits import Effort
from smalti.training.common.goal import Goal

__all__ = ["EFFORTS", "WEIGHT_BYTES", "MixtureShape", "PixelSettings", "PixelShape", "choose_shape"]


EFFORTS = tuple(
    Effort(steps, tuning, fewest=200)
    for steps, tuning in (
        (300, 60),
        (700, 200),
        (1_300, 400),
        (2_400, 800),
        (4_000, 1_400),
        (6_000, 2_000),
        (8_500, 3_000),
        (12_000, 4_000),
        (16_000, 5_000),
        (21_000, 7_000),
    )
)


@dataclass(frozen=True)
class PixelSettings:
    """A fit of pixels. goal : the quality or size of the collection    effort : 0 to 9

    optimised : whether packing weighs bits against distortion; switched off to measure what that brings
    """

    profile: str
    goal: Goal
    effort: int
    seed: int = 0
    optimised: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.effort < len(EFFORTS):
            raise UsageError(f"an effort of {self.effort} is outside 0..{len(EFFORTS) - 1}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, from which `from_json` makes equal settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PixelSettings":
        """Return the settings in a dictionary of `to_json`; ModelError for anything else."""
        try:
            return cls(**{**stored, "goal": Goal(**stored["goal"])})
        except (TypeError, KeyError, UsageError) as error:
            raise ModelError(f"the stored settings are not of this release: {error}; fit the model anew") from error


@dataclass(frozen=True)
class PixelShape:
    """The sizes of a network. levels : of each channel, in coding order

    radius, width, depth : R, H, D of PixelNetwork    edges : lengths of its tables of edges (tops, lefts, rights)
    bits : of the largest weight
    """

    levels: tuple[int, ...]
    radius: int
    width: int
    depth: int
    edges: tuple[int, int, int]
    bits: int = 7

    @property
    def channels(self) -> int:
        """C."""
        return len(self.levels)

    def outputs(self, number: int) -> int:
        """The number of scores of a channel: those of its levels and of its candidates."""
        return self.levels[number] + SCORES_OF_CANDIDATE * candidates_of(number)

    @property
    def weights(self) -> int:
        """The number of stored weights."""
        channels, width = self.channels, self.width
        own = sum(OWN_FEATURES * number for number in range(channels)) + channels
        middle = channels * self.depth * (width + 1)
        outputs = sum(map(self.outputs, range(channels))) * (width + 1)
        return width * (context_size(self.radius) * channels + sum(self.edges) + own + middle) + outputs

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PixelShape":
        """Return a stored shape."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class MixtureShape:
    """The sizes of a mixture prior's network: see PixelShape.

    components : M    deep : whether samples have 16 bits
    """

    levels: tuple[int, ...]
    radius: int
    width: int
    depth: int
    components: int
    edges: tuple[int, int, int]
    deep: bool
    bits: int = 8

    @property
    def channels(self) -> int:
        """C."""
        return len(self.levels)

    @property
    def weights(self) -> int:
        """The number of stored weights."""
        channels, width = self.channels, self.width
        own = sum(own_inputs(number) for number in range(channels)) + channels
        middle = channels * self.depth * (width + 1)
        around = mixture_inputs(self.radius, channels)
        outputs = outputs_of(self.components) * channels * (width + 1)
        return width * (around + sum(self.edges) + own + middle) + outputs + channels * around

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary."""
        return asdict(self)


_SIZES = ((2, 4, 0, 1.0), (2, 8, 0, 0.1), (2, 12, 1, 0.05), (2, 16, 1, 0.035), (2, 24, 1, 0.025), (3, 32, 1, 0.02),
          (5, 48, 2, 0.015))  # fmt: skip
"""Radius, width, depth, and the largest share of the tokens' bytes that the weights may take to be chosen."""

WEIGHT_BYTES = 0.75
"""About what a stored weight takes."""

_MOST_WEIGHTS = 20_000
"""A decoder goes through nearly all weights for each pixel: more would make it slow."""

_SMALL_SIDE = 32
"""Images of one size and at most this side have numbers for each of their rows and columns. Emoji of 64 x 64 would take
1% less with them, and longer to decode: what is known of one place does not serve another."""


def choose_shape(levels: tuple[int, ...], tokens_bytes: float, size: tuple[int, int] | None) -> PixelShape:
    """The sizes for a collection.

    levels : of each channel, in coding order    tokens_bytes : about what its tokens will take
    size : (H, W), if all images have this one
    """
    shape = None
    for radius, width, depth, share in _SIZES:
        small = size is not None and max(size) <= _SMALL_SIDE and width >= 12
        edges = (size[0], size[1], 1) if size is not None and small else (radius + 1, radius + 1, radius + 1)
        candidate = PixelShape(levels, radius, width, depth, edges)
        pays = WEIGHT_BYTES * candidate.weights < share * tokens_bytes
        if shape is None or (pays and candidate.weights <= _MOST_WEIGHTS):
            shape = candidate
    assert shape is not None
    return shape
