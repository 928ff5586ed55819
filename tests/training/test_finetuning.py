import numpy as np
import pytest
import torch

from helpers.tiny_fits import fit_small, small_images, tiny_settings, training_images
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.training.common.training_images import to_unit_range
from smalti.training.paper.finetuning import finetune_steps, quantize_decoder


@pytest.fixture(scope="module")
def fitted():
    settings = tiny_settings(epochs=12)
    return fit_small(settings, small_images(120)), settings


def run(fitted, steps, on_step=lambda step: None):
    model, settings = fitted
    images = small_images(120)
    return quantize_decoder(model.network, training_images(images), images[:40], settings, steps, on_step)


def test_fine_tuning_makes_it_better_than_rounding_alone(fitted):
    _, report = run(fitted, 60)
    assert report.mse < report.calibrated_mse and report.steps == 60


def test_the_report_is_measured_on_images_of_the_exact_decoder(fitted):
    model, _ = fitted
    network, report = run(fitted, 10)
    images = small_images(120)[:40]
    decoded = IntegerDecoder(network).decode(model.tokens(to_unit_range(images)).numpy())
    assert report.mse == pytest.approx(np.mean((decoded / 255 - images / 255) ** 2), rel=1e-9)


def test_without_steps_the_calibrated_network_is_kept(fitted):
    _, report = run(fitted, 0)
    assert report.mse == report.calibrated_mse and report.steps == 0


def test_the_same_again_gives_the_same_integers(fitted):
    first, second = (run(fitted, 8)[0] for _ in range(2))
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(first.layers, second.layers, strict=True))


def test_the_float_network_is_left_as_it_was(fitted):
    before = {name: value.clone() for name, value in fitted[0].network.state_dict().items()}
    run(fitted, 5)
    assert all(torch.equal(before[name], value) for name, value in fitted[0].network.state_dict().items())


def test_an_exception_of_the_callback_ends_the_fine_tuning(fitted):
    steps = []

    def stop(step):
        steps.append(step)
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(fitted, 10, stop)
    assert steps == [1, 2, 3]


def test_weights_that_grow_beyond_exactness_fall_back_to_the_calibrated_ones(fitted, monkeypatch):
    def explode(decoder, *arguments):
        with torch.no_grad():
            decoder.biases[-1] += 2.0**25

    monkeypatch.setattr("smalti.training.paper.finetuning._train", explode)
    _, report = run(fitted, 5)
    assert report.steps == 0 and report.mse == report.calibrated_mse


def test_a_short_fit_is_tuned_shortly():
    assert finetune_steps(tiny_settings(finetune_steps=500), 2814) == 500
    assert finetune_steps(tiny_settings(finetune_steps=500), 40) == 8
