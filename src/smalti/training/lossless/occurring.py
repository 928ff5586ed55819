"""Which samples a collection has: a pass over all images, before a lossless fit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.seen import ALPHA_CHANNELS
from smalti.images.source import SizedSource, skipped_words
from smalti.training.cells.samples import Samples
from smalti.training.observer import Observer, stop_if_asked

__all__ = ["Occurring", "find_occurring", "occurring_in"]


@dataclass(frozen=True, eq=False)
class Occurring:
    """counts : int64 [C, largest + 1], how often each sample occurs in each channel
    hides : whether there is alpha, and all colours are 0 where it is 0
    pixels : of all images
    """

    counts: NDArray[np.int64]
    hides: bool
    pixels: int


def find_occurring(source: SizedSource, observer: Observer) -> Occurring:
    """Look at every image. SourceError if none can be read."""
    largest = int(np.iinfo(source.dtype).max)
    counts = np.zeros((source.channels, largest + 1), np.int64)
    hides, pixels, done = source.channels in ALPHA_CHANNELS, 0, 0
    for batch in source.batches(256):
        flat = batch.pixels.reshape(-1, source.channels)
        for channel in range(source.channels):
            counts[channel] += np.bincount(flat[:, channel], minlength=largest + 1)
        hides = hides and not flat[flat[:, -1] == 0, :-1].any()
        pixels += len(flat)
        done += len(batch)
        observer.on_step("read", done, len(source))
        stop_if_asked(observer, None)
    if not pixels:
        raise SourceError(f"{source.description}: no image could be read ({skipped_words(source.skipped)})")
    return Occurring(counts, hides, pixels)


def occurring_in(samples: Samples) -> Occurring:
    """What occurs in a part of a collection."""
    first = samples.pictures[0].pixels
    largest, channels = int(np.iinfo(first.dtype).max), first.shape[2]
    counts = np.zeros((channels, largest + 1), np.int64)
    for picture in samples.pictures:
        for channel in range(channels):
            counts[channel] += np.bincount(picture.pixels[..., channel].ravel(), minlength=largest + 1)
    return Occurring(counts, channels in ALPHA_CHANNELS, samples.pixels)
