import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoders.pixels.test_pixel_prior import SHAPES, made
from helpers.tiny_pixels import random_prior, random_tokens
from smalti.errors import UsageError
from smalti.torch_decoders.kinds import TORCH_CELL_DECODERS
from smalti.torch_decoders.pixels import TorchPixelDecoder


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=SHAPES,
    images=st.integers(0, 3),
    grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_gives_the_pixels_of_the_numpy_decoder(seed, shape, images, grid):
    rng, prior = made(seed, shape)
    model = prior.model
    tokens = random_tokens(rng, model, images * grid[0] * grid[1])
    if model.hides:
        tokens[::2, :-1] = 0  # any alpha, and colours of level 0
    batch = torch.from_numpy(tokens.astype(np.int32)).reshape(images, *grid, model.channels)
    pixels = TORCH_CELL_DECODERS["pixels"](model, torch.device("cpu"))(batch)
    assert str(pixels.dtype) == f"torch.{model.dtype}" and pixels.shape == batch.shape
    grids = np.array([grid] * images, np.int64).reshape(-1, 2)
    for ours, theirs in zip(pixels.numpy(), model.decode(tokens, grids, 1), strict=True):
        assert (ours == theirs).all()


def test_hidden_colours_are_0_whatever_their_tokens_are():
    model = random_prior(np.random.default_rng(0), (3, 3, 3, 2), hides=True).model
    tokens = np.array([[2, 1, 2, 0], [2, 1, 2, 1]], np.uint16)
    pixels = TorchPixelDecoder(model).decode(torch.from_numpy(tokens.astype(np.int64)).reshape(1, 1, 2, 4))
    assert pixels[0, 0, 0].tolist() == [0, 0, 0, 0] and pixels[0, 0, 1, :3].min() > 0
    assert (pixels.numpy()[0] == model.decode(tokens, np.array([(1, 2)]), 1)[0]).all()


def test_impossible_tokens():
    model = random_prior(np.random.default_rng(0), (5, 4, 6)).model
    decoder, tokens = TorchPixelDecoder(model), torch.zeros((2, 3, 4, 3), dtype=torch.int64)
    beyond = tokens.clone()
    beyond[1, 2, 3, 1] = 4
    for wrong in (tokens - 1, beyond, tokens[..., 1:], tokens[0], tokens.to(torch.float32), tokens + 0j):
        with pytest.raises(UsageError, match="tokens"):
            decoder.decode(wrong)
