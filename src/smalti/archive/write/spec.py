"""The specification of an archive to be written."""

import math
from dataclasses import dataclass, replace

from smalti.archive.format.header import DTYPES, MAX_BLOCK_IMAGES, MAX_CODES, MAX_GRID, decoded_type
from smalti.archive.format.limits import Limits
from smalti.archive.recovery.parity import RecoverySpec
from smalti.decoders.contract import TokenSpec
from smalti.decoders.layers.integer_network import PixelType
from smalti.errors import UsageError

__all__ = ["ArchiveSpec"]

_BLOCK_IMAGES = 1024
_BLOCK_PIXEL_BYTES = 64 << 20


@dataclass(frozen=True)
class ArchiveSpec:
    """What is known of an archive before its first image.

    image_shape : (H, W, C), C from 1 to 4: the top left part of the network's output for a token grid
    token_grid : (h, w) tokens of an image; (1, T) if the decoder is a pyramid
    codebook_size : K, 2 to 65,536; for a pyramid the codes of all levels together
    profile : the name of the settings it is made with, for people
    block_images : images per token block, the unit of damage and of random access; None for 1,024 (4,096 if the
        decoder is a pyramid, whose blocks are smaller), or as many as have 64 MB of pixels
    class_names : the name of each label 0, 1, ..., or None
    provenance : pairs of strings for people, such as ("training", "3 epochs"); no times, no names of machines
    max_mse : the error bound that every image keeps (mean squared error of pixels scaled to 0..1), or None
    recovery : how many lost sections are recoverable, None for none
    dtype : of pixels, "uint8", "uint16" or "int16"; the decoder of int16 makes uint16, 32,768 more

    Raises UsageError if a number is out of range.
    """

    image_shape: tuple[int, int, int]
    token_grid: tuple[int, int]
    codebook_size: int
    profile: str
    block_images: int | None = None
    class_names: tuple[str, ...] | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    max_mse: float | None = None
    recovery: RecoverySpec | None = None
    dtype: str = "uint8"

    def __post_init__(self) -> None:
        height, width, channels = self.image_shape
        if min(height, width) < 1 or not 1 <= channels <= 4:
            raise UsageError(f"images of {list(self.image_shape)} cannot be stored: 1 to 4 channels, no side below 1")
        if self.dtype not in DTYPES:
            raise UsageError(f"pixels of {self.dtype} cannot be stored: convert them to uint8, uint16 or int16")
        if not 1 <= min(self.token_grid) <= max(self.token_grid) <= MAX_GRID:
            raise UsageError(f"a token grid of {list(self.token_grid)} is outside 1..{MAX_GRID}")
        if not 2 <= self.codebook_size <= MAX_CODES:
            raise UsageError(f"codebook size {self.codebook_size} is outside 2..{MAX_CODES}")
        if self.block_images is not None and not 1 <= self.block_images <= MAX_BLOCK_IMAGES:
            raise UsageError(f"{self.block_images} images per block is outside 1..{MAX_BLOCK_IMAGES}")
        if self.max_mse is not None and not (math.isfinite(self.max_mse) and self.max_mse >= 0):
            raise UsageError(f"a mean squared error of {self.max_mse} is no error bound")
        block_bytes = self.images_per_block * self._image_bytes
        if self.max_mse is not None and block_bytes > Limits().corrected_bytes:
            raise UsageError(
                f"blocks of {self.block_images} images have {block_bytes} bytes of pixels, too many to correct at "
                f"once; leave block_images out, or take fewer"
            )

    @property
    def decoded_type(self) -> PixelType:
        """The dtype of the decoder's pixels."""
        return decoded_type(self.dtype)

    @property
    def tokens(self) -> TokenSpec:
        """The part that a decoder needs."""
        return TokenSpec(self.image_shape, self.token_grid, self.codebook_size, self.decoded_type.name)

    @property
    def images_per_block(self) -> int:
        """`block_images`, or its default."""
        if self.block_images is not None:
            return self.block_images
        return self._within_bytes(_BLOCK_IMAGES)

    def with_blocks(self, images: int) -> "ArchiveSpec":
        """The same spec with at most `images` per block, unless it states `block_images`."""
        return self if self.block_images is not None else replace(self, block_images=self._within_bytes(images))

    @property
    def _image_bytes(self) -> int:
        return self.decoded_type.itemsize * math.prod(self.image_shape)

    def _within_bytes(self, images: int) -> int:
        """The number of images that have 64 MB of pixels, at most `images`."""
        return max(1, min(images, _BLOCK_PIXEL_BYTES // self._image_bytes))
