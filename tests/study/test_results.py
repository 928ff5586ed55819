import json

import numpy as np
import pytest

from helpers.made_up_study import made_up_pictures, made_up_run
from smalti.bench.records import from_plain, to_plain
from smalti.errors import SourceError
from smalti.study.results import (
    AmortisationPoint,
    ArchiveBytes,
    ArchiveMeasure,
    Pictures,
    RunResult,
    StudyInfo,
    read_amortisation,
    read_runs,
    write_amortisation,
)


def test_run_survives_json():
    run = made_up_run("paper", 128, 3)
    assert from_plain(RunResult, json.loads(json.dumps(to_plain(run)))) == run


def test_runs_are_read_in_order(tmp_path):
    runs = [made_up_run("paper", 128, 1), made_up_run("cured", 64, 0), made_up_run("paper", 64, 0)]
    for run in runs:
        run.write(tmp_path)
    assert [run.name for run in read_runs(tmp_path)] == ["cured-k64-s0", "paper-k64-s0", "paper-k128-s1"]
    assert read_runs(tmp_path / "absent") == ()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda run: run.pop("perplexity"), "perplexity"),
        (lambda run: run.update(psnr=3), "psnr"),
        (lambda run: run.update(seed="0"), "RunResult.seed"),
        (lambda run: run.update(seed=True), "RunResult.seed"),
        (lambda run: run["test"].update(mse=None), "RunResult.test.mse"),
        (lambda run: run["history"][1].pop("epoch"), r"history\[1\]"),
        (lambda run: run.update(history={}), "history is not a list"),
        (lambda run: run.update(test=3), "test is not an object"),
        (lambda run: run["archive"]["bytes"].update(tokens=1), "sum to"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, where):
    plain = to_plain(made_up_run("paper", 64, 0))
    change(plain)
    with pytest.raises(SourceError, match=where):
        from_plain(RunResult, plain)
    path = tmp_path / "runs" / "paper-k64-s0.json"
    path.parent.mkdir()
    path.write_text(json.dumps(plain))
    with pytest.raises(SourceError, match=r"paper-k64-s0\.json"):
        read_runs(tmp_path)


def test_archive_measure_with_and_without_model():
    measure = ArchiveMeasure.of(100, ArchiveBytes(header=100, model=5000, prior=300, tokens=1000, index=50, columns=50))
    assert measure.archive_bytes == 6500
    assert (measure.bytes_per_image, measure.bytes_per_image_with_model) == (12, 65)
    assert measure.ratio == pytest.approx(78400 / 6500)
    assert measure.ratio_without_model == pytest.approx(78400 / 1200)


def test_pictures_survive(tmp_path):
    pictures = made_up_pictures(5)
    pictures.write(tmp_path, "paper-k64-s0")
    read = Pictures.read(tmp_path, "paper-k64-s0")
    for name in ("originals", "reconstructions", "atlas", "uses"):
        np.testing.assert_array_equal(getattr(read, name), getattr(pictures, name))
    assert Pictures.read(tmp_path, "paper-k64-s1") is None


def test_damaged_pictures_are_named(tmp_path):
    path = made_up_pictures(5).write(tmp_path, "paper-k64-s0")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match=r"paper-k64-s0\.npz"):
        Pictures.read(tmp_path, "paper-k64-s0")


def test_amortisation_is_sorted(tmp_path):
    assert read_amortisation(tmp_path) == ()
    points = (AmortisationPoint(1000, 1_000_000, 0.784), AmortisationPoint(10, 990_000, 0.0079))
    write_amortisation(tmp_path, points)
    assert read_amortisation(tmp_path) == points[::-1]


def test_study_info(tmp_path):
    assert StudyInfo.read(tmp_path) is None
    info = StudyInfo("smalti study mnist -o results/study", "2 cores", "0.1.0")
    info.write(tmp_path)
    assert StudyInfo.read(tmp_path) == info
