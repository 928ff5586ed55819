"""The profile photo from the command line, with fits of a few steps: folders of all kinds, targets, changes."""

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import names
from helpers.image_files import noise, save
from helpers.tiny_pixel_fits import small_efforts as small_pixel_efforts
from helpers.tiny_transforms import small_efforts, smooth
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.training.photo import photo_forecast

SIZES = [(1, 1), (1, 9), (7, 3), (17, 9), (40, 33), (48, 64)]
PHOTO = ["--profile", "photo", "--effort", 0, "--no-compare", "--threads", 1]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_efforts(monkeypatch, 4)
    small_pixel_efforts(monkeypatch, 4)


def fill(folder, make, sizes=SIZES):
    for number, size in enumerate(sizes):
        save(folder / f"{number}.png", make(size, number))
    return folder


def grey(size, seed):
    return smooth(*size, 1, seed)[..., 0]


def rgb(size, seed):
    return smooth(*size, 3, seed)


def with_alpha(size, seed):
    pixels = smooth(*size, 4, seed)
    pixels[..., 3] = np.where(pixels[..., 3] < 110, 0, np.where(pixels[..., 3] > 150, 255, pixels[..., 3]))
    hidden = pixels[..., 3] == 0
    pixels[hidden, :3] = noise(int(hidden.sum()), 3, seed=seed)
    return pixels


def wide(size, seed):
    return grey(size, seed).astype(np.uint16) * 257


@pytest.fixture(name="photos", scope="module")
def _photos(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("photos"), grey)


@pytest.fixture(name="model", scope="module")
def _model(photos, tmp_path_factory):
    """A model of the photos, and their archive: of a transform, which learns more in a few steps than pixels do."""
    from smalti.cli import run  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        small_efforts(patch, 4)
        patch.setattr(photo_forecast, "_SLOWER_PAYS", 0)
        options = ["--profile", "photo", "--effort", "0", "--threads", "1", "-q"]
        assert run(["fit", str(photos), "-o", str(folder / "m"), *options]) == 0
    packing = ["--model", str(folder / "m"), "--no-compare", "--threads", "1", "-q"]
    assert run(["compress", str(photos), "-o", str(folder / "a.smalti"), *packing]) == 0
    return folder


def psnr(smalti, archive, folder):
    ran = smalti("test", archive, "--against", folder, "--json")
    assert ran.code in {0, 3}, ran
    found = ran.json.get("quality", ran.json)
    return found["psnr_db"] if found.get("seen") is None else found["seen"]["psnr_db"]


KINDS = {
    "rgb": rgb,
    "alpha": with_alpha,
    "grey and alpha": lambda size, seed: np.ascontiguousarray(with_alpha(size, seed)[..., [0, 3]]),
    "16 bits": wide,
    "noise": lambda size, seed: noise(*size, 3, seed=seed),
    "one colour": lambda size, seed: np.full((*size, 3), 77, np.uint8),
    "transparent": lambda size, seed: np.zeros((*size, 4), np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_folders_of_one_kind_of_pixel(kind, smalti, tmp_path):
    folder = fill(tmp_path / "in", KINDS[kind])
    out = tmp_path / "a.smalti"
    ran = smalti("compress", folder, "-o", out, *PHOTO, "--json")
    assert ran.code == 0, ran
    assert names(tmp_path) == sorted(["a.smalti", *(f"in/{number}.png" for number in range(len(SIZES)))])
    value = psnr(smalti, out, folder)
    assert value is None or value >= 35.999
    with open_archive(out) as archive:
        assert [archive.shape_of(number)[:2] for number in range(len(archive))] == SIZES
        if "alpha" in kind or kind == "transparent":
            for number in range(len(archive)):
                image, original = archive[number], np.asarray(Image.open(folder / f"{number}.png"))
                assert not image[image[..., -1] == 0].any()
                assert image.shape == original.shape


@pytest.mark.parametrize("size", [(1, 1), (50, 60)], ids=str)
def test_one_image(size, smalti, tmp_path):
    folder = fill(tmp_path / "in", rgb, [size])
    assert smalti("compress", folder, "-o", tmp_path / "a.smalti", *PHOTO).code == 0
    value = psnr(smalti, tmp_path / "a.smalti", folder)
    assert value is None or value >= 35.999


def test_broken_files_are_named(smalti, model, photos, tmp_path):
    folder = fill(tmp_path / "in", grey)
    whole = (folder / "5.png").read_bytes()
    (folder / "x.png").write_bytes(b"no image")
    (folder / "y.png").write_bytes(whole[: len(whole) // 2])
    packing = ["--model", model / "m", "--no-compare", "--threads", 1]
    ran = smalti("compress", folder, "-o", tmp_path / "a.smalti", *packing)
    assert ran.code == 3 and ran.err.count("\n") == 2 and "x.png" in ran.err and "y.png" in ran.err
    smalti.fails(1, "compress", folder, "-o", tmp_path / "b.smalti", *packing, "--strict")
    assert not (tmp_path / "b.smalti").exists()


def test_targets_are_met_on_the_file(smalti, model, photos, tmp_path):
    packing = ["--model", model / "m", "--no-compare", "--threads", 1, "-f"]
    out = tmp_path / "a.smalti"
    for target in (32, 35):
        assert smalti("compress", photos, "-o", out, *packing, "--psnr", target).code == 0
        assert target - 0.001 <= psnr(smalti, out, photos) < target + 0.5
    size = out.stat().st_size
    told = smalti("compress", photos, "-o", out, *packing, "--target-bytes", size - 100)
    assert told.code == 0 and out.stat().st_size <= size - 100, told
    told = smalti("compress", photos, "-o", out, *packing, "--target-bytes", 900)
    assert told.code == 0 and "more than 900" in told.err and told.err.count("\n") == 1


def test_the_same_bytes_each_time_and_with_any_threads(smalti, model, photos, tmp_path):
    made = []
    for threads in (1, 1, 3):
        packing = ["--model", model / "m", "--no-compare", "--threads", threads, "-f"]
        assert smalti("compress", photos, "-o", tmp_path / "a.smalti", *packing).code == 0
        made.append((tmp_path / "a.smalti").read_bytes())
    assert made[0] == made[1] == made[2] == (model / "a.smalti").read_bytes()


def test_changes_of_an_archive(smalti, model, photos, tmp_path):
    archive, more = tmp_path / "a.smalti", fill(tmp_path / "more", lambda size, seed: grey(size, seed + 50))
    archive.write_bytes((model / "a.smalti").read_bytes())
    with open_images(archive) as opened:
        before = [opened[number] for number in range(len(opened))]
    ran = smalti("append", archive, more, "--model", model / "m", "--threads", 1)
    assert ran.code == 0, ran
    assert smalti("drop", archive, 0, "-f").code in {0, 2}
    with open_images(archive) as opened:
        dropped = 2 * len(SIZES) - len(opened)
        assert dropped in {0, 1}
        for number in range(dropped, len(SIZES)):
            np.testing.assert_array_equal(opened[number - dropped], before[number])
    assert smalti("info", archive, "--json").json["profile"] == "photo"
    assert smalti("decompress", archive, "-o", tmp_path / "out", "--threads", 1).code == 0
    assert len(names(tmp_path / "out")) >= 2 * len(SIZES) - dropped
    assert smalti("get", archive, 3, "-o", tmp_path / "part").code == 0
    assert smalti("test", archive).code == 0


def test_what_a_user_may_get_wrong(smalti, model, photos, tmp_path):
    out = tmp_path / "a.smalti"
    for code, *wrong in (
        (2, "--profile", "foto"),
        (2, "--profile", "photo", "--effort", 10),
        (2, "--profile", "photo", "--epochs", 3),
        (2, "--psnr", 30, "--ssim", 0.9),
        (2, "--psnr", -3),
        (2, "--ssim", 1.5),
        (2, "--target-bytes", 0),
        (2, "--model", model / "m", "--seed", 3),
        (2, "--model", model / "m", "--adapt"),
        (2, "--profile", "photo", "--max-mse", 0.01),
        (2, "--profil", "photo"),
    ):
        smalti.fails(code, "compress", photos, "-o", out, *wrong)
    colour = fill(tmp_path / "colour", rgb)
    assert "1 channel" in smalti.fails(1, "compress", colour, "-o", out, "--model", model / "m")
    damaged = tmp_path / "damaged"
    damaged.write_bytes((model / "m").read_bytes()[:-100])
    smalti.fails(1, "compress", photos, "-o", out, "--model", damaged)
    assert not out.exists()
