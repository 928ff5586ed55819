"""The choice of a profile by facts of the images and the target."""

import numpy as np
import pytest

from helpers.image_files import noise
from smalti.codec.choice import ImageFacts, choose_profile
from smalti.codec.request import FitRequest
from smalti.errors import UsageError
from smalti.images.sized import as_sized
from smalti.sources.arrays.array_source import ArraySource
from smalti.training.common.goal import Goal


def facts(*sizes, images=1000, channels=1):
    different = np.array(sizes, np.int64)
    return ImageFacts(images, different, images * channels * int(different.prod(1).mean()))


@pytest.mark.parametrize(
    ("images", "goal", "profile"),
    [
        (facts((28, 28)), Goal(mse=0.0094), "compact"),
        (facts((28, 28)), Goal(mse=0.00333), "compact"),
        (facts((32, 32), channels=3), Goal(mse=0.0042), "compact"),
        (facts((32, 32), channels=3), Goal.of_psnr(30), "photo"),
        (facts((28, 28)), Goal.of_psnr(36), "photo"),
        (facts((48, 48)), Goal.of_psnr(29.9), "compact"),
        (facts((49, 48)), Goal.of_psnr(20), "photo"),
        (facts((28, 28), (28, 27)), Goal(mse=0.0094), "photo"),
        (facts((28, 28)), Goal(ssim=0.85), "compact"),
        (facts((28, 28)), Goal(ssim=0.97), "photo"),
        (facts((28, 28)), Goal(archive_bytes=40_000), "compact"),
        (facts((28, 28)), Goal(archive_bytes=200_000), "photo"),
    ],
)
def test_small_images_of_one_size_at_few_bits_are_compact(images, goal, profile):
    choice = choose_profile(images, goal)
    assert choice.profile == profile and choice.sentence().startswith(f"profile {profile}: 1,000 images of ")


def test_facts_come_from_headers():
    sources = [as_sized(ArraySource(noise(10, 4, 5))), as_sized(ArraySource(noise(3, 4, 5, 3)))]
    found = ImageFacts.of(sources)
    assert (found.images, found.sizes.tolist(), found.values) == (13, [[4, 5]], 200 + 180)
    assert found.words() == "13 images of 4x5 pixels"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"psnr": 36, "target_mse": 0.01}, "give one of"),
        ({"psnr": 36, "target_bytes": 10}, "give one of"),
        ({"psnr": 0}, "a PSNR of 0 dB"),
        ({"psnr": float("nan")}, "a PSNR of nan dB"),
        ({"profile": "auto", "codebook_size": 4}, "goes with a profile"),
        ({"profile": "auto", "epochs": 1}, "--epochs"),
        ({"profile": "papper"}, "auto, paper"),
        ({"effort": 10}, "effort"),
        ({"psnr": 36, "profile": "paper"}, "paper has no targets"),
    ],
)
def test_impossible_requests_are_refused_at_once(settings, words):
    with pytest.raises(UsageError, match=words):
        FitRequest(**settings)


def test_a_psnr_is_a_mean_squared_error():
    goal = FitRequest("compact", psnr=20).settings().goal
    assert goal.mse == pytest.approx(0.01) and goal.words() == "a PSNR of 20 dB"
    assert goal.missed_words(0.02, 0.01) == "the PSNR is 16.99 dB, not 20"
    assert Goal(mse=0.01).missed_words(0.02, 0.01) == "the mean squared error is 0.02, not 0.01"
    assert FitRequest.from_json(FitRequest(psnr=20).to_json()) == FitRequest(psnr=20)
