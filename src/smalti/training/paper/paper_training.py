"""The profile `paper` as a kind of model: the study's network and protocol, and the choice of validation images."""

from pathlib import Path
from typing import Any

import numpy as np

from smalti.errors import SourceError, UsageError
from smalti.images.batch import Pixels, shape_words
from smalti.images.source import ImageSource, read_images, refuse_skipped
from smalti.sources.named.named import validation_of
from smalti.sources.open import open_source
from smalti.training.common.goal import Goal
from smalti.training.common.training_images import TrainingImages
from smalti.training.observer import Observer
from smalti.training.paper.fit_grid import choose_device, fit
from smalti.training.paper.grid_model import MODEL_FORMAT, Model
from smalti.training.paper.settings import PROFILES, FitSettings, profile_settings
from smalti.training.training_kind import FitOptions, FittedModel, FittedSettings

__all__ = ["PaperTraining"]

VALIDATION_IMAGES = 10_000
TRAINING_SAMPLE_IMAGES = 2_000
TRAINING_SAMPLE_SEED = 0

FEW_STEPS = 1_500
"""With fewer steps, the study's network has not learned its images (the study takes 2,814 steps)."""


class PaperTraining:
    """The TrainingKind of models with one codebook on a grid of tokens."""

    profiles = tuple(PROFILES)
    model_format = MODEL_FORMAT
    takes_validation = True
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
    ) -> FitSettings:
        """Return the settings of a fit; UsageError for a target or an effort."""
        if goal is not None or effort is not None:
            raise UsageError("the profile paper has no targets and no effort; take --profile compact or fine for them")
        return profile_settings(profile, codebook_size=codebook_size, epochs=epochs, seed=seed)

    def fit(
        self, source: ImageSource, settings: FittedSettings, options: FitOptions, observer: Observer
    ) -> FittedModel:
        """Fit a model. Its provenance names the validation images.

        These are the first 10,000 images of `options.validation`. Without that option, they are the first 10,000 of the
        test part, if `source` is the train part of a named set; else a sample of 2,000 images of `source` itself.
        """
        assert isinstance(settings, FitSettings)
        with options.group.agreed():
            device = options.group.own_device(choose_device(options.device))
            _warn_of_few_steps(len(source), settings, observer)
            images = TrainingImages(source, beside=options.beside)
            if options.strict:
                refuse_skipped(source.description, source.skipped)
            pixels, described = _validation(source, options.validation, images)
        provenance: dict[str, Any] = {"source": source.description, "validation": described}
        return fit(
            images,
            pixels,
            settings,
            device=device,
            checkpoint=options.checkpoint,
            resume=options.resume,
            observer=observer,
            provenance=provenance,
            group=options.group,
        )

    def load(self, path: Path, device: str) -> FittedModel:
        """Read a model; ModelError if the file is damaged or has another version."""
        return Model.load(path, choose_device(device))


def _validation(source: ImageSource, validation: ImageSource | None, images: TrainingImages) -> tuple[Pixels, str]:
    """Return the validation images and a description of them."""
    test_part = validation_of(source.description)
    if validation is None and test_part is not None:
        validation = open_source(test_part)
    if validation is None:
        return images.sample(TRAINING_SAMPLE_IMAGES, TRAINING_SAMPLE_SEED), "a sample of the training images"
    if validation.image_shape != source.image_shape:
        raise SourceError(
            f"{validation.description} has images of {shape_words(validation.image_shape)}, but {source.description} "
            f"{shape_words(source.image_shape)}; measure on images of the same shape"
        )
    images.scale.check(np.dtype(validation.dtype), validation.description)
    return read_images(validation, VALIDATION_IMAGES).pixels, validation.description


def _warn_of_few_steps(images: int, settings: FitSettings, observer: Observer) -> None:
    steps_per_epoch = -(-images // settings.batch_images)
    steps = steps_per_epoch * settings.epochs
    if steps < FEW_STEPS:
        observer.on_warning(
            f"this fit has {_count(steps, 'step')} ({_count(images, 'image')}, {_count(settings.epochs, 'epoch')}), "
            f"too few to learn much; --epochs {-(-FEW_STEPS // steps_per_epoch)} or more gives better images"
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
