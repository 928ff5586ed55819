"""The profile lossless from the command line, with fits of a few steps: folders of all kinds, and contradictions."""

import numpy as np
import pytest
from PIL import Image

from cli.test_photo import KINDS, SIZES, fill, grey, rgb, with_alpha
from helpers.image_files import save
from helpers.tiny_lossless import small_efforts
from smalti.archive.open import open_images
from smalti.errors import UsageError
from smalti.front.from_images import compress, estimate

LOSSLESS = ["--lossless", "--effort", 0, "--no-compare", "--threads", 1]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_efforts(monkeypatch, 4)


@pytest.fixture(name="photos", scope="module")
def _photos(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("photos"), grey)


def largest_errors(archive, folder, names):
    """The largest error of each image, by name."""
    found = {}
    with open_images(archive) as images:
        for number, name in enumerate(names):
            with Image.open(folder / name) as image:
                original = np.asarray(image).astype(np.int64)
            decoded = np.asarray(images.images(slice(number, number + 1))[0], np.int64)
            found[name] = int(np.abs(decoded.reshape(original.shape) - original).max())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_comes_back(kind, smalti, tmp_path):
    folder, archive = fill(tmp_path / "in", KINDS[kind]), tmp_path / "a.smalti"
    assert smalti("compress", folder, "-o", archive, *LOSSLESS).code == 0
    found = smalti("test", archive, "--against", folder, "--full", "--json").json
    assert found["mse_max"] == 0
    assert set(largest_errors(archive, folder, [f"{n}.png" for n in range(len(SIZES))]).values()) == {0}


def test_each_sample_is_within_the_error(smalti, photos, tmp_path):
    archive = tmp_path / "a.smalti"
    assert smalti("compress", photos, "-o", archive, "--max-error", 3, *LOSSLESS[1:]).code == 0
    errors = largest_errors(archive, photos, [f"{n}.png" for n in range(len(SIZES))])
    assert 1 <= max(errors.values()) <= 3


def test_a_bound_of_0_means_lossless(smalti, photos, tmp_path):
    ran = smalti("compress", photos, "-o", tmp_path / "a.smalti", "--max-mse", 0, *LOSSLESS[1:], "--json")
    assert ran.json["profile"] == "lossless"


def test_what_excludes_each_other_is_refused(smalti, photos, tmp_path):
    out = tmp_path / "a.smalti"
    for options, words in (
        (("--lossless", "--max-error", 2), "--lossless allows no error"),
        (("--lossless", "--psnr", 30), "give one of"),
        (("--lossless", "--profile", "photo"), "leave --profile photo out"),
        (("--profile", "lossless", "--psnr", 30), "keeps every sample"),
        (("--lossless", "--epochs", 3), "--epochs"),
    ):
        ran = smalti("compress", photos, "-o", out, *options)
        assert ran.code == 2 and words in ran.err, ran
    assert not out.exists()


def test_a_model_packs_other_images_of_its_samples(smalti, photos, tmp_path):
    model, archive = tmp_path / "m", tmp_path / "a.smalti"
    assert smalti("fit", photos, "-o", model, *LOSSLESS[:3]).code == 0
    assert smalti("compress", photos, "-o", archive, "--model", model, "--no-compare").code == 0
    assert smalti("test", archive, "--against", photos, "--full", "--json").json["mse_max"] == 0
    other = fill(tmp_path / "other", lambda size, seed: np.full(size, 255 if seed % 2 else 0, np.uint8))
    ran = smalti("compress", other, "-o", tmp_path / "b.smalti", "--model", model, "--no-compare")
    assert ran.code != 0 and "fitted on others" in ran.err


def test_peers_are_lossless_too(smalti, photos, tmp_path):
    pytest.importorskip("imagecodecs", reason="JPEG XL comes with it")
    ran = smalti("compress", photos, "-o", tmp_path / "a.smalti", "--lossless", "--effort", 0, "--json")
    peers = ran.json["peers"]
    assert {"JPEG XL", "PNG", "WebP", "JPEG-LS"} <= set(peers["bytes"]) and peers["psnr"] is None
    assert "without loss" in ran.err


@pytest.mark.parametrize(
    "make", [rgb, with_alpha, KINDS["16 bits"], lambda size, seed: (grey(size, seed) > 128) * np.uint8(255)]
)
def test_an_estimate_names_what_would_be_packed(make, smalti, tmp_path):
    folder = fill(tmp_path / "in", make)
    found = smalti("estimate", folder, "--lossless", "--json").json
    assert found["profile"] == "lossless" and found["predicted_bytes"]["likely"] > 0 and found["target_mse"] == 0
    assert "every sample kept" in smalti("estimate", folder, "--lossless").out


def test_python_takes_an_error(photos, tmp_path):
    report = compress(str(photos), tmp_path / "a.smalti", max_error=2, effort=0, compare=False, threads=1)
    assert report.info.profile == "lossless"
    assert estimate(str(photos), max_error=0).comparison.estimate.profile == "lossless"
    with pytest.raises(UsageError, match="outside 0"):
        compress(str(photos), tmp_path / "b.smalti", max_error=-1)


def test_palettes_and_bits_are_images_too(smalti, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        save(folder / f"{number}.png", rng.integers(0, 2, (21, 30), np.uint8) * 255)
    palette = Image.fromarray(rng.integers(0, 5, (20, 30), np.uint8), "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.save(folder / "palette.png")
    assert smalti("compress", folder, "-o", tmp_path / "a.smalti", *LOSSLESS).code == 0
    assert smalti("test", tmp_path / "a.smalti", "--against", folder, "--full").code == 0


@pytest.mark.parametrize("bound", [3e-5, 3e-4, 0.004])
def test_a_bound_of_every_image_is_kept_by_an_error_of_its_samples(bound, smalti, photos, tmp_path):
    """Images of several sizes; the largest error is as large as the bound allows, within a tenth."""
    archive = tmp_path / "a.smalti"
    ran = smalti("compress", photos, "-o", archive, "--max-mse", bound, *LOSSLESS[1:])
    assert ran.code == 0 and "profile lossless: each sample within" in ran.err
    worst = smalti("test", archive, "--against", photos, "--full", "--json").json["mse_max"]
    assert 0.3 * bound < worst <= bound


def test_a_bound_that_no_error_keeps_is_lossless(smalti, photos, tmp_path):
    archive = tmp_path / "a.smalti"
    assert smalti("compress", photos, "-o", archive, "--max-mse", 1e-9, *LOSSLESS[1:]).code == 0
    assert smalti("test", archive, "--against", photos, "--full", "--json").json["mse_max"] == 0
