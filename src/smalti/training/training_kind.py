"""A kind of model as training has it: its profiles, and how it is set up, fitted and read from its file.

What every kind of fitted model can do, so that no layer above asks which kind it has.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.source import ImageSource
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.scaling import PixelScale
from smalti.training.observer import Observer

if TYPE_CHECKING:
    from smalti.training.pyramid.trade_off import Goal

__all__ = ["EncodeRequest", "Encoded", "FitOptions", "FittedModel", "FittedSettings", "TrainingKind"]


@dataclass(frozen=True)
class EncodeRequest:
    """How images become tokens.

    goal : what the archive is to come to; None for what the model was fitted for
    effort : 0 to 9, of the search for better tokens; None for that of the fit
    adapt : whether the archive's copy of the model learns from these images
    fitted_here : whether the model was fitted on these very images
    strict : whether a file that cannot be read is an error
    checkpoint, resume : where the state is kept between two steps, and whether to go on from there
    beside : the output; temporary data lies in its folder. None for the system's temporary folder
    """

    goal: "Goal | None" = None
    effort: int | None = None
    adapt: bool = False
    fitted_here: bool = False
    strict: bool = False
    checkpoint: Path | None = None
    resume: bool = False
    beside: Path | None = None


@dataclass(frozen=True)
class Encoded:
    """Tokens of a source, and what an archive needs beside them.

    network : the decoder in integers
    prior : that of the tokens, if it is known before they are written; else None
    token_grid : rows and columns of an image's tokens    codebook_size : K
    batches : the images in order, one pass, each batch with its tokens [n, rows, columns]
    decode : pixels of such tokens, as a reader decodes them, with so many threads; sides may be padded
    missed : which target is out of reach, in one line; None if none is
    """

    network: IntegerNetwork | PyramidNetwork
    prior: PyramidPrior | None
    token_grid: tuple[int, int]
    codebook_size: int
    batches: Iterator[tuple[ImageBatch, NDArray[np.integer]]]
    decode: Callable[[NDArray[np.integer], int], Pixels]
    missed: str | None = None


class FittedSettings(Protocol):
    """The settings of a fit."""

    @property
    def profile(self) -> str:
        """The name these settings go by."""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary."""


class FittedModel(Protocol):
    """A model that was fitted: it encodes images of its kind, and has a file."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images that it was fitted on."""

    @property
    def scale(self) -> PixelScale:
        """Of the pixels of the images it takes."""

    @property
    def settings(self) -> FittedSettings:
        """Those of the fit."""

    @property
    def codebook_size(self) -> int:
        """Codes of all levels."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What it was fitted on and with, for people."""

    def takes(self, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
        """Return whether it encodes images of that shape and type."""

    def check_request(self, request: EncodeRequest) -> None:
        """Raise UsageError if a model of this kind cannot encode as asked."""

    def encode(self, source: ImageSource, request: EncodeRequest, observer: Observer) -> Encoded:
        """Return the tokens of a source's images. Raises UsageError as `check_request`, SourceError for no image."""

    def archive_provenance(self) -> tuple[tuple[str, str], ...]:
        """Return what an archive says of the model, for people: pairs of strings."""

    def to_json(self) -> dict[str, Any]:
        """Return what is known of the fit: settings, provenance, history, and what else its kind measures."""

    def size_words(self) -> str:
        """Return how large it is, such as "266,817 parameters"."""

    def save(self, path: Path) -> None:
        """Write it to one file, whole or not at all."""


# was sibling import


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
    group: ProcessGroup = ALONE
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
