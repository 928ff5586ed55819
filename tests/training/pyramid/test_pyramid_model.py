from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.tiny_pyramids import SHAPES, as_batch, blobs, differing, pyramid_settings, random_pyramid
from smalti.errors import ModelError
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.pyramid_model import PyramidModel


@pytest.fixture
def model():
    pyramid = random_pyramid(SHAPES["two scales"], codes=[5, 6, 7])
    weights = [torch.full((latents,), 0.5) for latents in pyramid.shape.latents]
    encoder = PyramidEncoder(pyramid.shape).eval()
    return PyramidModel(encoder, pyramid, weights, 0.01, (1, 2), pyramid_settings(), {"images": 3}, [{"step": 1}])


def test_a_model_comes_back_from_its_file(model, tmp_path):
    model.save(tmp_path / "m")
    again = PyramidModel.load(tmp_path / "m")
    assert differing(model, again) == [] and again.pyramid.whole and again.pyramid.shape == model.pyramid.shape
    for name in ("price", "levels", "settings", "provenance", "history", "image_shape"):
        assert getattr(again, name) == getattr(model, name)
    assert again.codebook_size == 18
    for one, other in zip(model.tokens(as_batch(blobs())), again.tokens(as_batch(blobs())), strict=True):
        assert one.equal(other)


def test_damaged_files_are_refused(model, tmp_path):
    model.save(tmp_path / "m")
    (tmp_path / "short").write_bytes((tmp_path / "m").read_bytes()[:-5])
    replace(model, weights=model.weights[:1]).save(tmp_path / "incomplete")
    for name in ("short", "incomplete", "absent"):
        with pytest.raises(ModelError):
            PyramidModel.load(tmp_path / name)


def test_it_takes_only_images_of_its_own_shape_and_dtype(model):
    assert model.takes((16, 16, 1), np.uint8)
    assert not model.takes((8, 8, 1), np.uint8) and not model.takes((16, 16, 1), np.uint16)
