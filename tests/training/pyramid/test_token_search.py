import pytest
import torch

from helpers.tiny_pyramids import SHAPES, decoded, random_pyramid, random_tokens, torch_generator
from smalti.training.pyramid.token_search import improve, measure

IMAGES = 10


def started(shape, codes=7):
    """Return a pyramid, images that it can nearly decode to, and a state with other tokens."""
    pyramid = random_pyramid(SHAPES[shape], codes=codes)
    images = decoded(pyramid, random_tokens(pyramid, IMAGES, seed=1))
    images = (images + 0.05 * torch.rand(images.shape, generator=torch_generator())).clamp(0, 1)
    return pyramid, images, measure(pyramid, images, random_tokens(pyramid, IMAGES, seed=2))


def improved(pyramid, images, state, price, rounds):
    weights = [torch.full((latents,), 1e-4) for latents in pyramid.shape.latents]
    return improve(pyramid, images, state, weights, price, rounds, torch_generator())


@pytest.mark.parametrize("shape", ["two scales", "one cell", "blocks", "one scale"])
@pytest.mark.parametrize("price", [0.0, 0.05, 5.0])
def test_no_image_becomes_worse(shape, price):
    pyramid, images, state = started(shape)
    found = improved(pyramid, images, state, price, 4)
    assert (found.cost(price) <= state.cost(price)).all()
    assert float(found.cost(price).mean()) < 0.99 * float(state.cost(price).mean()), "and some become better"


def test_the_found_errors_and_bits_are_those_of_the_found_tokens():
    pyramid, images, state = started("two scales")
    found = improved(pyramid, images, state, 0.05, 4)
    again = measure(pyramid, images, found.tokens)
    torch.testing.assert_close(found.sse, again.sse)
    torch.testing.assert_close(found.bits, again.bits)


def test_the_first_state_does_not_change():
    pyramid, images, state = started("two scales")
    before = [level.clone() for level in state.tokens], state.sse.clone(), state.bits.clone()
    improved(pyramid, images, state, 0.05, 3)
    assert all(one.equal(other) for one, other in zip(state.tokens, before[0], strict=True))
    assert state.sse.equal(before[1]) and state.bits.equal(before[2])


def test_no_rounds_change_nothing():
    pyramid, images, state = started("two scales")
    found = improved(pyramid, images, state, 0.05, 0)
    assert all(one.equal(other) for one, other in zip(state.tokens, found.tokens, strict=True))


def test_levels_of_one_code_have_nothing_to_search():
    pyramid, images, state = started("two scales", codes=1)
    found = improved(pyramid, images, state, 0.05, 3)
    assert found.sse.equal(state.sse) and not torch.cat(found.tokens, 1).any()


def test_a_high_price_buys_fewer_bits():
    pyramid, images, state = started("two scales")
    cheap, dear = (improved(pyramid, images, state, price, 6) for price in (0.0, 20.0))
    assert float(dear.bits.sum()) < float(cheap.bits.sum()) and float(cheap.sse.sum()) < float(dear.sse.sum())
