from dataclasses import replace

import numpy as np
import pytest

from smalti.bench import mosaics
from smalti.bench.codecs import REFERENCE_DISTANCE, codecs_for
from smalti.bench.mosaics import evenly_spread, images_per_mosaic, measure_baseline
from smalti.errors import SourceError, UsageError
from smalti.images.quality import QualityMeter


def in_colour(digits):
    """Digits [N, 28, 28, 3], each with its own colour and background."""
    rng = np.random.default_rng(0)
    ink, ground = rng.integers(0, 256, (2, len(digits), 1, 1, 3))
    share = digits[..., None] / 255
    return np.round(ground * (1 - share) + ink * share).astype(np.uint8)


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def images(request, digits):
    return digits.images[:, :, :, None] if request.param == 1 else in_colour(digits.images)


def test_every_codec_gives_back_images_that_get_better_with_bytes(images):
    for codec in codecs_for(images.shape[3]):
        few = replace(codec, ladder=(codec.ladder[0], codec.ladder[3], codec.ladder[-1]))
        points = measure_baseline(few, images).points
        assert [point.setting for point in points] == list(few.ladder)
        assert points[0].bytes_per_image < points[1].bytes_per_image < points[2].bytes_per_image, codec.name
        assert points[0].mse > points[1].mse > points[2].mse > 0, codec.name
        assert points[2].ssim > 0.7, codec.name


def test_a_ladder_goes_from_coarse_to_fine_and_holds_the_reference():
    for channels in (1, 3):
        ladders = {codec.name: codec.ladder for codec in codecs_for(channels)}
        assert REFERENCE_DISTANCE in ladders["JPEG XL"]
        assert list(ladders.pop("JPEG XL")) == sorted(codecs_for(channels)[-1].ladder, reverse=True)
        assert all(list(ladder) == sorted(ladder) for ladder in ladders.values())
        assert len({codec.name for codec in codecs_for(channels)}) == len(codecs_for(channels))


def test_several_mosaics_are_one_curve(images, monkeypatch):
    jpeg = replace(codecs_for(images.shape[3])[0], ladder=(60.0,))
    parts = [measure_baseline(jpeg, images[start : start + 25]).points[0] for start in (0, 25, 50)]
    monkeypatch.setattr(mosaics, "MOST_TILES", 25)
    (whole,) = measure_baseline(jpeg, images).points
    counts = np.array([25, 25, 14])
    for measure in ("bytes_per_image", "mse", "ssim"):
        values = np.array([getattr(part, measure) for part in parts])
        assert getattr(whole, measure) == pytest.approx((values * counts).sum() / 64)


def test_quality_is_that_of_the_images_and_not_of_the_mosaic(images):
    lossy = replace(codecs_for(images.shape[3])[0], ladder=(1.0,))
    halved = replace(lossy, encode=lambda image, _: image.tobytes(), decode=lambda data: shaped(data, images) // 2)
    (point,) = measure_baseline(halved, images).points
    meter = QualityMeter()
    meter.add(images, images // 2)
    assert (point.mse, point.ssim) == (meter.result().mse_mean, meter.result().ssim_mean)


def shaped(data, images):
    return np.frombuffer(data, np.uint8).reshape(8 * 28, 8 * 28, *(() if images.shape[3] == 1 else (3,)))


def test_images_of_large_sets_are_evenly_spread(digits, monkeypatch):
    assert evenly_spread(digits.images) is digits.images
    monkeypatch.setattr(mosaics, "MOST_IMAGES", 10)
    taken = [int(np.flatnonzero((digits.images == image).all((1, 2)))[0]) for image in evenly_spread(digits.images)]
    assert taken == [0, 7, 14, 21, 28, 35, 42, 49, 56, 63]
    jpeg = replace(codecs_for(1)[0], ladder=(60.0,))
    images = digits.images[..., None]
    assert measure_baseline(jpeg, images) == measure_baseline(jpeg, images[taken])


def test_a_codec_that_gives_another_shape_is_refused(images):
    broken = replace(codecs_for(images.shape[3])[0], decode=lambda _: np.zeros((8, 8), np.uint8))
    with pytest.raises(SourceError, match="imagecodecs"):
        measure_baseline(broken, images)


def test_images_too_small_for_ssim_and_of_other_channels_are_refused():
    with pytest.raises(SourceError, match="SSIM"):
        measure_baseline(codecs_for(1)[0], np.zeros((4, 5, 5, 1), np.uint8))
    for channels in (2, 4):
        with pytest.raises(UsageError, match=f"{channels} channels"):
            codecs_for(channels)


@pytest.mark.parametrize(
    ("height", "width", "most"), [(28, 28, 10_000), (32, 32, 10_000), (64, 64, 4096), (30, 512, 64), (9000, 9, 1)]
)
def test_mosaics_are_of_bounded_size(height, width, most):
    assert images_per_mosaic(height, width) == most
