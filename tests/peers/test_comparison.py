"""An archive beside other codecs, on a sample."""

import math

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import noise
from smalti.images.sized import as_sized
from smalti.peers import comparison, peer_codecs
from smalti.peers.comparison import PeerComparison, Sample, bytes_of_peers, compare_with_peers, sample_of
from smalti.peers.peer_codecs import installed_peers
from smalti.sources.arrays.array_source import ArraySource


def smooth(height, width, channels=1, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    image = np.repeat(np.asarray(small)[..., None], channels, 2)
    return image if dtype == np.uint8 else image.astype(np.uint16) * 257


def drawn(images):
    sample = Sample(np.array([image.shape[:2] for image in images], np.int64))
    for image in images:
        sample.add(image[None])
    return sample


def coarser(images):
    """Pixels that an archive might give: rounded to 8 levels in each 255th of the range."""
    return [image - image % (8 * (1 if image.dtype == np.uint8 else 257)) for image in images]


def test_a_sample_is_evenly_spread_and_bounded():
    sample = Sample(np.full((1000, 2), 100), most_pixels=100_000)
    for start in range(0, 1000, 37):
        count = min(37, 1000 - start)
        sample.add(
            np.arange(start, start + count, dtype=np.uint16)[:, None, None, None]
            + np.zeros((1, 100, 100, 1), np.uint16)
        )
    assert sample.numbers == [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]
    assert [int(image[0, 0, 0]) for image in sample.originals] == sample.numbers and sample.pixels == 10_000_000


def test_of_large_images_the_middle_is_taken():
    sample = Sample(np.array([[3000, 400], [10, 10]]), most_pixels=40_000)
    image = noise(1, 3000, 400, 1)
    sample.add(image)
    assert sample.originals[0].shape == (100, 100, 1)
    np.testing.assert_array_equal(sample.originals[0], image[0, 1450:1550, 150:250])


def test_sizes_of_one_shape_are_not_copied():
    source = as_sized(ArraySource(np.zeros((1, 4, 4), np.uint8)))
    sizes = np.broadcast_to(source.sizes[:1], (1 << 40, 2))
    assert len(Sample(sizes).wanted) == comparison.MOST_IMAGES


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.uint8), (3, np.uint16)])
def test_codecs_are_measured_at_the_quality_of_the_archive(channels, dtype):
    pytest.importorskip("imagecodecs")
    images = [smooth(60 + 9 * n, 80, channels, n, dtype) for n in range(4)]
    steps = []
    found = compare_with_peers([(drawn(images), coarser(images))], 10_000, lambda *step: steps.append(step))
    assert set(found.bytes) == {"AVIF", "JPEG XL"} and steps[-1] == (2, 2)
    for size in found.bytes.values():
        assert 200 < size < 20_000
    assert 30 < found.psnr < 45 and found.sample_images == 4


def test_an_archive_that_loses_is_said_with_figures():
    found = PeerComparison(1000, 36.004, 3, 900, {"AVIF": 800, "JPEG XL": 1200})
    assert found.smaller == ("AVIF",)
    words = found.sentence()
    assert words.startswith("the archive is larger than other files of these images: it has 1,000 bytes")
    assert "at the same 36.00 dB AVIF about 800 (0.80 of it)" in words and "JPEG XL" not in words
    assert PeerComparison(700, 36, 1, 9, {"AVIF": 800}).sentence().startswith("smaller than other files")
    assert found.to_json()["smaller"] == ["AVIF"]
    assert PeerComparison(700, math.inf, 1, 9).to_json()["psnr"] is None


def test_without_the_libraries_nothing_is_said_of_them(monkeypatch):
    monkeypatch.setattr(peer_codecs, "imagecodecs_or_none", lambda: None)
    names = [peer.name for peer in installed_peers(1, np.dtype(np.uint8))]
    assert "JPEG XL" not in names
    monkeypatch.setattr(peer_codecs.features, "check", lambda name: False)
    images = [smooth(30, 30)]
    found = compare_with_peers([(drawn(images), coarser(images))], 100)
    assert found.bytes == {} and "not compared" in found.sentence()


def test_time_that_runs_out_leaves_what_a_part_took(monkeypatch):
    pytest.importorskip("imagecodecs")
    images = [smooth(64, 64, 1, n) for n in range(35)]
    now = [0.0]
    monkeypatch.setattr(comparison.time, "monotonic", lambda: now.append(now[-1] + 1) or now[-1])
    found = compare_with_peers([(drawn(images), coarser(images))], 100, most_seconds=24)
    assert set(found.bytes) == {"AVIF", "JPEG XL"}
    assert compare_with_peers([(drawn(images), coarser(images))], 100, most_seconds=2).bytes == {}


class _Sequential:
    """A source without random access."""

    def __init__(self, source):
        self._source = source

    def __len__(self):
        return len(self._source)

    def __getattr__(self, name):
        if name == "batches_at":
            raise AttributeError(name)
        return getattr(self._source, name)


def test_a_source_gives_the_same_sample_with_and_without_random_access():
    pixels = np.arange(2_000, dtype=np.uint16)[:, None, None, None] + np.zeros((1, 20, 20, 1), np.uint16)
    source = as_sized(ArraySource(pixels))
    samples = [sample_of(source), sample_of(_Sequential(source))]
    for sample in samples:
        assert len(sample.numbers) == comparison.MOST_IMAGES and sample.pixels == 2_000 * 400
        assert [int(image[0, 0, 0]) for image in sample.originals] == sample.numbers


def test_codecs_are_asked_without_an_archive():
    pytest.importorskip("imagecodecs")
    images = [smooth(60, 80, 1, n) for n in range(4)]
    coarse, fine = (bytes_of_peers([(drawn(images), mse)]) for mse in (1e-3, 1e-5))
    assert set(coarse) == {"AVIF", "JPEG XL"} and all(fine[name] > coarse[name] for name in fine)
    assert bytes_of_peers([]) == {}
