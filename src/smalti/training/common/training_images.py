"""The images of a fit, shuffled by seed and epoch: a small set in memory, a large one in a temporary file.

Also here: the checks that the ranks of a fit start from equal images and end with equal numbers, bit for bit.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.errors import ModelError, SourceError
from smalti.images.batch import Pixels
from smalti.images.source import ImageSource
from smalti.storage.spooled_rows import SpooledRows
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.scaling import EIGHT_BITS, PixelScale

__all__ = ["TrainingImages", "check_equal", "check_same_images", "to_unit_range"]


IN_MEMORY_BYTES = 256 << 20
"""A larger set goes into an unnamed temporary file, so that memory does not grow with it."""

READ_BATCH = 1024


class TrainingImages:
    """Random access to every image of a source, as float batches [n, C, H, W] in [0, 1].

    scale : the pixel scale of a model that is already fitted; None for the scale of these images
    beside : the output; a large set goes into its folder. None for the system's temporary folder
    image_shape : height, width, channels
    fingerprint : SHA-256 of all pixels, so that a resumed fit can check that its images are the same
    """

    def __init__(self, source: ImageSource, scale: PixelScale | None = None, beside: Path | None = None) -> None:
        self.image_shape = source.image_shape
        self.pixels, own_scale, self.fingerprint = _read(source, beside)
        if not len(self.pixels):
            raise SourceError(f"{source.description} holds no readable image; name a folder, .npy or IDX with images")
        self.scale = own_scale if scale is None else scale

    def __len__(self) -> int:
        return len(self.pixels)

    def steps_per_epoch(self, batch_images: int) -> int:
        """Return the number of batches in an epoch; the last may be shorter."""
        return -(-len(self) // batch_images)

    def batch_size(self, batch_images: int, step: int) -> int:
        """Return the number of images in batch `step` (from 0) of an epoch, on all ranks together."""
        return min(batch_images, len(self) - step * batch_images)

    def epoch(
        self, batch_images: int, seed: int, epoch: int, first_step: int = 0, group: ProcessGroup = ALONE
    ) -> Iterator[Tensor]:
        """Yield an epoch's batches from `first_step` on. Their order depends only on seed and epoch.

        group : the ranks that share each batch; a rank's part may be empty
        """
        order = np.random.default_rng((seed, epoch)).permutation(len(self))
        for start in range(first_step * batch_images, len(self), batch_images):
            yield self.batch(group.part(order[start : start + batch_images]))

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the images at `indices`."""
        return to_unit_range(self.pixels[indices], self.scale)

    def sample(self, count: int, seed: int) -> Pixels:
        """Draw `count` images (all, if there are fewer) without repeats: [n, H, W, C]."""
        drawn = np.random.default_rng(seed).permutation(len(self))[:count]
        return self.pixels[np.sort(drawn)]


def to_unit_range(pixels: Pixels, scale: PixelScale = EIGHT_BITS) -> Tensor:
    """Return pixels [n, H, W, C] as float32 [n, C, H, W] in [0, 1]."""
    return torch.from_numpy(scale.to_unit(pixels)).permute(0, 3, 1, 2)


def _read(source: ImageSource, beside: Path | None) -> tuple[Pixels | SpooledRows, PixelScale, str]:
    """Read all images of a source; return them, their scale, and the SHA-256 of their pixels."""
    shape = (len(source), *source.image_shape)
    dtype: np.dtype[Any] = source.dtype
    large = dtype.itemsize * np.prod(shape, dtype=np.int64) > IN_MEMORY_BYTES
    pixels: Pixels | SpooledRows = np.empty((0, *source.image_shape) if large else shape, dtype)
    if large:
        pixels = SpooledRows(len(source), source.image_shape, dtype, beside)
    digest = hashlib.sha256(repr(source.image_shape).encode())
    if dtype != np.uint8:
        digest.update(str(dtype).encode())
    count, low, high = 0, int(np.iinfo(dtype).max), 0
    for batch in source.batches(READ_BATCH):
        pixels[count : count + len(batch)] = batch.pixels
        digest.update(batch.pixels.tobytes())
        count += len(batch)
        if dtype != np.uint8:
            low, high = min(low, int(batch.pixels.min())), max(high, int(batch.pixels.max()))
    if isinstance(pixels, SpooledRows):
        pixels.shorten(count)
    else:
        pixels = pixels[:count]
    return pixels, PixelScale.of_range(dtype, low, high), digest.hexdigest()


def check_same_images(images: TrainingImages, group: ProcessGroup) -> None:
    """Raise SourceError if two ranks have different images."""
    if len(set(group.texts(images.fingerprint))) > 1:
        raise SourceError("the ranks have read different images; let every machine read the same source")


def check_equal(tensors: dict[str, Tensor], group: ProcessGroup) -> None:
    """Raise ModelError, naming the tensors, if any tensor has different bits on two ranks."""
    if group.size == 1:
        return
    own = torch.tensor([[_digest(tensor) for tensor in tensors.values()]])
    everywhere = group.gather(own)
    differing = [name for name, digests in zip(tensors, everywhere.T, strict=True) if len(digests.unique()) > 1]
    if differing:
        raise ModelError(
            f"the ranks have learned different numbers in {', '.join(differing)}; "
            "fit on machines of one kind, with one release of torch and one number of threads"
        )


def _digest(tensor: Tensor) -> int:
    """The first 63 bits of a SHA-256."""
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return int.from_bytes(hashlib.sha256(values.tobytes()).digest()[:8]) >> 1
