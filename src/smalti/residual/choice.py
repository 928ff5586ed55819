"""Choose the residuals that bring an image within its error bound in the fewest bits, by an estimate of their cost.

The errors of a decoder are heavy-tailed. So the cheapest residuals of an image just beyond the bound touch few of its
pixels: those that remove most squared error per bit. Only the writer needs this; floats may decide.

Layer: within `residual`, above `residuals`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.images.batch import Pixels
from smalti.residual.modes import CONTEXTS, EXACT, MODES, STORED, contexts_of, exact, predict, steps_of, to_symbols
from smalti.residual.residuals import ResidualCounts, Residuals, squared_errors, wide_type
from smalti.residual.symbol_classes import class_count, classes_of, further_bits

__all__ = ["ResidualEstimator", "choose_residuals"]


_TRIED_IMAGES = 256  # the first images teach the estimator every mode tried for them, later ones their chosen mode
_GROWTH = 1.25  # bits are estimated anew when the number of counted symbols has grown by this factor
_EXPECTED_SYMBOLS = 8.0  # weight, in symbols, of the expectation for a cell before anything is counted in it


class ResidualEstimator:
    """The bits that modes and symbols cost, learned from the residuals of earlier images.

    dtype : of pixels and symbols
    classes : number of classes of symbols
    mode_bits : float32 [MODES]
    bits : float32 [MODES, CONTEXTS * classes], of each class of symbols in each context, with its further bits
    """

    def __init__(self, dtype: DTypeLike = np.uint8) -> None:
        self._counts = ResidualCounts(dtype)
        self.classes = class_count(dtype)
        self._further = further_bits(dtype).astype(np.float32)
        self._expected = _expected_frequencies(self.classes)
        self._tried_images = 0
        self.update()

    @property
    def is_new(self) -> bool:
        """Whether nothing has been learned yet."""
        return self._tried_images == 0

    @property
    def learns_all(self) -> bool:
        """Whether to learn from every mode that is tried, and not only from the chosen one."""
        return self._tried_images < _TRIED_IMAGES

    def learn_symbols(self, mode: int, contexts: NDArray[np.uint8], symbols: Pixels) -> None:
        """Learn from symbols of one mode and their contexts, arrays of the same shape."""
        pairs = contexts.ravel().astype(np.intp) * self.classes + classes_of(symbols).ravel()
        counts = np.bincount(pairs, minlength=CONTEXTS * self.classes).reshape(CONTEXTS, self.classes)
        self._counts.symbols[mode * CONTEXTS : (mode + 1) * CONTEXTS] += counts

    def learn_modes(self, modes: NDArray[np.uint8]) -> None:
        """Learn from the chosen modes of images, uint8 [n], whose symbols have been learned already."""
        self._counts.modes += np.bincount(modes, minlength=MODES)
        self._tried_images += int(np.count_nonzero(modes))
        if self._counts.symbols.sum() > self._learned_symbols * _GROWTH:
            self.update()

    def update(self) -> None:
        """Estimate all bits from the counts."""
        counts = self._counts.symbols.reshape(MODES, CONTEXTS, self.classes)
        pooled = counts.sum(axis=1, keepdims=True) + _EXPECTED_SYMBOLS * self._expected[:, None, :]
        pooled /= pooled.sum(axis=2, keepdims=True)
        weights = (counts + _EXPECTED_SYMBOLS * pooled).astype(np.float32)
        bits = np.log2(weights.sum(axis=2, keepdims=True)) - np.log2(weights)
        self.bits = (bits + self._further).reshape(MODES, -1)
        modes = self._counts.modes + 0.5
        self.mode_bits = (np.log2(modes.sum()) - np.log2(modes)).astype(np.float32)
        self._learned_symbols = int(counts.sum())


def _expected_frequencies(classes: int) -> NDArray[np.float64]:
    """The frequencies of each mode's symbols that are expected before any are counted: float64 [MODES, classes]."""
    expected = np.full((MODES, classes), 1.0 / classes)
    falling = 1.0 / (np.arange(classes) + 1.0) ** 2
    expected[EXACT + 1 :] = 0.8 * falling / falling.sum() + 0.2 / classes
    return expected


_LEAST_BITS = 0.05  # assumed least price of a level, so that cheap levels are ordered by their gains


def choose_residuals(original: Pixels, base: Pixels, max_sse: int, estimator: ResidualEstimator) -> Residuals:
    """Choose residuals that bring every image within the error bound, in the fewest bits by the estimator.

    original, base : uint8 or uint16 [n, H, W, C], the images and the decoder's images of their tokens
    max_sse : int >= 0, the error bound as a sum of squared errors, from `max_squared_error`
    estimator : of the same dtype; it learns from the images

    The result depends only on the images that the estimator has seen, in their order and batches.
    """
    modes = np.zeros(len(original), np.uint8)
    beyond = np.flatnonzero(squared_errors(original, base) > max_sse)
    if not len(beyond):
        return Residuals(modes, np.zeros((0, *original.shape[1:]), original.dtype))
    if estimator.is_new:  # it learns from the first images before it judges them
        _Search(original[beyond], base[beyond], max_sse, estimator)
        estimator.update()
    search = _Search(original[beyond], base[beyond], max_sse, estimator)
    if not estimator.learns_all:
        search.learn_chosen()
    modes[beyond] = search.modes
    estimator.learn_modes(modes)
    return Residuals(modes, search.symbols)


class _Search:
    """Images beyond the error bound, and the cheapest residuals found for each.

    modes : uint8 [r]
    symbols : [r, H, W, C]
    """

    def __init__(self, original: Pixels, base: Pixels, max_sse: int, estimator: ResidualEstimator) -> None:
        self._estimator = estimator
        self._contexts = contexts_of(base)
        self._no_contexts = np.zeros_like(self._contexts)
        self._bits = np.full(len(base), np.inf)
        self.modes = np.zeros(len(base), np.uint8)
        self.symbols = np.zeros_like(base)
        for mode in STORED:
            self._try_dense(mode, predict(mode, original))
        self._try_dense(EXACT, exact(original, base))
        pixels = _Pixels.of(original, base, self._contexts, estimator.classes, max_sse)
        finest = (max_sse / base[0].size) ** 0.5  # a step below the allowed error never pays
        for mode, step in steps_of(base.dtype).items() if max_sse else ():
            if step >= finest:
                self._try_sparse(mode, step, pixels)

    def learn_chosen(self) -> None:
        """Teach the estimator the chosen residuals."""
        for mode in np.unique(self.modes).tolist():
            rows = self.modes == mode
            self._estimator.learn_symbols(mode, self._contexts_in(mode)[rows], self.symbols[rows])

    def _contexts_in(self, mode: int) -> NDArray[np.uint8]:
        return self._no_contexts if mode in STORED else self._contexts

    def _try_dense(self, mode: int, symbols: Pixels) -> None:
        """Try symbols that give every image exactly."""
        contexts = self._contexts_in(mode)
        pairs = contexts.astype(np.intp) * self._estimator.classes + classes_of(symbols)
        bits = self._estimator.bits[mode].take(pairs).reshape(len(symbols), -1).sum(axis=1, dtype=np.float64)
        if self._estimator.learns_all:
            self._estimator.learn_symbols(mode, contexts, symbols)
        self._keep_better(mode, bits, symbols)

    def _try_sparse(self, mode: int, step: int, pixels: "_Pixels") -> None:
        """Try levels of one step, as few as needed, for the images for which they suffice."""
        chosen = _sparse_levels(step, self._estimator.bits[mode].reshape(CONTEXTS, -1), pixels)
        symbols = np.zeros_like(self.symbols)
        symbols.ravel()[chosen.positions] = chosen.symbols
        if self._estimator.learns_all and chosen.sufficient.any():
            self._estimator.learn_symbols(mode, self._contexts[chosen.sufficient], symbols[chosen.sufficient])
        self._keep_better(mode, np.where(chosen.sufficient, chosen.bits, np.inf), symbols)

    def _keep_better(self, mode: int, bits: NDArray[np.float64], symbols: Pixels) -> None:
        bits = bits + self._estimator.mode_bits[mode]
        better = bits < self._bits
        self._bits[better] = bits[better]
        self.modes[better] = mode
        self.symbols[better] = symbols[better]


@dataclass(frozen=True)
class _Pixels:
    """The pixels of all images, flattened.

    dtype : of the images
    original, base, errors : [r * P], int32, or int64 for 16 bits, whose squares are larger
    pairs : int32 [r * P], context times the number of classes
    surplus : int64 [r], squared error of each image beyond the bound
    contexts_seen : float64 [r, CONTEXTS], number of pixels of each image in each context
    """

    dtype: np.dtype[Any]
    original: NDArray[np.signedinteger]
    base: NDArray[np.signedinteger]
    errors: NDArray[np.signedinteger]
    pairs: NDArray[np.int32]
    surplus: NDArray[np.int64]
    contexts_seen: NDArray[np.float64]

    @classmethod
    def of(cls, original: Pixels, base: Pixels, contexts: NDArray[np.uint8], classes: int, max_sse: int) -> "_Pixels":
        seen = [np.bincount(image.ravel(), minlength=CONTEXTS) for image in contexts]
        wide = wide_type(base)
        flat: NDArray[np.signedinteger] = original.ravel().astype(wide)
        flat_base: NDArray[np.signedinteger] = base.ravel().astype(wide)
        return cls(
            base.dtype,
            flat,
            flat_base,
            np.subtract(flat, flat_base),
            contexts.ravel().astype(np.int32) * classes,
            squared_errors(original, base) - max_sse,
            np.array(seen, np.float64),
        )


@dataclass(frozen=True)
class _SparseLevels:
    """The levels of one step that are not 0: their positions among all pixels, and their symbols.

    bits : float64 [r], of all symbols of each image
    sufficient : bool [r], whether they bring the image within the bound
    """

    positions: NDArray[np.intp]
    symbols: Pixels
    bits: NDArray[np.float64]
    sufficient: NDArray[np.bool_]


def _sparse_levels(step: int, bits: NDArray[np.float32], pixels: _Pixels) -> _SparseLevels:
    """For each image, the levels that gain most per bit, the best first, until it is within the bound.

    bits : of a mode, [CONTEXTS, classes]
    """
    largest = int(np.iinfo(pixels.dtype).max)
    positions = np.flatnonzero(2 * np.abs(pixels.errors) > step)
    errors, pairs = pixels.errors[positions], pixels.pairs[positions]
    levels = np.sign(errors) * np.minimum((np.abs(errors) + step // 2) // step, largest // 2)
    symbols = to_symbols(levels, pixels.dtype)
    remaining = pixels.original[positions] - np.clip(pixels.base[positions] + step * levels, 0, largest)
    gains = np.square(errors) - np.square(remaining)
    price = bits.ravel()[pairs + classes_of(symbols)] - bits.ravel()[pairs]
    images = len(pixels.surplus)
    image_of = positions // (len(pixels.errors) // images)
    taken, sufficient = _until_enough(image_of, gains, gains / np.maximum(price, _LEAST_BITS), pixels.surplus)
    spent = np.bincount(image_of[taken], price[taken], minlength=images)
    all_bits = pixels.contexts_seen @ bits[:, 0].astype(np.float64) + spent
    return _SparseLevels(positions[taken], symbols[taken], all_bits, sufficient)


def _until_enough(
    image_of: NDArray[np.intp],
    gains: NDArray[np.signedinteger],
    worth: NDArray[np.floating],
    surplus: NDArray[np.int64],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The items to take, the worthiest of each image first, until gains reach its surplus; and whether they reach it.

    image_of : the image of each item, ascending
    """
    order = np.lexsort((-worth, image_of))
    reached = np.concatenate([[0], np.cumsum(gains[order], dtype=np.int64)])
    bounds = np.searchsorted(image_of, np.arange(len(surplus) + 1))
    before = reached[:-1] - reached[bounds[:-1]][image_of]
    taken = order[before < surplus[image_of]]
    return taken, reached[bounds[1:]] - reached[bounds[:-1]] >= surplus
