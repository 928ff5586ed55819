import numpy as np
import pytest
import torch

from helpers.tiny_fits import CURED, tiny_settings
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import EXACT
from smalti.training.paper.integers import FloatLayer, apply_layer, calibrate, decoder_layers, fold
from smalti.training.paper.settings import QuantizerSettings
from smalti.training.paper.vqvae import VQVAE

MANY = QuantizerSettings(codebook_size=300)


def random_network(quantizer=None, channels=1, deviation=0.4, **settings):
    network = VQVAE(channels, tiny_settings(quantizer, **settings)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, deviation, generator=torch.Generator().manual_seed(weight.numel()))
    return network


def random_tokens(codes, images=40):
    return torch.from_numpy(np.random.default_rng(0).integers(0, codes, (images, 3, 4)))


def float_pixels(network, tokens):
    with torch.no_grad():
        codes = network.quantizer.code_latents()[tokens].permute(0, 3, 1, 2)
        return torch.round(255 * network.decoder(codes)).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("quantizer", [None, CURED, MANY], ids=["paper", "cured", "many codes"])
def test_calibrated_integers_give_what_the_floats_give(quantizer, channels):
    network = random_network(quantizer, channels)
    tokens = random_tokens(network.quantizer.settings.codebook_size)
    decoder = calibrate(network, tokens)
    exact = IntegerDecoder(decoder.to_network()).decode(tokens.numpy())
    errors = exact.astype(int) - float_pixels(network, tokens)
    assert np.ptp(exact) > 200  # bright and dark, else nothing could differ
    assert np.abs(errors).mean() < 2.5 and abs(errors.mean()) < 0.3


@pytest.mark.parametrize("latent_channels", [32, 4], ids=["folded", "unfolded"])
def test_the_stored_network_is_the_trained_one(latent_channels):
    network = random_network(deviation=0.4 if latent_channels == 4 else 0.15, latent_channels=latent_channels)
    tokens = random_tokens(network.quantizer.settings.codebook_size)
    decoder = calibrate(network, tokens)
    with torch.no_grad():
        for weight in decoder.weights:  # off the integers, as training leaves them
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        trained = torch.round(255 * decoder(tokens)).permute(0, 2, 3, 1).numpy()
    exact = IntegerDecoder(decoder.to_network()).decode(tokens.numpy()).astype(int)
    # the pixel table rounds sums by its step, and a shift rounds ties up where torch rounds them to even
    assert np.abs(exact - trained).max() <= 1 and (exact != trained).mean() < 0.15


def test_the_codebook_is_pushed_through_where_that_is_smaller():
    """With 12 codes of 32 dimensions, 12 x 4 x 4 x 8 sums are fewer than the 32 x 4 x 4 x 8 weights for them."""
    folded = calibrate(random_network(latent_channels=32), random_tokens(12)).to_network().layers
    assert [(layer.kind, layer.kernel) for layer in folded] == [("tokens", (4, 4)), ("up", (4, 4))]
    layers = calibrate(random_network(latent_channels=4), random_tokens(12)).to_network().layers
    assert [(layer.kind, layer.kernel) for layer in layers] == [("tokens", (1, 1)), ("up", (4, 4)), ("up", (4, 4))]


def test_a_folded_layer_is_the_two_it_stands_for():
    lookup, up, _ = decoder_layers(random_network())
    tokens = random_tokens(12)
    torch.testing.assert_close(fold(lookup, up).outputs(tokens), up.outputs(lookup.outputs(tokens)))


def test_sums_are_exact_even_for_large_weights():
    network = random_network(deviation=60.0)
    layers = calibrate(network, random_tokens(12)).to_network().layers
    assert max(layer.largest_sum(0, 255) for layer in layers) <= EXACT


def test_a_convolution_is_a_layer_too():
    """No profile has one yet; the geometry must be that of `smalti.decoders.layers`."""
    weight = torch.arange(18.0).reshape(2, 1, 3, 3)
    layer = FloatLayer("conv", weight, torch.ones(1), (1, 1), (1, 1), "relu")
    inputs = torch.zeros(1, 2, 4, 5)
    inputs[0, 1, 2, 3] = 1.0  # out[y] meets in[y + ky - p], so a single input shows the kernel mirrored
    outputs = apply_layer(layer.kind, inputs, layer.weight, layer.bias, layer.stride, layer.padding)
    assert outputs[0, 0, 1:4, 2:5].flatten().tolist() == [18, 17, 16, 15, 14, 13, 12, 11, 10]
