import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from decoders.pixels.test_mixture_prior import SHAPES, made
from decoders.pixels.test_pixel_packing import model_of_levels
from decoders.test_pyramid_packing import assert_equal
from decoders.transform.test_transform_packing import damaged, with_description
from helpers.tiny_mixtures import random_mixture
from helpers.tiny_pixels import random_grids, random_prior, random_tokens
from smalti.decoders.pixels.mixture_network import MixtureNetwork
from smalti.decoders.pixels.mixture_packing import pack_mixture_prior, unpack_mixture_prior
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_packing import pack_prior
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError

LIMIT = 1 << 22
COUNTS = (5, 1, 300, 3)


@hypothesis_settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES)
def test_priors_come_back(seed, shape):
    _, prior = made(seed, shape)
    stored = prior.to_bytes()
    network = unpack_mixture_prior(stored, prior.network.levels, LIMIT)
    assert_equal(network, prior.network)
    again = prior.model.read_prior(stored)
    assert isinstance(again, MixturePrior)
    assert pack_mixture_prior(network) == stored == again.to_bytes()


@pytest.fixture(name="prior", scope="module")
def _prior():
    return random_mixture(np.random.default_rng(4), COUNTS, 1, 3, 1, dtype="uint16", hides=True)


def test_a_changed_byte_causes_no_other_kind_of_exception(prior):
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
    data, unnoticed = prior.to_bytes(), 0
    for size in range(len(data)):
        try:
            prior.model.read_prior(data[:size])
        except DamagedArchiveError:
            continue
        unnoticed += 1
        assert (len(data) - size) % 4 == 0
    assert unnoticed <= len(data) // 4
    for more in (b"\0", bytes(4), b"\1\0\0\0"):
        with pytest.raises(DamagedArchiveError):
            prior.model.read_prior(data + more)


SHIFTS = [6, 4, 7] * 4
CHANGES = [
    {"components": 0}, {"components": 5}, {"components": 3}, {"components": -1}, {"components": True},
    {"components": None}, {"components": "4"}, {"components": 1 << 70}, {"places": -1}, {"places": 17},
    {"places": True}, {"places": None}, {"places": 1 << 70},
    {"depth": -1}, {"depth": 5}, {"depth": 5, "shifts": [0] * 28}, {"depth": 0}, {"depth": 0, "shifts": [0] * 8},
    {"depth": True}, {"radius": 0}, {"radius": 9}, {"radius": 1 << 70}, {"radius": None}, {"width": 0},
    {"width": 257}, {"width": 2}, {"tops": 0}, {"tops": 4097}, {"tops": 1}, {"lefts": 0}, {"lefts": 4097},
    {"lefts": 1 << 60}, {"rights": 0}, {"rights": 4097}, {"rights": "1"}, {"shifts": SHIFTS[1:]},
    {"shifts": [*SHIFTS, 0]}, {"shifts": [25, *SHIFTS[1:]]}, {"shifts": [*SHIFTS[1:], -1]},
    {"shifts": [True, *SHIFTS[1:]]}, {"shifts": 6}, {"shifts": None}, {"other": 0}, {"precision": 17}, {"tables": 4097},
    {"symbols": 97},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES)
def test_impossible_priors(prior, changes):
    with pytest.raises(DamagedArchiveError):
        prior.model.read_prior(with_description(prior.to_bytes(), **changes))


def without(data, key):
    """The bytes with a description that lacks a key."""
    (size,) = struct.unpack_from("<I", data)
    found = json.loads(data[4 : 4 + size])
    del found[key]
    head = json.dumps(found, separators=(",", ":"), sort_keys=True).encode()
    return struct.pack("<I", len(head)) + head + data[4 + size :]


def test_every_key_is_needed(prior):
    (size,) = struct.unpack_from("<I", prior.to_bytes())
    for key in json.loads(prior.to_bytes()[4 : 4 + size]):
        with pytest.raises(DamagedArchiveError):
            prior.model.read_prior(without(prior.to_bytes(), key))


def test_the_key_components_tells_the_priors_apart(prior):
    rng = np.random.default_rng(0)
    other = random_prior(rng, COUNTS, 1, 3, 1, dtype="uint16", hides=True)
    assert isinstance(prior.model.read_prior(other.to_bytes()), PixelPrior)
    assert isinstance(other.model.read_prior(prior.to_bytes()), MixturePrior)
    with pytest.raises(DamagedArchiveError):
        other.model.read_prior(with_description(other.to_bytes(), components=4))


def test_a_pixel_prior_of_too_many_levels_is_damage():
    """Only a mixture takes 4,097 levels."""
    rng = np.random.default_rng(0)
    model, network = random_mixture(rng, (4097,), dtype="uint16").model, random_prior(rng, (9,)).network
    own = network.networks[0]
    wide = {name: np.zeros((*getattr(own, name).shape[:-1], 4097 + 15), np.int64) for name in ("scores", "scores_bias")}
    names = ("radius", "context", "tops", "lefts", "rights", "depth", "width")
    fields = {name: getattr(network, name) for name in names}
    stub = type("Stub", (), fields | {"networks": (type("Channel", (), vars(own) | wide),)})
    with pytest.raises(DamagedArchiveError, match="4097 levels"):
        model.read_prior(pack_prior(stub))


def test_sums_stay_exact(prior):
    """Each bias is set to the largest that keeps a sum at 2**24, and to one more."""
    network = prior.network
    last = network.networks[3]
    room = 255 * np.abs(np.concatenate([network.context, last.own])).sum(axis=0)
    edges = sum(np.abs(table).max(axis=0) for table in (network.tops, network.lefts, network.rights))
    largest = {
        "bias": (1 << 24) - room - edges,
        "middle_bias": (1 << 24) - 255 * np.abs(last.middle).sum(axis=1),
        "outputs_bias": (1 << 24) - 255 * np.abs(last.outputs).sum(axis=0),
    }
    for name, most in largest.items():
        for sign in (1, -1):
            changed = (*network.networks[:3], replace(last, **{name: sign * most}))
            stored = pack_mixture_prior(replace(network, networks=changed))
            assert unpack_mixture_prior(stored, network.levels, LIMIT)
            beyond = sign * (most + (np.arange(most.shape[-1]) == 1))
            with pytest.raises(ModelError, match=r"2\*\*24"):
                replace(network, networks=(*network.networks[:3], replace(last, **{name: beyond})))
    tops = network.tops.copy()
    tops[1, 2] = 1 << 24
    stub = type("Stub", (), {name: getattr(network, name) for name in MixtureNetwork.__dataclass_fields__})
    stub.tops, stub.depth, stub.width, stub.components = tops, network.depth, network.width, network.components
    with pytest.raises(DamagedArchiveError, match=r"2\*\*24"):
        prior.model.read_prior(pack_mixture_prior(stub))


def test_networks_that_do_not_fit_together(prior):
    network = prior.network
    first = network.networks[0]

    def with_first(**changes):
        return {"networks": (replace(first, **changes), *network.networks[1:])}

    for changes in (
        {"radius": 2},
        {"context": network.context[1:]},
        {"tops": network.tops[:0]},
        {"lefts": network.lefts[:0]},
        {"rights": network.rights[:0]},
        {"levels": network.levels[1:]},
        {"networks": network.networks[1:]},
        {"networks": network.networks[::-1]},
        with_first(weights=first.weights[1:]),
        with_first(outputs=first.outputs[:, :0], outputs_bias=first.outputs_bias[:0]),
        with_first(outputs=np.tile(first.outputs, 2), outputs_bias=np.tile(first.outputs_bias, 2)),
        with_first(outputs_bias=first.outputs_bias[1:]),
    ):
        with pytest.raises(ModelError):
            replace(network, **changes)


def test_limits_of_memory_are_checked_before_numbers_are_read(prior):
    """The description asks for more numbers than the limit allows; the payload does not hold them."""
    sizes = {"tops": 4096, "lefts": 4096, "rights": 4096, "width": 256}
    with pytest.raises(LimitExceededError, match="limit"):
        unpack_mixture_prior(with_description(prior.to_bytes(), **sizes), prior.network.levels, 1 << 20)


def test_operations_count_every_product(prior):
    network = prior.network
    arrays = ("weights", "own", "middle", "outputs")
    products = sum(getattr(channel, name).size for channel in network.networks for name in arrays)
    assert network.context.size == (4 + 1 + 4) * 4 * 3 and prior.cell_bytes == 16 * 4 + 96
    assert prior.operations == products + network.context.size + 128 * 4 * 4
    listed = sum(4 * 4 + c + (3 * c + 1) * 3 + 9 + 3 * (3 * 4 + 1) for c in range(4))
    assert products == listed


def test_the_most_levels_of_a_model_are_read():
    """A model of 16 bits may have all 65,536 of them."""
    assert len(model_of_levels([0, *[1] * 65_535], 65_535)[0]) == 65_536
    with pytest.raises(DamagedArchiveError):
        model_of_levels([0, *[1] * 65_536], 65_536)
