"""The settings of a fit and of packing, checked once: the same for Python, the command line and plan files.

Layer: part of `codec`, below its other modules.
"""

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
    """Which model to fit, and the quality or size to reach. None leaves the choice to smalti.

    profile : "paper", "compact" or "fine"; None is "paper", or "compact" if there is a target or an effort
    codebook_size, epochs, seed : of the fit
    target_mse, target_ssim, target_bytes : the error, the similarity or the size that the whole collection should
        reach; at most one of them
    effort : 0 to 9, the time for "compact" and "fine"
    adapt : let the archive's copy of a given model learn from the images
    device : where to compute: "cpu", "cuda", "cuda:N", "mps" or "auto"
    resume : continue from the state files that an interrupted run left next to the output

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

    def __post_init__(self) -> None:
        self.settings()

    @property
    def has_goal(self) -> bool:
        """Whether there is a target of quality or size."""
        return any(value is not None for value in (self.target_mse, self.target_ssim, self.target_bytes))

    @property
    def kind(self) -> TrainingKind:
        """The kind of model that is fitted."""
        return kind_of_profile(self._profile)

    @property
    def _profile(self) -> str:
        return self.profile or (COMPACT if self.has_goal or self.effort is not None else PAPER)

    def goal(self) -> Goal | None:
        """Return the target, or None."""
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
        """Return the settings with which a model encodes images."""
        return EncodeRequest(self.goal(), self.effort, self.adapt, resume=self.resume)

    def check_for(self, model: object, groups: int = 1) -> None:
        """Raise UsageError for settings that do not fit a given model, or images of several shapes.

        model : the given one; None if one is fitted
        groups : the number of shapes and dtypes of the images
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
    strict : a file that cannot be read is an error, and nothing is written
    overwrite : replace an existing output
    threads : how many decode and compute; None for all cores. The bytes of an archive do not depend on the threads that
        decode

    Raises UsageError for an impossible error bound or number of threads.
    """

    labels: bool = True
    max_mse: float | None = None
    recovery: RecoverySpec | None = None
    strict: bool = False
    overwrite: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.max_mse is not None and not (math.isfinite(self.max_mse) and self.max_mse >= 0):
            raise UsageError(f"a mean squared error of {self.max_mse} cannot be an error bound")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads: give at least 1")

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
