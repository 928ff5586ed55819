"""Images to coefficients that are not yet whole, with the weight that an error of each has; by the learned analysis."""

import numpy as np
import torch
from numpy.typing import NDArray

from smalti.images.batch import Pixels
from smalti.training.cells.samples import prepared, seen_weights
from smalti.training.common.scaling import PixelScale
from smalti.training.transform.learned_transform import LearnedTransform

__all__ = ["CellEncoder"]

_PART_PIXELS = 1 << 18
"""Pixels that are analysed at once."""

_STRIP_CELLS = 32
_MARGIN_CELLS = 4
"""Large images are analysed in strips, with so many cells above and below: more than the analysis sees."""


class CellEncoder:
    """Analyses images with a learned transform.

    steps : of the decoder, [M], of pixels in [0, 1]; None for those of the fit. They differ, because the decoder's are
        whole numbers, and because another goal needs others
    squares : [M], the squared error, of pixels in [0, 1], of a coefficient that is off by 1
    """

    def __init__(self, learned: LearnedTransform, scale: PixelScale, steps: NDArray[np.float64] | None = None) -> None:
        self._learned, self._scale = learned.eval(), scale
        self._device = learned.log_step.device
        self._cell = learned.shape.cell
        own = learned.steps.detach().cpu().double().numpy()
        steps = own if steps is None else steps
        self._ratio = torch.from_numpy((own / steps).astype(np.float32)).to(self._device)[:, None, None]
        self.squares = (steps**2 * _norms(learned)).astype(np.float32)
        self._channels = np.array(learned.shape.places) // self._cell**2
        self._colour = _matrix(learned, "colour") ** 2

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of cells of an image."""
        return -(-height // self._cell), -(-width // self._cell)

    @torch.no_grad()
    def values(self, pixels: Pixels) -> NDArray[np.float32]:
        """Coefficients of images [n, H, W, C], in steps: float32 [cells, M], image after image, row by row."""
        whole = prepared(pixels, self._cell)
        count, height, width, _ = whole.shape
        if height * width > 4 * _PART_PIXELS:
            return np.concatenate([self._strips(image[None]) for image in whole])
        size = max(1, _PART_PIXELS // (height * width))
        return np.concatenate([self._analysed(whole[start : start + size]) for start in range(0, count, size)])

    def weights(self, pixels: Pixels) -> NDArray[np.float32]:
        """The squared error, of pixels in [0, 1], of a coefficient that is off by 1: [M], or [cells, M] with alpha."""
        counted = seen_weights(pixels)
        if counted is None:
            return self.squares
        side = self._cell
        count, height, width, channels = counted.shape
        rows, columns = self.grid(height, width)
        padded = np.pad(counted, ((0, 0), (0, rows * side - height), (0, columns * side - width), (0, 0)))
        cells = padded.reshape(count, rows, side, columns, side, channels).mean(axis=(2, 4)).reshape(-1, channels)
        weights: NDArray[np.float32] = ((cells @ self._colour.T)[:, self._channels] * self.squares).astype(np.float32)
        return weights

    def _strips(self, image: Pixels) -> NDArray[np.float32]:
        rows = image.shape[1] // self._cell
        columns = image.shape[2] // self._cell
        parts = []
        for start in range(0, rows, _STRIP_CELLS):
            first, last = max(0, start - _MARGIN_CELLS), min(rows, start + _STRIP_CELLS + _MARGIN_CELLS)
            made = self._analysed(image[:, first * self._cell : last * self._cell])
            stop = min(rows, start + _STRIP_CELLS)
            parts.append(made[(start - first) * columns : (stop - first) * columns])
        return np.concatenate(parts)

    def _analysed(self, whole: Pixels) -> NDArray[np.float32]:
        images = torch.from_numpy(np.ascontiguousarray(self._scale.to_unit(whole).transpose(0, 3, 1, 2)))
        values = self._learned.analyse(images.to(self._device)) * self._ratio
        flat: NDArray[np.float32] = values.permute(0, 2, 3, 1).reshape(-1, values.shape[1]).cpu().numpy()
        return flat


def _norms(learned: LearnedTransform) -> NDArray[np.float64]:
    """The squared norm of the basis function of each component, without the filter, which is nearly orthogonal."""
    rows, columns, colour = (_matrix(learned, name) for name in ("rows", "columns", "colour"))
    norms = (rows**2).sum(2)[:, :, None] * (columns**2).sum(2)[:, None, :] * (colour**2).sum(1)[:, None, None]
    chosen: NDArray[np.float64] = norms.ravel()[np.array(learned.shape.places)]
    return chosen


def _matrix(learned: LearnedTransform, name: str) -> NDArray[np.float64]:
    """A parameter as an array."""
    return np.asarray(learned.get_parameter(name).detach().cpu().double().numpy())
