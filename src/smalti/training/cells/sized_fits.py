"""What fits and models of all kinds for images of any size share: efforts, defaults, and what they refuse."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from smalti.errors import ModelError, UsageError
from smalti.images.source import SizedSource
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale
from smalti.training.training_kind import EncodeRequest, FitOptions
from smalti.version import __version__

__all__ = [
    "DEFAULT_EFFORT",
    "Effort",
    "check_request",
    "check_source",
    "goal_or_default",
    "provenance_of",
    "refuse_fit",
    "refuse_sizes",
    "takes",
]

DEFAULT_EFFORT = 3
DEFAULT_PSNR = 36.0

MOST_EFFORT = 9

FULL_PIXELS = 1 << 22
"""From so many pixels on, a fit takes all steps of its effort; below, they fall with the square root."""


@dataclass(frozen=True)
class Effort:
    """The work of a fit.

    steps : steps on crops of `pixels` pixels together
    tuning : steps on the tokens that packing chooses
    fewest : steps that every collection gets
    """

    steps: int
    tuning: int
    pixels: int = 1 << 15
    fewest: int = 100

    def for_collection(self, pixels: float) -> "Effort":
        """The work for a collection of so many pixels: small ones have less to teach."""
        share = min(1.0, (pixels / FULL_PIXELS) ** 0.5)
        steps = max(self.fewest, round(self.steps * share))
        return Effort(steps, round(self.tuning * share), self.pixels, self.fewest)


def goal_or_default(goal: Goal | None) -> Goal:
    """The goal of the user, or that of a profile for what people keep of pictures."""
    return goal or Goal.of_psnr(DEFAULT_PSNR)


def refuse_sizes(profile: str, codebook_size: int | None, epochs: int | None) -> None:
    """Raise UsageError for epochs and codebook sizes."""
    if epochs is not None or codebook_size is not None:
        raise UsageError(f"--epochs and --codebook-size are for other profiles; {profile} takes a target and --effort")


def refuse_fit(profile: str, options: FitOptions) -> None:
    """Raise UsageError for validation images and for several processes."""
    if options.validation is not None:
        raise UsageError("--validation is for the profile paper")
    if options.group.size > 1:
        raise UsageError(
            f"{profile} is fitted by one process: run it without torchrun, or take --profile compact or paper"
        )


def provenance_of(source: SizedSource) -> dict[str, Any]:
    """The source and the software of a fit, for people."""
    return {
        "source": source.description,
        "images": len(source),
        "smalti": __version__,
        "torch": torch.__version__,
    }


def takes(channels: int, scale: PixelScale, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
    """Return whether a model of these channels and this scale can encode images of a shape and dtype: of every size."""
    return image_shape[2] == channels and np.dtype(dtype) == scale.dtype


def check_request(request: EncodeRequest) -> None:
    """Raise UsageError if the effort is out of range, or if the model is to adapt."""
    if request.effort is not None and not 0 <= request.effort <= MOST_EFFORT:
        raise UsageError(f"an effort of {request.effort} is outside 0..{MOST_EFFORT}")
    if request.adapt:
        raise UsageError("--adapt is for models of compact and fine; those of photo stay as they were fitted")


def check_source(channels: int, scale: PixelScale, source: SizedSource) -> None:
    """Raise ModelError unless the images of a source are of these channels and of this scale's dtype."""
    if source.channels != channels or source.dtype != scale.dtype:
        raise ModelError(
            f"the model takes images of {channels} channels and {scale.dtype}, but {source.description} "
            f"has {source.channels} and {source.dtype}; fit a model on such images"
        )
