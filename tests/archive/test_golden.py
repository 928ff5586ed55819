"""Every release reads the files of all earlier versions of the format to the same pixels (conformance/README.md)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.golden_made import (
    CANVAS,
    CLASS_NAMES,
    FILES,
    IMAGES,
    LABELS,
    NAMES,
    SIZED,
    corrections,
    decoded,
    pyramid_network,
    pyramid_tokens,
    tokens_of,
    wide_corrections,
)
from smalti.archive.read.reader import open_archive
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.errors import UnsupportedArchiveError
from smalti.residual.residuals import apply_residuals

GOLDEN = Path(__file__).parents[2] / "conformance" / "golden"
EXPECTED = json.loads((GOLDEN.parent / "expected.json").read_text("utf-8"))
FACTS = {Path(name).name: facts for name, facts in EXPECTED.items() if name.startswith("golden/format-1")}
REAL = "format-1-digits.smalti"


def test_format_0_is_refused_by_name():
    with pytest.raises(UnsupportedArchiveError, match=r"format-0\.smalti: format version 0; .*pack the images again"):
        open_archive(GOLDEN / "format-0.smalti")


def test_there_is_a_record_of_every_file():
    names = sorted([*FILES, *SIZED, REAL])
    assert sorted(FACTS) == names == sorted(path.name for path in GOLDEN.glob("format-1*.smalti"))


@pytest.mark.parametrize("kernels", ["never", "always"])
@pytest.mark.parametrize("name", SIZED)
def test_images_of_any_sizes_read_as_they_always_did(name, kernels, tmp_path, monkeypatch):
    monkeypatch.setenv("SMALTI_KERNELS", kernels)
    facts, made = FACTS[name], SIZED[name](tmp_path / name)
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == facts["file_sha256"], "it must never change"
    with open_archive(GOLDEN / name) as archive:
        report = archive.verify("pixels")
        assert report.ok and report.pixels_sha256 == report.stored_sha256
        assert archive.info().copies or report.pixels_sha256 == facts["pixels_sha256"]
        for ours, theirs in zip(archive.images(slice(None)), made.pixels, strict=True):
            assert (ours.reshape(theirs.shape) == theirs).all()


@pytest.mark.parametrize("name", FILES)
def test_golden_files_read_as_they_always_did(name):
    path, facts = GOLDEN / name, FACTS[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == facts["file_sha256"], "a golden file must never change"
    with open_archive(path) as archive:
        assert (archive.tokens() == tokens_of(name)).all() and len(archive) == IMAGES
        assert hashlib.sha256(archive[:].tobytes()).hexdigest() == facts["pixels_sha256"]
        assert archive.verify("pixels").ok and archive.verify("pixels").pixels_sha256 == facts["pixels_sha256"]
        assert archive.labels is None or (archive.labels == LABELS).all()


def test_an_archive_of_real_digits_reads_as_it_always_did(digits):
    data, facts = (GOLDEN / REAL).read_bytes(), FACTS[REAL]
    assert hashlib.sha256(data).hexdigest() == facts["file_sha256"], "a golden file must never change"
    with open_archive(GOLDEN / REAL) as archive:
        assert archive.verify("pixels").ok and archive.verify("pixels").pixels_sha256 == facts["pixels_sha256"]
        first = archive[: len(digits.images)]
        assert (archive.labels[: len(first)] == digits.labels).all()
    errors = ((first / 255 - digits.images / 255) ** 2).mean(axis=(1, 2))
    assert 0 < errors.max() <= 0.005


def test_what_each_holds():
    with open_archive(GOLDEN / "format-1-plain.smalti") as archive:
        assert (
            archive[:] == decoded(3, 8, 11)
        ).all() and archive.labels is archive.names is archive.class_names is None
    with open_archive(GOLDEN / "format-1-named.smalti") as archive:
        assert (archive[:] == decoded(2, 7, 12)).all()
        assert archive.names == tuple(NAMES) and archive.class_names == CLASS_NAMES
    with open_archive(GOLDEN / "format-1-corrected.smalti") as archive:
        assert (archive[:][..., None] == apply_residuals(decoded(1, 7, 12), corrections())).all()
        promise = archive.info().promise
        assert (promise.corrected, promise.stored) == (55, 16)
    with open_archive(GOLDEN / "format-1-recoverable.smalti") as archive:
        assert (archive[:][..., None] == decoded(1, 8, 12)).all() and archive.info().recovery_bytes > 0


def test_what_the_pyramid_holds():
    decoder, tokens = PyramidDecoder(pyramid_network(), CANVAS, np.float64), pyramid_tokens()[:, 0]
    with open_archive(GOLDEN / "format-1-pyramid.smalti") as archive:
        base = decoder.decode(tokens)[:, :7, :8]
        assert (archive[:][..., None] == apply_residuals(base, corrections((7, 8, 1)))).all()
        for levels in range(1, archive.levels + 1):
            assert (archive.preview(slice(None), levels)[..., None] == decoder.preview(tokens, levels)[:, :7, :8]).all()
        depths = decoder.layout.check(tokens)
        assert archive.levels == 5 and set(depths.tolist()) == {0, 1, 3, 4, 5}


def test_what_those_of_16_bits_hold():
    with open_archive(GOLDEN / "format-1-uint16.smalti") as archive:
        assert archive.dtype == np.uint16 and archive.info().raw_bytes == 2 * archive[:].size
        assert (archive[:][..., None] == apply_residuals(decoded(1, 7, 12, np.uint16), wide_corrections())).all()
    with (
        open_archive(GOLDEN / "format-1-uint16.smalti") as unsigned,
        open_archive(GOLDEN / "format-1-int16.smalti") as signed,
    ):
        assert signed.dtype == np.int16 == signed[:].dtype and signed.info().raw_bytes == unsigned.info().raw_bytes
        assert (signed[:].astype(int) == unsigned[:].astype(int) - 32768).all()
    with open_archive(GOLDEN / "format-1-uint16_pyramid.smalti") as archive:
        decoder = PyramidDecoder(pyramid_network(np.uint16), CANVAS, np.float64)
        base = decoder.decode(pyramid_tokens()[:, 0])[:, :7, :8]
        assert (archive[:][..., None] == apply_residuals(base, wide_corrections((7, 8, 1)))).all()


@pytest.mark.parametrize("name", FILES)
def test_writing_gives_the_same_bytes(name, tmp_path):
    """On another machine zlib may pack names otherwise; all other bytes must be the same."""
    if name.endswith("recoverable.smalti"):
        pytest.importorskip("reedsolo", reason="writing recovery sections needs the extra smalti[recovery]")
    FILES[name](tmp_path / name)
    with open_archive(tmp_path / name) as written, open_archive(GOLDEN / name) as golden:
        pairs = list(zip(written._file.entries, golden._file.entries, strict=True))
        columns = golden.info().columns
        for ours, theirs in pairs:
            packed = theirs.section == 5 and columns[theirs.ordinal] != "labels"
            assert packed or written._file.read(ours) == golden._file.read(theirs), theirs.name
