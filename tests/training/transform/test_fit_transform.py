"""A fit of the profile photo: interruptions, seeds, settings, its model file, targets."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.tiny_fits import StopAt
from helpers.tiny_transforms import GOAL, fit_pictures, pictures, small_efforts, smooth
from smalti.decoders.transform.transform_packing import pack_transform
from smalti.errors import ModelError, UsageError
from smalti.images.quality import QualityMeter
from smalti.images.sized import as_sized
from smalti.sources.open import open_source
from smalti.training.cells.encoding import _BYTES_AN_ARCHIVE
from smalti.training.common.goal import Goal
from smalti.training.kinds import load_model
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.training_kind import EncodeRequest, FitOptions
from smalti.training.transform.fitted_transform import FittedTransform
from smalti.training.transform.transform_settings import TransformSettings
from smalti.training.transform.transform_training import TransformTraining


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_efforts(monkeypatch)


@pytest.fixture(name="whole", scope="module")
def _whole():
    with pytest.MonkeyPatch.context() as patch:
        small_efforts(patch)
        return fit_pictures()


def packed(model):
    return pack_transform(model.network), model.prior.to_bytes()


def same(one, other):
    first, second = one.learned.state_dict(), other.learned.state_dict()
    weights = first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)
    return weights and packed(one) == packed(other) and (one.price, one.history) == (other.price, other.history)


def encoded(model, source, **request):
    found = model.encode(source, EncodeRequest(**request), SilentObserver())
    return found, [(batch, tokens) for batch, tokens in found.batches]


def quality(found, batches):
    """What a reader decodes from the bytes of the prior: mean squared error, and bytes of tokens."""
    meter, size = QualityMeter(with_ssim=False), 0
    prior = found.model.read_prior(found.prior.to_bytes())
    for batch, tokens in batches:
        cell = found.model.cell
        grids = np.array([[-(-side // cell) for side in batch.pixels.shape[1:3]]] * len(batch))
        data = prior.encode(tokens, grids)
        size += len(data)
        images = found.model.decode(prior.decode(data, grids), grids, 1)
        height, width = batch.pixels.shape[1:3]
        meter.add(batch.pixels, np.stack([image[:height, :width] for image in images]))
    return meter.result(), size


def test_the_same_fit_gives_the_same_model(whole):
    assert same(whole, fit_pictures())
    assert not same(whole, fit_pictures(seed=1))
    assert whole.history and whole.history[-1]["step"] == 10


@pytest.mark.parametrize("stops", [[1], [4, 3], [9, 1]], ids=str)
def test_an_interrupted_fit_ends_as_if_nothing_had_happened(stops, whole, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    for stop in stops:
        with pytest.raises(FitInterruptedError):
            fit_pictures(checkpoint=checkpoint, resume=True, observer=StopAt(stop))
    assert same(whole, fit_pictures(checkpoint=checkpoint, resume=True))


def test_a_fit_that_is_interrupted_while_its_prior_is_tuned_keeps_its_steps(whole, tmp_path):
    class StopTuning(SilentObserver):
        stops = False

        def on_step(self, stage, done, total):
            self.stops = stage == "tune"

        def should_stop(self):
            return self.stops

    class Count(SilentObserver):
        steps = 0

        def on_step(self, stage, done, total):
            self.steps += stage == "fit"

    checkpoint, count = tmp_path / "checkpoint", Count()
    with pytest.raises(FitInterruptedError):
        fit_pictures(checkpoint=checkpoint, observer=StopTuning())
    assert same(whole, fit_pictures(checkpoint=checkpoint, resume=True, observer=count))
    assert count.steps == 0


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(FitInterruptedError):
        fit_pictures(checkpoint=checkpoint, observer=StopAt(2))
    with pytest.raises(ModelError, match="other settings"):
        fit_pictures(checkpoint=checkpoint, resume=True, seed=3)
    with pytest.raises(ModelError, match="other images"):
        fit_pictures(pictures(sizes=((40, 40), (17, 60))), checkpoint=checkpoint, resume=True)
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="checkpoint"):
        fit_pictures(checkpoint=checkpoint, resume=True)


def test_a_model_file_gives_the_same_tokens(whole, tmp_path):
    whole.save(tmp_path / "m")
    again = load_model(tmp_path / "m", "cpu")
    assert isinstance(again, FittedTransform) and same(whole, again) and again.settings == whole.settings
    (one, first), (other, second) = (encoded(model, pictures()) for model in (whole, again))
    assert one.prior.to_bytes() == other.prior.to_bytes() and one.model.to_bytes() == other.model.to_bytes()
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    again.save(tmp_path / "again")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_damaged_model_file_is_refused(whole, tmp_path):
    path = tmp_path / "m"
    whole.save(path)
    data = path.read_bytes()
    for changed in (data[:-5], data[: len(data) // 2], b"", bytes([*data[:-40], data[-40] ^ 1, *data[-39:]])):
        path.write_bytes(changed)
        with pytest.raises(ModelError):
            TransformTraining().load(path, "cpu")


@pytest.mark.parametrize("goal", [Goal.of_psnr(33), GOAL], ids=str)
def test_a_target_of_quality_is_met_by_what_a_reader_decodes(goal, whole):
    found, batches = encoded(whole, pictures(), goal=goal)
    measured, _ = quality(found, batches)
    assert found.missed is None
    assert 0.97 * goal.mse < measured.mse_mean <= goal.mse * 1.0002


def test_a_target_of_bytes_is_met(whole):
    def size_of(goal):
        found, batches = encoded(whole, pictures(), goal=goal)
        return found, quality(found, batches)[1] + len(found.model.to_bytes()) + len(found.prior.to_bytes())

    (_, small), (_, large) = size_of(Goal.of_psnr(34)), size_of(Goal.of_psnr(39))
    wanted = (small + large) // 2
    found, size = size_of(Goal(archive_bytes=wanted + _BYTES_AN_ARCHIVE))
    assert found.missed is None and 0.9 * wanted < size <= wanted, (small, large)


def test_a_target_that_is_out_of_reach_is_said(whole):
    assert "PSNR is" in encoded(whole, pictures(), goal=Goal.of_psnr(90))[0].missed
    assert "more than 500 bytes" in encoded(whole, pictures(), goal=Goal(archive_bytes=500))[0].missed
    assert "SSIM" in encoded(whole, pictures(), goal=Goal(ssim=0.99999))[0].missed


def test_images_without_a_similarity_have_another_target(whole):
    source = as_sized(open_source(np.stack([smooth(6, 40, seed=seed) for seed in range(3)])))
    found, batches = encoded(whole, source, goal=Goal(ssim=0.9))
    assert "7x7" in found.missed and quality(found, batches)[0].mse_mean < 3e-4


@pytest.mark.parametrize(
    "image",
    [np.full((20, 20, 3), 77), np.zeros((1, 1, 1)), np.zeros((9, 30, 4)), np.full((8, 8, 2), 255)],
    ids=["one colour", "one black pixel", "transparent", "white"],
)
def test_images_of_one_colour(image):
    found, batches = encoded(fit_pictures(as_sized(open_source(np.stack([image.astype(np.uint8)] * 3)))), as_sized(
        open_source(np.stack([image.astype(np.uint8)] * 3))
    ))  # fmt: skip
    assert found.missed is None and quality(found, batches)[0].mse_mean < 1e-4


@pytest.mark.parametrize("channels", [2, 3])
def test_channels(channels):
    source = pictures(channels)
    found, batches = encoded(fit_pictures(source, effort=0), source)
    measured, _ = quality(found, batches)
    assert found.missed is None
    assert (measured.mse_mean if measured.seen is None else measured.seen.mse_mean) <= GOAL.mse * 1.0002


def test_sixteen_bits():
    source = pictures(dtype=np.uint16)
    found, batches = encoded(fit_pictures(source, effort=0, goal=Goal.of_psnr(45)), source)
    assert found.missed is None and quality(found, batches)[0].mse_mean <= Goal.of_psnr(45).mse * 1.0002


def test_threads_change_nothing(whole):
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(encoded(whole, pictures(count=5)))
    torch.set_num_threads(1)
    (one, first), (other, second) = found
    assert one.prior.to_bytes() == other.prior.to_bytes()
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_what_is_refused(whole):
    with pytest.raises(ModelError, match="1 channels and uint8"):
        encoded(whole, pictures(3))
    with pytest.raises(UsageError, match="effort of 10"):
        encoded(whole, pictures(), effort=10)
    with pytest.raises(UsageError, match="--adapt"):
        encoded(whole, pictures(), adapt=True)
    with pytest.raises(UsageError, match="--epochs"):
        TransformTraining().make_settings("photo", codebook_size=None, epochs=3, seed=None, goal=None, effort=None)


def test_settings_come_back_from_json():
    settings = TransformSettings("photo", Goal(ssim=0.9), 4, 7, mixing=False)
    assert TransformSettings.from_json(settings.to_json()) == settings
    for wrong in ({}, {**settings.to_json(), "effort": 12}, {**settings.to_json(), "more": 1}):
        with pytest.raises(ModelError, match="fit the model anew"):
            TransformSettings.from_json(wrong)
    with pytest.raises(UsageError):
        TransformSettings("photo", GOAL, seed=-1)


def test_several_processes_are_refused():
    kind = TransformTraining()
    settings = kind.make_settings("photo", codebook_size=None, epochs=None, seed=None, goal=None, effort=0)
    with pytest.raises(UsageError, match="one process"):
        kind.fit(pictures(), settings, FitOptions(group=SimpleNamespace(size=2)), SilentObserver())
