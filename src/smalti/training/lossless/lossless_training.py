"""The profile `lossless` as a kind of model: looks at all samples, chooses the form and size of its prior, and fits."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.errors import UsageError
from smalti.images.source import SizedSource, refuse_skipped
from smalti.training.cells.samples import Samples, load_samples
from smalti.training.cells.sized_fits import DEFAULT_EFFORT, provenance_of, refuse_fit, refuse_sizes
from smalti.training.common.goal import Goal
from smalti.training.lossless.exact_levels import exact_levels
from smalti.training.lossless.lossless_settings import FEW_LEVELS, choose_mixture, choose_scores, steps_for
from smalti.training.lossless.occurring import find_occurring
from smalti.training.observer import Observer
from smalti.training.pixels.fit_pixels import PixelFit
from smalti.training.pixels.fitted_pixels import PIXELS_FORMAT, FittedPixels
from smalti.training.pixels.learned_mixture import LearnedMixture
from smalti.training.pixels.learned_pixels import LearnedPixels
from smalti.training.pixels.levels import Levels
from smalti.training.pixels.linear_forecast import fit_foretelling
from smalti.training.pixels.pixel_settings import PixelSettings
from smalti.training.pixels.pixel_training import PixelTraining
from smalti.training.training_kind import FitOptions, FittedSettings, SizedModel

__all__ = ["LosslessTraining"]

_CROP_SIDE = 96

_FORETOLD_PIXELS = 1 << 18
"""About so many pixels find the linear forecast."""

_USUAL_SHARE = 0.4
"""About what lossless tokens take of their samples, for the size of the network."""


class LosslessTraining:
    """The SizedTrainingKind of `lossless`. Its models are those of pixels, which `PixelTraining` reads."""

    profiles = ("lossless",)
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
        """Return the settings of a fit; UsageError for epochs, codebook sizes and targets of other profiles."""
        refuse_sizes(profile, codebook_size, epochs)
        if goal is not None and goal.max_error is None:
            raise UsageError(f"--profile lossless keeps every sample: leave the target of {goal.words()} out")
        own = DEFAULT_EFFORT if effort is None else effort
        return PixelSettings(profile, goal or Goal(max_error=0), own, seed or 0, optimised=False)

    def fit(self, source: SizedSource, settings: FittedSettings, options: FitOptions, observer: Observer) -> SizedModel:
        """Fit a prior of samples."""
        assert isinstance(settings, PixelSettings) and settings.goal.max_error is not None
        refuse_fit(settings.profile, options)
        occurring = find_occurring(source, observer)
        if options.strict:
            refuse_skipped(source.description, source.skipped)
        levels = exact_levels(occurring, settings.goal.max_error)
        samples = load_samples(source, 1, _CROP_SIDE, fill=False)
        values = tuple(table.values for table in levels.tables)
        model = PixelModel(values, samples.scale.dtype, occurring.hides)
        torch.manual_seed(settings.seed)
        learned = _learned(source, samples, levels, model, settings.effort)
        work = steps_for(settings.effort, occurring.pixels)
        fit = PixelFit(learned, samples, levels, model, 0.0, work, settings, options.device)
        if options.resume and options.checkpoint is not None and options.checkpoint.exists():
            fit.restore(options.checkpoint)
        fit.run(observer, options.checkpoint)
        return FittedPixels(fit.prior(), samples.scale, 0.0, 0.0, settings, provenance_of(source), fit.history)

    def load(self, path: Path, device: str) -> SizedModel:
        """Read a model; ModelError if the file is damaged or foreign."""
        return PixelTraining().load(path, device)


def _learned(
    source: SizedSource, samples: Samples, levels: Levels, model: PixelModel, effort: int
) -> LearnedPixels | LearnedMixture:
    """A network of the form and size for a collection, before it learns."""
    sizes, counts = source.sizes, tuple(len(model.levels[channel]) for channel in model.order)
    same = (int(sizes[0, 0]), int(sizes[0, 1])) if bool((sizes == sizes[0]).all()) else None
    bits = float(sum(np.log2(count) for count in counts))
    tokens_bytes = _USUAL_SHARE * bits / 8 * float(sizes.prod(axis=1).sum())
    if max(counts) <= FEW_LEVELS:
        shape = choose_scores(counts, tokens_bytes, same, effort)
        return LearnedPixels(shape, [torch.from_numpy(model.seen[channel]) for channel in model.order])
    mixture = choose_mixture(counts, tokens_bytes, same, effort, source.dtype.itemsize == 2)
    return LearnedMixture(mixture, fit_foretelling(_some_levels(samples, levels, model), mixture.radius))


def _some_levels(samples: Samples, levels: Levels, model: PixelModel) -> list[NDArray[np.uint16]]:
    """Levels of some crops, [n, H, W, C], channels in coding order."""
    generator = np.random.default_rng(0)
    drawn = [levels.nearest(samples.crops(generator, _FORETOLD_PIXELS // 8)[0]) for _ in range(8)]
    return [np.ascontiguousarray(own[..., model.order]) for own in drawn]
