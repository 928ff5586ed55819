"""The worked example of docs/format.md, from its bytes to its pixels and its code."""

import re
from pathlib import Path

import numpy as np

from helpers.reference_pyramid import image_pixels, units
from smalti.decoders.layers.integer_network import Clip, Layer, PixelTable
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import Level, PyramidNetwork, Scale
from smalti.decoders.pyramid.pyramid_packing import pack_pyramid, unpack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, TablePrior

TEXT = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
CANVAS = (1, 2)
TOKENS = np.array([[0, 4]], np.uint16)


def example():
    last = Layer(
        "conv",
        np.array([5], np.int16).reshape(1, 1, 1, 1),
        np.array([0], np.int32),
        np.array([1], np.uint8),
        (1, 1),
        (0, 0),
        PixelTable(-5, np.arange(0, 252, 12).astype(np.uint8)),
    )
    return PyramidNetwork(
        scales=(Scale((1, 2), np.array([3, -2], np.int16).reshape(1, 1, 2, 1)),),
        levels=(Level(0, 0, np.array([[10], [-20]], np.int16)), Level(0, 0, np.array([[1], [0], [-4]], np.int16))),
        bias=np.array([7], np.int32),
        shift=np.array([2], np.uint8),
        clip=Clip(-128, 127),
        layers=(last,),
    )


def example_prior():
    network = NetworkPrior(
        weight1=np.array([[1, -1]], np.int16),
        bias1=np.array([[5, 30]], np.int32),
        shift1=1,
        weight2=np.array([[2, 0, -3], [1, 4, 0]], np.int16),
        bias2=np.array([0, -10, 100], np.int32),
        shift2=2,
    )
    depths = FrequencyTable(np.array([0, 1, 3], np.uint32), 2)
    return PyramidPrior(example(), CANVAS, depths, (TablePrior(np.array([[3, 1]], np.uint32), 2), network))


def shown(what):
    """The bytes on the page."""
    return bytes.fromhex(re.search(rf"{what}:\n```\n([0-9a-f\s]+)```", TEXT)[1])


def test_the_example_decodes_as_worked_out():
    assert PyramidDecoder(example(), CANVAS).decode(TOKENS).ravel().tolist() == [240, 0]
    assert image_pixels(example(), CANVAS, TOKENS[0].tolist()) == [[[240], [0]]]


def test_the_distribution_is_as_worked_out():
    expected = re.search(r"units are ([\d,]+), ([\d,]+) and ([\d,]+)", TEXT)
    found = example_prior().levels[1].weights(0, np.array([[10]], np.float32))[0].astype(int) + 1
    assert [int(number.replace(",", "")) for number in expected.groups()] == found.tolist() == units([6, 7, 19])


def test_the_example_has_the_bytes_that_the_page_shows():
    assert shown("The bytes of this pyramid network") == pack_pyramid(example(), CANVAS)
    network, grid = unpack_pyramid(pack_pyramid(example(), CANVAS), 1 << 16)
    assert PyramidDecoder(network, grid).decode(TOKENS).ravel().tolist() == [240, 0]
    assert shown("The bytes of this prior") == example_prior().to_bytes()
    assert shown("The words of these tokens") == example_prior().encode(TOKENS)
