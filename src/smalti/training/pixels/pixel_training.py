"""The kind `pixels` as a kind of model: reads a source, chooses levels and the network's sizes, and fits."""

from pathlib import Path

import torch

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.images.seen import ALPHA_CHANNELS
from smalti.images.source import SizedSource, refuse_skipped
from smalti.training.cells.forecast import archive_overhead
from smalti.training.cells.samples import Samples, load_samples
from smalti.training.cells.similarity import mse_of_ssim
from smalti.training.cells.sized_fits import DEFAULT_EFFORT, goal_or_default, provenance_of, refuse_fit, refuse_sizes
from smalti.training.common.goal import Goal
from smalti.training.observer import Observer
from smalti.training.pixels.fit_pixels import PixelFit
from smalti.training.pixels.fitted_pixels import PIXELS_FORMAT, FittedPixels
from smalti.training.pixels.learned_pixels import LearnedPixels
from smalti.training.pixels.levels import levels_for
from smalti.training.pixels.pixel_forecast import fitted_share, level_entropy
from smalti.training.pixels.pixel_settings import EFFORTS, PixelSettings, choose_shape
from smalti.training.training_kind import FitOptions, FittedSettings, SizedModel

__all__ = ["PixelTraining"]

_CROP_SIDE = 96

_MSE_RANGE, _HALVINGS = (1e-6, 0.05), 12

_LEAST_LEFT = 0.25
"""Of a size, the tokens get at least this share, whatever else an archive takes."""

_NATURAL_PRICE = 0.1155
"""The price of a bit in squared steps: at high rates, an error of 1/12 of them falls so for each bit (2 ln 2 / 12)."""

_MEASURED = 4
"""Batches on which the error of a fit is measured."""


class PixelTraining:
    """The SizedTrainingKind of pixels."""

    profiles = ("drawing",)
    model_format = PIXELS_FORMAT
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
    ) -> PixelSettings:
        """Return the settings of a fit; UsageError for epochs and codebook sizes."""
        refuse_sizes(profile, codebook_size, epochs)
        own = DEFAULT_EFFORT if effort is None else effort
        return PixelSettings(profile, goal_or_default(goal), own, seed or 0)

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Fit a prior of pixels."""
        assert isinstance(settings, PixelSettings)
        refuse_fit(settings.profile, options)
        samples = load_samples(source, 1, _CROP_SIDE)
        if options.strict:
            refuse_skipped(source.description, source.skipped)
        pixels = float(source.sizes.prod(axis=1).sum())
        levels = levels_for(samples, _goal_mse(settings.goal, samples, pixels))
        model = PixelModel(
            tuple(table.values for table in levels.tables), samples.scale.dtype, source.channels in ALPHA_CHANNELS
        )
        sizes = source.sizes
        same = (int(sizes[0, 0]), int(sizes[0, 1])) if bool((sizes == sizes[0]).all()) else None
        counts = tuple(len(model.levels[channel]) for channel in model.order)
        shape = choose_shape(counts, pixels * source.channels / 8, same)
        torch.manual_seed(settings.seed)
        learned = LearnedPixels(shape, [torch.from_numpy(model.seen[channel]) for channel in model.order])
        work = EFFORTS[settings.effort].for_collection(pixels)
        price = _NATURAL_PRICE * levels.squared_step
        fit = PixelFit(learned, samples, levels, model, price, work, settings, options.device)
        if options.resume and options.checkpoint is not None and options.checkpoint.exists():
            fit.restore(options.checkpoint)
        fit.run(observer, options.checkpoint)
        prior = fit.prior()
        assert isinstance(prior, PixelPrior)
        mse = fit.chosen(prior, range(_MEASURED))[1]
        return FittedPixels(prior, samples.scale, price, mse, settings, provenance_of(source), fit.history)

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model; ModelError if the file is damaged or foreign."""
        return FittedPixels.load(path)


def _goal_mse(goal: Goal, samples: Samples, pixels: float) -> float:
    """The mean squared error, of pixels in [0, 1], that a goal comes to. pixels : of the whole collection"""
    mse = goal.unit_mse(samples.scale)
    if mse is not None:
        return mse
    if goal.ssim is not None:
        return mse_of_ssim(goal.ssim, samples)
    assert goal.archive_bytes is not None
    left = max(goal.archive_bytes - archive_overhead(round(pixels), 1), _LEAST_LEFT * goal.archive_bytes)
    bits, (low, high) = 8 * left / pixels, _MSE_RANGE
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        entropy, guessed = level_entropy(samples, levels_for(samples, middle))
        too_many = fitted_share(guessed) * entropy > bits
        low, high = (middle, high) if too_many else (low, middle)
    return high
