"""The images of a fit, shuffled by seed and epoch: in memory while they are few, else in a temporary file."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.errors import SourceError
from smalti.images.batch import Pixels
from smalti.images.source import ImageSource
from smalti.training.distributed import ALONE, Group
from smalti.training.scaling import EIGHT_BITS, PixelScale
from smalti.training.spooling import SpooledPixels

__all__ = ["TrainingImages", "to_unit_range"]

IN_MEMORY_BYTES = 256 << 20
"""A set above this size is kept in an unnamed temporary file, so that memory does not grow with it."""

READ_BATCH = 1024


class TrainingImages:
    """Random access to every image of a source, as float batches [n, C, H, W] in [0, 1].

    scale : what of pixels is 0 to 1, for a model that was fitted before; None for that of these images
    image_shape : height, width, channels
    fingerprint : SHA-256 of all pixels, so that a resumed fit can tell that its images are the same
    """

    def __init__(self, source: ImageSource, scale: PixelScale | None = None) -> None:
        self.image_shape = source.image_shape
        self.pixels, own_scale, self.fingerprint = _read(source)
        if not len(self.pixels):
            raise SourceError(f"{source.description} holds no readable image; name a folder, .npy or IDX with images")
        self.scale = own_scale if scale is None else scale

    def __len__(self) -> int:
        return len(self.pixels)

    def steps_per_epoch(self, batch_images: int) -> int:
        """Return the batches of an epoch; the last may be shorter."""
        return -(-len(self) // batch_images)

    def batch_size(self, batch_images: int, step: int) -> int:
        """Return the images of an epoch's batch `step`, from 0, on all ranks together."""
        return min(batch_images, len(self) - step * batch_images)

    def epoch(
        self, batch_images: int, seed: int, epoch: int, first_step: int = 0, group: Group = ALONE
    ) -> Iterator[Tensor]:
        """Yield an epoch's batches from `first_step` on, in an order that depends on seed and epoch alone.

        group : its ranks share each batch; a rank's part may be empty
        """
        order = np.random.default_rng((seed, epoch)).permutation(len(self))
        for start in range(first_step * batch_images, len(self), batch_images):
            yield self.batch(group.part(order[start : start + batch_images]))

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the images at `indices`."""
        return to_unit_range(self.pixels[indices], self.scale)

    def sample(self, count: int, seed: int) -> Pixels:
        """Return `count` images (all, if there are fewer), drawn without repeats: [n, H, W, C]."""
        drawn = np.random.default_rng(seed).permutation(len(self))[:count]
        return self.pixels[np.sort(drawn)]


def to_unit_range(pixels: Pixels, scale: PixelScale = EIGHT_BITS) -> Tensor:
    """Return pixels [n, H, W, C] as float32 [n, C, H, W] in [0, 1]."""
    return torch.from_numpy(scale.to_unit(pixels)).permute(0, 3, 1, 2)


def _read(source: ImageSource) -> tuple[Pixels | SpooledPixels, PixelScale, str]:
    """Read all images of a source; return them, their scale, and the SHA-256 of their pixels."""
    shape = (len(source), *source.image_shape)
    dtype: np.dtype[Any] = source.dtype
    spool: SpooledPixels | None = None
    pixels: Pixels = np.empty(0, dtype)
    if dtype.itemsize * np.prod(shape, dtype=np.int64) <= IN_MEMORY_BYTES:
        pixels = np.empty(shape, dtype)
    else:
        spool = SpooledPixels(source.image_shape, dtype)
    digest = hashlib.sha256(repr(source.image_shape).encode())
    if dtype != np.uint8:
        digest.update(str(dtype).encode())
    count, low, high = 0, int(np.iinfo(dtype).max), 0
    for batch in source.batches(READ_BATCH):
        if spool is None:
            pixels[count : count + len(batch)] = batch.pixels
        else:
            spool.append(batch.pixels)
        digest.update(batch.pixels.tobytes())
        count += len(batch)
        if dtype != np.uint8:
            low, high = min(low, int(batch.pixels.min())), max(high, int(batch.pixels.max()))
    kept = pixels[:count] if spool is None else spool
    return kept, PixelScale.of_range(dtype, low, high), digest.hexdigest()
