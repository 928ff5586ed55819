import struct
import tracemalloc
from dataclasses import fields as fields_of

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.networks import SHAPES, random_prior, random_pyramid, random_tokens
from smalti.decoders.layers.integer_network import Clip, Layer, PixelTable
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import Level, PyramidNetwork, Scale, TokenLayout
from smalti.decoders.pyramid.pyramid_packing import pack_pyramid, unpack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, TablePrior
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError, UnsupportedArchiveError


def assert_equal(one, other):
    """Compare nested dataclasses and tuples of arrays and numbers."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape and (one == other).all()
    elif isinstance(one, tuple):
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    elif hasattr(one, "__dataclass_fields__"):
        for field in fields_of(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other


def made_up(seed, shape, kinds=("up",), channels=1):
    rng, (grid, strides) = np.random.default_rng(seed), shape
    while True:
        network = random_pyramid(rng, strides, channels=channels, kinds=kinds)
        try:
            network.output_size(grid)
        except ModelError:
            continue
        return network, grid, random_prior(rng, network, grid)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    kinds=st.sampled_from([("up",), ("conv",), ("up", "conv", "up")]),
    channels=st.integers(1, 4),
)
def test_round_trip(seed, shape, kinds, channels):
    network, grid, prior = made_up(seed, shape, kinds, channels)
    data = pack_pyramid(network, grid)
    back, back_grid = unpack_pyramid(data, 1 << 20)
    assert_equal(back, network)
    assert back_grid == grid and pack_pyramid(back, grid) == data
    stored = prior.to_bytes()
    again = PyramidPrior.from_bytes(stored, back, grid)
    assert_equal(again.levels, prior.levels)
    assert_equal(again.depths.frequencies, prior.depths.frequencies)
    assert again.to_bytes() == stored


@pytest.fixture(scope="module")
def made():
    network, grid, prior = made_up(10, SHAPES[3])
    assert {type(level) for level in prior.levels} == {TablePrior, NetworkPrior}
    return network, grid, prior, pack_pyramid(network, grid), prior.to_bytes()


def damaged(data):
    for index in range(len(data)):
        for bits in (0x01, 0x80, 0xFF):
            yield data[:index] + bytes([data[index] ^ bits]) + data[index + 1 :]


def test_a_changed_byte_of_a_network_causes_no_other_kind_of_exception(made):
    outcomes = set()
    for changed in damaged(made[3]):
        try:
            network, grid = unpack_pyramid(changed, 1 << 20)
        except (DamagedArchiveError, UnsupportedArchiveError, LimitExceededError) as error:
            outcomes.add(type(error))
        else:
            outcomes.add(None)
            if np.prod(network.output_size(grid)) > 1 << 12:
                continue
            tokens = random_tokens(np.random.default_rng(0), network, grid, 1)
            PyramidDecoder(network, grid).decode(tokens)
    assert outcomes >= {None, DamagedArchiveError, UnsupportedArchiveError}


def test_a_changed_byte_of_a_prior_causes_no_other_kind_of_exception(made):
    network, grid, _, _, stored = made
    outcomes, tokens = set(), random_tokens(np.random.default_rng(0), network, grid, 2)
    for changed in damaged(stored):
        try:
            prior = PyramidPrior.from_bytes(changed, network, grid)
        except (DamagedArchiveError, UnsupportedArchiveError) as error:
            outcomes.add(type(error))
        else:
            outcomes.add(None)
            assert (prior.cost_bits(tokens) > 0).all()
    assert outcomes >= {None, DamagedArchiveError, UnsupportedArchiveError}


def test_every_truncation_is_noticed(made):
    """Except for whole words at the end: only the section's checksum can tell such data from a shorter message."""
    network, grid, _, packed, stored = made

    def unpack_prior(data):
        PyramidPrior.from_bytes(data, network, grid)

    for data, unpack in ((packed, lambda data: unpack_pyramid(data, 1 << 20)), (stored, unpack_prior)):
        unnoticed = 0
        for size in range(len(data)):
            try:
                unpack(data[:size])
            except DamagedArchiveError:
                continue
            unnoticed += 1
            assert (len(data) - size) % 4 == 0
        assert unnoticed <= len(data) // 4
        for more in (b"\0", bytes(4), b"\1\0\0\0"):
            with pytest.raises(DamagedArchiveError):
                unpack(data + more)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_noise_is_noticed(made, data):
    with pytest.raises(DamagedArchiveError):
        unpack_pyramid(b"\1" + data, 1 << 20)
    with pytest.raises(DamagedArchiveError):
        PyramidPrior.from_bytes(b"\3" + data, made[0], made[1])


def with_field(data, at, layout, *values):
    """The same bytes with other fields at an offset."""
    packed = struct.pack("<" + layout, *values)
    return data[:at] + packed + data[at + len(packed) :]


NETWORK_FIELDS = [  # of a network of 2 scales, some levels and one layer
    (1, "B", 0), (1, "B", 17), (1, "B", 1), (2, "B", 0), (3, "B", 0), (3, "B", 65), (4, "H", 0), (4, "HH", 5, 4),
    (8, "H", 0), (10, "hh", -1, 255), (10, "hh", 5, 4), (14, "H", 0), (14, "H", 65_535), (16, "B", 0), (16, "B", 97),
    (17, "B", 0), (17, "B", 17), (18, "I", 1 << 31), (22, "B", 0), (22, "B", 17), (22, "B", 3), (24, "B", 17),
    (24, "B", 3), (26, "H", 0), (34, "B", 1), (34, "B", 2), (35, "H", 4), (37, "H", 0), (39, "H", 0),
    (39, "H", 65_535),
]  # fmt: skip


@pytest.mark.parametrize("change", NETWORK_FIELDS)
def test_impossible_networks(made, change):
    with pytest.raises(DamagedArchiveError):
        unpack_pyramid(with_field(made[3], *change), 1 << 20)


def test_unknown_kinds_are_named(made):
    network, grid, _, packed, stored = made
    layer = 22 + 6 * len(network.scales) + 7 * len(network.levels)
    for data, words in ((with_field(packed, 0, "B", 9), "pyramid of kind 9"),
                        (with_field(packed, layer, "B", 8), "layer of kind 8")):  # fmt: skip
        with pytest.raises(UnsupportedArchiveError, match=words):
            unpack_pyramid(data, 1 << 20)
    for data, words in ((with_field(stored, 0, "B", 9), "kind 9"), (with_field(stored, 12, "B", 7), "of kind 7")):
        with pytest.raises(UnsupportedArchiveError, match=words):
            PyramidPrior.from_bytes(data, network, grid)


@pytest.mark.parametrize(
    "change", [(1, "B", 25), (2, "H", 1), (4, "H", 0), (4, "H", 65_535), (6, "B", 0), (13, "B", 2), (14, "BB", 25, 25)]
)
def test_impossible_priors(made, change):
    with pytest.raises(DamagedArchiveError):
        PyramidPrior.from_bytes(with_field(made[4], *change), made[0], made[1])


def test_no_field_causes_an_allocation_above_the_limit(made):
    network, grid, prior, packed, stored = made
    network_level = 12 + 6 * next(i for i, level in enumerate(prior.levels) if isinstance(level, NetworkPrior))
    large = with_field(packed, 26, "H", 65_535)
    tracemalloc.start()
    with pytest.raises(LimitExceededError, match="raise the limit"):
        unpack_pyramid(with_field(large, 8, "H", 65_535), 1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    with pytest.raises(DamagedArchiveError):
        PyramidPrior.from_bytes(with_field(stored, network_level + 4, "H", 65_535), network, grid)
    whole = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20 and whole < 1 << 28


def test_zero_weights_are_cheap():
    """Weights of mostly 0 cost less than a quarter of a bit each, and a description less than 30 bytes a level."""
    rng = np.random.default_rng(0)

    def sparse(*shape):
        return (rng.integers(-3, 4, shape) * (rng.random(shape) < 0.02)).astype(np.int16)

    layer = Layer("up", sparse(64, 4, 4, 1), np.zeros(1, np.int32), np.zeros(1, np.uint8), (2, 2), (1, 1),
                  PixelTable(0, np.arange(256, dtype=np.uint8)))  # fmt: skip
    levels = tuple(Level(0, 0, np.zeros((64, 24), np.int16)) for _ in range(10))
    scale = Scale((4, 4), sparse(24, 4, 4, 64))
    network = PyramidNetwork((scale,), levels, np.zeros(64, np.int32), np.zeros(64, np.uint8), Clip(0, 255), (layer,))
    assert len(pack_pyramid(network, (4, 4))) < scale.stem.size / 32 + 10 * 30 + 250
    level_prior = NetworkPrior(
        sparse(24, 32), np.zeros((1, 32), np.int32), 0, sparse(32, 64), np.zeros(64, np.int32), 0
    )
    depths = FrequencyTable.from_counts(np.ones(11, np.int64), 12)
    prior = PyramidPrior(network, (4, 4), depths, (level_prior,) * 10)
    assert len(prior.to_bytes()) < 10 * (32 * (64 + 24) / 32 + 60)


def test_what_does_not_fit_is_refused(made):
    network, grid, prior, _, _ = made
    layout = TokenLayout(network, grid)
    with pytest.raises(ModelError):
        TokenLayout(network, (grid[0] + 1, grid[1]))
    with pytest.raises(ModelError):
        PyramidPrior(network, grid, prior.depths, prior.levels[:-1])
    number = next(i for i, level in enumerate(prior.levels) if isinstance(level, NetworkPrior))
    level = prior.levels[number]
    wide = NetworkPrior(
        np.full((level.features, 300), 127, np.int16), np.full((1, 300), 1 << 24, np.int32), 0,
        np.zeros((300, level.codes), np.int16), level.bias2, 0,
    )  # fmt: skip
    with pytest.raises(ModelError, match="2\\*\\*24"):
        PyramidPrior(network, grid, prior.depths, (*prior.levels[:number], wide, *prior.levels[number + 1 :]))
    assert layout.levels == len(network.levels)


def test_networks_whose_sums_would_not_be_exact_are_refused():
    layer = Layer("conv", np.ones((1, 1, 1, 1), np.int16), np.zeros(1, np.int32), np.zeros(1, np.uint8), (1, 1),
                  (0, 0), PixelTable(0, np.zeros(1, np.uint8)))  # fmt: skip

    def network(bias, codes):
        levels = tuple(Level(0, 0, np.array([[code]], np.int16)) for code in codes)
        stem = Scale((1, 1), np.full((1, 1, 1, 1), 127, np.int16))
        return PyramidNetwork(
            (stem,), levels, np.array([bias], np.int32), np.zeros(1, np.uint8), Clip(0, 255), (layer,)
        )

    network((1 << 24) - 127 * 2048 * 3, (2048, -2048, 2048, 2048))
    network((1 << 24) - 127 * 4096, (2048, -2048, 2048))
    with pytest.raises(ModelError, match="2\\*\\*24"):
        network((1 << 24) - 127 * 4096 + 1, (2048, -2048, 2048))


@pytest.mark.parametrize(
    ("stride", "kernel", "padding"), [((2, 2), (3, 3), (0, 0)), ((2, 2), (4, 4), (0, 0)), ((0, 1), (1, 1), (0, 0))]
)
def test_stems_that_do_not_cover_the_canvas(stride, kernel, padding):
    with pytest.raises(ModelError):
        Scale(stride, np.zeros((1, *kernel, 1), np.int16), padding)
