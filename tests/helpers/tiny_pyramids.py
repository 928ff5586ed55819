"""Small random pyramids, and fits of the profile `compact` in fractions of a second."""

import sys

import torch

from helpers.tiny_fits import small_images, training_images
from smalti.training.common.goal import Goal
from smalti.training.common.training_images import to_unit_range
from smalti.training.pyramid.build import FitSize, make_pyramid
from smalti.training.pyramid.fit_pyramid import fit_pyramid
from smalti.training.pyramid.pyramid_settings import PyramidSettings, PyramidShape

fit_module = sys.modules["smalti.training.pyramid.fit_pyramid"]

SIDE = 16
STEPS = 32
BATCH = 8

SHAPES = {
    "two scales": PyramidShape((16, 16, 1), ((2, 2), (1, 1)), (4, 3), (16, 8, 8)),
    "one cell": PyramidShape((8, 8, 1), ((1, 1),), (4,), (16, 8, 8)),
    "odd sides": PyramidShape((29, 37, 3), ((4, 5), (1, 1)), (5, 3), (8, 8, 8)),
    "blocks": PyramidShape((45, 17, 1), ((2, 3), (1, 1)), (4, 2), (8, 8, 8)),
    "slices": PyramidShape((16, 24, 3), ((2, 3), (1, 1)), (4, 9), (16, 8, 8), sliced=True),
    "one scale": PyramidShape((21, 13, 2), ((1, 1),), (14,), (8, 8, 8)),
}


def torch_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_pyramid(shape, levels=None, codes=7, seed=0, whole=True, conditional=True):
    """Return a pyramid with random codes, priors and decoder. codes : K of every level, or a list of K"""
    levels = levels or (1,) * (len(shape.strides) - 1) + (2,)
    sizes = [codes] * sum(levels) if isinstance(codes, int) else codes
    generator = torch_generator(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pyramid = make_pyramid(shape, levels, sizes, conditional, seed)
    with torch.no_grad():
        for values in pyramid.codes:
            values.copy_(torch.randn(values.shape, generator=generator))
        for bias in pyramid.biases:
            bias.copy_(0.2 * torch.rand(bias.shape, generator=generator))
        for level in range(len(pyramid.forms)):
            prior = pyramid.prior(level)
            prior.bias2.copy_(20 * torch.randn(prior.bias2.shape, generator=generator))
            if prior.features:
                prior.weight2.copy_(2 * torch.randn(prior.weight2.shape, generator=generator))
    pyramid.set_unit(30.0)
    if whole:
        pyramid.make_whole(pyramid.latents_of(random_tokens(pyramid, 20, seed)))
    return pyramid.requires_grad_(False)


def random_tokens(pyramid, images, seed=0):
    generator = torch_generator(seed)
    return [
        torch.randint(0, len(codes), (images, pyramid.shape.positions[form.scale]), generator=generator)
        for form, codes in zip(pyramid.forms, pyramid.codes, strict=True)
    ]


def decoded(pyramid, tokens):
    with torch.no_grad():
        return pyramid.decode(pyramid.latents_of(tokens))


def as_bytes(images):
    """Convert images float [n, C, H, W] to uint8 [n, H, W, C]."""
    return torch.round(255 * images).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def as_batch(pixels):
    return to_unit_range(pixels)


def blobs(count=16, seed=0):
    return small_images(count, SIDE, SIDE, seed=seed)


def pyramid_settings(mse=0.004, **fields):
    return PyramidSettings("compact", Goal(mse=mse), **({"effort": 0} | fields))


def quick_fits(monkeypatch, steps=STEPS, levels=(1, 1)):
    """Make every fit have the shape "two scales" and a few steps of small batches."""

    def size(images, settings):
        goal = settings.goal
        return FitSize(SHAPES["two scales"], levels, steps, 64, 0.02, goal.mse, None if goal.mse else 20.0)

    monkeypatch.setattr(fit_module, "choose_size", size)
    monkeypatch.setattr(fit_module, "BATCH_IMAGES", BATCH)


def fit_blobs(monkeypatch, settings=None, pixels=None, steps=STEPS, levels=(1, 1), **arguments):
    """Fit blobs, or other pixels, after `quick_fits`."""
    quick_fits(monkeypatch, steps, levels)
    pixels = blobs() if pixels is None else pixels
    return fit_pyramid(training_images(pixels), settings or pyramid_settings(), **arguments)


def weights(model):
    named = {f"encoder.{name}": value for name, value in model.encoder.state_dict().items()}
    return named | {f"pyramid.{name}": value for name, value in model.pyramid.state_dict().items()}


def differing(one, other):
    """Return the names of arrays that differ, or that only one model has."""
    first, second = weights(one), weights(other)
    names = sorted(first.keys() | second.keys())
    return [name for name in names if name not in first or name not in second or not first[name].equal(second[name])]
