import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalti.training.paper import quantizer
from smalti.training.paper.quantizer import Codebook, VectorQuantizer
from smalti.training.paper.settings import QuantizerSettings

WHOLE = st.integers(-6, 6).map(float)  # whole numbers: squared distances are exact, and ties are common


def quantizer_of(codes, **settings):
    """Return a quantiser with the codebook `codes` [K, D]."""
    codes = torch.as_tensor(codes, dtype=torch.float32)
    made = VectorQuantizer(codes.shape[1], QuantizerSettings(codebook_size=len(codes), **settings))
    with torch.no_grad():
        made.codebook.weight.copy_(codes)
    return made


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [2, 128, 4096])
def test_codes_start_uniform_within_one_over_k(size):
    codes = size * Codebook(size, 64).weight.detach()
    assert codes.abs().max() <= 1
    assert codes.min() < -0.9 and codes.max() > 0.9
    assert codes.std().item() == pytest.approx(1 / np.sqrt(3), rel=0.15)  # that of U[-1, 1]


@given(
    arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=WHOLE),
    arrays(np.float32, st.tuples(st.integers(2, 20), st.just(3)), elements=WHOLE),
    st.sampled_from([1, 17, 1 << 23]),
)
def test_nearest_is_the_brute_force_argmin_and_ties_go_to_the_lower(vectors, codes, at_once):
    expected = ((vectors[:, None] - codes[None]) ** 2).sum(2).argmin(1)  # NumPy's argmin takes the first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantizer, "DISTANCES_AT_ONCE", at_once)
        tokens = quantizer_of(codes).codebook.nearest(torch.from_numpy(vectors))
    assert tokens.dtype == torch.int64
    np.testing.assert_array_equal(tokens.numpy(), expected)


def test_ties_go_to_the_lower_in_a_large_codebook():
    codes = torch.zeros(70, 4).repeat(700, 1)
    assert not quantizer_of(codes).codebook.nearest(torch.randn(33, 4)).any()


def test_latents_are_replaced_by_their_codes():
    quantiser = quantizer_of([[0.0, 0.0], [1.0, 2.0]])
    latents = torch.tensor([[0.1, 0.9], [0.2, 1.8]]).view(1, 2, 1, 2)
    result = quantiser(latents)
    assert result.tokens.tolist() == [[[0, 1]]]
    torch.testing.assert_close(result.latents, torch.tensor([[0.0, 1.0], [0.0, 2.0]]).view(1, 2, 1, 2))


def test_the_gradient_passes_straight_through():
    quantiser = quantizer_of(torch.randn(5, 3))
    latents = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.randn(2, 3, 4, 4)
    quantized = quantiser(latents).latents
    (got,) = torch.autograd.grad((quantized - target).pow(3).sum(), latents)
    torch.testing.assert_close(got, 3 * (quantized.detach() - target).pow(2))


def test_the_codebook_loss_moves_codes_only_and_the_commitment_latents_only():
    quantiser = quantizer_of(torch.randn(5, 3))
    latents = torch.randn(2, 3, 4, 4, requires_grad=True)
    result = quantiser(latents)
    inputs, settings = (latents, quantiser.codebook.weight), {"allow_unused": True, "retain_graph": True}
    latents_gradient, codes_gradient = torch.autograd.grad(result.codebook_loss, inputs, **settings)
    assert latents_gradient is None and codes_gradient.abs().sum() > 0
    latents_gradient, codes_gradient = torch.autograd.grad(result.commitment_loss, inputs, **settings)
    assert codes_gradient is None and latents_gradient.abs().sum() > 0
    chosen = quantiser.codebook.weight[result.tokens].permute(0, 3, 1, 2)
    distance = (latents - chosen).square().mean()
    torch.testing.assert_close(result.codebook_loss, distance)
    torch.testing.assert_close(result.commitment_loss, distance)


def test_running_means_equal_a_slow_computation():
    quantiser = quantizer_of(torch.randn(4, 2), update="ema", ema_decay=0.9).train()
    codes = quantiser.codebook.weight.detach().double().numpy().copy()
    counts, sums = np.ones(4), quantiser.codebook.sums.double().numpy().copy()
    for _ in range(7):
        latents = torch.randn(3, 2, 2, 2)
        quantiser(latents)
        batch_counts, batch_sums = np.zeros(4), np.zeros((4, 2))
        for vector in latents.permute(0, 2, 3, 1).reshape(-1, 2).double().numpy():
            nearest = min(range(4), key=lambda code: ((vector - codes[code]) ** 2).sum())
            batch_counts[nearest] += 1
            batch_sums[nearest] += vector
        counts = 0.9 * counts + 0.1 * batch_counts
        sums = 0.9 * sums + 0.1 * batch_sums
        codes = sums / counts[:, None]
    np.testing.assert_allclose(quantiser.codebook.weight.detach().numpy(), codes, rtol=1e-4, atol=1e-5)


def test_running_means_learn_by_no_gradient_and_rest_in_evaluation():
    quantiser = quantizer_of(torch.randn(4, 2), update="ema").eval()
    before = quantiser.codebook.weight.clone()
    result = quantiser(torch.randn(3, 2, 2, 2))
    assert quantiser.codebook.weight.equal(before)
    assert not quantiser.codebook.weight.requires_grad and result.codebook_loss.item() == 0


def clusters(count=2_000):
    centres = torch.tensor([[8.0, 0.0], [0.0, 8.0], [-8.0, 0.0], [0.0, -8.0]])
    return centres[torch.arange(count) % 4] + 0.3 * torch.randn(count, 2, generator=generator())


def error_of(codebook, vectors):
    return (vectors - codebook.weight[codebook.nearest(vectors)]).square().sum(1).mean().item()


def test_a_kmeans_start_fits_better_than_a_uniform_one():
    vectors = clusters()
    codebook = Codebook(8, 2)
    uniform = error_of(codebook, vectors)
    codebook.start_from_kmeans(vectors, 500, generator())
    assert error_of(codebook, vectors) < 0.1 * uniform
    assert len(codebook.nearest(vectors).unique()) == 8
    assert codebook.counts.sum().item() == pytest.approx(500)
    torch.testing.assert_close(codebook.sums, codebook.weight * codebook.counts[:, None])


def test_a_kmeans_start_copes_with_fewer_vectors_than_codes():
    codebook = Codebook(20, 2)
    vectors = clusters(5)
    codebook.start_from_kmeans(vectors, 5, generator())
    assert codebook.weight.isfinite().all() and error_of(codebook, vectors) < 1e-9


def test_dead_codes_move_to_latents_and_live_ones_stay():
    quantiser = quantizer_of([[8.0, 0.0], [0.0, 8.0], [900.0, 900.0], [-900.0, 0.0]], restart=True)
    quantiser.codebook.counts.copy_(torch.tensor([40.0, 40.0, 0.001, 0.001]))
    latents = clusters(80).t().reshape(1, 2, 8, 10)
    assert quantiser.restart_dead_codes(latents, generator()) == 2
    codes, vectors = quantiser.codebook.weight.detach(), quantiser.vectors(latents)
    assert codes[:2].tolist() == [[8.0, 0.0], [0.0, 8.0]]
    assert all((vectors == code).all(1).any() for code in codes[2:])
    assert quantiser.restart_dead_codes(latents, generator()) == 0


def test_tracking_finds_codes_that_nothing_picks():
    quantiser = quantizer_of([[8.0, 0.0], [900.0, 900.0]], restart=True).train()
    latents = clusters(80).t().reshape(1, 2, 8, 10)
    for _ in range(500):  # the running count falls by a hundredth a step
        quantiser(latents)
    assert quantiser.restart_dead_codes(latents, generator()) == 1


def test_low_codes_are_compared_in_few_dimensions_and_seen_in_all():
    quantiser = VectorQuantizer(6, QuantizerSettings(codebook_size=9, code_dim=2)).eval()
    latents = torch.randn(2, 6, 3, 3)
    result = quantiser(latents)
    assert quantiser.codebook.weight.shape == (9, 2) and quantiser.code_latents().shape == (9, 6)
    torch.testing.assert_close(result.latents, quantiser.code_latents()[result.tokens].permute(0, 3, 1, 2))
