"""The archive format as docs/format.md states it, read with nothing of smalti: slow, and plainly what the page says."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from archive.specification_reader import crc32c, read_labels, read_names, read_pixels
from smalti.archive.read.reader import open_archive

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "format-1.json").read_text())


@pytest.mark.parametrize(
    "kind", ["plain", "named", "corrected", "recoverable", "digits", "pyramid", "uint16", "uint16_pyramid"]
)
def test_the_page_is_enough_to_read_a_file(kind):
    path = GOLDEN / f"format-1-{kind}.smalti"
    data = path.read_bytes()
    pixels = read_pixels(data)
    labels, names = read_labels(data), read_names(data)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == EXPECTED[path.name]["pixels_sha256"]
    with open_archive(path) as archive:
        assert np.array_equal(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, archive[:])
        assert (labels is None) == (archive.labels is None)
        assert labels is None or np.array_equal(labels, archive.labels)
        assert (names is None) == (archive.names is None)
        assert names is None or names == list(archive.names)


def test_the_checksum_is_the_one_the_page_names():
    assert crc32c(b"123456789") == 0xE3069283
