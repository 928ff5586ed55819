"""A committed file of format 0 that every release that reads the format must read to the same tokens.

Made from the formulas below; `test_writing_gives_the_same_bytes` says how.
"""

from pathlib import Path

import numpy as np
import pytest

from smalti.archive import open_archive
from smalti.floating import DecoderWeights

from .made_up import write

GOLDEN = Path(__file__).parents[1] / "golden" / "format-0.smalti"

IMAGES, GRID, CODES = 300, (2, 3), 40
TOKENS = (np.arange(IMAGES * 6) ** 2 % 101 % 37 + 2).reshape(IMAGES, *GRID)
LABELS = np.arange(IMAGES) * 7 % 11
NAMES = [f"{label:02}/{i}.png" for i, label in enumerate(LABELS)]


def ramp(*shape):
    """Exact in float32: multiples of 1/16 from -1 to 1, in no simple order."""
    return (np.arange(np.prod(shape)) * 13 % 33 / 16 - 1).astype(np.float32).reshape(shape)


WEIGHTS = DecoderWeights(ramp(CODES, 3), ramp(3, 4, 4, 4), ramp(4), ramp(4, 2, 4, 4), ramp(2))


def test_the_golden_file_reads_as_it_always_did():
    with open_archive(GOLDEN) as archive:
        assert archive.shape == (IMAGES, 7, 12, 2)
        assert (archive.tokens() == TOKENS).all() and (archive.labels == LABELS).all()
        assert archive.names == tuple(NAMES) and archive.class_names == tuple("abcdefghijk")
        assert archive.verify().ok
        sums = archive[[0, 17, 299]].sum(axis=(1, 2, 3), dtype=np.int64)
    assert sums == pytest.approx(PIXEL_SUMS, abs=20)  # float32: the last bit of a pixel may differ elsewhere


PIXEL_SUMS = [16432, 16546, 16736]


def test_writing_gives_the_same_bytes(tmp_path):
    """On another machine zlib may pack the names otherwise; all else must be the same bytes."""
    path = write(
        tmp_path / "again.smalti", TOKENS, WEIGHTS, LABELS, NAMES, image_shape=(7, 12, 2), block_images=128,
        class_names=tuple("abcdefghijk"), provenance=(("smalti", "golden"),),
    )  # fmt: skip
    with open_archive(path) as written, open_archive(GOLDEN) as golden:
        kept = [entry for entry in golden._file.entries if entry.name not in ("column 1", "column 2")]
        assert len(kept) == 7
        for entry in kept:
            again = written._file.entry(entry.section, entry.ordinal)
            assert written._file.read(again) == golden._file.read(entry), entry.name
