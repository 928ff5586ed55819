"""Fits of images that are all alike, of one colour or of one pixel: there is nothing to learn, but fits must end."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import smalti
from helpers.tiny_pyramids import SHAPES, blobs
from smalti.training.common.scaling import PixelScale
from smalti.training.pyramid.build import Spectrum, choose_size, make_pyramid
from smalti.training.pyramid.pyramid_settings import PyramidShape

STEPS = 60
RAMP = np.arange(0, 240, 4, dtype=np.uint8)

COLLECTIONS = {
    "one black": np.zeros((1, 8, 8), np.uint8),
    "grey": np.full((5, 8, 8), 100, np.uint8),
    "white": np.full((5, 8, 8), 255, np.uint8),
    "one colour": np.full((4, 8, 8, 3), [200, 10, 90], np.uint8),
    "16 bits": np.full((4, 8, 8), 30_000, np.uint16),
    "16 bits, zeros": np.zeros((4, 8, 8), np.uint16),
    "two that are equal": np.stack([blobs(1)[0, ..., 0]] * 2),
    "one pixel each": np.array([0, 10, 200, 255], np.uint8).reshape(4, 1, 1),
    "one pixel": np.full((1, 1, 1), 7, np.uint8),
    "a row": np.stack([RAMP[None]] * 3),
    "a column": np.stack([RAMP[:, None]] * 3),
}


@pytest.fixture
def few_steps(monkeypatch):
    """Make every fit end after a few steps."""

    def few(images, settings):
        return replace(choose_size(images, settings), steps=STEPS)

    monkeypatch.setattr("smalti.training.pyramid.fit_pyramid.choose_size", few)


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_fit_of_images_without_differences_ends_in_an_archive(name, few_steps, tmp_path):
    images = COLLECTIONS[name]
    path = tmp_path / "a.smalti"
    smalti.compress(images, path, target_mse=0.01, effort=0, seed=0)
    with smalti.open(path) as archive:
        assert archive[:].shape == images.shape and archive.dtype == images.dtype
        assert archive.info().codebook_size >= 2


@pytest.mark.parametrize("goal", [{"target_ssim": 0.9}, {"target_bytes": 3000}, {"profile": "fine"}])
def test_every_goal_can_be_asked_of_black_images(goal, few_steps, tmp_path):
    images = np.zeros((3, 8, 8), np.uint8)
    smalti.compress(images, tmp_path / "a.smalti", effort=0, seed=0, **{"profile": "compact"} | goal)
    with smalti.open(tmp_path / "a.smalti") as archive:
        assert archive[:].shape == images.shape


def test_black_and_white_images_keep_a_code_each(tmp_path):
    images = np.repeat(np.array([0, 255], np.uint8), 20)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    smalti.compress(images, tmp_path / "a.smalti", effort=0, seed=0, target_mse=0.01)
    with smalti.open(tmp_path / "a.smalti") as archive:
        assert np.square((archive[:].astype(float) - images) / 255).mean() < 0.02


def test_the_spectrum_of_single_pixels_is_known():
    spectrum = Spectrum(np.array([0, 100, 200, 250], np.uint8).reshape(4, 1, 1, 1))
    assert spectrum.at_mse(1e-4).bits > spectrum.at_mse(1e-2).bits > 0
    assert Spectrum(np.zeros((4, 1, 1, 1), np.uint8)).at_mse(1e-4).bits == 0


def test_codes_of_zeros_fit_units_that_stay_exact():
    pyramid = make_pyramid(SHAPES["one cell"], (1,), [3], True, 0, PixelScale())
    assert math.isfinite(pyramid.fitting_unit()) and 0 < pyramid.fitting_unit() < 1 << 14


def test_a_single_code_gets_a_second_unused_one():
    shape: PyramidShape = SHAPES["one cell"]
    pyramid = make_pyramid(shape, (1,), [1], True, 0, PixelScale())
    before = pyramid.code_values(0)
    pyramid.ensure_two_codes()
    assert pyramid.code_values(0).equal(before.repeat(2, 1))
    tokens = [torch.zeros(1, shape.positions[0], dtype=torch.int64)]
    assert float(pyramid.bits_of(tokens).sum().detach()) < 0.02
    pyramid.ensure_two_codes()
    assert len(pyramid.codes[0]) == 2
