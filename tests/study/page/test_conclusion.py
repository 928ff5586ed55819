from dataclasses import replace

import pytest

from smalti.study.page.conclusion import best_verdict, degrade_verdict, overall, write_conclusion
from smalti.study.statistics import MEASURES, compare_sizes
from study.test_statistics import runs_of

CASES = {
    "supports": {64: 0.0188, 128: 0.0094, 256: 0.0126, 512: 0.0140},
    "contradicts": {64: 0.0100, 128: 0.0094, 256: 0.0080, 512: 0.0070},
    "undecided": {64: 0.0090, 128: 0.0090, 256: 0.0090, 512: 0.0090},
}


@pytest.mark.parametrize("verdict", CASES)
def test_verdicts(verdict):
    result = compare_sizes(runs_of(CASES[verdict]), MEASURES[0])
    assert best_verdict(result) == verdict
    assert degrade_verdict(result) == verdict


def test_best_but_not_clearly_better_than_every_size_is_undecided():
    result = compare_sizes(runs_of({64: 0.0188, 128: 0.0090, 256: 0.00901}), MEASURES[0])
    assert best_verdict(result) == "undecided"


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (["supports", "supports"], "supports"),
        (["supports", "undecided"], "undecided"),
        (["contradicts", "undecided"], "contradicts"),
        (["contradicts", "supports"], "mixed"),
    ],
)
def test_measures_together(verdicts, together):
    assert overall(verdicts) == together


@pytest.mark.parametrize(
    ("verdict", "best", "degrade"),
    [
        ("supports", "128 is best is borne out", "degrade quality is borne out"),
        ("contradicts", "128 is best is contradicted", "degrade quality is contradicted"),
        ("undecided", "not borne out, nor is it refuted", "cannot be seen"),
    ],
)
def test_the_paragraph_follows_from_the_numbers(verdict, best, degrade):
    text = write_conclusion(runs_of(CASES[verdict]))
    assert best in text
    assert degrade in text
    assert "These are 6 seeds each of K = 64, 128, 256 and 512." in text
    assert "\n" not in text


def test_better_and_worse_sizes_are_named():
    text = write_conclusion(runs_of({64: 0.0188, 128: 0.0094, 256: 0.0080}))
    assert "by MSE K = 256 clearly better and K = 64 clearly worse" in text


def test_measures_that_disagree():
    runs = runs_of(CASES["supports"])
    turned = tuple(replace(run, test=replace(run.test, ssim=10 * run.test.mse)) for run in runs)
    text = write_conclusion(turned)
    assert "MSE and SSIM disagree about" in text
    assert "MSE and SSIM answer differently" in text


def test_study_figures_outside_the_range_are_named():
    text = write_conclusion(runs_of(CASES["undecided"]))
    assert "MSE at K = 64 (0.0188; here 0.0" in text
    wide = write_conclusion(runs_of({64: 0.0188, 128: 0.0094}, seeds=60, deviation=0.02))
    assert "All 4 figures of the study for these sizes lie within" in wide


def test_with_few_seeds_nothing_is_said():
    for runs in ((), runs_of(CASES["supports"], seeds=1), runs_of({128: 0.009}), runs_of(CASES["supports"], seeds=2)):
        assert write_conclusion(runs).startswith("Nothing can be said")


def test_no_larger_size():
    assert "no larger codebook was run" in write_conclusion(runs_of({64: 0.0188, 128: 0.0094}))
