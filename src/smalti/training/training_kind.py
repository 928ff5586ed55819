"""The protocols of a kind of model (`TrainingKind`) and of a fitted model (`FittedModel`).

Kinds whose models take images of all sizes (`any_size`) have protocols of their own: `SizedTrainingKind` and
`SizedModel`. The layers above use these protocols alone, so that they never ask which kind a model has.
`smalti.training.kinds` lists the kinds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.decoders.contract import CellModel, CellPrior, Network, Prior
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.source import ImageSource, SizedSource
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale
from smalti.training.observer import Observer

__all__ = [
    "REGION_PIXELS",
    "AnyKind",
    "AnyModel",
    "AnySource",
    "EncodeRequest",
    "Encoded",
    "EncodedCells",
    "FitOptions",
    "FittedModel",
    "FittedSettings",
    "SizedModel",
    "SizedTrainingKind",
    "TrainingKind",
    "block_pixels",
    "note_signed",
    "takes_signed",
]


REGION_PIXELS = 1 << 18
"""Pixels of a region of an image that is larger than a block. Regions are coded alone."""


def block_pixels(cell: int) -> int:
    """Pixels of a token block of images of any size, whose cells have this side.

    Tokens that are pixels take far longer to decode, and what is known of as many of them stays in the caches.
    """
    return 1 << 18 if cell == 1 else 1 << 20


@dataclass(frozen=True)
class EncodeRequest:
    """How to turn images into tokens.

    goal : the quality or size of the archive; None for the goal of the fit
    effort : 0 to 9, of the search for better tokens; None for the effort of the fit
    adapt : whether the archive's copy of the model learns from these images
    fitted_here : whether the model was fitted on these same images
    strict : whether an unreadable file is an error
    checkpoint : file for the state between two steps; None saves none
    resume : whether to continue from `checkpoint`
    beside : the output; temporary data goes into its folder. None for the system's temporary folder
    """

    goal: Goal | None = None
    effort: int | None = None
    adapt: bool = False
    fitted_here: bool = False
    strict: bool = False
    checkpoint: Path | None = None
    resume: bool = False
    beside: Path | None = None


@dataclass(frozen=True)
class Encoded:
    """The tokens of a source, and what else an archive stores for them.

    network : the integer decoder
    prior : the prior of the tokens, if it is known before they are written; else None
    token_grid : rows and columns of an image's tokens
    codebook_size : K
    batches : the images in order, one pass, each batch with its tokens [n, rows, columns]
    decode : decodes tokens as a reader does, on the given number of threads; its images may be padded
    missed : one line on the target that is out of reach; None if there is none
    """

    network: Network
    prior: Prior | None
    token_grid: tuple[int, int]
    codebook_size: int
    batches: Iterator[tuple[ImageBatch, NDArray[np.integer]]]
    decode: Callable[[NDArray[np.integer], int], Pixels]
    missed: str | None = None


@dataclass(frozen=True)
class EncodedCells:
    """The tokens of a sized source, and what else an archive stores for them.

    model : the integer decoder
    prior : the prior of the tokens
    batches : the images in order, one pass, each batch with the tokens of its cells, uint16 [cells, M]: image after
        image, row by row. The sizes are those of the batch
    missed : one line on the target that is out of reach; None if there is none
    """

    model: CellModel
    prior: CellPrior
    batches: Iterator[tuple[ImageBatch, NDArray[np.uint16]]]
    missed: str | None = None


class FittedSettings(Protocol):
    """The settings of a fit."""

    @property
    def profile(self) -> str:
        """The profile's name."""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary."""


class _Model(Protocol):
    """What fitted models of all kinds have."""

    @property
    def scale(self) -> PixelScale:
        """The scale of its pixels."""

    @property
    def settings(self) -> FittedSettings:
        """The settings of the fit."""

    @property
    def codebook_size(self) -> int:
        """The number of codes, of all levels together."""

    @property
    def provenance(self) -> dict[str, Any]:
        """The source and the software of the fit, for people."""

    def takes(self, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
        """Return whether the model can encode images of this shape and dtype."""

    def check_request(self, request: EncodeRequest) -> None:
        """Raise UsageError if a model of this kind cannot fulfil the request."""

    def archive_provenance(self) -> tuple[tuple[str, str], ...]:
        """Return the model's provenance for an archive, for people: pairs of strings."""

    def to_json(self) -> dict[str, Any]:
        """Return a record of the fit: settings, provenance, history, and the measures of its kind."""

    def size_words(self) -> str:
        """Return the size in words, such as "266,817 parameters"."""

    def save(self, path: Path) -> None:
        """Write the model to one file, whole or not at all."""


_SIGNED = "signed"  # in the provenance of a model of signed images, which it learned as unsigned ones


def note_signed(model: _Model) -> None:
    """Note that a model was fitted on signed images."""
    model.provenance[_SIGNED] = True


def takes_signed(model: _Model) -> bool:
    """Return whether a model was fitted on signed images, and so takes no others."""
    return bool(model.provenance.get(_SIGNED))


class FittedModel(_Model, Protocol):
    """A fitted model for images of one shape: it encodes them and can be saved."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images of the fit."""

    def encode(self, source: ImageSource, request: EncodeRequest, observer: Observer) -> Encoded:
        """Return the tokens of a source's images.

        Raises UsageError as `check_request` does, SourceError if there is no image.
        """


class SizedModel(_Model, Protocol):
    """A fitted model for images of all sizes, of one number of channels and one dtype."""

    @property
    def channels(self) -> int:
        """C of the images of the fit. `takes` is true for every height and width with them."""

    def encode(self, source: SizedSource, request: EncodeRequest, observer: Observer) -> EncodedCells:
        """Return the tokens of a source's images.

        Raises UsageError as `check_request` does, SourceError if there is no image.
        """


@dataclass(frozen=True)
class FitOptions:
    """How a fit runs. Of these options, only `validation` changes the model file: by the history in it.

    validation : images to measure each epoch on; None for the kind's own choice
    device : "cpu", "cuda", "cuda:N", "mps" or "auto"
    checkpoint : file for the state between two steps; None saves none
    resume : whether to continue from `checkpoint`
    strict : whether an unreadable file is an error
    group : the ranks that fit together
    beside : the output; temporary data goes into its folder. None for the system's temporary folder
    """

    validation: ImageSource | None = None
    device: str = "cpu"
    checkpoint: Path | None = None
    resume: bool = False
    strict: bool = False
    group: ProcessGroup = ALONE
    beside: Path | None = None


class _Kind(Protocol):
    """What kinds of model have in common."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles of this kind."""

    @property
    def model_format(self) -> str:
        """The "format" entry of its model files."""

    @property
    def takes_validation(self) -> bool:
        """Whether the user can choose the validation images."""

    @property
    def any_size(self) -> bool:
        """Whether one model takes images of all sizes: then the kind is a `SizedTrainingKind`."""

    def make_settings(
        self,
        profile: str,
        *,
        codebook_size: int | None,
        epochs: int | None,
        seed: int | None,
        goal: Goal | None,
        effort: int | None,
    ) -> FittedSettings:
        """Return the settings of a fit. None stands for the profile's own value.

        Raises UsageError for an option that the kind does not have.
        """


class TrainingKind(_Kind, Protocol):
    """A kind of model for images of one shape: its profiles, its settings, its fit and its model files."""

    def fit(
        self, source: ImageSource, settings: FittedSettings, options: FitOptions, observer: Observer
    ) -> FittedModel:
        """Fit a model on every image of a source.

        Raises FitInterruptedError if the observer stops it, SourceError, UsageError, ModelError, RankError.
        """

    def load(self, path: Path, device: str) -> FittedModel:
        """Read a model of this kind; ModelError if the file is damaged or has another version."""


class SizedTrainingKind(_Kind, Protocol):
    """A kind of model for images of all sizes."""

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Fit a model on every image of a source. Raises as `TrainingKind.fit` does."""

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model of this kind; ModelError if the file is damaged or has another version."""


AnySource = ImageSource | SizedSource
AnyModel = FittedModel | SizedModel
AnyKind = TrainingKind | SizedTrainingKind
