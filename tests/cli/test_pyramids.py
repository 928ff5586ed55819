import numpy as np
import pytest

from helpers.command_line import names
from helpers.tiny_pyramids import blobs, quick_fits
from smalti.archive.read.reader import open_archive
from smalti.training.pyramid.pyramid_model import PyramidModel
from smalti.training.pyramid.pyramid_training import PyramidTraining

COMPACT = ("--profile", "compact", "--effort", 0, "--threads", 1)


@pytest.fixture
def images(tmp_path, monkeypatch):
    quick_fits(monkeypatch, steps=12)
    (tmp_path / "out").mkdir()
    path = tmp_path / "blobs.npy"
    np.save(path, blobs())
    return path


def test_fit_and_compress(smalti, images, tmp_path):
    model, out = tmp_path / "out" / "m", tmp_path / "out" / "a.smalti"
    told = smalti("fit", images, "-o", model, *COMPACT, "--seed", 3, "--json")
    assert told.code == 0 and "step " in told.err and "bytes an image" in told.err
    assert told.json["settings"] == PyramidModel.load(model).settings.to_json()
    assert (told.json["settings"]["profile"], told.json["settings"]["seed"]) == ("compact", 3)
    assert told.json["image_shape"] == [16, 16, 1] and told.json["model_file_bytes"] == model.stat().st_size
    assert names(tmp_path / "out") == ["m", "m.log.json"], "the checkpoint is gone"
    told = smalti("compress", images, "--model", model, "-o", out, "--json", "--threads", 1)
    assert told.code == 0 and told.json["archive_bytes"] == out.stat().st_size and told.json["images"] == 16
    assert told.json["provenance"]["seed"] == "3"
    adapted = tmp_path / "out" / "b.smalti"
    ran = smalti("compress", images, "--model", model, "--adapt", "-o", adapted, "-q", "--threads", 1)
    assert (ran.code, ran.out) == (0, "")
    with open_archive(adapted) as archive:
        assert archive[:].shape == (16, 16, 16)


def test_compress_fits_for_a_target_of_bytes(smalti, images, tmp_path):
    out = tmp_path / "out" / "a.smalti"
    options = ["--profile", "compact", "--target-bytes", 20_000, "--effort", 0, "--threads", 1, "--json"]
    ran = smalti("compress", images, "-o", out, *options)
    assert ran.code == 0 and ran.json["profile"] == "compact" and ran.json["images"] == 16
    assert "a.smalti.checkpoint" not in names(tmp_path / "out")


ERRORS = {
    "epochs": (["--profile", "compact", "--epochs", 3], "--effort"),
    "a target with paper": (["--profile", "paper", "--target-mse", 0.01], "paper"),
    "an effort with paper": (["--profile", "paper", "--effort", 2], "paper"),
    "two targets": (["--target-mse", 0.01, "--target-bytes", 1000], "one of"),
    "a target of nothing": (["--target-bytes", 0], "above 0"),
    "a target out of reach": (["--target-ssim", 1.5], "below 1"),
    "an effort out of range": (["--effort", 10], "--effort"),
}


@pytest.mark.parametrize("command", ["fit", "compress"])
@pytest.mark.parametrize("error", ERRORS)
def test_what_does_not_go_together_ends_with_2(command, error, smalti, images, tmp_path, monkeypatch):
    monkeypatch.setattr(PyramidTraining, "fit", None)  # would fail if it were called
    options, said = ERRORS[error]
    line = smalti.fails(2, command, images, "-o", tmp_path / "out" / "a", *options)
    assert said in line and names(tmp_path / "out") == []


def test_adapt_needs_a_model(smalti, images, tmp_path):
    line = smalti.fails(2, "compress", images, "-o", tmp_path / "out" / "a", "--adapt")
    assert "--adapt goes with --model" in line


def test_validation_is_for_paper(smalti, images, tmp_path):
    line = smalti.fails(2, "fit", images, "-o", tmp_path / "out" / "a", *COMPACT, "--validation", images)
    assert "--validation is for the profile paper" in line


def test_a_paper_model_has_no_targets(smalti, folder, model_path, tmp_path):
    for options in (["--target-mse", 0.01], ["--effort", 1], ["--adapt"]):
        line = smalti.fails(2, "compress", folder.path, "--model", model_path, "-o", tmp_path / "a", *options)
        assert "a model of the profile paper has no targets" in line and names(tmp_path) == []
