import pytest

from helpers.tiny_fits import CURED, StopAt, fit_small, small_images, tiny_settings
from smalti.errors import ModelError
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.observer import FitInterruptedError


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "model.checkpoint"
    with pytest.raises(FitInterruptedError):
        fit_small(tiny_settings(), checkpoint=path, observer=StopAt(3))
    return path


def refusal(checkpoint, settings=None, pixels=None):
    with pytest.raises(ModelError) as caught:
        fit_small(settings or tiny_settings(), pixels, checkpoint=checkpoint, resume=True)
    assert checkpoint.exists() and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (tiny_settings(seed=5), "seed 0, not 5"),
        (tiny_settings(epochs=9), "epochs 2, not 9"),
        (tiny_settings(CURED), "code dim None, not 2"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_with_the_difference(checkpoint, settings, words):
    message = refusal(checkpoint, settings)
    assert "other settings" in message and words in message and "remove it" in message


def test_a_checkpoint_of_other_images_is_refused(checkpoint):
    changed = small_images()
    changed[7, 3, 3] ^= 1
    assert "other images" in refusal(checkpoint, pixels=changed)
    assert "other images" in refusal(checkpoint, pixels=small_images(channels=2))


def test_a_damaged_checkpoint_is_refused(checkpoint):
    data = checkpoint.read_bytes()
    for damaged in (b"", data[:100], data[:-5], b"no safetensors at all", data.replace(b"smalti-ch", b"smalti-sh")):
        checkpoint.write_bytes(damaged)
        refusal(checkpoint)


def test_a_checkpoint_that_lacks_something_is_refused(checkpoint):
    tensors, description = read_tensors(checkpoint, "checkpoint", "")
    for name in ("settings", "fingerprint", "progress"):
        write_tensors(checkpoint, tensors, {key: value for key, value in description.items() if key != name})
        assert "damaged" in refusal(checkpoint)
    write_tensors(checkpoint, {"network.odd": tensors["network.decoder.up2.bias"]}, description)
    assert "damaged" in refusal(checkpoint)


def test_a_model_is_no_checkpoint(tmp_path):
    fit_small(tiny_settings()).save(tmp_path / "m")
    assert "no checkpoint" in refusal(tmp_path / "m")
