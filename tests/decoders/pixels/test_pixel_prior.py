from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.tiny_pixels import random_grids, random_prior, random_tokens
from smalti.decoders.pixels import pixel_prior, wavefront
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.decoders.pixels.wavefront import Wavefront, context_size
from smalti.errors import DamagedArchiveError, ModelError, UsageError
from smalti.threads import for_each

LEVELS = st.one_of(st.integers(1, 9), st.just(1))
SHAPES = st.fixed_dictionaries(
    {
        "counts": st.lists(LEVELS, min_size=1, max_size=4).map(tuple),
        "radius": st.integers(1, 4),
        "width": st.integers(1, 7),
        "depth": st.integers(0, 2),
        "edges": st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
        "dtype": st.sampled_from(["uint8", "uint16"]),
        "hides": st.booleans(),
    }
)


def made(seed, shape):
    """A generator and a prior. Only channels with alpha can hide."""
    rng = np.random.default_rng(seed)
    return rng, random_prior(rng, **{**shape, "hides": shape["hides"] and len(shape["counts"]) in (2, 4)})


def split(values, grids):
    return np.split(values, np.cumsum(grids.prod(axis=1))[:-1])


def slow_scores(prior, tokens, grid):
    """Scores of every sample of one picture, in Python's whole numbers, pixel by pixel in raster order.

    Returns {(pixel, channel): list of K scores}; without samples that alpha hides.
    """
    network, model, (rows, columns) = prior.network, prior.model, grid
    r, channels = network.radius, model.channels
    order = [channels - 1, *range(channels - 1)] if channels in (2, 4) else list(range(channels))
    levels = tokens.reshape(rows, columns, channels).tolist()
    values = [own.tolist() for own in model.levels]

    def seen(y, x, channel):
        own, level = values[channel], levels[y][x][channel]
        return (own[level] - own[0]) * 255 // max(1, own[-1] - own[0])

    def level(y, x, channel):
        return levels[y][x][channel] if y >= 0 and x >= 0 else 0

    def guess(y, x, channel):
        """The median edge detector: the middle one of the left, the upper, and their sum less the corner."""
        left, above, corner = level(y, x - 1, channel), level(y - 1, x, channel), level(y - 1, x - 1, channel)
        return sorted([left, above, left + above - corner])[1]

    def features(y, x, channel):
        """What later channels see of a sample."""
        own = values[channel]
        told = (own[guess(y, x, channel)] - own[0]) * 255 // max(1, own[-1] - own[0])
        value = seen(y, x, channel)
        return [value, max(value - told, 0), max(told - value, 0), 64 if value != told else 0]

    def candidates(y, x, number):
        channel = order[number]
        found = [level(y, x - 1, channel), level(y - 1, x, channel), guess(y, x, channel)]
        if number:
            before = order[number - 1]
            moved = found[2] + levels[y][x][before] - guess(y, x, before)
            found.append(min(max(moved, 0), len(values[channel]) - 1))
        return found

    def dot(inputs, weights):
        return sum(value * weight for value, weight in zip(inputs, weights.tolist(), strict=True))

    def edge(table, distance, h):
        return int(table[min(distance, len(table) - 1), h])

    def clipped(value):
        return min(max(value, 0), 255)

    found = {}
    for y in range(rows):
        for x in range(columns):
            places = [(y - up, x + beside) for up in range(r, 0, -1) for beside in range(-r, r + 1)]
            places += [(y, x - back) for back in range(r, 0, -1)]
            around = [
                seen(v, w, channel) if 0 <= v < rows and 0 <= w < columns else 0 for v, w in places for channel in order
            ]
            for number, channel in enumerate(order):
                if number and model.hides and values[-1][levels[y][x][-1]] == 0:
                    continue
                own = network.networks[number]
                known = [one for before in order[:number] for one in features(y, x, before)]
                hidden = [
                    clipped(
                        dot(around, network.context[:, h])
                        + dot(known, own.own[:, h])
                        + int(own.bias[h])
                        + edge(network.tops, y, h)
                        + edge(network.lefts, x, h)
                        + edge(network.rights, columns - 1 - x, h)
                        >> own.shifts[0]
                    )
                    for h in range(network.width)
                ]
                for d in range(network.depth):
                    added = [
                        max(dot(hidden, own.middle[d, :, h]) + int(own.middle_bias[d, h]) >> own.shifts[1 + d], 0)
                        for h in range(network.width)
                    ]
                    hidden = [clipped(one + more) for one, more in zip(hidden, added, strict=True)]
                outputs = [
                    dot(hidden, own.scores[:, k]) + int(own.scores_bias[k]) >> own.shifts[-1]
                    for k in range(len(own.scores_bias))
                ]
                scores, count = outputs[: len(values[channel])], len(values[channel])
                for place, candidate in enumerate(candidates(y, x, number)):
                    for away in range(-2, 3):
                        if 0 <= candidate + away < count:
                            scores[candidate + away] += outputs[count + 5 * place + 2 + away]
                found[y * columns + x, channel] = scores
    return found


def walked(prior, tokens, grids):
    """The same as `slow_scores` by a walk, for several pictures; and the samples in coding order."""
    found, order = {}, []
    walk = prior.walk(grids)
    for step in walk.steps():
        scores = walk.scores(step)
        for pixel, own in zip(step.pixels.tolist(), scores.tolist(), strict=True):
            found[pixel, step.channel] = own
            order.append((pixel, step.channel))
        walk.set(step, tokens[step.pixels, step.channel])
    return found, order


@hypothesis_settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(0, 5), most=st.sampled_from([3, 9, 30]))
def test_tokens_come_back(seed, shape, pictures, most):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures, most)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    data = prior.encode(tokens, grids)
    found = prior.decode(data, grids)
    assert found.dtype == np.uint16 and (found == tokens).all() and found.shape == tokens.shape


@hypothesis_settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, grid=st.tuples(st.integers(1, 6), st.integers(1, 9)))
def test_gives_what_whole_numbers_give(seed, shape, grid):
    rng, prior = made(seed, shape)
    grids = np.array([grid])
    tokens = random_tokens(rng, prior.model, grid[0] * grid[1])
    assert walked(prior, tokens, grids)[0] == slow_scores(prior, tokens, grid)


@hypothesis_settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(2, 5), most=st.sampled_from([2, 7]))
def test_no_probability_depends_on_another_picture(seed, shape, pictures, most):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures, most)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    together, first = walked(prior, tokens, grids)[0], 0
    for own, grid in zip(split(tokens, grids), grids, strict=True):
        alone = walked(prior, own, grid[None])[0]
        assert alone == {(p, c): together[first + p, c] for p, c in alone}
        first += len(own)
    order = rng.permutation(pictures)
    shuffled = np.concatenate([split(tokens, grids)[number] for number in order])
    found = prior.decode(prior.encode(shuffled, grids[order]), grids[order])
    assert (found == shuffled).all()


def slow_order(prior, tokens, grids):
    """The samples in the order of the stream, as docs/format.md says it."""
    model, r = prior.model, prior.network.radius
    first, *others = model.order
    waves = {}
    pixel = 0
    for rows, columns in grids.tolist():
        for y in range(rows):
            for x in range(columns):
                waves.setdefault(x + (r + 1) * y, []).append(pixel)
                pixel += 1
    order = []
    for number in sorted(waves):
        for start in range(0, len(waves[number]), 2048):
            piece = waves[number][start : start + 2048]
            order += [(pixel, first) for pixel in piece]
            shown = [p for p in piece if not model.hides or model.levels[-1][tokens[p, -1]] > 0]
            order += [(pixel, channel) for channel in others for pixel in shown]
    return order


@pytest.mark.parametrize("counts", [(3,), (3, 2), (2, 1, 3, 4)])
def test_samples_are_in_the_order_of_the_page(counts):
    rng = np.random.default_rng(3)
    prior = random_prior(rng, counts, 1, 3, 0, hides=len(counts) != 1)
    grids = np.concatenate([random_grids(rng, 6, 5), np.ones((4100, 2), np.int64), [(2, 3)]])
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    assert walked(prior, tokens, grids)[1] == slow_order(prior, tokens, grids)


@pytest.mark.parametrize("hides", [False, True])
def test_known_levels_give_the_same_steps_in_reverse(hides):
    rng = np.random.default_rng(4)
    prior = random_prior(rng, (4, 3, 5, 3), hides=hides)
    grids = np.concatenate([random_grids(rng, 5), np.ones((2100, 2), np.int64)])
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    walk, found, order = prior.walk(grids), {}, []
    for step in walk.known_steps(tokens):
        scores = walk.scores(step).tolist()
        for pixel, own in zip(reversed(step.pixels.tolist()), reversed(scores), strict=True):
            found[pixel, step.channel] = own
            order.append((pixel, step.channel))
    assert (found, order[::-1]) == walked(prior, tokens, grids)


@pytest.mark.parametrize("most", [1, 100])
def test_the_size_of_steps_changes_nothing(most, monkeypatch):
    rng = np.random.default_rng(5)
    prior = random_prior(rng, (4, 3, 5, 3), hides=True)
    grids = random_grids(rng, 40, 12)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    data = prior.encode(tokens, grids)
    monkeypatch.setattr(pixel_prior, "_MOST_SCORES", most)
    assert max(len(step.pixels) for step in prior.walk(grids).steps()) <= most
    assert prior.encode(tokens, grids) == data and (prior.decode(data, grids) == tokens).all()


def test_the_size_of_pieces_is_part_of_the_format(monkeypatch):
    monkeypatch.setenv("SMALTI_KERNELS", "never")  # kernels hold the size as a constant
    rng = np.random.default_rng(5)
    prior = random_prior(rng, (4, 3))
    grids = np.ones((9, 2), np.int64)
    tokens = random_tokens(rng, prior.model, 9)
    data = prior.encode(tokens, grids)
    monkeypatch.setattr(wavefront, "PIECE_PIXELS", 4)
    assert prior.encode(tokens, grids) != data


@hypothesis_settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), radius=st.integers(1, 5), pictures=st.integers(1, 5), most=st.integers(1, 8))
def test_a_canvas_without_room_gives_the_same_contexts(seed, radius, pictures, most):
    """Places differ, but not what lies there."""
    grids = random_grids(np.random.default_rng(seed), pictures, most)
    pixels = int(grids.prod(axis=1).sum())
    found = []
    for room in (0, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wavefront, "_MOST_ROOM", room)
            front = Wavefront(grids, radius)
        canvas = np.zeros(front.room, np.int64)
        canvas[front.places] = np.arange(1, pixels + 1)
        places = front.context(np.arange(pixels))
        assert places.shape == (pixels, context_size(radius)) and places.min() >= 0
        found.append(canvas[places])
    assert (found[0] == found[1]).all()


def test_small_pictures_take_no_more_places_than_twice_their_pixels():
    for grids in (np.ones((1000, 2), np.int64), np.array([(1, 900), (900, 1)]), np.array([(60, 70)])):
        assert Wavefront(grids, 8).room <= 2 * grids.prod(axis=1).sum()


def test_threads_change_nothing():
    rng = np.random.default_rng(7)
    prior = random_prior(rng, (6, 5, 7), 3, 9, 2)
    grids = [random_grids(rng, 4, 20) for _ in range(6)]
    tokens = [random_tokens(rng, prior.model, int(own.prod(axis=1).sum())) for own in grids]
    alone = [prior.encode(some, own) for some, own in zip(tokens, grids, strict=True)]
    data, found = [b""] * 6, [np.zeros(0)] * 6

    def work(number):
        data[number] = prior.encode(tokens[number], grids[number])
        found[number] = prior.decode(data[number], grids[number])

    for_each(work, range(6), 3)
    assert data == alone and all((ours == theirs).all() for ours, theirs in zip(found, tokens, strict=True))


def test_largest_sums_are_exact():
    """Weights and biases that bring the sums to their bound of 2**24."""
    rng = np.random.default_rng(8)
    prior = random_prior(rng, (2, 3), 1, 3, 1, (1, 1, 1))
    network = prior.network
    for array in (network.context, network.networks[1].own):
        array[:] = rng.choice([-1, 1], array.shape) * 5_480
    assert len(network.context) + len(network.networks[1].own) == 12
    networks = []
    for own in network.networks:
        own.middle[:] = rng.choice([-1, 1], own.middle.shape) * 21_800
        own.scores[:] = rng.choice([-1, 1], own.scores.shape) * 21_800
        own.middle_bias[:], own.scores_bias[:], own.bias[:] = 90_001, -90_001, 7
        networks.append(replace(own, shifts=(*own.shifts[:-1], 3)))
    again = PixelPrior(replace(network, networks=tuple(networks)), prior.model)  # which checks the sums
    tokens = random_tokens(rng, prior.model, 20)
    assert walked(again, tokens, np.array([(4, 5)]))[0] == slow_scores(again, tokens, (4, 5))


def test_a_channel_of_one_level_takes_no_bits():
    prior = random_prior(np.random.default_rng(0), (1, 1, 1))
    grids = np.array([(3, 4)])
    assert prior.encode(np.zeros((12, 3), np.uint16), grids) == b""
    assert not prior.decode(b"", grids).any()
    with pytest.raises(DamagedArchiveError, match="left"):
        prior.decode(b"\1\0\0\0", grids)


def test_hidden_colours_take_no_bits():
    rng = np.random.default_rng(1)
    prior = random_prior(rng, (5, 5, 5, 1), hides=True)
    assert prior.encode(np.zeros((12, 4), np.uint16), np.array([(3, 4)])) == b""


def test_tokens_that_cannot_be_coded_are_refused():
    rng = np.random.default_rng(2)
    prior, grids = random_prior(rng, (5, 4, 6, 3), hides=True), np.array([(2, 2)])
    for channel, count in enumerate((5, 4, 6, 3)):
        tokens = np.zeros((4, 4), np.uint16)
        tokens[:, -1] = 1
        tokens[2, channel] = count
        with pytest.raises(UsageError, match=f"no level of channel {channel}"):
            prior.encode(tokens, grids)
        tokens[2, channel] = count - 1
        assert (prior.decode(prior.encode(tokens, grids), grids) == tokens).all()
    tokens[1] = (0, 1, 0, 0)
    with pytest.raises(UsageError, match="hides"):
        prior.encode(tokens, grids)


def test_a_network_of_other_levels_than_the_model_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ModelError, match="levels"):
        PixelPrior(random_prior(rng, (5, 4)).network, random_prior(rng, (5, 5)).model)
