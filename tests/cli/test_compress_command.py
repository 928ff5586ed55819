import errno
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import names
from helpers.image_files import noise, save
from helpers.photo_kind import install
from helpers.tiny_fits import small_images
from smalti.archive.read.reader import open_archive
from smalti.images.batch import ImageBatch
from smalti.sources.open import open_source


def test_ten_class_folders_come_back_by_name_label_and_order(smalti, folder, archive, tmp_path):
    assert smalti("decompress", archive, "-o", tmp_path / "out", "--threads", 1).code == 0
    assert tuple(names(tmp_path / "out")) == folder.names
    again = tmp_path / "again.smalti"
    with open_archive(archive) as opened:
        assert opened.names == folder.names and opened.labels.tolist() == folder.labels.tolist()
        assert opened.class_names == tuple(f"digit {label}" for label in range(10))
        for name, pixels in zip(folder.names, opened[:], strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), pixels)
    assert not again.exists()


def test_compress_prints_the_size_and_the_contents(smalti, folder, model_path, tmp_path):
    out = tmp_path / "a.smalti"
    told = smalti("compress", folder.path, "--model", model_path, "-o", out, "--json", "--threads", 1).json
    assert told["archive_bytes"] == out.stat().st_size == sum(told["bytes"].values())
    assert told["images"] == 64 and told["skipped"] == []
    ran = smalti("compress", folder.path, "--model", model_path, "-o", out, "-f", "--threads", 1)
    assert (ran.code, ran.err) == (0, "") and "64 images" in ran.out and ran.out.count("\n") == 1
    assert names(tmp_path) == ["a.smalti"]


def test_compress_writes_a_page_of_pictures(smalti, folder, model_path, tmp_path):
    out, page = tmp_path / "a.smalti", tmp_path / "a.html"
    options = ["--model", model_path, "-o", out, "--page", page, "--threads", 1]
    assert smalti("compress", folder.path, *options).code == 0
    assert "a.smalti" in page.read_text("utf-8") and names(tmp_path) == ["a.html", "a.smalti"]
    out.unlink()
    smalti.fails(6, "compress", folder.path, *options)
    smalti.fails(2, "compress", folder.path, "--model", model_path, "-o", out, "--page", out)
    assert not out.exists(), "nothing is packed if the page cannot be written"
    assert smalti("compress", folder.path, *options, "-f").code == 0


def test_quiet_is_silent(smalti, folder, model_path, tmp_path):
    out = tmp_path / "a.smalti"
    ran = smalti("compress", folder.path, "--model", model_path, "-o", out, "-q", "--threads", 1)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_compress_fits_when_it_is_given_no_model(smalti, tmp_path):
    np.save(tmp_path / "blobs.npy", small_images(20))
    fit = ["-k", 4, "--epochs", 1, "--seed", 5, "--threads", 1]
    ran = smalti("compress", tmp_path / "blobs.npy", "-o", tmp_path / "a.smalti", *fit, "--json")
    assert ran.code == 0 and ran.json["codebook_size"] == 4 and ran.json["provenance"]["seed"] == "5"
    assert names(tmp_path) == ["a.smalti", "blobs.npy"]


def test_labels_can_be_left_out(smalti, folder, model_path, tmp_path):
    out = tmp_path / "a.smalti"
    told = smalti("compress", folder.path, "--model", model_path, "-o", out, "--no-labels", "--json", "--threads", 1)
    assert told.json["columns"] == ["names"]


def test_a_model_brings_its_own_settings(smalti, folder, model_path, tmp_path):
    line = smalti.fails(2, "compress", folder.path, "--model", model_path, "-k", 5, "-o", tmp_path / "a.smalti")
    assert "give --model or them" in line and names(tmp_path) == []


def test_an_unreadable_file_ends_with_3_and_its_name(smalti, folder, model_path, tmp_path):
    photos = shutil.copytree(folder.path, tmp_path / "photos")
    (photos / "digit 3" / "bad.png").write_bytes(b"no image")
    out = tmp_path / "a.smalti"
    ran = smalti("compress", photos, "--model", model_path, "-o", out, "--json", "--threads", 1)
    assert ran.code == 3 and ran.json["images"] == 64
    assert [file["name"] for file in ran.json["skipped"]] == ["digit 3/bad.png"]
    assert ran.err.startswith("smalti: skipped digit 3/bad.png: ") and ran.err.count("\n") == 1


def test_what_is_no_source_writes_nothing(smalti, model_path, tmp_path):
    out, inputs = tmp_path / "out", tmp_path / "in"
    out.mkdir()
    (inputs / "empty").mkdir(parents=True)
    (inputs / "bad").mkdir()
    (inputs / "bad" / "a.png").write_bytes(b"no image")
    np.save(inputs / "floats.npy", np.full((3, 28, 28), np.nan, np.float32))
    np.save(inputs / "flat.npy", np.zeros((28, 28), np.uint8))
    for source in ("absent", "empty", "bad", "floats.npy", "flat.npy"):
        line = smalti.fails(1, "compress", inputs / source, "--model", model_path, "-o", out / "a.smalti")
        assert source in line
    assert names(out) == []


def test_a_model_for_other_channels_writes_nothing(smalti, model_path, tmp_path):
    np.save(tmp_path / "blobs.npy", small_images(3).repeat(3, -1))
    line = smalti.fails(1, "compress", tmp_path / "blobs.npy", "--model", model_path, "-o", tmp_path / "a.smalti")
    assert "28x28 pixels and 1 channel, but" in line and names(tmp_path) == ["blobs.npy"]


def test_a_file_that_is_no_model_is_named(smalti, folder, archive, tmp_path):
    for model in ("absent", archive):
        line = smalti.fails(1, "compress", folder.path, "--model", model, "-o", tmp_path / "a.smalti")
        assert str(model) in line and "smalti fit" in line
    assert names(tmp_path) == []


def test_outputs_that_exist_are_refused_and_stay(smalti, folder, archive, model_path, tmp_path):
    mine = tmp_path / "mine.npy"
    mine.write_bytes(b"mine")
    assert "-f" in smalti.fails(6, "compress", folder.path, "--model", model_path, "-o", mine)
    smalti.fails(6, "decompress", archive, "-o", mine)
    smalti.fails(6, "get", archive, 0, "-o", mine)
    assert mine.read_bytes() == b"mine" and names(tmp_path) == ["mine.npy"]
    assert smalti("decompress", archive, "-o", mine, "-f", "--threads", 1).code == 0
    assert np.load(mine).shape == (64, 28, 28)


def test_decompress_writes_arrays_and_idx(smalti, archive, tmp_path):
    told = smalti("decompress", archive, "-o", tmp_path / "a.npy", "--json", "--threads", 1).json
    assert told == {"output": str(tmp_path / "a.npy"), "images": 64}
    with open_archive(archive) as opened:
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), opened[:])
    assert smalti("decompress", archive, "-o", tmp_path / "a-images-idx3-ubyte", "-q", "--threads", 1).out == ""


def test_get_writes_the_images_asked_for(smalti, folder, archive, tmp_path):
    told = smalti("get", archive, 5, 0, "-o", tmp_path / "some", "--json", "--threads", 1).json
    metadata_files = ["class_names.json", "metadata.jsonl"]
    written = sorted([folder.names[5], folder.names[0], *metadata_files])
    assert told["images"] == 2 and names(tmp_path / "some") == written
    smalti("get", archive, "-o", tmp_path / "last", "--", "-1")
    assert names(tmp_path / "last") == sorted([folder.names[-1], *metadata_files])


@pytest.mark.parametrize("out", ["all", "all.tar", "all.tar.gz", "all.npy", "all-idx3-ubyte"])
def test_every_way_out_is_a_way_back(smalti, archive, tmp_path, out):
    assert smalti("decompress", archive, "-o", tmp_path / out, "--threads", 1).code == 0
    source = open_source(tmp_path / out)
    found = ImageBatch.joined(list(source.batches(50)))
    with open_archive(archive) as opened:
        np.testing.assert_array_equal(found.pixels, opened[:][..., None])
        np.testing.assert_array_equal(found.labels, opened.labels)
        assert (found.names, source.class_names) == (opened.names, opened.class_names)


@pytest.mark.parametrize("index", [64, -65, 10**12])
def test_an_index_outside_names_the_range_and_writes_nothing(smalti, archive, tmp_path, index):
    ran = smalti("get", archive, "-o", tmp_path / "some", "--", index)
    assert ran.code == 2 and "0 to 63" in ran.err and ran.err.count("\n") == 1 and names(tmp_path) == []
    assert not (tmp_path / "some").exists()


def test_a_fit_is_not_lost_when_the_archive_cannot_be_written(smalti, tmp_path, monkeypatch):
    np.save(tmp_path / "blobs.npy", small_images(20))
    command = ["compress", tmp_path / "blobs.npy", "-o", tmp_path / "a.smalti", "-k", 4, "--epochs", 1, "--threads", 1]

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("smalti.archive.format.frames.FrameWriter.add", full)
        assert smalti(*command).code == 1
    assert names(tmp_path) == ["a.smalti.checkpoint", "blobs.npy"]
    ran = smalti(*command, "--resume")
    assert ran.code == 0 and "epoch" not in ran.err.replace("epochs", "").replace("1 epoch", "")
    assert names(tmp_path) == ["a.smalti", "blobs.npy"]


def test_targets_have_short_names(smalti, tmp_path, monkeypatch):
    kind = install(monkeypatch)
    for number, size in enumerate([(40, 30), (9, 70)]):
        save(tmp_path / "in" / f"{number}.png", noise(*size, seed=number))
    out = tmp_path / "a.smalti"
    ran = smalti("compress", tmp_path / "in", "-o", out, "--no-compare", "--json")
    assert ran.code == 0 and ran.json["profile"] == "photo" and ran.json["peers"] is None
    assert "profile photo: 2 images of 2 sizes from 9x70 to 40x30 pixels at a PSNR of 36 dB" in ran.err
    for options, goal in (
        (["--psnr", 30], {"mse": pytest.approx(0.001)}),
        (["--ssim", 0.9], {"ssim": 0.9}),
        (["--target-ssim", 0.9], {"ssim": 0.9}),
        (["--target-bytes", 9000, "--profile", "auto"], {"archive_bytes": 9000}),
    ):
        assert smalti("compress", tmp_path / "in", "-o", out, "-f", "-q", "--no-compare", *options).code == 0
        found = kind.fitted[-1][1].goal
        assert {name: getattr(found, name) for name in goal} == goal
    assert "one of" in smalti.fails(2, "compress", tmp_path / "in", "-o", out, "-f", "--psnr", 30, "--ssim", 0.9)
    line = smalti.fails(2, "compress", tmp_path / "in", "-o", out, "-f", "--profile", "photo", "--max-mse", 0.1)
    assert "--max-mse" in line


def test_a_model_of_any_sizes_is_fitted_used_and_appended_with(smalti, tmp_path, monkeypatch):
    kind = install(monkeypatch)
    for number, size in enumerate([(40, 30), (9, 70), (8, 8)]):
        save(tmp_path / "in" / f"{number}.png", noise(*size, seed=number))
    save(tmp_path / "in" / "rgb.png", noise(4, 4, 3))
    model, out = tmp_path / "m", tmp_path / "a.smalti"
    told = smalti("fit", tmp_path / "in", "-o", model, "--profile", "photo", "--psnr", 40, "--json")
    assert told.code == 3 and told.json["channels"] == 1
    assert told.json["skipped"] == [{"name": "rgb.png", "reason": "4x4 RGB; most are L"}]
    (tmp_path / "in" / "rgb.png").unlink()
    assert smalti("compress", tmp_path / "in", "-o", out, "--model", model, "--no-compare").code == 0
    assert smalti("append", out, tmp_path / "in", "--model", model, "--psnr", 30, "--effort", 1).code == 0
    request = kind.models[-1].requests[0]
    assert request.goal.mse == pytest.approx(0.001) and request.effort == 1
    assert smalti("info", out, "--json").json["images"] == 6
    assert "leave target" in smalti.fails(2, "append", out, out, "--psnr", 30)
    plan = smalti("plan", tmp_path / "in", "-o", tmp_path / "p", "--model", model, "--shard-images", 2, "--ssim", 0.9)
    assert plan.code == 0 and '"target_ssim":0.9' in (tmp_path / "p").read_text()
