"""Fit a model on a source of images."""

from pathlib import Path
from typing import Any

import numpy as np

from smalti.errors import SourceError
from smalti.images.batch import Pixels, shape_words
from smalti.images.source import ImageSource, read_images, refuse_skipped
from smalti.sources.named.sets import validation_of
from smalti.sources.open import open_source
from smalti.training.common.distributed import ALONE, Group
from smalti.training.common.training_images import TrainingImages
from smalti.training.paper.fit_grid import fit
from smalti.training.paper.grid_model import Model
from smalti.training.paper.observer import FitObserver
from smalti.training.paper.settings import FitSettings

__all__ = ["fit_source"]

VALIDATION_IMAGES = 10_000
TRAINING_SAMPLE_IMAGES = 2_000
TRAINING_SAMPLE_SEED = 0


def fit_source(
    source: ImageSource,
    settings: FitSettings,
    *,
    validation: ImageSource | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    observer: FitObserver | None = None,
    group: Group = ALONE,
    strict: bool = False,
) -> Model:
    """Fit a model on every image of `source`.

    validation : what each epoch is measured on (its first 10,000 images). Without it: the test part of a named set
        whose train part is fitted, else 2,000 images of `source` itself; the model's provenance says which.

    strict : whether a file that would be passed over is an error

    The rest is as for `smalti.training.paper.fit_grid`. SourceError if the validation images have another shape.
    """
    with group.agreed():
        images = TrainingImages(source)
        if strict:
            refuse_skipped(source.description, source.skipped)
        pixels, described = _validation(source, validation, images)
    provenance: dict[str, Any] = {"source": source.description, "validation": described}
    return fit(
        images,
        pixels,
        settings,
        device=device,
        checkpoint=checkpoint,
        resume=resume,
        observer=observer,
        provenance=provenance,
        group=group,
    )


def _validation(source: ImageSource, validation: ImageSource | None, images: TrainingImages) -> tuple[Pixels, str]:
    """Return the validation images and what to call them."""
    measured_on = validation_of(source.description)
    if validation is None and measured_on is not None:
        validation = open_source(measured_on)
    if validation is None:
        return images.sample(TRAINING_SAMPLE_IMAGES, TRAINING_SAMPLE_SEED), "a sample of the training images"
    if validation.image_shape != source.image_shape:
        raise SourceError(
            f"{validation.description} has images of {shape_words(validation.image_shape)}, but {source.description} "
            f"{shape_words(source.image_shape)}; measure on images of the same shape"
        )
    images.scale.check(np.dtype(validation.dtype), validation.description)
    return read_images(validation, VALIDATION_IMAGES).pixels, validation.description
