"""Lossless fits: every sample comes back, of images of all kinds; interruptions, settings, the model file."""

import numpy as np
import pytest

from helpers.tiny_fits import StopAt
from helpers.tiny_lossless import fit_lossless, small_efforts
from helpers.tiny_pixel_fits import drawings, fit_drawings
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.errors import ModelError, SourceError, UsageError
from smalti.images.sized import as_sized, chain_sized
from smalti.sources.open import open_source
from smalti.training.common.goal import Goal
from smalti.training.kinds import load_model
from smalti.training.lossless.lossless_training import LosslessTraining
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.training_kind import EncodeRequest


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_efforts(monkeypatch)


def source(*stacks):
    return chain_sized("images", [as_sized(open_source(stack)) for stack in stacks])


def photographs(channels=3, dtype=np.uint8, seed=0, sizes=((24, 31), (9, 40), (1, 1))):
    """Smooth noise, as photographs have it."""
    rng = np.random.default_rng(seed)
    largest = int(np.iinfo(dtype).max)
    made = []
    for height, width in sizes:
        walk = rng.normal(0, largest / 60, (2, height, width, channels)).cumsum(1).cumsum(2) / 3
        made.append(np.clip(walk + largest / 2, 0, largest).astype(dtype))
    return made


def decoded(model, images):
    """What a reader makes of the bytes of the prior and the tokens, beside the images."""
    found = model.encode(images, EncodeRequest(), SilentObserver())
    prior = found.model.read_prior(found.prior.to_bytes())
    for batch, tokens in found.batches:
        grids = np.array([batch.pixels.shape[1:3]] * len(batch))
        again = prior.decode(found.prior.encode(tokens, grids), grids)
        yield batch.pixels, np.stack(found.model.decode(again, grids, 1))


KINDS = {
    "grey": photographs(1),
    "colour": photographs(3),
    "grey and alpha": photographs(2),
    "colour and alpha": photographs(4),
    "16 bits": photographs(1, np.uint16),
    "16 bits of colour": photographs(3, np.uint16),
    "8 bits in 16": [stack.astype(np.uint16) * 257 for stack in photographs(1)],
    "noise": [np.random.default_rng(1).integers(0, 256, (2, 19, 23, 3), np.uint8)],
    "noise of 16 bits": [np.random.default_rng(1).integers(0, 65536, (2, 9, 13, 1), np.uint16)],
    "one value": [np.full((2, 12, 12, 3), 7, np.uint8)],
    "two values": [np.where(np.random.default_rng(1).random((2, 20, 20, 1)) < 0.1, 255, 0).astype(np.uint8)],
    "one pixel": [np.full((1, 1, 1, 1), 200, np.uint8)],
    "a row": [np.arange(250, dtype=np.uint8).reshape(1, 1, 250, 1)],
    "a column": [np.arange(250, dtype=np.uint8).reshape(1, 250, 1, 1)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_comes_back(kind):
    images = source(*KINDS[kind])
    model = fit_lossless(images)
    for original, found in decoded(model, images):
        assert found.dtype == original.dtype and (found == original).all()


@pytest.mark.parametrize("kind", ["colour", "colour and alpha", "16 bits", "two values"])
@pytest.mark.parametrize("error", [1, 2, 200])
def test_every_sample_is_within_the_error(kind, error):
    images = source(*KINDS[kind])
    for original, found in decoded(fit_lossless(images, error), images):
        apart = np.abs(original.astype(np.int64) - found)
        assert apart.max() <= error
        if original.shape[3] in (2, 4):
            assert not apart[..., -1].any()


def test_few_levels_have_scores_and_many_have_mixtures():
    assert isinstance(fit_lossless(drawings()).prior, PixelPrior)
    assert isinstance(fit_lossless(source(*KINDS["colour"])).prior, MixturePrior)


@pytest.mark.parametrize("black", [True, False])
def test_colours_under_alpha_0_are_left_out_only_if_they_are_0(black):
    pixels = photographs(4, sizes=((20, 20),))[0]
    pixels[:, :10, :, 3] = 0
    if black:
        pixels[:, :10] = 0
    images = source(pixels)
    model = fit_lossless(images)
    assert model.prior.model.hides == black
    assert all((found == original).all() for original, found in decoded(model, images))


def test_the_same_fit_gives_the_same_model_and_an_interrupted_one_too(tmp_path):
    images, checkpoint = source(*KINDS["colour"]), tmp_path / "checkpoint"
    whole = fit_lossless(images).prior.to_bytes()
    assert whole == fit_lossless(images).prior.to_bytes() != fit_lossless(images, seed=1).prior.to_bytes()
    for stop in (2, 3):
        with pytest.raises(FitInterruptedError):
            fit_lossless(images, checkpoint=checkpoint, resume=True, observer=StopAt(stop))
    assert whole == fit_lossless(images, checkpoint=checkpoint, resume=True).prior.to_bytes()


def test_a_model_file_brings_the_model_back(tmp_path):
    images = source(*KINDS["grey"])
    model = fit_lossless(images, 1)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.settings == model.settings and again.prior.to_bytes() == model.prior.to_bytes()
    assert "levels" in again.size_words() and again.to_json()["profile"] == "lossless"
    for original, found in decoded(again, images):
        assert np.abs(original.astype(np.int64) - found).max() <= 1


def test_samples_that_the_model_has_no_level_for_are_refused():
    model = fit_lossless(source(np.full((1, 8, 8, 1), 7, np.uint8)))
    other = source(np.full((1, 8, 8, 1), 9, np.uint8))
    with pytest.raises(ModelError, match="no level"):
        list(model.encode(other, EncodeRequest(), SilentObserver()).batches)


def test_other_goals_are_refused():
    lossless, lossy = fit_lossless(drawings()), fit_drawings()
    with pytest.raises(UsageError, match="no loss"):
        lossless.check_request(EncodeRequest(goal=Goal.of_psnr(30)))
    lossless.check_request(EncodeRequest(goal=Goal(max_error=0)))
    with pytest.raises(UsageError, match="--profile lossless"):
        lossy.check_request(EncodeRequest(goal=Goal(max_error=0)))
    with pytest.raises(UsageError, match="36"):
        LosslessTraining().make_settings(
            "lossless", codebook_size=None, epochs=None, seed=None, goal=Goal.of_psnr(36), effort=None
        )


@pytest.mark.parametrize("error", [-1, 1 << 15])
def test_an_error_out_of_range_is_refused(error):
    with pytest.raises(UsageError, match="outside 0"):
        Goal(max_error=error)


def test_images_that_cannot_be_read_are_an_error(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(SourceError):
        fit_lossless(as_sized(open_source(tmp_path)))
