"""What `compress` would do, without doing it."""

import numpy as np
import pytest
from PIL import Image

from smalti.codec.foretelling import estimate_request, foretell
from smalti.errors import SourceError, UsageError
from smalti.sources.open import open_images_of


def photos(count, height, width, channels, seed=0):
    rough = np.random.default_rng(seed).normal(size=(count, height, width, channels)).cumsum(1).cumsum(2)
    low, high = rough.min((1, 2), keepdims=True), rough.max((1, 2), keepdims=True)
    return (255 * (rough - low) / (high - low)).astype(np.uint8)


@pytest.fixture
def mixed(tmp_path):
    """A folder of grey and coloured images of several sizes."""
    for number, (height, width, channels) in enumerate([(50, 60, 3), (40, 70, 3), (30, 30, 1), (64, 64, 1)]):
        pixels = photos(1, height, width, channels, number)[0]
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(tmp_path / f"{number}.png")
    return tmp_path


def asked(images, **options):
    return foretell(open_images_of(images), estimate_request(options.pop("profile", None), **options))


def test_groups_of_any_sizes_are_added_up(mixed, tmp_path):
    found = asked(mixed)
    at = found.estimate
    assert (at.profile, at.images, at.target_mse) == ("photo", 4, pytest.approx(10**-3.6))
    assert at.raw_bytes == 3 * (50 * 60 + 40 * 70) + 30 * 30 + 64 * 64
    assert len(found.files) == 2 and found.sample is None and found.skipped == ()
    grey = tmp_path / "grey"
    grey.mkdir()
    for name in ("2.png", "3.png"):
        (mixed / name).rename(grey / name)
    part = asked(grey).estimate
    assert part.likely_bytes < at.likely_bytes and part.model_bytes < at.model_bytes


@pytest.mark.parametrize(
    ("options", "profile", "why"),
    [
        ({}, "photo", "36 dB"),
        ({"psnr": 25}, "compact", "small images of one size, and few bits"),
        ({"psnr": 25, "profile": "photo"}, "photo", "as asked; without --profile it would be compact"),
        ({"psnr": 36, "profile": "compact"}, "compact", "as asked; without --profile it would be photo"),
        ({"profile": "fine"}, "fine", "as asked"),
        ({"profile": "photo", "effort": 0}, "photo", "as asked"),
        ({"profile": "auto", "target_mse": 0.01}, "compact", "few bits"),
    ],
)
def test_the_profile_is_that_of_compress(options, profile, why):
    found = asked(photos(20, 28, 28, 1), **options)
    assert found.estimate.profile == profile and why in found.estimate.why
    assert (found.sample is None) == (profile == "photo")


def test_the_default_errors_are_those_of_the_profiles():
    pixels = photos(20, 28, 28, 1)
    errors = {name: asked(pixels, profile=name).estimate.target_mse for name in ("compact", "fine", "photo")}
    assert errors == {"compact": 0.0094, "fine": 0.002, "photo": pytest.approx(10**-3.6)}


def test_what_cannot_be_asked_is_refused(tmp_path):
    for profile in ("paper", "nothing"):
        with pytest.raises(UsageError, match="cannot be estimated"):
            estimate_request(profile)
    with pytest.raises(UsageError, match="one of"):
        estimate_request(None, 0.1, 30)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SourceError):
        asked(tmp_path)
