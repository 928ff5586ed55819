"""The start of a fit, which needs no learning: the KLT of the collection's own lapped cells, and what it would cost.

The transform is separable: a rotation of the channels, then for each rotated channel a basis along the rows and one
along the columns of a cell, the eigenvectors of their covariances. Before that a filter across the borders of cells
makes it a lapped transform: the lapped orthogonal transform of Malvar (1992) in the form of Tran, Liang & Tu (2003).
`waterfilling` is the Gaussian bound (Cover & Thomas, section 10.3), which orders components and sets the first steps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Basis", "find_basis", "lapped_filter", "waterfilling"]

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


def find_basis(images: list[NDArray[np.float32]], cell: int, lapped: bool = True) -> Basis:
    """The basis of images float [H, W, C] in [0, 1], H and W multiples of `cell`."""
    channels = images[0].shape[2]
    pixels = np.concatenate([image.reshape(-1, channels) for image in images]).astype(np.float64)
    mean = pixels.mean(axis=0)
    lap = lapped_filter(cell) if lapped else np.eye(cell)
    planes = [_filtered(image - mean, lap) for image in images]
    colour = _eigenvectors(sum(plane.reshape(-1, channels).T @ plane.reshape(-1, channels) for plane in planes))
    colour *= np.where(colour.sum(axis=1, keepdims=True) < 0, -1, 1)
    planes = [plane @ colour.T for plane in planes]
    down = [plane.reshape(-1, cell, plane.shape[1], channels) for plane in planes]
    along = [plane.reshape(plane.shape[0], -1, cell, channels) for plane in planes]
    rows = np.stack([_eigenvectors(sum(np.einsum("niw,njw->ij", d[..., c], d[..., c]) for d in down)) for c in range(channels)])
    columns = np.stack(
        [_eigenvectors(sum(np.einsum("hni,hnj->ij", a[..., c], a[..., c]) for a in along)) for c in range(channels)]
    )
    squares, cells = np.zeros((channels, cell, cell)), 0
    for plane in planes:
        height, width = plane.shape[0] // cell, plane.shape[1] // cell
        blocks = plane.reshape(height, cell, width, cell, channels).transpose(4, 0, 2, 1, 3)
        values = rows[:, None, None] @ blocks @ columns.transpose(0, 2, 1)[:, None, None]
        squares += (values**2).sum(axis=(1, 2))
        cells += height * width
    return Basis(mean, colour, rows, columns, lap, (squares / cells).ravel())


def waterfilling(variances: Floats, mse: float) -> tuple[float, float]:
    """The level of the water, and the bits of all components together, for a mean squared error of `mse`."""
    low, high = 1e-15, float(variances.max()) + 1e-15
    for _ in range(80):
        level = (low * high) ** 0.5
        low, high = (low, level) if np.minimum(variances, level).mean() > mse else (level, high)
    return level, float(0.5 * np.log2(np.maximum(variances / level, 1)).sum())


def lapped_filter(cell: int) -> Floats:
    """The orthogonal filter [b, b] across a border of cells, which makes a cosine transform the lapped one."""
    half = cell // 2
    k = np.arange(half)
    cosine = np.cos(np.pi * (2 * k[None] + 1) * k[:, None] / (2 * half)) * np.sqrt(2 / half)
    cosine[0] /= np.sqrt(2)
    fourth = np.cos(np.pi * (2 * k[None] + 1) * (2 * k[:, None] + 1) / (4 * half)) * np.sqrt(2 / half)
    flip, one, zero = np.eye(half)[::-1], np.eye(half), np.zeros((half, half))
    butterfly = np.block([[one, flip], [flip, -one]]) / np.sqrt(2)
    middle = np.block([[one, zero], [zero, flip @ cosine.T @ fourth @ flip]])
    return np.asarray(butterfly @ middle @ butterfly)


def _filtered(image: Floats, lap: Floats) -> Floats:
    """Filter an image [H, W, C] across all borders of its cells."""
    cell, half = len(lap), len(lap) // 2
    image = image.copy()
    if len(image) > cell:
        inner = image[half:-half]
        image[half:-half] = np.einsum("ij,njx->nix", lap, inner.reshape(-1, cell, inner[0].size)).reshape(inner.shape)
    if image.shape[1] > cell:
        inner = image[:, half:-half]
        shaped = inner.reshape(len(image), -1, cell, image.shape[2])
        image[:, half:-half] = np.einsum("ij,hnjc->hnic", lap, shaped).reshape(inner.shape)
    return image


def _eigenvectors(covariance: Floats) -> Floats:
    """Eigenvectors as rows, the largest eigenvalue first."""
    return np.linalg.eigh(covariance)[1][:, ::-1].T.copy()
