"""Images to tokens without loss, or within an error. Every image is decoded and checked before it is written."""

from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.errors import ModelError
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.source import SizedSource
from smalti.training.pixels.levels import LevelTable

__all__ = ["exact_batches"]


def exact_batches(
    source: SizedSource, model: PixelModel, max_error: int
) -> Iterator[tuple[ImageBatch, NDArray[np.uint16]]]:
    """Every batch of a source with its tokens, uint16 [pixels, C]. ModelError if a sample would be further off."""
    tables = [LevelTable(values, int(np.iinfo(source.dtype).max)) for values in model.levels]
    for batch in source.batches(256):
        flat = batch.pixels.reshape(-1, source.channels)
        tokens = np.stack([table.nearest[flat[:, channel]] for channel, table in enumerate(tables)], 1)
        if model.hides:
            tokens[model.levels[-1][tokens[:, -1]] == 0, :-1] = 0
        grids = np.array([batch.pixels.shape[1:3]] * len(batch), np.int64)
        decoded = cast(Pixels, np.stack(model.decode(tokens, grids, 1)))
        if _largest_error(batch.pixels, decoded) > max_error:
            raise ModelError(
                "the model has no level for some samples of these images: it was fitted on others. Fit one on these, "
                "or leave --model out"
            )
        yield batch, tokens


def _largest_error(originals: Pixels, decoded: Pixels) -> int:
    above = np.maximum(originals, decoded)
    return int((above - np.minimum(originals, decoded)).max(initial=0))
