"""The page-only reader of pixels, against smalti: models, priors and tokens of any shape."""

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.readers.basics import Coder
from conformance.readers.mixtures import MixedPixels, pixels_of
from decoders.pixels import test_mixture_prior as mixtures
from decoders.pixels.test_pixel_prior import SHAPES, made, split
from helpers.tiny_pixels import random_grids, random_tokens


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(1, 4))
def test_the_readers_agree(seed, shape, pictures):
    assert not isinstance(compared(*made(seed, shape), pictures), MixedPixels)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=mixtures.SHAPES, pictures=st.integers(1, 3))
def test_the_readers_agree_on_mixtures(seed, shape, pictures):
    assert isinstance(compared(*mixtures.made(seed, shape), pictures), MixedPixels)


def compared(rng, prior, pictures):
    """The page-only reader of a prior, which finds the same tokens and pixels."""
    model, grids = prior.model, random_grids(rng, pictures, 7)
    tokens = random_tokens(rng, model, int(grids.prod(axis=1).sum()))
    channels = model.channels
    header = {"dtype": str(model.dtype), "image_shape": [9, 9, channels], "token_grid": [1, channels]}
    reader = pixels_of(model.to_bytes(), prior.to_bytes(), header, 1)
    coder = Coder(prior.encode(tokens, grids))
    found = reader.decode(coder, [tuple(grid) for grid in grids.tolist()])
    coder.end()
    images = model.decode(tokens, grids, 1)
    for own, expected, image in zip(found, split(tokens, grids), images, strict=True):
        assert (own.reshape(expected.shape) == expected).all() and (reader.pixels(own) == image).all()
    return reader
