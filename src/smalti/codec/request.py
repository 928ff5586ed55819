"""What a user asks of a fit and of packing: checked once, the same for Python, the command line and plan files."""

import math
from dataclasses import MISSING, dataclass, fields
from typing import Any

from smalti.archive.recovery.parity import RecoverySpec
from smalti.errors import UsageError
from smalti.training.kinds import kind_of_profile
from smalti.training.pyramid.trade_off import Goal
from smalti.training.training_kind import EncodeRequest, FittedSettings, TrainingKind

__all__ = ["FitRequest", "PackOptions"]

PAPER, COMPACT = "paper", "compact"


@dataclass(frozen=True)
class FitRequest:
    """What a model is to be, and what images are to come to. None where nothing was asked.

    profile : "paper", "compact" or "fine"; None is "paper", or "compact" if there is a target or an effort
    codebook_size, epochs, seed : of the fit
    target_mse, target_ssim, target_bytes : what the collection is to come to, one of them at most
    effort : 0 to 9, the time for "compact" and "fine"
    adapt : whether the archive's copy of a given model learns from the images
    device : where to compute: "cpu", "cuda", "cuda:N", "mps" or "auto"
    resume : whether to go on from what an interrupted run left beside the output

    Raises UsageError for what does not go together or is out of range.
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

    def __post_init__(self) -> None:
        self.settings()

    @property
    def has_goal(self) -> bool:
        """Whether a quality or a size was asked for."""
        return any(value is not None for value in (self.target_mse, self.target_ssim, self.target_bytes))

    @property
    def kind(self) -> TrainingKind:
        """The kind of model that a fit gives."""
        return kind_of_profile(self._profile)

    @property
    def _profile(self) -> str:
        return self.profile or (COMPACT if self.has_goal or self.effort is not None else PAPER)

    def goal(self) -> Goal | None:
        """Return the goal that was asked for, or None."""
        return Goal(self.target_mse, self.target_ssim, self.target_bytes) if self.has_goal else None

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
        """Return how a model encodes images."""
        return EncodeRequest(self.goal(), self.effort, self.adapt, resume=self.resume)

    def check_for(self, model: object, groups: int = 1) -> None:
        """Raise UsageError for what does not go with a model, or with images of several shapes.

        model : the one that is given, None if one is fitted    groups : shapes of the images
        """
        own = (self.profile, self.codebook_size, self.epochs, self.seed)
        if model is not None and any(value is not None for value in own):
            raise UsageError("a model brings its own profile, codebook size, epochs and seed: give --model or them")
        if model is None and self.adapt:
            raise UsageError("--adapt goes with --model: without one, the model is fitted on these images anyway")
        if self.target_bytes is not None and groups > 1:
            raise UsageError(
                f"a target in bytes is for images of one shape, and these have {groups}: give a target of MSE or SSIM"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary of what was asked; `from_json` is the inverse."""
        return _asked(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "FitRequest":
        """Return the request in a dictionary. TypeError if it holds anything else, UsageError if it cannot be."""
        return cls(**stored)


@dataclass(frozen=True)
class PackOptions:
    """How images are packed, whatever the model.

    labels : whether labels and class names go into the archive; names always do, if there are any
    max_mse : error bound of every image (mean squared error of pixels scaled to 0..1): images that the model serves
        worse get residuals, or are stored without it; 0 is lossless. None sets no bound
    recovery : how many lost sections are to be recoverable; needs the extra `smalti[recovery]`
    strict : whether a file that would be skipped is an error, so that nothing is written
    overwrite : whether an existing output may be replaced
    threads : how many decode and compute; None for all cores. The bytes of an archive do not depend on the threads that
        decode

    Raises UsageError for an error bound or a number of threads that cannot be.
    """

    labels: bool = True
    max_mse: float | None = None
    recovery: RecoverySpec | None = None
    strict: bool = False
    overwrite: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.max_mse is not None and not (math.isfinite(self.max_mse) and self.max_mse >= 0):
            raise UsageError(f"a mean squared error of {self.max_mse} cannot be promised")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads: give at least 1")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary: labels, max_mse and recovery always, the rest where it was asked for."""
        recovery = None if self.recovery is None else str(self.recovery)
        return {"labels": self.labels, "max_mse": self.max_mse, **_asked(self), "recovery": recovery}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "PackOptions":
        """Return the options in a dictionary. TypeError if it holds anything else, UsageError if they cannot be."""
        recovery = stored.get("recovery")
        return cls(**{**stored, "recovery": None if recovery is None else RecoverySpec.parse(recovery)})


def _asked(request: FitRequest | PackOptions) -> dict[str, Any]:
    """Return the fields that are not their defaults."""
    return {
        field.name: getattr(request, field.name)
        for field in fields(request)
        if field.default is MISSING or getattr(request, field.name) != field.default
    }
