import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.networks import SHAPES, random_pyramid, random_tokens
from helpers.reference_pyramid import reference_decode
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import ABSENT, TokenLayout
from smalti.errors import ModelError, UsageError

KINDS = [("up",), ("conv",), ("up", "conv"), ("conv", "up", "up")]


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    kinds=st.sampled_from(KINDS),
    channels=st.integers(1, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
    tile_bytes=st.sampled_from([1, 500, 4000, 1 << 22]),
)
def test_equals_the_reference(seed, shape, kinds, channels, dtype, tile_bytes):
    rng, (grid, strides) = np.random.default_rng(seed), shape
    network = random_pyramid(rng, strides, channels=channels, kinds=kinds)
    try:
        size = network.output_size(grid)
    except ModelError:
        with pytest.raises(ModelError):
            PyramidDecoder(network, grid)
        return
    tokens = random_tokens(rng, network, grid, 3)
    decoder = PyramidDecoder(network, grid, dtype)
    decoder._most_bytes = tile_bytes
    pixels = decoder.decode(tokens)
    assert pixels.shape == (3, *size, channels) and pixels.dtype == np.uint8
    assert (pixels == reference_decode(network, grid, tokens)).all()


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(6)
    network = random_pyramid(rng, ((4, 4), (2, 2)), hidden=8, kinds=("up", "up"))
    tokens = random_tokens(rng, network, (8, 8), 200)
    return network, tokens, PyramidDecoder(network, (8, 8)).decode(tokens)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 7, 200])
def test_threads_and_batches_do_not_matter(made, threads, batch):
    network, tokens, pixels = made
    decoder = PyramidDecoder(network, (8, 8))
    for start in range(0, len(tokens), batch):
        part = slice(start, start + batch)
        assert (decoder.decode(tokens[part], threads) == pixels[part]).all()


def test_pixels_are_not_all_alike(made):
    assert len(np.unique(made[2])) > 1


def test_a_preview_is_the_image_of_the_first_levels(made):
    network, tokens, pixels = made
    decoder, layout = PyramidDecoder(network, (8, 8)), TokenLayout(network, (8, 8))
    assert (decoder.preview(tokens, layout.levels) == pixels).all()
    for levels in range(layout.levels):
        shorter = tokens.copy()
        shorter[:, layout.starts[levels] :] = ABSENT
        assert (decoder.preview(tokens, levels) == decoder.decode(shorter)).all()
    assert (decoder.preview(tokens, 0) == decoder.preview(tokens[:1], 0)).all()
    for levels in (-1, layout.levels + 1):
        with pytest.raises(UsageError):
            decoder.preview(tokens, levels)


def test_tokens_that_cannot_be(made):
    network, tokens, _ = made
    decoder, layout = PyramidDecoder(network, (8, 8)), TokenLayout(network, (8, 8))
    deep = tokens[layout.check(tokens) == layout.levels][:1]
    hole, partly, foreign = deep.copy(), deep.copy(), deep.copy()
    hole[:, layout.part(0)] = ABSENT
    partly[:, -1] = ABSENT
    foreign[:, 0] = layout.numbers[1]
    for wrong in (hole, partly, foreign, deep[:, 1:], deep[0], deep.astype(float), deep.astype(int) - 99_999):
        with pytest.raises(UsageError, match="token"):
            decoder.decode(wrong)


@pytest.mark.parametrize(("canvas", "images"), [((4, 4), 3000), ((128, 256), 1)])
def test_memory_is_bounded(canvas, images):
    rng = np.random.default_rng(0)
    network = random_pyramid(rng, ((4, 4), (1, 1)), hidden=64, channels=3, kinds=("up", "conv"))
    tokens = random_tokens(rng, network, (4, 4), images)
    if images == 1:
        network = random_pyramid(rng, ((4, 4),), hidden=64, channels=3, kinds=("up", "conv"))
        tokens = random_tokens(rng, network, canvas, images)
    decoder = PyramidDecoder(network, canvas)
    tracemalloc.start()
    pixels = decoder.decode(tokens)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - pixels.nbytes < 64 << 20
