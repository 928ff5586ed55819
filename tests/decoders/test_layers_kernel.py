from dataclasses import replace

import numpy as np
import pytest

from helpers.kernels import kernels, with_and_without
from helpers.networks import random_pyramid, random_tokens
from smalti.decoders.layers.integer_network import PixelTable
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.errors import ModelError

GRIDS = {((2, 2),): (4, 4), ((4, 4), (1, 1)): (4, 8), ((1, 2), (1, 1)): (1, 2), ((3, 3), (3, 1), (1, 1)): (6, 6)}
KINDS = (("up",), ("conv",), ("up", "conv"), ("conv", "up", "up"))


def random_decoder(rng, strides, **shape):
    """The first random network from whose grid some pixels remain."""
    while True:
        network = random_pyramid(rng, strides, **shape)
        try:
            return PyramidDecoder(network, GRIDS[strides])
        except ModelError:
            continue


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("strides", list(GRIDS), ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_gives_the_pixels_of_numpy(seed, strides, kinds):
    rng = np.random.default_rng([seed, len(strides), len(kinds)])
    decoder = random_decoder(rng, strides, hidden=1 + 2 * seed, channels=1 + seed % 4, kinds=kinds)
    tokens = random_tokens(rng, decoder.network, decoder.grid, 300 if seed == 0 else 7)
    plain, compiled = with_and_without(lambda: decoder.decode(tokens))
    assert plain.dtype == compiled.dtype and (plain == compiled).all()
    with kernels("always"):
        assert (decoder.decode(tokens, threads=2) == plain).all()
        assert (decoder.decode(tokens[:0]) == plain[:0]).all()


def test_pixels_of_16_bits_and_parts_of_large_images_are_the_same(monkeypatch):
    rng = np.random.default_rng(9)
    network = random_pyramid(rng, ((1, 1),), hidden=4, channels=3, kinds=("up", "conv"))
    last = network.layers[-1]
    table = PixelTable(last.activation.low, last.activation.values.astype(np.uint16) * 257)
    network = replace(network, layers=(*network.layers[:-1], replace(last, activation=table)))
    tokens = random_tokens(rng, network, (9, 7), 5)
    plain, compiled = with_and_without(lambda: PyramidDecoder(network, (9, 7)).decode(tokens))
    assert plain.dtype == compiled.dtype == np.uint16 and (plain == compiled).all()
    decoder = PyramidDecoder(network, (9, 7))
    monkeypatch.setattr(decoder, "_most_bytes", 2000)  # tiles are parts of an image
    with kernels("always"):
        assert (decoder.decode(tokens) == plain).all()
