"""Packing images of any size: tokens by distortion and bits, so that the whole collection meets a goal.

First some images are tried, to find the price of a bit and, if the goal is far from that of the fit, the size of the
steps; the tables of the prior are those of what was chosen. Then all images are encoded, and measured on what the
integer decoder makes of their tokens. If the goal is not met, this is done once more with another price.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.contract import CellModel, CellPrior
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.quality import SSIM_WINDOW, QualityMeter
from smalti.images.seen import has_alpha
from smalti.images.source import RandomAccessSource, SizedSource, refuse_skipped, skipped_words
from smalti.storage.spool import spool_file
from smalti.training.cells.cell_coder import CellCoder, PricedModel
from smalti.training.cells.price_search import AIM, FAR, NEARLY, Measured, Search
from smalti.training.common.goal import Goal
from smalti.training.observer import Observer, stop_if_asked
from smalti.training.training_kind import EncodedCells, EncodeRequest

__all__ = ["encode_cells"]

TRIED_PIXELS = 3 << 19
"""Pixels of the images that the price is found on."""

_TRIES = 12

_PASSES = 5

_CLOSE = 0.004
"""How close to the goal a trial ends: the logarithm of the ratio of errors."""

_WINDOW = 1024
"""Of larger images a window of this side is tried."""


def encode_cells(fitted: PricedModel, source: SizedSource, request: EncodeRequest, observer: Observer) -> EncodedCells:
    """Encode all images of a source. Raises SourceError if there is none, FitInterruptedError."""
    goal = request.goal or fitted.settings.goal
    tried = _tried_images(source)
    if not tried:
        raise SourceError(f"{source.description}: no image could be read ({skipped_words(source.skipped)})")
    share = sum(stack[..., 0].size for stack in tried) / max(1, int(source.sizes.prod(axis=1).sum()))
    search = Search(fitted, goal)
    coder = _find_price(search, tried, min(1.0, share), observer)
    best: _Pass | None = None
    last, was = False, math.inf
    for number in range(_PASSES):
        made = _encode_all(search, coder, source, request.beside, observer)
        if request.strict:
            refuse_skipped(source.description, source.skipped)
        if best is not None:
            (best if made.is_better_than(best) else made).spool.close()
        best = made if best is None or made.is_better_than(best) else best
        far = goal.archive_bytes is None and abs(made.off) > FAR and abs(made.off - was) < 0.2 * abs(made.off)
        was = made.off
        if -NEARLY <= made.off <= 0 or last or far:
            break
        stuck = search.is_stuck(made.off)
        last = stuck or number + 2 >= _PASSES
        if stuck and best.met:
            break
        to_be_safe = last and not best.met
        coder = search.safe(coder, made.off) if to_be_safe else search.moved(coder, made.prior, made.off)
    assert best is not None
    batches = _from_spool(source, best.spool, best.coder)
    return EncodedCells(best.coder.model, best.prior, batches, search.missed_words(best.measured, best.off))


@dataclass(frozen=True, eq=False)
class _Pass:
    """All tokens of a source, and how far they are off the goal. prior : with the tables for them"""

    coder: CellCoder
    prior: CellPrior
    spool: "_TokenSpool"
    measured: Measured
    off: float
    met: bool

    def is_better_than(self, other: "_Pass") -> bool:
        """Whether it meets the goal and the other does not; else, whether it is closer."""
        return self.met if self.met != other.met else abs(self.off - AIM) < abs(other.off - AIM)


def _find_price(search: Search, tried: list[Pixels], share: float, observer: Observer) -> CellCoder:
    """The coder with which some images meet the goal. share : of all pixels that they are"""
    coder = search.first()
    for number in range(_TRIES):
        observer.on_step("search", number + 1, _TRIES)
        stop_if_asked(observer, None)
        counts, meter, bits = coder.counts(), _Meter(search.goal), 0.0
        for pixels in tried:
            tokens, own = coder.chosen(pixels, counts)
            meter.add(pixels, coder.decoded(tokens, pixels.shape))
            bits += own
        prior = coder.adapted(counts)
        off = search.off(meter.result(bits / share), _model_bytes(coder.model, prior))
        if (number and abs(off - AIM) < _CLOSE) or search.is_stuck(off):
            break
        coder = search.moved(coder, prior, off)
    search.settle(others=share < 1 or search.goal.archive_bytes is not None)  # then columns count, too
    return coder


def _encode_all(
    search: Search, coder: CellCoder, source: SizedSource, beside: Path | None, observer: Observer
) -> _Pass:
    """Encode every image of a source, and measure what a reader will decode."""
    counts, meter, columns, bits, done = coder.counts(), _Meter(search.goal), _ColumnBytes(), 0.0, 0
    spool = _TokenSpool(beside, coder.model.tokens_per_cell)
    for batch in source.batches(256):
        tokens, own = coder.chosen(batch.pixels, counts)
        meter.add(batch.pixels, coder.decoded(tokens, batch.pixels.shape))
        spool.append(tokens)
        columns.add(batch)
        bits += own
        done += len(batch)
        observer.on_step("encode", done, len(source))
        stop_if_asked(observer, None)
    if not done:
        raise SourceError(f"{source.description}: no image could be read ({skipped_words(source.skipped)})")
    prior = coder.adapted(counts)
    measured = meter.result(bits)
    off = search.off(measured, _model_bytes(coder.model, prior) + columns.size())
    return _Pass(coder, prior, spool, measured, off, search.meets(off))


class _Meter:
    """Measures what a goal is of."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._all, self._large = QualityMeter(with_ssim=False), QualityMeter()
        self._any_large = False

    def add(self, original: Pixels, decoded: Pixels) -> None:
        """Add images [n, H, W, C] and what a reader decodes."""
        if self._goal.ssim is not None and min(original.shape[1:3]) >= SSIM_WINDOW:
            if has_alpha(original):
                original = np.where(original[..., -1:] > 0, original, np.zeros_like(original))  # as it is decoded
            self._large.add(original, decoded)
            self._any_large = True
        else:
            self._all.add(original, decoded)

    def result(self, bits: float) -> Measured:
        """What was measured of all images, or of those that have a similarity."""
        if self._any_large:
            similarity = self._large.result().ssim_mean
            assert similarity is not None
            return Measured(1 - similarity, bits, True)
        quality = self._all.result()
        return Measured(quality.mse_mean if quality.seen is None else quality.seen.mse_mean, bits, False)


class _ColumnBytes:
    """About how many bytes the columns of an archive take, and what else there is for each image."""

    def __init__(self) -> None:
        self._packer, self._bytes, self._images = zlib.compressobj(9), 0, 0

    def add(self, batch: ImageBatch) -> None:
        """Count the names and fields of images."""
        values = [*(batch.names or ()), *(str(value) for field in batch.fields.values() for value in field)]
        self._bytes += len(self._packer.compress("\n".join(values).encode("utf-8", "replace")))
        self._images += len(batch)

    def size(self) -> float:
        """Bytes of all images so far. Nothing can be added afterwards."""
        return self._bytes + len(self._packer.flush()) + _BYTES_AN_IMAGE * self._images


_BYTES_AN_IMAGE = 0.5
"""What sizes, names and the parts of a block take for an image, besides its tokens."""

_BYTES_AN_ARCHIVE = 2_200


def _model_bytes(model: CellModel, prior: CellPrior) -> int:
    return len(model.to_bytes()) + len(prior.to_bytes()) + _BYTES_AN_ARCHIVE


def _tried_images(source: SizedSource) -> list[Pixels]:
    """An evenly spread part of a source: batches of images, or of windows of large ones."""
    areas = np.minimum(source.sizes, _WINDOW).prod(axis=1)
    every = max(1, int(areas.sum()) // TRIED_PIXELS)
    tried: list[Pixels] = []
    if isinstance(source, RandomAccessSource) and every > 1:
        entries = np.arange(min(every, len(source)) // 2, len(source), every)
        tried.extend(_windows(batch.pixels) for batch in source.batches_at(entries, 256))
    else:
        number = 0
        for batch in source.batches(256):
            chosen = [k for k in range(len(batch)) if (number + k) % every == min(every, len(source)) // 2 % every]
            if chosen:
                tried.append(_windows(batch.pixels[chosen]))
            number += len(batch)
    if not tried:
        first = next(iter(source.batches(1)), None)
        return [] if first is None else [_windows(first.pixels)]
    return tried


def _windows(pixels: Pixels) -> Pixels:
    """Images [n, H, W, C], or the middle of large ones."""
    top, left = (max(0, side - _WINDOW) // 64 * 32 for side in pixels.shape[1:3])
    return pixels[:, top : top + _WINDOW, left : left + _WINDOW].copy()


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
    source: SizedSource, spool: _TokenSpool, coder: CellCoder
) -> Iterator[tuple[ImageBatch, NDArray[np.uint16]]]:
    """Every batch of a source with its tokens."""
    spool.rewind()
    for batch in source.batches(256):
        rows, columns = coder.grid(*batch.pixels.shape[1:3])
        yield batch, spool.take(len(batch) * rows * columns)
    spool.close()
