"""The profile `photo` as a kind of model: reads a source, chooses the network's sizes, fits, and makes integers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from smalti.images.source import SizedSource, refuse_skipped
from smalti.training.cells.sized_fits import (
    DEFAULT_EFFORT,
    Effort,
    goal_or_default,
    provenance_of,
    refuse_fit,
    refuse_sizes,
)
from smalti.training.common.goal import Goal
from smalti.training.observer import Observer
from smalti.training.training_kind import FitOptions, FittedSettings, SizedModel
from smalti.training.transform.export import export_network
from smalti.training.transform.fit_transform import TransformFit
from smalti.training.transform.fitted_transform import TRANSFORM_FORMAT, FittedTransform
from smalti.training.transform.learned_transform import LearnedTransform
from smalti.training.transform.prior_tuning import exported_prior, tune_prior
from smalti.training.transform.survey import Start, survey
from smalti.training.transform.transform_settings import EFFORTS, TransformSettings

__all__ = ["TransformTraining"]

_CALIBRATION_PIXELS = 1 << 18


class TransformTraining:
    """The SizedTrainingKind of transforms of cells."""

    profiles = ("photo",)
    model_format = TRANSFORM_FORMAT
    takes_validation = False
    any_size = True

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
        refuse_sizes(profile, codebook_size, epochs)
        own = DEFAULT_EFFORT if effort is None else effort
        return TransformSettings(profile, goal_or_default(goal), own, seed or 0)

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Fit a transform."""
        assert isinstance(settings, TransformSettings)
        refuse_fit(settings.profile, options)
        start = survey(source, settings)
        if options.strict:
            refuse_skipped(source.description, source.skipped)
        torch.manual_seed(settings.seed)
        learned = LearnedTransform(start.shape, start.basis, start.level)
        if not settings.conditional:
            learned.prior.blind()
        work = EFFORTS[settings.effort].for_collection(start.pixels)
        fit = TransformFit(
            learned,
            start.samples,
            start.goal,
            start.level,
            work.steps,
            work.pixels,
            settings.seed,
            options.device,
            settings=settings,
        )
        if options.resume and options.checkpoint is not None and options.checkpoint.exists():
            fit.restore(options.checkpoint)
        fit.run(observer, options.checkpoint)
        return _finished(fit, start, work, settings, provenance_of(source), observer)

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model; ModelError if the file is damaged or foreign."""
        model = FittedTransform.load(path)
        model.learned.to(device)
        return model


def _finished(
    fit: TransformFit,
    start: Start,
    work: Effort,
    settings: TransformSettings,
    provenance: dict[str, Any],
    observer: Observer,
) -> FittedTransform:
    """The model of a fit: the prior is tuned to chosen tokens, and all becomes integers."""
    learned, samples = fit.learned.eval(), start.samples
    with torch.no_grad():
        images, _ = samples.draw(np.random.default_rng([settings.seed, 1 << 40]), _CALIBRATION_PIXELS)
        values = learned.analyse(images.to(learned.log_step.device))
        whole = torch.sign(values) * torch.floor(values.abs() + 0.4)
    if work.tuning:
        prior = exported_prior(learned, whole)
        tune_prior(learned, samples, prior, fit.price, work.tuning, work.pixels, settings.seed, observer)
    prior = exported_prior(learned, whole)
    learned = learned.cpu()
    network = export_network(learned, samples.scale, whole.cpu())
    mse = float(np.mean([entry["mse"] for entry in fit.history[-4:]]))
    return FittedTransform(learned, network, prior, samples.scale, fit.price, mse, settings, provenance, fit.history)
