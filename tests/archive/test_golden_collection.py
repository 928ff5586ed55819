"""The collection of tests/golden, which every later release reads to the same pixels (tests/golden/README.md)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from archive.specification_collection import read_collection
from helpers.golden_made import collection
from smalti.archive.open import open_images

GOLDEN = Path(__file__).parents[1] / "golden" / "collection-1.smalti"
FACTS = json.loads(GOLDEN.with_suffix(".json").read_text())


def digest(images):
    return hashlib.sha256(b"".join(np.ascontiguousarray(image).tobytes() for image in images)).hexdigest()


def test_it_reads_as_it_always_did():
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == FACTS["file_sha256"], "a golden file must never change"
    with open_images(GOLDEN) as whole:
        assert len(whole.members) == 5 and whole.verify("pixels").ok and not whole.damage
        assert digest(whole) == FACTS["pixels_sha256"]


def test_the_page_is_enough_to_read_it():
    members = read_collection(GOLDEN.read_bytes())
    with open_images(GOLDEN) as whole:
        shapes = [(len(images), *images.shape[1:]) for images in members]
        assert shapes == [(facts.images, *facts.image_shape) for facts in whole.members.facts]
    assert digest(image for images in members for image in images) == FACTS["pixels_sha256"]


def test_it_is_made_of_the_same_bytes_again(tmp_path):
    collection(tmp_path / "again.smalti", tmp_path)
    made, golden = (tmp_path / "again.smalti").read_bytes(), GOLDEN.read_bytes()
    assert len(made) == len(golden)
    with open_images(tmp_path / "again.smalti") as whole:
        assert digest(whole) == FACTS["pixels_sha256"]


@pytest.mark.parametrize("place", range(0, GOLDEN.stat().st_size, 997))
def test_a_flipped_byte_is_noticed_and_costs_its_member_at_most(tmp_path, place):
    data = bytearray(GOLDEN.read_bytes())
    data[place] ^= 0x20
    (tmp_path / "damaged.smalti").write_bytes(data)
    with open_images(tmp_path / "damaged.smalti") as whole:
        report = whole.verify()
        shared = any("shared" in line for line in report.damaged_sections)
        assert not report.ok and (shared or report.damaged_images <= 300)
