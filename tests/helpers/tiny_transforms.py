"""Small pictures, random transforms, and fits of the profile `photo` in seconds."""

import numpy as np
import torch

from smalti.images.sized import as_sized, chain_sized
from smalti.sources.open import open_source
from smalti.training.cells import sized_fits
from smalti.training.cells.samples import prepared
from smalti.training.cells.sized_fits import Effort
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale
from smalti.training.observer import SilentObserver
from smalti.training.training_kind import FitOptions
from smalti.training.transform import transform_settings, transform_training
from smalti.training.transform.bases import find_basis
from smalti.training.transform.learned_transform import LearnedTransform, TransformShape
from smalti.training.transform.transform_settings import TransformSettings
from smalti.training.transform.transform_training import TransformTraining

STEPS = 8
GOAL = Goal.of_psnr(36)
SIZES = ((24, 33), (17, 40), (48, 48))


def smooth(height, width, channels=1, seed=0, dtype=np.uint8):
    """Return waves with a little noise: [height, width, channels]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = []
    for _ in range(channels):
        waves = zip(rng.uniform(0.01, 0.2, (3, 2)), rng.uniform(0, 6, 3), strict=True)
        value = sum(np.sin(down * rows + right * columns + start) for (down, right), start in waves)
        planes.append(128 + 35 * value + rng.normal(0, 3, (height, width)))
    pixels = np.clip(np.stack(planes, 2), 0, 255)
    return (pixels * (1 if dtype == np.uint8 else 257)).astype(dtype)


def pictures(channels=1, sizes=SIZES, count=2, dtype=np.uint8):
    """Return a source of smooth images of some sizes."""
    parts = []
    for number, size in enumerate(sizes):
        stack = np.stack([smooth(*size, channels, 10 * number + k, dtype) for k in range(count)])
        parts.append(as_sized(open_source(stack)))
    return chain_sized("pictures", parts)


def small_efforts(monkeypatch, steps=STEPS, tuning=3):
    """Make fits take a few small steps; efforts differ by their steps."""
    efforts = tuple(Effort(steps + 2 * number, tuning if number else 0, 1 << 12, 1) for number in range(10))
    for module in (transform_settings, transform_training):
        monkeypatch.setattr(module, "EFFORTS", efforts)
    monkeypatch.setattr(sized_fits, "FULL_PIXELS", 1)  # small collections take all steps, too
    monkeypatch.setattr(transform_training, "_CALIBRATION_PIXELS", 1 << 13)


def fit_pictures(source=None, effort=1, checkpoint=None, resume=False, observer=None, **settings):
    """Fit on small pictures; return the model."""
    torch.set_num_threads(1)
    wanted = TransformSettings("photo", settings.pop("goal", GOAL), effort, **settings)
    options = FitOptions(None, "cpu", checkpoint, resume)
    return TransformTraining().fit(source or pictures(), wanted, options, observer or SilentObserver())


def random_transform(channels=1, cell=8, components=14, grid=(0, 0), mixing=6, seed=0, **shape):
    """Return a transform of the basis of small images whose networks have random weights, none of them 0."""
    generator = np.random.default_rng(seed)
    side = 8 * cell
    images = np.stack([smooth(side, side, channels, number) for number in range(3)])
    basis = find_basis([PixelScale().to_unit(prepared(images, cell))], cell)
    order = np.argsort(-basis.variances)[:components]
    groups = (1, 2, 4, components - 7)
    signed = min(6, components)
    sizes = {
        "activities": 5, "width": 7, "first": 4, "mixing": mixing, "analysis": 4, "scales": 33, "ratio": 1.2,
        "bits": 9, "fixed": False, "dtype": "uint8", "limits": (511, 255, 127, 31, 15, 7)[:signed],
    }  # fmt: skip
    made = TransformShape(
        channels=channels, cell=cell, places=tuple(order.tolist()), groups=groups, grid=grid, **(sizes | shape)
    )
    torch.manual_seed(seed)
    learned = LearnedTransform(made, basis, 2e-5)
    with torch.no_grad():
        for name, values in learned.prior.named_parameters():
            if name.endswith(("bias", "places")) or "mean" in name or "scale" in name or "linear" in name:
                spread = 0.06 if "linear" in name else 0.4
                values.add_(torch.from_numpy(generator.normal(0, spread, values.shape)).float())
        for values in learned.mixing:
            values.add_(torch.from_numpy(generator.normal(0, 0.05, values.shape)).float())
    return learned.eval()


def random_coefficients(learned, grids, seed=0):
    """Return whole coefficients of pictures: a list of float tensors [1, M, rows, columns]."""
    generator = np.random.default_rng(seed)
    spread = np.geomspace(60, 0.5, learned.shape.components)[:, None, None]
    made = [np.rint(generator.laplace(0, spread, (learned.shape.components, *grid))) for grid in grids]
    return [torch.from_numpy(np.clip(one, -240, 240)).float()[None] for one in made]


def flat(tensors):
    """Return coefficients as the decoder has them: int32 [cells, M]."""
    parts = [tensor.permute(0, 2, 3, 1).reshape(-1, tensor.shape[1]) for tensor in tensors]
    return torch.cat(parts).numpy().astype(np.int32)
