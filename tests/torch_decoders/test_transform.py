import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.transform.test_transform_model import SHAPES
from helpers.transforms import random_tokens, random_transform
from smalti.decoders.transform.transform_model import TransformModel
from smalti.errors import UsageError
from smalti.torch_decoders.transform import TorchTransformDecoder


def numpy_pixels(network, tokens):
    grids = np.array([tokens.shape[1:3]] * len(tokens), np.int64).reshape(-1, 2)
    return TransformModel(network).decode(tokens.reshape(-1, tokens.shape[3]), grids, 1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=SHAPES,
    images=st.integers(0, 3),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_gives_the_pixels_of_the_numpy_decoder(seed, shape, images, grid):
    rng = np.random.default_rng(seed)
    network = random_transform(rng, **shape)
    components = network.components
    tokens = random_tokens(rng, images * grid[0] * grid[1], components).reshape(images, *grid, components)
    pixels = TorchTransformDecoder(network).decode(torch.from_numpy(tokens.astype(np.int32)))
    assert pixels.shape == (images, grid[0] * network.cell, grid[1] * network.cell, network.channels)
    assert str(pixels.dtype) == f"torch.{network.dtype}"
    for ours, theirs in zip(pixels.numpy(), numpy_pixels(network, tokens), strict=True):
        assert (ours == theirs).all()


@pytest.fixture(scope="module")
def some():
    rng = np.random.default_rng(2)
    network = random_transform(rng, 4, 16, 30, 12, "uint8", 3)
    tokens = random_tokens(rng, 9 * 12, 30).reshape(9, 3, 4, 30)
    return network, tokens, np.stack(numpy_pixels(network, tokens))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_reduced_precision_is_off_while_it_runs_and_restored_afterwards(some, precision):
    network, tokens, pixels = some
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = TorchTransformDecoder(network).decode(torch.from_numpy(tokens.astype(np.int64)))
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (decoded.numpy() == pixels).all()


def test_the_number_of_images_at_a_time_does_not_matter(some, monkeypatch):
    network, tokens, pixels = some
    monkeypatch.setattr("smalti.torch_decoders.transform.BATCH_NUMBERS", 30_000)
    decoder = TorchTransformDecoder(network)
    assert (decoder.decode(torch.from_numpy(tokens.astype(np.int64))).numpy() == pixels).all()


def test_impossible_tokens(some):
    decoder, tokens = TorchTransformDecoder(some[0]), torch.zeros((2, 3, 4, 30), dtype=torch.int64)
    for wrong in (tokens - 1, tokens + 65_536, tokens[..., 1:], tokens[0], tokens.to(torch.float32)):
        with pytest.raises(UsageError, match="tokens"):
            decoder.decode(wrong)
