import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.networks import SHAPES, random_pyramid, random_tokens
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import ABSENT, TokenLayout
from smalti.errors import ModelError, UsageError
from smalti.torch_decoders.pyramid import TorchPyramidDecoder


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    kinds=st.sampled_from([("up",), ("conv",), ("up", "conv"), ("conv", "up")]),
    channels=st.integers(1, 4),
    images=st.integers(0, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_gives_the_pixels_of_the_numpy_decoder(seed, shape, kinds, channels, images, dtype):
    rng, (grid, strides) = np.random.default_rng(seed), shape
    network = random_pyramid(rng, strides, channels=channels, kinds=kinds)
    tokens = random_tokens(rng, network, grid, images)
    try:
        expected = PyramidDecoder(network, grid).decode(tokens)
    except ModelError:
        with pytest.raises(ModelError):
            TorchPyramidDecoder(network, grid)
        return
    pixels = TorchPyramidDecoder(network, grid, dtype=dtype).decode(torch.from_numpy(tokens.astype(np.int32)))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == expected.shape and (pixels.numpy() == expected).all()


@pytest.fixture(scope="module")
def some():
    """A network of two scales, tokens of every depth, and their pixels."""
    rng, grid = np.random.default_rng(0), (4, 4)
    network = random_pyramid(rng, [(4, 4), (2, 2)], kinds=("up", "conv"))
    tokens = random_tokens(rng, network, grid, 40)
    return network, grid, tokens, PyramidDecoder(network, grid).decode(tokens)


def test_the_number_of_images_at_a_time_does_not_matter(some, monkeypatch):
    network, grid, tokens, pixels = some
    assert len(np.unique(pixels)) > 50
    monkeypatch.setattr("smalti.torch_decoders.pyramid.BATCH_NUMBERS", 1500)
    assert (
        TorchPyramidDecoder(network, grid).decode(torch.from_numpy(tokens.astype(np.int64))).numpy() == pixels
    ).all()


def test_reduced_precision_is_off_while_it_runs(some):
    network, grid, tokens, pixels = some
    with torch.autocast("cpu", dtype=torch.bfloat16):
        decoded = TorchPyramidDecoder(network, grid).decode(torch.from_numpy(tokens.astype(np.int64)))
    assert (decoded.numpy() == pixels).all()


def test_impossible_tokens(some):
    network, grid, tokens, _ = some
    decoder, layout = TorchPyramidDecoder(network, grid), TokenLayout(network, grid)
    wrong = torch.full((2, layout.tokens), ABSENT, dtype=torch.int32)
    wrong[1, 0] = layout.numbers[1]  # a code of level 1
    for tokens in (wrong, wrong[:, 1:], wrong.to(torch.float32), wrong - ABSENT - 1):
        with pytest.raises(UsageError, match="tokens"):
            decoder.decode(tokens)
