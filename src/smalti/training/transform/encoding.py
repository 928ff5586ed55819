"""Packing images with a fitted transform: tokens by distortion and bits, so that the whole collection meets a goal.

First some images are tried, to find the price of a bit and, if the goal is far from that of the fit, the size of the
steps; the tables of the prior are those of what was chosen. Then all images are encoded, and measured on what the
integer decoder makes of their tokens. If the goal is not met, this is done once more with another price.
"""

import math
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_prior import TransformPrior, unsigned
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.quality import SSIM_WINDOW, QualityMeter
from smalti.images.seen import has_alpha
from smalti.images.source import RandomAccessSource, SizedSource, refuse_skipped, skipped_words
from smalti.storage.spool import spool_file
from smalti.training.common.goal import Goal
from smalti.training.observer import Observer, stop_if_asked
from smalti.training.training_kind import BLOCK_PIXELS, REGION_PIXELS, EncodedCells, EncodeRequest
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.export import TableCounts
from smalti.training.transform.token_choice import choose_tokens

if TYPE_CHECKING:
    from smalti.training.transform.fitted_transform import FittedTransform

__all__ = ["encode_cells"]

TRIED_PIXELS = 3 << 19
"""Pixels of the images that the price is found on."""

_TRIES = 12
_PASSES = 5
_CLOSE = 0.004
"""How close to the goal a trial ends: the logarithm of the ratio of errors."""

_NEARLY = 0.012
"""A pass over all images is not repeated if it is better than the goal by at most this."""

_AIM = -_NEARLY / 2
_MET = 0.0002

_SLOPE = 2.5
"""By how much the logarithm of the price moves for that of the error (found on several sets)."""

_MOST_GAIN = 1.15
"""Steps are as in the fit if its error is within this factor squared of the goal."""

_PRICES = (-2.5, 0.7)
"""How far the logarithm of the price may be from that of the fit; beyond that the steps change. Low prices do less harm
than other steps: the prior knows the steps of its fit, and takes for certain what was nearly always 0 with these."""

_USUAL_PRICE = 0.7
"""About where the price begins again once the steps have changed."""

_ADAPTING = 3
"""Trials whose tables go by those before."""

_LARGEST_GAIN = 64.0
_STUCK = 1e-3
_MOST_SAME = 2
_FAR = 0.03
"""A goal that is farther off, and that a pass does not come closer to, is out of reach."""

_INTERPOLATED = 5

_UNIT_PIXELS = 1 << 18
"""Pixels of images that are coded at once."""

_WINDOW = 1024
"""Of larger images a window of this side is tried."""

_LEAST_ERROR = 1e-9
_MSE_WITHOUT_SSIM = 10**-3.6


@dataclass(frozen=True)
class _Measured:
    """What an encoding comes to.

    error : the mean squared error, over what is seen if there is alpha; or 1 - SSIM, if `has_ssim`
    bits : of all tokens
    """

    error: float
    bits: float
    has_ssim: bool


@dataclass(frozen=True, eq=False)
class _Coder:
    """Encodes batches of images.

    price : of a bit    gain : the steps are those of the fit times this
    """

    encoder: CellEncoder
    model: TransformModel
    prior: TransformPrior
    price: float
    gain: float
    threads: int
    ratio: float

    def counts(self) -> TableCounts:
        """Counts of nothing for the tables of the prior."""
        return TableCounts(self.prior.scales, self.ratio)

    def chosen(self, pixels: Pixels, counts: TableCounts) -> tuple[NDArray[np.uint16], float]:
        """Tokens [cells, M] of images [n, H, W, C], and about how many bits they take. Their codes are counted."""
        values, weights = self.encoder.values(pixels), self.encoder.weights(pixels)

        def work(units: list[_Unit]) -> tuple[NDArray[np.int64], NDArray[np.int32], float, TableCounts]:
            cells = np.concatenate([unit.cells for unit in units])
            grids, counted = np.array([unit.grid for unit in units], np.int64), counts.empty()
            some = weights if weights.ndim == 1 else weights[cells]
            made = choose_tokens(self.prior, values[cells], grids, some, self.price, counted)
            return cells, made.coefficients, made.bits, counted

        works = _works(_units(len(pixels), self.encoder.grid(*pixels.shape[1:3]), self.model.cell), self.model.cell)
        tokens, bits = np.empty(values.shape, np.uint16), 0.0
        with ThreadPoolExecutor(self.threads) as pool:
            for cells, coefficients, own, counted in pool.map(work, works):
                tokens[cells] = unsigned(coefficients)
                bits += own
                counts.merge(counted)
        return tokens, bits

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
    share = sum(stack[..., 0].size for stack in tried) / max(1, int(source.sizes.prod(axis=1).sum()))
    search = _Search(fitted, goal)
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
        far = goal.archive_bytes is None and abs(made.off) > _FAR and abs(made.off - was) < 0.2 * abs(made.off)
        was = made.off
        if -_NEARLY <= made.off <= 0 or last or far:
            break
        stuck = search.is_stuck(made.off)
        last = stuck or number + 2 >= _PASSES
        if stuck and best.met:
            break
        to_be_safe = last and not best.met
        coder = search.safe(coder, made.off) if to_be_safe else search.moved(coder, made.prior, made.off)
    assert best is not None
    batches = _from_spool(source, best.spool, best.coder.encoder)
    return EncodedCells(best.coder.model, best.prior, batches, search.missed_words(best))


@dataclass(frozen=True, eq=False)
class _Pass:
    """All tokens of a source, and how far they are off the goal. prior : with the tables for them"""

    coder: _Coder
    prior: TransformPrior
    spool: "_TokenSpool"
    measured: _Measured
    off: float
    met: bool

    def is_better_than(self, other: "_Pass") -> bool:
        """Whether it meets the goal and the other does not; else, whether it is closer."""
        return self.met if self.met != other.met else abs(self.off - _AIM) < abs(other.off - _AIM)


class _Search:
    """Looks for the price, and if need be for the steps, with which a goal is met.

    goal : a mean squared error, a size, or a similarity
    """

    def __init__(self, fitted: "FittedTransform", goal: Goal) -> None:
        self._fitted, self.goal = fitted, goal
        self._was, self._same, self._stuck, self._adapting = math.inf, 0, False, _ADAPTING
        self._points: list[tuple[float, float]] = []  # offsets, and the logarithms of the prices, of the same steps

    def first(self) -> _Coder:
        """The coder of the fit, or one whose steps suit a goal that is far from it."""
        wanted, gain = self.goal.unit_mse(self._fitted.scale), 1.0
        if wanted is not None:
            ratio = (wanted / max(self._fitted.mse, _LEAST_ERROR)) ** 0.5
            gain = 1.0 if 1 / _MOST_GAIN < ratio < _MOST_GAIN else ratio
        return self._coder(self._fitted.prior, gain, 0.0)

    def off(self, measured: _Measured, overhead_bytes: float) -> float:
        """The logarithm of the ratio of error to the goal: above 0, the error is too large.

        For a goal in bytes, -NEARLY stands for exactly so many, and below it there are too many.
        """
        goal = self.goal
        if goal.archive_bytes is not None:
            left = max(goal.archive_bytes - overhead_bytes, 8.0)  # the model alone may take more
            return 0.7 * math.log(left / max(measured.bits / 8, 1.0)) - _NEARLY
        wanted = goal.mse if goal.ssim is None else 1 - goal.ssim
        assert wanted is not None
        if goal.ssim is not None and not measured.has_ssim:
            wanted = _MSE_WITHOUT_SSIM
        return math.log(max(measured.error, _LEAST_ERROR) / wanted)

    def is_stuck(self, off: float) -> bool:
        """Whether the last moves made no difference: then the goal is out of reach, or the images cost nothing."""
        self._same = self._same + 1 if abs(off - self._was) < _STUCK else 0
        self._stuck = self._stuck or self._same >= _MOST_SAME
        return self._stuck

    def settle(self, others: bool) -> None:
        """Keep the tables to go by. others : what follows is measured on other images"""
        self._was, self._adapting = math.inf, 0
        if others:
            self._points.clear()

    def safe(self, coder: _Coder, off: float) -> _Coder:
        """The coder of the price that met the goal most closely, as it was measured; else one with safe steps."""
        met = [relative for off, relative in self._points if self.meets(off)]
        if not met:
            relative = 0.0 if coder.price == 0 else math.log(coder.price / self._natural_price(coder.gain))
            return self._coder(coder.prior, coder.gain * math.exp(float(np.clip(_AIM - off, -0.3, 0.3))), relative)
        return self._coder(coder.prior, coder.gain, max(met) if self.goal.archive_bytes is None else min(met))

    def meets(self, off: float) -> bool:
        """Whether a goal is met by what is off by this."""
        return off <= 0 if self.goal.archive_bytes is None else off >= -_NEARLY

    def moved(self, coder: _Coder, prior: TransformPrior, off: float) -> _Coder:
        """The coder that should be off by `_AIM`, if this one is off by `off`. prior : with tables for its tokens

        While tables go by what was chosen, the same price gives other tokens each time. So they change a few times
        only; then the price is between the closest one that is too high and the closest one that is too low.
        """
        self._was = off
        adapts = self._adapting > 0
        if adapts:
            self._adapting -= 1
            self._points.clear()
        else:
            prior = coder.prior
        if coder.price == 0:
            return self._coder(prior, coder.gain * math.exp(float(np.clip((_AIM - off) / 2, -1, 1))), 0.0)
        relative = math.log(coder.price / self._natural_price(coder.gain))
        if not adapts:  # else it was measured with other tables
            self._points.append((off, relative))
        low = max((point[::-1] for point in self._points if point[0] <= _AIM), default=None)
        high = min((point[::-1] for point in self._points if point[0] > _AIM), default=None)
        if low is not None and high is not None and low[0] < high[0]:
            share = float(np.clip((_AIM - low[1]) / (high[1] - low[1]), 0.1, 0.9))
            share = share if len(self._points) < _INTERPOLATED else 0.5
            return self._coder(prior, coder.gain, low[0] + share * (high[0] - low[0]))
        slope = _SLOPE
        if len(self._points) > 1 and abs(off - self._points[-2][0]) > _STUCK:
            slope = 1.2 * float(np.clip((relative - self._points[-2][1]) / (off - self._points[-2][0]), 1, 40))
        wanted = relative + float(np.clip(slope * (_AIM - off), -1.5, 1.5))
        if not self._same and min(_PRICES[0], relative) <= wanted <= max(_PRICES[1], relative):
            return self._coder(prior, coder.gain, wanted)
        self._adapting = max(1, self._adapting)
        self._points.clear()
        gain = coder.gain * math.exp(float(np.clip((_AIM - off) / 2, -1, 1)))
        return self._coder(prior, gain, float(np.clip(relative, -_USUAL_PRICE, _USUAL_PRICE)))

    def missed_words(self, made: _Pass) -> str | None:
        """What to tell the user of a goal that is not met; None if it is."""
        goal, off = self.goal, made.off
        if goal.archive_bytes is not None:
            return f"the archive takes more than {goal.archive_bytes:,} bytes" if off < -_NEARLY - _MET else None
        if goal.ssim is not None and not made.measured.has_ssim:
            return "images smaller than 7x7 pixels have no SSIM, and there are no others: the target is a PSNR of 36 dB"
        if off <= _MET:
            return None
        if goal.mse is not None:
            found = goal.missed_words(made.measured.error, goal.mse)
        else:
            found = f"the mean SSIM is {1 - made.measured.error:.4f}, not {goal.ssim:g}"
        if off > _FAR and goal != self._fitted.settings.goal:
            return f"{found}: a model that is fitted with this target may reach it"
        return found

    def _natural_price(self, gain: float) -> float:
        return self._fitted.price * gain**2

    def _coder(self, prior: TransformPrior, gain: float, relative: float) -> _Coder:
        """A coder with steps, and a price relative to that which suits them."""
        gain = float(np.clip(gain, 1 / _LARGEST_GAIN, _LARGEST_GAIN))
        encoder, model = self._fitted.with_gain(gain)
        price = self._natural_price(gain) * math.exp(relative) if self._fitted.settings.optimised else 0.0
        ratio = self._fitted.learned.shape.ratio
        return _Coder(encoder, model, prior, price, gain, torch.get_num_threads(), ratio)


def _find_price(search: _Search, tried: list[Pixels], share: float, observer: Observer) -> _Coder:
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
        prior = TransformPrior(coder.prior.network, counts.tables())
        off = search.off(meter.result(bits / share), _model_bytes(coder.model, prior))
        if (number and abs(off - _AIM) < _CLOSE) or search.is_stuck(off):
            break
        coder = search.moved(coder, prior, off)
    search.settle(others=share < 1 or search.goal.archive_bytes is not None)  # then columns count, too
    return coder


def _encode_all(search: _Search, coder: _Coder, source: SizedSource, beside: Path | None, observer: Observer) -> _Pass:
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
    prior = TransformPrior(coder.prior.network, counts.tables())
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

    def result(self, bits: float) -> _Measured:
        """What was measured of all images, or of those that have a similarity."""
        if self._any_large:
            similarity = self._large.result().ssim_mean
            assert similarity is not None
            return _Measured(1 - similarity, bits, True)
        quality = self._all.result()
        return _Measured(quality.mse_mean if quality.seen is None else quality.seen.mse_mean, bits, False)


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


def _model_bytes(model: TransformModel, prior: TransformPrior) -> int:
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


@dataclass(frozen=True, eq=False)
class _Unit:
    """An image, or a region of a large one: it is coded alone. cells : its cells among those of a batch"""

    cells: NDArray[np.int64]
    grid: tuple[int, int]


def _units(images: int, grid: tuple[int, int], cell: int) -> list[_Unit]:
    """The units of images of one grid of cells, in the order and of the sizes that an archive has."""
    rows, columns = grid
    numbers = np.arange(images * rows * columns).reshape(images, rows, columns)
    if rows * columns <= BLOCK_PIXELS // cell**2:
        return [_Unit(image.ravel(), grid) for image in numbers]
    side = math.isqrt(REGION_PIXELS // cell**2)
    parts = [
        image[top : top + side, left : left + side]
        for image in numbers
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]
    return [_Unit(part.ravel(), (part.shape[0], part.shape[1])) for part in parts]


def _works(units: list[_Unit], cell: int) -> list[list[_Unit]]:
    """Units in a row that are coded at once."""
    works: list[list[_Unit]] = []
    left = 0
    for unit in units:
        if left < len(unit.cells):
            works.append([])
            left = max(_UNIT_PIXELS // cell**2, len(unit.cells))
        works[-1].append(unit)
        left -= len(unit.cells)
    return works


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
