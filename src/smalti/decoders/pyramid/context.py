"""The context of a prior: features of the latents that are already decoded, around the position of a token.

The features of position p of a level of scale s are, in this order,

    z_s of the cells around p, row after row, D_s numbers each: those up to `reach` cells away along each side; zeros
        outside the grid
    z_r of each scale r < s, at the cell that covers p

Latents hold the earlier levels, and of this level the positions before p.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Values
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork, TokenLayout

__all__ = [
    "FeatureLines",
    "Latents",
    "LevelLatents",
    "feature_count",
    "feature_lines",
    "feature_magnitudes",
    "latent_numbers",
    "reach",
]

Index = NDArray[np.intp]

MOST_AROUND = 300
"""The most numbers in a neighbourhood of more than 3 x 3 cells."""


def feature_count(network: PyramidNetwork, layout: TokenLayout, level: int) -> int:
    """F, the number of features of a level."""
    scale = network.levels[level].scale
    coarser = sum(network.scales[number].channels for number in range(scale))
    return _neighbourhood_cells(network, layout, level) * network.scales[scale].channels + coarser


def feature_magnitudes(network: PyramidNetwork, layout: TokenLayout, level: int) -> NDArray[np.int64]:
    """The largest magnitude of each feature of a level, int64 [F]."""
    scale = network.levels[level].scale
    return np.concatenate(
        [np.tile(network.magnitudes[scale], _neighbourhood_cells(network, layout, level)), *network.magnitudes[:scale]]
    )


def latent_numbers(network: PyramidNetwork, layout: TokenLayout) -> int:
    """How many numbers an image's latents have while its tokens are coded, frames included."""
    grids = zip(network.scales, layout.scale_grids, strict=True)
    return sum(
        scale.channels * prod(side + 2 * reach(scale.channels, prod(grid)) for side in grid) for scale, grid in grids
    )


def reach(channels: int, cells: int) -> int:
    """How many cells a neighbourhood extends to each side: 3 or 2 if latents have few channels, else 1.

    channels : D    cells : of the grid; the neighbourhood of a single cell is that cell
    """
    if cells == 1:
        return 0
    return next((far for far in (3, 2) if channels * (2 * far + 1) ** 2 <= MOST_AROUND), 1)


def _neighbourhood_cells(network: PyramidNetwork, layout: TokenLayout, level: int) -> int:
    """The number of cells of a level's neighbourhood."""
    channels = network.scales[network.levels[level].scale].channels
    return (2 * reach(channels, prod(layout.grids[level])) + 1) ** 2


@dataclass(frozen=True, eq=False)
class FeatureLines:
    """Where features lie if all latents of an image are one list of numbers, and one more that is 0.

    count : of the numbers    features : of each level, int32 [positions, F]
    targets : of each level, the numbers that a code is added to, int32 [positions, d]
    """

    count: int
    features: tuple[NDArray[np.int32], ...]
    targets: tuple[NDArray[np.int32], ...]


def feature_lines(network: PyramidNetwork, layout: TokenLayout) -> FeatureLines:
    """The lines of all features, in the order of `LevelLatents.features`."""
    starts = np.cumsum(
        [0, *(scale.channels * prod(grid) for scale, grid in zip(network.scales, layout.scale_grids, strict=True))]
    )
    canvases = []
    for scale, grid, start in zip(network.scales, layout.scale_grids, starts, strict=False):
        own = start + np.arange(scale.channels * prod(grid), dtype=np.int32).reshape(*grid, scale.channels)
        far = reach(scale.channels, prod(grid))
        canvases.append(np.pad(own, ((far, far), (far, far), (0, 0)), constant_values=starts[-1]))
    features, targets = [], []
    for level, (rows, columns) in zip(network.levels, layout.grids, strict=True):
        scale, canvas = network.scales[level.scale], canvases[level.scale]
        far = (canvas.shape[0] - rows) // 2
        found, reached = [], []
        for row, column in np.ndindex(rows, columns):
            around = [canvas[row : row + 2 * far + 1, column : column + 2 * far + 1].ravel()]
            for coarse, wide, grid in zip(network.scales, canvases, layout.scale_grids, strict=False):
                if coarse is scale:
                    break
                frame = (wide.shape[0] - grid[0]) // 2
                steps = zip((row, column), scale.stride, coarse.stride, strict=True)
                around.append(wide[tuple(frame + at * step // other for at, step, other in steps)])
            found.append(np.concatenate(around))
            reached.append(canvas[far + row, far + column, level.channels])
        features.append(np.array(found, np.int32))
        targets.append(np.array(reached, np.int32))
    return FeatureLines(int(starts[-1]) + 1, tuple(features), tuple(targets))


class Latents:
    """Latents of n images at all scales, as codes are added and removed; zeros frame the grids.

    frames : rows and columns of zeros on each side of a scale's grid, which is the reach of its neighbourhoods
    """

    def __init__(self, network: PyramidNetwork, layout: TokenLayout, images: int) -> None:
        self._network, self._layout = network, layout
        self._codes = [level.codes.astype(np.float32) for level in network.levels]
        grids = zip(network.scales, layout.scale_grids, strict=True)
        self.frames = [reach(scale.channels, prod(grid)) for scale, grid in grids]
        self.values = [
            np.zeros((images, rows + 2 * frame, columns + 2 * frame, scale.channels), np.float32)
            for scale, (rows, columns), frame in zip(network.scales, layout.scale_grids, self.frames, strict=True)
        ]

    def add_all(self, tokens: NDArray[np.integer]) -> None:
        """Add the codes of all tokens [n, T]."""
        for number, level in enumerate(self._network.levels):
            table = np.pad(self._codes[number], ((0, 1), (0, 0)))  # the last row: absent
            frame, (rows, columns) = self.frames[level.scale], self._layout.grids[number]
            inner = self.values[level.scale][:, frame : frame + rows, frame : frame + columns]
            inner[..., level.channels] += table[self._layout.code_indices(tokens, number)]

    def level_codes(self, level: int) -> tuple[int, slice, Values]:
        """Scale, channels and codes of a level."""
        found = self._network.levels[level]
        return found.scale, found.channels, self._codes[level]

    def cover(self, level: int, scale: int, position: int) -> tuple[int, int]:
        """The cell of another scale's framed grid that covers a position of a level."""
        fine, coarse = self._network.scales[self._network.levels[level].scale], self._network.scales[scale]
        frame, cell = self.frames[scale], divmod(position, self._layout.grids[level][1])
        row, column = (
            frame + at * step // other for at, step, other in zip(cell, fine.stride, coarse.stride, strict=True)
        )
        return row, column

    def cell(self, level: int, position: int) -> tuple[int, int]:
        """The cell of a position of a level in its own framed grid."""
        return self.cover(level, self._network.levels[level].scale, position)


class LevelLatents:
    """The part of latents that a level reads and changes, for some of the images; `close` writes it back."""

    def __init__(self, latents: Latents, level: int, members: Index) -> None:
        self._latents, self._level, self._members = latents, level, members
        self._scale, self._channels, self._codes = latents.level_codes(level)
        self._all = len(members) == len(latents.values[0])
        # copies, unless all images are members
        self._values = [values if self._all else values[members] for values in latents.values[: self._scale + 1]]

    def features(self, position: int, part: slice) -> Values:
        """Features of a position for a part of the images, [k, F]."""
        own = self._values[self._scale]
        row, column = self._latents.cell(self._level, position)
        far = self._latents.frames[self._scale]
        around = own[part, row - far : row + far + 1, column - far : column + far + 1]
        found = [around.reshape(len(around), -1)]
        for scale, values in enumerate(self._values[:-1]):
            found.append(values[(part, *self._latents.cover(self._level, scale, position))])
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def add(self, position: int, symbols: NDArray[np.integer]) -> None:
        """Add the codes of the tokens of a position, integers [n]."""
        self._at(position)[...] += self._codes[symbols]

    def remove(self, position: int, symbols: NDArray[np.integer]) -> None:
        """Remove them again; sums of integers are exact."""
        self._at(position)[...] -= self._codes[symbols]

    def close(self) -> None:
        """Write the changed values back if they are a copy."""
        if not self._all:
            self._latents.values[self._scale][self._members] = self._values[self._scale]

    def _at(self, position: int) -> Values:
        row, column = self._latents.cell(self._level, position)
        return self._values[self._scale][:, row, column, self._channels]
