"""The start of a fit, which needs no learning: the KLT of the collection's own lapped cells, and what it would cost.

The transform is separable: a rotation of the channels, then for each rotated channel a basis along the rows and one
along the columns of a cell, the eigenvectors of their covariances. Before that a filter across the borders of cells
makes it a lapped transform: the lapped orthogonal transform of Malvar (1992) in the form of Tran, Liang & Tu (2003).
`waterfilling` is the Gaussian bound (Cover & Thomas, section 10.3), which orders components and sets the first steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.transform.fixed_bases import cosine_basis, lapped_filter

__all__ = ["Basis", "coefficients", "find_basis", "waterfilling"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Basis:
    """The KLT of cells of b x b pixels and C channels.

    mean : [C]    colour : [C, C], row k is rotated channel k    rows, columns : [C, b, b], row u is a basis function
    lap : [b, b], the filter across borders that comes before the transform
    variances : [C * b * b], of each coefficient
    """

    mean: Floats
    colour: Floats
    rows: Floats
    columns: Floats
    lap: Floats
    variances: Floats

    @property
    def cell(self) -> int:
        """b."""
        return len(self.lap)


def find_basis(
    images: list[NDArray[np.float32]], cell: int, lapped: bool = True, fixed: bool = False, drawn: bool = False
) -> Basis:
    """The basis of stacks of images, float [n, H, W, C] in [0, 1], H and W multiples of `cell`.

    lapped : whether there is a filter across borders
    fixed : whether rows and columns are the cosine basis, which costs a file nothing, instead of the KLT
    drawn : whether all bases are random orthonormal ones, to measure what the KLT is worth
    """
    channels = images[0].shape[3]
    pixels = sum(stack[..., 0].size for stack in images)
    mean = sum((stack.sum(axis=(0, 1, 2), dtype=np.float64) for stack in images), np.zeros(channels)) / pixels
    lap = lapped_filter(cell) if lapped else np.eye(cell)
    planes = [_filtered((stack - mean.astype(np.float32)).transpose(3, 0, 1, 2), lap) for stack in images]
    colour = _eigenvectors(_products(plane.reshape(channels, -1) for plane in planes))
    generator = np.random.default_rng(0)
    if drawn:
        colour = _orthonormal(generator, channels)
    planes = [np.tensordot(colour.astype(np.float32), plane, 1) for plane in planes]
    rows, columns, variances = [], [], []
    for channel in range(channels):
        cells = np.concatenate([_cells(plane[channel], cell) for plane in planes])
        row = column = cosine_basis(cell)
        if drawn:
            row, column = _orthonormal(generator, cell), _orthonormal(generator, cell)
        elif not fixed:
            row = _eigenvectors(_products([cells.transpose(1, 0, 2).reshape(cell, -1)]))
            column = _eigenvectors(_products([cells.transpose(2, 0, 1).reshape(cell, -1)]))
        values = row.astype(np.float32) @ cells @ column.T.astype(np.float32)
        rows.append(row)
        columns.append(column)
        variances.append((values**2).mean(axis=0, dtype=np.float64).ravel())
    return Basis(mean, colour, np.stack(rows), np.stack(columns), lap, np.concatenate(variances))


def coefficients(stack: NDArray[np.float32], basis: Basis) -> NDArray[np.float32]:
    """The coefficients [n, rows, columns, C * b * b] of a stack of images, float [n, H, W, C] in whole cells."""
    cell, channels = basis.cell, stack.shape[3]
    planes = _filtered((stack - basis.mean.astype(np.float32)).transpose(3, 0, 1, 2), basis.lap)
    rotated = np.tensordot(basis.colour.astype(np.float32), planes, 1)
    made = []
    for channel in range(channels):
        row, column = (matrix[channel].astype(np.float32) for matrix in (basis.rows, basis.columns))
        made.append((row @ _cells(rotated[channel], cell) @ column.T).reshape(-1, cell * cell))
    grid = (len(stack), stack.shape[1] // cell, stack.shape[2] // cell)
    return np.concatenate(made, axis=1).reshape(*grid, -1)


def waterfilling(variances: Floats, mse: float) -> tuple[float, float]:
    """The level of the water, and the bits of all components together, for a mean squared error of `mse`."""
    low, high = 1e-15, float(variances.max()) + 1e-15
    for _ in range(80):
        level = (low * high) ** 0.5
        low, high = (low, level) if np.minimum(variances, level).mean() > mse else (level, high)
    return level, float(0.5 * np.log2(np.maximum(variances / level, 1)).sum())


def _filtered(planes: NDArray[np.float32], lap: Floats) -> NDArray[np.float32]:
    """Filter planes [C, n, H, W] across all borders of their cells."""
    cell, half = len(lap), len(lap) // 2
    planes, single = planes.copy(), lap.astype(np.float32)
    height, width = planes.shape[2:]
    if height > cell:
        inner = planes[:, :, half:-half]
        planes[:, :, half:-half] = (single @ inner.reshape(-1, cell, width)).reshape(inner.shape)
    if width > cell:
        inner = planes[..., half:-half]
        planes[..., half:-half] = (inner.reshape(-1, cell) @ single.T).reshape(inner.shape)
    return planes


def _cells(plane: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """The cells [m, b, b] of images [n, H, W]."""
    count, height, width = plane.shape
    shaped = plane.reshape(count, height // cell, cell, width // cell, cell)
    cells: NDArray[np.float32] = shaped.transpose(0, 1, 3, 2, 4).reshape(-1, cell, cell)
    return cells


def _products(parts: Iterable[NDArray[np.float32]]) -> Floats:
    """The sum of products of rows [k, m] with themselves: [k, k]."""
    return np.asarray(np.sum([(part @ part.T).astype(np.float64) for part in parts], axis=0))


def _orthonormal(generator: np.random.Generator, side: int) -> Floats:
    return np.asarray(np.linalg.qr(generator.normal(size=(side, side)))[0])


def _eigenvectors(covariance: Floats) -> Floats:
    """Eigenvectors as rows, the largest eigenvalue first, of the signs that bring them near the cosine basis."""
    vectors = np.linalg.eigh(covariance)[1][:, ::-1].T.copy()
    like = (vectors * cosine_basis(len(vectors))).sum(axis=1, keepdims=True)
    return np.asarray(np.where(like < 0, -vectors, vectors))
