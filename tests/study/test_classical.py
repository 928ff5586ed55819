from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smalti.bench.codecs import STUDY_CODECS
from smalti.bench.mosaics import cut_mosaic, make_mosaic
from smalti.errors import SourceError
from smalti.study.classical import ClassicalResult, measure_classical, measure_codec

IMAGES = np.load(Path(__file__).parents[1] / "data" / "mnist_slice.npz")["images"][:9]


def few_settings(codec):
    """The codec with its coarsest and its finest setting only."""
    return replace(codec, ladder=tuple({codec.ladder[0], codec.ladder[-1]}))


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("count", [1, 7, 9, 10])
def test_mosaic_is_cut_back(count, channels):
    images = np.random.default_rng(0).integers(0, 256, (count, 5, 3, *channels), dtype=np.uint8)
    mosaic = make_mosaic(images)
    np.testing.assert_array_equal(cut_mosaic(mosaic, images.shape), images)
    np.testing.assert_array_equal(mosaic[:5, :3], images[0])


def test_ten_thousand_digits_make_a_square():
    assert make_mosaic(np.zeros((10_000, 28, 28), np.uint8)).shape == (2800, 2800)


@pytest.mark.parametrize("codec", STUDY_CODECS, ids=lambda codec: codec.name)
def test_codec_gives_back_the_images(codec):
    for curve in measure_codec(few_settings(codec), IMAGES):
        points = sorted(curve.points, key=lambda point: point.bytes_per_image)
        if codec.lossless:
            assert (points[0].mse, points[0].ssim) == (0, pytest.approx(1))
        else:
            # A ladder from coarse to fine means more bytes and better images.
            assert points[0].bytes_per_image < points[1].bytes_per_image
            assert points[0].mse > points[1].mse
            assert points[0].ssim < points[1].ssim
            assert points[1].ssim > 0.9


def test_a_codec_that_only_claims_to_be_lossless_is_refused():
    jpeg = few_settings(STUDY_CODECS[0])
    with pytest.raises(SourceError, match="not lossless"):
        measure_codec(replace(jpeg, lossless=True), IMAGES)


def test_slow_codecs_take_fewer_images_and_say_so():
    each, mosaic = measure_codec(replace(few_settings(STUDY_CODECS[0]), each_images=4), IMAGES)
    assert (each.images, mosaic.images) == (4, 9)


def test_result_survives_its_file(tmp_path):
    heard = []
    result = measure_classical(
        IMAGES, "smalti study", "2 cores", heard.append, (few_settings(STUDY_CODECS[0]), STUDY_CODECS[-1])
    )
    assert heard == ["JPEG", "brotli"]
    assert {curve.mode for curve in result.curves} == {"each", "mosaic", "stream"}
    assert set(result.versions) == {"jpeg8", "brotli", "imagecodecs"}
    assert ClassicalResult.read(tmp_path) is None
    result.write(tmp_path)
    assert ClassicalResult.read(tmp_path) == result


def test_colour_images_are_refused():
    with pytest.raises(SourceError, match="grey"):
        measure_classical(np.zeros((2, 8, 8, 3), np.uint8), "", "")
