from dataclasses import replace

import pytest

from helpers.made_up_study import made_up_classical, made_up_run, made_up_runs, made_up_study
from smalti.bench.style import Table, signed, to_html, to_markdown
from smalti.study.page.baseline_tables import baselines, break_even_table, matched_table, vae_table
from smalti.study.page.tables import ablation_table, comparison_table, quality_table, rate_table, with_deviation
from smalti.study.results import AmortisationPoint, break_even_images
from smalti.study.selection import Study

EMPTY = Study(())


def row(table, name):
    return dict(zip(table.columns, next(row for row in table.rows if row[0].startswith(name)), strict=True))


def test_mean_and_deviation():
    assert with_deviation([0.01, 0.03], 3) == "0.020 ± 0.014"
    assert with_deviation([1234.5], 1) == "1,234.5"


def test_table_one_has_the_published_figures():
    runs = (made_up_run(seed=0, mse=0.008, ssim=0.86), made_up_run(seed=1, mse=0.010, ssim=0.88))
    table = quality_table(Study(runs))
    assert table.columns[2:8] == ("MSE, first 100", "study", "SSIM, first 100", "study", "model, Ko", "study")
    assert table.rows[0][:8] == ("128", "2", "0.0090 ± 0.0014", "0.0094", "0.870 ± 0.014", "0.8713", "1,073", "1,078")


def test_cured_runs_and_other_sizes_have_no_published_figures():
    assert "study" not in quality_table(made_up_study(), "cured").columns
    assert quality_table(Study((made_up_run(codebook_size=32),))).rows[0][3] == "–"


def test_rates_with_and_without_model():
    run = made_up_run()
    cells = row(rate_table(Study((run,))), "128")
    assert cells["B/image, fixed length"] == "42.9"
    assert cells["B/image on disk, no model"] == f"{run.archive.bytes_per_image:.1f}"
    assert cells["ratio, no model"] == f"{run.archive.ratio_without_model:.1f}"


def test_ablation_is_at_equal_size():
    table = ablation_table(made_up_study())
    assert [cells[0] for cells in table.rows] == ["as in the study", "moving averages", "all four cures"]
    assert "K = 128" in table.heading
    assert ablation_table(Study(made_up_runs(variants=("paper", "cured")))) is None


def test_comparisons_need_seeds():
    assert len(comparison_table(made_up_study()).rows) == 4
    assert comparison_table(Study(made_up_runs(seeds=2))) is None


def test_matched_bytes():
    runs = (made_up_run(mse=0.005 / 1.02, ssim=0.905),)
    table = matched_table(Study(runs, made_up_classical()))
    assert table.columns[1:] == ("MSE 0.0050", "SSIM 0.900", "both", "the study's .0094 and .8713")
    assert list(row(table, "JPEG, mosaic").values())[1:4] == ["60.0"] * 3
    assert list(row(table, "JPEG, own files").values())[1:] == ["never"] * 4
    assert row(table, "AVIF, own files (first 1,000)")["the study's .0094 and .8713"] == "95.0*"
    assert list(row(table, "PNG, own files").values())[1:] == ["165.0"] * 4
    assert matched_table(Study(runs)) is None


def test_matched_bytes_without_runs_are_at_the_published_quality():
    assert matched_table(Study((), made_up_classical())).columns == ("codec", "the study's .0094 and .8713")


def test_vae_at_matched_quality_and_by_step():
    study = made_up_study()
    assert row(matched_table(study), "VAE")["the study's .0094 and .8713"].endswith("± 0.0")
    table = vae_table(study)
    assert table.rows[1][:3] == ("1", "5.0 ± 0.0", "0.0150 ± 0.0000")
    assert vae_table(EMPTY) is None


def test_break_even_is_where_the_files_are_equal():
    points = tuple(AmortisationPoint(n, 1_000_000 + 10 * n, 0.0) for n in (10, 1_000, 100_000))
    assert break_even_images(points, 110) == 10_000
    assert break_even_images(points, 10_000_000) == 10
    assert break_even_images(points, 15) is None
    assert break_even_images((), 100) is None


def test_break_even_table():
    study = made_up_study()
    table = break_even_table(study)
    assert [baseline.title for baseline in baselines(study)][-1] in {"PNG, own files", "xz, one stream"}
    assert row(table, "PNG")["images"] == f"{break_even_images(study.amortisation, 165):,}"
    assert break_even_table(replace(study, amortisation=())) is None
    assert break_even_table(replace(study, runs=())) is None
    few = replace(study, amortisation=study.amortisation[:2])
    assert row(break_even_table(few), "JPEG, mosaic")["images"] == "not up to 1,000"


TABLE = Table("A < B", ("name", "n | m"), (("x & y", "1"), ("z", "2")), "Note <it>.", frozenset({1}))


def test_html_escapes_and_brings_out():
    html = to_html(TABLE)
    assert "A &lt; B" in html
    assert "x &amp; y" in html
    assert "Note &lt;it&gt;." in html
    assert '<tr class="strong"><th scope="row">z</th>' in html


def test_markdown():
    assert to_markdown(TABLE).splitlines() == [
        "**A < B**",
        "",
        "| name | n | m |".replace("n | m", "n \\| m"),
        "| --- | ---: |",
        "| x & y | 1 |",
        "| **z** | 2 |",
        "",
        "Note <it>.",
    ]


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="2 cells"):
        Table("", ("one",), (("a", "b"),))


def test_signs():
    assert (signed(-1.25, 1), signed(0.5, 2)) == ("−1.2", "+0.50")
