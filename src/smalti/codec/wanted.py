"""What a user asks of a fit or of packing, as given, and the settings it comes to."""

from dataclasses import dataclass

from smalti.errors import UsageError
from smalti.training.paper.settings import FitSettings, profile_settings
from smalti.training.pyramid.pyramid_settings import DEFAULT_EFFORT, DEFAULT_MSE, PyramidSettings
from smalti.training.pyramid.trade_off import Goal

__all__ = ["Wanted"]

PAPER, COMPACT = "paper", "compact"


@dataclass(frozen=True)
class Wanted:
    """None where nothing was asked. A target or an effort without a profile means `compact`."""

    profile: str | None = None
    codebook_size: int | None = None
    epochs: int | None = None
    seed: int | None = None
    target_mse: float | None = None
    target_ssim: float | None = None
    target_bytes: int | None = None
    effort: int | None = None
    adapt: bool = False

    @property
    def has_goal(self) -> bool:
        """Whether a quality or a size was asked for."""
        return any(value is not None for value in (self.target_mse, self.target_ssim, self.target_bytes))

    @property
    def is_pyramid(self) -> bool:
        """Whether it is for the profiles `compact` and `fine`; UsageError if it is for both kinds."""
        asked = self.has_goal or self.effort is not None
        if self.profile == PAPER and asked:
            raise UsageError("the profile paper has no targets and no effort; take --profile compact or fine for them")
        return asked or self.profile in DEFAULT_MSE

    def goal(self) -> Goal | None:
        """The goal that was asked for, or None; UsageError if it cannot be."""
        return Goal(self.target_mse, self.target_ssim, self.target_bytes) if self.has_goal else None

    def pyramid_settings(self) -> PyramidSettings:
        """The settings of a fit of `compact` or `fine`."""
        if self.epochs is not None:
            raise UsageError("--epochs is for the profile paper; compact and fine take --effort 0 to 9")
        profile = self.profile or COMPACT
        return PyramidSettings(
            profile,
            self.goal() or Goal(mse=DEFAULT_MSE[profile], of_range=True),
            DEFAULT_EFFORT if self.effort is None else self.effort,
            self.seed or 0,
            self.codebook_size,
        )

    def paper_settings(self) -> FitSettings:
        """The settings of a fit of `paper`."""
        return profile_settings(
            self.profile or PAPER, codebook_size=self.codebook_size, epochs=self.epochs, seed=self.seed
        )

    def check_for_paper_model(self) -> None:
        """UsageError if something was asked that a model of the profile `paper` cannot give."""
        if self.has_goal or self.effort is not None or self.adapt:
            raise UsageError("a model of the profile paper has no targets, no effort, and cannot be adapted")

    def check_for_groups(self, groups: int) -> None:
        """UsageError for a size of the whole file that images of several shapes would have to share."""
        if self.target_bytes is not None and groups > 1:
            raise UsageError(
                f"a target in bytes is for images of one shape, and these have {groups}: give a target of MSE or SSIM"
            )
