import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import Smalti, names
from smalti.bench import mosaics
from smalti.codec.estimate import ImageSample

FIELDS = {
    "profile", "why",
    "images", "raw_bytes", "target_mse", "predicted_bytes", "predicted_ratio", "model_bytes", "bits_per_image",
    "in_reach", "peers", "best_peer", "break_even_images", "verdict", "sentence", "seconds",
}  # fmt: skip


def photos(images, side, channels, seed=0):
    """Smooth colour images without anything in common."""
    rough = np.random.default_rng(seed).normal(size=(images, side, side, channels)).cumsum(1).cumsum(2)
    low, high = rough.min((1, 2), keepdims=True), rough.max((1, 2), keepdims=True)
    return (255 * (rough - low) / (high - low)).astype(np.uint8)


@pytest.fixture
def source(tmp_path):
    def save(pixels):
        np.save(tmp_path / "images.npy", pixels)
        return tmp_path / "images.npy"

    return save


def test_noise_is_better_left_to_a_classical_codec(smalti, source):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 24, 24), dtype=np.uint8)
    told = smalti("estimate", source(pixels), "--target-mse", 0.005, "--json").json
    assert set(told) == FIELDS and told["verdict"] == "peer" and not told["in_reach"]
    assert set(told["peers"]) == {"JPEG XL", "AVIF", "WebP"} and told["best_peer"] in told["sentence"]


def test_so_are_thirty_photos(smalti, source):
    told = smalti("estimate", source(photos(30, 64, 3)), "--profile", "fine", "--json").json
    assert told["images"] == 30 and told["raw_bytes"] == 30 * 64 * 64 * 3 and told["target_mse"] == 0.002
    assert told["verdict"] == "peer" and told["peers"][told["best_peer"]] == min(told["peers"].values())
    assert set(told["peers"]) == {"JPEG XL", "AVIF 4:2:0", "AVIF 4:4:4", "WebP"}


def test_all_of_mnist_is_for_smalti(smalti, source, monkeypatch):
    with np.load(Path(__file__).parents[1] / "data" / "mnist_slice.npz") as stored:
        digits = stored["images"]
    told = smalti("estimate", source(digits[:30]), "--profile", "compact", "--json").json
    assert told["target_mse"] == 0.0094 and told["verdict"] == "peer"  # so few do not pay for a model
    path, draw = source(digits), ImageSample
    monkeypatch.setattr("smalti.codec.estimate.ImageSample", lambda pixels, images: draw(pixels, 70_000))
    ran = smalti("estimate", path, "--target-mse", 0.0094)  # few bits of small images: compact is chosen
    assert (
        ran.out.startswith("profile compact: ")
        and ran.code == 0
        and "70,000 images" in ran.out
        and "AVIF" in ran.out
        and "break-even" in ran.out
    )
    assert ran.out.splitlines()[-1].startswith("smalti would be about ")


def test_without_the_extra_no_codec_is_measured_and_one_line_says_why(smalti, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.delitem(sys.modules, "smalti.bench.codecs", raising=False)
    ran = smalti("estimate", source(photos(40, 16, 1)), "--profile", "compact", "--json")
    assert ran.code == 0 and ran.json["peers"] == {} and ran.json["best_peer"] is None
    assert ran.err.count("\n") == 1 and 'pip install "smalti[study]"' in ran.err


def test_other_channels_than_grey_and_rgb_are_not_compared(smalti, source):
    ran = smalti("estimate", source(photos(20, 16, 4)), "--profile", "compact")
    assert ran.code == 0 and "not compared: " in ran.err and "AVIF" not in ran.out


def test_what_cannot_be_estimated_is_refused(smalti, source, tmp_path):
    path = source(photos(20, 16, 1))
    assert "compact or fine" in smalti.fails(2, "estimate", path, "--profile", "paper")
    assert "range 0<=x<=9" in smalti.fails(2, "estimate", path, "--profile", "photo", "--effort", 10)
    assert "cannot be met" in smalti.fails(2, "estimate", path, "--target-mse", 0)
    assert "nowhere" in smalti.fails(1, "estimate", tmp_path / "nowhere")
    assert names(tmp_path) == ["images.npy"]  # and nothing is ever written


def test_codecs_try_finer_settings_until_the_error_is_met():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 1), dtype=np.uint8)
    coarse, fine = (mosaics.baseline_bytes_per_image(pixels, mse, lambda done, total: None) for mse in (0.02, 0.0002))
    assert all(fine[name] > 2 * coarse[name] for name in fine) and "WebP" in fine


def test_the_help_names_what_is_estimated(smalti: Smalti) -> None:
    assert "photo, lossless, compact or fine [default: auto" in " ".join(smalti("estimate", "--help").out.split())


def test_by_default_photo_is_estimated_and_codecs_file_by_file(smalti, source):
    pytest.importorskip("imagecodecs")
    told = smalti("estimate", source(photos(12, 64, 3)), "--json").json
    assert set(told) == FIELDS and told["profile"] == "photo" and "36 dB" in told["why"]
    assert told["target_mse"] == pytest.approx(10**-3.6) and told["raw_bytes"] == 12 * 64 * 64 * 3
    assert told["in_reach"] is None and told["break_even_images"] is None
    assert set(told["peers"]) <= {"AVIF", "JPEG XL"} and told["best_peer"] in told["sentence"]
    low, likely, high = (told["predicted_bytes"][key] for key in ("low", "likely", "high"))
    assert low * 1.3 == pytest.approx(likely, rel=1e-3) and likely * 1.3 == pytest.approx(high, rel=1e-3)
    ran = smalti("estimate", source(photos(12, 64, 3)))
    assert "file by file" in ran.out and "break-even" not in ran.out


def test_a_psnr_is_a_target(smalti, source):
    path = source(photos(30, 64, 3))
    assert smalti("estimate", path, "--psnr", 23, "--json").json["target_mse"] == pytest.approx(10**-2.3)
    assert "one of" in smalti.fails(2, "estimate", path, "--psnr", 23, "--target-mse", 0.1)
