"""A kind of model as training has it: its profiles, and how it is set up, fitted and read from its file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from smalti.images.source import ImageSource
from smalti.training.common.distributed import ALONE, Group
from smalti.training.fitted import FittedModel, FittedSettings
from smalti.training.observer import Observer

if TYPE_CHECKING:
    from smalti.training.pyramid.trade_off import Goal

__all__ = ["FitOptions", "TrainingKind"]


@dataclass(frozen=True)
class FitOptions:
    """How a fit runs; none of it shapes the model but `validation`'s history.

    validation : images that each epoch is measured on; None for those that the kind chooses
    device : "cpu", "cuda", "cuda:N", "mps" or "auto"
    checkpoint, resume : where the state is kept between two steps, and whether to go on from there
    strict : whether a file that cannot be read is an error
    group : the ranks that fit together
    beside : the output; temporary data lies in its folder. None for the system's temporary folder
    """

    validation: ImageSource | None = None
    device: str = "cpu"
    checkpoint: Path | None = None
    resume: bool = False
    strict: bool = False
    group: Group = ALONE
    beside: Path | None = None


class TrainingKind(Protocol):
    """A kind of model. `smalti.training.kinds` lists them."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles that fit such a model."""

    @property
    def model_format(self) -> str:
        """What its model files say that they are."""

    @property
    def takes_validation(self) -> bool:
        """Whether a fit is measured on images that can be chosen."""

    def make_settings(
        self,
        profile: str,
        *,
        codebook_size: int | None,
        epochs: int | None,
        seed: int | None,
        goal: "Goal | None",
        effort: int | None,
    ) -> FittedSettings:
        """Return the settings of a fit; None takes the profile's own. UsageError for what the kind does not take."""

    def fit(
        self, source: ImageSource, settings: FittedSettings, options: FitOptions, observer: Observer
    ) -> FittedModel:
        """Fit a model on every image of a source.

        Raises FitInterruptedError if the observer stops it, SourceError, UsageError, ModelError, RankError.
        """

    def load(self, path: Path, device: str) -> FittedModel:
        """Read a model of this kind; ModelError if the file is damaged or of another version."""
