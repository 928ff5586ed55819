import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

import smalti
from helpers.tiny_fits import small_images

PUBLIC = {
    "Archive", "ArchiveInfo", "Collection", "CollectionInfo", "Limits", "__version__",
    "append", "compress", "drop", "estimate", "extract", "fit", "merge", "open", "relabel", "repair", "test",
    "SmaltiError", "UsageError", "ImageIndexError", "SourceError", "DownloadError", "ModelError",
    "MissingDependencyError", "NotAnArchiveError", "DamagedArchiveError", "UnsupportedArchiveError", "OutputError",
    "OutputExistsError", "LimitExceededError",
}  # fmt: skip


def test_the_public_names_are_these():
    assert set(smalti.__all__) == PUBLIC
    assert all(hasattr(smalti, name) for name in PUBLIC)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "blobs.smalti"
    labels = np.arange(20, dtype=np.int16)
    smalti.compress(small_images(20)[..., 0], path, codebook_size=4, epochs=1, seed=3, labels=labels)
    return path


def test_arrays_become_an_archive(archive):
    with smalti.open(archive) as opened:
        assert (opened.shape, opened.dtype, len(opened)) == ((20, 8, 8), np.uint8, 20)
        assert opened.labels.tolist() == list(range(20)) and opened.names is None
        assert opened[10:20].shape == (10, 8, 8) and opened.info().provenance["seed"] == "3"


READING = """
import json, sys
import smalti
from smalti.cli import run
with smalti.open(sys.argv[1]) as archive:
    archive[3], archive[[5, 9, 7]], archive.tokens(1, 2), archive.labels
codes = [run(["info", sys.argv[1], "-q"]), run(["get", sys.argv[1], "3", "-o", sys.argv[2], "-q"]),
         run(["test", sys.argv[1], "-q"])]
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "safetensors", "scipy", "skimage"})
print(json.dumps([codes, heavy]))
"""


def test_reading_needs_no_framework(archive, tmp_path):
    arguments = [sys.executable, "-c", READING, str(archive), str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[0, 0, 0], []] and done.stderr == ""


def test_a_model_file_serves_other_images(tmp_path, model, digits):
    model.save(tmp_path / "m")
    report = smalti.compress(digits.images, tmp_path / "a.smalti", model=tmp_path / "m")
    assert report.info.images == 64 and report.info.codebook_size == 16


def test_a_folder_is_taken_by_its_path(tmp_path, model, folder):
    model.save(tmp_path / "m")
    smalti.compress(folder.path, tmp_path / "a.smalti", model=tmp_path / "m")
    with smalti.open(tmp_path / "a.smalti") as opened:
        assert opened.names == folder.names


def test_a_model_and_settings_exclude_each_other(tmp_path):
    with pytest.raises(smalti.UsageError, match="brings its own profile"):
        smalti.compress(small_images(3), tmp_path / "a.smalti", model=tmp_path / "m", epochs=2)


def test_what_cannot_be_written_is_refused_before_the_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("smalti.training.paper.paper_training.PaperTraining.fit", None)  # would fail if it were called
    (tmp_path / "a.smalti").write_bytes(b"mine")
    with pytest.raises(smalti.OutputExistsError):
        smalti.compress(small_images(3), tmp_path / "a.smalti")
    with pytest.raises(smalti.OutputError, match="does not exist"):
        smalti.compress(small_images(3), tmp_path / "absent" / "a.smalti")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((3, 8, 8), np.float32), "float32"),
        (np.full((3, 8, 8), np.nan), "float64"),
        (np.zeros((3, 8, 8), np.int32), "int32"),
        (np.zeros((3, 8, 8, 5), np.uint8), "5"),
        (np.zeros((8, 8), np.uint8), "8, 8"),
        (np.zeros((0, 8, 8), np.uint8), "0"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_what_are_no_images_is_refused(images, words, tmp_path):
    with pytest.raises(smalti.SmaltiError, match=words) as caught:
        smalti.compress(images, tmp_path / "a.smalti")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "home", "name"),
    [
        ("smalti.images", "smalti.sources.open", "open_source"),
        ("smalti.images", "smalti.sinks.sink", "open_image_writer"),
        ("smalti.codec", "smalti.codec.fit", "fit_source"),
        ("smalti.training", "smalti.training.paper.settings", "FitSettings"),
        ("smalti.training", "smalti.training.common.distributed", "joined"),
    ],
)
def test_names_that_moved_are_found_for_one_more_release(old, home, name):
    assert getattr(import_module(old), name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="absent"):
        _ = import_module(old).absent
