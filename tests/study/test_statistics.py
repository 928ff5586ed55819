import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers.made_up_study import made_up_run
from smalti.study.statistics import MEASURES, compare_sizes, hedges_g, holm, summary_of

MSE, SSIM = MEASURES[:2]


def runs_of(means, seeds=6, deviation=0.0004):
    """Runs with the given mean MSE for each size; SSIM follows MSE."""
    rng = np.random.default_rng(1)
    return tuple(
        made_up_run("paper", size, seed, mse=mse, ssim=0.95 - 10 * mse)
        for size, mean in means.items()
        for seed, mse in enumerate(mean + deviation * rng.standard_normal(seeds))
    )


def test_differences_intervals_and_p_are_those_of_welch():
    runs = runs_of({64: 0.0094, 128: 0.0090, 256: 0.0100})
    result = compare_sizes(runs, MSE)
    sample = {size: [run.test.mse for run in runs if run.codebook_size == size] for size in (64, 128, 256)}
    welch = stats.ttest_ind(sample[256], sample[128], equal_var=False)
    last = result.comparisons[-1]
    assert (last.codebook_size, last.p) == (256, pytest.approx(welch.pvalue))
    assert last.low < last.difference < last.high
    assert last.difference == pytest.approx(np.mean(sample[256]) - np.mean(sample[128]))
    assert last.p_holm == pytest.approx(min(1, 2 * last.p))
    assert result.anova_p == pytest.approx(stats.f_oneway(*sample.values()).pvalue)
    assert result.kruskal_p == pytest.approx(stats.kruskal(*sample.values()).pvalue)


@pytest.mark.parametrize(("means", "sign"), [((0.009, 0.010, 0.011), -1), ((0.011, 0.010, 0.009), 1)])
@pytest.mark.parametrize("measure", [MSE, SSIM], ids=lambda measure: measure.name)
def test_trend_is_of_quality_from_the_reference_up(means, sign, measure):
    runs = runs_of({64: 0.05, **dict(zip((128, 256, 512), means, strict=True))}, deviation=0.0001)
    result = compare_sizes(runs, measure)
    assert sign * result.trend > 0.9
    assert result.trend_p < 0.001


def test_no_larger_size_no_trend():
    result = compare_sizes(runs_of({64: 0.01, 128: 0.009}), MSE)
    assert (result.trend, result.trend_p) == (None, None)


@pytest.mark.parametrize(
    "runs",
    [(), runs_of({128: 0.009}), runs_of({64: 0.01, 256: 0.01}), runs_of({64: 0.01, 128: 0.009}, seeds=2)],
    ids=["none", "one size", "no reference", "two seeds"],
)
def test_too_few_runs(runs):
    assert compare_sizes(runs, MSE) is None


def test_sizes_with_too_few_runs_are_skipped():
    runs = runs_of({64: 0.01, 128: 0.009}) + runs_of({256: 0.03}, seeds=1)
    assert list(compare_sizes(runs, MSE).sizes) == [64, 128]


def test_runs_that_are_all_equal():
    result = compare_sizes(runs_of({64: 0.01, 128: 0.01, 256: 0.01}, deviation=0), MSE)
    assert (result.anova_p, result.kruskal_p, result.trend, result.trend_p) == (1, 1, 0, 1)
    assert [(each.difference, each.p_holm, each.effect) for each in result.comparisons] == [(0, 1, 0)] * 2


def test_holm_on_a_worked_case():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_never_makes_p_smaller_and_keeps_order(p_values):
    corrected = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)


def test_hedges_g_on_a_worked_case():
    # Pooled deviation 1, difference 2, correction 1 - 3 / (4 * 4 - 1).
    assert hedges_g([3, 4, 5], [1, 2, 3]) == pytest.approx(2 * (1 - 3 / 15))
    assert hedges_g([2, 2], [1, 1]) == math.inf


def test_spread_of_one_value_has_no_deviation():
    assert summary_of([3.0]).deviation is None
    assert summary_of([1.0, 3.0]).deviation == pytest.approx(2**0.5)
