"""Packing images with a fitted transform: tokens by distortion and bits, so that the whole collection meets a goal.

First some images are tried, to find the price of a bit and, if the goal is far from that of the fit, the size of the
steps; the tables of the prior are those of what was chosen. Then all images are encoded, and measured on what the
integer decoder makes of their tokens. If the goal is not met, this is done once more with another price.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_prior import TransformPrior, unsigned
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.quality import QualityMeter
from smalti.images.source import SizedSource, refuse_skipped, skipped_words
from smalti.storage.spool import spool_file
from smalti.training.common.goal import Goal
from smalti.training.observer import Observer, stop_if_asked
from smalti.training.training_kind import EncodedCells, EncodeRequest
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.export import TableCounts
from smalti.training.transform.token_choice import choose_tokens

if TYPE_CHECKING:
    from smalti.training.transform.fitted_transform import FittedTransform

__all__ = ["encode_cells"]

TRIED_PIXELS = 3 << 19
"""Pixels of the images that the price is found on."""

_TRIES = 7
_PASSES = 4
_CLOSE = 0.004
"""How close to the goal a trial ends: the logarithm of the ratio of errors."""

_NEARLY = 0.012
"""A pass over all images is not repeated if it is better than the goal by at most this."""

_SLOPE = 2.5
"""By how much the logarithm of the price moves for that of the error (found on several sets)."""

_MOST_GAIN = 1.15
"""Steps are as in the fit if its error is within this factor squared of the goal."""

BLOCK_PIXELS = 1 << 20
REGION_PIXELS = 1 << 18
"""Pixels of a token block of the archive, and of a region of a larger image."""

_UNIT_PIXELS = 1 << 18


@dataclass(frozen=True)
class _Measured:
    """What an encoding comes to. error : the mean squared error, or 1 - SSIM    bits : of all tokens"""

    error: float
    bits: float


@dataclass(frozen=True, eq=False)
class _Unit:
    """Some of the cells of a batch, and the grids that they are."""

    cells: NDArray[np.int64]
    grids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Coder:
    """Encodes batches of images at a price."""

    encoder: CellEncoder
    model: TransformModel
    prior: TransformPrior
    price: float
    threads: int
    ratio: float

    def counts(self) -> TableCounts:
        """Counts of nothing for the tables of the prior."""
        return TableCounts(self.prior.scales, self.ratio)

    @property
    def block_cells(self) -> int:
        """The most cells of a block; larger images are cut into regions."""
        return BLOCK_PIXELS // self.model.cell**2

    @property
    def region(self) -> int:
        """Rows and columns of cells of a region."""
        return math.isqrt(REGION_PIXELS) // self.model.cell

    def chosen(self, pixels: Pixels, counts: TableCounts) -> tuple[NDArray[np.uint16], float]:
        """Tokens [cells, M] of images [n, H, W, C], and about how many bits they take. Their codes are counted."""
        values, weights = self.encoder.values(pixels), self.encoder.weights(pixels)
        tokens = np.empty(values.shape, np.int32)

        def work(unit: _Unit) -> tuple[float, TableCounts]:
            own = counts.empty()
            some = weights if weights.ndim == 1 else weights[unit.cells]
            made = choose_tokens(self.prior, values[unit.cells], unit.grids, some, self.price, own)
            tokens[unit.cells] = made.coefficients
            return made.bits, own

        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(work, self._units(len(pixels), self.encoder.grid(*pixels.shape[1:3]))))
        for _, own in parts:
            counts.merge(own)
        return unsigned(tokens), sum(bits for bits, _ in parts)

    def _units(self, images: int, grid: tuple[int, int]) -> Iterator["_Unit"]:
        """What is coded without a look at the rest: some images, or a region of a large one, as an archive cuts it."""
        cells = grid[0] * grid[1]
        if cells <= self.block_cells:
            size = max(1, _UNIT_PIXELS // (cells * self.model.cell**2))
            for start in range(0, images, size):
                stop = min(images, start + size)
                yield _Unit(np.arange(start * cells, stop * cells), np.array([grid] * (stop - start), np.int64))
            return
        numbers = np.arange(images * cells).reshape(images, *grid)
        for image in numbers:
            for top in range(0, grid[0], self.region):
                for left in range(0, grid[1], self.region):
                    part = image[top : top + self.region, left : left + self.region]
                    yield _Unit(part.ravel(), np.array([part.shape], np.int64))

    def decoded(self, tokens: NDArray[np.uint16], shape: tuple[int, ...]) -> Pixels:
        """The images [n, H, W, C] of tokens, as a reader decodes them."""
        grids = np.array([self.encoder.grid(shape[1], shape[2])] * shape[0], np.int64)
        made = self.model.decode(tokens, grids, self.threads)
        return cast(Pixels, np.stack([image[: shape[1], : shape[2]] for image in made]))


def encode_cells(
    fitted: "FittedTransform", source: SizedSource, request: EncodeRequest, observer: Observer
) -> EncodedCells:
    """Encode all images of a source. Raises SourceError if there is none, FitInterruptedError."""
    goal = request.goal or fitted.settings.goal
    tried = _tried_images(source)
    if not tried:
        raise SourceError(f"{source.description}: no image could be read ({skipped_words(source.skipped)})")
    shares = sum(image.shape[1] * image.shape[2] for image in tried) / max(1, int(source.sizes.prod(axis=1).sum()))
    coder = _first_coder(fitted, goal)
    coder = _find_price(coder, tried, goal, min(1.0, shares), observer)
    for number in range(_PASSES):
        spool = _TokenSpool(request.beside, coder.model.tokens_per_cell)
        measured, counts = _encode_all(coder, source, spool, goal, observer)
        if request.strict:
            refuse_skipped(source.description, source.skipped)
        prior = TransformPrior(fitted.prior.network, counts.tables())
        off = _off(goal, measured, _model_bytes(coder.model, prior), len(source))
        if -_NEARLY <= off <= 0 or not fitted.settings.optimised or number + 1 == _PASSES:
            break
        spool.close()
        coder = _with_price(coder, prior, coder.price * math.exp(-_SLOPE * (off + _NEARLY / 3)))
    missed = None
    if off > 0.002:
        missed = _missed_words(goal, measured)
    batches = _from_spool(source, spool, coder.encoder)
    return EncodedCells(coder.model, prior, batches, missed, coder.block_cells, coder.region)


def _first_coder(fitted: "FittedTransform", goal: Goal) -> _Coder:
    """The coder of the fit, or one whose steps suit a goal that is far from it."""
    wanted, gain = goal.unit_mse(fitted.scale), 1.0
    if wanted is not None:
        ratio = (wanted / fitted.mse) ** 0.5
        gain = 1.0 if 1 / _MOST_GAIN < ratio < _MOST_GAIN else ratio
    encoder, model = fitted.with_gain(gain)
    price = fitted.price * gain**2 if fitted.settings.optimised else 0.0
    return _Coder(encoder, model, fitted.prior, price, torch.get_num_threads(), fitted.learned.shape.ratio)


def _with_price(coder: _Coder, prior: TransformPrior, price: float) -> _Coder:
    return replace(coder, prior=prior, price=price)


def _find_price(coder: _Coder, tried: list[Pixels], goal: Goal, share: float, observer: Observer) -> _Coder:
    """The price, and the tables, with which some images meet the goal. share : of all pixels that they are"""
    slope, before = _SLOPE, None
    for number in range(_TRIES):
        observer.on_step("search", number + 1, _TRIES)
        stop_if_asked(observer, None)
        counts, meter, bits = coder.counts(), QualityMeter(with_ssim=goal.ssim is not None), 0.0
        for pixels in tried:
            tokens, own = coder.chosen(pixels, counts)
            meter.add(pixels, coder.decoded(tokens, pixels.shape))
            bits += own
        prior = TransformPrior(coder.prior.network, counts.tables())
        overhead = _model_bytes(coder.model, prior)
        off = _off(goal, _Measured(_error(meter, goal), bits / share), overhead, 0)
        coder = _with_price(coder, prior, coder.price)
        if (number and abs(off) < _CLOSE) or coder.price == 0:
            break
        if before is not None and abs(off - before[0]) > 1e-4:
            slope = float(np.clip((math.log(coder.price) - before[1]) / (off - before[0]), 0.5, 8))
        before = (off, math.log(coder.price))
        coder = _with_price(coder, prior, coder.price * math.exp(float(np.clip(-slope * off, -1.5, 1.5))))
    return coder


def _encode_all(
    coder: _Coder, source: SizedSource, spool: "_TokenSpool", goal: Goal, observer: Observer
) -> tuple[_Measured, TableCounts]:
    """Encode every image of a source to the spool, and measure what a reader will decode."""
    counts, meter, bits, done = coder.counts(), QualityMeter(with_ssim=goal.ssim is not None), 0.0, 0
    for batch in source.batches(256):
        tokens, own = coder.chosen(batch.pixels, counts)
        meter.add(batch.pixels, coder.decoded(tokens, batch.pixels.shape))
        spool.append(tokens)
        bits += own
        done += len(batch)
        observer.on_step("encode", done, len(source))
        stop_if_asked(observer, None)
    if not done:
        raise SourceError(f"{source.description}: no image could be read ({skipped_words(source.skipped)})")
    return _Measured(_error(meter, goal), bits), counts


def _error(meter: QualityMeter, goal: Goal) -> float:
    """The mean squared error, over what is seen if there is alpha; or 1 - SSIM if that is the goal."""
    quality = meter.result()
    if goal.ssim is not None and quality.ssim_mean is not None:
        return 1 - quality.ssim_mean
    return quality.mse_mean if quality.seen is None else quality.seen.mse_mean


def _off(goal: Goal, measured: _Measured, overhead_bytes: int, images: int) -> float:
    """The logarithm of the ratio of error, or of bytes against them, to the goal: above 0, the error is too large.

    For a goal in bytes it is negative if there are too many bytes.
    """
    if goal.archive_bytes is not None:
        found = measured.bits / 8 + overhead_bytes + _BYTES_AN_IMAGE * images
        return 0.7 * math.log(goal.archive_bytes / found) - _NEARLY / 2
    wanted = goal.mse if goal.ssim is None else 1 - goal.ssim
    assert wanted is not None
    return math.log(max(measured.error, 1e-12) / wanted)


_BYTES_AN_IMAGE = 0.5
"""What sizes, names and the parts of a block take for an image, besides its tokens."""

_BYTES_AN_ARCHIVE = 2_500


def _model_bytes(model: TransformModel, prior: TransformPrior) -> int:
    return len(model.to_bytes()) + len(prior.to_bytes()) + _BYTES_AN_ARCHIVE


def _missed_words(goal: Goal, measured: _Measured) -> str:
    if goal.mse is not None:
        return goal.missed_words(measured.error, goal.mse)
    return (
        f"the mean SSIM is {1 - measured.error:.4f}, not {goal.ssim:g}" if goal.ssim is not None else "too many bytes"
    )


def _tried_images(source: SizedSource) -> list[Pixels]:
    """An evenly spread part of a source: batches of images."""
    pixels = int(source.sizes.prod(axis=1).sum())
    every = max(1, -(-pixels // TRIED_PIXELS))
    tried: list[Pixels] = []
    number = 0
    for batch in source.batches(256):
        chosen = [k for k in range(len(batch)) if (number + k) % every == every // 2 or len(source) <= every]
        if chosen:
            tried.append(batch.pixels[chosen].copy())
        number += len(batch)
    if not tried:
        first = next(iter(source.batches(1)), None)
        return [] if first is None else [first.pixels]
    return tried


class _TokenSpool:
    """Tokens of all cells in a nameless temporary file."""

    def __init__(self, beside: Path | None, components: int) -> None:
        self._file = spool_file(beside)
        self._components = components

    def append(self, tokens: NDArray[np.uint16]) -> None:
        """Add tokens [cells, M]."""
        self._file.write(np.ascontiguousarray(tokens, "<u2").tobytes())

    def rewind(self) -> None:
        """Go back to the first cell."""
        self._file.seek(0)

    def take(self, cells: int) -> NDArray[np.uint16]:
        """The next tokens, [cells, M]."""
        data = self._file.read(2 * cells * self._components)
        return np.frombuffer(data, "<u2").astype(np.uint16).reshape(cells, self._components)

    def close(self) -> None:
        """Close the file, which frees its space."""
        self._file.close()


def _from_spool(
    source: SizedSource, spool: _TokenSpool, encoder: CellEncoder
) -> Iterator[tuple[ImageBatch, NDArray[np.uint16]]]:
    """Every batch of a source with its tokens."""
    spool.rewind()
    for batch in source.batches(256):
        rows, columns = encoder.grid(*batch.pixels.shape[1:3])
        yield batch, spool.take(len(batch) * rows * columns)
    spool.close()
