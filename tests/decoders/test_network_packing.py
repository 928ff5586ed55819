import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.networks import KINDS, random_layer, random_network, study_network
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, Layer, PixelTable
from smalti.decoders.layers.network_packing import pack_network, unpack_network
from smalti.errors import DamagedArchiveError, LimitExceededError, UnsupportedArchiveError
from smalti.storage.canonical import canonical_json


def assert_equal(first, second):
    for one, other in zip(first.layers, second.layers, strict=True):
        assert (one.kind, one.stride, one.padding) == (other.kind, other.stride, other.padding)
        for name in ("weight", "bias", "shift"):
            left, right = getattr(one, name), getattr(other, name)
            assert left.dtype == right.dtype and left.shape == right.shape and (left == right).all()
        if isinstance(one.activation, PixelTable):
            assert one.activation.low == other.activation.low
            assert (one.activation.values == other.activation.values).all()
        else:
            assert one.activation == other.activation


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kinds=st.sampled_from(KINDS), channels=st.integers(1, 4))
def test_round_trip(seed, kinds, channels):
    network = random_network(np.random.default_rng(seed), kinds, channels=channels)
    data = pack_network(network)
    assert_equal(unpack_network(data, 1 << 20), network)
    assert pack_network(network) == data


@pytest.fixture(scope="module")
def packed():
    return pack_network(study_network(np.random.default_rng(1), codes=5, hidden=4))


def test_every_flipped_byte_is_noticed_or_harmless(packed):
    """An archive's checksums would notice it first. Without them no byte causes another kind of exception."""
    outcomes = set()
    for index in range(len(packed)):
        damaged = bytearray(packed)
        damaged[index] ^= (0x01, 0x80, 0xFF)[index % 3]
        try:
            network = unpack_network(bytes(damaged), 1 << 20)
        except (DamagedArchiveError, UnsupportedArchiveError, LimitExceededError) as error:
            outcomes.add(type(error))
        else:
            outcomes.add(None)
            IntegerDecoder(network).decode(np.zeros((1, 1, 1), int))
    assert outcomes >= {None, DamagedArchiveError, UnsupportedArchiveError}


def coded_start(packed):
    """The first byte of the coded words: after the description and the tables, each preceded by its length."""
    start = 0
    for _ in range(2):
        start += 4 + int.from_bytes(packed[start : start + 4], "little")
    return start


def test_every_truncation_and_any_addition_is_noticed(packed):
    """Except for whole words at the end: only the section's checksum can tell such data from a shorter message."""
    start, unnoticed = coded_start(packed), 0
    for size in range(len(packed)):
        try:
            unpack_network(packed[:size], 1 << 20)
        except DamagedArchiveError:
            continue
        unnoticed += 1
        assert size >= start and (size - start) % 4 == 0
    assert unnoticed <= (len(packed) - start) // 4
    for more in (b"\0", bytes(4), b"\1\0\0\0"):
        with pytest.raises(DamagedArchiveError):
            unpack_network(packed + more, 1 << 20)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_noise_is_noticed(data):
    with pytest.raises(DamagedArchiveError):
        unpack_network(data, 1 << 20)


def with_description(packed, change):
    """The same bytes with another description. `change` takes its object, and may return another one."""
    size = int.from_bytes(packed[:4], "little")
    found = json.loads(packed[4 : 4 + size])
    text = canonical_json(change(found) or found)
    return len(text).to_bytes(4, "little") + text + packed[4 + size :]


CLIP = {"kind": "clip", "low": 0, "high": 255}
HOSTILE = {
    "no object": lambda found: [found],
    "a key too many": lambda found: found.update(more=1),
    "no layers": lambda found: found.update(layers=[]),
    "layers of another type": lambda found: found.update(layers={"0": 1}),
    "too many layers": lambda found: found.update(layers=found["layers"] * 40),
    "a layer twice": lambda found: found["layers"].insert(0, found["layers"][0]),
    "no tables": lambda found: found.update(tables=0),
    "too many tables": lambda found: found.update(tables=1 << 40),
    "a table too many": lambda found: found.update(tables=found["tables"] + 1),
    "no symbols": lambda found: found.update(symbols=0),
    "too many symbols": lambda found: found.update(symbols=97),
    "precision": lambda found: found.update(precision=25),
    "true for 1": lambda found: found["layers"][0].update(inputs=True),
    "a fraction": lambda found: found["layers"][0].update(inputs=5.0),
    "no inputs": lambda found: found["layers"][0].update(inputs=0),
    "fewer inputs": lambda found: found["layers"][0].update(inputs=4),
    "kernel of 17": lambda found: found["layers"][0].update(kernel=[17, 4]),
    "kernel of one side": lambda found: found["layers"][0].update(kernel=[4]),
    "no stride": lambda found: found["layers"][0].update(stride=[0, 2]),
    "padding below 0": lambda found: found["layers"][0].update(padding=[-1, 1]),
    "padding of the kernel's size": lambda found: found["layers"][0].update(padding=[4, 1]),
    "a layer that is none": lambda found: found["layers"].insert(0, 7),
    "a kind of layer that is no text": lambda found: found["layers"][0].update(kind=1),
    "no activation": lambda found: found["layers"][0].update(activation=None),
    "a range of neither int8 nor uint8": lambda found: found["layers"][0]["activation"].update(low=-1),
    "a key too many of an activation": lambda found: found["layers"][0]["activation"].update(entries=1),
    "no entries": lambda found: found["layers"][1]["activation"].update(entries=0),
    "a table that no sum reaches": lambda found: found["layers"][1]["activation"].update(low=1 << 25),
    "no pixels in the end": lambda found: found["layers"][1].update(activation=CLIP),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_impossible_descriptions(packed, what):
    with pytest.raises(DamagedArchiveError):
        unpack_network(with_description(packed, HOSTILE[what]), 1 << 20)


def test_text_that_is_not_canonical(packed):
    size = int.from_bytes(packed[:4], "little")
    text = packed[4 : 4 + size]
    for other in (text + b" ", text.replace(b":", b": ", 1), text[:-1] + b',"tables":1}', b"\xff" * 9, b"[" * 60_000):
        with pytest.raises(DamagedArchiveError):
            unpack_network(len(other).to_bytes(4, "little") + other + packed[4 + size :], 1 << 20)


@pytest.mark.parametrize("name", ["layer", "activation"])
def test_an_unknown_kind_is_named(packed, name):
    def change(found):
        layer = found["layers"][0]
        (layer if name == "layer" else layer["activation"]).update(kind="swish")

    with pytest.raises(UnsupportedArchiveError, match=f"{name} of kind 'swish'"):
        unpack_network(with_description(packed, change), 1 << 20)


def test_no_description_causes_an_allocation_above_the_limit(packed):
    large = with_description(packed, lambda found: found["layers"][0].update(inputs=65_536, outputs=65_536))
    tracemalloc.start()
    with pytest.raises(LimitExceededError, match="raise the limit"):
        unpack_network(large, 1 << 30)
    with pytest.raises(DamagedArchiveError):  # a length beyond the data
        unpack_network(b"\xff\xff\xff\xff" + packed[4:], 1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_limit_counts_the_numbers(packed):
    network = unpack_network(packed, 1 << 20)
    numbers = sum(layer.weight.nbytes + layer.bias.nbytes + layer.shift.nbytes for layer in network.layers)
    numbers += len(network.layers[1].activation.values)
    unpack_network(packed, numbers)
    with pytest.raises(LimitExceededError):
        unpack_network(packed, numbers - 1)


def test_weights_of_rows_of_different_sizes_cost_less_than_in_one_table():
    """Because of levels: rows of 1 and of 1,000 in one table would cost about 10 bits per weight."""
    rng = np.random.default_rng(0)
    sizes = np.repeat([1, 1000], 32)[:, None, None, None]
    weight = np.round(rng.normal(0, 1, (64, 4, 4, 16)) * sizes).astype(np.int16)
    layer = Layer("tokens", weight, np.zeros(16, np.int32), np.zeros(16, np.uint8), (2, 2), (1, 1), Clip(0, 255))
    last = random_layer(rng, "up", 16, 1, (4, 4), (2, 2), (1, 1), PixelTable(0, np.zeros(1, np.uint8)), 0, 255)
    network = IntegerNetwork((layer, last))
    assert 8 * len(pack_network(network)) / weight.size < (2.2 + 12.2) / 2 + 0.3


def wide_network(values, low=-50):
    """A network whose pixels have 16 bits."""
    network = random_network(np.random.default_rng(5), KINDS[1])
    last = network.layers[-1]
    table = PixelTable(low, np.asarray(values, np.uint16))
    other = Layer(last.kind, last.weight, last.bias, last.shift, last.stride, last.padding, table)
    return IntegerNetwork((*network.layers[:-1], other))


@pytest.mark.parametrize(
    "values",
    [
        [65_535],
        [0, 65_535, 0, 65_535],
        [5, 8, 11, 13],
        np.arange(65_536),
        np.random.default_rng(0).integers(0, 65_536, 65_536),
    ],
    ids=["one", "leaps", "page", "longest", "random"],
)
def test_tables_of_16_bits_come_back(values):
    network = wide_network(values)
    data = pack_network(network)
    again = unpack_network(data, 1 << 20, np.uint16)
    assert_equal(again, network)
    assert again.dtype == np.uint16 == again.layers[-1].activation.values.dtype


def test_steps_of_one_size_cost_next_to_nothing():
    one = pack_network(wide_network([7]))
    ramp = pack_network(wide_network(np.minimum(17 * np.arange(3_857), 65_535)))
    assert len(ramp) - len(one) < 64


def test_values_that_no_pixel_has_are_refused():
    def written(*bends):
        network = wide_network([0] * len(bends))
        table = network.layers[-1].activation
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("smalti.decoders.layers.network_packing._bends", lambda values: np.array(bends, np.int64))
            assert len(table.values) == len(bends)
            return pack_network(network)

    values = unpack_network(written(5, -2, 0, -1), 1 << 20, np.uint16).layers[-1].activation.values
    assert values.tolist() == [5, 8, 11, 13]
    for bends, what in (((0, -1), "value"), ((65_536, 0), "value"), ((131_071, 0), "bend"), ((65_535, 0), "value")):
        with pytest.raises(DamagedArchiveError, match=f"a {what} of the pixel table"):
            unpack_network(written(*bends), 1 << 20, np.uint16)
