import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.transform.test_transform_model import split
from helpers.transforms import GROUPS, possible_tokens, random_grids, random_prior
from smalti.decoders.transform.cells import CellLists
from smalti.decoders.transform.transform_prior import TransformPrior, _add_far, _take_far, signed, unsigned
from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.errors import DamagedArchiveError, ModelError, UsageError

SHAPES = st.fixed_dictionaries(
    {
        "groups": st.sampled_from(GROUPS),
        "signed": st.integers(1, 1) | st.integers(1, 3),
        "activities": st.integers(1, 3),
        "width": st.integers(1, 5),
        "first": st.integers(1, 3),
        "grid": st.sampled_from([(0, 0), (1, 1), (3, 2)]),
        "scales": st.sampled_from([2, 3, 9]),
        "radius": st.sampled_from([1, 4, 20]),
    }
)


def made(seed, shape):
    rng = np.random.default_rng(seed)
    return rng, random_prior(rng, **{**shape, "signed": min(shape["signed"], sum(shape["groups"]))})


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(1, 5))
def test_tokens_come_back(seed, shape, pictures):
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures)
    grids[rng.random(pictures) < 0.4] = shape["grid"] if shape["grid"] != (0, 0) else (1, 1)
    tokens = possible_tokens(rng, prior, grids)
    data = prior.encode(tokens, grids)
    assert (prior.decode(data, grids) == tokens).all()


@hypothesis_settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(2, 5))
def test_no_picture_knows_of_another(seed, shape, pictures):
    """How a coefficient is coded is the same if its picture is coded alone, or with others of any grids."""
    rng, prior = made(seed, shape)
    grids = random_grids(rng, pictures)
    grids[0] = (3, 2)
    tokens = possible_tokens(rng, prior, grids)

    def codings(tokens, grids):
        walk, M = prior.walk(grids), prior.network.components
        found = np.zeros((3, len(tokens), M), np.int64)
        for step in walk.steps():
            coding, columns = walk.coding(step), slice(step.start, step.stop)
            found[:, step.cells, columns] = coding.centres, coding.flips, coding.tables
            walk.set(step, signed(tokens)[step.cells, columns])
        return found

    together = codings(tokens, grids)
    ends = np.cumsum(grids.prod(axis=1))
    for own, grid, expected in zip(split(tokens, grids), grids, np.split(together, ends[:-1], axis=1), strict=True):
        assert (codings(own, grid[None]) == expected).all()


def test_all_tokens_are_coefficients():
    tokens = np.arange(1 << 16).astype(np.uint16)
    assert signed(tokens[:5]).tolist() == [0, -1, 1, -2, 2]
    assert (unsigned(signed(tokens)) == tokens).all()
    assert (signed(tokens).min(), signed(tokens).max()) == (-(1 << 15), (1 << 15) - 1)


@hypothesis_settings(max_examples=100)
@given(st.lists(st.integers(-65_535, 65_535).filter(bool), min_size=1, max_size=40))
def test_far_differences_come_back(differences):
    encoder, found = SymbolEncoder(), np.array(differences, np.int32)
    _add_far(encoder, found)
    decoder = SymbolDecoder(encoder.finish())
    assert (_take_far(decoder, len(found)) == found).all()
    decoder.finish()


def test_a_difference_of_17_digits_cannot_be_coded():
    with pytest.raises(UsageError, match="alphabet"):
        _add_far(SymbolEncoder(), np.array([65_536], np.int32))


def slow_prior(prior, tokens, grid):
    """Table, centre and direction of each coefficient of one picture, in Python's whole numbers, cell by cell."""
    network, (rows, columns) = prior.network, grid
    M, E, L = network.components, network.activities, network.signed
    k = signed(tokens).astype(int).reshape(rows, columns, M)
    known = np.zeros((rows, columns, M), bool)
    s = network.shifts
    digits = [int(limit).bit_length() for limit in network.limits]

    def magnitude(value):
        return min(int(np.floor(16 * np.log2(1 + min(abs(value), 255)) + 0.5)), 127)

    def seen(y, x, c):
        if not (0 <= y < rows and 0 <= x < columns and known[y, x, c]):
            return 0
        return min(max(int(k[y, x, c]), -int(network.limits[c])), int(network.limits[c]))

    def dot(values, weights):
        return sum(int(a) * int(b) for a, b in zip(values, weights, strict=True))

    def around(y, x, reach):
        return [(y + dy * reach, x + dx * reach) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]

    def first(y, x, phase):
        net, reach = network.first, (0, 4, 4, 2, 2, 1, 1)[phase]
        values = [seen(v, w, 0) for v, w in around(y, x, reach)] if reach else [0] * 9
        shifted = [value >> max(digits[0] - 7, 0) for value in values]
        hidden = [
            min(max(dot(shifted, net.weight[phase, :, d]) + int(net.bias[phase, d]) >> s[6], 0), 255)
            for d in range(net.hidden)
        ]
        scale = dot(hidden, net.scale_weight[phase]) + int(net.scale_bias[phase]) >> s[7]
        mean = dot(hidden, net.mean_weight[phase]) + int(net.mean_bias[phase]) >> s[8]
        return scale, mean + (dot(values, net.linear[phase]) >> s[9])

    def features(y, x, group):
        if not (0 <= y < rows and 0 <= x < columns):
            return [0] * (E + L)
        active = [
            sum(magnitude(k[y, x, m]) * int(network.activity[m, e]) for m in range(M) if known[y, x, m])
            + int(network.activity_bias[group, e])
            >> s[0]
            for e in range(E)
        ]
        return [min(max(value, 0), 255) for value in active] + [
            seen(y, x, c) >> max(digits[c] - 7, 0) for c in range(L)
        ]

    def other(y, x, group, phase, components):
        inputs = [value for v, w in around(y, x, 1) for value in features(v, w, group)]
        linears = [seen(v, w, c) for v, w in around(y, x, 1) for c in range(L)]
        own = network.places[y * columns + x] if grid == network.grid else np.zeros(network.width, int)
        one = [
            dot(inputs, network.context[phase][:, i]) + int(network.context_bias[phase, group, i]) + int(own[i]) >> s[1]
            for i in range(network.width)
        ]
        one = [min(max(value, 0), 255) for value in one]
        two = [
            min(max(dot(one, network.hidden[:, i]) + int(network.hidden_bias[i]) >> s[2], 0), 255)
            for i in range(network.width)
        ]
        for m in components:
            scale, mean = dot(two, network.scale_weight[:, m]) + int(network.scale_bias[m]) >> s[3], 0
            if m < L:
                mean = dot(two, network.mean_weight[:, m]) + int(network.mean_bias[m]) >> s[4]
                mean += dot(linears, network.linear[phase][:, m]) >> s[5]
            yield m, scale, mean

    def phase_of(y, x):
        for side, number in ((8, 0), (4, 1), (2, 3), (1, 5)):
            if y % side == 0 and x % side == 0:
                return 0 if number == 0 else number if y % (2 * side) and x % (2 * side) else number + 1
        raise AssertionError

    def coded(scale, mean):
        quarters = mean + 2 >> 2
        centre = quarters + 2 >> 2
        part = quarters - 4 * centre
        table = min(max(scale, 0), prior.scales - 1)
        return (table - 1) * 3 + abs(part) if table else -1, centre, part < 0

    found = {}
    cells = [(y, x) for y in range(rows) for x in range(columns)]
    for phase in range(7):
        some = [cell for cell in cells if phase_of(*cell) == phase]
        for y, x in some:
            found[y, x, 0] = coded(*first(y, x, phase))
        for y, x in some:
            known[y, x, 0] = True
    start = 1
    for group, size in enumerate(network.groups[1:], 1):
        for phase in (0, 1):
            some = [(y, x) for y, x in cells if (y + x) % 2 == phase]
            for y, x in some:
                for m, scale, mean in other(y, x, group, phase, range(start, start + size)):
                    found[y, x, m] = coded(scale, mean)
            for y, x in some:
                known[y, x, start : start + size] = True
        start += size
    return found


@hypothesis_settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, data=st.data())
def test_gives_what_whole_numbers_give(seed, shape, data):
    rng, prior = made(seed, shape)
    grid = data.draw(st.sampled_from([(1, 1), (3, 2), (9, 5), (2, 12)]))
    grids = np.array([grid])
    tokens = possible_tokens(rng, prior, grids)
    expected = slow_prior(prior, tokens, grid)
    walk = prior.walk(grids)
    for step in walk.steps():
        coding = walk.coding(step)
        for i, cell in enumerate(step.cells.tolist()):
            for j, m in enumerate(range(step.start, step.stop)):
                got = int(coding.tables[i, j]), int(coding.centres[i, j]), bool(coding.flips[i, j])
                assert got == expected[(*divmod(cell, grid[1]), m)]
        walk.set(step, signed(tokens)[step.cells, step.start : step.stop])


def test_a_coefficient_beyond_int16_is_damage():
    """A difference of 1 to a centre of 32,767, written with a centre of 32,766."""
    grids, priors = np.array([(4, 4)]), []
    for centre in (32_766, 32_767):
        _, prior = made(1, {"groups": (1,), "signed": 1})
        first = prior.network.first
        first.scale_bias[:] = 1 << 16
        first.mean_bias[:] = 16 * centre << prior.network.shifts[8]
        first.linear[:] = first.mean_weight[:] = 0
        priors.append(prior)
    tokens = unsigned(np.full((16, 1), 32_767))
    data = priors[0].encode(tokens, grids)
    assert (priors[0].decode(data, grids) == tokens).all()
    with pytest.raises(DamagedArchiveError, match="int16"):
        priors[1].decode(data, grids)


def test_tokens_that_are_not_coded_must_be_their_centres():
    rng, prior = made(2, {"groups": (1, 2), "signed": 1})
    prior.network.scale_weight[:] = 0
    prior.network.scale_bias[:] = -1
    grids = np.array([(2, 3)])
    tokens = possible_tokens(rng, prior, grids)
    tokens[3, 2] ^= 1
    with pytest.raises(ModelError, match="not coded"):
        prior.encode(tokens, grids)


def test_tables_without_a_centre_are_refused():
    _, prior = made(3, {"groups": (1,), "signed": 1})
    for column in (prior.radius, 2 * prior.radius + 1):
        tables = prior.tables.tables.copy()
        tables[0, 0] += tables[0, column]
        tables[0, column] = 0
        with pytest.raises(ModelError, match="centre"):
            TransformPrior(prior.network, type(prior.tables)(tables, prior.tables.precision))


def test_neighbours_lie_in_the_same_picture():
    cells = CellLists(np.array([(1, 1), (2, 3)]))
    assert cells.neighbours(1)[0].tolist() == [7] * 4 + [0] + [7] * 4
    assert cells.neighbours(1)[1].tolist() == [7, 7, 7, 7, 1, 2, 7, 4, 5]
    assert cells.neighbours(2)[1].tolist() == [7, 7, 7, 7, 1, 3, 7, 7, 7]
    assert cells.places((2, 3)).tolist() == [6, 0, 1, 2, 3, 4, 5] and cells.places((3, 2)) is None


def test_phases_are_a_lattice():
    phases = np.zeros(81, int)
    for number, members in enumerate(CellLists(np.array([(9, 9)])).first_phase()):
        phases[members] = number
    square = phases.reshape(9, 9)
    assert square[0].tolist() == [0, 6, 4, 6, 2, 6, 4, 6, 0]
    assert square[4].tolist() == [2, 6, 4, 6, 1, 6, 4, 6, 2]
    assert square[1].tolist() == [6, 5, 6, 5, 6, 5, 6, 5, 6]
