from dataclasses import replace

import pytest

from helpers.made_up_study import made_up_run, made_up_runs, made_up_study
from smalti.peers.matching import RatePoint
from smalti.study.page import narrative
from smalti.study.page.narrative import NOT_RUN
from smalti.study.selection import Study

WRITERS = [getattr(narrative, name) for name in narrative.__all__ if name != "NOT_RUN"]
STUDY = made_up_study()


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_parts_that_were_not_run_are_named(write):
    assert write(Study(())) == NOT_RUN
    assert write(STUDY) != NOT_RUN
    assert "nan" not in write(STUDY)


def paper(codes):
    """A study whose runs use the given number of codes for each size."""
    return Study(tuple(made_up_run("paper", size, 0, codes_used=used) for size, used in codes.items()))


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({64: 24, 512: 26}, "collapses"),
        ({64: 60, 512: 480}, "does not collapse"),
        ({64: 20, 512: 100}, "more codes do bring more"),
        ({128: 24}, "never used"),
        ({128: 120}, "codes of 128."),
    ],
)
def test_collapse_is_judged_by_the_codes_used(codes, said):
    assert said in narrative.collapse_words(paper(codes))


@pytest.mark.parametrize(("large", "said"), [(0.003, "do help"), (0.009, "do not help"), (0.00501, "about the same")])
def test_cured_trend(large, said):
    runs = (made_up_run(), made_up_run("cured", mse=0.005), made_up_run("cured", 512, mse=large))
    assert said in narrative.cured_words(Study(runs))


def test_cured_without_the_reference_size_is_not_run():
    assert narrative.cured_words(Study((made_up_run(), made_up_run("cured", 512)))) == NOT_RUN


def test_best_single_cure_or_none():
    base = made_up_run(mse=0.009)
    better, worse = made_up_run("ema", mse=0.005), made_up_run("kmeans", mse=0.02)
    assert "“moving averages”" in narrative.ablation_words(Study((base, better, worse)))
    assert "no single cure" in narrative.ablation_words(Study((base, worse)))


@pytest.mark.parametrize(
    ("mse", "ssim", "said"),
    [
        (0.02, 0.5, "better than the VQ-VAE in both"),
        (0.005, 0.95, "worse than the VQ-VAE in both"),
        (0.02, 0.95, "in MSE better than and in SSIM worse than the VQ-VAE"),
    ],
)
def test_vae_is_compared_as_it_is(mse, ssim, said):
    study = Study((made_up_run(mse=mse, ssim=ssim),), vae=STUDY.vae)
    text = narrative.vae_words(study)
    assert said in text
    assert text.startswith("At its finest step, 8.0 bytes")


def test_vae_within_the_spread_of_seeds_is_called_as_good():
    runs = tuple(made_up_run(seed=seed, mse=mse, ssim=0.89) for seed, mse in enumerate((0.004, 0.014)))
    assert "in MSE as good as and in SSIM" in narrative.vae_words(Study(runs, vae=STUDY.vae))


def test_no_codec_that_arrives_is_said():
    perfect = Study((made_up_run(mse=1e-9, ssim=1.1),), STUDY.classical)
    assert "no classical codec arrives" in narrative.classical_words(perfect)
    assert "AVIF where each image is its own file (95.0 bytes)" in narrative.classical_words(STUDY)


def test_fits_are_counted():
    assert "6 fits of the study's own system and 12 of variants of it" in narrative.protocol_words(STUDY)
    assert narrative.protocol_words(Study((made_up_run(),))).startswith("1 fit of the study's own system, each")


def test_vae_at_equal_rate_where_it_was_measured():
    points = (RatePoint(1, 1, 0.1, 0.1), RatePoint(0, 100, 0.001, 0.99))
    vae = replace(STUDY.vae, runs=tuple(replace(run, points=points) for run in STUDY.vae.runs))
    assert narrative.vae_words(Study((made_up_run(),), vae=vae)).startswith("At the same ")


def test_sizes_the_study_has_no_figures_for():
    assert "no figures for this size" in narrative.reproduction_words(Study((made_up_run(codebook_size=32),)))


def test_an_archive_that_never_pays():
    few = replace(STUDY, amortisation=STUDY.amortisation[:1])
    assert "never beats the raw pixels" in narrative.amortisation_words(few)
    assert "from 1," in narrative.amortisation_words(STUDY)


def test_rate_is_counted_and_coded():
    text = narrative.rate_words(Study(made_up_runs(seeds=1)))
    assert "42.9 bytes an image, 18.3:1" in text
