import pytest
import torch

from helpers.tiny_pyramids import SHAPES, decoded, random_pyramid, random_tokens


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
