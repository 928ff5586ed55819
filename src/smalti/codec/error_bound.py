"""An error bound of every image by a largest error of its samples, which every kind of image can keep.

The mean squared error of an image is at most the square of that error, and about a third of it: so it is looked for.
Layer: part of `codec`.
"""

import math
from collections.abc import Sequence

import numpy as np

from smalti.images.quality import image_errors
from smalti.images.source import SizedSource
from smalti.training.lossless.exact_levels import exact_levels
from smalti.training.lossless.occurring import find_occurring
from smalti.training.observer import Observer, stop_if_asked

__all__ = ["SMALL_BOUND", "largest_error_within"]

SMALL_BOUND = 5e-4
"""Up to this bound, 33 dB, samples with an error take fewer bytes than a model and corrections of what it misses."""

_SMALLER = 0.9


def largest_error_within(sources: Sequence[SizedSource], max_mse: float, observer: Observer) -> int:
    """Return the largest error of samples with which no image is above a mean squared error of pixels in [0, 1].

    All images are read, twice or more often. SourceError if none can be read.
    """
    found = [_largest_error(source, max_mse, observer) for source in sources]
    return min(found)


def _largest_error(source: SizedSource, max_mse: float, observer: Observer) -> int:
    largest = int(np.iinfo(source.dtype).max)
    # errors from -E to E, all as likely, have a mean square of E * (E + 1) / 3
    error = int((math.sqrt(1 + 12 * max_mse * largest**2) - 1) / 2)
    occurring = find_occurring(source, observer)
    while error:
        levels, worst = exact_levels(occurring, error), 0.0
        for batch in source.batches(256):
            decoded = np.empty_like(batch.pixels)
            for channel, table in enumerate(levels.tables):
                decoded[..., channel] = table.values[table.nearest[batch.pixels[..., channel]]]
            worst = max(worst, float(image_errors(batch.pixels, decoded).max()))
            stop_if_asked(observer, None)
            if worst > max_mse:
                break
        if worst <= max_mse:
            return error
        error = min(error - 1, int(_SMALLER * error))
    return 0
