"""The profile `photo` as a kind of model: reads a source, chooses the network's sizes, fits, and makes integers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smalti.errors import UsageError
from smalti.images.source import SizedSource, refuse_skipped
from smalti.training.common.goal import Goal, mse_of_psnr
from smalti.training.observer import Observer
from smalti.training.training_kind import FitOptions, FittedSettings, SizedModel
from smalti.training.transform.bases import Basis, find_basis, waterfilling
from smalti.training.transform.export import export_network
from smalti.training.transform.fit_transform import FittingGoal, TransformFit
from smalti.training.transform.fitted_transform import TRANSFORM_FORMAT, FittedTransform
from smalti.training.transform.goals import fitting_goal
from smalti.training.transform.learned_transform import LearnedTransform
from smalti.training.transform.prior_tuning import exported_prior, tune_prior
from smalti.training.transform.samples import Samples, load_samples
from smalti.training.transform.transform_settings import (
    DEFAULT_EFFORT,
    DEFAULT_PSNR,
    EFFORTS,
    TransformSettings,
    choose_cell,
    choose_shape,
    learned_basis_pays,
)
from smalti.version import __version__

__all__ = ["TransformTraining"]

CROP_SIDES = {8: 128, 16: 192, 32: 256}
"""Side of the largest crop, in pixels, by the side of a cell."""

_SURVEY_BYTES = 24 << 20
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
        if epochs is not None or codebook_size is not None:
            raise UsageError("--epochs and --codebook-size are for other profiles; photo takes a target and --effort")
        found = goal or Goal(mse=mse_of_psnr(DEFAULT_PSNR), in_db=True)
        return TransformSettings(profile, found, DEFAULT_EFFORT if effort is None else effort, seed or 0)

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Fit a transform."""
        assert isinstance(settings, TransformSettings)
        if options.validation is not None:
            raise UsageError("--validation is for the profile paper")
        start = _survey(source, settings)
        if options.strict:
            refuse_skipped(source.description, source.skipped)
        torch.manual_seed(settings.seed)
        learned = LearnedTransform(start.shape, start.basis, start.level)
        work = EFFORTS[settings.effort]
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
        provenance = {
            "source": source.description,
            "images": len(source),
            "smalti": __version__,
            "torch": torch.__version__,
        }
        return _finished(fit, start, settings, provenance, observer)

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model; ModelError if the file is damaged or foreign."""
        model = FittedTransform.load(path)
        model.learned.to(device)
        return model


@dataclass(frozen=True)
class _Start:
    """What a fit begins with."""

    samples: Samples
    basis: Basis
    shape: Any
    level: float
    goal: FittingGoal


def _survey(source: SizedSource, settings: TransformSettings) -> _Start:
    """Read a source, and choose cells, basis and sizes for it."""
    sizes = source.sizes
    side = int(np.median(sizes.min(axis=1)))
    bases: dict[int, Basis] = {}
    surveyed = {}
    for cell in (8, 16, 32):
        if cell == 8 or side >= 3 * cell:
            surveyed[cell] = load_samples(source, cell, CROP_SIDES[cell], _SURVEY_BYTES)
            bases[cell] = find_basis(surveyed[cell].stacks(), cell, settings.lapped)
    scale = surveyed[8].scale
    pixels = float(sizes.prod(axis=1).sum())
    goal, mse = fitting_goal(settings.goal, scale, bases[8], surveyed[8], pixels)
    bounds = {cell: waterfilling(basis.variances, mse)[1] / cell**2 for cell, basis in bases.items()}
    cell = choose_cell(bounds, side)
    samples = load_samples(source, cell, CROP_SIDES[cell])
    grids = -(-sizes // cell)
    same = bool((grids == grids[0]).all())
    grid = (int(grids[0, 0]), int(grids[0, 1])) if same else None
    basis, cells = bases[cell], int(grids.prod(axis=1).sum())
    fixed = not learned_basis_pays(basis, mse, cells)
    if fixed:
        basis = find_basis(surveyed[cell].stacks(), cell, settings.lapped, fixed=True)
    shape, level = choose_shape(basis, mse, source.dtype.name, cells, grid, settings, fixed)
    return _Start(samples, basis, shape, level, goal)


def _finished(
    fit: TransformFit, start: _Start, settings: TransformSettings, provenance: dict[str, Any], observer: Observer
) -> FittedTransform:
    """The model of a fit: the prior is tuned to chosen tokens, and all becomes integers."""
    learned, samples, work = fit.learned.eval(), start.samples, EFFORTS[settings.effort]
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
