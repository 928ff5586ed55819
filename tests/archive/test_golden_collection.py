"""Every release reads the collection of conformance/golden to the same pixels (conformance/README.md)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.golden_made import collection
from smalti.archive.open import open_images

GOLDEN = Path(__file__).parents[2] / "conformance" / "golden" / "collection-1.smalti"
FACTS = json.loads((GOLDEN.parents[1] / "expected.json").read_text("utf-8"))["golden/collection-1.smalti"]


def digest(images):
    return hashlib.sha256(b"".join(np.ascontiguousarray(image).tobytes() for image in images)).hexdigest()


def test_it_reads_as_it_always_did():
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == FACTS["file_sha256"], "a golden file must never change"
    with open_images(GOLDEN) as whole:
        assert len(whole.members) == 5 and whole.verify("pixels").ok and not whole.damage
        assert digest(whole) == FACTS["pixels_sha256"]


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
