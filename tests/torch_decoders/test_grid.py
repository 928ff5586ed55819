import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.networks import KINDS, random_network, study_network
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import ModelError, UsageError
from smalti.torch_decoders.grid import TorchIntegerDecoder


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.sampled_from(KINDS),
    channels=st.integers(1, 4),
    images=st.integers(0, 3),
    grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_gives_the_pixels_of_the_numpy_decoder(seed, kinds, channels, images, grid, dtype):
    rng = np.random.default_rng(seed)
    network = random_network(rng, kinds, channels=channels)
    tokens = rng.integers(0, network.codes, (images, *grid))
    try:
        network.output_size(grid)
    except ModelError:
        with pytest.raises(ModelError):
            TorchIntegerDecoder(network).decode(torch.from_numpy(tokens))
        return
    pixels = TorchIntegerDecoder(network, dtype=dtype).decode(torch.from_numpy(tokens))
    assert pixels.dtype == torch.uint8
    assert (pixels.numpy() == IntegerDecoder(network).decode(tokens)).all()


@pytest.fixture(scope="module")
def study():
    """A network of the study's size with weights up to the bound, tokens, and their pixels."""
    rng = np.random.default_rng(5)
    network = study_network(rng, hidden=128)
    tokens = rng.integers(0, network.codes, (256, 7, 7))
    return network, torch.from_numpy(tokens), IntegerDecoder(network).decode(tokens)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_backends_and_threads_do_not_matter(study, onednn, threads):
    network, tokens, pixels = study
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.mkldnn.flags(enabled=onednn):
            decoded = TorchIntegerDecoder(network).decode(tokens)
    finally:
        torch.set_num_threads(before)
    assert (decoded.numpy() == pixels).all()


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_batches_do_not_matter(study, batch):
    network, tokens, pixels = study
    decoder = TorchIntegerDecoder(network)
    decoded = [decoder.decode(tokens[start : start + batch]) for start in range(0, 256 if batch > 1 else 16, batch)]
    assert (torch.cat(decoded).numpy() == pixels[: sum(map(len, decoded))]).all()


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_reduced_precision_is_off_while_it_runs_and_restored_afterwards(study, precision):
    network, tokens, pixels = study
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = TorchIntegerDecoder(network).decode(tokens)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (decoded.numpy() == pixels).all()


def test_the_number_of_images_at_a_time_does_not_matter(study, monkeypatch):
    network, tokens, pixels = study
    monkeypatch.setattr("smalti.torch_decoders.grid.BATCH_NUMBERS", 200_000)
    assert (TorchIntegerDecoder(network).decode(tokens[:40]).numpy() == pixels[:40]).all()


@pytest.mark.parametrize(
    "tokens", [torch.zeros(1, 2, 2), torch.zeros(2, 2, dtype=torch.int64), torch.full((1, 2, 2), 22)]
)
def test_impossible_tokens(study, tokens):
    with pytest.raises(UsageError, match="tokens"):
        TorchIntegerDecoder(study[0]).decode(tokens)
