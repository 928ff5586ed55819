import copy
from dataclasses import replace

import pytest
import torch

from helpers.tiny_fits import training_images
from helpers.tiny_pyramids import (
    SHAPES,
    as_batch,
    as_bytes,
    blobs,
    decoded,
    differing,
    fit_blobs,
    pyramid_settings,
    random_pyramid,
    random_tokens,
)
from smalti.training.common.goal import Goal
from smalti.training.pyramid import chosen_tokens
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.encoding import Encoding
from smalti.training.pyramid.token_search import measure

PIXELS = 16 * 16


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        return fit_blobs(patch, pyramid_settings(codes=8), steps=12)


@pytest.fixture
def known(model):
    """A model of random codes, and images that it can nearly decode to, so that choices of tokens matter."""
    pyramid = random_pyramid(SHAPES["two scales"], codes=12)
    pixels = as_bytes(decoded(pyramid, random_tokens(pyramid, 48, seed=3)))
    weights = [torch.full((latents,), 1e-4) for latents in pyramid.shape.latents]
    return replace(model, pyramid=pyramid, weights=weights, price=0.01), pixels


def silent(stage, done, total):
    pass


def encoded(model, pixels, goal=None, rounds=4, refits=0, progress=silent, other_bits=lambda: 0.0):
    encoding = Encoding(model, training_images(pixels), goal, rounds, progress, other_bits=other_bits)
    return encoding, encoding.run(refits)


def tokens_of(found):
    return found.tokens.of(slice(None))


def of_depths(pyramid, tokens, depths, images):
    """Return the squared errors of tokens without the levels beyond each image's depth."""
    result = torch.zeros(len(images))
    for depth in depths.unique().tolist():
        rows = depths == depth
        cut = pyramid.decode(pyramid.latents_of([level[rows] for level in tokens], depth))
        result[rows] = (cut - images[rows]).square().sum((1, 2, 3)).detach()
    return result


@pytest.mark.parametrize("rounds", [0, 4])
def test_errors_and_bits_are_those_of_the_tokens(rounds, known):
    model, pixels = known
    _, found = encoded(model, pixels, rounds=rounds)
    tokens = tokens_of(found)
    assert all(len(level) == 48 for level in tokens)
    sse = of_depths(model.pyramid, tokens, found.depths, as_batch(pixels))
    torch.testing.assert_close(found.sse, sse, rtol=1e-4, atol=1e-4)
    bits = model.pyramid.bits_of(tokens)
    starts = [0, *torch.tensor([level.shape[1] for level in tokens]).cumsum(0).tolist()]
    spent = torch.stack([row[: starts[depth]].sum() for row, depth in zip(bits, found.depths.tolist(), strict=True)])
    torch.testing.assert_close(found.bits, spent, rtol=1e-4, atol=1e-3)


def mse(found):
    return float(found.sse.mean()) / PIXELS


@pytest.mark.parametrize(("share", "close"), [(0.97, 0.95), (1.2, 0.9)])
def test_a_goal_of_mse_is_met(share, close, known):
    shape = SHAPES["one scale"]
    pyramid = random_pyramid(shape, levels=(1,), codes=64)
    pyramid.prior(0).bias2.mul_(0.3)
    pyramid.prior(0).weight2.mul_(0.3)
    pixels = as_bytes(decoded(pyramid, random_tokens(pyramid, 60, seed=3)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = PyramidEncoder(shape).eval()
    model = replace(known[0], encoder=encoder, pyramid=pyramid, weights=[torch.full((14,), 1e-4)], price=3.0)
    values = pixels[0].size
    goal = share * float(encoded(model, pixels)[1].sse.mean()) / values
    _, found = encoded(model, pixels, Goal(mse=goal))
    assert close * goal < float(found.sse.mean()) / values <= goal
    assert (found.depths == 1).all(), "a single level cannot stop early"


def test_stopped_images_cost_no_more(known):
    model, pixels = known
    model = replace(model, price=0.4)
    encoding, found = encoded(model, pixels)
    whole = measure(model.pyramid, as_batch(pixels), tokens_of(found))
    stopped = found.depths < len(model.pyramid.forms)
    assert stopped.any() and found.depths.min() >= 1
    cost = found.sse + encoding.price * found.bits
    assert (cost <= whole.cost(encoding.price) + 1e-4).all()
    assert (cost < whole.cost(encoding.price))[stopped].all()


def test_a_search_is_no_worse_than_none(known):
    model, pixels = known
    costs = []
    for rounds in (0, 4):
        encoding, found = encoded(model, pixels, rounds=rounds)
        costs.append(float((found.sse + encoding.price * found.bits).mean()))
    assert costs[1] < costs[0]


def test_equal_arguments_give_equal_tokens(known):
    model, pixels = known
    one, other = (encoded(model, pixels, Goal(mse=0.02))[1] for _ in range(2))
    assert all(first.equal(second) for first, second in zip(tokens_of(one), tokens_of(other), strict=True))


@pytest.mark.parametrize("goal", [None, Goal(archive_bytes=20), Goal(ssim=0.3)], ids=str)
def test_goals_lead_the_price(goal, known):
    model, pixels = known
    plain, found = encoded(model, pixels[:16], rounds=2)
    goal = goal or Goal(mse=1.5 * float(found.sse.mean()) / pixels[0].size)
    encoding, _ = encoded(model, pixels[:16], goal, rounds=2)
    assert plain.price == model.price < encoding.price, "each of them allows less than the model's own price buys"


def test_a_refit_learns_and_leaves_the_encoder(known):
    model, pixels = known
    model.pyramid.requires_grad_(True)
    before = replace(model, pyramid=random_pyramid(SHAPES["two scales"], codes=12))
    heard = []
    encoded(model, pixels, rounds=2, refits=1, progress=lambda *step: heard.append(step))
    assert ("refit", 3, 3) in heard
    changed = differing(before, model)
    assert changed and all(name.startswith("pyramid.") for name in changed)


def test_progress_ends_at_the_last_image(known):
    heard = []
    encoded(*known, progress=lambda *step: heard.append(step))
    assert heard == [("encode", 48, 48), ("search", 48, 48), ("stop", 48, 48)]


def test_a_fitted_model_encodes_its_images(model):
    encoding, found = encoded(model, blobs(), rounds=0)
    assert encoding.price == model.price and mse(found) < 0.1


def blend(model, pixels, goal):
    """Return two choices of tokens, one on each side of a goal, and their blend."""
    encoding = Encoding(model, training_images(pixels), goal, 2, silent)
    encoding.price = 1e-4
    rich = encoding._searched(encoding._first(), 4)
    encoding.price = 1.0
    lean = encoding._searched(encoding._first(), 4)
    return rich, lean, encoding._blended(lean, rich)


def test_tokens_in_a_file_are_the_same(known, monkeypatch, tmp_path):
    model, pixels = known
    model.pyramid.requires_grad_(True)
    again, goal = copy.deepcopy(model), Goal(mse=0.02)
    in_memory = encoded(model, pixels, goal, refits=1)[1]
    monkeypatch.setattr(chosen_tokens, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(chosen_tokens, "CHUNK_IMAGES", 7)
    in_file = encoded(again, pixels, goal, refits=1)[1]
    assert all(one.equal(other) for one, other in zip(tokens_of(in_memory), tokens_of(in_file), strict=True))
    assert not differing(model, again)
    assert in_memory.sse.equal(in_file.sse) and in_memory.depths.equal(in_file.depths)


def test_of_two_choices_images_are_taken_until_the_error_is_just_met(known):
    model, pixels = known
    rich, lean, _ = blend(model, pixels, Goal(mse=0.5))
    goal = (mse(rich) + mse(lean)) / 2
    rich, lean, found = blend(model, pixels, Goal(mse=goal))
    assert mse(rich) < mse(found) <= goal < mse(lean)
    from_rich = (found.sse == rich.sse) & (found.bits == rich.bits)
    assert from_rich.any() and not from_rich.all()
    # one image less from the richer choice would miss the goal
    spared = (lean.sse - rich.sse)[from_rich & (lean.sse > rich.sse)]
    assert float(found.sse.mean()) + float(spared.max()) / len(pixels) > goal * PIXELS


def test_of_two_choices_images_are_taken_while_bytes_allow(known):
    model, pixels = known
    rich, lean, _ = blend(model, pixels, Goal(mse=0.5))
    budget = int((rich.bits.sum() + lean.bits.sum()) / 16)
    _, _, found = blend(model, pixels, Goal(archive_bytes=budget))
    assert lean.bits.sum() < found.bits.sum() <= 8 * budget


def test_a_budget_just_suffices(known):
    model, pixels = known
    plain = encoded(model, pixels, rounds=2)[1]
    budget = int(0.9 * plain.bits.sum() / 8)
    _, found = encoded(model, pixels, Goal(archive_bytes=budget), rounds=2)
    assert 0.8 * 8 * budget < float(found.bits.sum()) <= 8 * budget
