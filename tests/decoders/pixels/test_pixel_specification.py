"""The worked example of docs/format.md, from its bytes to its pixels."""

import re

import numpy as np

from decoders.pixels.test_pixel_prior import slow_scores, walked
from decoders.test_pyramid_specification import TEXT, shown
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import ChannelNetwork, PixelNetwork
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.entropy.priors import share_units

GRIDS = np.array([(2, 2)])
TOKENS = np.array([[2, 1], [0, 0], [1, 1], [2, 1]], np.uint16)


def column(*numbers):
    return np.array(numbers, np.int64)[:, None]


def scores_of(levels, size, **candidates):
    """Scores of levels, then of `size` candidates. candidates : by their numbers, five scores each"""
    return np.concatenate([levels, *(candidates.get(f"c{number}", [0] * 5) for number in range(size))]).astype(np.int64)


def example():
    """The prior of the page, which has the model."""
    model = PixelModel((np.array([10, 100, 190]), np.array([0, 255])), "uint8", True)
    alpha = ChannelNetwork(
        np.zeros((0, 1), np.int64), np.array([40]), np.array([[[3]]]), np.array([[-20]]),
        scores_of([-2, 5], 3, c0=(0, 0, 1, 0, 0))[None], scores_of([30, 0], 3), (4, 2, 3),
    )  # fmt: skip
    grey = ChannelNetwork(
        column(1, 0, -2, 3), np.array([9]), np.array([[[-1]]]), np.array([[90]]),
        scores_of([1, -3, 2], 4, c3=(0, 0, 1, 0, 0))[None],
        scores_of([20, 160, -50], 4, c2=(0, 12, 60, 0, 0)), (3, 1, 2),
    )  # fmt: skip
    context = column(0, 1, 2, -1, 0, 3, 1, 2)
    network = PixelNetwork(1, context, column(64, 0), column(-30), column(7, 21), (alpha, grey))
    return PixelPrior(network, model)


def rows_of_the_page():
    """Of each coded sample: pixel, channel, first, hidden values before and after the middle layer, scores, level."""
    start = TEXT.index("| pixel | sample |", TEXT.index("### The example of pixels"))
    table = TEXT[start : TEXT.index("\n\n", start)]
    rows = re.findall(r"^\| (\d) \| (alpha|grey) \|(.*)\|$", table, re.MULTILINE)
    found = []
    for pixel, channel, rest in rows:
        sums, first, last, candidates, scores, level = (cell.strip() for cell in rest.split("|"))
        number = int(sums.rpartition("=")[2])
        ends = [int(cell.rpartition("=")[2]) for cell in (first, last)]
        lists = [[int(one) for one in cell.split(",")] for cell in (candidates, scores)]
        found.append((int(pixel), channel, number, *ends, *lists, int(level)))
    return found


def test_the_steps_are_as_worked_out():
    prior = example()
    scores, order = walked(prior, TOKENS, GRIDS)
    rows = rows_of_the_page()
    assert scores == slow_scores(prior, TOKENS, (2, 2))
    assert [(pixel, ("grey", "alpha").index(name)) for pixel, name, *_ in rows] == order
    walk, candidates = prior.walk(GRIDS), {}
    for step in walk.steps():
        for pixel, *own in zip(step.pixels.tolist(), *step.candidates, strict=True):
            candidates[pixel, step.channel] = own
        walk.set(step, TOKENS[step.pixels, step.channel])
    for pixel, name, sums, first, last, shown_candidates, listed, level in rows:
        channel = ("grey", "alpha").index(name)
        network = prior.network.networks[1 - channel]
        assert candidates[pixel, channel] == shown_candidates
        assert listed == scores[pixel, channel] and level == TOKENS[pixel, channel]
        assert first == min(max(sums >> network.shifts[0], 0), 255)
        added = max(int(network.middle[0, 0, 0]) * first + int(network.middle_bias[0, 0]) >> network.shifts[1], 0)
        assert last == min(first + added, 255)


def test_the_units_are_as_worked_out():
    listed = re.search(r"The units of its alpha are ([\d, and]+)\.", " ".join(TEXT.split()))[1]
    units = [int(number.replace(",", "")) for number in listed.split(" and ")]
    scores = walked(example(), TOKENS, GRIDS)[0][0, 1]
    assert (share_units(np.array([scores], np.float32))[0] + 1).tolist() == units and sum(units) == 1 << 24


def test_the_example_has_the_bytes_that_the_page_shows():
    prior = example()
    assert shown("The bytes of this pixel model") == prior.model.to_bytes()
    assert shown("The bytes of this pixel prior") == prior.to_bytes()
    words = shown("The words of these samples")
    assert prior.encode(TOKENS, GRIDS) == words and (prior.decode(words, GRIDS) == TOKENS).all()
    again = prior.model.read_prior(prior.to_bytes())
    assert (again.decode(words, GRIDS) == TOKENS).all()


def test_the_pixels_are_as_the_page_says():
    pixels = example().model.decode(TOKENS, GRIDS, 1)[0]
    text = " ".join(TEXT.split())
    listed = re.search(r"The pixels, grey and alpha, are ([\d, and]+)\.", text)[1]
    assert pixels.reshape(-1).tolist() == [int(number) for number in re.findall(r"\d+", listed)]
