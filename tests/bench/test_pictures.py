"""The page of pictures: its numbers, and that its pictures are the right pixels."""

import base64
import io
import re
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import smalti
from helpers.image_files import noise
from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive
from smalti.archive.read.selection import ArchiveBatch
from smalti.bench import pictures
from smalti.bench.pictures import PictureCollector, differences, gain_for, histogram, shown
from smalti.bench.pictures_page import compare_on_page, pictures_page
from smalti.errors import OutputExistsError, UsageError
from smalti.exchange import Comparison
from smalti.images.batch import ImageBatch
from smalti.images.quality import QualityMeter, image_errors
from smalti.sources.open import open_groups, open_source


class Page(HTMLParser):
    """A page as data: figures by section, numbers of the bars, facts."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.bars, self.sources, self.facts = {}, [], [], []
        self._section = self._fact = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "section":
            self._section = self.sections.setdefault(found["id"], [])
        elif tag == "figure":
            self._section.append({"image": int(found["data-image"]), "psnr": found["data-psnr"], "caption": ""})
        elif tag == "img":
            kind, _, data = found["src"].partition(",")
            assert kind == "data:image/png;base64"
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                self._section[-1][found["class"]] = np.atleast_3d(np.asarray(image))
        elif tag == "rect":
            self.bars.append(int(found["data-count"]))
        self._fact = tag if tag in ("dt", "dd", "figcaption") else self._fact

    def handle_endtag(self, tag):
        self._fact = None if tag == self._fact else self._fact

    def handle_data(self, data):
        if self._fact == "figcaption":
            self._section[-1]["caption"] += data
        elif self._fact:
            self.facts.append(data)


def near(images, strength=20):
    """Decoded images that differ from the originals more, the higher their number."""
    rng = np.random.default_rng(1)
    top = np.iinfo(images.dtype).max
    step = strength * (top / 255) * np.linspace(0, 1, len(images)).reshape(-1, 1, 1, 1)
    return np.clip(np.rint(images + rng.normal(0, 1, images.shape) * step), 0, top).astype(images.dtype)


def collected(original, decoded, names=None, **settings):
    collector, meter = PictureCollector(len(original), **settings), QualityMeter()
    for start in range(0, len(original), 7):
        part = slice(start, start + 7)
        numbers = np.arange(len(original))[part]
        batch = ArchiveBatch(decoded[part], names=None if names is None else names[part], numbers=numbers)
        collector.add(ImageBatch(original[part]), batch)
        meter.add(original[part], decoded[part])
    return collector, Comparison(meter.result(), None, None, "")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_pictures_are_the_pixels_and_the_numbers_those_of_the_images(channels):
    original = noise(40, 12, 16, channels)
    decoded = near(original)
    names = tuple(f"<{number}>.png" for number in range(40))
    page = Page(pictures_page("a&b", 1000, *collected(original, decoded, names)))
    errors = image_errors(original, decoded)
    assert [row["image"] for row in page.sections["worst"]] == np.argsort(-errors)[:10].tolist()
    spread = [row["image"] for row in page.sections["spread"]]
    assert len(spread) == 12 and spread[0] == 0 and spread[-1] == 39
    gains = set()
    for row in (*page.sections["worst"], *page.sections["spread"]):
        number = row["image"]
        np.testing.assert_array_equal(row["original"], original[number])
        np.testing.assert_array_equal(row["decoded"], decoded[number])
        assert f"<{number}>.png" in row["caption"] and "16 x 12" in row["caption"]
        if errors[number]:
            assert float(row["psnr"]) == pytest.approx(-10 * np.log10(errors[number]), abs=1e-4)
        else:
            assert row["psnr"] == "" and (row["difference"] == 128).all()
        if channels in (1, 3):
            change = decoded[number].astype(int) - original[number]
            small = (np.abs(change) > 0) & (np.abs(row["difference"].astype(int) - 128) < 120)
            gains |= set(np.rint((row["difference"][small].astype(int) - 128) / change[small]).astype(int).tolist())
    assert len(gains) <= 1, "one gain for the page"
    assert sum(page.bars) == np.count_nonzero(errors) == 39
    facts = dict(zip(page.facts[::2], page.facts[1::2], strict=True))
    over = " over what is seen" if channels in (2, 4) else ""
    assert facts[f"PSNR of the mean error{over}"] == f"{-10 * np.log10(errors.mean()):.2f} dB"
    assert facts["PSNR of the worst image"] == f"{-10 * np.log10(errors.max()):.2f} dB"


def test_16_bits_are_shown_from_the_least_to_the_largest_value_of_the_original():
    original = noise(3, 8, 8, 1).astype(np.uint16) * 10 + 1000
    decoded = original + np.uint16(5)
    (page,) = [Page(pictures_page("a", 9, *collected(original, decoded)))]
    for row in page.sections["spread"]:
        image = original[row["image"]].astype(float)
        expected = (image - image.min()) * 255 / (image.max() - image.min())
        np.testing.assert_array_equal(row["original"], np.rint(expected))
        assert f"black is {int(image.min()):,}" in row["caption"]
    assert "PSNR against the range that the pixels fill" in page.facts


def test_differences_of_alpha_are_a_picture_of_their_own():
    original = np.full((1, 4, 4, 4), 200, np.uint8)
    decoded = original.copy()
    decoded[0, 0, 0, 3] = 190
    (pair,) = collected(original, decoded)[0].spread
    colours, alpha = differences(pair, 2)
    assert colours.shape == (4, 4, 3) and alpha.shape == (4, 4, 1)
    assert alpha[0, 0, 0] == 128 - 20 and (alpha.ravel()[1:] == 128).all()
    assert colours[0, 0, 0] == round(128 - 2 * 200 * 10 / 255)
    original[0, ..., 3] = decoded[0, ..., 3] = 0
    decoded[0, ..., 0] = 7
    (pair,) = collected(original, decoded)[0].spread
    (colours,) = differences(pair, 2)
    assert (colours == 128).all() and pair.psnr_db is None, "a colour under alpha 0 is not seen"


def test_of_a_large_image_the_worst_part_is_shown(monkeypatch):
    monkeypatch.setattr(pictures, "MOST_SIDE", 16)
    original = noise(2, 40, 70, 3)
    decoded = original.copy()
    decoded[1, 30, 60] ^= 255
    page = Page(pictures_page("a", 9, *collected(original, decoded)))
    worst = page.sections["worst"][0]
    assert worst["image"] == 1 and "70 x 40" in worst["caption"]
    left, top = map(int, re.search(r"from \((\d+), (\d+)\) on", worst["caption"]).groups())
    assert top <= 30 < top + 16 and left <= 60 < left + 16
    np.testing.assert_array_equal(worst["original"], original[1, top : top + 16, left : left + 16])
    np.testing.assert_array_equal(worst["decoded"], decoded[1, top : top + 16, left : left + 16])


def test_a_histogram_counts_every_image_once():
    errors = 10 ** -(np.random.default_rng(0).uniform(2, 5, 1000))
    errors[:10] = 0
    found = histogram(errors)
    assert sum(found.counts) == 990 and found.equal == 10 and len(found.counts) <= 40
    decibels = -10 * np.log10(errors[10:])
    edges = found.start + found.width * np.arange(len(found.counts) + 1)
    assert edges[0] <= decibels.min() and decibels.max() < edges[-1]
    np.testing.assert_array_equal(np.histogram(decibels, edges)[0], found.counts)
    assert histogram(np.zeros(3)).equal == 3 and histogram(np.full(3, 0.01)).counts == (3,)


def test_gain_is_larger_for_smaller_differences():
    original = noise(4, 16, 16, 3) // 2 + 60
    gains = [gain_for(collected(original, near(original, strength))[0].spread) for strength in (60, 6, 1)]
    assert gains == sorted(gains) and gains[0] < gains[-1]
    assert gain_for(collected(original, original)[0].spread) == 128
    assert all(each.dtype == np.uint8 for each in shown(collected(original, original)[0].spread[0]))


@pytest.fixture
def archive(tmp_path):
    return write(tmp_path / "a.smalti", random_tokens(30), random_network(), names=[f"{n}.png" for n in range(30)])


@pytest.fixture
def originals(archive, tmp_path):
    with open_archive(archive) as opened:
        np.save(tmp_path / "a.npy", near(opened[:][..., None], 40)[..., 0])
    return tmp_path / "a.npy"


def test_testing_an_archive_writes_the_page(archive, originals, tmp_path):
    report = smalti.test(archive, against=originals, page=tmp_path / "a.html", threads=1)
    page = Page((tmp_path / "a.html").read_text("utf-8"))
    with open_archive(archive) as opened:
        before = open_source(originals)
        pixels = next(before.batches(30)).pixels
        for row in page.sections["worst"]:
            np.testing.assert_array_equal(row["decoded"][..., 0], opened[row["image"]])
            np.testing.assert_array_equal(row["original"], pixels[row["image"]])
    assert page.facts[1] == f"{report.comparison.quality.psnr_db:.2f} dB"
    with pytest.raises(OutputExistsError):
        smalti.test(archive, against=originals, page=tmp_path / "a.html", threads=1)
    smalti.test(archive, against=originals, page=tmp_path / "a.html", threads=1, overwrite=True)
    with pytest.raises(UsageError, match="--against"):
        smalti.test(archive, page=tmp_path / "b.html")
    assert not (tmp_path / "b.html").exists()


def test_a_collection_of_several_shapes_is_one_page(tmp_path):
    parts = []
    for number, grid in enumerate([(2, 3), (1, 2)]):
        names = [f"{number}/{image}.png" for image in range(5)]
        parts.append(write(tmp_path / f"{number}.smalti", random_tokens(5, grid), random_network(), names=names))
    write_collection(tmp_path / "all.smalti", [partial(open_archive, part) for part in parts])
    smalti.extract(tmp_path / "all.smalti", tmp_path / "images")
    with open_images(tmp_path / "all.smalti") as opened:
        comparison = compare_on_page(
            opened, open_groups(tmp_path / "images"), tmp_path / "p.html", lambda done, total: None, False
        )
        page = Page((tmp_path / "p.html").read_text("utf-8"))
        assert comparison.quality.psnr_db is None and [row["image"] for row in page.sections["spread"]] == [*range(10)]
        for row in page.sections["spread"]:
            np.testing.assert_array_equal(row["decoded"][..., 0], opened.images([row["image"]])[0])
            assert row["caption"].startswith(opened.names[row["image"]])
