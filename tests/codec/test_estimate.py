import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smalti.codec import estimate as module
from smalti.codec.estimate import (
    SAMPLE_IMAGES,
    CodecComparison,
    Estimate,
    ImageSample,
    draw_sample,
    estimate,
    rate_bound,
)
from smalti.codec.pack import pack
from smalti.errors import SourceError
from smalti.sources.open import open_source
from smalti.sources.records import record_source


def noise(images, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (images, *shape), dtype=np.uint8)


@pytest.fixture(scope="module")
def slice_of_mnist():
    with np.load(Path(__file__).parents[1] / "data" / "mnist_slice.npz") as stored:
        return stored["images"][..., None]


def test_a_sample_is_drawn_evenly_and_counts_all_images():
    pixels = np.zeros((5_000, 2, 2), np.uint8)
    pixels[:, 0, 0] = np.arange(5_000) // 20
    sample = draw_sample(open_source(pixels))
    assert sample.images == 5_000 and sample.raw_bytes == 20_000 and sample.pixels.shape == (SAMPLE_IMAGES, 2, 2, 1)
    counts = np.bincount(sample.pixels[:, 0, 0, 0], minlength=250)
    assert counts.min() >= 7 and counts.max() <= 9
    few = draw_sample(open_source(pixels[:30]))
    assert few.images == 30
    np.testing.assert_array_equal(few.pixels[..., 0], pixels[:30])


def test_a_source_without_readable_images_is_refused():
    class Empty:
        description = "nothing"

        def __len__(self):
            return 3

        def batches(self, batch_images):
            return iter(())

    with pytest.raises(SourceError, match="nothing holds no readable image"):
        draw_sample(Empty())


def test_the_linear_rate_is_that_of_a_gaussian_source():
    deviations = np.array([40.0, 20.0, 10.0, 1.0])
    values = 128 + np.random.default_rng(0).normal(size=(4_000, 4)) * deviations
    pixels = values.round().clip(0, 255).astype(np.uint8).reshape(-1, 2, 2, 1)
    level = 5.0**2  # below the first three, and the last one is not worth a bit
    bound = rate_bound(pixels, (3 * level + 1.1) / 4 / 255**2)
    assert bound.linear_bits == pytest.approx(math.log2(8) + math.log2(4) + math.log2(2), rel=0.03)
    assert abs(bound.closeness) < 0.05


def test_closeness_distinguishes_digits_from_noise(slice_of_mnist):
    assert abs(rate_bound(noise(500, 12, 12, 1), 0.01).closeness) < 0.05
    assert rate_bound(slice_of_mnist, 0.0094).closeness > 0.2


@pytest.mark.parametrize("shape", [(1, 9, 7, 1), (3, 40, 50, 3), (2, 100, 70, 4), (30, 1, 1, 1)])
def test_any_shape_gives_a_finite_estimate(shape):
    found = estimate(ImageSample(noise(*shape), shape[0]), 0.002)
    assert found.bits_per_image >= 0 and found.model_bytes > 0
    assert found.low_bytes < found.likely_bytes < found.high_bytes


def test_images_that_are_all_alike_take_a_model_alone():
    found = estimate(ImageSample(np.full((50, 8, 8, 1), 7, np.uint8), 50), 0.01)
    assert found.bits_per_image == 0 and found.in_reach and found.likely_bytes == found.model_bytes


def test_digits_come_to_about_what_was_calibrated(slice_of_mnist):
    found = estimate(ImageSample(slice_of_mnist, 70_000), 0.0094)
    assert found.in_reach and 400_000 < found.likely_bytes < 1_000_000  # 500,000 from 2,000 digits; 500 tell too little


def test_more_images_cost_fewer_bits_each_and_less_error_more(slice_of_mnist):
    few, many = (estimate(ImageSample(slice_of_mnist, images), 0.0094) for images in (300, 70_000))
    assert many.bits_per_image < few.bits_per_image and many.model_bytes > few.model_bytes
    assert estimate(ImageSample(slice_of_mnist, 70_000), 0.002).likely_bytes > 2 * many.likely_bytes


def test_noise_is_out_of_reach():
    found = estimate(ImageSample(noise(1_500, 24, 24, 1), 70_000), 0.005)
    compared = CodecComparison(found, {"AVIF": 10 * found.likely_bytes})
    assert not found.in_reach and compared.verdict == "peer"
    assert compared.sentence().startswith("AVIF would serve better: these images share too little")


def made(bits_per_image=80.0, **changes):
    usual = Estimate(1_000, 10**6, 0.01, bits_per_image, model_bytes=10_000, in_reach=True)
    return replace(usual, **changes)


@pytest.mark.parametrize(
    ("baseline_bytes", "verdict", "words"),
    [
        (60_000, "smalti", "smalti would be about 3.0 times smaller than AVIF"),
        (21_000, "equal", "about equal: smalti would take 0.95 of the bytes of AVIF"),
        (
            16_000,
            "peer",
            "AVIF would serve better: smalti would be about 1.2 times larger (smaller from about 1,667 such images on)",
        ),
        (5_000, "peer", "AVIF would serve better: smalti would be about 4.0 times larger"),
    ],
)
def test_the_verdict_is_by_the_best_codec(baseline_bytes, verdict, words):
    compared = CodecComparison(made(), {"WebP": 2 * baseline_bytes, "AVIF": baseline_bytes})
    assert compared.best_baseline == "AVIF" and compared.verdict == verdict and compared.sentence() == words


def test_break_even_is_where_both_are_of_one_size():
    assert made().break_even_images(60_000) == 200  # 10,000 + 200 * 10 = 200 * 60
    assert made().break_even_images(10_000) is None


def test_without_codecs_there_is_no_verdict_but_against_raw_bytes():
    compared = CodecComparison(made(), {})
    assert compared.verdict is None and compared.best_baseline is None and compared.gain is None
    assert compared.sentence() == "smalti would be about 50 times smaller than the raw images"
    larger = CodecComparison(made(raw_bytes=20_000), {})
    assert larger.verdict == "peer" and "larger than the raw images" in larger.sentence()


def test_of_a_large_folder_only_the_sample_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_IMAGES", 8)
    for number in range(40):
        Image.fromarray(np.full((6, 5), number, np.uint8)).save(tmp_path / f"{number:02}.png")
    source = open_source(tmp_path)
    decoded = []

    def counted(data, images_of=record_source.images_of):
        decoded.append(data)
        return images_of(data)

    monkeypatch.setattr(record_source, "images_of", counted)
    sample = draw_sample(source)
    assert len(decoded) == 8 and sample.images == 40
    assert sample.pixels[:, 0, 0, 0].tolist() == [0, 5, 11, 16, 22, 27, 33, 39]


def test_of_an_archive_only_the_blocks_of_the_sample_are_decoded(tmp_path, model, digits):
    pack(open_source(digits.images), tmp_path / "a.smalti", model)
    source = open_source(tmp_path / "a.smalti")
    batches = [batch.pixels for batch in source.batches_at(np.array([0, 3, 63]), 2)]
    expected = next(iter(source.batches(64))).pixels[[0, 3, 63]]
    np.testing.assert_array_equal(np.concatenate(batches), expected)
