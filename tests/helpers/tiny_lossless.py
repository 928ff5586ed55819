"""Lossless fits in fractions of a second, and networks of mixtures with random weights."""

import numpy as np
import torch

from smalti.training.cells.sized_fits import Effort
from smalti.training.common.goal import Goal
from smalti.training.lossless import lossless_settings
from smalti.training.lossless.lossless_training import LosslessTraining
from smalti.training.observer import SilentObserver
from smalti.training.pixels.learned_mixture import LearnedMixture
from smalti.training.pixels.linear_forecast import fit_foretelling
from smalti.training.pixels.pixel_settings import MixtureShape, PixelSettings
from smalti.training.training_kind import FitOptions


def small_efforts(monkeypatch, steps=6):
    """Make fits take a few small steps."""
    efforts = tuple(Effort(steps + number, 0, 1 << 10, 1) for number in range(10))
    monkeypatch.setattr(lossless_settings, "EFFORTS", efforts)
    monkeypatch.setattr(lossless_settings, "FULL_PIXELS", 1)  # small collections take all steps, too


def fit_lossless(source, max_error=0, effort=3, checkpoint=None, resume=False, observer=None, seed=0):
    """Fit on a source; return the model."""
    torch.set_num_threads(1)
    settings = PixelSettings("lossless", Goal(max_error=max_error), effort, seed, optimised=False)
    options = FitOptions(None, "cpu", checkpoint, resume)
    return LosslessTraining().fit(source, settings, options, observer or SilentObserver())


def random_learned(counts=(40, 300), radius=2, width=6, depth=1, components=4, edges=(3, 2, 1), seed=0):
    """Return a network whose weights are random, none of them 0. counts : levels of each channel, in coding order"""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    levels = np.stack([rng.integers(0, count, (4, 9, 11)) for count in counts], 3).astype(np.uint16)
    shape = MixtureShape(tuple(counts), radius, width, depth, components, edges, max(counts) > 256)
    learned = LearnedMixture(shape, fit_foretelling([levels], radius))
    with torch.no_grad():
        for values in learned.parameters():
            values.add_(0.2 * torch.randn(values.shape))
    return learned.eval()
