"""The functions of `smalti` that do what commands do."""

import logging
import os
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import smalti
from helpers.tiny_fits import small_images
from helpers.tiny_pyramids import blobs, quick_fits
from smalti.extras import needing
from smalti.training.observer import FitInterruptedError

QUICK = {"codebook_size": 4, "epochs": 2}


@pytest.fixture
def three_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)


@pytest.fixture
def model_path(model, tmp_path):
    model.save(tmp_path / "m")
    return tmp_path / "m"


def test_compressing_takes_all_cores_as_the_command_does(three_cores, monkeypatch, digits, model_path, tmp_path):
    packing, used = import_module("smalti.codec.packer"), []

    class Writer(packing.ArchiveWriter):
        def __init__(self, out, spec, network, overwrite, threads, prior):
            used.append((threads, torch.get_num_threads()))
            super().__init__(out, spec, network, overwrite, threads, prior)

    monkeypatch.setattr(packing, "ArchiveWriter", Writer)
    before = torch.get_num_threads()
    smalti.compress(digits.images, tmp_path / "a.smalti", model=model_path)
    smalti.compress(digits.images, tmp_path / "b.smalti", model=model_path, threads=2)
    assert used == [(3, 3), (2, 2)] and torch.get_num_threads() == before
    assert (tmp_path / "a.smalti").read_bytes() == (tmp_path / "b.smalti").read_bytes()


def test_progress_is_reported_and_its_errors_end_the_work(tmp_path):
    heard = []
    smalti.compress(small_images(20), tmp_path / "a.smalti", **QUICK, progress=lambda *step: heard.append(step))
    assert [step for step in heard if step[0] == "fit"] == [("fit", 1, 2), ("fit", 2, 2)]
    assert heard[-1] == ("write", 20, 20)

    def stop(stage, done, total):
        raise RuntimeError(f"stopped at {stage} {done}")

    with pytest.raises(RuntimeError, match="stopped at fit 1"):
        smalti.compress(small_images(20), tmp_path / "b.smalti", **QUICK, progress=stop)
    assert not (tmp_path / "b.smalti").exists()


def test_interrupted_packing_is_resumed(tmp_path, monkeypatch):
    quick_fits(monkeypatch, steps=12)
    request = {"profile": "compact", "effort": 2, "threads": 1}
    smalti.compress(blobs(), tmp_path / "whole.smalti", **request)

    def interrupt(stage, done, total):
        if stage == "write":
            raise KeyboardInterrupt

    with pytest.raises(FitInterruptedError) as caught:
        smalti.compress(blobs(), tmp_path / "a.smalti", **request, progress=interrupt)
    assert caught.value.checkpoint == tmp_path / "a.smalti.checkpoint"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["a.smalti.checkpoint", "a.smalti.packing", "whole.smalti"]
    steps = []
    smalti.compress(blobs(), tmp_path / "a.smalti", **request, resume=True, progress=lambda *step: steps.append(step))
    assert not {"fit", "encode"} & {stage for stage, _, _ in steps}
    assert (tmp_path / "a.smalti").read_bytes() == (tmp_path / "whole.smalti").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.smalti", "whole.smalti"]


def test_a_model_is_fitted_and_serves(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "smalti"):
        report = smalti.fit(small_images(20), tmp_path / "m.smalti-model", **QUICK, seed=3)
    assert report.model.settings.seed == 3 and report.skipped == ()
    assert report.model_file_bytes == (tmp_path / "m.smalti-model").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.smalti-model", "m.smalti-model.log.json"]
    assert "epoch 2: loss" in caplog.text and "too few to learn much" in caplog.text
    with pytest.raises(smalti.OutputExistsError):
        smalti.fit(small_images(20), tmp_path / "m.smalti-model", **QUICK)
    smalti.compress(small_images(9), tmp_path / "a.smalti", model=tmp_path / "m.smalti-model")


def test_labels_can_be_left_out(digits, folder, model_path, tmp_path):
    smalti.compress(folder.path, tmp_path / "a.smalti", model=model_path, labels=False)
    with smalti.open(tmp_path / "a.smalti") as archive:
        assert archive.labels is None and archive.names == folder.names


@pytest.fixture
def archive(digits, model_path, tmp_path):
    labels = digits.labels
    smalti.compress(digits.images, tmp_path / "a.smalti", model=model_path, labels=labels, recovery="1/2")
    return tmp_path / "a.smalti"


def test_images_are_extracted(archive, tmp_path):
    heard = []
    result = smalti.extract(archive, tmp_path / "some.npy", [5, 3], progress=lambda *step: heard.append(step))
    with smalti.open(archive) as opened:
        np.testing.assert_array_equal(np.load(tmp_path / "some.npy"), opened[[5, 3]])
    assert result.images == 2 and result.whole and heard[-1] == ("decompress", 2, 2)
    with pytest.raises(smalti.UsageError, match="files that are read"):
        smalti.extract(archive, archive, overwrite=True)


def test_images_are_appended_with_a_model(archive, digits, model_path):
    heard = []
    report = smalti.append(archive, digits.images[:5], model=model_path, progress=lambda *step: heard.append(step))
    assert report.info.images == 5 and heard[-1] == ("write", 5, 5)
    with smalti.open(archive) as opened:
        assert len(opened) == 69
        np.testing.assert_array_equal(opened[64:], opened[:5])
    other = archive.with_name("b.smalti")
    other.write_bytes(archive.read_bytes())
    assert smalti.append(archive, other) is None
    with pytest.raises(smalti.UsageError, match="files that are read"):
        smalti.append(archive, archive)
    with pytest.raises(smalti.UsageError, match="need a model"):
        smalti.append(archive, digits.images)


def test_archives_are_tested_and_repaired(archive, digits, tmp_path):
    report = smalti.test(archive, against=digits.images, level="pixels")
    assert report.integrity.ok and report.comparison.quality.images == 64 and report.info.images == 64
    assert report.comparison.labels_equal is not True and report.skipped == ()  # an array alone has no labels
    whole = archive.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    archive.write_bytes(damaged)
    assert not smalti.test(archive).integrity.ok
    repaired = smalti.repair(archive, tmp_path / "b.smalti")
    assert repaired.ok and (tmp_path / "b.smalti").read_bytes() == whole
    with pytest.raises(smalti.UsageError, match="give it alone"):
        smalti.test(archive, against=digits.images, level="quick")


def test_images_are_estimated(digits, monkeypatch):
    report = smalti.estimate(digits.images, target_mse=0.01)
    assert report.comparison.estimate.images == 64 and report.comparison.verdict is not None
    assert report.not_compared is None or "pip install" in report.not_compared
    assert report.comparison.estimate.profile == "compact" and not report.comparison.by_file
    photo = smalti.estimate(digits.images, effort=3).comparison
    assert photo.estimate.profile == "photo" and photo.by_file and photo.estimate.bits_per_image > 0
    with pytest.raises(smalti.UsageError, match="cannot be estimated"):
        smalti.estimate(digits.images, profile="paper")


def test_only_packages_of_an_extra_are_named_as_missing(monkeypatch, digits, tmp_path):
    words = r'needs torch, .* pip install "smalti\[train\]"'
    with pytest.raises(smalti.MissingDependencyError, match=words), needing("compressing", "train"):
        raise ModuleNotFoundError(name="torch")
    for ours in ("smalti.codec", "numpy", "constriction", None):
        with pytest.raises(ModuleNotFoundError), needing("compressing", "train"):
            raise ModuleNotFoundError(name=ours)
    monkeypatch.setitem(sys.modules, "smalti.codec", None)
    with pytest.raises(ModuleNotFoundError, match=r"smalti\.codec"):
        smalti.compress(digits.images, tmp_path / "a.smalti")


def test_provenance_is_spelled_one_way_and_older_archives_are_understood(archive, tmp_path):
    from smalti.archive.report import known_provenance  # noqa: PLC0415

    with smalti.open(archive) as opened:
        provenance = opened.info().provenance
    assert provenance["fitted_images"] == "64" and "fitted_on" in provenance and "fitted on" not in provenance
    older = [("epochs", "3"), ("fitted images", "70000"), ("fitted on", "mnist")]
    assert known_provenance(older) == {"epochs": "3", "fitted_images": "70000", "fitted_on": "mnist"}


def test_settings_that_do_not_go_together_are_refused_once_for_all():
    from smalti.codec.request import FitRequest, PackOptions  # noqa: PLC0415

    for wrong in (
        {"profile": "paper", "effort": 2},
        {"profile": "compact", "epochs": 2},
        {"profile": "none"},
        {"target_mse": 0.1, "target_bytes": 9},
        {"effort": 10},
        {"seed": -1},
    ):
        with pytest.raises(smalti.UsageError):
            FitRequest(**wrong)
    for wrong in ({"max_mse": -1.0}, {"max_mse": float("nan")}, {"threads": 0}):
        with pytest.raises(smalti.UsageError):
            PackOptions(**wrong)
    request = FitRequest(effort=3, target_ssim=0.9, resume=True)
    assert FitRequest.from_json(request.to_json()) == request and FitRequest().to_json() == {}
    with pytest.raises(smalti.UsageError, match="--adapt goes with"):
        FitRequest(adapt=True).check_for(None)
    with pytest.raises(smalti.UsageError, match="brings its own profile"):
        FitRequest(epochs=2).check_for(SimpleNamespace())


def test_images_and_classes_are_named_in_python_as_on_the_command_line(folder, model_path, tmp_path):
    path = tmp_path / "a.smalti"
    smalti.compress(folder.path, path, model=model_path)
    with smalti.open(path) as opened:
        classes, names = opened.class_names, opened.names
    smalti.relabel(path, changes={0: classes[1], names[1]: "blurred", "2": 7})
    with smalti.open(path) as opened:
        assert opened.labels[:4].tolist() == [1, len(classes), 7, 0] and opened.class_names == (*classes, "blurred")
    words = ["day", "night"] * (len(names) // 2)
    smalti.relabel(path, labels=words, class_names=["night"])
    with smalti.open(path) as opened:
        assert opened.labels[:2].tolist() == [1, 0] and opened.class_names == ("night", "day")
    (tmp_path / "labels.txt").write_text("day\n" * len(names))
    smalti.relabel(path, labels=tmp_path / "labels.txt")
    with smalti.open(path) as opened:
        assert set(opened.labels.tolist()) == {1}
    assert smalti.drop(path, [names[0], 2, "-1"]) == len(names) - 3
    with smalti.open(path) as opened:
        assert opened.names == (names[1], *names[3:-1])
    assert smalti.drop(path, names[1]) == len(names) - 4
    with pytest.raises(smalti.UsageError, match="no image called 'nowhere'"):
        smalti.drop(path, "nowhere")
    with pytest.raises(smalti.UsageError, match="either"):
        smalti.relabel(path, labels=words, changes={0: 1})
    with pytest.raises(smalti.SourceError, match="cannot be read as labels"):
        smalti.relabel(path, labels=tmp_path / "none.npy")


def test_shards_are_planned_and_made(folder, model_path, tmp_path):
    heard = []
    plan = smalti.plan(str(folder.path), tmp_path / "p", model=model_path, shard_images=40, labels=False)
    assert len(plan.shards) == 2 and not plan.options.labels
    with pytest.raises(smalti.OutputExistsError):
        smalti.plan(str(folder.path), tmp_path / "p", model=model_path, shard_images=40)
    report = smalti.run_plan(tmp_path / "p", task="0/1", progress=lambda *step: heard.append(step))
    assert (report.done, report.images, heard[-1]) == (2, 64, ("shards", 2, 2))
    with smalti.open(report.manifest) as opened:
        assert opened.names == folder.names and opened.labels is None
    with pytest.raises(smalti.UsageError, match="in this process alone"):
        smalti.run_plan(tmp_path / "p", task="0/1", workers=2)
