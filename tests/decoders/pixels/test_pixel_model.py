import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.pixels.test_pixel_prior import SHAPES, made, split
from helpers.tiny_pixels import random_grids, random_prior, random_tokens
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.errors import DamagedArchiveError


def model_of(*levels, dtype="uint8", hides=False):
    return PixelModel(tuple(np.array(values, np.int64) for values in levels), dtype, hides)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=SHAPES,
    pictures=st.integers(1, 5),
    threads=st.integers(1, 3),
    any_=st.booleans(),
)
def test_every_token_is_its_level(seed, shape, pictures, threads, any_):
    """any_ : colours under alpha 0 have tokens, too, which no archive holds."""
    rng, prior = made(seed, shape)
    model, grids = prior.model, random_grids(rng, pictures)
    tokens = random_tokens(rng, model, int(grids.prod(axis=1).sum()))
    if any_:
        tokens = np.stack([rng.integers(0, len(own), len(tokens)) for own in model.levels], 1).astype(np.uint16)
    images = model.decode(tokens, grids, threads)
    assert len(images) == pictures
    for image, own, grid in zip(images, split(tokens, grids), grids.tolist(), strict=True):
        assert image.dtype == shape["dtype"] and image.shape == (*grid, model.channels)
        for pixel, levels in zip(image.reshape(-1, model.channels).tolist(), own.tolist(), strict=True):
            expected = [int(values[level]) for values, level in zip(model.levels, levels, strict=True)]
            assert pixel == ([0] * model.channels if model.hides and expected[-1] == 0 else expected)


def test_what_is_seen_of_levels():
    model = model_of([10, 100, 190], [7], [0, 1, 65_535], [3, 4], dtype="uint16")
    assert [seen.tolist() for seen in model.seen] == [[0, 127, 255], [0], [0, 0, 255], [0, 255]]
    assert all(seen.dtype == np.float32 for seen in model.seen)


@pytest.mark.parametrize(("channels", "order"), [(1, [0]), (2, [1, 0]), (3, [0, 1, 2]), (4, [3, 0, 1, 2])])
def test_alpha_is_coded_first(channels, order):
    model = model_of(*[[0, 9]] * channels)
    assert model.order == order and model.has_alpha == (channels in (2, 4))
    assert (model.channels, model.tokens_per_cell, model.cell, model.reach) == (channels, channels, 1, 0)


def test_a_token_that_is_no_level_is_damage():
    model = random_prior(np.random.default_rng(0), (5, 4, 6)).model
    for channel, count in enumerate((5, 4, 6)):
        tokens = np.zeros((6, 3), np.uint16)
        tokens[4, channel] = count
        with pytest.raises(DamagedArchiveError, match=f"no level of channel {channel}"):
            model.decode(tokens, np.array([(2, 3)]), 1)
        tokens[4, channel] -= 1
        model.decode(tokens, np.array([(2, 3)]), 1)


def test_no_pictures():
    model = random_prior(np.random.default_rng(0)).model
    assert model.decode(np.empty((0, 3), np.uint16), np.empty((0, 2), np.int64), 1) == []
