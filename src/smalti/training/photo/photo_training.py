"""The profile `photo` as a kind of model: it chooses between the kinds of tokens for images of any size, then fits."""

from pathlib import Path

from smalti.images.source import SizedSource
from smalti.training.common.goal import Goal
from smalti.training.observer import Observer
from smalti.training.photo.photo_forecast import forecast_photo
from smalti.training.pixels.pixel_settings import PixelSettings
from smalti.training.pixels.pixel_training import PixelTraining
from smalti.training.training_kind import FitOptions, FittedSettings, SizedModel
from smalti.training.transform.fitted_transform import TRANSFORM_FORMAT
from smalti.training.transform.transform_settings import TransformSettings
from smalti.training.transform.transform_training import TransformTraining

__all__ = ["PhotoTraining"]


class PhotoTraining:
    """The SizedTrainingKind of `photo`. Models of pixels are read by `PixelTraining`, which has their format."""

    profiles = ("photo",)
    model_format = TRANSFORM_FORMAT
    takes_validation = False
    any_size = True

    def __init__(self) -> None:
        self._transform, self._pixels = TransformTraining(), PixelTraining()

    def make_settings(
        self,
        profile: str,
        *,
        codebook_size: int | None,
        epochs: int | None,
        seed: int | None,
        goal: Goal | None,
        effort: int | None,
    ) -> TransformSettings:
        """Return the settings of a fit; UsageError for epochs and codebook sizes."""
        return self._transform.make_settings(
            profile, codebook_size=codebook_size, epochs=epochs, seed=seed, goal=goal, effort=effort
        )

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Choose a kind and fit it."""
        assert isinstance(settings, TransformSettings)
        if options.group.size == 1:  # else the fit refuses
            found = forecast_photo(source, settings)
            observer.on_message(found.words())
            if found.takes_pixels:
                own = PixelSettings(settings.profile, settings.goal, settings.effort, settings.seed, settings.optimised)
                return self._pixels.fit(source, own, options, observer)
        return self._transform.fit(source, settings, options, observer)

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model of a transform; ModelError if the file is damaged or foreign."""
        return self._transform.load(path, device)
