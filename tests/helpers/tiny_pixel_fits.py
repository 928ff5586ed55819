"""Small drawings, and fits of the kind `pixels` in fractions of a second."""

import numpy as np
import torch

from smalti.images.sized import as_sized, chain_sized
from smalti.sources.open import open_source
from smalti.training.cells import sized_fits
from smalti.training.cells.sized_fits import Effort
from smalti.training.common.goal import Goal
from smalti.training.observer import SilentObserver
from smalti.training.pixels import fit_pixels, pixel_settings, pixel_training
from smalti.training.pixels.learned_pixels import LearnedPixels
from smalti.training.pixels.pixel_settings import PixelSettings, PixelShape
from smalti.training.pixels.pixel_training import PixelTraining
from smalti.training.training_kind import FitOptions

STEPS = 8
GOAL = Goal.of_psnr(36)
SIZES = ((16, 21), (9, 20), (24, 24))


def drawing(height, width, channels=1, seed=0, dtype=np.uint8):
    """Return rectangles and discs of few colours: [height, width, channels]. A last channel of 2 or 4 is alpha."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 4, (6, channels)) * 85
    pixels = np.empty((height, width, channels), np.int64)
    pixels[:] = colours[0]
    rows, columns = np.mgrid[:height, :width]
    for number, colour in enumerate(colours[1:]):
        y, x, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.15, 0.4) * min(height, width)
        down, right = np.abs(rows - y), np.abs(columns - x)
        inside = down**2 + right**2 < size**2 if number % 2 else np.maximum(down, right) < size
        pixels[inside] = colour
    if channels in (2, 4):
        pixels[..., -1] = np.where(rows + columns < height // 2, 0, np.maximum(pixels[..., -1], 85))
    return (pixels * (1 if dtype == np.uint8 else 257)).astype(dtype)


def drawings(channels=1, sizes=SIZES, count=2, dtype=np.uint8):
    """Return a source of drawings of some sizes."""
    parts = []
    for number, size in enumerate(sizes):
        stack = np.stack([drawing(*size, channels, 10 * number + k, dtype) for k in range(count)])
        parts.append(as_sized(open_source(stack)))
    return chain_sized("drawings", parts)


def small_efforts(monkeypatch, steps=STEPS, tuning=4):
    """Make fits take a few small steps; efforts differ by their steps, and effort 0 does not tune."""
    efforts = tuple(Effort(steps + 2 * number, tuning if number else 0, 1 << 10, 1) for number in range(10))
    for module in (pixel_settings, pixel_training):
        monkeypatch.setattr(module, "EFFORTS", efforts)
    monkeypatch.setattr(sized_fits, "FULL_PIXELS", 1)  # small collections take all steps, too
    monkeypatch.setattr(fit_pixels, "_POOL", 3)


def fit_drawings(source=None, effort=1, checkpoint=None, resume=False, observer=None, **settings):
    """Fit on drawings; return the model."""
    torch.set_num_threads(1)
    wanted = PixelSettings("drawing", settings.pop("goal", GOAL), effort, **settings)
    options = FitOptions(None, "cpu", checkpoint, resume)
    return PixelTraining().fit(source or drawings(), wanted, options, observer or SilentObserver())


def random_pixels(counts=(5, 3), radius=2, width=6, depth=1, edges=(3, 2, 1), seed=0):
    """Return a network whose weights are random, none of them 0. counts : levels of each channel, in coding order"""
    torch.manual_seed(seed)
    seen = [torch.linspace(0, 255, count).floor() for count in counts]
    learned = LearnedPixels(PixelShape(tuple(counts), radius, width, depth, edges), seen)
    with torch.no_grad():
        for name, values in learned.named_parameters():
            if values.requires_grad and not name.startswith("context"):
                values.add_(0.3 * torch.randn(values.shape))
    return learned.eval()


def random_levels(learned, images=3, height=9, width=11, seed=0):
    """Return levels in coding order, int64 [n, C, H, W]."""
    rng = np.random.default_rng(seed)
    made = [rng.integers(0, count, (images, height, width)) for count in learned.shape.levels]
    return torch.from_numpy(np.stack(made, 1))
