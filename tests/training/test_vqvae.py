import pytest
import torch

from helpers.tiny_fits import CURED, tiny_settings
from smalti.training.paper.settings import FitSettings, QuantizerSettings
from smalti.training.paper.vqvae import VQVAE, padded_size


@pytest.mark.parametrize("size", [2, 64, 128, 512])
def test_the_study_network_has_266561_parameters_and_64_a_code(size):
    network = VQVAE(1, FitSettings(quantizer=QuantizerSettings(codebook_size=size)))
    assert network.parameter_count() == 266_561 + 64 * size


@pytest.mark.parametrize(("size", "study_kib"), [(64, 1062), (128, 1078), (256, 1110), (512, 1174)])
def test_model_sizes_are_within_a_hundredth_of_the_study(size, study_kib):
    network = VQVAE(1, FitSettings(quantizer=QuantizerSettings(codebook_size=size)))
    assert 4 * network.parameter_count() / 1024 == pytest.approx(study_kib, rel=0.01)


def test_layers_are_those_of_the_study():
    network = VQVAE(1, FitSettings())
    encoder, decoder = network.encoder, network.decoder
    layers = [encoder.down1, encoder.down2, decoder.up1, decoder.up2]
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(1, 128), (128, 64), (64, 128), (128, 1)]
    assert {(layer.kernel_size, layer.stride) for layer in layers} == {((4, 4), (2, 2))}
    images = torch.rand(2, 1, 28, 28)
    assert network.latents(images).shape == (2, 64, 7, 7)
    result = network(images)
    assert result.images.shape == images.shape
    assert result.quantized.tokens.shape == (2, 7, 7) and result.quantized.tokens.dtype == torch.int64


def test_the_decoder_ends_in_a_sigmoid():
    decoder = VQVAE(1, tiny_settings()).decoder
    extreme = decoder(1e4 * torch.randn(1, 4, 3, 3))
    assert extreme.min() >= 0 and extreme.max() <= 1 and extreme.max() > 0.99


@pytest.mark.parametrize("quantizer", [None, CURED], ids=["paper", "cured"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(5, 7), (30, 29), (1, 1), (4, 9)])
def test_any_sides_are_padded_and_cropped(height, width, channels, quantizer):
    network = VQVAE(channels, tiny_settings(quantizer)).eval()
    images = torch.rand(3, channels, height, width)
    result = network(images)
    assert result.images.shape == images.shape
    assert result.quantized.tokens.shape == (3, -(-height // 4), -(-width // 4))
    assert network.encode(images).equal(result.quantized.tokens)
    assert network(images, quantize=False).images.shape == images.shape


def test_padding_repeats_the_nearest_pixel():
    network = VQVAE(1, tiny_settings()).eval()
    images = torch.rand(2, 1, 6, 7)
    padded = images[:, :, torch.tensor([0, 1, 2, 3, 4, 5, 5, 5])][..., torch.tensor([0, 1, 2, 3, 4, 5, 6, 6])]
    torch.testing.assert_close(network.latents(images), network.latents(padded))


@pytest.mark.parametrize(("side", "padded"), [(1, 4), (4, 4), (5, 8), (28, 28), (29, 32)])
def test_padded_sides(side, padded):
    assert padded_size(side, 4) == (padded, 4) and padded_size(4, side) == (4, padded)
