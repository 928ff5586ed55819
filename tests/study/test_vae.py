from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smalti.errors import SourceError
from smalti.study.vae import Vae, VaeResult, VaeSettings, fit_vae, measure_vae

IMAGES = np.load(Path(__file__).parents[1] / "data" / "mnist_slice.npz")["images"]
SHORT = VaeSettings(latents=8, hidden=64, epochs=40, batch_images=50, learning_rate=3e-3, steps=(3.0, 1.0, 0.1))


@pytest.fixture(scope="module")
def result():
    return measure_vae(IMAGES[:400], IMAGES[400:], (0, 1), "smalti study", "2 cores", SHORT)


def test_network_is_the_reference():
    vae = Vae(784, VaeSettings())
    shapes = {name: tuple(weight.shape) for name, weight in vae.named_parameters() if name.endswith("weight")}
    assert set(shapes.values()) == {(400, 784), (20, 400), (400, 20), (784, 400)}
    assert sum(weight.numel() for weight in vae.parameters()) == 652_824


def test_divergence_and_likelihood_are_those_of_a_known_case():
    vae = Vae(4, VaeSettings(latents=1, hidden=2))
    for weight in vae.parameters():
        torch.nn.init.zeros_(weight)
    loss = vae.loss(torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.Generator().manual_seed(0))
    # Posterior equal to the prior: no divergence; every pixel a fair coin: 4 ln 2 nats.
    assert loss.item() == pytest.approx(4 * np.log(2), rel=1e-6)
    torch.nn.init.ones_(vae.mean.bias)
    loss = vae.loss(torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(4 * np.log(2) + 0.5, rel=1e-6)


def test_finer_steps_cost_more_and_look_better(result):
    for run in result.runs:
        sizes = [point.bytes_per_image for point in run.points]
        assert sizes == sorted(sizes)
        assert run.points[-1].mse < run.points[0].mse
        assert run.points[-1].ssim > run.points[0].ssim
        # Better than the mean image: it has learned something.
        mean = IMAGES[:400].mean(axis=0) / 255
        assert run.points[-1].mse < 0.8 * ((IMAGES[400:] / 255 - mean) ** 2).mean()


def test_seeds_differ_and_repeat(result):
    assert result.runs[0].points != result.runs[1].points
    _, elbo = fit_vae(IMAGES[:400], SHORT, 1)
    assert elbo == result.runs[1].negative_elbo


def test_decoder_size_is_stated(result):
    assert result.runs[0].decoder_bytes == 4 * (8 * 64 + 64 + 64 * 784 + 784)


def test_result_survives_its_file(result, tmp_path):
    assert VaeResult.read(tmp_path) is None
    result.write(tmp_path)
    assert VaeResult.read(tmp_path) == result


def test_sizes_that_differ_are_refused():
    with pytest.raises(SourceError, match="one size"):
        measure_vae(IMAGES, IMAGES[:, :20], (0,), "", "", replace(SHORT, epochs=1))
