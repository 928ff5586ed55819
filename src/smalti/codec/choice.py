"""The choice of a profile for images, if the user leaves it to smalti: the one place where the rule is.

Facts of the images and the goal in, a profile and one line on why out. No image is read. Layer: part of `codec`, below
`request`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.images.source import SizedSource
from smalti.training.common.goal import Goal, psnr_of_mse

__all__ = ["AUTO", "COMPACT", "DEFAULT_PSNR", "LOSSLESS", "PHOTO", "Choice", "ImageFacts", "choose_profile", "is_small"]

AUTO, COMPACT, LOSSLESS, PHOTO = "auto", "compact", "lossless", "photo"

DEFAULT_PSNR = 36.0
"""The target in dB if the user gives neither a target nor a profile: what people keep of pictures."""

SMALL_PIXELS = 48 * 48
"""Images of at most so many pixels, all of one size, are small: one network can know them whole."""

FEW_BITS_PSNR = 30.0
FEW_BITS_SSIM = 0.9
FEW_BITS_A_VALUE = 0.75
"""Targets below these leave so few bits that codes of whole images or of large parts of them pay: compact is smaller
there. Above them it cannot reach the target, or only with a network that costs more than the images."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of images without decoding them.

    images : their number
    sizes : different sizes, int64 [n, 2]
    values : the number of values of all images, all channels counted
    """

    images: int
    sizes: NDArray[np.int64]
    values: int

    @classmethod
    def of(cls, sources: Sequence[SizedSource]) -> "ImageFacts":
        """Return the facts of the images of all sources."""
        found = [_different(source.sizes) for source in sources]
        values = sum(
            int((sizes.prod(1) * counts).sum()) * source.channels
            for source, (sizes, counts) in zip(sources, found, strict=True)
        )
        sizes = np.unique(np.concatenate([sizes for sizes, _ in found]), axis=0)
        return cls(sum(map(len, sources)), sizes, values)

    def words(self) -> str:
        """Return the sizes in words, such as "1,203 images of 24 sizes from 30x20 to 640x480"."""
        images = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        areas = self.sizes.prod(1)
        (low, high), many = (self.sizes[[areas.argmin(), areas.argmax()]].tolist(), len(self.sizes))
        if many == 1:
            return f"{images} of {low[0]}x{low[1]} pixels"
        return f"{images} of {many:,} sizes from {low[0]}x{low[1]} to {high[0]}x{high[1]} pixels"


@dataclass(frozen=True)
class Choice:
    """A profile, and in one line why it was chosen."""

    profile: str
    why: str

    def sentence(self) -> str:
        """Return what to tell the user."""
        return f"profile {self.profile}: {self.why}"


def choose_profile(facts: ImageFacts, goal: Goal) -> Choice:
    """Choose between `compact`, for few bits of small images of one size, and `photo`, for everything else."""
    target = f"{facts.words()} at {goal.words()}"
    small = is_small(facts)
    if small and _few_bits(facts, goal):
        return Choice(COMPACT, f"{target}: small images of one size, and few bits")
    if small:
        return Choice(PHOTO, f"{target}: more bits than codebooks are good for")
    return Choice(PHOTO, f"{target}: larger than small images of one size")


def is_small(facts: ImageFacts) -> bool:
    """Return whether images are small, and all of one size."""
    return len(facts.sizes) == 1 and int(facts.sizes[0].prod()) <= SMALL_PIXELS


def _few_bits(facts: ImageFacts, goal: Goal) -> bool:
    """Return whether the target leaves few bits for a value."""
    if goal.mse is not None:
        return psnr_of_mse(goal.mse) < FEW_BITS_PSNR
    if goal.ssim is not None:
        return goal.ssim < FEW_BITS_SSIM
    assert goal.archive_bytes is not None
    return 8 * goal.archive_bytes < FEW_BITS_A_VALUE * facts.values


def _different(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different sizes and how often each occurs."""
    if len(sizes) and sizes.strides[0] == 0:  # one row for all, as sources of one shape have it
        return sizes[:1], np.array([len(sizes)])
    return np.unique(sizes, axis=0, return_counts=True)
