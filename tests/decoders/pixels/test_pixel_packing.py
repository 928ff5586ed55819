import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.pixels.test_pixel_prior import SHAPES, made
from decoders.test_pyramid_packing import assert_equal
from decoders.transform.test_transform_packing import damaged, with_description
from helpers.tiny_pixels import random_grids, random_prior, random_tokens
from smalti.archive.format.limits import Limits
from smalti.decoders.contract import CellFacts
from smalti.decoders.layers.numbers import pack_numbers
from smalti.decoders.pixels.pixel_kind import PIXELS
from smalti.decoders.pixels.pixel_network import PixelNetwork
from smalti.decoders.pixels.pixel_packing import pack_levels, pack_prior, unpack_levels, unpack_prior
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError

LIMIT = 1 << 22
FACTS = {"channels": 4, "dtype": np.dtype(np.uint8), "cell": 1, "tokens_per_cell": 4, "block_cells": 100}


@hypothesis_settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES)
def test_models_and_priors_come_back(seed, shape):
    _, prior = made(seed, shape)
    model = prior.model
    data = model.to_bytes()
    levels, hides = unpack_levels(data, int(np.iinfo(model.dtype).max), LIMIT)
    assert hides == model.hides and pack_levels(levels, hides) == data
    assert all((ours == theirs).all() for ours, theirs in zip(levels, model.levels, strict=True))
    stored = prior.to_bytes()
    network = unpack_prior(stored, prior.network.levels, LIMIT)
    assert_equal(network, prior.network)
    assert pack_prior(network) == stored == model.read_prior(stored).to_bytes()


@pytest.fixture(name="prior", scope="module")
def _prior():
    return random_prior(np.random.default_rng(4), (5, 1, 4, 3), 1, 3, 1, hides=True)


def read_model(data, limits=None, **facts):
    return PIXELS.unpack_cells(data, CellFacts(**(FACTS | facts)), limits or Limits())


def test_a_changed_byte_of_a_model_causes_no_other_kind_of_exception(prior):
    outcomes = set()
    for changed in damaged(prior.model.to_bytes()):
        try:
            model = read_model(changed, Limits(model_bytes=LIMIT))
            outcomes.add(None)
            model.decode(np.zeros((4, 4), np.uint16), np.array([(2, 2)]), 1)
        except (DamagedArchiveError, LimitExceededError) as error:
            outcomes.add(type(error))
    assert outcomes >= {None, DamagedArchiveError}


def test_a_changed_byte_of_a_prior_causes_no_other_kind_of_exception(prior):
    outcomes, grids = set(), random_grids(np.random.default_rng(1), 3, 4)
    words = prior.encode(random_tokens(np.random.default_rng(0), prior.model, int(grids.prod(axis=1).sum())), grids)
    for changed in damaged(prior.to_bytes()):
        try:
            found = prior.model.read_prior(changed)
            outcomes.add(None)
            found.decode(words, grids)
        except (DamagedArchiveError, LimitExceededError) as error:
            outcomes.add(type(error))
    assert outcomes >= {None, DamagedArchiveError}


def test_changed_words_cause_no_other_kind_of_exception(prior):
    outcomes, grids = set(), random_grids(np.random.default_rng(1), 3, 6)
    tokens = random_tokens(np.random.default_rng(0), prior.model, int(grids.prod(axis=1).sum()))
    for changed in damaged(prior.encode(tokens, grids)):
        try:
            assert not (prior.decode(changed, grids) == tokens).all()
            outcomes.add(None)
        except DamagedArchiveError:
            outcomes.add(DamagedArchiveError)
    assert DamagedArchiveError in outcomes


def test_every_truncation_is_noticed(prior):
    """Except for whole words at the end: only the section's checksum can tell such data from a shorter message."""
    for data, unpack in ((prior.model.to_bytes(), read_model), (prior.to_bytes(), prior.model.read_prior)):
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


@hypothesis_settings(max_examples=100)
@given(data=st.binary(max_size=300))
def test_noise_is_noticed(prior, data):
    with pytest.raises(DamagedArchiveError):
        read_model(data)
    with pytest.raises(DamagedArchiveError):
        prior.model.read_prior(data)


MODEL_CHANGES = [
    {"channels": 0}, {"channels": 5}, {"channels": True}, {"channels": "4"}, {"channels": None}, {"channels": 3},
    {"hides": 2}, {"hides": -1}, {"hides": True}, {"hides": None}, {"levels": [5, 1, 4]}, {"levels": [5, 1, 4, 3, 1]},
    {"levels": [5, 0, 4, 3]}, {"levels": [5, 1, 65_537, 3]}, {"levels": [5, 1, 1 << 70, 3]},
    {"levels": [5, True, 4, 3]}, {"levels": 4}, {"levels": None}, {"levels": {}}, {"levels": [5, 1, 4, 2]},
    {"levels": [[5], 1, 4, 3]},
    {"precision": 17}, {"symbols": 97}, {"tables": 4097}, {"tables": 1 << 40}, {"other": 1},
]  # fmt: skip


@pytest.mark.parametrize("changes", MODEL_CHANGES)
def test_impossible_models(prior, changes):
    with pytest.raises(DamagedArchiveError):
        read_model(with_description(prior.model.to_bytes(), **changes))


SHIFTS = [6, 4, 7] * 4
PRIOR_CHANGES = [
    {"depth": -1}, {"depth": 5}, {"depth": 5, "shifts": [0] * 28}, {"depth": 0}, {"depth": 0, "shifts": [0] * 8},
    {"depth": True}, {"radius": 0}, {"radius": 9}, {"radius": 1 << 70}, {"radius": None}, {"width": 0},
    {"width": 257}, {"width": 2}, {"tops": 0}, {"tops": 4097}, {"tops": 1}, {"lefts": 0}, {"lefts": 4097},
    {"lefts": 1 << 60}, {"rights": 0}, {"rights": 4097}, {"rights": "1"}, {"shifts": SHIFTS[1:]},
    {"shifts": [*SHIFTS, 0]}, {"shifts": [25, *SHIFTS[1:]]}, {"shifts": [*SHIFTS[1:], -1]},
    {"shifts": [True, *SHIFTS[1:]]}, {"shifts": 6}, {"shifts": None}, {"other": 0}, {"precision": 17}, {"tables": 4097},
]  # fmt: skip


@pytest.mark.parametrize("changes", PRIOR_CHANGES)
def test_impossible_priors(prior, changes):
    with pytest.raises(DamagedArchiveError):
        prior.model.read_prior(with_description(prior.to_bytes(), **changes))


def packed_model(steps, channels=None, hides=0):
    description = {"channels": channels or len(steps), "hides": hides, "levels": [len(own) for own in steps]}
    return pack_numbers(description, [np.array(own) for own in steps])


def model_of_levels(steps, largest):
    """The levels of one channel, packed and read again."""
    return unpack_levels(packed_model([steps]), largest, LIMIT)[0]


@pytest.mark.parametrize(
    ("steps", "words"),
    [([1, 1, 0, 9], "ascend"), ([1, 60, -1], "outside"), ([-1, 3], "outside"), ([200, 56], "255"), ([256], "outside")],
)
def test_impossible_levels(steps, words):
    for place in range(4):
        found = [[0, 9]] * place + [steps] + [[1, 254]] * (3 - place)
        with pytest.raises(DamagedArchiveError, match=words):
            read_model(packed_model(found))
    if min(steps) > 0:
        levels, _ = unpack_levels(packed_model([steps]), 65_535, LIMIT)
        assert levels[0].tolist() == np.cumsum(steps).tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_only_alpha_hides(channels):
    with pytest.raises(DamagedArchiveError, match="no alpha"):
        unpack_levels(packed_model([[0, 9]] * channels, hides=1), 255, LIMIT)
    assert unpack_levels(packed_model([[0, 9]] * (channels + 1), hides=1), 255, LIMIT)[1]


def test_the_model_must_fit_the_archive(prior):
    data = prior.model.to_bytes()
    assert read_model(data).to_bytes() == data
    for facts in ({"channels": 3}, {"tokens_per_cell": 3}, {"cell": 8}):
        with pytest.raises(DamagedArchiveError, match="it has 4 channels"):
            read_model(data, **facts)


def test_sums_stay_exact(prior):
    """Each bias is set to the largest that keeps a sum at 2**24, and to one more."""
    network = prior.network
    room = 255 * np.abs(np.concatenate([network.context, network.networks[3].own])).sum(axis=0)
    edges = sum(np.abs(table).max(axis=0) for table in (network.tops, network.lefts, network.rights))
    last = network.networks[3]
    largest = {
        "bias": (1 << 24) - room - edges,
        "middle_bias": (1 << 24) - 255 * np.abs(last.middle).sum(axis=1),
        "scores_bias": (1 << 24) - 255 * np.abs(last.scores).sum(axis=0),
    }
    for name, most in largest.items():
        for sign in (1, -1):
            changed = (*network.networks[:3], replace(last, **{name: sign * most}))
            assert unpack_prior(pack_prior(replace(network, networks=changed)), network.levels, LIMIT)
            beyond = sign * (most + (np.arange(most.shape[-1]) == 1))
            with pytest.raises(ModelError, match=r"2\*\*24"):
                replace(network, networks=(*network.networks[:3], replace(last, **{name: beyond})))
    few = (2 << 20) - 255 * np.abs(last.scores).sum(axis=0)  # a shift of 0: five outputs are added
    for most, fits in ((few, True), (few + (np.arange(len(few)) == 4), False)):
        own = replace(last, scores_bias=most, shifts=(*last.shifts[:-1], 0))
        if fits:
            replace(network, networks=(*network.networks[:3], own))
        else:
            with pytest.raises(ModelError, match=r"2\*\*21"):
                replace(network, networks=(*network.networks[:3], own))
    tops = network.tops.copy()
    tops[1, 2] = 1 << 24
    stub = type("Stub", (), {**{name: getattr(network, name) for name in PixelNetwork.__dataclass_fields__}})
    stub.tops, stub.depth, stub.width = tops, network.depth, network.width
    with pytest.raises(DamagedArchiveError, match=r"2\*\*24"):
        prior.model.read_prior(pack_prior(stub))


def test_networks_that_do_not_fit_together(prior):
    network = prior.network
    for changes in (
        {"radius": 2},
        {"context": network.context[1:]},
        {"tops": network.tops[:0]},
        {"networks": network.networks[1:]},
        {"networks": network.networks[::-1]},
    ):
        with pytest.raises(ModelError):
            replace(network, **changes)


def test_limits_of_memory_are_checked_before_numbers_are_read(prior):
    """The description asks for more numbers than the limit allows; the payload does not hold them."""
    sizes = {"tops": 4096, "lefts": 4096, "rights": 4096, "width": 256}
    with pytest.raises(LimitExceededError, match="limit"):
        unpack_prior(with_description(prior.to_bytes(), **sizes), prior.network.levels, 1 << 20)
    levels = with_description(prior.model.to_bytes(), levels=[4096] * 4)
    with pytest.raises(LimitExceededError, match="limit"):
        unpack_levels(levels, 255, 8 * 4095)
    numbers = sum(map(len, prior.model.levels))
    unpack_levels(prior.model.to_bytes(), 255, 8 * numbers)
    with pytest.raises(LimitExceededError, match="limit"):
        read_model(prior.model.to_bytes(), Limits(model_bytes=8 * numbers - 1))
    model = read_model(prior.model.to_bytes(), Limits(model_bytes=8 * numbers))
    with pytest.raises(LimitExceededError, match="limit"):
        model.read_prior(prior.to_bytes())


def test_operations_count_every_product(prior):
    network = prior.network
    products = network.context.size + sum(own.own.size + own.middle.size + own.scores.size for own in network.networks)
    assert prior.operations == products + 16 * 13
    assert network.context.size == 4 * 4 * 3 and prior.cell_bytes == 16 * 4 + 96


def test_the_order_of_the_keys_does_not_matter_to_a_writer(prior):
    (size,) = struct.unpack_from("<I", prior.to_bytes())
    found = json.loads(prior.to_bytes()[4 : 4 + size])
    assert list(found) == sorted(found) and found["shifts"] == [s for own in prior.network.networks for s in own.shifts]
