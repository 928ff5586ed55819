from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.pixels.test_pixel_prior import slow_order, split
from helpers.kernels import kernels
from helpers.reference_mixtures import slow_samples
from helpers.tiny_mixtures import random_mixture
from helpers.tiny_pixels import random_grids, random_prior, random_tokens
from smalti.decoders.pixels import mixture_prior, wavefront
from smalti.decoders.pixels.mixture import parts_of
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.errors import DamagedArchiveError, ModelError, UsageError
from smalti.threads import for_each

LEVELS = st.one_of(st.integers(1, 9), st.sampled_from([1, 256, 257, 513, 3000]))
SHAPES = st.fixed_dictionaries(
    {
        "counts": st.lists(LEVELS, min_size=1, max_size=4).map(tuple),
        "radius": st.integers(1, 4),
        "width": st.integers(1, 7),
        "depth": st.integers(0, 2),
        "components": st.integers(1, 4),
        "edges": st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
        "dtype": st.just("uint16"),
        "hides": st.booleans(),
    }
)


def made(seed, shape):
    """A generator and a prior. Only channels with alpha can hide."""
    rng = np.random.default_rng(seed)
    return rng, random_mixture(rng, **{**shape, "hides": shape["hides"] and len(shape["counts"]) in (2, 4)})


def units_of(samples, levels):
    """The units of the symbols of samples with these levels: of each sample, a list for each of its symbols."""
    sizes, found = parts_of(samples.mixture.count), []
    if sizes[0] > 1:
        found.append(samples.mixture.first_units())
    if len(sizes) > 1:
        found.append(samples.mixture.rest_units(levels // 256))
    return [[(own[at] + 1).astype(np.int64).tolist() for own in found] for at in range(len(levels))]


def walked(prior, tokens, grids):
    """The units of every sample by a walk, {(pixel, channel): lists}; and the samples in coding order."""
    found, order = {}, []
    walk = prior.walk(grids)
    for samples in walk.samples():
        levels = tokens[samples.pixels, samples.channel]
        for pixel, own in zip(samples.pixels.tolist(), units_of(samples, levels), strict=True):
            found[pixel, samples.channel] = own
            order.append((pixel, samples.channel))
        walk.set(samples, levels)
    return found, order


def slow_units(prior, tokens, grid):
    """The same of one picture, in Python's whole numbers."""
    return {place: sample.units for place, sample in slow_samples(prior, tokens, grid).items()}


@hypothesis_settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(0, 5), most=st.sampled_from([3, 9]))
def test_tokens_come_back(seed, shape, pictures, most):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures, most)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    data = prior.encode(tokens, grids)
    found = prior.decode(data, grids)
    assert found.dtype == np.uint16 and (found == tokens).all() and found.shape == tokens.shape
    again = prior.model.read_prior(prior.to_bytes())
    assert again.to_bytes() == prior.to_bytes() and (again.decode(data, grids) == tokens).all()


@hypothesis_settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, grid=st.tuples(st.integers(1, 5), st.integers(1, 6)))
def test_gives_what_whole_numbers_give(seed, shape, grid):
    rng, prior = made(seed, shape)
    tokens = random_tokens(rng, prior.model, grid[0] * grid[1])
    assert walked(prior, tokens, np.array([grid]))[0] == slow_units(prior, tokens, grid)


@pytest.mark.parametrize("counts", [(65_536,), (65_535, 2), (65_536, 256, 65_281)])
def test_the_most_levels_give_what_whole_numbers_give(counts):
    rng = np.random.default_rng(1)
    prior = random_mixture(rng, counts, 2, dtype="uint16", hides=len(counts) == 2)
    tokens = random_tokens(rng, prior.model, 20)
    for channel, count in enumerate(counts):  # levels that are as far apart as they can be
        tokens[:8, channel] = np.where(np.arange(8) % 3, 0, count - 1)
    if len(counts) == 2:
        tokens[tokens[:, 1] == 0] = 0
    assert walked(prior, tokens, np.array([(4, 5)]))[0] == slow_units(prior, tokens, (4, 5))
    assert (prior.decode(prior.encode(tokens, np.array([(4, 5)])), np.array([(4, 5)])) == tokens).all()


@hypothesis_settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(2, 5), most=st.sampled_from([2, 6]))
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


@pytest.mark.parametrize("counts", [(3,), (300, 2), (2, 1, 3, 4)])
def test_samples_are_in_the_order_of_the_page(counts):
    rng = np.random.default_rng(3)
    prior = random_mixture(rng, counts, 1, 3, 0, dtype="uint16", hides=len(counts) != 1)
    grids = np.concatenate([random_grids(rng, 6, 5), np.ones((4100, 2), np.int64), [(2, 3)]])
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    order, walk = [], prior.walk(grids)
    for samples in walk.samples():
        order += [(pixel, samples.channel) for pixel in samples.pixels.tolist()]
        walk.set(samples, tokens[samples.pixels, samples.channel])
    assert order == slow_order(prior, tokens, grids)


class Taken:
    """A decoder that gives listed symbols, and lists the units that it is asked with."""

    def __init__(self, symbols):
        self._symbols, self.units = list(symbols)[::-1], []

    def take_each(self, weights):
        self.units += (weights + 1).astype(np.int64).tolist()
        return np.array([self._symbols.pop() for _ in weights], np.int32)

    def finish(self):
        assert not self._symbols


def symbols_of(prior, tokens, grids):
    """The symbols of a stream and their units, as the page says: first symbols of a channel of a piece, then second."""
    units = walked(prior, tokens, grids)[0]
    order, pieces = slow_order(prior, tokens, grids), []
    waves = {}
    pixel = 0
    for rows, columns in grids.tolist():
        for y in range(rows):
            for x in range(columns):
                waves[pixel] = x + (prior.network.radius + 1) * y
                pixel += 1
    assert np.bincount(list(waves.values())).max() <= 2048  # so that a wave is a piece
    for pixel, channel in order:
        if not pieces or pieces[-1][0] != (waves[pixel], channel):
            pieces.append(((waves[pixel], channel), []))
        pieces[-1][1].append(pixel)
    found, listed = [], []
    for (_, channel), pixels in pieces:
        count = len(prior.model.levels[channel])
        for part in range(len(units[pixels[0], channel])):
            for own in pixels:
                level = int(tokens[own, channel])
                found.append(level if count <= 256 else (level // 256, level % 256)[part])
                listed.append(units[own, channel][part])
    return found, listed


@pytest.mark.parametrize("most", [1 << 16, 1])
@pytest.mark.parametrize("counts", [(4,), (700, 300), (300, 2), (5, 1, 600, 3)])
def test_symbols_are_in_the_order_of_the_page(counts, most, monkeypatch):
    rng = np.random.default_rng(9)
    prior = random_mixture(rng, counts, 1, 3, 1, dtype="uint16", hides=len(counts) in (2, 4))
    grids = random_grids(rng, 5, 5)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    symbols, units = symbols_of(prior, tokens, grids)
    decoder = Taken(symbols)
    monkeypatch.setattr(mixture_prior, "SymbolDecoder", lambda _: decoder)
    monkeypatch.setattr(mixture_prior, "_MOST_UNITS", most)
    with kernels("never"):
        assert (prior.decode(b"", grids) == tokens).all()
    assert decoder.units == units


@pytest.mark.parametrize("hides", [False, True])
def test_known_levels_give_the_same_samples_in_reverse(hides):
    rng = np.random.default_rng(4)
    prior = random_mixture(rng, (4, 3, 300, 3), dtype="uint16", hides=hides)
    grids = np.concatenate([random_grids(rng, 5), np.ones((2100, 2), np.int64)])
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    walk, found, order = prior.walk(grids), {}, []
    for samples in walk.known_samples(tokens):
        units = units_of(samples, tokens[samples.pixels, samples.channel])
        for pixel, own in zip(samples.pixels.tolist()[::-1], units[::-1], strict=True):
            found[pixel, samples.channel] = own
            order.append((pixel, samples.channel))
    assert (found, order[::-1]) == walked(prior, tokens, grids)


@pytest.mark.parametrize("most", [1, 1000])
def test_the_size_of_steps_changes_nothing(most, monkeypatch):
    rng = np.random.default_rng(5)
    prior = random_mixture(rng, (4, 300, 5, 3), dtype="uint16", hides=True)
    grids = random_grids(rng, 40, 12)
    tokens = random_tokens(rng, prior.model, int(grids.prod(axis=1).sum()))
    with kernels("never"):
        data = prior.encode(tokens, grids)
        monkeypatch.setattr(mixture_prior, "_MOST_UNITS", most)
        assert prior.encode(tokens, grids) == data and (prior.decode(data, grids) == tokens).all()
    samples = next(prior.walk(grids).samples())
    assert max(len(samples.pixels[part]) for part in samples.parts(256)) <= max(1, most // 256)


def test_the_size_of_pieces_is_part_of_the_format(monkeypatch):
    rng = np.random.default_rng(5)
    prior = random_mixture(rng, (4, 3))
    grids = np.ones((9, 2), np.int64)
    tokens = random_tokens(rng, prior.model, 9)
    with kernels("never"):
        data = prior.encode(tokens, grids)
        monkeypatch.setattr(wavefront, "PIECE_PIXELS", 4)
        assert prior.encode(tokens, grids) != data


def test_threads_change_nothing():
    rng = np.random.default_rng(7)
    prior = random_mixture(rng, (6, 500, 7), 3, 9, 2, dtype="uint16")
    grids = [random_grids(rng, 4, 12) for _ in range(6)]
    tokens = [random_tokens(rng, prior.model, int(own.prod(axis=1).sum())) for own in grids]
    alone = [prior.encode(some, own) for some, own in zip(tokens, grids, strict=True)]
    data, found = [b""] * 6, [np.zeros(0)] * 6

    def work(number):
        data[number] = prior.encode(tokens[number], grids[number])
        found[number] = prior.decode(data[number], grids[number])

    for_each(work, range(6), 3)
    assert data == alone and all((ours == theirs).all() for ours, theirs in zip(found, tokens, strict=True))


def largest(rng, prior, weights, places):
    """The prior with weights and biases that bring its sums near their bound of 2**24."""
    network = prior.network
    rows = len(network.context) + len(network.networks[-1].own)
    network.context[:] = rng.choice([-1, 1], network.context.shape) * (65_000 // rows)
    networks = []
    for own in network.networks:
        own.own[:] = rng.choice([-1, 1], own.own.shape) * (65_000 // rows)
        own.middle[:] = rng.choice([-1, 1], own.middle.shape) * (65_000 // network.width)
        own.outputs[:] = rng.choice([-1, 1], own.outputs.shape) * (65_000 // network.width)
        own.middle_bias[:], own.outputs_bias[:], own.bias[:] = 90_001, -90_001, 7
        own.weights[:] = rng.choice([-1, 1], own.weights.shape) * weights
        networks.append(replace(own, places=places, shifts=(*own.shifts[:-1], 3)))
    return MixturePrior(replace(network, networks=tuple(networks)), prior.model)  # which checks the sums


@pytest.mark.parametrize(("weights", "places"), [((1 << 25) - 1, 16), ((1 << 25) - 1, 0), (40_000, 16)])
def test_largest_sums_are_exact(weights, places):
    rng = np.random.default_rng(8)
    prior = largest(rng, random_mixture(rng, (65_536, 300), 1, 3, 1, edges=(1, 1, 1), dtype="uint16"), weights, places)
    tokens = random_tokens(rng, prior.model, 20)
    tokens[:9, 0] = np.where(np.arange(9) % 2, 0, 65_535)
    grids = np.array([(4, 5)])
    assert walked(prior, tokens, grids)[0] == slow_units(prior, tokens, (4, 5))
    for way in ("never", "always"):
        with kernels(way):
            assert (prior.decode(prior.encode(tokens, grids), grids) == tokens).all()


def test_a_channel_of_one_level_takes_no_bits():
    prior = random_mixture(np.random.default_rng(0), (1, 1, 1))
    grids = np.array([(3, 4)])
    assert prior.encode(np.zeros((12, 3), np.uint16), grids) == b""
    assert not prior.decode(b"", grids).any()
    with pytest.raises(DamagedArchiveError, match="left"):
        prior.decode(b"\1\0\0\0", grids)


@pytest.mark.parametrize("counts", [(5, 5, 5, 1), (700, 1)])
def test_hidden_colours_take_no_bits(counts):
    prior = random_mixture(np.random.default_rng(1), counts, dtype="uint16", hides=True)
    tokens, grids = np.zeros((12, len(counts)), np.uint16), np.array([(3, 4)])
    assert prior.encode(tokens, grids) == b"" and not prior.decode(b"", grids).any()


def test_tokens_that_cannot_be_coded_are_refused():
    rng = np.random.default_rng(2)
    counts = (5, 400, 6, 3)
    prior, grids = random_mixture(rng, counts, dtype="uint16", hides=True), np.array([(2, 2)])
    for channel, count in enumerate(counts):
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


@pytest.mark.parametrize("way", ["never", "always"])
@pytest.mark.parametrize("count", [257, 300, 700, 65_535])
def test_a_level_that_is_too_large_is_damage(count, way):
    """A stream of the levels of a model of more levels, whose units are the same, gives one beyond the last."""
    prior, grids = random_mixture(np.random.default_rng(3), (count,), dtype="uint16"), np.array([(1, 1)])
    most = -(-count // 256) * 256 - 1
    mixture = next(prior.walk(grids).samples()).mixture
    encoder = mixture_prior.StackEncoder()
    encoder.push_each(np.array([most % 256]), mixture.rest_units(np.array([most // 256])))
    encoder.push_each(np.array([most // 256]), mixture.first_units())
    with kernels(way), pytest.raises(DamagedArchiveError, match="level of channel 0 is too large"):
        prior.decode(encoder.finish(), grids)


@pytest.mark.parametrize("counts", [(5, 4, 6), (700, 257)])
def test_words_that_do_not_fit_are_damage(counts):
    rng = np.random.default_rng(6)
    prior, grids = random_mixture(rng, counts, dtype="uint16"), np.array([(9, 9)])
    data = prior.encode(random_tokens(rng, prior.model, 81), grids)
    for changed in (data + b"\1\0\0\0", data[:-4], data[:-1], data[4:]):
        with pytest.raises(DamagedArchiveError):
            prior.decode(changed, grids)


def test_a_network_of_other_levels_than_the_model_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ModelError, match="levels"):
        MixturePrior(random_mixture(rng, (5, 4)).network, random_mixture(rng, (5, 5)).model)


def test_the_scores_of_a_pixel_prior_have_fewer_levels():
    """Those of 4,096 levels are read, and those of more are not; a mixture reads both."""
    rng = np.random.default_rng(0)
    for count in (4096, 4097):
        assert random_mixture(rng, (count,), dtype="uint16").network.levels == [count]
    assert random_prior(rng, (4096,), dtype="uint16").network.levels == [4096]
    with pytest.raises(ModelError, match="4097 levels"):
        random_prior(rng, (4097,), dtype="uint16")
