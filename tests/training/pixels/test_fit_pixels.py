"""A fit of pixels: interruptions, seeds, settings, its model file, targets."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.tiny_fits import StopAt
from helpers.tiny_pixel_fits import GOAL, drawing, drawings, fit_drawings, small_efforts
from helpers.tiny_pixels import random_prior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.errors import ModelError, UsageError
from smalti.images.quality import QualityMeter
from smalti.images.sized import as_sized
from smalti.sources.open import open_source
from smalti.training.cells.encoding import _BYTES_AN_ARCHIVE
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.kinds import load_model
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.pixels.fitted_pixels import FittedPixels
from smalti.training.pixels.pixel_settings import PixelSettings, PixelShape, choose_shape
from smalti.training.pixels.pixel_training import PixelTraining
from smalti.training.training_kind import EncodeRequest, FitOptions


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_efforts(monkeypatch)


@pytest.fixture(name="whole", scope="module")
def _whole():
    with pytest.MonkeyPatch.context() as patch:
        small_efforts(patch)
        return fit_drawings()


def packed(model):
    return model.prior.model.to_bytes(), model.prior.to_bytes()


def same(one, other):
    return packed(one) == packed(other) and (one.price, one.mse, one.history) == (other.price, other.mse, other.history)


def encoded(model, source, **request):
    found = model.encode(source, EncodeRequest(**request), SilentObserver())
    return found, [(batch, tokens) for batch, tokens in found.batches]


def quality(found, batches):
    """What a reader decodes from the bytes of the prior: mean squared errors, and bytes of tokens."""
    meter, size = QualityMeter(with_ssim=False), 0
    prior = found.model.read_prior(found.prior.to_bytes())
    for batch, tokens in batches:
        grids = np.array([batch.pixels.shape[1:3]] * len(batch))
        data = prior.encode(tokens, grids)
        size += len(data)
        meter.add(batch.pixels, np.stack(found.model.decode(prior.decode(data, grids), grids, 1)))
    return meter.result(), size


def noise():
    """Images whose error moves smoothly with the price."""
    stack = np.random.default_rng(0).normal(128, 30, (4, 24, 24, 1)).round().clip(0, 255)
    return as_sized(open_source(stack.astype(np.uint8)))


def test_the_same_fit_gives_the_same_model(whole):
    assert same(whole, fit_drawings())
    assert packed(whole) != packed(fit_drawings(seed=1))
    assert whole.history[-1]["step"] == 14 and whole.history[-1]["bits_per_pixel"] > 0


@pytest.mark.parametrize("stops", [[1], [4, 5], [10], [11, 2], [13, 1]], ids=str)
def test_an_interrupted_fit_ends_as_if_nothing_had_happened(stops, whole, tmp_path):
    """The last four of 14 steps go through levels that were chosen before them."""
    checkpoint = tmp_path / "checkpoint"
    for stop in stops:
        with pytest.raises(FitInterruptedError) as caught:
            fit_drawings(checkpoint=checkpoint, resume=True, observer=StopAt(stop))
        assert caught.value.checkpoint == checkpoint
    assert same(whole, fit_drawings(checkpoint=checkpoint, resume=True))


def test_a_fit_that_is_interrupted_while_levels_are_chosen_keeps_its_steps(whole, tmp_path):
    class StopChoosing(SilentObserver):
        stops = False

        def on_step(self, stage, done, total):
            self.stops = stage == "search"

        def should_stop(self):
            return self.stops

    class Count(SilentObserver):
        steps = 0

        def on_step(self, stage, done, total):
            self.steps += stage == "fit"

    checkpoint, count = tmp_path / "checkpoint", Count()
    with pytest.raises(FitInterruptedError) as caught:
        fit_drawings(checkpoint=checkpoint, observer=StopChoosing())
    assert caught.value.checkpoint == checkpoint
    assert same(whole, fit_drawings(checkpoint=checkpoint, resume=True, observer=count))
    assert count.steps == 4


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(FitInterruptedError):
        fit_drawings(checkpoint=checkpoint, observer=StopAt(2))
    data = checkpoint.read_bytes()
    with pytest.raises(ModelError, match="other settings"):
        fit_drawings(checkpoint=checkpoint, resume=True, seed=3)
    with pytest.raises(ModelError, match="other images"):
        fit_drawings(drawings(sizes=((20, 20), (9, 30))), checkpoint=checkpoint, resume=True)
    tensors, state = read_tensors(checkpoint, "checkpoint", "")
    changes = [
        ("another release", {"facts": {**state["facts"], "shape": {}}}),
        ("no checkpoint", {"format": "smalti-pixels"}),
        ("damaged", {"step": None, "chooses": True, "history": None}),
    ]
    for words, changed in changes[:2]:
        write_tensors(checkpoint, tensors, {**state, **changed})
        with pytest.raises(ModelError, match=words):
            fit_drawings(checkpoint=checkpoint, resume=True)
    some = {name: value for name, value in tensors.items() if not name.endswith("context")}
    write_tensors(checkpoint, some, state)
    with pytest.raises(ModelError, match="damaged"):
        fit_drawings(checkpoint=checkpoint, resume=True)
    for broken in (b"no checkpoint", data[:-9]):
        checkpoint.write_bytes(broken)
        with pytest.raises(ModelError, match="checkpoint"):
            fit_drawings(checkpoint=checkpoint, resume=True)


def test_a_model_file_gives_the_same_tokens(whole, tmp_path):
    whole.save(tmp_path / "m")
    again = load_model(tmp_path / "m", "cpu")
    assert isinstance(again, FittedPixels) and same(whole, again) and again.settings == whole.settings
    assert again.to_json() == whole.to_json() and again.size_words() == whole.size_words()
    (one, first), (other, second) = (encoded(model, drawings()) for model in (whole, again))
    assert one.prior.to_bytes() == other.prior.to_bytes() and one.model.to_bytes() == other.model.to_bytes()
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    again.save(tmp_path / "again")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_damaged_model_file_is_refused(whole, tmp_path):
    path = tmp_path / "m"
    whole.save(path)
    data = path.read_bytes()
    tensors, found = read_tensors(path, "model", "")
    for changed in (data[:-5], data[: len(data) // 2], b""):
        path.write_bytes(changed)
        with pytest.raises(ModelError):
            PixelTraining().load(path, "cpu")
    for words in (
        {"format": "smalti-transform"},
        {"version": 2},
        {"scale": {"dtype": "int8"}},
        {"settings": {}},
        {"price": "?"},
    ):
        write_tensors(path, tensors, {**found, **words})
        with pytest.raises(ModelError):
            PixelTraining().load(path, "cpu")
    for name in tensors:
        for changed in (tensors[name][:-3], torch.cat([tensors[name], tensors[name][-1:]])):
            write_tensors(path, {**tensors, name: changed}, found)
            with pytest.raises(ModelError):
                PixelTraining().load(path, "cpu")
        write_tensors(path, {other: value for other, value in tensors.items() if other != name}, found)
        with pytest.raises(ModelError):
            PixelTraining().load(path, "cpu")


@pytest.mark.parametrize("psnr", [30, 36])
def test_a_target_of_quality_is_met_by_what_a_reader_decodes(psnr):
    source, goal = noise(), Goal.of_psnr(psnr)
    found, batches = encoded(fit_drawings(source, goal=goal), source)
    measured, _ = quality(found, batches)
    assert found.missed is None
    assert 0.9 * goal.mse < measured.mse_mean <= goal.mse * 1.0002


def opinionated():
    """A model that expects some of its 24 levels far more than others: a price moves much."""
    rng = np.random.default_rng(0)
    found = random_prior(rng, (24,), 2, 6, 0)
    model = PixelModel((np.arange(24) * 11,), "uint8", False)
    own = found.network.networks[0]
    own.scores[:, 24:] = own.scores_bias[24:] = 0  # candidates have no scores
    own.scores_bias[:24] = rng.integers(0, 90, 24) * 128
    networks = (own,)
    prior = PixelPrior(replace(found.network, networks=networks), model)
    settings = PixelSettings("drawing", Goal.of_psnr(33), 0)
    return FittedPixels(prior, PixelScale(), 0.1155 * (11 / 255) ** 2, 5e-4, settings, {"source": "none"}, [])


@pytest.mark.parametrize("psnr", [28.5, 33])
def test_the_price_meets_a_target_of_quality(psnr):
    goal = Goal.of_psnr(psnr)
    found, batches = encoded(opinionated(), noise(), goal=goal)
    assert found.missed is None
    assert 0.95 * goal.mse < quality(found, batches)[0].mse_mean <= goal.mse * 1.0002


def test_a_target_of_bytes_is_met():
    source, model = noise(), opinionated()

    def size_of(goal):
        found, batches = encoded(model, source, goal=goal)
        return found, quality(found, batches)[1] + len(found.model.to_bytes()) + len(found.prior.to_bytes())

    (_, small), (_, large) = size_of(Goal.of_psnr(28)), size_of(Goal.of_psnr(33))
    wanted = (small + large) // 2
    found, size = size_of(Goal(archive_bytes=wanted + _BYTES_AN_ARCHIVE))
    assert found.missed is None and 0.9 * wanted < size <= wanted, (small, large)


def test_a_target_that_is_out_of_reach_is_said(whole):
    assert "more than 500 bytes" in encoded(whole, drawings(), goal=Goal(archive_bytes=500))[0].missed
    assert "PSNR is" in encoded(whole, noise(), goal=Goal.of_psnr(60))[0].missed


def test_packing_can_go_by_distortion_alone():
    """Then the price is 0, and levels are the nearest ones whatever the goal is."""
    model = fit_drawings(optimised=False, effort=0)
    for goal in (Goal.of_psnr(25), Goal.of_psnr(60)):
        _, batches = encoded(model, drawings(), goal=goal)
        for batch, tokens in batches:
            distances = np.abs(model.prior.model.levels[0] - batch.pixels.reshape(-1, 1).astype(int))
            assert (distances[np.arange(len(tokens)), tokens[:, 0]] == distances.min(axis=1)).all()


@pytest.mark.parametrize(
    "image",
    [np.full((20, 20, 3), 77), np.zeros((1, 1, 1)), np.zeros((9, 30, 4)), np.full((8, 8, 2), 255)],
    ids=["one colour", "one black pixel", "transparent", "white"],
)
def test_images_of_one_colour(image):
    source = as_sized(open_source(np.stack([image.astype(np.uint8)] * 3)))
    found, batches = encoded(fit_drawings(source, effort=0), source)
    assert found.missed is None
    for batch, tokens in batches:
        grids = np.array([image.shape[:2]] * len(batch))
        assert (np.stack(found.model.decode(tokens, grids, 1)) == batch.pixels).all()
        assert found.prior.encode(tokens, grids) == b""


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels(channels):
    source = drawings(channels)
    found, batches = encoded(fit_drawings(source), source)
    measured, _ = quality(found, batches)
    assert found.missed is None
    assert (measured.mse_mean if measured.seen is None else measured.seen.mse_mean) <= GOAL.mse * 1.0002
    if channels != 3:
        hidden = [tokens[batch.pixels.reshape(-1, channels)[:, -1] == 0] for batch, tokens in batches]
        assert sum(map(len, hidden)) and not any(own.any() for own in hidden)


def test_sixteen_bits():
    source = drawings(dtype=np.uint16)
    found, batches = encoded(fit_drawings(source, goal=Goal.of_psnr(45)), source)
    assert found.missed is None and quality(found, batches)[0].mse_mean <= Goal.of_psnr(45).mse * 1.0002


def test_threads_change_nothing(whole):
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(encoded(whole, drawings(count=5)))
    torch.set_num_threads(1)
    (_, first), (_, second) = found
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_what_is_refused(whole):
    with pytest.raises(ModelError, match="1 channels and uint8"):
        encoded(whole, drawings(3))
    with pytest.raises(ModelError, match="1 channels and uint8"):
        encoded(whole, drawings(dtype=np.uint16))
    with pytest.raises(UsageError, match="effort of 10"):
        encoded(whole, drawings(), effort=10)
    with pytest.raises(UsageError, match="--adapt"):
        encoded(whole, drawings(), adapt=True)
    assert whole.takes((1, 9, 1), np.uint8) and not whole.takes((1, 9, 3), np.uint8)
    assert not whole.takes((1, 9, 1), np.uint16)


@pytest.mark.parametrize("wrong", [{"epochs": 3}, {"codebook_size": 16}])
def test_settings_of_other_profiles_are_refused(wrong):
    asked = {"codebook_size": None, "epochs": None, "seed": None, "goal": None, "effort": None}
    with pytest.raises(UsageError, match="--epochs"):
        PixelTraining().make_settings("drawing", **(asked | wrong))
    made = PixelTraining().make_settings("drawing", **asked)
    assert (made.effort, made.seed, made.goal.in_db) == (3, 0, True)


def test_fits_that_pixels_do_not_take_are_refused(tmp_path):
    kind = PixelTraining()
    settings = kind.make_settings("drawing", codebook_size=None, epochs=None, seed=None, goal=None, effort=0)
    with pytest.raises(UsageError, match="one process"):
        kind.fit(drawings(), settings, FitOptions(group=SimpleNamespace(size=2)), SilentObserver())
    with pytest.raises(UsageError, match="--validation"):
        kind.fit(drawings(), settings, FitOptions(open_source(drawing(8, 8)[None])), SilentObserver())


def test_settings_come_back_from_json():
    settings = PixelSettings("drawing", Goal(ssim=0.9), 4, 7, optimised=False)
    assert PixelSettings.from_json(settings.to_json()) == settings
    for wrong in ({}, {**settings.to_json(), "effort": 12}, {**settings.to_json(), "more": 1}):
        with pytest.raises(ModelError, match="fit the model anew"):
            PixelSettings.from_json(wrong)
    with pytest.raises(UsageError):
        PixelSettings("drawing", GOAL, 3, seed=-1)


def test_larger_collections_take_larger_networks():
    made = [choose_shape((8, 8, 8), bytes_, None) for bytes_ in (1e3, 1e5, 1e6, 1e8)]
    weights = [own.weights for own in made]
    assert weights == sorted(weights) and len(set(weights)) >= 3
    assert choose_shape((8,), 1e8, (28, 20)).edges == (28, 20, 1) and choose_shape((8,), 1e8, (65, 20)).edges[0] < 20
    for own in made:
        assert PixelShape.from_json(own.to_json()) == own


def test_sizes_of_a_shape_are_those_of_its_network(whole):
    network = whole.prior.network
    edges = (len(network.tops), len(network.lefts), len(network.rights))
    shape = PixelShape(tuple(network.levels), network.radius, network.width, network.depth, edges)
    arrays = [network.context, network.tops, network.lefts, network.rights]
    for own in network.networks:
        arrays += [own.own, own.bias, own.middle, own.middle_bias, own.scores, own.scores_bias]
    assert shape.weights == sum(array.size for array in arrays)


def test_a_goal_of_bytes_chooses_fewer_levels_for_fewer_bytes():
    source, counts = noise(), []
    for size in (300, 3_000):
        model = fit_drawings(source, goal=Goal(archive_bytes=size), effort=0)
        counts.append(model.codebook_size)
    assert counts[0] < counts[1]
