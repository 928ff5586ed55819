"""The worked example of docs/format.md, from its bytes to its pixels."""

import re
from pathlib import Path

import numpy as np

from helpers.reference_grid import reference_decode
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, Layer, PixelTable
from smalti.decoders.layers.network_packing import pack_network, unpack_network

TEXT = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def example():
    tokens = Layer(
        "tokens",
        np.array([[10, -20], [300, 5]], np.int16).reshape(2, 1, 2, 1),
        np.array([8], np.int32),
        np.array([4], np.uint8),
        (1, 2),
        (0, 0),
        Clip(0, 255),
    )
    last = Layer(
        "conv",
        np.array([1, 2, -1], np.int16).reshape(1, 1, 3, 1),
        np.array([-3], np.int32),
        np.array([1], np.uint8),
        (1, 1),
        (0, 1),
        PixelTable(-2, np.array([0, 10, 40, 90, 160, 255], np.uint8)),
    )
    return IntegerNetwork((tokens, last))


def test_the_example_decodes_as_worked_out():
    tokens = np.array([[[0, 1]]])
    expected = [[[[10], [0], [255], [255]]]]
    assert IntegerDecoder(example()).decode(tokens).tolist() == expected
    assert reference_decode(example(), tokens).tolist() == expected


def test_the_example_has_the_bytes_that_the_page_shows():
    shown = re.search(r"The bytes of this network:\n```\n([0-9a-f\s]+)```", TEXT)
    data = bytes.fromhex(shown[1])
    assert data == pack_network(example())
    assert IntegerDecoder(unpack_network(data, 1 << 16)).decode(np.array([[[0, 1]]])).ravel().tolist() == [
        10,
        0,
        255,
        255,
    ]
