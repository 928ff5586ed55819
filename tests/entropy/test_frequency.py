from itertools import pairwise

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.errors import UsageError

counts_lists = st.lists(st.integers(0, 10**6) | st.integers(0, 3), min_size=1, max_size=300).filter(any)


def table_of(frequencies, precision):
    return FrequencyTable(np.array(frequencies, np.uint32), precision)


@given(counts_lists, st.integers(9, 24))
def test_rounding_keeps_every_seen_symbol_and_no_other(counts, precision):
    table = FrequencyTable.from_counts(np.array(counts, np.int64), precision)
    assert int(table.frequencies.sum(dtype=np.int64)) == 1 << precision
    assert ((table.frequencies > 0) == (np.array(counts) > 0)).all()


@given(counts_lists)
def test_rounding_is_within_a_unit_if_no_symbol_is_lifted(counts):
    precision, exact = 24, np.array(counts, np.float64) / sum(counts) * 2**24
    if (exact[exact > 0] >= 1).all():
        table = FrequencyTable.from_counts(np.array(counts, np.int64), precision)
        assert np.abs(table.frequencies - exact).max() < 1


def test_ties_go_to_the_lower_symbol():
    assert FrequencyTable.from_counts(np.array([1, 1, 1]), 2).frequencies.tolist() == [2, 1, 1]


def test_lifted_symbols_are_paid_for_by_the_frequent_ones():
    table = FrequencyTable.from_counts(np.array([10**9, *[1] * 200]), 8)
    assert table.frequencies.tolist() == [56, *[1] * 200]


def test_huge_counts_do_not_overflow():
    table = FrequencyTable.from_counts(np.array([2**61, 2**60, 1]), 24)
    assert table.frequencies.tolist() == [11184810, 5592405, 1]


@pytest.mark.parametrize(
    ("counts", "precision"), [([0, 0], 8), ([1, -1], 8), ([1, 1, 1], 1), ([1], 25), ([], 8), ([[1, 2]], 8)]
)
def test_counts_that_make_no_table(counts, precision):
    with pytest.raises(UsageError):
        FrequencyTable.from_counts(np.array(counts, np.int64), precision)


@pytest.mark.parametrize(("frequencies", "precision"), [([3, 4], 3), ([5, 4], 3), ([], 0), ([2**25], 25)])
def test_frequencies_that_make_no_table(frequencies, precision):
    with pytest.raises(UsageError):
        table_of(frequencies, precision)


def symbol_at(model, quantile):
    """The symbol at a point of the 24-bit range of constriction's model, as the coder itself decodes it."""
    coder = constriction.stream.stack.AnsCoder(np.array([quantile, 1], np.uint32))
    return int(coder.decode(model))


@given(st.lists(st.integers(1, 2**24 - 1), min_size=1, max_size=12, unique=True))
def test_the_fixed_point_model_is_the_table_itself(cuts):
    edges = [0, *sorted(cuts), 2**24]
    table = table_of(np.diff(edges), 24)
    for symbol, (first, end) in enumerate(pairwise(edges)):
        assert symbol_at(table.coder_model, first) == symbol
        assert symbol_at(table.coder_model, end - 1) == symbol


@pytest.mark.parametrize("precision", [17, 20, 24])
def test_the_model_is_exact_for_the_largest_alphabet(precision):
    rng = np.random.default_rng(precision)
    inner = np.sort(rng.choice(np.arange(1, 1 << precision), 65535, replace=False))
    frequencies = np.diff([0, *inner, 1 << precision])
    model = table_of(frequencies, precision).coder_model
    edges = np.concatenate([[0], np.cumsum(frequencies)]) << (MAX_PRECISION - precision)
    for symbol in (0, 1, 77, 30_000, 65_534, 65_535):
        assert symbol_at(model, int(edges[symbol])) == symbol
        assert symbol_at(model, int(edges[symbol + 1]) - 1) == symbol


def test_cost_is_the_ideal_code_length():
    table = table_of([4, 2, 2, 0], 3)
    assert table.cost_bits(np.array([10, 3, 0, 0])) == 10 * 1 + 3 * 2
    assert table.cost_bits(np.array([0, 0, 0, 1])) == float("inf")
