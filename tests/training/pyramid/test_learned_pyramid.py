import math

import pytest
import torch

from helpers.tiny_pyramids import SHAPES, decoded, random_pyramid, random_tokens
from smalti.training.pyramid.learned_prior import rounded
from smalti.training.pyramid.learned_pyramid import upsampled


@pytest.mark.parametrize("shape", SHAPES)
def test_integers_keep_images_close(shape):
    pyramid = random_pyramid(SHAPES[shape], whole=False)
    pyramid.sharpness = 1000.0  # ReLUs, as at the end of a fit's first part
    tokens = random_tokens(pyramid, 20)
    before = decoded(pyramid, tokens)
    pyramid.make_whole(pyramid.latents_of(tokens))
    after = decoded(pyramid, tokens)
    error = float((after - before).square().mean() / before.var())
    assert before.std() > 0.05 and error < 0.05
    torch.testing.assert_close(255 * after, torch.round(255 * after), rtol=0, atol=1e-3)


def test_integers_keep_bits_close():
    pyramid = random_pyramid(SHAPES["two scales"], whole=False)
    tokens = random_tokens(pyramid, 20)
    before = pyramid.bits_of(tokens)
    pyramid.make_whole(pyramid.latents_of(tokens))
    assert float((pyramid.bits_of(tokens) - before).abs().mean()) < 0.3


def test_positions_see_only_earlier_tokens():
    pyramid = random_pyramid(SHAPES["blocks"])
    tokens = random_tokens(pyramid, 1)
    bits, level = pyramid.bits_of(tokens)[0], len(pyramid.forms) - 1
    first = sum(part.shape[1] for part in tokens[:level])
    for position in range(tokens[level].shape[1]):
        changed = [part.clone() for part in tokens]
        changed[level][0, position] = (changed[level][0, position] + 1) % 7
        assert pyramid.bits_of(changed)[0, : first + position].equal(bits[: first + position])


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_bits_of_tokens_and_their_gradients_are_those_of_all_codes(shape, whole):
    pyramid = random_pyramid(SHAPES[shape], whole=whole)
    tokens, before = random_tokens(pyramid, 5), pyramid.empty_latents(5)
    found = pyramid.bits_of(tokens).split([part.shape[1] for part in tokens], 1)
    for level, form in enumerate(pyramid.forms):
        prior = pyramid.prior(level)
        prior.requires_grad_(True)
        bits, after = pyramid.expected(before, level, tokens[level])
        own = bits.gather(2, tokens[level][..., None])[..., 0]
        torch.testing.assert_close(found[level], own)
        before = after
        if not prior.features:
            continue
        context = torch.randn(5, pyramid.shape.positions[form.scale], prior.features)
        some = torch.randint(0, prior.codes, context.shape[:2])
        fast = torch.autograd.grad(prior.bits_of(context, some).square().sum(), list(prior.parameters()))
        plain = torch.autograd.grad(plain_bits(prior, context, some).square().sum(), list(prior.parameters()))
        for one, other in zip(fast, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def plain_bits(prior, context, tokens):
    """The bits of tokens, operation by operation."""
    weight1, bias1, weight2, bias2 = prior.numbers()
    number = rounded if prior.whole else lambda values: values
    hidden = number((context @ weight1 + bias1) / 16).clamp(0, 255)
    steps = number((hidden @ weight2 + bias2) / 16)
    bits = torch.log_softmax(steps * (math.log(2) / 16), -1) / -math.log(2)
    return bits.gather(2, tokens[..., None])[..., 0]


@pytest.mark.parametrize("outputs", [1, 3, 4, 5])
@pytest.mark.parametrize("kernel", [(4, 4), (3, 4)])
def test_upsampling_is_a_transposed_convolution(outputs, kernel):
    values = torch.randint(0, 256, (2, 5, 3, 4)).float()
    weight = torch.randint(-31, 32, (5, outputs, *kernel)).float().requires_grad_()
    bias = torch.randint(-999, 999, (outputs,)).float().requires_grad_()
    fast, plain = upsampled(values, weight, bias), torch.conv_transpose2d(values, weight, bias, 2, 1)
    assert fast.equal(plain), "sums of whole numbers are exact"
    for one, other in zip(*(torch.autograd.grad(x.square().sum(), [weight, bias]) for x in (fast, plain)), strict=True):
        torch.testing.assert_close(one, other)


def test_no_images_can_be_upsampled():
    weight = torch.ones(5, 1, 4, 4, requires_grad=True)
    made = upsampled(torch.zeros(0, 5, 3, 4, requires_grad=True), weight, torch.zeros(1))
    made.sum().backward()
    assert made.shape == (0, 1, 6, 8) and not weight.grad.any()
