import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.networks import KINDS, random_network, study_network, unfolded_study_network
from helpers.reference_grid import reference_decode
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.windows import WindowPair
from smalti.errors import ModelError, UsageError


def networks_and_tokens(seed, kinds, channels, images, grid):
    rng = np.random.default_rng(seed)
    network = random_network(rng, kinds, channels=channels)
    return network, rng.integers(0, network.codes, (images, *grid)).astype(np.uint16)


@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.sampled_from(KINDS),
    channels=st.integers(1, 4),
    images=st.integers(0, 2),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dtype=st.sampled_from([np.float32, np.float64]),
    tile_bytes=st.sampled_from([1, 500, 4000, 1 << 22]),
    plain=st.booleans(),
)
@example(8347124, ["tokens", "up", "up"], 1, 1, (2, 1), np.float32, 1, False)
@example(720717548, ["tokens", "conv", "up", "conv"], 1, 1, (1, 1), np.float32, 1, False)  # pixels of no input
def test_equals_the_reference(seed, kinds, channels, images, grid, dtype, tile_bytes, plain):
    network, tokens = networks_and_tokens(seed, kinds, channels, images, grid)
    decoder = IntegerDecoder(network, dtype, plain=plain)
    decoder._most_bytes = tile_bytes
    try:
        size = network.output_size(grid)
    except ModelError:
        with pytest.raises(ModelError):
            decoder.decode(tokens)
        return
    pixels = decoder.decode(tokens)
    assert pixels.shape == (images, *size, channels) and pixels.dtype == np.uint8
    assert (pixels == reference_decode(network, tokens).reshape(pixels.shape)).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kinds=st.sampled_from([["tokens", "up"], ["tokens", "up", "conv"], ["tokens", "up", "up"]]),
    tile_bytes=st.sampled_from([10_000, 200_000, 1 << 25]),
)
def test_windows_change_nothing(seed, channels, grid, kinds, tile_bytes):
    network, tokens = networks_and_tokens(seed, kinds, channels, 2, grid)
    try:
        network.output_size(grid)
    except ModelError:
        return
    fast, plain = IntegerDecoder(network), IntegerDecoder(network, plain=True)
    fast._most_bytes = tile_bytes
    assert (fast.decode(tokens, threads=2) == plain.decode(tokens)).all()


@pytest.mark.parametrize("make", [study_network, unfolded_study_network])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_studys_network_is_served_by_windows(make, channels):
    rng = np.random.default_rng(channels)
    network = make(rng, channels=channels)
    tokens = rng.integers(0, 22, (5, 3, 4))
    decoder = IntegerDecoder(network)
    assert [type(stage) for stage in decoder._stages] == [WindowPair]
    assert (decoder.decode(tokens) == reference_decode(network, tokens)).all()


def test_a_table_that_would_be_too_large_is_not_made():
    rng = np.random.default_rng(0)
    network = unfolded_study_network(rng, codes=65_536, hidden=32)
    tokens = rng.integers(0, 65_536, (1, 3, 3))
    decoder = IntegerDecoder(network)
    assert len(decoder._stages) == 2
    assert (decoder.decode(tokens) == reference_decode(network, tokens)).all()


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(3)
    network = study_network(rng, hidden=64)
    tokens = rng.integers(0, network.codes, (300, 7, 7)).astype(np.uint16)
    return network, tokens, IntegerDecoder(network, plain=True).decode(tokens)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("plain", [True, False])
def test_threads_and_types_do_not_matter(study, threads, dtype, plain):
    network, tokens, pixels = study
    assert (IntegerDecoder(network, dtype, plain=plain).decode(tokens, threads) == pixels).all()


@pytest.mark.parametrize("batch", [1, 7, 256])
@pytest.mark.parametrize("plain", [True, False])
def test_batches_do_not_matter(study, batch, plain):
    network, tokens, pixels = study
    decoder = IntegerDecoder(network, plain=plain)
    for start in range(0, len(tokens), batch):
        part = slice(start, start + batch)
        assert (decoder.decode(tokens[part]) == pixels[part]).all()


def test_pixels_are_not_all_alike(study):
    assert len(np.unique(study[2])) > 1


@pytest.mark.parametrize(
    "tokens",
    [
        np.zeros((1, 2, 2)),
        np.zeros((2, 2), int),
        np.zeros((1, 0, 2), int),
        np.full((1, 2, 2), 22),
        np.full((1, 2, 2), -1),
    ],
)
def test_tokens_that_cannot_be(study, tokens):
    with pytest.raises(UsageError, match="tokens"):
        IntegerDecoder(study[0]).decode(tokens)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("shape", [(1, 128, 256), (1, 1, 20_000), (3000, 3, 3)])
@pytest.mark.parametrize("make", [study_network, unfolded_study_network])
def test_memory_is_bounded(make, shape, plain):
    rng = np.random.default_rng(0)
    network = make(rng, hidden=128, channels=4)
    tokens = rng.integers(0, network.codes, shape).astype(np.uint16)
    decoder = IntegerDecoder(network, plain=plain)
    tracemalloc.start()
    pixels = decoder.decode(tokens)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - pixels.nbytes < 64 << 20
