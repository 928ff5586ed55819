"""The kind `pixels` as a kind of model: reads a source, chooses levels and the network's sizes, fits, makes integers."""

from pathlib import Path

import numpy as np
import torch

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.errors import UsageError
from smalti.images.seen import ALPHA_CHANNELS
from smalti.images.source import SizedSource, refuse_skipped
from smalti.training.cells.samples import Samples, load_samples
from smalti.training.common.goal import Goal, mse_of_psnr
from smalti.training.observer import Observer
from smalti.training.pixels.fit_pixels import PixelFit
from smalti.training.pixels.fitted_pixels import PIXELS_FORMAT, FittedPixels
from smalti.training.pixels.learned_pixels import LearnedPixels
from smalti.training.pixels.levels import Levels, find_levels, sample_counts
from smalti.training.pixels.pixel_settings import EFFORTS, PixelSettings, choose_shape
from smalti.training.training_kind import FitOptions, FittedSettings, SizedModel
from smalti.version import __version__

__all__ = ["PixelTraining"]

DEFAULT_EFFORT = 3
DEFAULT_PSNR = 36.0

_CROP_SIDE = 96

_CHOSEN_PAYS = 0.78
"""Choosing levels by their bits adds this much to the error of the nearest ones: levels are for less."""

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
        if epochs is not None or codebook_size is not None:
            raise UsageError(f"--epochs and --codebook-size are not for {profile}, which takes a target and --effort")
        found = goal or Goal(mse=mse_of_psnr(DEFAULT_PSNR), in_db=True)
        return PixelSettings(profile, found, DEFAULT_EFFORT if effort is None else effort, seed or 0)

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Fit a prior of pixels."""
        assert isinstance(settings, PixelSettings)
        if options.validation is not None:
            raise UsageError("--validation is for the profile paper")
        if options.group.size > 1:
            raise UsageError(f"{settings.profile} is fitted by one process: run it without torchrun")
        samples = load_samples(source, 1, _CROP_SIDE)
        if options.strict:
            refuse_skipped(source.description, source.skipped)
        goal_mse = settings.goal.unit_mse(samples.scale)
        assert goal_mse is not None
        levels = _levels(samples, goal_mse)
        pixels = float(source.sizes.prod(axis=1).sum())
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
        mse = float(np.mean([fit.chosen(prior, number)[1] for number in range(_MEASURED)]))
        provenance = {
            "source": source.description,
            "images": len(source),
            "smalti": __version__,
            "torch": torch.__version__,
        }
        return FittedPixels(prior, samples.scale, price, mse, settings, provenance, fit.history)

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model; ModelError if the file is damaged or foreign."""
        return FittedPixels.load(path)


def _levels(samples: Samples, mse: float) -> Levels:
    """The levels for a mean squared error, of pixels in [0, 1]."""
    counts = sample_counts(samples)
    channels = counts.shape[0]
    seen = sum(
        int((picture.pixels[..., -1] > 0).sum()) if channels in ALPHA_CHANNELS else picture.pixels[..., 0].size
        for picture in samples.pictures
    )
    width = samples.scale.high - samples.scale.low
    return find_levels(counts, mse * _CHOSEN_PAYS, width, float(max(1, seen) * channels))
