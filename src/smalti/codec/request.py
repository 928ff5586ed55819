"""The settings of a fit and of packing, checked once: the same for Python, the command line and plan files.

Layer: part of `codec`, below its other modules.
"""

import math
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from smalti.archive.format.header import MAX_BLOCK_IMAGES
from smalti.archive.recovery.parity import RecoverySpec
from smalti.codec.choice import AUTO, COMPACT, DEFAULT_PSNR, LOSSLESS
from smalti.errors import UsageError
from smalti.training.common.goal import Goal
from smalti.training.kinds import kind_of_profile
from smalti.training.training_kind import AnyKind, EncodeRequest, FittedSettings

__all__ = ["FitRequest", "PackOptions"]

PAPER = "paper"


@dataclass(frozen=True)
class FitRequest:
    """Which model to fit, and the quality or size to reach. None leaves the choice to smalti.

    profile : "paper", "compact", "fine", "photo", "drawing", "lossless", or "auto", the choice by the images
        (`choice`). None is "auto"; with a codebook size or epochs it is "paper", or "compact" if there is also a target
        or an effort; with `max_error` it is "lossless"
    codebook_size, epochs, seed : of the fit
    target_mse, target_ssim, target_bytes : the error, the similarity or the size that the whole collection should
        reach; at most one of them and of `psnr`. None at all with "auto" is a PSNR of 36 dB
    effort : 0 to 9, the time for all profiles but "paper"
    adapt : let the archive's copy of a given model learn from the images
    device : where to compute: "cpu", "cuda", "cuda:N", "mps" or "auto"
    resume : continue from the state files that an interrupted run left next to the output
    psnr : instead of `target_mse`, in dB
    max_error : how far each sample may be from its original, of 255 or 65,535; 0 is lossless

    Raises UsageError for settings that exclude each other or are out of range.
    """

    profile: str | None = None
    codebook_size: int | None = None
    epochs: int | None = None
    seed: int | None = None
    target_mse: float | None = None
    target_ssim: float | None = None
    target_bytes: int | None = None
    effort: int | None = None
    adapt: bool = False
    device: str = "cpu"
    resume: bool = False
    psnr: float | None = None
    max_error: int | None = None

    def __post_init__(self) -> None:
        if self.max_error is not None and self._profile != LOSSLESS:
            raise UsageError(
                f"--lossless and --max-error take a profile of their own: leave --profile {self.profile} out"
            )
        if not self.is_auto:
            self.settings()
            return
        if self.codebook_size is not None:
            raise UsageError("--codebook-size goes with a profile: take --profile paper, compact or fine")
        replace(self, profile=COMPACT)  # its checks are those of all kinds that are chosen from

    @property
    def has_goal(self) -> bool:
        """Whether there is a target of quality or size."""
        return any(value is not None for value in self._targets)

    @property
    def is_auto(self) -> bool:
        """Whether the profile is chosen by the images."""
        return self._profile == AUTO

    @property
    def kind(self) -> AnyKind:
        """The kind of model that is fitted. UsageError if the profile is yet to be chosen."""
        return kind_of_profile(self._profile)

    def decided(self, profile: str) -> "FitRequest":
        """Return the same request with the profile that was chosen, and with the target that "auto" has by default."""
        return replace(self, profile=profile, psnr=self.psnr if self.has_goal else DEFAULT_PSNR)

    def without_choice(self) -> "FitRequest":
        """Return the same request for work that only the kinds for one shape do: nothing is chosen by the images."""
        return replace(self, profile=self._old_profile) if self.is_auto else self

    @property
    def _profile(self) -> str:
        own = self.codebook_size is not None or self.epochs is not None
        if self.max_error is not None and self.profile in (None, AUTO):
            return LOSSLESS
        return self.profile or (self._old_profile if own else AUTO)

    @property
    def _old_profile(self) -> str:
        return COMPACT if self.has_goal or self.effort is not None else PAPER

    @property
    def _targets(self) -> tuple[float | None, ...]:
        return self.psnr, self.target_mse, self.target_ssim, self.target_bytes, self.max_error

    def goal(self) -> Goal | None:
        """Return the target, or None."""
        if not self.has_goal:
            return None
        if self.psnr is None:
            return Goal(self.target_mse, self.target_ssim, self.target_bytes, max_error=self.max_error)
        if sum(value is not None for value in self._targets) > 1:
            raise UsageError(
                "give one of a target PSNR, a target MSE, a target SSIM, a target of bytes, and a largest error"
            )
        return Goal.of_psnr(self.psnr)

    def settings(self) -> FittedSettings:
        """Return the settings of a fit."""
        return self.kind.make_settings(
            self._profile,
            codebook_size=self.codebook_size,
            epochs=self.epochs,
            seed=self.seed,
            goal=self.goal(),
            effort=self.effort,
        )

    def encoding(self) -> EncodeRequest:
        """Return the settings with which a model encodes images."""
        return EncodeRequest(self.goal(), self.effort, self.adapt, resume=self.resume)

    def check_for(self, model: object, groups: int = 1) -> None:
        """Raise UsageError for settings that do not fit a given model, or images of several shapes.

        model : the given one; None if one is fitted
        groups : the number of groups of images that need models of their own: shapes and dtypes, or kinds of pixel
        """
        own = (self.profile, self.codebook_size, self.epochs, self.seed)
        if model is not None and any(value is not None for value in own):
            raise UsageError("a model brings its own profile, codebook size, epochs and seed: give --model or them")
        if model is None and self.adapt:
            raise UsageError("--adapt goes with --model: without one, the model is fitted on these images anyway")
        if self.target_bytes is not None and groups > 1:
            raise UsageError(
                f"a target in bytes is for images of one shape, and these have {groups}: give a target of PSNR or SSIM"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings that are not their defaults, as a plain dictionary; `from_json` is the inverse."""
        return _set_fields(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "FitRequest":
        """Return the request of a dictionary. TypeError for unknown keys, UsageError for impossible settings."""
        return cls(**stored)


@dataclass(frozen=True)
class PackOptions:
    """How images are packed, with any model.

    labels : put labels and class names into the archive; names always go into it, if there are any
    max_mse : error bound of every image (mean squared error of pixels scaled to 0..1): images beyond it get residuals,
        or are stored without the model; 0 is lossless. None sets no bound
    recovery : how many lost sections can be repaired; needs the extra `smalti[recovery]`
    block_images : about how many images reading one of them decodes: fewer make that quicker and the archive larger.
        Images of any sizes count as average ones, and a block is never smaller than the largest image, nor larger than
        usual. None for the usual blocks
    strict : a file that cannot be read is an error, and nothing is written
    overwrite : replace an existing output
    threads : how many decode and compute; None for all cores. The bytes of an archive do not depend on the threads that
        decode
    compare : with the profiles "auto" and "photo", measure AVIF and JPEG XL on a sample afterwards, up to 20 seconds

    Raises UsageError for an impossible error bound, or number of images or threads.
    """

    labels: bool = True
    max_mse: float | None = None
    recovery: RecoverySpec | None = None
    strict: bool = False
    overwrite: bool = False
    threads: int | None = None
    compare: bool = True
    block_images: int | None = None

    def __post_init__(self) -> None:
        if self.max_mse is not None and not (math.isfinite(self.max_mse) and self.max_mse >= 0):
            raise UsageError(f"a mean squared error of {self.max_mse} cannot be an error bound")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads: give at least 1")
        if self.block_images is not None and not 1 <= self.block_images <= MAX_BLOCK_IMAGES:
            raise UsageError(f"{self.block_images} images per block is outside 1..{MAX_BLOCK_IMAGES}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary: labels, max_mse and recovery always, the rest if it is not the default."""
        recovery = None if self.recovery is None else str(self.recovery)
        return {"labels": self.labels, "max_mse": self.max_mse, **_set_fields(self), "recovery": recovery}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PackOptions":
        """Return the options of a dictionary. TypeError for unknown keys, UsageError for impossible options."""
        recovery = stored.get("recovery")
        return cls(**{**stored, "recovery": None if recovery is None else RecoverySpec.parse(recovery)})


def _set_fields(request: FitRequest | PackOptions) -> dict[str, Any]:
    """Return the fields that are not their defaults."""
    return {
        field.name: getattr(request, field.name)
        for field in fields(request)
        if field.default is MISSING or getattr(request, field.name) != field.default
    }
