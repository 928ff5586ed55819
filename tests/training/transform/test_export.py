"""Analysis, synthesis, and the decoder in integers."""

import numpy as np
import pytest
import torch

from helpers.tiny_transforms import flat, random_coefficients, random_transform, smooth
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_packing import pack_transform, unpack_transform
from smalti.decoders.transform.transform_prior import signed, unsigned
from smalti.training.common.scaling import PixelScale
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.export import export_network


def images_of(*sizes, channels=1):
    return [smooth(*size, channels, seed)[None] for seed, size in enumerate(sizes)]


@pytest.mark.parametrize(("channels", "cell"), [(1, 8), (3, 8), (4, 8), (1, 16)])
def test_synthesis_undoes_analysis(channels, cell):
    learned = random_transform(channels, cell, components=channels * cell * cell, mixing=0)
    for pixels in images_of((cell, cell), (3 * cell, 2 * cell), (cell, 4 * cell), channels=channels):
        images = torch.from_numpy(PixelScale().to_unit(pixels)).permute(0, 3, 1, 2)
        with torch.no_grad():
            made = learned.synthesise(learned.analyse(images))
        torch.testing.assert_close(made, images, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("channels", "mixing"), [(1, 0), (1, 6), (3, 6)])
def test_the_integer_decoder_is_close_to_the_float_synthesis(channels, mixing):
    learned = random_transform(channels, mixing=mixing)
    grids = [(5, 7), (1, 1), (2, 9), (6, 1)]
    parts = [CellEncoder(learned, PixelScale()).values(smooth(8 * h, 8 * w, channels)[None]) for h, w in grids]
    coefficients = [
        torch.from_numpy(np.rint(part)).reshape(1, *grid, -1).permute(0, 3, 1, 2)
        for part, grid in zip(parts, grids, strict=True)
    ]
    sample = coefficients[0]
    network = export_network(learned, PixelScale(), sample)
    again = unpack_transform(pack_transform(network), "uint8", 1 << 24)
    found = TransformModel(again).decode(unsigned(flat(coefficients)), np.array(grids), 1)
    for pixels, one in zip(found, coefficients, strict=True):
        with torch.no_grad():
            wanted = 255 * learned.synthesise(one)[0].permute(1, 2, 0).numpy()
        off = np.abs(np.clip(wanted, 0, 255) - pixels)
        assert off.mean() < 0.45 and off.max() < 2.5


def test_the_decoders_steps_are_those_of_the_coefficients():
    learned = random_transform(mixing=0)
    pixels = smooth(32, 32)[None]
    steps = learned.steps.detach().double().numpy()
    own, finer = (CellEncoder(learned, PixelScale(), steps * gain) for gain in (1, 0.25))
    np.testing.assert_allclose(finer.values(pixels), 4 * own.values(pixels), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(own.squares, 16 * finer.squares, rtol=1e-5)


def test_strips_of_large_images_are_as_the_whole(monkeypatch):
    learned = random_transform(3)
    torch.manual_seed(1)
    for values in learned.encoder.parameters():
        values.data.normal_(0, 0.05)
    pixels = smooth(8 * 50, 40, 3)[None]
    whole = CellEncoder(learned, PixelScale()).values(pixels)
    monkeypatch.setattr("smalti.training.transform.cell_encoder._PART_PIXELS", 1000)
    monkeypatch.setattr("smalti.training.transform.cell_encoder._STRIP_CELLS", 7)
    np.testing.assert_allclose(CellEncoder(learned, PixelScale()).values(pixels), whole, atol=2e-3)


def test_weights_follow_what_is_seen():
    encoder = CellEncoder(random_transform(4), PixelScale())
    pixels = smooth(8, 24, 4)[None]
    pixels[:, :, :8, 3], pixels[:, :, 8:16, 3], pixels[:, :, 16:, 3] = 0, 255, 128
    weights = encoder.weights(pixels)
    assert weights.shape == (3, 14)
    np.testing.assert_allclose(weights[1], encoder.squares, rtol=1e-4)
    assert (weights[0] <= weights[2] + 1e-12).all() and (weights[2] <= weights[1] + 1e-12).all()
    assert (weights[0] < weights[1]).any()
    assert CellEncoder(random_transform(3), PixelScale()).weights(pixels[..., :3]).ndim == 1


def test_tokens_are_coefficients_of_both_signs():
    values = np.array([0, -1, 1, -2, 2, 32767, -32767, -32768], np.int32)
    assert unsigned(values)[:5].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(signed(unsigned(values)), values)
    assert random_coefficients(random_transform(), [(2, 3)])[0].shape == (1, 14, 2, 3)
