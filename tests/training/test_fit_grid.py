import sys

import numpy as np
import pytest
import torch

from helpers.tiny_fits import (
    CURED,
    StopAt,
    fit_small,
    same_weights,
    small_images,
    tiny_settings,
    training_images,
    weights,
    without_seconds,
)
from smalti.errors import UsageError
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.paper.fit_grid import _GridLoop, choose_device, fit, validate
from smalti.training.paper.settings import FitSettings, QuantizerSettings
from smalti.training.paper.vqvae import VQVAE
from smalti.training.reports import EpochReport, token_statistics

fit_module = sys.modules["smalti.training.paper.fit_grid"]  # the package's `fit` is the function

TUNING_STEPS = 12
"""A fifth of the 60 steps of `many_steps`."""

BOTH = pytest.mark.parametrize("quantizer", [None, CURED], ids=["paper", "cured"])


def many_steps(quantizer):
    """60 steps in two epochs: warm-up ends at step 15, dead codes are restarted after step 50."""
    return tiny_settings(quantizer, batch_images=2)


def slow_fit(settings, pixels):
    """Fit by the study protocol, written out: full distances, loss as one sum, Adam. Return network and losses."""
    torch.manual_seed(settings.seed)
    network = VQVAE(pixels.shape[3], settings)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    images = torch.from_numpy(pixels).float().div(255).permute(0, 3, 1, 2)
    losses = []
    for epoch in range(settings.epochs):
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(images))
        for start in range(0, len(order), settings.batch_images):
            batch = images[order[start : start + settings.batch_images]]
            latents = network.encoder(batch)
            codes = network.quantizer.codebook.weight
            distances = (latents.permute(0, 2, 3, 1)[..., None, :] - codes).square().sum(-1)
            chosen = codes[distances.argmin(-1)].permute(0, 3, 1, 2)
            images_again = network.decoder(latents + (chosen - latents).detach())
            parts = torch.stack(
                [
                    (images_again - batch).square().mean(),
                    (latents.detach() - chosen).square().mean(),
                    (latents - chosen.detach()).square().mean(),
                ]
            )
            optimizer.zero_grad()
            (parts[0] + parts[1] + 0.25 * parts[2]).backward()
            optimizer.step()
            losses.append(parts.detach().numpy())
    return network, np.array(losses)


def test_a_fit_is_the_study_protocol_written_out():
    settings = FitSettings(quantizer=QuantizerSettings(codebook_size=5), hidden_channels=8, latent_channels=4)
    assert (settings.batch_images, settings.epochs, settings.learning_rate) == (64, 3, 2e-4)
    pixels = small_images(150)
    network, losses = slow_fit(settings, pixels)
    model = fit_small(settings, pixels)
    for name, expected in network.named_parameters():
        torch.testing.assert_close(weights(model)[name], expected.detach(), rtol=1e-3, atol=1e-6)
    for epoch, report in enumerate(model.history):
        mean = losses[3 * epoch : 3 * epoch + 3].mean(0)  # three steps an epoch: 64 + 64 + 22 images
        got = [report["reconstruction"], report["codebook"], report["commitment"]]
        np.testing.assert_allclose(got, mean, rtol=1e-3)


@BOTH
def test_fits_learn(quantizer):
    history = fit_small(tiny_settings(quantizer, epochs=16)).history
    assert history[-1]["validation_mse"] < 0.5 * history[0]["validation_mse"]
    assert [report["epoch"] for report in history] == list(range(1, 17))


@BOTH
def test_equal_seeds_give_equal_weights_and_other_seeds_others(quantizer):
    first = fit_small(tiny_settings(quantizer))
    again = fit_small(tiny_settings(quantizer))
    other = fit_small(tiny_settings(quantizer, seed=1))
    assert same_weights(first, again) and not same_weights(first, other)
    assert without_seconds(first.history) == without_seconds(again.history)


@BOTH
def test_an_interrupted_fit_ends_as_if_nothing_had_happened(quantizer, tmp_path):
    whole = fit_small(many_steps(quantizer))
    # at the warm-up's end, an epoch's end, a restart of dead codes, and during the fine-tuning of integers
    for stops in ([1], [15, 1], [30], [49, 1, 8], [65, 1]):
        checkpoint = tmp_path / "checkpoint"
        for stop in stops:
            with pytest.raises(FitInterruptedError) as caught:
                fit_small(many_steps(quantizer), checkpoint=checkpoint, resume=True, observer=StopAt(stop))
            assert caught.value.checkpoint == checkpoint and checkpoint.exists()
        resumed = fit_small(many_steps(quantizer), checkpoint=checkpoint, resume=True)
        assert same_weights(whole, resumed), stops
        assert without_seconds(whole.history) == without_seconds(resumed.history)
        heard = StopAt(99)
        again = fit_small(many_steps(quantizer), checkpoint=checkpoint, resume=True, observer=heard)
        assert same_weights(whole, again)
        assert 99 - heard.left == TUNING_STEPS, "the last checkpoint must hold the finished fit, without another step"
        checkpoint.unlink()
        assert list(tmp_path.iterdir()) == []


def test_the_study_network_resumes_bit_for_bit(tmp_path):
    settings, pixels = FitSettings(epochs=1, batch_images=4), small_images(12, 12, 12)
    whole = fit_small(settings, pixels)
    with pytest.raises(FitInterruptedError):
        fit_small(settings, pixels, checkpoint=tmp_path / "c", observer=StopAt(2))
    assert same_weights(whole, fit_small(settings, pixels, checkpoint=tmp_path / "c", resume=True))


def test_a_killed_fit_goes_on_from_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", -1)

    class Killed(SilentObserver):
        def on_step(self, stage, step, steps):
            if step == 20:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit_small(many_steps(None), checkpoint=tmp_path / "c", observer=Killed())
    heard = StopAt(99)
    resumed = fit_small(many_steps(None), checkpoint=tmp_path / "c", resume=True, observer=heard)
    assert same_weights(fit_small(many_steps(None)), resumed)
    assert 99 - heard.left == 60 - 19 + TUNING_STEPS  # the interrupted step is done again


def test_without_resume_a_checkpoint_is_not_read(tmp_path):
    with pytest.raises(FitInterruptedError):
        fit_small(tiny_settings(seed=1), checkpoint=tmp_path / "c", observer=StopAt(1))
    model = fit_small(tiny_settings(), checkpoint=tmp_path / "c")
    assert same_weights(model, fit_small(tiny_settings()))


def test_interruption_without_a_checkpoint_leaves_nothing():
    with pytest.raises(FitInterruptedError) as caught:
        fit_small(tiny_settings(), observer=StopAt(1))
    assert caught.value.checkpoint is None and isinstance(caught.value, KeyboardInterrupt)


def test_the_observer_hears_every_step_and_epoch():
    class Listener(SilentObserver):
        def __init__(self):
            self.steps, self.epochs, self.quantized = [], [], []

        def on_step(self, stage, step, steps):
            assert stage == "fit"
            self.steps.append((step, steps))

        def on_report(self, report, history):
            if isinstance(report, EpochReport):
                self.epochs.append((report.epoch, len(history), history[-1] == report.to_json()))
            else:
                self.quantized.append(report.to_json())

    heard = Listener()
    model = fit_small(tiny_settings(), observer=heard)
    assert heard.steps == [(step, 9) for step in range(1, 10)]  # four an epoch, then one of fine-tuning
    assert heard.epochs == [(1, 1, True), (2, 2, True)]
    assert heard.quantized == [model.quantization]


@BOTH
def test_images_with_odd_sides_and_channels_are_fitted(quantizer):
    for height, width, channels in [(5, 7, 2), (30, 29, 1), (7, 4, 3), (9, 9, 4)]:
        pixels = small_images(10, height, width, channels)
        model = fit_small(tiny_settings(quantizer), pixels)
        assert model.image_shape == (height, width, channels)
        assert validate(model.network, pixels).token_counts.sum() == 10 * -(-height // 4) * -(-width // 4)


@BOTH
def test_one_image_and_more_codes_than_data(quantizer):
    model = fit_small(tiny_settings(quantizer), small_images(1, 4, 4))
    assert np.isfinite(model.history[-1]["validation_mse"])


def test_dead_codes_are_restarted_in_a_fit():
    pixels = small_images(160, 24, 24)  # enough tokens for running counts to fall below the threshold in time
    stuck, lively = (
        fit_small(tiny_settings(QuantizerSettings(codebook_size=40, update="ema", restart=restart), epochs=20), pixels)
        for restart in (False, True)
    )
    assert lively.history[-1]["codes_used"] > 2 * stuck.history[-1]["codes_used"]


def test_a_kmeans_start_uses_more_codes():
    stuck = fit_small(tiny_settings(QuantizerSettings(codebook_size=40)))
    started = fit_small(tiny_settings(QuantizerSettings(codebook_size=40, start="kmeans")))
    assert started.history[-1]["codes_used"] > stuck.history[-1]["codes_used"]


def test_validation_is_the_mean_over_pixels_and_keeps_the_mode():
    model, pixels = fit_small(tiny_settings()), small_images(300)
    model.network.train()
    measured = validate(model.network, pixels)
    assert model.network.training
    images = torch.from_numpy(pixels).float().div(255).permute(0, 3, 1, 2)
    result = model.network.eval()(images)
    assert measured.mse == pytest.approx((result.images - images).square().mean().item(), rel=1e-5)
    counts = np.bincount(result.quantized.tokens.numpy().ravel(), minlength=12)
    np.testing.assert_array_equal(measured.token_counts, counts)
    assert token_statistics(measured.token_counts).codes_used == np.count_nonzero(counts)


def test_the_model_knows_what_it_was_fitted_on():
    model = fit(training_images(small_images()), small_images(5), tiny_settings(), provenance={"source": "blobs"})
    assert model.provenance["images"] == 60 and model.provenance["source"] == "blobs"
    assert model.provenance["parameters"] == model.network.parameter_count()
    assert not model.network.training


def test_running_means_are_not_learned_by_gradient():
    loop = _GridLoop(training_images(small_images()), tiny_settings(CURED), "cpu")
    learned = {id(parameter) for group in loop.optimizer.param_groups for parameter in group["params"]}
    assert id(loop.network.quantizer.codebook.weight) not in learned
    assert id(loop.network.encoder.down1.weight) in learned


def test_devices_that_are_not_there_are_refused():
    assert choose_device("cpu") == "cpu" and choose_device("auto") in {"cpu", "cuda", "mps"}
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        choose_device("tpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(UsageError, match="no mps device"):
            choose_device("mps")
