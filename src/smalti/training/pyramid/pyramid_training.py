"""The profiles `compact` and `fine` as a kind of model."""

from pathlib import Path
from typing import Any

from smalti.errors import UsageError
from smalti.images.source import ImageSource, refuse_skipped
from smalti.training.common.goal import Goal
from smalti.training.common.training_images import TrainingImages
from smalti.training.observer import Observer
from smalti.training.pyramid.fit_pyramid import fit_pyramid
from smalti.training.pyramid.pyramid_model import PYRAMID_FORMAT, PyramidModel
from smalti.training.pyramid.pyramid_settings import DEFAULT_EFFORT, DEFAULT_MSE, PyramidSettings
from smalti.training.training_kind import FitOptions, FittedModel, FittedSettings

__all__ = ["PyramidTraining"]


class PyramidTraining:
    """The TrainingKind of models with several levels of tokens."""

    profiles = tuple(DEFAULT_MSE)
    model_format = PYRAMID_FORMAT
    takes_validation = False
    any_size = False

    def make_settings(
        self,
        profile: str,
        *,
        codebook_size: int | None,
        epochs: int | None,
        seed: int | None,
        goal: Goal | None,
        effort: int | None,
    ) -> PyramidSettings:
        """Return the settings of a fit; UsageError for epochs."""
        if epochs is not None:
            raise UsageError("--epochs is for the profile paper; compact and fine take --effort 0 to 9")
        return PyramidSettings(
            profile,
            goal or Goal(mse=DEFAULT_MSE[profile], of_range=True),
            DEFAULT_EFFORT if effort is None else effort,
            seed or 0,
            codebook_size,
        )

    def fit(
        self, source: ImageSource, settings: FittedSettings, options: FitOptions, observer: Observer
    ) -> FittedModel:
        """Fit a pyramid; UsageError for validation images."""
        assert isinstance(settings, PyramidSettings)
        if options.validation is not None:
            raise UsageError("--validation is for the profile paper")
        provenance: dict[str, Any] = {"source": source.description}
        with options.group.agreed():
            images = TrainingImages(source, beside=options.beside)
            if options.strict:
                refuse_skipped(source.description, source.skipped)
        return fit_pyramid(
            images,
            settings,
            checkpoint=options.checkpoint,
            resume=options.resume,
            observer=observer,
            provenance=provenance,
            group=options.group,
        )

    def load(self, path: Path, device: str) -> FittedModel:
        """Read a model, which encodes on the CPU for any device; ModelError if the file is damaged or foreign."""
        return PyramidModel.load(path)
