import pytest
import torch

from helpers.tiny_pyramids import SHAPES, random_pyramid, random_tokens, torch_generator
from smalti.training.pyramid.assign import _Likely, assign, curvatures

IMAGES = 6


@pytest.fixture(params=SHAPES)
def pyramid(request):
    return random_pyramid(SHAPES[request.param])


def noise(pyramid, deviation=60.0):
    generator = torch_generator(5)
    return [deviation * torch.randn(scale.shape, generator=generator) for scale in pyramid.empty_latents(IMAGES)]


def weights(pyramid):
    return [torch.linspace(1, 3, latents) for latents in pyramid.shape.latents]


def test_at_no_price_each_position_takes_the_nearest_code(pyramid):
    targets, weight = noise(pyramid), weights(pyramid)
    found = assign(pyramid, targets, weight, 0.0)
    left = [scale.clone() for scale in targets]
    for level, form in enumerate(pyramid.forms):
        codes = pyramid.code_values(level)
        points = left[form.scale][:, form.slice].flatten(2).transpose(1, 2)
        far = ((points[:, :, None] - codes).square() * weight[form.scale][form.slice]).sum(-1)
        assert found.tokens[level].equal(far.argmin(-1))
        latents = pyramid.latents_of(found.tokens, level + 1)
        left = [target - scale for target, scale in zip(targets, latents, strict=True)]


def test_each_position_takes_the_code_of_least_distortion_and_bits(pyramid):
    targets, weight, price = noise(pyramid), weights(pyramid), 900.0
    found = assign(pyramid, targets, weight, price)
    before = pyramid.empty_latents(IMAGES)
    for level, form in enumerate(pyramid.forms):
        bits, after = pyramid.expected(before, level, found.tokens[level])
        points = (targets[form.scale] - before[form.scale])[:, form.slice].flatten(2).transpose(1, 2)
        far = ((points[:, :, None] - pyramid.code_values(level)).square() * weight[form.scale][form.slice]).sum(-1)
        costs = far + price * bits
        own = costs.gather(2, found.tokens[level][..., None])[..., 0]
        torch.testing.assert_close(own, costs.amin(-1), rtol=1e-5, atol=1.0)
        before = after


def test_the_latents_are_those_of_the_tokens(pyramid):
    found = assign(pyramid, noise(pyramid), weights(pyramid), 10.0)
    for one, other in zip(found.latents, pyramid.latents_of(found.tokens), strict=True):
        torch.testing.assert_close(one, other)


def test_a_higher_price_costs_fewer_bits():
    pyramid = random_pyramid(SHAPES["two scales"])
    spent = [
        float(pyramid.bits_of(assign(pyramid, noise(pyramid), weights(pyramid), price).tokens).sum())
        for price in (0.0, 300.0, 1e5)
    ]
    assert spent[0] > spent[1] > spent[2]


@pytest.mark.parametrize("whole", [True, False])
def test_codes_one_by_one_are_as_likely_as_at_once(whole, pyramid):
    pyramid = random_pyramid(pyramid.shape, whole=whole)
    tokens, before = random_tokens(pyramid, IMAGES), pyramid.empty_latents(IMAGES)
    for level, form in enumerate(pyramid.forms):
        with torch.no_grad():
            bits, after = pyramid.expected(before, level, tokens[level])
            one_by_one, codes = _Likely(pyramid, level, before), pyramid.code_values(level)
            for position in range(pyramid.shape.positions[form.scale]):
                spared = one_by_one.at(position).expand(IMAGES, -1)
                at_once = bits[:, position, :1] - bits[:, position]
                torch.testing.assert_close(spared - spared[:, :1], at_once, rtol=1e-4, atol=1e-3)
                one_by_one.add(position, codes[tokens[level][:, position]])
        before = after


def test_the_use_of_codes_is_counted():
    pyramid = random_pyramid(SHAPES["two scales"], levels=(1, 1), codes=[5, 1])
    targets, weight = noise(pyramid), weights(pyramid)
    found = assign(pyramid, targets, weight, 0.0, count_use=True)
    use, tokens, codes = found.uses[0], found.tokens[0][:, 0], pyramid.code_values(0)
    points = targets[0][:, :, 0, 0]
    far = ((points[:, None] - codes).square() * weight[0]).sum(-1)
    ordered = far.sort(1).values
    for code in range(5):
        own = tokens == code
        assert use.count[code] == own.sum()
        torch.testing.assert_close(use.sums[code], points[own].sum(0), rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(use.distortion[code], ordered[own, 0].sum(), rtol=1e-4, atol=1.0)
        torch.testing.assert_close(use.spared[code], (ordered[own, 1] - ordered[own, 0]).sum(), rtol=1e-4, atol=1.0)
    assert found.uses[1].count.tolist() == [4 * IMAGES]


def test_only_counts_are_measured_by_default():
    pyramid = random_pyramid(SHAPES["two scales"])
    use = assign(pyramid, noise(pyramid), weights(pyramid), 1.0).uses[0]
    assert use.count.sum() == IMAGES and not use.spared.any() and not use.distortion.any()


def test_curvatures_predict_the_cost_of_a_small_change():
    pyramid = random_pyramid(SHAPES["two scales"], whole=False)
    latents = [0.3 * scale / 60 for scale in noise(pyramid)]
    generator = torch_generator(1)
    probes = [curvatures(pyramid, latents, generator, len(latents[0])) for _ in range(200)]
    with torch.no_grad():
        plain = pyramid.decode(latents)
        for scale, channel in ((0, 1), (1, 0)):
            moved = [values.clone() for values in latents]
            moved[scale][:, channel, 0, 0] += 1e-3
            cost = float((pyramid.decode(moved) - plain).square().sum((1, 2, 3)).mean()) / 1e-6
            found = float(torch.stack([probe[scale][channel] for probe in probes]).mean())
            assert cost > 0 and 0.3 < found / cost < 3, "for one position of several, and by a few probes"
