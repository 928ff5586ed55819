import pytest

from helpers.tiny_fits import same_weights, small_images, tiny_settings
from smalti.codec.fit import fit_source
from smalti.errors import SourceError
from smalti.sources.named import named as sets
from smalti.sources.open import open_source
from smalti.training.paper import paper_training as paper


def test_a_source_is_measured_on_a_sample_of_itself():
    model = fit_source(open_source(small_images()), tiny_settings())
    assert model.provenance["validation"] == "a sample of the training images"
    assert model.provenance["images"] == 60 and len(model.history) == 2


def test_other_images_can_be_measured_on_without_changing_the_weights():
    source, other = open_source(small_images()), open_source(small_images(30, seed=9))
    model = fit_source(source, tiny_settings())
    measured = fit_source(source, tiny_settings(), validation=other)
    assert same_weights(model, measured)
    assert model.history[-1]["validation_mse"] != measured.history[-1]["validation_mse"]
    assert measured.provenance["validation"] == other.description


@pytest.mark.parametrize("shape", [(8, 8, 3), (12, 8, 1)])
def test_validation_images_of_another_shape_are_refused_before_the_fit(shape):
    with pytest.raises(SourceError, match="same shape"):
        fit_source(open_source(small_images()), tiny_settings(), validation=open_source(small_images(3, *shape)))


@pytest.mark.parametrize("name", ["mnist", "cifar-10"])
def test_the_train_part_of_a_named_set_is_measured_on_its_test_part(monkeypatch, name):
    train, test = open_source(small_images()), open_source(small_images(30, seed=9))
    train.description, test.description = f"{name}/train", f"{name}/test"
    monkeypatch.setattr(paper, "open_source", {f"{name}/test": test}.get)
    assert fit_source(train, tiny_settings(epochs=1)).provenance["validation"] == f"{name}/test"


def test_every_named_set_with_a_test_part_says_so():
    found = {name: sets.validation_of(name) for name in (*sets.SET_NAMES, "photos/train", "./mnist/train")}
    assert {name: test for name, test in found.items() if test} == {
        "mnist/train": "mnist/test",
        "fashion-mnist/train": "fashion-mnist/test",
        "cifar-10/train": "cifar-10/test",
    }
