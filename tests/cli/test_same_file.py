"""An output never replaces an input, also with -f and under another name of the file."""

import os
import tarfile

import numpy as np
import pytest

import smalti as api
from helpers.tiny_fits import small_images

QUICK = ("-k", 4, "--epochs", 1, "--threads", 1, "-f")


@pytest.fixture
def blobs(tmp_path):
    np.save(tmp_path / "a.npy", small_images(12))
    os.link(tmp_path / "a.npy", tmp_path / "linked")
    (tmp_path / "pointing").symlink_to(tmp_path / "a.npy")
    return tmp_path / "a.npy"


def refused(smalti, path, *arguments):
    before = path.read_bytes()
    assert "is one of the files that are read" in smalti.fails(2, *arguments)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["a.npy", "linked", "pointing", "x/../a.npy"])
def test_an_array_is_not_replaced_by_its_archive_or_model(smalti, blobs, tmp_path, name):
    (tmp_path / "x").mkdir()
    for command in ("compress", "fit"):
        refused(smalti, blobs, command, blobs, "-o", f"{tmp_path}/{name}", *QUICK)


def test_neither_are_images_that_a_fit_is_measured_on(smalti, blobs, tmp_path):
    np.save(tmp_path / "b.npy", small_images(4))
    arguments = ["fit", tmp_path / "b.npy", "-o", blobs, "--validation", blobs, *QUICK]
    refused(smalti, blobs, *arguments)


def test_nor_tar_files_members_of_folders_patterns_and_columns(smalti, folder, blobs, tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(folder.path / folder.names[0], "0.png")
    refused(smalti, tmp_path / "t.tar", "compress", tmp_path / "t.tar", "-o", tmp_path / "t.tar", *QUICK)
    refused(smalti, tmp_path / "t.tar", "compress", tmp_path / "*.tar", "-o", tmp_path / "t.tar", *QUICK)
    some = folder.path / folder.names[5]
    refused(smalti, some, "compress", folder.path, "-o", some, *QUICK)
    np.save(tmp_path / "a.labels.npy", np.zeros(12, np.int64))
    refused(smalti, tmp_path / "a.labels.npy", "compress", blobs, "-o", tmp_path / "a.labels.npy", *QUICK)


def test_an_archive_among_the_images_of_a_folder_can_be_made_anew(smalti, folder, model_path, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "0.png").write_bytes((folder.path / folder.names[0]).read_bytes())
    for more in ((), ("-f",)):
        ran = smalti("compress", photos, "--model", model_path, "-o", photos / "all.smalti", "--threads", 1, *more)
        assert (photos / "all.smalti").exists() and ran.code in (0, 3), ran


def test_nor_models(smalti, folder, model_path, tmp_path):
    model = tmp_path / "m.smalti-model"
    model.write_bytes(model_path.read_bytes())
    for command in (("compress",), ("plan", "--shard-images", 8)):
        refused(smalti, model, *command, folder.path, "--model", model, "-o", model, "-f")


def test_nor_archives(smalti, archive, model_path, tmp_path):
    path, other = tmp_path / "a.npy", tmp_path / "b.smalti"  # an archive may have any name
    for copy in (path, other, tmp_path / "c.smalti"):
        copy.write_bytes(archive.read_bytes())
    refused(smalti, other, "compress", other, "--model", model_path, "-o", other, "-f")
    refused(smalti, path, "decompress", path, "-o", path, "-f")
    refused(smalti, path, "get", path, 0, "-o", path, "-f")
    refused(smalti, other, "merge", other, tmp_path / "c.smalti", "-o", other, "-f")


def test_nor_files_of_labels(smalti, archive, tmp_path):
    labels = tmp_path / "labels.npy"
    np.save(labels, np.zeros(64, np.int64))
    refused(smalti, labels, "relabel", archive, "--labels", labels, "-o", labels, "-f")


def test_python_refuses_as_well(blobs, tmp_path):
    with pytest.raises(api.UsageError, match="files that are read"):
        api.compress(str(blobs), blobs, epochs=1, overwrite=True)
    with pytest.raises(api.UsageError, match="files that are read"):
        api.compress(np.load(blobs, mmap_mode="r"), blobs, epochs=1, overwrite=True)
    with pytest.raises(api.UsageError, match="files that are read"):
        api.fit(str(blobs), blobs, epochs=1, overwrite=True)
    assert np.load(blobs).shape == (12, 8, 8, 1)


def test_standard_output_is_no_output(smalti, archive, folder, model_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["compress", folder.path, "--model", model_path],
        ["fit", folder.path],
        ["decompress", archive],
        ["get", archive, 0],
        ["merge", archive, archive],
        ["drop", archive, 0],
        ["repair", archive],
        ["plan", folder.path, "--shard-images", 8],
    ):
        assert "-o -: nothing is written to standard output" in smalti.fails(2, *arguments, "-o", "-")
    assert list(tmp_path.iterdir()) == []
