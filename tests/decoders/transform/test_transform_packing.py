import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.test_pyramid_packing import assert_equal
from decoders.transform import test_transform_model, test_transform_prior
from helpers.transforms import random_grids, random_prior, random_tokens, random_transform
from smalti.archive.format.limits import Limits
from smalti.decoders.contract import CellFacts
from smalti.decoders.layers.numbers import pack_numbers
from smalti.decoders.transform.prior_network import pack_prior, unpack_prior
from smalti.decoders.transform.transform_kind import TRANSFORM
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_packing import pack_transform, unpack_transform
from smalti.decoders.transform.transform_prior import TransformPrior
from smalti.entropy.priors import TablePrior
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError, SmaltiError

LIMIT = 1 << 22
REFUSED = (DamagedArchiveError, LimitExceededError, ModelError)


@hypothesis_settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shape=test_transform_model.SHAPES, wild=st.sampled_from([0, 1, 99]))
def test_networks_come_back(seed, shape, wild):
    network = random_transform(np.random.default_rng(seed), **shape, wild=wild)
    data = pack_transform(network)
    back = unpack_transform(data, network.dtype, 1 << 26)
    assert_equal(back, replace(network, **{name: getattr(network, name).astype(np.int64) for name in ("lap", "rows")}))
    assert pack_transform(back) == data


@hypothesis_settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shape=test_transform_prior.SHAPES)
def test_priors_come_back(seed, shape):
    _, prior = test_transform_prior.made(seed, shape)
    network, tables = unpack_prior(prior.to_bytes(), prior.network.components, LIMIT)
    assert_equal(network, prior.network)
    assert_equal(tables.tables, prior.tables.tables)
    assert pack_prior(network, tables) == prior.to_bytes()


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(4)
    prior = random_prior(rng, (1, 2), 1, 1, 2, 1, (1, 2), 3, 2)
    return random_transform(rng, 2, 8, 3, 2), prior


def damaged(data):
    for index in range(len(data)):
        yield data[:index] + bytes([data[index] ^ (0x01, 0x80, 0xFF)[index % 3]]) + data[index + 1 :]


def test_a_changed_byte_of_a_network_causes_no_other_kind_of_exception(made):
    outcomes, rng = set(), np.random.default_rng(0)
    for changed in damaged(pack_transform(made[0])):
        try:
            model = TransformModel(unpack_transform(changed, "uint8", LIMIT))
        except REFUSED as error:
            outcomes.add(type(error))
        else:
            outcomes.add(None)
            tokens = random_tokens(rng, 4, model.tokens_per_cell)
            model.decode(tokens, np.array([(2, 2)]), 1)
    assert outcomes >= {None, DamagedArchiveError}


def test_a_changed_byte_of_a_prior_causes_no_other_kind_of_exception(made):
    model, prior, outcomes = TransformModel(made[0], LIMIT), made[1], set()
    grids = np.array([(2, 2), (1, 2)])
    words = prior.encode(test_transform_prior.possible_tokens(np.random.default_rng(0), prior, grids), grids)
    for changed in damaged(prior.to_bytes()):
        try:
            found = model.read_prior(changed)
            outcomes.add(None)
            found.decode(words, grids)
        except (DamagedArchiveError, LimitExceededError) as error:
            outcomes.add(type(error))
    assert outcomes >= {None, DamagedArchiveError}


def test_changed_words_cause_no_other_kind_of_exception(made):
    prior, outcomes = made[1], set()
    grids = random_grids(np.random.default_rng(1), 3, 4)
    tokens = test_transform_prior.possible_tokens(np.random.default_rng(0), prior, grids)
    for changed in damaged(prior.encode(tokens, grids)):
        try:
            assert not (prior.decode(changed, grids) == tokens).all()
            outcomes.add(None)
        except DamagedArchiveError:
            outcomes.add(DamagedArchiveError)
    assert DamagedArchiveError in outcomes


def test_every_truncation_is_noticed(made):
    """Except for whole words at the end: only the section's checksum can tell such data from a shorter message."""
    network, prior = made
    packed, stored, model = pack_transform(network), prior.to_bytes(), TransformModel(network)
    for data, unpack in ((packed, lambda data: unpack_transform(data, "uint8", LIMIT)), (stored, model.read_prior)):
        unnoticed = 0
        for size in range(len(data)):
            try:
                unpack(data[:size])
            except (DamagedArchiveError, ModelError):
                continue
            unnoticed += 1
            assert (len(data) - size) % 4 == 0
        assert unnoticed <= len(data) // 4
        for more in (b"\0", bytes(4), b"\1\0\0\0"):
            with pytest.raises(DamagedArchiveError):
                unpack(data + more)


@hypothesis_settings(max_examples=100)
@given(data=st.binary(max_size=300))
def test_noise_is_noticed(made, data):
    with pytest.raises(DamagedArchiveError):
        unpack_transform(data, "uint8", LIMIT)
    with pytest.raises(DamagedArchiveError):
        TransformModel(made[0]).read_prior(data)


def with_description(data, **changes):
    """The bytes of `pack_numbers` with other values in their description; None removes a key."""
    (size,) = struct.unpack_from("<I", data)
    found = json.loads(data[4 : 4 + size]) | changes
    head = json.dumps({k: v for k, v in found.items() if v is not None}, sort_keys=True, separators=(",", ":")).encode()
    return struct.pack("<I", len(head)) + head + data[4 + size :]


NETWORK_CHANGES = [
    {"cell": 7}, {"cell": 12}, {"cell": 64}, {"cell": True}, {"cell": "8"}, {"channels": 0}, {"channels": 5},
    {"components": 0}, {"components": 4097}, {"components": 129}, {"components": 1 << 70}, {"fraction": -1},
    {"fraction": 9}, {"mixing": 257}, {"mixing": 3}, {"mixing": 0}, {"shift1": 25}, {"shift2": -1}, {"shift3": 1.0},
    {"precision": 0}, {"precision": 17}, {"symbols": 0}, {"symbols": 97}, {"tables": 0}, {"tables": 4097},
    {"tables": 1 << 40}, {"other": 1}, {"cell": None}, {"tables": None}, {"shift3": None},
]  # fmt: skip


@pytest.mark.parametrize("changes", NETWORK_CHANGES)
def test_impossible_networks(made, changes):
    with pytest.raises(DamagedArchiveError):
        unpack_transform(with_description(pack_transform(made[0]), **changes), "uint8", LIMIT)


PRIOR_CHANGES = [
    {"activities": 0}, {"activities": 257}, {"signed": 0}, {"signed": 4}, {"signed": 1 << 80}, {"width": 0},
    {"width": 257}, {"first": 0}, {"first": 257}, {"radius": 0}, {"radius": 4097}, {"scales": 1}, {"scales": 257},
    {"table_bits": 0}, {"table_bits": 25}, {"rows": 0}, {"columns": 0}, {"rows": 4097}, {"rows": 64, "columns": 65},
    {"groups": []}, {"groups": [3]}, {"groups": [1, 1]}, {"groups": [1, 3]}, {"groups": [1, 2, 0]}, {"groups": 3},
    {"groups": [1, True, 1]}, {"groups": [1] * 257}, {"groups": None}, {"shifts": [0] * 9}, {"shifts": [0] * 11},
    {"shifts": [25] + [0] * 9}, {"shifts": [-1] + [0] * 9}, {"shifts": None}, {"other": 0}, {"precision": 17},
    {"scales": 256, "radius": 4096}, {"groups": [2, 1]}, {"groups": [[1], 2]},
]  # fmt: skip


@pytest.mark.parametrize("changes", PRIOR_CHANGES)
def test_impossible_priors(made, changes):
    stored = made[1].to_bytes()
    (size,) = struct.unpack_from("<I", stored)
    numbers = with_description(stored[4 : 4 + size], **changes)
    data = struct.pack("<I", len(numbers)) + numbers + stored[4 + size :]
    with pytest.raises(DamagedArchiveError):
        TransformModel(made[0]).read_prior(data)


def numbers_with(network, **changes):
    """Bytes of a network some numbers of which no TransformNetwork takes."""
    fields = dict(vars(network)) | changes
    stub = type("Stub", (), {**fields, "cell": network.cell, "channels": network.channels})
    stub.components = len(fields["places"])
    return pack_transform(stub)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": np.array([-1, 0])},
        {"steps": np.array([1, 0, 1])},
        {"steps": np.array([1, 1 << 24, 1])},
        {"places": np.array([0, 1, 128])},
        {"places": np.array([0, -1, 2])},
        {"colour": np.full((2, 2), 8192)},
        {"lap": np.full((8, 8), 1 << 14)},
    ],
)
def test_numbers_out_of_range(made, changes):
    with pytest.raises(DamagedArchiveError, match="outside"):
        unpack_transform(numbers_with(made[0], **changes), "uint8", LIMIT)


def test_places_must_differ(made):
    with pytest.raises(ModelError, match="same place"):
        unpack_transform(numbers_with(made[0], places=np.array([0, 1, 0])), "uint8", LIMIT)


def test_sums_of_the_inverse_transform_stay_exact():
    """The bound is 2**53: the largest sums of |rows|, times those of |columns|, times 2**26."""
    network = random_transform(np.random.default_rng(0), 1, 8, 1, 0, wild=0)
    rows, columns = np.zeros((1, 8, 8), int), np.zeros((1, 8, 8), int)
    rows[0, :, 3], columns[0, 0, 5] = 2048, 1 << 13
    assert_equal(
        unpack_transform(pack_transform(replace(network, rows=rows, columns=columns)), "uint8", LIMIT).rows, rows
    )
    rows[0, 4, 3] += 1
    with pytest.raises(ModelError, match=r"2\*\*53"):
        replace(network, rows=rows, columns=columns)
    with pytest.raises(ModelError, match=r"2\*\*53"):
        unpack_transform(numbers_with(network, rows=rows, columns=columns), "uint8", LIMIT)


@pytest.mark.parametrize(
    ("weight", "bias", "largest", "inputs"),
    [("weight1", "bias1", 127, 3), ("weight2", "bias2", 255, 18), ("weight3", "bias3", 255, 2)],
)
def test_sums_of_the_mixing_network_stay_exact(made, weight, bias, largest, inputs):
    mixing = made[0].mixing
    zeros = {name: np.zeros_like(getattr(mixing, name)) for name in (weight, bias)}
    weights = zeros[weight].reshape(-1, zeros[weight].shape[-1])
    weights[:, 0] = 7 * np.resize([1, -1], inputs)
    zeros[bias][0] = -((1 << 24) - 7 * inputs * largest)
    replace(mixing, **zeros)
    zeros[bias][0] -= 1
    with pytest.raises(ModelError, match=r"2\*\*24"):
        replace(mixing, **zeros)
    zeros[bias][0] *= -1
    with pytest.raises(ModelError, match=r"2\*\*24"):
        replace(mixing, **zeros)


def most(prior, field, bias):
    """The largest bias of a part of a prior's network with which its sums are exact."""
    network = prior.network
    seen = [int(np.ceil(limit / 2 ** max(int(limit).bit_length() - 7, 0))) for limit in network.limits]
    if field == "activity":
        return (1 << 24) - 127 * int(np.abs(network.activity[:, 0]).sum())
    if field == "context":
        inputs = np.array(([255] * network.activities + seen) * 9)
        own = int(np.abs(network.places[:, 0]).max(initial=0))
        return (1 << 24) - own - int((np.abs(network.context[1][:, 0]) * inputs).sum())
    weights = getattr(network, field)
    return (1 << 24) - 255 * int(np.abs(weights[:, 0]).sum())


@pytest.mark.parametrize("limit", [1, 127, 128, 129, 1001, 32_767])
@pytest.mark.parametrize("field", ["activity", "context", "hidden", "scale_weight", "mean_weight"])
def test_sums_of_a_prior_stay_exact(made, field, limit):
    """A limit of 129 is seen as 64 or, if the coefficient is negative, as -65: a shift rounds down."""
    prior = made[1]
    prior = TransformPrior(replace(prior.network, limits=np.array([limit])), prior.tables)
    network = prior.network
    name = field.removesuffix("_weight") + "_bias"
    found = getattr(network, name).copy()
    place = {"activity": (1, 0), "context": (1, 1, 0)}.get(field, (0,))
    for sign in (1, -1):
        found[place] = sign * most(prior, field, name)
        replace(network, **{name: found})
        found[place] += sign
        with pytest.raises(ModelError, match=r"2\*\*24"):
            replace(network, **{name: found})


def test_sums_of_the_first_network_stay_exact(made):
    network = replace(made[1].network, limits=np.array([129]))
    first = network.first
    for name, weights, largest in (
        ("bias", first.weight[3, :, 0], 65),
        ("scale_bias", first.scale_weight[3], 255),
        ("mean_bias", first.mean_weight[3], 255),
    ):
        found = getattr(first, name).copy()
        place = (3, 0) if name == "bias" else (3,)
        found[place] = (1 << 24) - largest * int(np.abs(weights).sum())
        replace(network, first=replace(first, **{name: found}))
        found[place] += 1
        with pytest.raises(ModelError, match=r"2\*\*24"):
            replace(network, first=replace(first, **{name: found}))
    linear = first.linear.copy()
    linear[2] = [(1 << 24) // 129 - 8, 1, -1, 1, -1, 1, -1, 1, 1]
    replace(network, first=replace(first, linear=linear))
    linear[2, 0] += 1
    with pytest.raises(ModelError, match=r"2\*\*24"):
        replace(network, first=replace(first, linear=linear))


def test_linear_sums_stay_exact(made):
    network = replace(made[1].network, limits=np.array([4096]))
    linear = np.zeros_like(network.linear)
    linear[1, 4, 0] = -4095
    linear[1, 8, 0] = 1
    replace(network, linear=linear)
    linear[1, 0, 0] = 1
    with pytest.raises(ModelError, match=r"2\*\*24"):
        replace(network, linear=linear)


def test_a_prior_whose_sums_are_not_exact_is_damage(made):
    """The copy of a prior may still be sound, so a reader goes on as after any other damage."""
    network, prior = made
    hidden = prior.network.hidden.copy()
    hidden[:] = 1 << 17
    stub = type("Stub", (), {**vars(prior.network), "hidden": hidden})
    for name in ("activities", "signed", "width"):
        setattr(stub, name, getattr(prior.network, name))
    with pytest.raises(DamagedArchiveError, match=r"2\*\*24"):
        TransformModel(network).read_prior(pack_prior(stub, prior.tables))


def facts(network, **changes):
    fields = {
        "channels": network.channels, "dtype": network.pixel_type, "cell": network.cell,
        "tokens_per_cell": network.components, "block_cells": 100,
    }  # fmt: skip
    return CellFacts(**fields | changes)


def test_large_biases_are_packed(made):
    """They are matrices, whose numbers may be as large as sums."""
    prior = made[1]
    bias = prior.network.context_bias.copy()
    bias[0, 1, 1], bias[1, 0, 0] = (1 << 24) - 200_000, -(1 << 17)
    network = replace(prior.network, context_bias=bias)
    back, _ = unpack_prior(pack_prior(network, prior.tables), 3, LIMIT)
    assert_equal(back, network)


def test_a_network_must_be_that_of_its_archive(made):
    network = made[0]
    data = pack_transform(network)
    assert TRANSFORM.unpack_cells(data, facts(network), Limits()).to_bytes() == data
    for changes in ({"channels": 3}, {"cell": 16}, {"tokens_per_cell": 4}):
        with pytest.raises(DamagedArchiveError, match="not"):
            TRANSFORM.unpack_cells(data, facts(network, **changes), Limits())


def test_limits(made):
    network, prior = made
    data = pack_transform(network)
    whole = network.operations * 100
    TRANSFORM.unpack_cells(data, facts(network), Limits(network_operations=whole))
    with pytest.raises(LimitExceededError, match="network_operations"):
        TRANSFORM.unpack_cells(data, facts(network), Limits(network_operations=whole - 1))
    basis = 8 * network.components * 64
    for limit in (basis - 1, 100):
        with pytest.raises(LimitExceededError):
            TRANSFORM.unpack_cells(data, facts(network), Limits(model_bytes=limit))
    with pytest.raises(LimitExceededError):
        TransformModel(network, 200).read_prior(prior.to_bytes())


def test_no_field_causes_an_allocation_above_the_limit():
    """Descriptions that ask for much, with words that end at once."""
    network = {"cell": 32, "channels": 4, "components": 4096, "fraction": 0, "mixing": 256, "shift1": 0, "shift2": 0,
               "shift3": 0}  # fmt: skip
    prior = {"activities": 256, "columns": 64, "first": 256, "groups": [1, 4095], "radius": 4096, "rows": 64,
             "scales": 256, "shifts": [0] * 10, "signed": 256, "table_bits": 24, "width": 256}  # fmt: skip
    numbers = pack_numbers(prior, [np.ones(256, np.int64)])
    tracemalloc.start()
    with pytest.raises(SmaltiError):
        unpack_transform(pack_numbers(network, [np.ones(4, np.int64)]), "uint8", LIMIT)
    model = TransformModel(random_transform(np.random.default_rng(0)), LIMIT)
    model.network.__dict__["places"] = np.arange(4096)
    with pytest.raises(SmaltiError):
        model.read_prior(struct.pack("<I", len(numbers)) + numbers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 26


def test_too_many_tables_are_refused_before_they_are_unpacked(made):
    prior = made[1]
    tables = TablePrior(np.tile(prior.tables.tables[:1], (3, 1)), 10)
    stored = pack_prior(prior.network, tables)
    (size,) = struct.unpack_from("<I", stored)
    numbers = with_description(stored[4 : 4 + size], scales=256, radius=4096)
    with pytest.raises(DamagedArchiveError, match="765 tables of 8194 codes"):
        TransformModel(made[0]).read_prior(struct.pack("<I", len(numbers)) + numbers + stored[4 + size :])
