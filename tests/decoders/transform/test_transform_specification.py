"""The worked example of docs/format.md, from its bytes to its pixels."""

import re

import numpy as np

from decoders.test_pyramid_specification import TEXT, shown
from smalti.decoders.transform.fixed_bases import cosine_basis, lapped_filter, whole_bases
from smalti.decoders.transform.prior_network import MAGNITUDES, FirstNetwork, PriorNetwork
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_network import Mixing, TransformNetwork
from smalti.decoders.transform.transform_prior import TransformPrior, signed
from smalti.entropy.priors import TablePrior

GRIDS = np.array([(1, 2)])
TOKENS = np.array([[5, 0], [6, 1]], np.uint16)


def at(place, value, shape):
    """Zeros with one number."""
    made = np.zeros(shape, np.int64)
    made[place] = value
    return made


def column(*numbers):
    return np.array(numbers)[:, None]


def example():
    cosines, lap = whole_bases(8, 10)
    mixing = Mixing(
        column(20, 0), np.array([3]), at(5, 5, (9, 1, 1)), np.array([8]), np.array([[-7, 0]]), np.array([4, 0]),
        (2, 4, 3),
    )  # fmt: skip
    return TransformNetwork(
        "uint8", 1, np.array([200]), np.array([[1024]]), cosines[None], cosines[None] + at((0, 1, 7), -2, (1, 8, 8)),
        lap, np.array([0, 1]), np.array([240, 96]), mixing,
    )  # fmt: skip


def example_prior():
    one, none = np.ones(1, np.int64), np.zeros(7, np.int64)
    first = FirstNetwork(
        at((6, 3, 0), 4, (7, 9, 1)), np.full((7, 1), 50), np.ones((7, 1), int), none, np.full((7, 1), -2), none,
        at((6, 3), -12, (7, 9)),
    )  # fmt: skip
    network = PriorNetwork(
        groups=(1, 1), limits=7 * one, activity=column(4, 0), activity_bias=column(0, 2),
        context=np.stack([at((6, 0), weight, (18, 1)) for weight in (1, 3)]),
        context_bias=np.stack([column(0, 0), column(0, 9)]), places=np.zeros((0, 1), int), grid=(0, 0),
        hidden=column(2), hidden_bias=one, scale_weight=np.array([[0, 3]]), scale_bias=np.array([0, 1]),
        mean_weight=column(0), mean_bias=0 * one, linear=np.zeros((2, 9, 1), int), first=first,
        shifts=(2, 1, 1, 2, 0, 0, 1, 4, 2, 0),
    )  # fmt: skip
    rows = re.search(r"The tables are\s+((?:\d \d \d \d,?\s*)+)", TEXT)[1]
    tables = np.array([row.split() for row in rows.split(",")]).astype(np.uint32)
    return TransformPrior(network, TablePrior(tables, 3))


def shown_row(name):
    """The numbers that a row of the page lists for both cells."""
    found = re.search(rf"\| {name} \|(.*)\|\n", TEXT)[1].replace("-97 eight times", ", ".join(["-97"] * 8))
    return [int(number) for number in re.findall(r"-?\d+", found)]


def test_the_pixels_are_as_worked_out():
    model = TransformModel(example())
    pixels = model.decode(TOKENS, GRIDS, 1)[0][..., 0]
    assert (pixels == shown_row("pixels of each row")).all() and pixels.shape == (8, 16)
    rows = np.array(shown_row("inverse transform, each row"))
    filtered = example().lap @ rows[4:12] + 512 >> 10
    assert shown_row("borders") == [*rows[:4], *filtered, *rows[12:]]


def test_the_steps_are_as_worked_out():
    walk, coefficients, found = example_prior().walk(GRIDS), signed(TOKENS), []
    for step in walk.steps():
        coding = walk.coding(step)
        found.append((int(coding.tables[0, 0]), int(coding.centres[0, 0]), bool(coding.flips[0, 0])))
        walk.set(step, coefficients[step.cells, step.start : step.stop])
    assert found == [(1, -1, False), (1, 2, True), (-1, 0, False), (3, 0, False)]


def test_the_example_has_the_bytes_that_the_page_shows():
    assert shown("The bytes of this transform network") == TransformModel(example()).to_bytes()
    prior = example_prior()
    assert shown("The bytes of this transform prior") == prior.to_bytes()
    words = shown("The words of these coefficients")
    assert prior.encode(TOKENS, GRIDS) == words and (prior.decode(words, GRIDS) == TOKENS).all()


def test_no_fixed_number_is_near_a_half():
    for side in (8, 16, 32):
        for matrix in (cosine_basis(side), lapped_filter(side)):
            assert np.abs(1024 * matrix % 1 - 0.5).min() > 0.0009
    logarithms = 16 * np.log2(1 + np.arange(239))
    assert np.abs(logarithms % 1 - 0.5).min() > 0.001 and MAGNITUDES[239:].tolist() == [127] * 17
    assert ((MAGNITUDES[:239] == np.floor(logarithms + 0.5)).all() and MAGNITUDES[238] == 126) or MAGNITUDES[238] == 127


def test_the_fixed_rows_of_the_page():
    cosines, lap = whole_bases(8, 10)
    text = " ".join(TEXT.split())
    assert "eight times 362, and " + ", ".join(map(str, cosines[1])) in text and set(cosines[0]) == {362}
    assert ", ".join(map(str, lap[0])) + ", and " + ", ".join(map(str, lap[1])) + "." in text


def test_the_filter_by_the_formulas_of_the_page():
    for side in (8, 16, 32):
        h = side // 2
        m, i = np.indices((h, h))
        g = (np.sqrt(2 / h) * np.cos(np.pi * (2 * m + 1) * (2 * i + 1) / (4 * h))).T @ cosine_basis(h)
        q, one = np.zeros((side, side)), np.eye(h)
        q[:h, :h], q[:h, h:] = (one + g) / 2, (one - g)[:, ::-1] / 2
        q[h:] = q[:h][::-1, ::-1]
        assert (np.floor(1024 * q + 0.5) == whole_bases(side, 10)[1]).all()
