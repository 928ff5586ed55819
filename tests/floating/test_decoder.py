import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smalti.floating.decoder as decoder_module
from smalti.errors import ModelError, UsageError
from smalti.floating import DecoderWeights, FloatDecoder


def random_weights(codes=9, code_dim=3, hidden=5, channels=1, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return DecoderWeights(
        draw(codes, code_dim), draw(code_dim, hidden, 4, 4), draw(hidden), draw(hidden, channels, 4, 4), draw(channels)
    )


def random_tokens(images, height, width, codes=9, seed=1):
    return np.random.default_rng(seed).integers(0, codes, (images, height, width))


def slow_transposed(image, weight, bias):
    """The definition, one input number at a time, in float64: [h, w, in] -> [2h, 2w, out]."""
    height, width, _ = image.shape
    padded = np.zeros((2 * height + 2, 2 * width + 2, len(bias)))
    for y in range(height):
        for x in range(width):
            patch = np.einsum("i,iokl->klo", image[y, x].astype(np.float64), weight.astype(np.float64))
            padded[2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += patch
    return padded[1:-1, 1:-1] + bias


def slow_decode(weights, tokens):
    """255 * sigmoid before rounding, float64 [n, 4h, 4w, C]."""
    images = []
    for grid in tokens:
        hidden = slow_transposed(weights.codebook[grid], weights.up1_weight, weights.up1_bias)
        logits = slow_transposed(np.maximum(hidden, 0), weights.up2_weight, weights.up2_bias)
        images.append(255 / (1 + np.exp(-logits)))
    return np.stack(images)


def assert_rounded(pixels, exact):
    assert np.abs(pixels - exact).max() < 0.5 + 1e-3


GRIDS = [(1, 1, 1), (7, 7, 1), (2, 5, 3), (3, 1, 4)]


@pytest.mark.parametrize(("height", "width", "channels"), GRIDS)
@pytest.mark.parametrize("fold_bytes", [0, 64 << 20])
def test_equals_the_definition(monkeypatch, height, width, channels, fold_bytes):
    monkeypatch.setattr(decoder_module, "_FOLD_BYTES", fold_bytes)
    weights, tokens = random_weights(channels=channels), random_tokens(19, height, width)
    pixels = FloatDecoder(weights).decode(tokens)
    assert pixels.dtype == np.uint8 and pixels.shape == (19, 4 * height, 4 * width, channels)
    assert_rounded(pixels, slow_decode(weights, tokens))


def test_equals_the_framework():
    torch = pytest.importorskip("torch")
    weights, tokens = random_weights(code_dim=8, hidden=16, channels=3), random_tokens(20, 7, 6)
    up = torch.nn.functional.conv_transpose2d
    latents = torch.from_numpy(weights.codebook[tokens]).permute(0, 3, 1, 2)
    hidden = up(latents, torch.from_numpy(weights.up1_weight), torch.from_numpy(weights.up1_bias), 2, 1).relu()
    logits = up(hidden, torch.from_numpy(weights.up2_weight), torch.from_numpy(weights.up2_bias), 2, 1)
    exact = 255 * torch.sigmoid(logits).permute(0, 2, 3, 1).numpy()
    assert_rounded(FloatDecoder(weights).decode(tokens), exact)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(GRIDS), st.integers(1, 70), st.data())
def test_pixels_do_not_depend_on_company_or_threads(grid, images, data):
    height, width, channels = grid
    decoder = FloatDecoder(random_weights(channels=channels))
    tokens = random_tokens(images, height, width)
    whole = decoder.decode(tokens)
    step = decoder.chunk_images(height, width)
    start = data.draw(st.integers(0, (images - 1) // step)) * step
    stop = data.draw(st.integers(start + 1, images))
    assert (decoder.decode(tokens[start:stop]) == whole[start:stop]).all()
    assert (decoder.decode(tokens, threads=data.draw(st.integers(2, 5))) == whole).all()


def test_chunks_shrink_for_large_images():
    assert FloatDecoder.chunk_images(7, 7) == 16
    assert FloatDecoder.chunk_images(1, 1) == 16
    assert FloatDecoder.chunk_images(64, 64) == 1


def test_extreme_logits_are_black_and_white():
    weights = random_weights()
    for bias, pixel in ((-1e4, 0), (1e4, 255)):
        steady = DecoderWeights(
            weights.codebook, weights.up1_weight, weights.up1_bias, weights.up2_weight, np.float32([bias])
        )
        assert (FloatDecoder(steady).decode(random_tokens(1, 2, 2)) == pixel).all()


def test_no_images_and_foreign_tokens():
    decoder = FloatDecoder(random_weights())
    assert decoder.decode(np.zeros((0, 2, 3), np.uint16)).shape == (0, 8, 12, 1)
    for token in (-1, 9):
        with pytest.raises(UsageError):
            decoder.decode(np.full((1, 2, 2), token))


def test_weights_that_do_not_fit_are_named():
    good = random_weights()
    bad = {
        "codebook": good.codebook[:, :2],
        "up1_weight": good.up1_weight.astype(np.float64),
        "up1_bias": good.up1_bias[:2],
        "up2_weight": np.where(good.up2_weight > 2, np.nan, good.up2_weight).astype(np.float32),
        "up2_bias": np.zeros(5, np.float32),
    }
    for name, tensor in bad.items():
        with pytest.raises(ModelError):
            DecoderWeights(**{**vars(good), name: tensor})


def test_with_codes_keeps_the_pixels():
    weights, tokens = random_weights(), np.array([[[8, 2], [2, 5]]])
    fewer = weights.with_codes(np.array([2, 5, 8]))
    assert (FloatDecoder(fewer).decode(np.array([[[2, 0], [0, 1]]])) == FloatDecoder(weights).decode(tokens)).all()
