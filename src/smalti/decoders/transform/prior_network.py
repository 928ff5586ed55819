"""The numbers of a transform prior, with every check, and their bytes (docs/format.md, "The transform prior").

The network gives each coefficient a scale and a mean; the tables hold the distribution of a coefficient for each scale
and each fraction of the mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.exact_sums import check_sums
from smalti.decoders.layers.numbers import NumberReader, pack_numbers
from smalti.decoders.transform.cells import FIRST_PHASES, PHASES
from smalti.decoders.transform.transform_network import MAX_SHIFT, MAX_WIDTH, MOST_COMPONENTS
from smalti.entropy.frequency import MAX_PRECISION
from smalti.entropy.priors import MAX_POSITION_CELLS, TablePrior
from smalti.errors import DamagedArchiveError, ModelError

__all__ = ["FRACTIONS", "MEAN_UNITS", "FirstNetwork", "PriorNetwork", "pack_prior", "unpack_prior"]

FRACTIONS = 3
"""Tables of a scale: the mean is 0, 1/4 or 1/2 away from a whole number."""

MEAN_UNITS = 16
"""Units of a mean of 1."""

MOST_SCALES = 256
MOST_RADIUS = 1 << 12
MOST_GROUPS = 256
MOST_PLACES = 1 << 12
LARGEST_LIMIT = (1 << 15) - 1
MAGNITUDES: NDArray[np.int64] = np.minimum(np.floor(16 * np.log2(1 + np.arange(256)) + 0.5), 127).astype(
    np.int64
)  # no value is near a half, so every machine makes the same table
"""What the activities see of a magnitude of 0 to 255: about 16 times the binary logarithm of it plus 1."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FirstNetwork:
    """The network of the first component, with numbers of their own for each of its P phases. D hidden values.

    weight : [P, 9, D]    bias : [P, D]
    scale_weight, mean_weight : [P, D]    scale_bias, mean_bias : [P]
    linear : [P, 9]
    """

    weight: Ints
    bias: Ints
    scale_weight: Ints
    scale_bias: Ints
    mean_weight: Ints
    mean_bias: Ints
    linear: Ints

    @property
    def hidden(self) -> int:
        """D."""
        return int(self.bias.shape[1])


@dataclass(frozen=True, eq=False)
class PriorNetwork:
    """The network of all components. M components, G groups, L signed components, E activities, H hidden values.

    groups : sizes of the groups of components, in coding order; the first is 1, they sum to M
    limits : [L], the largest magnitude of each signed component that the network sees
    activity : [M, E]    activity_bias : [G, E]
    context : [2, 9 * (E + L), H], of the two phases    context_bias : [2, G, H]
    places : [h * w, H], added for the cells of pictures whose grid is `grid`; [0, H] if there are none
    grid : (h, w), or (0, 0)
    hidden : [H, H]    hidden_bias : [H]
    scale_weight : [H, M]    scale_bias : [M]
    mean_weight : [H, L]    mean_bias : [L]
    linear : [2, 9 * L, L], in units of 2**-shift of 1/16
    shifts : of activity, context, hidden, scale, mean, linear, and of the first network's layers (hidden, scale, mean,
        linear)

    Raises ModelError if shapes do not fit each other or if sums would not be exact.
    """

    groups: tuple[int, ...]
    limits: Ints
    activity: Ints
    activity_bias: Ints
    context: Ints
    context_bias: Ints
    places: Ints
    grid: tuple[int, int]
    hidden: Ints
    hidden_bias: Ints
    scale_weight: Ints
    scale_bias: Ints
    mean_weight: Ints
    mean_bias: Ints
    linear: Ints
    first: FirstNetwork
    shifts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.groups[0] != 1 or min(self.groups) < 1 or sum(self.groups) != self.components:
            raise ModelError(f"groups of {list(self.groups)} components for {self.components}")
        seen = self.most_seen
        inputs = np.tile(np.concatenate([np.full(self.activities, 255), seen]), 9)
        what = "the prior"
        check_sums(self.activity, np.abs(self.activity_bias).max(axis=0), 127, what)
        extra = np.abs(self.places).max(axis=0, initial=0)
        for weight, bias in zip(self.context, self.context_bias, strict=True):
            check_sums(weight, np.abs(bias).max(axis=0) + extra, inputs, what)
        check_sums(self.hidden, self.hidden_bias, 255, what)
        check_sums(self.scale_weight, self.scale_bias, 255, what)
        check_sums(self.mean_weight, self.mean_bias, 255, what)
        for linear in self.linear:
            check_sums(linear, np.zeros(len(self.limits), np.int64), np.tile(self.limits, 9), what)
        first = self.first
        for number in range(FIRST_PHASES):
            check_sums(first.weight[number], first.bias[number], int(seen[0]), what)
            for outputs, bias in ((first.scale_weight, first.scale_bias), (first.mean_weight, first.mean_bias)):
                check_sums(outputs[number][:, None], bias[number : number + 1], 255, what)
            check_sums(first.linear[number][:, None], np.zeros(1, np.int64), int(self.limits[0]), what)

    @property
    def components(self) -> int:
        """M."""
        return len(self.activity)

    @property
    def signed(self) -> int:
        """L."""
        return len(self.limits)

    @property
    def activities(self) -> int:
        """E."""
        return int(self.activity.shape[1])

    @property
    def width(self) -> int:
        """H."""
        return len(self.hidden)

    @property
    def limit_shifts(self) -> Ints:
        """[L]: the context sees signed components shifted down to int8 by so many bits."""
        return np.maximum(np.frexp(self.limits.astype(np.float64))[1].astype(np.int64) - 7, 0)

    @property
    def most_seen(self) -> Ints:
        """[L]: the largest magnitudes that the context sees; a shift rounds down, so that of -limit is the larger."""
        return -(-self.limits >> self.limit_shifts)

    @property
    def operations(self) -> int:
        """Products and sums that it takes for one cell."""
        step = 9 * (self.activities + self.signed) * self.width + self.width**2
        return len(self.groups) * step + self.components * (2 * self.width + self.activities) + 9 * self.signed**2

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that coding takes for one cell: coefficients, features, neighbours, the largest step."""
        return 4 * self.components + 8 * (self.activities + self.signed) + 32 * max(self.groups) + 256


_SHIFTS = 10
_KEYS: Mapping[str, tuple[int, int]] = {
    "activities": (1, MAX_WIDTH),
    "columns": (0, MOST_PLACES),
    "first": (1, MAX_WIDTH),
    "radius": (1, MOST_RADIUS),
    "rows": (0, MOST_PLACES),
    "scales": (2, MOST_SCALES),
    "signed": (1, MAX_WIDTH),
    "table_bits": (1, MAX_PRECISION),
    "width": (1, MAX_WIDTH),
}


def pack_prior(network: PriorNetwork, tables: TablePrior) -> bytes:
    """Serialise a network and the tables of its scales. `unpack_prior` is the inverse."""
    first = network.first
    description: dict[str, Any] = {
        "activities": network.activities,
        "columns": network.grid[1],
        "first": first.hidden,
        "groups": list(network.groups),
        "radius": tables.codes // 2 - 1,
        "rows": network.grid[0],
        "scales": tables.rows // FRACTIONS + 1,
        "shifts": list(network.shifts),
        "signed": network.signed,
        "table_bits": tables.precision,
        "width": network.width,
    }
    numbers = pack_numbers(
        description,
        [
            network.limits, network.activity, network.activity_bias, *network.context, *network.context_bias,
            network.places, network.hidden, network.hidden_bias, network.scale_weight, network.scale_bias,
            network.mean_weight, network.mean_bias, *network.linear, *first.weight, first.bias, first.scale_weight,
            first.scale_bias, first.mean_weight, first.mean_bias, first.linear,
        ],
    )  # fmt: skip
    return len(numbers).to_bytes(4, "little") + numbers + tables.to_bytes()


def unpack_prior(data: bytes, components: int, limit_bytes: int) -> tuple[PriorNetwork, TablePrior]:
    """Read the bytes of `pack_prior`. Raises DamagedArchiveError, LimitExceededError, ModelError."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 + size:
        raise DamagedArchiveError("prior: it ends too early")
    reader = NumberReader(data[4 : 4 + size], "prior", _KEYS, limit_bytes)
    found = reader.description
    groups: Any = found.get("groups")
    shifts: Any = found.get("shifts")
    if set(found) != {*reader.keys, "groups", "shifts"} or not (
        _numbers(groups, 1, MOST_COMPONENTS, MOST_GROUPS) and _numbers(shifts, 0, MAX_SHIFT, _SHIFTS)
    ):
        raise DamagedArchiveError("prior: a description with other keys or values than those of format 1")
    if sum(groups) != components or groups[0] != 1 or found["signed"] > components or len(shifts) != _SHIFTS:
        raise DamagedArchiveError(f"prior: groups of {groups} components for a model of {components}")
    count, first_width = len(groups), found["first"]
    active, signed, width = (found[key] for key in ("activities", "signed", "width"))
    grid = (found["rows"], found["columns"])
    if (0 in grid) != (grid == (0, 0)) or grid[0] * grid[1] > MOST_PLACES:
        raise DamagedArchiveError(f"prior: places for a grid of {list(grid)}")
    limits = reader.take((signed,), 1, LARGEST_LIMIT)
    activity, activity_bias = reader.take((components, active)), reader.take((count, active))
    context = np.stack([reader.take((9 * (active + signed), width)) for _ in range(PHASES)])
    context_bias = np.stack([reader.take((count, width)) for _ in range(PHASES)])
    places = reader.take((grid[0] * grid[1], width))
    hidden, hidden_bias = reader.take((width, width)), reader.take((width,))
    scale_weight, scale_bias = reader.take((width, components)), reader.take((components,))
    mean_weight, mean_bias = reader.take((width, signed)), reader.take((signed,))
    linear = np.stack([reader.take((9 * signed, signed)) for _ in range(PHASES)])
    weight = np.stack([reader.take((9, first_width)) for _ in range(FIRST_PHASES)])
    of_phases: list[tuple[int, ...]] = [
        (FIRST_PHASES, first_width), (FIRST_PHASES, first_width), (FIRST_PHASES,), (FIRST_PHASES, first_width),
        (FIRST_PHASES,), (FIRST_PHASES, 9),
    ]  # fmt: skip
    first = FirstNetwork(weight, *(reader.take(shape) for shape in of_phases))
    reader.finish()
    network = PriorNetwork(
        tuple(groups), limits, activity, activity_bias, context, context_bias, places, grid, hidden, hidden_bias,
        scale_weight, scale_bias, mean_weight, mean_bias, linear, first, tuple(shifts),
    )  # fmt: skip
    rows, codes = (found["scales"] - 1) * FRACTIONS, 2 * found["radius"] + 2
    if rows * codes > MAX_POSITION_CELLS:
        raise DamagedArchiveError(f"prior: {rows} tables of {codes} codes")
    return network, TablePrior.from_bytes(data[4 + size :], rows, codes, found["table_bits"])


def _numbers(found: Any, low: int, high: int, most: int) -> bool:
    """Whether this is a list of 1 to `most` whole numbers in low..high."""
    return (
        type(found) is list
        and 1 <= len(found) <= most
        and all(type(number) is int and low <= number <= high for number in found)
    )
