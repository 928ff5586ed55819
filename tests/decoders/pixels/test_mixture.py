"""Units of mixtures: they sum to those of the coder, and are those of whole numbers, however wild a network is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.reference_mixtures import LOGISTIC as CURVE
from helpers.reference_mixtures import curve, inverse_of, mixture_of, units_of
from smalti.decoders.pixels.mixture import (
    CDF,
    FULL,
    INVERSES,
    LOGISTIC,
    SHARES,
    Mixture,
    logistic,
    outputs_of,
    parts_of,
)
from smalti.entropy.priors import UNITS

COUNTS = st.one_of(st.integers(1, 600), st.sampled_from([1, 2, 255, 256, 257, 512, 513, 4097, 65_535, 65_536]))
OUTPUTS = st.one_of(st.integers(-600, 900), st.sampled_from([0, -(1 << 24), 1 << 24, 383, 384, 4096, -4097]))


def mixture(outputs, anchors, count):
    return Mixture.of(np.array(outputs, np.float32), np.array(anchors, np.int64), count)


@st.composite
def cases(draw):
    """Outputs of some samples of one count of levels, their anchors, and their levels."""
    count, components, many = draw(COUNTS), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    levels = st.one_of(st.integers(0, count - 1), st.sampled_from([0, count - 1]))
    outputs = st.lists(OUTPUTS, min_size=outputs_of(components), max_size=outputs_of(components))
    rows = [
        (
            draw(outputs),
            draw(st.lists(levels, min_size=components, max_size=components)),
            draw(levels),
        )
        for _ in range(many)
    ]
    return count, *map(list, zip(*rows, strict=True))


@hypothesis_settings(max_examples=200, deadline=None)
@given(case=cases())
def test_units_are_those_of_whole_numbers(case):
    count, outputs, anchors, levels = case
    found, sizes = mixture(outputs, anchors, count), parts_of(count)
    parts = [found.first_units()] if sizes[0] > 1 else []
    if len(sizes) > 1:
        parts.append(found.rest_units(np.array(levels) // 256))
    for at, (own, around, level) in enumerate(zip(outputs, anchors, levels, strict=True)):
        expected = units_of(mixture_of(own, around, count).up_to, count, level)
        assert [(part[at] + 1).astype(np.int64).tolist() for part in parts] == expected
        assert all(sum(units) == UNITS and min(units) >= 1 for units in expected)
    assert [part.shape[1] for part in parts] == [size for size in sizes if size > 1]
    assert (found.shares.sum(axis=1) == SHARES).all() and (found.shares >= 0).all()


@hypothesis_settings(max_examples=60, deadline=None)
@given(case=cases())
def test_what_levels_have_never_falls(case):
    count, outputs, anchors, _ = case
    sums = mixture(outputs, anchors, count).up_to(np.arange(-1, count)[None])
    assert (np.diff(sums, axis=1) >= 0).all() and (sums[:, 0] == 0).all() and (sums[:, -1] == FULL).all()


@pytest.mark.parametrize("count", [2, 255, 256, 257, 700, 65_536])
@pytest.mark.parametrize("width", [-(1 << 24), 0, 96, 383, 1 << 24])
@pytest.mark.parametrize("shift", [-(1 << 24), -16, 0, 4096])
def test_extremes(count, width, shift):
    """The narrowest and the widest curves, as far away as they can be moved, on the first and the last level."""
    anchors = [[0] * 4, [count - 1] * 4, [0, count - 1, count // 2, 1]]
    outputs = [[5, 5, 5, 5, alike] + [shift] * 4 + [width] * 4 for alike in (5, -2000, 5)]
    found = mixture(outputs, anchors, count)
    for first in (0, (count - 1) // 256):
        parts = [found.first_units()]
        if count > 256:
            parts.append(found.rest_units(np.full(3, first)))
        for units in parts:
            whole = units.astype(np.int64) + 1
            assert (whole >= 1).all() and (whole.sum(axis=1) == UNITS).all()
    fifths = [SHARES - 4 * (SHARES // 5), *[SHARES // 5] * 4]
    assert found.shares.tolist() == [fifths, [4099, 4095, 4095, 4095, 0], fifths]


def test_a_narrow_curve_is_sure_of_its_anchor():
    for count, level in ((256, 77), (65_536, 40_000)):
        found = mixture([[0, -255, 0, 0]], [[level]], count)
        units = found.first_units()[0] + 1 if count == 256 else found.rest_units(np.array([level // 256]))[0] + 1
        assert units[level % 256] > 0.99 * UNITS
    assert found.first_units()[0][level // 256] + 1 > 0.99 * UNITS


def test_one_score_takes_what_is_left_of_shares():
    scores = [[7, 7, 7, -300], [0, 9, 9, 9], [0, 1, 2, 9]]
    found = mixture([[*own, *[0] * 6] for own in scores], [[1, 2, 3]] * 3, 9)
    assert found.shares.sum(axis=1).tolist() == [SHARES] * 3
    assert found.shares[0].tolist() == [SHARES - 2 * (SHARES // 3), SHARES // 3, SHARES // 3, 0]
    assert found.shares[1, 1] > found.shares[1, 2] == found.shares[1, 3]
    for own, shares in zip(scores, found.shares.tolist(), strict=True):
        assert shares == mixture_of([*own, *[0] * 6], [1, 2, 3], 9).shares


@pytest.mark.parametrize("count", [2, 3, 256, 257, 300, 65_536])
def test_all_levels_may_be_alike(count):
    """What no curve reaches has what all levels have alike: one part in as many as there are levels."""
    found = mixture([[-300, 0, 0, 0], [0, 0, 0, 0]], [[0], [0]], count)
    assert found.shares.tolist() == [[0, SHARES], [SHARES // 2, SHARES // 2]]
    sums = found.up_to(np.arange(count)[None])
    assert sums[0, :-1].tolist() == [SHARES * (LOGISTIC // count) * (level + 1) for level in range(count - 1)]
    far = sums[:, count // 2 : -1]
    assert (np.diff(far[1]) == SHARES // 2 * (LOGISTIC // count)).all()
    units = found.first_units() + 1 if count <= 256 else found.rest_units(np.array([0, 0])) + 1
    assert (np.abs(units[0] - UNITS / units.shape[1]) <= 257).all()


def test_the_curve_is_that_of_the_page():
    assert CDF.tolist() == CURVE and INVERSES.tolist() == [inverse_of(t) for t in range(384)]
    exact = 2.0**24 / (1 + 2.0 ** -(np.arange(-256, 257) / 16))
    assert np.abs(CDF - exact).max() < 300
    places = np.array([-(1 << 62), -(1 << 20) - 1, -(1 << 20), -1, 0, 1, 4095, 4096, (1 << 20) - 1, 1 << 20, 1 << 62])
    assert logistic(places).tolist() == [curve(place) for place in places.tolist()]
    assert (np.diff(logistic(np.arange(-(1 << 20) - 9, (1 << 20) + 9))) >= 0).all()


def test_levels_of_one_or_two_symbols():
    found = [parts_of(count) for count in (1, 2, 256, 257, 512, 513, 65_536)]
    assert found == [(1,), (2,), (256,), (2, 256), (2, 256), (3, 256), (256, 256)]
