import json
import re

import numpy as np
import pytest
import safetensors.torch
import torch

from helpers.tiny_fits import CURED, fit_small, same_weights, small_images, tiny_settings
from smalti.errors import ModelError, SmaltiError
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.common.training_images import to_unit_range
from smalti.training.paper.grid_model import Model


@pytest.fixture(scope="module", params=[None, CURED], ids=["paper", "cured"])
def model(request):
    return fit_small(tiny_settings(request.param), small_images(60, 6, 9, 3))


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "my.smalti-model"
    model.save(path)
    return path


def test_a_model_comes_back(model, saved):
    loaded = Model.load(saved)
    assert same_weights(model, loaded) and not loaded.network.training
    assert (loaded.settings, loaded.image_shape) == (model.settings, (6, 9, 3))
    assert (loaded.provenance, loaded.history) == (model.provenance, model.history)
    assert loaded.quantization == model.quantization
    images = to_unit_range(small_images(9, 6, 9, 3, seed=4))
    assert loaded.tokens(images).equal(model.tokens(images))
    assert loaded.codebook_size == 12 and loaded.tokens(images).shape == (9, 2, 3)


def test_equal_models_are_equal_bytes(model, saved, tmp_path):
    model.save(tmp_path / "again")
    Model.load(saved).save(tmp_path / "loaded")
    assert saved.read_bytes() == (tmp_path / "again").read_bytes() == (tmp_path / "loaded").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "loaded", saved.name]


def refusal(path):
    with pytest.raises(ModelError) as caught:
        Model.load(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message


def test_a_missing_model_is_named(tmp_path):
    assert "there is no model" in refusal(tmp_path / "absent.smalti-model")
    (tmp_path / "folder").mkdir()
    assert "cannot read" in refusal(tmp_path / "folder")


def test_foreign_and_cut_files_are_refused(saved):
    data = saved.read_bytes()
    others = [b"", b"x", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\xff" * 64, *(data[:end] for end in (7, 8, 99, -1))]
    for other in others:
        saved.write_bytes(other)
        assert "not a smalti model, or it is damaged" in refusal(saved)


def test_every_flipped_byte_is_noticed(saved):
    data = saved.read_bytes()
    for place in range(0, len(data), 41):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        saved.write_bytes(flipped)
        assert re.search(r"damaged|of an older release|version \d, this release", refusal(saved))


def test_a_model_of_an_older_release_is_named_so(saved):
    metadata = {"smalti": json.dumps({"format": "smalti-model", "version": 1})}
    saved.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}, metadata))
    assert "of an older release; make one with smalti fit" in refusal(saved)


def rewritten(path, change):
    tensors, description = read_tensors(path, "model", "")
    change(tensors, description)
    write_tensors(path, tensors, description)


def test_other_versions_formats_and_settings_are_refused(saved):
    rewritten(saved, lambda tensors, description: description.update(version=3))
    assert re.search("version 3, this release reads 2", refusal(saved))
    rewritten(saved, lambda tensors, description: description.update(version=1, format="smalti-checkpoint"))
    assert "holds a smalti-checkpoint, not a model" in refusal(saved)


@pytest.mark.parametrize("name", ["settings", "image_shape", "provenance", "history"])
def test_a_description_that_lacks_something_is_refused(saved, name):
    rewritten(saved, lambda tensors, description: description.pop(name))
    refusal(saved)


@pytest.mark.parametrize("shape", [[6, 9], [6, 9, 5], [0, 9, 3], [6, "9", 3], None, [6, 9, 10**9]])
def test_an_image_shape_that_cannot_be_is_refused(saved, shape):
    rewritten(saved, lambda tensors, description: description.update(image_shape=shape))
    refusal(saved)


def test_weights_that_do_not_fit_the_settings_are_refused(saved):
    rewritten(saved, lambda tensors, description: tensors.pop("decoder.up2.bias"))
    assert "weights do not fit the settings" in refusal(saved)


def test_weights_that_are_no_numbers_are_refused(saved):
    rewritten(saved, lambda tensors, description: tensors["decoder.up2.bias"].fill_(float("nan")))
    assert "not finite" in refusal(saved)


def test_a_place_that_cannot_be_written_is_one_line(model, tmp_path):
    (tmp_path / "taken").mkdir()
    for place in (tmp_path / "absent" / "m", tmp_path / "taken"):
        with pytest.raises(SmaltiError, match=str(place)):
            model.save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_it_takes_images_of_any_height_and_width_but_of_its_channels_and_type(model):
    assert model.takes((6, 9, 3), np.uint8) and model.takes((28, 30, 3), np.uint8)
    assert not model.takes((6, 9, 1), np.uint8) and not model.takes((6, 9, 3), np.uint16)


def test_tokens_do_not_depend_on_the_batch(model):
    images = to_unit_range(small_images(40, 6, 9, 3))
    alone = torch.cat([model.tokens(images[index : index + 1]) for index in range(40)])
    assert np.mean(alone.numpy() == model.tokens(images).numpy()) > 0.99
