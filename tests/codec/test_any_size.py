"""Images of any sizes: the choice of a profile, one fit and one archive for each kind of pixel, and all around it."""

import numpy as np
import pytest
import tifffile

import smalti
from helpers.image_files import noise, save
from helpers.photo_kind import STEPS, install
from smalti.codec.bulk.plan import plan_file
from smalti.codec.bulk.running import compress_plan
from smalti.codec.compress import append_images, compress_images
from smalti.codec.fit import fit_file
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import ModelError, SourceError, UsageError
from smalti.sources.open import open_any_size, open_groups
from smalti.training.observer import FitInterruptedError, SilentObserver

SIZES = [(40, 70), (9, 14), (9, 14), (64, 3), (40, 70), (1, 1)]


@pytest.fixture(name="kind")
def _kind(monkeypatch):
    return install(monkeypatch)


class Said(SilentObserver):
    """Keeps the messages; stops after some steps of a fit."""

    def __init__(self, stop_after=None):
        self.lines, self.stages, self.stop_after = [], [], stop_after

    def on_stage(self, title, stops):
        self.stages.append(title)

    def on_message(self, line):
        self.lines.append(line)

    def on_step(self, stage, done, total):
        self.stop = stage == "fit" and done == self.stop_after

    def should_stop(self):
        return getattr(self, "stop", False)


@pytest.fixture(name="photos")
def _photos(tmp_path):
    """Grey images of several sizes in two class folders, and a broken one."""
    for number, size in enumerate(SIZES):
        save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", noise(*size, seed=number))
    (tmp_path / "photos" / "a" / "7.png").write_bytes(b"broken")
    return tmp_path / "photos"


def order_of(photos):
    return sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png") if path.stat().st_size > 6)


def assert_holds(path, photos, names):
    with smalti.open(path) as archive:
        assert list(archive.names) == names
        for number, name in enumerate(names):
            stored = noise(*SIZES[int(name[2])], *([3] if name[0] == "c" else []), seed=int(name[2]))
            np.testing.assert_array_equal(archive[number], stored)


def test_the_default_is_a_psnr_of_36_and_says_what_it_took(kind, photos, tmp_path):
    said = Said()
    report = compress_images(photos, tmp_path / "p.smalti", observer=said)
    (_, settings, _), *more = kind.fitted
    assert not more and settings.profile == "photo"
    assert settings.goal.in_db and settings.goal.mse == pytest.approx(10**-3.6)
    words = "profile photo: 6 images of 4 sizes from 1x1 to 40x70 pixels at a PSNR of 36 dB: "
    assert any(line.startswith(words) for line in said.lines)
    assert [file.name for file in report.skipped] == ["a/7.png"]
    assert (report.info.images, report.info.shape, report.info.profile) == (6, None, "photo")
    assert_holds(tmp_path / "p.smalti", photos, order_of(photos))
    with smalti.open(tmp_path / "p.smalti") as archive:
        assert archive.class_names == ("a", "b") and archive.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.smalti", "photos"]


@pytest.mark.parametrize(("images", "blocks"), [(1, 4), (3, 3), (65536, 1)])
def test_small_blocks_hold_the_largest_image_and_cut_none(kind, photos, tmp_path, images, blocks):
    report = compress_images(photos, tmp_path / "p.smalti", options=PackOptions(block_images=images))
    assert report.info.blocks == blocks
    assert_holds(tmp_path / "p.smalti", photos, order_of(photos))


def test_several_kinds_of_pixel_are_members_in_their_order(kind, photos, tmp_path):
    for number in (1, 3):
        save(photos / "c" / f"{number}.png", noise(*SIZES[number], 3, seed=number))
    save(photos / "a" / "8.png", noise(5, 6, seed=8).astype(np.uint16) * 256)
    report = compress_images(photos, tmp_path / "p.smalti")
    assert [(member.images, member.dtype) for member in report.info.members] == [
        (6, "uint8"),
        (1, "uint16"),
        (2, "uint8"),
    ]
    assert len(kind.fitted) == 3
    (tmp_path / "photos" / "a" / "8.png").unlink()
    with smalti.open(tmp_path / "p.smalti") as archive:
        assert list(archive.names)[6] == "a/8.png" and archive[6].dtype == np.uint16


def test_a_model_is_for_all_sizes_of_its_pixels(kind, photos, tmp_path):
    report = fit_file(photos, tmp_path / "m", FitRequest("photo", psnr=40))
    assert kind.fitted[0][1].goal.mse == pytest.approx(1e-4) and len(report.skipped) == 1
    other = tmp_path / "other"
    save(other / "x.png", noise(200, 3, seed=1))
    compress_images(other, tmp_path / "o.smalti", tmp_path / "m", FitRequest(psnr=30, effort=2))
    request = kind.models[-1].requests[0]
    assert request.goal.mse == pytest.approx(1e-3) and request.effort == 2 and not request.fitted_here
    save(other / "y.png", noise(20, 3, 3))
    with pytest.raises(ModelError, match=r"takes images of 1 channel, but .* has 1 of 3 channels"):
        compress_images(other, tmp_path / "q.smalti", tmp_path / "m")
    assert not (tmp_path / "q.smalti").exists()


def test_images_are_appended_with_a_model(kind, photos, tmp_path):
    fit_file(photos, tmp_path / "m", FitRequest("photo"))
    compress_images(photos, tmp_path / "p.smalti", tmp_path / "m")
    added = tmp_path / "added"
    save(added / "b" / "3.png", noise(*SIZES[3], seed=3))
    save(added / "b" / "5.png", noise(*SIZES[5], seed=5))
    append_images(tmp_path / "p.smalti", added, tmp_path / "m", FitRequest(psnr=30))
    with smalti.open(tmp_path / "p.smalti") as archive:
        assert len(archive) == 8
        np.testing.assert_array_equal(archive[6], noise(*SIZES[3], seed=3))


def test_shards_have_any_sizes(kind, photos, tmp_path):
    fit_file(photos, tmp_path / "m", FitRequest("photo"))
    save(photos / "a" / "8.png", noise(5, 6, 3))
    plan_file(str(photos), tmp_path / "plan", tmp_path / "m", 3, request=FitRequest(psnr=30))
    report = compress_plan(tmp_path / "plan", task="0/1")
    assert (report.failures, report.images) == ((), 6)
    reasons = {file.name: file.reason for _, file in report.skipped}
    assert reasons["a/8.png"] == "5x6 RGB; the model takes L" and "a/7.png" in reasons
    assert_holds(report.manifest, photos, [name for name in order_of(photos) if name != "a/8.png"])


def test_an_interrupted_run_goes_on(kind, photos, tmp_path):
    out = tmp_path / "p.smalti"
    with pytest.raises(FitInterruptedError) as caught:
        compress_images(photos, out, observer=Said(stop_after=3))
    assert caught.value.checkpoint == tmp_path / "p.smalti.checkpoint" and not out.exists()
    compress_images(photos, out, request=FitRequest(resume=True))
    assert [steps for _, _, steps in kind.fitted] == [STEPS, STEPS - 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.smalti", "photos"]


def test_each_kind_of_pixel_has_its_own_state(kind, photos, tmp_path):
    save(photos / "c" / "1.png", noise(4, 5, 3))
    with pytest.raises(FitInterruptedError) as caught:
        compress_images(photos, tmp_path / "p.smalti", observer=Said(stop_after=2))
    assert caught.value.checkpoint.name == "p.smalti.1-channels-uint8.checkpoint"


def test_what_does_not_go_with_any_size_is_refused(kind, photos, tmp_path):
    out = tmp_path / "p.smalti"
    with pytest.raises(UsageError, match="--max-mse"):
        compress_images(photos, out, request=FitRequest("photo"), options=PackOptions(max_mse=0.01))
    with pytest.raises(SourceError, match=r"7\.png"):
        compress_images(photos, out, options=PackOptions(strict=True))
    save(photos / "c" / "1.png", noise(4, 5, 3))
    with pytest.raises(UsageError, match="a target in bytes"):
        compress_images(photos, out, request=FitRequest(target_bytes=5000))
    assert not out.exists()


def test_a_size_is_a_target_for_one_kind_of_pixel(kind, photos, tmp_path):
    compress_images(photos, tmp_path / "p.smalti", request=FitRequest(target_bytes=5000))
    assert kind.fitted[0][1].goal.archive_bytes == 5000


def test_an_error_bound_and_old_options_stay_on_their_path(kind, tmp_path):
    images = noise(8, 8, 8)
    report = compress_images(images, tmp_path / "a.smalti", request=FitRequest(epochs=1, codebook_size=4))
    assert report.info.profile == "paper"
    assert FitRequest(epochs=1).kind.profiles == ("paper",)
    assert FitRequest(codebook_size=4, target_mse=0.01).settings().profile == "compact"
    assert FitRequest().is_auto and FitRequest(target_mse=0.01).is_auto and FitRequest(effort=3).is_auto
    assert FitRequest().without_choice().profile == "paper"
    assert FitRequest(effort=3).without_choice().profile == "compact"
    assert not kind.fitted


def test_an_archive_of_any_sizes_is_a_source(kind, photos, tmp_path):
    compress_images(photos, tmp_path / "p.smalti")
    (source,) = open_any_size(tmp_path / "p.smalti")
    names = order_of(photos)
    assert source.sizes.tolist() == [list(SIZES[int(name[2])]) for name in names]
    found = [image for batch in source.batches(4, 1, 5) for image in batch.pixels[..., 0]]
    for name, image in zip(names[1:5], found, strict=True):
        np.testing.assert_array_equal(image, noise(*SIZES[int(name[2])], seed=int(name[2])))
    some = [image for batch in source.batches_at(np.array([0, 3, 5]), 2) for image in batch.pixels]
    assert [image.shape[:2] for image in some] == [SIZES[int(names[n][2])] for n in (0, 3, 5)]
    groups = open_groups(tmp_path / "p.smalti")
    assert sorted(group.image_shape for group in groups) == sorted({(*size, 1) for size in SIZES})
    for group in groups:
        batches = list(group.batches(1))
        assert len(batches) == len(group) == SIZES.count(group.image_shape[:2])
        assert len(list(group.batches(8))) == 1 and len(list(group.batches(8, 1))) == (len(group) > 1)
        for batch in batches:
            number = int(batch.names[0][2])
            np.testing.assert_array_equal(batch.pixels[0, ..., 0], noise(*SIZES[number], seed=number))
    compress_images(tmp_path / "p.smalti", tmp_path / "again.smalti")
    assert_holds(tmp_path / "again.smalti", photos, names)


def test_an_archive_that_loses_is_warned_of(kind, tmp_path):
    pytest.importorskip("imagecodecs")
    rows, columns = np.mgrid[:90, :120]
    for number in range(4):
        pixels = 128 + 100 * np.sin((rows[: 60 + number] * (number + 1) + columns[: 60 + number]) / 40)
        save(tmp_path / "in" / f"{number}.png", pixels.astype(np.uint8))
        save(tmp_path / "in" / f"{number}-rgb.png", np.stack([pixels.astype(np.uint8)] * 3, 2))
    said = Said()
    said.on_warning = said.lines.append
    report = compress_images(tmp_path / "in", tmp_path / "p.smalti", observer=said)
    assert report.peers.psnr == np.inf and report.peers.to_json()["psnr"] is None  # the kind of tests is lossless
    kind.lossy = True
    report = compress_images(tmp_path / "in", tmp_path / "q.smalti", observer=said)
    assert report.peers.smaller == ("AVIF", "JPEG XL") or report.peers.smaller == ("JPEG XL", "AVIF")
    assert said.lines[-1] == report.peers.sentence() and said.stages[-1] == "compare"
    report = compress_images(tmp_path / "in", tmp_path / "r.smalti", options=PackOptions(compare=False))
    assert report.peers is None


def test_a_line_for_each_kind_of_file_says_what_it_holds(kind, photos, tmp_path):
    tifffile.imwrite(photos / "a" / "stack.tif", np.stack([noise(9, 14, seed=9)] * 3), photometric="minisblack")
    said = Said()
    report = compress_images(photos, tmp_path / "p.smalti", observer=said)
    assert report.found == {"PNG": (6, 6), "TIFF": (1, 3)}
    assert [line for line in said.lines if line.startswith("found ")] == [
        "found 6 files of PNG",
        "found 1 file of TIFF with 3 images",
    ]
    with smalti.open(tmp_path / "p.smalti") as archive:
        assert [name for name in archive.names if "#" in name] == ["a/stack.tif#0", "a/stack.tif#1", "a/stack.tif#2"]
