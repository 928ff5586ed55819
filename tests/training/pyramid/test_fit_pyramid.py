from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from helpers.tiny_fits import StopAt, without_seconds
from helpers.tiny_pyramids import BATCH, STEPS, blobs, differing, fit_blobs, pyramid_settings
from smalti.errors import ModelError
from smalti.training.common.training_images import to_unit_range
from smalti.training.observer import FitInterruptedError
from smalti.training.pyramid.learner import FitPlan
from smalti.training.pyramid.pyramid_model import PyramidModel
from smalti.training.reports import PyramidReport

CHANGES = 5
"""Steps between two changes of the codebooks, in these tests."""

WARM_UP, WHOLE = 2, 20


def change_often(monkeypatch):
    """Make codebooks change within a few steps, and codes so cheap that few images pay for some."""
    monkeypatch.setattr("smalti.training.pyramid.learner.LEAST_BETWEEN_CHANGES", CHANGES)
    monkeypatch.setattr("smalti.training.pyramid.codebooks.BITS_PER_NUMBER", 0.0)
    monkeypatch.setattr("smalti.training.pyramid.codebooks.BITS_PER_WEIGHT", 0.005)


@pytest.fixture(autouse=True)
def many_changes(monkeypatch):
    change_often(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fitted model, the checkpoint of its fit, and the checkpoint of a fit that was interrupted after 3 steps."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        change_often(patch)
        model = fit_blobs(patch, checkpoint=folder / "ended")
        with pytest.raises(FitInterruptedError) as caught:
            fit_blobs(patch, checkpoint=folder / "left", observer=StopAt(3))
    assert caught.value.checkpoint == folder / "left"
    return SimpleNamespace(model=model, ended=(folder / "ended").read_bytes(), left=(folder / "left").read_bytes())


@pytest.fixture
def whole(made):
    """The model of a fit without interruption."""
    return made.model


@pytest.fixture
def left(made, tmp_path):
    """The checkpoint of a fit that was interrupted after 3 steps."""
    (tmp_path / "checkpoint").write_bytes(made.left)
    return tmp_path / "checkpoint"


def test_what_is_fitted_here_has_every_phase(whole):
    plan = FitPlan.of(STEPS, 2)
    assert (plan.warm_up, plan.whole, plan.resize_every) == (WARM_UP, WHOLE, CHANGES)
    assert [step for step in range(STEPS) if plan.resizes(step)] == [7, 12, 17, 22, 27]
    sizes = [report["codes"] for report in whole.history]
    assert sizes[0] == [1, 1] and len({tuple(codes) for codes in sizes}) > 3 and min(sizes[-1]) > 1
    assert whole.history[-1]["mse"] < whole.history[0]["mse"]


# after steps 1, 2, 7, 20, 27: just before codes start, change, and become integers; after 3, 9, 21, 25: within phases
@pytest.mark.parametrize("stops", [[1, 1, 5, 13, 7], [3, 6, 12, 4]], ids=str)
def test_an_interrupted_fit_ends_as_if_nothing_had_happened(stops, whole, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint"
    for stop in stops:
        with pytest.raises(FitInterruptedError):
            fit_blobs(monkeypatch, checkpoint=checkpoint, resume=True, observer=StopAt(stop))
    resumed = fit_blobs(monkeypatch, checkpoint=checkpoint, resume=True)
    assert differing(whole, resumed) == []
    assert resumed.price == whole.price
    assert all(one.equal(other) for one, other in zip(whole.weights, resumed.weights, strict=True))
    assert without_seconds(resumed.history) == without_seconds(whole.history)


def test_a_fit_that_ended_is_not_done_again(made, whole, tmp_path, monkeypatch):
    (tmp_path / "checkpoint").write_bytes(made.ended)
    heard = StopAt(99)
    again = fit_blobs(monkeypatch, checkpoint=tmp_path / "checkpoint", resume=True, observer=heard)
    assert heard.left == 99 and differing(whole, again) == []


def test_other_seeds_give_other_weights(whole, monkeypatch):
    assert "pyramid.weights.0" in differing(whole, fit_blobs(monkeypatch, pyramid_settings(seed=1), steps=3))


def test_without_resume_a_fit_begins_anew(made, left, monkeypatch):
    with pytest.raises(FitInterruptedError):
        fit_blobs(monkeypatch, checkpoint=left, observer=StopAt(1))
    assert left.read_bytes() != made.left


@pytest.mark.parametrize("fields", [{"mse": 0.005}, {"seed": 1}, {"effort": 1}, {"codes": 4}, {"coarse": False}])
def test_other_settings_are_refused(fields, left, monkeypatch):
    with pytest.raises(ModelError, match="other settings"):
        fit_blobs(monkeypatch, pyramid_settings(**fields), checkpoint=left, resume=True)


def test_other_images_are_refused(left, monkeypatch):
    with pytest.raises(ModelError, match="other images"):
        fit_blobs(monkeypatch, pixels=blobs(seed=1), checkpoint=left, resume=True)


def test_damaged_and_foreign_checkpoints_are_refused(left, whole, tmp_path, monkeypatch):
    whole.save(tmp_path / "model")
    left.write_bytes(left.read_bytes()[:-7])
    (tmp_path / "text").write_text("no checkpoint")
    for path in (tmp_path / "model", left, tmp_path / "text"):
        with pytest.raises(ModelError, match="remove it to start anew"):
            fit_blobs(monkeypatch, checkpoint=path, resume=True)


class Listener(StopAt):
    def __init__(self, steps):
        super().__init__(steps)
        self.steps, self.reports, self.lengths = [], [], []

    def on_step(self, stage, step, steps):
        super().on_step(stage, step, steps)
        self.steps.append((step, steps))

    def on_report(self, report, history):
        self.reports.append(report)
        self.lengths.append(len(history))


def test_an_observer_hears_every_step_and_the_reports(monkeypatch):
    heard = Listener(99)
    model = fit_blobs(monkeypatch, observer=heard, steps=41)
    assert heard.steps == [(step, 41) for step in range(1, 42)]
    assert [report.step for report in heard.reports] == [*range(2, 41, 2), 41]
    assert heard.lengths == list(range(1, len(heard.reports) + 1))
    assert model.history == [{**vars(report), "codes": list(report.codes)} for report in heard.reports]
    last: PyramidReport = heard.reports[-1]
    assert last.whole and not heard.reports[0].whole
    assert last.codes == tuple(len(codes) for codes in model.pyramid.codes)
    assert last.mse > 0 and last.price > 0 and last.model_bytes > 0
    assert heard.reports[0].bits == 0 < max(report.bits for report in heard.reports), "there are codes after warm-up"


def test_a_stop_without_a_checkpoint_stops(monkeypatch):
    with pytest.raises(FitInterruptedError) as caught:
        fit_blobs(monkeypatch, observer=StopAt(1))
    assert caught.value.checkpoint is None


def test_provenance_says_what_was_fitted(monkeypatch):
    model = fit_blobs(monkeypatch, steps=3, provenance={"source": "blobs"})
    assert model.provenance["images"] == 16 and model.provenance["source"] == "blobs"


def test_an_epoch_may_end_with_a_single_image(monkeypatch):
    fit_blobs(monkeypatch, pixels=blobs(2 * BATCH + 1), steps=6)


def test_one_image_is_fitted(monkeypatch):
    model = fit_blobs(monkeypatch, pixels=blobs(1), steps=12)
    assert isinstance(model, PyramidModel) and model.pyramid.whole


@pytest.mark.parametrize(
    "fields", [{"codes": 3}, {"rate_aware": False}, {"conditional": False}, {"shrink_weights": False}], ids=str
)
def test_each_part_can_be_switched_off(fields, monkeypatch):
    settings = replace(pyramid_settings(), **fields)
    model = fit_blobs(monkeypatch, settings, steps=12)
    assert model.settings == settings
    if "codes" in fields:
        assert [len(codes) for codes in model.pyramid.codes] == [3, 3]
    if "conditional" in fields:
        assert not any(prior.features for prior in model.pyramid.priors)


REFINED = pyramid_settings(effort=5)
"""The lowest effort whose fits end with a refit."""


class StopRefining(StopAt):
    """Stops after a number of calls that follow the last step of the fit."""

    def __init__(self, times):
        super().__init__(-1)
        self.times, self.heard = times, []

    def on_step(self, stage, done, total):
        if stage != "fit":
            self.heard.append((stage, done, total))

    def should_stop(self):
        return len(self.heard) == self.times


def test_a_fit_ends_with_learning_from_the_tokens_that_were_found(made, tmp_path, monkeypatch):
    heard = StopRefining(-1)
    refined = fit_blobs(monkeypatch, REFINED, checkpoint=tmp_path / "anew", observer=heard)
    stages = [stage for stage, done, total in heard.heard if done == total]
    assert stages == ["encode", "search", "refit", "encode", "search"]
    changed = differing(made.model, refined)
    assert changed and all(name.startswith("pyramid.") for name in changed), "refits leave the encoder"
    assert not (tmp_path / "anew.tokens").exists()


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_an_interrupted_refit_ends_as_if_nothing_had_happened(times, tmp_path, monkeypatch):
    whole = fit_blobs(monkeypatch, REFINED)
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(FitInterruptedError) as caught:
        fit_blobs(monkeypatch, REFINED, checkpoint=checkpoint, observer=StopRefining(times))
    assert caught.value.checkpoint == checkpoint and checkpoint.exists()
    resumed = fit_blobs(monkeypatch, REFINED, checkpoint=checkpoint, resume=True)
    assert differing(whole, resumed) == [] and resumed.price == whole.price


def test_a_fitted_encoder_scales_latents_as_it_did_while_it_learned(whole):
    images = to_unit_range(blobs())
    assert not any(head.normal.training for head in whole.encoder.heads)
    found = whole.encoder(images)
    learning = deepcopy(whole.encoder).train()(images)
    for settled, scaled_by_batch in zip(found, learning, strict=True):
        assert scaled_by_batch.std() > 0
        torch.testing.assert_close(settled, scaled_by_batch, atol=0.01 * float(scaled_by_batch.std()), rtol=0.1)


def test_tokens_left_by_an_earlier_fit_are_not_kept(tmp_path, monkeypatch):
    stale = tmp_path / "checkpoint.tokens"
    stale.write_bytes(b"of an earlier fit")
    fit_blobs(monkeypatch, checkpoint=tmp_path / "checkpoint", steps=3)
    assert not stale.exists()
