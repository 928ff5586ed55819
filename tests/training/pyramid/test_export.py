import numpy as np
import pytest
import torch

from helpers.tiny_pyramids import SHAPES, as_bytes, decoded, random_pyramid, random_tokens
from smalti.decoders.pyramid.context import reach
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import ABSENT
from smalti.decoders.pyramid.pyramid_packing import pack_pyramid, unpack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.priors import NetworkPrior, TablePrior
from smalti.training.pyramid.export import global_tokens, to_network, to_prior

IMAGES = 12


@pytest.fixture(params=SHAPES)
def pyramid(request):
    return random_pyramid(SHAPES[request.param])


def test_the_shapes_reach_near_and_far():
    far = [reach(shape.latents[-1], shape.positions[-1]) for shape in SHAPES.values()]
    assert set(far) == {0, 1, 2, 3}


def test_pixels_are_those_of_the_decoder_in_the_file(pyramid):
    tokens = random_tokens(pyramid, IMAGES)
    learned = as_bytes(decoded(pyramid, tokens))
    network = to_network(pyramid)
    decoder = PyramidDecoder(network, pyramid.shape.canvas)
    pixels = decoder.decode(global_tokens(pyramid, tokens))
    assert pixels.shape[1:] == pyramid.shape.image_shape and pixels.std() > 10, "images differ"
    np.testing.assert_array_equal(pixels, learned)
    again = PyramidDecoder(*unpack_pyramid(pack_pyramid(network, pyramid.shape.canvas), 1 << 24))
    np.testing.assert_array_equal(again.decode(global_tokens(pyramid, tokens)), learned)


def test_pixels_of_images_without_their_last_levels_too(pyramid):
    tokens = random_tokens(pyramid, IMAGES)
    decoder = PyramidDecoder(to_network(pyramid), pyramid.shape.canvas)
    for depth in range(len(pyramid.forms) + 1):
        numbers = global_tokens(pyramid, tokens, np.full(IMAGES, depth))
        learned = pyramid.decode(pyramid.latents_of(tokens, depth))
        np.testing.assert_array_equal(decoder.decode(numbers), as_bytes(learned))


def test_bits_are_those_of_the_prior_in_the_file(pyramid):
    tokens = random_tokens(pyramid, IMAGES)
    numbers = global_tokens(pyramid, tokens)
    prior = to_prior(pyramid, to_network(pyramid), [numbers])
    of_levels = pyramid.bits_of(tokens).split([level.shape[1] for level in tokens], 1)
    expected = -np.log2(prior.depths.frequencies[-1] / 2**prior.depths.precision)
    for level, learned, found in zip(prior.levels, of_levels, tokens, strict=True):
        if isinstance(level, NetworkPrior):
            expected = expected + learned.sum(1).numpy()
        else:  # not the learned table, but the counts of these tokens
            expected = expected + sum(level.cost_bits(at, codes.numpy(), None) for at, codes in enumerate(found.T))
    assert any(isinstance(level, NetworkPrior) for level in prior.levels)
    np.testing.assert_allclose(prior.cost_bits(numbers), expected, rtol=0.01)
    assert abs(8 * len(prior.encode(numbers)) - prior.cost_bits(numbers).sum()) < 96


def test_without_contexts_there_are_tables_of_counts():
    pyramid = random_pyramid(SHAPES["two scales"], conditional=False)
    tokens = [torch.zeros_like(level) for level in random_tokens(pyramid, IMAGES)]
    numbers = global_tokens(pyramid, tokens)
    prior = to_prior(pyramid, to_network(pyramid), [numbers])
    assert all(isinstance(level, TablePrior) for level in prior.levels)
    assert prior.cost_bits(numbers).max() < 1 < prior.cost_bits(global_tokens(pyramid, random_tokens(pyramid, 5))).min()


def test_tokens_come_back_from_the_prior_in_the_file(pyramid):
    tokens = random_tokens(pyramid, IMAGES)
    depths = np.arange(IMAGES) % (len(pyramid.forms) + 1)
    numbers = global_tokens(pyramid, tokens, depths)
    network = to_network(pyramid)
    prior = to_prior(pyramid, network, [numbers])
    stored = PyramidPrior.from_bytes(prior.to_bytes(), network, pyramid.shape.canvas)
    np.testing.assert_array_equal(stored.decode(prior.encode(numbers), IMAGES), numbers)
    assert (prior.layout.check(numbers) == depths).all()


def test_codes_that_no_image_uses_can_be_coded(pyramid):
    tokens = random_tokens(pyramid, IMAGES)
    used = [level.clamp(max=2) for level in tokens]
    prior = to_prior(pyramid, to_network(pyramid), [global_tokens(pyramid, used)])
    assert np.isfinite(prior.cost_bits(global_tokens(pyramid, tokens))).all()


def test_tokens_of_all_levels_are_numbered_through(pyramid):
    tokens = random_tokens(pyramid, IMAGES)
    numbers = global_tokens(pyramid, tokens)
    assert numbers.dtype == np.uint16 and numbers.max() < sum(len(codes) for codes in pyramid.codes)
    first, columns = 0, np.split(numbers, np.cumsum([level.shape[1] for level in tokens])[:-1], axis=1)
    for level, found, codes in zip(tokens, columns, pyramid.codes, strict=True):
        np.testing.assert_array_equal(found, level.numpy() + first)
        first += len(codes)
    none = global_tokens(pyramid, tokens, np.zeros(IMAGES, np.int64))
    assert (none == ABSENT).all()


def test_numbers_beyond_the_bounds_of_a_file_are_clipped_in_learning_and_export_alike():
    pyramid = random_pyramid(SHAPES["two scales"])
    pyramid.weights[2].mul_(12)
    pyramid.codes[1].mul_(20)
    assert float(pyramid.weights[2].abs().max()) > 127 and float(pyramid.codes[1].abs().max()) > 2047
    tokens = random_tokens(pyramid, IMAGES)
    decoder = PyramidDecoder(to_network(pyramid), pyramid.shape.canvas)
    np.testing.assert_array_equal(decoder.decode(global_tokens(pyramid, tokens)), as_bytes(decoded(pyramid, tokens)))
